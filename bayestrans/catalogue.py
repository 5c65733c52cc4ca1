"""Columns of a table as the arrays that a spec asks for, each judged once."""

from __future__ import annotations

import functools
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import astropy.units as u
import numpy as np
import pandas as pd
from astropy.table import Table
from numpy.typing import NDArray

from .columns import matches, numbers, without_place
from .identifiers import identifiers, is_id, lacking, star_ids
from .pairs import Floats, Pairs, PairsError
from .plausible import check_column, without_impossible
from .scale import Scaler
from .sentinels import Odd, without_beyond, without_suspects
from .spec import Input, Output, Spec
from .tables import (
    CatalogueError,
    Layout,
    Source,
    check_writable,
    count_rows,
    digest,
    named,
    read_batches,
    read_table,
    write_table,
)
from .units import read_unit

__all__ = [
    "CatalogueError",
    "Inputs",
    "Source",
    "check_writable",
    "count_rows",
    "digest",
    "input_batches",
    "pairs_of",
    "read_inputs",
    "read_pairs",
    "read_table",
    "write_table",
]

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
        column of whole numbers or text whose name ends with ``id``.
    assumed : mapping of str to str
        Columns that came without a unit, and the spec's unit that was taken.
    odd : sequence of Odd
        Values that were taken as missing although nobody said that they are.
    factors : (D,) array
        By which the numbers of each column were multiplied, to be in the spec's unit.
    """

    x: Floats
    x_err: Floats
    identifiers: Table
    assumed: Mapping[str, str] = {}
    odd: Sequence[Odd] = ()
    factors: Floats = np.ones(1)


def read_pairs(source: Source, spec: Spec | str | os.PathLike[str]) -> Pairs:
    """Read the common stars of two surveys.

    Parameters
    ----------
    source : path-like, Table or DataFrame
        FITS, CSV, ECSV, VOTable or Parquet, by suffix.
    spec : Spec or path
        Or the TOML file that it is in. Columns are found by name (in upper or lower case,
        where that is unique; ``FPARAM[0]`` is the first value of a vector column) and
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
    if not isinstance(spec, Spec):
        spec = Spec.from_toml(spec)
    with named(source):
        table = read_table(source, layout_of(spec))
        if len(table) == 0:
            raise CatalogueError("the table has no rows; give the common stars, one per row")
        x, x_err, odd_x, assumed_x = _believed(table, spec, spec.inputs)
        y, y_err, odd_y, assumed_y = _believed(table, spec, spec.outputs)
        assumed = assumed_x | assumed_y
        ids, rows = star_ids(table, spec.id), _useful(x, y)
        if spec.id is None:
            _say_repeated(source, x)
        pairs = Pairs(spec, x[rows], x_err[rows], y[rows], y_err[rows], ids[rows], assumed)
        _say_dropped(source, len(rows) - len(pairs), len(rows))
    _say_assumed(source, assumed)
    say_odd(source, odd_x + odd_y, len(table), spec)
    return pairs


def pairs_of(stars: Pairs | Source, spec: Spec) -> Pairs:
    """Return common stars as they are given, or read by a spec from a table."""
    return stars if isinstance(stars, Pairs) else read_pairs(stars, spec)


def _believed(
    table: Table, spec: Spec, items: Sequence[Input | Output]
) -> tuple[Floats, Floats, list[Odd], dict[str, str]]:
    """Return a whole table's values and errors without those that cannot be, and what was found.

    And the units that were taken where none was given.
    """
    found = _quantities(table, spec, items)
    x, odd = without_suspects(spec, items, found.values, found.factors)
    x, impossible = without_impossible(spec, items, x)
    return x, found.errors, odd + impossible, found.assumed


