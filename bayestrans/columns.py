"""One column of a table, by the name that a spec or a preset gives it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Column, Table
from numpy.typing import NDArray

from .layout import CatalogueError, plain
from .sentinels import marked
from .tables import COLUMNS, NULL
from .units import NO_UNIT, read_unit

Floats = NDArray[np.float64]


def numbers(
    table: Table,
    name: str,
    wanted: u.UnitBase,
    own: u.UnitBase | None,
    missing: Iterable[float] = (),
) -> tuple[Floats, u.UnitBase | None]:
    """Return a column in the wanted unit, NaN where missing, and its own unit (or the given).

    What is one of ``missing``, before any conversion, is missing.
    """
    column = find(table, name)
    if not isinstance(column, Column) or column.dtype.kind not in "iuf":
        raise CatalogueError(f"{name}: not numeric{_example(column)}; give a column of numbers")
    if column.unit is not None and str(column.unit).strip(" '\"").lower() not in NO_UNIT:
        own = read_unit(column.unit, name)
    try:
        factor = 1.0 if own is None else float(own.to(wanted))
    except u.UnitConversionError:
        units = " and ".join(repr(str(unit) or "dex") for unit in (own, wanted))
        remedy = "correct one of them"
        raise CatalogueError(
            f"{name}: {units}, the spec's unit, do not convert; {remedy}"
        ) from None
    values, mask = plain(column)
    mask = mask | (values == NULL) | marked(values, missing)
    return np.where(mask, np.nan, values.astype(np.float64) * factor), own


def _example(column: Any) -> str:
    """Show the first value that is no number, which among numbers is hard to find."""
    for row, value in enumerate(column):
        try:
            float("nan" if value is np.ma.masked else value)
        except (TypeError, ValueError):
            return f" (row {row} holds {str(value)[:40]!r})"
    kinds = {"U": "numbers written as text", "b": "true or false"}
    return f" but {kinds.get(column.dtype.kind, column.dtype)}"


def find(table: Table, name: str, *, values: bool = True) -> Any:
    """Return the one column that a name means, in upper or lower case; else raise.

    Of ``values`` all may be missing, of identifiers and flags not.
    """
    found, index = matches(table, name), None
    vector = re.fullmatch(r"(.+)\[(\d+)\]", name)
    if not found and vector:
        found, index = matches(table, vector[1]), int(vector[2])
    if not found:
        raise CatalogueError(_no_column(name, table, values))
    if len(found) > 1:
        both = " and ".join(found)
        raise CatalogueError(
            f"{name}: ambiguous, the table has {both}; rename or remove one, of common stars B's"
        )
    column = table[found[0]]
    if column.ndim == 1 and index is None:
        return column
    if column.ndim == 2 and index is not None and index < column.shape[1]:
        return column[:, index]
    if column.shape == (0, 0):  # lists of a table without rows, whose lengths nobody knows
        return Column(np.zeros(0), unit=column.unit)
    if column.dtype.kind == "O":
        what = f"the rows of {found[0]} hold lists of different lengths"
        raise CatalogueError(f"{name}: {what}; name another column")
    if column.ndim == 1:
        raise CatalogueError(f"{name}: {found[0]} is no vector; name it without [{index}]")
    each = " x ".join(map(str, column.shape[1:]))
    remedy = f"name one of them, as {found[0]}[0]" if column.ndim == 2 else "name another column"
    raise CatalogueError(f"{name}: each row of {found[0]} holds {each} values; {remedy}")


def _no_column(name: str, table: Table, values: bool) -> str:
    names = table.meta.get(COLUMNS, table.colnames)
    folded = {known.lower(): known for known in names}
    near = [folded[n] for n in difflib.get_close_matches(name.lower(), folded)]
    some = ", ".join(names[:10]) + ("" if len(names) <= 10 else ", ...")
    hint = f"the nearest are {', '.join(near)}" if near else f"the table has {some or 'none'}"
    remedy = "mend the name"
    if values:
        remedy += ", or add an empty column if all its values are missing"
    return f"there is no column {name!r}; {hint}; {remedy}"


def without_place(name: str) -> str:
    """Return the name of the column that a name means, ``FPARAM`` of ``FPARAM[0]``."""
    return re.sub(r"\[\d+\]$", "", name)


def matches(table: Table, name: str) -> list[str]:
    """Return the names of the columns that a name may mean: equal but for their case."""
    return [known for known in table.colnames if known.lower() == name.lower()]
