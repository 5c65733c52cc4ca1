"""What a caller gives: refused with its name and its range where it cannot be used."""

from __future__ import annotations

import numpy as np


def check_count(name: str, value: int, least: int) -> None:
    """Refuse what is no whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} is {value!r}; give a whole number of at least {least}")


def check_range(name: str, value: float, most: float) -> None:
    """Refuse a number that does not lie between 0 and ``most``."""
    if not 0 <= value <= most:
        raise ValueError(f"{name} is {value}; it must lie between 0 and {most}")
