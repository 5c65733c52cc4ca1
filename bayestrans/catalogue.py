"""Columns of a table as the arrays that a spec asks for, each judged once."""

from __future__ import annotations

import difflib
import functools
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import astropy.units as u
import numpy as np
from astropy.table import Column, Table
from numpy.typing import NDArray

from .pairs import Floats, Pairs, PairsError
from .scale import Scaler
from .sentinels import SENTINELS, beyond, marked, without_suspects
from .spec import Input, Output, Spec
from .tables import (
    NULL,
    CatalogueError,
    Source,
    check_writable,
    count_rows,
    digest,
    named,
    plain,
    read_batches,
    read_table,
    write_table,
)
from .units import NO_UNIT, read_unit

__all__ = [
    "CatalogueError",
    "Inputs",
    "Source",
    "check_writable",
    "count_rows",
    "digest",
    "input_batches",
    "read_inputs",
    "read_pairs",
    "read_table",
    "star_ids",
    "write_table",
]

#: Logarithms are rarely beyond this, what they are taken of always is.
LARGE_LOGARITHM = 10.0
log = logging.getLogger("bayestrans")


class Inputs(NamedTuple):
    """The stars of a catalogue that is to be translated.

    Attributes
    ----------
    x : (N, D) array
        Inputs in the units of the spec; NaN where missing, masked or infinite.
    x_err : (N, D) array
        Quoted errors; NaN where missing or not positive (after the spec's
        ``error_floor``) and where the spec has no error column.
    identifiers : Table
        The identifier columns, unchanged: the spec's id first, then every
        integer or string column whose name ends with ``id``.
    assumed : mapping of str to str
        Columns that came without a unit, and the spec's unit that was taken.
    """

    x: Floats
    x_err: Floats
    identifiers: Table
    assumed: Mapping[str, str] = {}


def read_pairs(source: Source, spec: Spec) -> Pairs:
    """Read the common stars of two surveys.

    Parameters
    ----------
    source : path-like, Table or DataFrame
        FITS, CSV, ECSV, VOTable or Parquet, by suffix.
    spec : Spec
        Columns are found by name (in upper or lower case, where that is
        unique; ``FPARAM[0]`` is the first value of a vector column) and
        converted to its units. A column without a unit is taken to be in the
        spec's (said once, on the log ``bayestrans``), an error column without one
        in that of its value.

    Returns
    -------
    Pairs
        Stars without any input or any output are left out and counted on the log.

    Raises
    ------
    CatalogueError
        For an unreadable table, a column that is missing, ambiguous, not
        numeric, in a wrong unit or beyond belief, and missing identifiers.
    PairsError
        For values that no training star may have; see `Pairs`.
    """
    with named(source):
        table = read_table(source)
        if len(table) == 0:
            raise CatalogueError("the table has no rows; give the common stars, one per row")
        x, x_err, assumed_x = _quantities(table, spec, spec.inputs)
        y, y_err, assumed_y = _quantities(table, spec, spec.outputs)
        x, odd_x = without_suspects(spec, spec.inputs, x)
        y, odd_y = without_suspects(spec, spec.outputs, y)
        assumed = assumed_x | assumed_y
        ids, rows = star_ids(table, spec.id), _useful(x, y)
        pairs = Pairs(spec, x[rows], x_err[rows], y[rows], y_err[rows], ids[rows], assumed)
        _say_dropped(source, len(rows) - len(pairs), len(rows))
    _say_assumed(source, assumed)
    say_suspects(source, odd_x + odd_y)
    return pairs


def say_suspects(source: Source, found: Sequence[str]) -> None:
    """Say which values were taken as missing although nobody said that they are."""
    if found:
        _say(
            f"{_name_of(source)}: {'; '.join(found)}: they look like 'no value' and are taken as "
            "missing; name them at the top of the spec, as sentinels = [-9999.0], or write "
            "sentinels = [] if they are measured"
        )


