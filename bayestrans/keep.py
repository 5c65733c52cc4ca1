"""Columns of the surveys that a merged catalogue keeps, such as places on the sky."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.table import Column, MaskedColumn, Table, vstack
from numpy.typing import NDArray

from .columns import find
from .merge import Answered, Stars
from .plan import Member, PlanError
from .tables import CatalogueError, named, plain, read_batches
from .units import read_unit

#: Rows read at a time: only the columns that are kept stay in memory.
ROWS = 100_000


def kept_columns(member: Member) -> Table:
    """Return what one survey's ``keep`` names, row by row, by the names in the merged catalogue.

    Raises
    ------
    CatalogueError
        For a column that is not there, or that holds more than one value in each row.
    """
    if not member.keep:
        return Table()
    wanted = {column.lower() for column in member.keep.values()}
    parts = []
    for batch in read_batches(member.catalogue, ROWS, lambda name: name.lower() in wanted):
        with named(member.catalogue):
            columns = {name: find(batch, column) for name, column in member.keep.items()}
            for name, column in columns.items():
                if not isinstance(column, Column) or column.dtype.kind not in "biufU":
                    raise CatalogueError(
                        f"{member.keep[name]}: neither numbers nor text; it cannot be kept"
                    )
        parts.append(Table(columns))
    return vstack(parts, metadata_conflicts="silent")


def merge_kept(surveys: Sequence[Answered], tables: Sequence[Table], stars: Stars) -> list[Column]:
    """Return each kept column for all stars: from the base if it has a value, else by name.

    Raises
    ------
    PlanError
        Where one name means columns that do not fit together: of different units, or numbers
        in one survey and text in another.
    """
    order = sorted(range(len(surveys)), key=lambda s: (not surveys[s].measured, surveys[s].name))
    names = dict.fromkeys(name for s in order for name in tables[s].colnames)
    return [_merged(name, surveys, tables, stars, order) for name in names]


def _merged(
    name: str,
    surveys: Sequence[Answered],
    tables: Sequence[Table],
    stars: Stars,
    order: Sequence[int],
) -> Column:
    having = [s for s in order if name in tables[s].colnames]
    columns = {s: _in_unit(name, tables[s][name], tables[having[0]][name].unit) for s in having}
    try:
        kind = np.result_type(*(values.dtype for values, _ in columns.values()))
    except TypeError:
        kind = np.dtype("O")
    text = {values.dtype.kind == "U" for values, _ in columns.values()}
    if len(text) > 1 or kind.kind == "O":
        where = " and ".join(f"{surveys[s].name} ({columns[s][0].dtype})" for s in having)
        raise PlanError(f"keep {name}: {where} hold different kinds of values; keep one of them")
    found = np.zeros(len(stars.rows), dtype=kind)
    missing = np.ones(len(found), dtype=bool)
    for s in having:
        values, mask = columns[s]
        rows = stars.rows[:, s]
        usable = np.append(~mask, False)[rows] & missing  # -1, no row, is the last
        found[usable] = values[rows[usable]]
        missing &= ~usable
    if kind.kind == "f":
        found[missing] = np.nan
        missing[:] = False
    source = " or ".join(surveys[s].name for s in having)
    made = MaskedColumn(found, mask=missing) if missing.any() else Column(found)
    made.name, made.unit = name, tables[having[0]][name].unit
    made.description = tables[having[0]][name].description or f"as it stands in {source}"
    return made


def _in_unit(name: str, column: Column, wanted: u.UnitBase | None) -> tuple[NDArray, NDArray]:
    """Return values and what is missing, in the unit of the first survey that has the column."""
    values, mask = plain(column)
    if values.dtype.kind == "f":
        mask = mask | ~np.isfinite(values)
    if column.unit is None or wanted is None or column.unit == wanted:
        return values, mask
    own, wanted = (read_unit(unit, f"keep {name}") for unit in (column.unit, wanted))
    try:
        return values * own.to(wanted), mask
    except u.UnitConversionError:
        raise PlanError(
            f"keep {name}: {str(own)!r} and {str(wanted)!r} do not convert; keep one of them"
        ) from None


def refuse_taken(columns: Sequence[Column], table: Table) -> None:
    """Refuse names that the merged catalogue gives to columns of its own."""
    taken = [column.name for column in columns if column.name in table.colnames]
    if taken:
        raise PlanError(f"keep {taken[0]}: the merged catalogue has a column of that name itself")
