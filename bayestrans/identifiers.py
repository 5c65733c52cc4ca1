"""Which star a row is: columns of identifiers, to the last digit."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.table import Column, Table
from numpy.typing import NDArray

from .columns import find, matches
from .layout import CatalogueError, plain
from .tables import NULL

#: What catalogues write where a star has no identifier.
NO_STARS = (-1, -9, -99, -999, -9999, -99999)
#: More rows of a star 0 than this, and than twice those of any other, are of no star.
MANY_ROWS = 9


def star_ids(table: Table, name: str | None) -> NDArray[Any]:
    """Return which star (N,) each row is: its identifier, or where none is named its number."""
    if name is None:
        return np.arange(len(table))
    values, null = plain(id_column(table, name))
    what = "are missing"
    if values.dtype.kind != "U":
        null = null | (values == NULL) | ~np.isfinite(values)
        none = _no_stars(values[~null])
        null = null | np.isin(values, none)
        if len(none):
            what += f" ({' and '.join(map(str, none))} name no star)"
    if null.any():
        count = f"{int(null.sum())} of {len(null)} identifiers {what}"
        first = int(np.flatnonzero(null)[0])
        raise CatalogueError(f"{name}: {count} (first in row {first}); remove those rows")
    return values.astype(np.int64) if values.dtype.kind == "f" else values


def _no_stars(values: NDArray[Any]) -> NDArray[Any]:
    """Return those of the numbers (N,) that name no star: several rows of -1, or very many of 0."""
    numbers, counts = np.unique(values, return_counts=True)
    most = max(counts[numbers != 0], default=1)
    none = np.isin(numbers, NO_STARS) & (counts > 1)
    # Stars may be numbered from 0 on, the first of them with as many rows as others.
    return numbers[none | ((numbers == 0) & (counts > max(MANY_ROWS, 2 * most)))]


def id_column(table: Table, name: str) -> Column:
    """Return a column of identifiers; raise where it is neither whole numbers nor text."""
    column = find(table, name, values=False)
    if not isinstance(column, Column) or column.dtype.kind not in "iufU":
        raise CatalogueError(f"{name}: not integers or text; choose another column as the id")
    if column.dtype.kind == "f":
        _check_digits(column, name, fractions=True)
    return column


def _check_digits(column: Column, name: str, *, fractions: bool) -> None:
    """Refuse numbers so large that they have lost digits, and those with a fraction if asked."""
    values, mask = plain(column)
    values, limit = values[~mask & np.isfinite(values)], 2 ** (np.finfo(column.dtype).nmant + 1)
    bad = np.abs(values) >= limit
    what = f"numbers beyond {limit} in {column.dtype}, which loses digits"
    if fractions:
        bad, what = bad | (values % 1 != 0), f"fractions or {what}"
    if bad.any():
        count = f"{int(bad.sum())} of {len(column)} are {what}"
        raise CatalogueError(f"{name}: {count}; store the ids as 64-bit integers or text")


def identifiers(table: Table, name: str | None) -> Table:
    """Return the columns that say which star a row is, that of this name first."""
    first = [id_column(table, name)] if name is not None and matches(table, name) else []
    names = [column.name for column in first]
    for known, column in table.columns.items():
        if not (isinstance(column, Column) and column.ndim == 1 and is_id(known)):
            continue
        if column.dtype.kind == "f":  # none, as a rule; but if so large, its digits are lost
            _check_digits(column, known, fractions=False)
        elif column.dtype.kind in "iuU" and known not in names:
            names.append(known)
    return Table([table[known] for known in names], copy=False)


def is_id(name: str) -> bool:
    """Say whether a column of whole numbers or text is taken to hold identifiers."""
    return name.lower().endswith("id")


def lacking(table: Table, name: str | None) -> str | None:
    """Return what to say of a catalogue that lacks the spec's column of identifiers."""
    if name is None or matches(table, name):
        return None
    others = identifiers(table, None).colnames
    rest = f"it has {', '.join(others)}" if others else "its rows keep their order alone"
    return f"there is no column {name!r}, the spec's id; {rest}"
