"""A survey's table with its gaps marked and its quality cuts applied, and all of it counted."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Column, MaskedColumn, Table
from numpy.typing import NDArray

from .columns import find, matches, numbers
from .recognise import survey_of
from .surveys import Cut, Quantity, Survey, SurveyError
from .tables import NULL, Source, named, plain, read_table
from .units import read_unit

Bools = NDArray[np.bool_]

#: A table that lacks what more than this share of the cuts need is perhaps of another survey.
FOREIGN = 0.7


class CutCount(NamedTuple):
    """What one cut did.

    Attributes
    ----------
    cut : Cut
    applied : bool
        False where it was switched off.
    alone : int
        Stars that it removes by itself.
    removed : int
        Stars that it removes after the cuts before it.
    """

    cut: Cut
    applied: bool
    alone: int
    removed: int


class GapCount(NamedTuple):
    """Values of one column that were no values.

    Attributes
    ----------
    column : str
    sentinels : int
        Numbers that stand for "no value".
    outside : int
        Values beyond the physical bounds; errors that are not positive.
    """

    column: str
    sentinels: int
    outside: int


class Cleaned(NamedTuple):
    """What `clean` returns; printed, a report.

    Attributes
    ----------
    survey : Survey
    table : Table
        The stars that pass the cuts, with every column of the source.
    source : str
        The file, or "a table in memory".
    stars : int
        Rows before the cuts.
    columns : dict of str to (str, str or None)
        For each quantity that the table has: the columns of value and error.
    absent : tuple of str
        What the preset knows and the table lacks: quantities and error columns.
    cuts : tuple of CutCount
    gaps : tuple of GapCount
    """

    survey: Survey
    table: Table
    source: str
    stars: int
    columns: dict[str, tuple[str, str | None]]
    absent: tuple[str, ...]
    cuts: tuple[CutCount, ...]
    gaps: tuple[GapCount, ...]

    def __str__(self) -> str:
        lines = [f"{self.survey.title}: {self.stars} stars in {self.source}"]
        for cut, applied, alone, removed in self.cuts:
            did = f"removes {removed} ({alone} alone)" if applied else "switched off"
            lines.append(f"  cut {cut.name:14s}{did:32s}keeps: {cut}")
        lines.append(f"  {len(self.table)} stars left")
        known = {name for pair in self.columns.values() for name in pair}
        rest = [gap for gap in self.gaps if gap.column not in known]
        for gap in self.gaps:
            if gap.column in known:
                lines.append(
                    f"  {gap.column}: {gap.sentinels} sentinels and {gap.outside} values "
                    "beyond belief are missing"
                )
        if rest:
            total = sum(gap.sentinels + gap.outside for gap in rest)
            lines.append(f"  {len(rest)} other columns: {total} sentinels are missing")
        if self.absent:
            lines.append(f"  not in the table: {', '.join(self.absent)}")
        return "\n".join(lines)


def clean(
    source: Source,
    survey: str | os.PathLike[str] | Survey | None = None,
    *,
    without: Iterable[str] = (),
) -> Cleaned:
    """Apply a survey's preset to its table.

    Sentinels, values beyond physical bounds and errors that are not positive become
    missing; stars that fail a published cut are removed; everything is counted. A
    quantity that the table lacks is left out. Errors quoted as percentiles, and
    values with a published calibration, get columns of their own.

    Parameters
    ----------
    source : path-like, Table or DataFrame
        The survey's file, or a table cut from it.
    survey : str, path-like or Survey, optional
        The name of a preset, such as ``"galah-dr3"``, or one of your own, as a `Survey` or
        the TOML file that describes it. Default: the one preset whose columns the table has.
    without : iterable of str
        Names of cuts to switch off.

    Returns
    -------
    Cleaned

    Raises
    ------
    SurveyError
        For a cut whose column the table lacks, an unknown cut, a table that has none of
        the survey's quantities, or one that is of no preset's survey where none is named.
    CatalogueError
        For a table that cannot be read, or a column that is ambiguous, not numeric
        or in a wrong unit.
    """
    chosen = survey_of(source, survey)
    off = frozenset(without)
    _check_names(chosen, off)
    with named(source):
        table = read_table(source, chosen.layout).copy(copy_data=False)
        columns, absent = _present(table, chosen)
        _check_cuts(table, chosen, off)
        gaps = _mark_gaps(table, chosen)
        _to_units(table, chosen, columns)
        _derive(table, chosen, columns)
        cuts, kept = _apply(table, chosen, off)
        table.meta.clear()  # the header of the survey's file, wrong for this table
    where = os.fspath(source) if isinstance(source, str | os.PathLike) else "a table in memory"
    left = table if kept.all() else table[kept]  # catalogues are large: no needless copy
    return Cleaned(chosen, left, str(where), len(table), columns, absent, cuts, gaps)


def _check_names(survey: Survey, off: frozenset[str]) -> None:
    known = [cut.name for cut in survey.cuts]
    for name in sorted(off - set(known)):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise SurveyError(
            f"{survey.title} has no cut {name!r} to switch off{hint}; its cuts: {', '.join(known)}"
        )


def _present(
    table: Table, survey: Survey
) -> tuple[dict[str, tuple[str, str | None]], tuple[str, ...]]:
    """Return value and error columns of the quantities that are there, and what is not."""
    columns: dict[str, tuple[str, str | None]] = {}
    absent = []
    for item in survey.quantities:
        if not matches(table, item.column):
            absent.append(f"{item.name} ({item.column})")
            continue
        parts = _parts(item)
        lost = [name for name in parts if not matches(table, name)]
        absent += [f"the error of {item.name} ({name})" for name in lost]
        value = item.value_column if item.calibration else _own(table, item.column)
        error = item.error_column if isinstance(item.error, tuple) else _own(table, *parts)
        columns[item.name] = value, None if lost or not parts else error
    if not columns:
        wanted = ", ".join(item.column for item in survey.quantities)
        raise SurveyError(
            f"no column of {survey.title} is in the table (looked for {wanted}); "
            "check the file and the survey's name"
        )
    return columns, tuple(absent)


def _own(table: Table, *names: str) -> str:
    """Return how the table itself writes a column's name, if it has it."""
    return str((matches(table, names[0]) or names)[0]) if names else ""


