"""What a caller gives: refused with its name and its range where it cannot be used."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np


def check_count(name: str, value: int, least: int) -> int:
    """Return a number as Python's own, which JSON can hold; refuse none of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} is {value!r}; give a whole number of at least {least}")
    return int(value)


def plain_fields(settings: Any) -> None:
    """Make NumPy's numbers among the fields of a frozen dataclass Python's own, for the same end.

    Loops over arrays give them.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, np.generic):
            object.__setattr__(settings, field.name, value.item())


def check_range(name: str, value: float, most: float) -> None:
    """Refuse a number that does not lie between 0 and ``most``."""
    if not 0 <= value <= most:
        raise ValueError(f"{name} is {value}; it must lie between 0 and {most}")