def say_odd(
    source: Source,
    found: Iterable[Odd],
    rows: int,
    spec: Spec,
    where: str = "at the top of the spec",
) -> None:
    """Say which values were taken as missing although nobody said that they are."""
    counts: Counter[tuple[str, str]] = Counter()
    for column, what, stars in found:
        counts[column, what] += stars
    if counts:
        each = [f"{c}: {n} of {rows} values are {what}" for (c, what), n in counts.items()]
        numbers = {what for _, what in counts if _is_number(what)}
        numbers |= {f"{value:g}" for value in spec.sentinels or ()}
        named = ", ".join(sorted(numbers, key=float)) or "..."
        _say(
            f"{_name_of(source)}: {'; '.join(each)}: they look like 'no value' and are taken as "
            f"missing; name them {where}, as sentinels = [{named}], or write "
            "sentinels = [] if they are measured",
            source,
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _useful(x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Say which rows (N,) hold an input and an output."""
    for name, values in (("input", x), ("output", y)):
        if not np.isfinite(values).any():
            raise PairsError(f"no star has any {name}; are its columns all empty?")
    return np.isfinite(x).any(axis=1) & np.isfinite(y).any(axis=1)


def _say_repeated(source: Source, x: Floats) -> None:
    """Say that rows which look like one star pass for several, as nothing names the stars."""
    count = int(pd.DataFrame(x).duplicated(keep=False).sum())
    if count:
        _say(
            f"{_name_of(source)}: {count} of {len(x)} rows have exactly the inputs of another row; "
            "if rows are one star, name its identifier in the spec (id = ...), lest the star be "
            "trained on and tested with",
            source,
        )


def _say_dropped(source: Source, count: int, total: int) -> None:
    if count:
        name = f"{source}: " if isinstance(source, str | os.PathLike) else ""
        log.warning(f"{name}{count} of {total} stars have no input or no output and are left out")


def read_inputs(source: Source, spec: Spec, usual: Scaler | None = None) -> Inputs:
    """Read the inputs of a catalogue that is to be translated.

    Unless the spec says that there are no sentinels, numbers like -9999 that are far beyond the
    training stars, whose ``usual`` values are given, become NaN, and so does what no star can be.

    A fault of a row becomes NaN and keeps the row; a fault of the whole table
    raises as in `read_pairs`. A table without rows gives arrays without rows.
    """
    with named(source):
        inputs = _inputs(read_table(source, layout_of(spec)), spec, usual)
    _say_assumed(source, inputs.assumed)
    say_odd(source, inputs.odd, len(inputs.x), spec)
    return inputs


def input_batches(
    source: Source, spec: Spec, usual: Scaler | None, rows: int, *, judge: bool = True
) -> Iterator[Inputs]:
    """Yield the inputs of a catalogue in parts of ``rows`` stars, at least one.

    As `read_inputs`, but what numbers are beyond belief is judged by the first part,
    if at all.
    """
    odd: list[Odd] = []
    stars = 0
    for table in read_batches(source, rows, needed(spec), layout_of(spec)):
        with named(source):
            inputs = _inputs(table, spec, usual, judge=judge)
        if judge:
            _say_assumed(source, inputs.assumed)
            if lack := lacking(table, spec.id):
                _say(f"{_name_of(source)}: {lack}", source)
        judge = False
        odd.extend(inputs.odd)
        stars += len(inputs.x)
        yield inputs
    say_odd(source, odd, stars, spec)


def layout_of(spec: Spec) -> Layout:
    """Return how a spec's tables are read: every digit of its identifiers counts."""
    return Layout(ids=() if spec.id is None else (spec.id,))


def needed(spec: Spec) -> Callable[[str], bool]:
    """Return what says of a column's name whether a translation needs it."""
    names = {name.lower() for name in _columns(spec)}
    names |= {without_place(name) for name in names}
    return lambda name: name.lower() in names or is_id(name)


def _columns(spec: Spec) -> list[str]:
    columns = [c for item in spec.inputs for c in (item.column, item.error) if c is not None]
    return columns if spec.id is None else [*columns, spec.id]


def _inputs(table: Table, spec: Spec, usual: Scaler | None, *, judge: bool = True) -> Inputs:
    wanted = [item.column for item in spec.inputs]
    there = [name for name in wanted if matches(table, without_place(name))]
    if len(wanted) > 1 and not there:
        raise CatalogueError(
            f"the table has none of the columns that {spec.name!r} is translated from "
            f"({', '.join(wanted)}); give a table of that survey, or a model of this one"
        )
    x, x_err, factors, assumed = _quantities(table, spec, spec.inputs, judge=judge)
    x, far = without_beyond(spec, x, factors, usual)
    x, impossible = without_impossible(spec, spec.inputs, x)
    x[~np.isfinite(x)] = np.nan
    x_err[~(np.isfinite(x_err) & (x_err > 0))] = np.nan
    return Inputs(x, x_err, identifiers(table, spec.id), assumed, far + impossible, factors)


def _say_assumed(source: Source, assumed: Mapping[str, str]) -> None:
    if assumed:
        units = ", ".join(f"{name} {unit}" for name, unit in assumed.items())
        text = f"columns without a unit are taken to be in the spec's: {units}"
        _say(f"{_name_of(source)}: {text}", source)


def _name_of(source: Source) -> str:
    return f"{Path(source)}" if isinstance(source, str | os.PathLike) else "the table"


def _say(text: str, source: Source) -> None:
    """Say something once of a table, however often it is read."""
    _said(text, 0 if isinstance(source, str | os.PathLike) else id(source))


@functools.cache
def _said(text: str, _: int) -> None:
    log.warning(text)


class _Quantities(NamedTuple):
    """Values and errors (N, D) in the spec's units, and what values were multiplied by (D,).

    ``assumed`` are the units that were taken where none was given.
    """

    values: Floats
    errors: Floats
    factors: Floats
    assumed: dict[str, str]


def _quantities(
    table: Table, spec: Spec, items: Sequence[Input | Output], *, judge: bool = True
) -> _Quantities:
    assumed, missing = {}, spec.sentinels or ()
    values, errors = (np.full((len(table), len(items)), np.nan) for _ in range(2))
    factors = np.ones(len(items))
    for j, item in enumerate(items):
        wanted = read_unit(item.unit, f"the spec's {item.name}")
        values[:, j], own = numbers(table, item.column, wanted, None, missing)
        if judge:
            check_column(values[:, j], item)
        factors[j] = 1.0 if own is None else own.to(wanted)
        if own is None and wanted != u.one:
            assumed[item.column] = item.unit
        if item.error is not None:
            errors[:, j], own = numbers(table, item.error, wanted, own, missing)
            if own is None and wanted != u.one:
                assumed[item.error] = item.unit
        if item.error_floor is not None:
            low = (errors[:, j] >= 0) & (errors[:, j] < item.error_floor)
            errors[low, j] = item.error_floor
    return _Quantities(values, errors, factors, assumed)