def _parts(item: Quantity) -> tuple[str, ...]:
    """Return the columns from which the error of a quantity comes."""
    return item.error if isinstance(item.error, tuple) else (item.error,) if item.error else ()


def _check_cuts(table: Table, survey: Survey, off: frozenset[str]) -> None:
    asked = [cut for cut in survey.cuts if cut.name not in off]
    lost = {cut.name: cut.missing(table) for cut in asked if cut.missing(table)}
    switches = " ".join(f"--without {name}" for name in lost)
    if len(lost) > 1 and len(lost) > FOREIGN * len(asked):
        columns = ", ".join(dict.fromkeys(name for names in lost.values() for name in names))
        raise SurveyError(
            f"is this a table of {survey.title}? It lacks what {len(lost)} of {len(asked)} cuts "
            f"need ({columns}); name another preset (bayestrans surveys), or add the columns, or "
            f"switch the cuts off ({switches}) if they were made before"
        )
    if lost:
        each = ", ".join(f"{name} (column {', '.join(columns)})" for name, columns in lost.items())
        raise SurveyError(
            f"the table lacks columns for the cuts of {survey.title}: {each}; add the columns, "
            f"or switch the cuts off ({switches}) and make sure another way that such stars are out"
        )


def _mark_gaps(table: Table, survey: Survey) -> tuple[GapCount, ...]:
    found = []
    for name, column in list(table.columns.items()):
        if isinstance(column, Column) and column.dtype == np.int64:
            null = (plain(column)[0] == NULL) & ~plain(column)[1]
            if null.any():
                _mask(table, name, null)
                found.append(GapCount(name, int(null.sum()), 0))
    for name, quantity in _judged(table, survey).items():
        sentinel, outside = _no_values(table, survey, name, quantity)
        if (sentinel | outside).any():
            _mask(table, name, sentinel | outside)
            found.append(GapCount(name, int(sentinel.sum()), int(outside.sum())))
    return tuple(found)


def _check_most(name: str, item: Quantity, survey: Survey, outside: int, known: int) -> None:
    """Refuse a column most of whose values no star can have: it is in another unit, or another."""
    if 2 * outside > known:
        low, high = item.bounds
        raise SurveyError(
            f"{name}: {outside} of {known} values are not in {low:g} to {high:g} "
            f"{item.unit or 'dex'}, as {item.name} of {survey.title} must be; give the column the "
            "unit that it is in, or convert it"
        )


