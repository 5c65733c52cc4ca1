"""Columns of the surveys that a merged catalogue keeps, such as places on the sky."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import Column, MaskedColumn, Table, vstack
from numpy.typing import NDArray

from .columns import find, without_place
from .merge import Stars
from .plan import Member, PlanError
from .tables import CatalogueError, named, plain, read_batches
from .units import read_unit

#: Rows read at a time: only the columns that are kept stay in memory.
ROWS = 100_000


class Kept(NamedTuple):
    """A column of the merged catalogue to be, from the surveys that have it.

    Attributes
    ----------
    name, description : str
    unit : Unit or None
        That of the first survey that has it.
    parts : dict of int to (values, missing)
        By the survey's place in the plan, those first that are asked first.
    """

    name: str
    description: str
    unit: u.UnitBase | None
    parts: dict[int, tuple[NDArray, NDArray]]


def read_kept(surveys: Sequence[Member], taken: Collection[str]) -> list[Kept]:
    """Return what the surveys ``keep``, row by row; refuse what cannot be kept.

    A survey on the base is asked first, then the others by name. ``taken`` are the names that
    the merged catalogue gives to columns of its own.

    Raises
    ------
    CatalogueError
        For a column that is not there, or that holds more than one value in each row.
    PlanError
        For a name that is taken, or one that means columns that do not fit together: of
        different units, or numbers in one survey and text in another.
    """
    for name in (name for one in surveys for name in one.keep if name in taken):
        raise PlanError(f"keep {name}: the merged catalogue has a column of that name itself")
    tables = [_columns(one) for one in surveys]
    order = sorted(range(len(surveys)), key=lambda s: (not surveys[s].columns, surveys[s].name))
    names = dict.fromkeys(name for s in order for name in tables[s].colnames)
    return [_fitting(name, surveys, tables, order) for name in names]


def _columns(member: Member) -> Table:
    if not member.keep:
        return Table()
    wanted = {column.lower() for column in member.keep.values()}
    wanted |= {without_place(column) for column in wanted}
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


def _fitting(
    name: str, surveys: Sequence[Member], tables: Sequence[Table], order: Sequence[int]
) -> Kept:
    having = [s for s in order if name in tables[s].colnames]
    first = tables[having[0]][name]
    parts = {s: _in_unit(name, tables[s][name], first.unit) for s in having}
    if _kind(parts) is None:
        where = " and ".join(f"{surveys[s].name} ({parts[s][0].dtype})" for s in having)
        raise PlanError(f"keep {name}: {where} hold different kinds of values; keep one of them")
    source = " or ".join(surveys[s].name for s in having)
    return Kept(name, first.description or f"as it stands in {source}", first.unit, parts)


def _kind(parts: dict[int, tuple[NDArray, NDArray]]) -> np.dtype | None:
    """Return the type that holds all values, None where some are text and others numbers."""
    if len({values.dtype.kind == "U" for values, _ in parts.values()}) > 1:
        return None
    try:
        kind = np.result_type(*(values.dtype for values, _ in parts.values()))
    except TypeError:
        return None
    return None if kind.kind == "O" else kind


def merge_kept(kept: Kept, stars: Stars) -> Column:
    """Return a kept column for all stars: each has the first value that there is."""
    kind = _kind(kept.parts)
    found = np.zeros(len(stars.rows), dtype=kind)
    missing = np.ones(len(found), dtype=bool)
    for s, (values, mask) in kept.parts.items():
        rows = stars.rows[:, s]
        usable = np.append(~mask, False)[rows] & missing  # -1, no row, is the last
        found[usable] = values[rows[usable]]
        missing &= ~usable
    if found.dtype.kind == "f":
        found[missing] = np.nan
        missing[:] = False
    made = MaskedColumn(found, mask=missing) if missing.any() else Column(found)
    made.name, made.unit, made.description = kept.name, kept.unit, kept.description
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