def _useful(x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Say which rows (N,) hold an input and an output."""
    for name, values in (("input", x), ("output", y)):
        if not np.isfinite(values).any():
            raise PairsError(f"no star has any {name}; are its columns all empty?")
    return np.isfinite(x).any(axis=1) & np.isfinite(y).any(axis=1)


def _say_dropped(source: Source, count: int, total: int) -> None:
    if count:
        name = f"{source}: " if isinstance(source, str | os.PathLike) else ""
        log.warning(f"{name}{count} of {total} stars have no input or no output and are left out")


def read_inputs(source: Source, spec: Spec, usual: Scaler | None = None) -> Inputs:
    """Read the inputs of a catalogue that is to be translated.

    Where the spec says nothing of sentinels, numbers like -9999 that are far beyond the
    training stars, whose ``usual`` values are given, become NaN.

    A fault of a row becomes NaN and keeps the row; a fault of the whole table
    raises as in `read_pairs`. A table without rows gives arrays without rows.
    """
    with named(source):
        inputs = _inputs(read_table(source), spec, usual)
    _say_assumed(source, inputs.assumed)
    return inputs


def input_batches(
    source: Source, spec: Spec, usual: Scaler, rows: int, *, judge: bool = True
) -> Iterator[Inputs]:
    """Yield the inputs of a catalogue in parts of ``rows`` stars, at least one.

    As `read_inputs`, but what numbers are beyond belief is judged by the first part,
    if at all.
    """
    for table in read_batches(source, rows, needed(spec)):
        with named(source):
            inputs = _inputs(table, spec, usual, judge=judge)
        if judge:
            _say_assumed(source, inputs.assumed)
        judge = False
        yield inputs


def needed(spec: Spec) -> Callable[[str], bool]:
    """Return what says of a column's name whether a translation needs it."""
    names = {name.lower() for name in _columns(spec)}
    names |= {re.sub(r"\[\d+\]$", "", name) for name in names}
    return lambda name: name.lower() in names or _is_id(name)


def _columns(spec: Spec) -> list[str]:
    columns = [c for item in spec.inputs for c in (item.column, item.error) if c is not None]
    return columns if spec.id is None else [*columns, spec.id]


def _inputs(table: Table, spec: Spec, usual: Scaler | None, *, judge: bool = True) -> Inputs:
    x, x_err, assumed = _quantities(table, spec, spec.inputs, judge=judge)
    if usual is not None and spec.sentinels is None:
        odd = beyond(x, usual)
        for j in np.flatnonzero(odd.any(axis=0)):
            numbers_ = ", ".join(f"{value:g}" for value in np.unique(x[odd[:, j], j]))
            _say(
                f"{spec.inputs[j].column}: {numbers_} looks like 'no value', far beyond the "
                "training stars, and is taken as missing"
            )
        x[odd] = np.nan
    x[~np.isfinite(x)] = np.nan
    x_err[~(np.isfinite(x_err) & (x_err > 0))] = np.nan
    return Inputs(x, x_err, _identifiers(table, spec.id), assumed)


def _say_assumed(source: Source, assumed: Mapping[str, str]) -> None:
    if assumed:
        units = ", ".join(f"{name} {unit}" for name, unit in assumed.items())
        _say(f"{_name_of(source)}: columns without a unit are taken to be in the spec's: {units}")


def _name_of(source: Source) -> str:
    return f"{Path(source)}" if isinstance(source, str | os.PathLike) else "the table"


@functools.cache
def _say(text: str) -> None:
    """Say something once, however often its table is read."""
    log.warning(text)


def _quantities(
    table: Table, spec: Spec, items: Sequence[Input | Output], *, judge: bool = True
) -> tuple[Floats, Floats, dict[str, str]]:
    """Return values and errors, and the units that were taken where none was given."""
    assumed, missing = {}, spec.sentinels or ()
    values = np.full((len(table), len(items)), np.nan)
    errors = values.copy()
    for j, item in enumerate(items):
        wanted = read_unit(item.unit, f"the spec's {item.name}")
        values[:, j], own = numbers(table, item.column, wanted, None, missing)
        if judge:
            _check_plausible(values[:, j], item, wanted, labelled=own is not None)
        if own is None and wanted != u.one:
            assumed[item.column] = item.unit
        if item.error is not None:
            errors[:, j], own = numbers(table, item.error, wanted, own, missing)
            if own is None and wanted != u.one:
                assumed[item.error] = item.unit
        if item.error_floor is not None:
            low = (errors[:, j] >= 0) & (errors[:, j] < item.error_floor)
            errors[low, j] = item.error_floor
    return values, errors, assumed


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


def find(table: Table, name: str) -> Any:
    """Return the one column that a name means, in upper or lower case; else raise."""
    found, index = matches(table, name), None
    vector = re.fullmatch(r"(.+)\[(\d+)\]", name)
    if not found and vector:
        found, index = matches(table, vector[1]), int(vector[2])
    if not found:
        folded = {known.lower(): known for known in table.colnames}
        near = [folded[n] for n in difflib.get_close_matches(name.lower(), folded)]
        some = ", ".join(table.colnames[:10]) + ("" if len(table.colnames) <= 10 else ", ...")
        hint = f"the nearest are {', '.join(near)}" if near else f"the table has {some or 'none'}"
        remedy = "mend the name, or add an empty column if all its values are missing"
        raise CatalogueError(f"there is no column {name!r}; {hint}; {remedy}")
    if len(found) > 1:
        both = " and ".join(found)
        raise CatalogueError(f"{name}: ambiguous, the table has {both}; rename or remove one")
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


def matches(table: Table, name: str) -> list[str]:
    """Return the names of the columns that a name may mean: equal but for their case."""
    return [known for known in table.colnames if known.lower() == name.lower()]


def _check_plausible(
    values: Floats, item: Input | Output, wanted: u.UnitBase, *, labelled: bool
) -> None:
    name = item.column
    size = np.abs(values[np.isfinite(values)])
    size = size[(size > 0) & ~np.isin(size, SENTINELS)]
    typical = np.median(size) if len(size) else np.nan
    if wanted == u.K and (typical < 1e3 or typical > 1e6):
        remedy = "is it a logarithm or in another unit?"
        raise CatalogueError(f"{name}: the median, {typical:.4g} K, is not in 1e3..1e6 K; {remedy}")
    if wanted == u.km / u.s and not labelled and typical > 5000:
        remedy = "if it is in m/s, give the column that unit"
        raise CatalogueError(f"{name}: the median would be {typical:.4g} km/s; {remedy}")
    logarithm = wanted == u.one and (item.unit != "" or item.name.lower() in ("logg", "log_g"))
    if logarithm and typical > LARGE_LOGARITHM:
        remedy = "if it is in linear units, take its logarithm first"
        raise CatalogueError(f"{name}: the median, {typical:.4g}, is beyond a logarithm; {remedy}")


def star_ids(table: Table, name: str | None) -> NDArray[Any]:
    """Return which star (N,) each row is: its identifier, or where none is named its number."""
    if name is None:
        return np.arange(len(table))
    values, null = plain(id_column(table, name))
    null = null | ((values == NULL) | ~np.isfinite(values) if values.dtype.kind != "U" else False)
    if null.any():
        count = f"{int(null.sum())} of {len(null)} identifiers are missing"
        first = int(np.flatnonzero(null)[0])
        raise CatalogueError(f"{name}: {count} (first in row {first}); remove those rows")
    return values.astype(np.int64) if values.dtype.kind == "f" else values


def id_column(table: Table, name: str) -> Column:
    """Return a column of identifiers; raise where it is neither whole numbers nor text."""
    column = find(table, name)
    if not isinstance(column, Column) or column.dtype.kind not in "iufU":
        raise CatalogueError(f"{name}: not integers or text; choose another column as the id")
    if column.dtype.kind == "f":
        values, mask = plain(column)
        values, limit = values[~mask & np.isfinite(values)], 2 ** (np.finfo(column.dtype).nmant + 1)
        bad = int(((np.abs(values) >= limit) | (values % 1 != 0)).sum())
        if bad:
            what = f"fractions or numbers beyond {limit} in {column.dtype}, which loses digits"
            count = f"{bad} of {len(column)} are {what}"
            raise CatalogueError(f"{name}: {count}; store the ids as 64-bit integers or text")
    return column


def _identifiers(table: Table, name: str | None) -> Table:
    first = [id_column(table, name)] if name is not None and matches(table, name) else []
    names = [column.name for column in first]
    for known, column in table.columns.items():
        plain = isinstance(column, Column) and column.ndim == 1 and column.dtype.kind in "iuU"
        if plain and _is_id(known) and known not in names:
            names.append(known)
    return Table([table[known] for known in names], copy=False)


def _is_id(name: str) -> bool:
    """Say whether a column that holds integers or text is taken to hold identifiers."""
    return name.lower().endswith("id")