def _judged(table: Table, survey: Survey) -> dict[str, Quantity | str | None]:
    """Return the columns to judge: by a quantity's bounds, as an error, or by sentinels alone."""
    judged: dict[str, Quantity | str | None] = {}
    for cut in survey.cuts:
        if cut.rule in ("above", "below"):
            judged |= dict.fromkeys(cut.columns)
    extra = (survey.snr, *((survey.sky.pm_ra, survey.sky.pm_dec) if survey.sky else ()))
    judged |= {name: None for name in extra if name}
    for item in survey.quantities:
        judged[item.column] = item
        for name in _parts(item):
            judged[name] = None if isinstance(item.error, tuple) else "error"
    return {_own(table, name): kind for name, kind in judged.items() if matches(table, name)}


def _no_values(
    table: Table, survey: Survey, name: str, kind: Quantity | str | None
) -> tuple[Bools, Bools]:
    """Return which values of a column are sentinels, and which others cannot be."""
    raw, gap = plain(find(table, name))
    if raw.dtype.kind not in "iuf":
        numbers(table, name, read_unit("", name), None)  # raises, saying what is wrong with it
    kind_of_float = raw.dtype if raw.dtype.kind == "f" else np.float64  # as the file rounds them
    sentinel = ~gap & np.isin(raw, np.array(survey.sentinels, dtype=kind_of_float))
    if raw.dtype.kind == "f":  # what is not finite was no value to begin with
        gap = gap | ~np.isfinite(raw)
    outside = np.zeros(len(raw), dtype=bool)
    if isinstance(kind, Quantity):
        values, _ = numbers(table, name, read_unit(kind.unit, kind.name), None)
        low, high = kind.bounds
        outside = (values < low) | (values > high)
        known = np.isfinite(values) & ~gap & ~sentinel
        _check_most(name, kind, survey, int((outside & known).sum()), int(known.sum()))
    elif kind == "error":
        outside = raw <= 0
    return sentinel, outside & ~gap & ~sentinel


def _mask(table: Table, name: str, gone: Bools) -> None:
    column = table[name]
    values, mask = plain(column)
    kept: dict[str, Any] = {key: getattr(column, key) for key in ("unit", "description", "meta")}
    table.replace_column(name, MaskedColumn(values, mask=mask | gone, name=name, **kept))


def _to_units(table: Table, survey: Survey, columns: dict[str, tuple[str, str | None]]) -> None:
    """Bring values and errors to the units of the preset, which the spec of a pair names.

    Without a unit they are in it; an error without one is in that of its value.
    """
    units = {item.name: item.unit for item in survey.quantities if item.unit}
    for quantity, pair in columns.items():
        if quantity not in units:
            continue
        wanted, own = read_unit(units[quantity], quantity), None
        for name in pair:
            if name is None or name not in table.colnames:
                continue
            values, own = numbers(table, name, wanted, own)
            column = table[name].copy(copy_data=False)  # the source's own stays as it is
            if own not in (None, wanted):
                about = {"description": column.description, "meta": column.meta}
                column = MaskedColumn(values, name, mask=np.isnan(values), **about)
            column.unit = units[quantity]
            table.replace_column(name, column, copy=False)


def _derive(table: Table, survey: Survey, columns: dict[str, tuple[str, str | None]]) -> None:
    """Add errors from percentiles and calibrated values as columns of their own."""
    for item in survey.quantities:
        if item.name not in columns:
            continue
        unit = read_unit(item.unit, item.name)
        value, error = columns[item.name]
        if isinstance(item.error, tuple) and error is not None:
            low, high = (numbers(table, name, unit, None)[0] for name in item.error)
            half = (high - low) / 2
            table[error] = MaskedColumn(half, mask=~(half > 0), unit=item.unit or None)
        if item.calibration:
            raw = numbers(table, item.column, unit, None)[0]
            added = np.polynomial.polynomial.polyval(raw, item.calibration)
            table[value] = MaskedColumn(raw + added, mask=np.isnan(raw), unit=item.unit or None)


def _apply(table: Table, survey: Survey, off: frozenset[str]) -> tuple[tuple[CutCount, ...], Bools]:
    kept = np.ones(len(table), dtype=bool)
    counts = []
    for cut in survey.cuts:
        if cut.name in off:
            counts.append(CutCount(cut, False, 0, 0))
            continue
        passed = cut.keeps(table)
        counts.append(CutCount(cut, True, int((~passed).sum()), int((kept & ~passed).sum())))
        kept &= passed
    return tuple(counts), kept
