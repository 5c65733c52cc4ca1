"""The common stars of two surveys: one table, and the spec that reads it."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from astropy.table import Column, Table
from numpy.typing import NDArray

from .clean import Cleaned, clean
from .columns import find, numbers
from .joins import GAIA, Joined, by_identifier, by_position
from .recognise import survey_of
from .repeats import REPEATS
from .spec import Input, Output, Spec
from .surveys import QUANTITIES, Survey, SurveyError
from .tables import Source, plain
from .units import read_unit

type Columns = Mapping[str, tuple[str, str | None]]  # of value and error, by quantity

#: Quantities of which one must never stand for the other unasked.
METALLICITIES = ("fe_h", "m_h")


class MatchWarning(UserWarning):
    """A match of two surveys that is to be looked at before it is used."""


class MatchReport(NamedTuple):
    """How many stars went where; printed, in words.

    Attributes
    ----------
    a, b : Cleaned
        What the presets did to either table.
    joined : Joined
        Which rows belong together, and how they were found.
    dropped : int
        Matched stars without any input or without any output.
    notes : tuple of str
        What the spec leaves out, and why.
    """

    a: Cleaned
    b: Cleaned
    joined: Joined
    dropped: int
    notes: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to distrust."""
        return self.joined.warnings

    def __str__(self) -> str:
        joined, lines = self.joined, []
        what = "identifier" if joined.separation is None else "position"
        for side, one in enumerate((self.a, self.b)):
            lines += [f"{'AB'[side]}: {one}"]
            lines += [f"  {joined.unusable[side]} stars without {what} left out"]
            chosen = f"; kept: {joined.policy[side]}" if joined.repeated[side] else ""
            lines += [f"  {joined.repeated[side]} repeated rows left out{chosen}"]
        share = f"{100 * joined.rate:.1f} % of the smaller table"
        lines.append(f"matched {len(joined.first)} stars ({share}) by {joined.by}")
        if self.dropped:
            lines.append(f"  {self.dropped} of them without any input or any output left out")
        lines += [f"  {note}" for note in (*joined.notes, *self.notes)]
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])


class Match(NamedTuple):
    """What `pair` returns; printed, its report.

    Attributes
    ----------
    table : Table
        One row for each common star. Columns of A keep their names, so that a model
        reads A's own catalogue; columns of B end in the suffix. Identifiers are
        exact. Matched by position, ``separation`` is in arcsec (``match_separation``,
        where A has a column of that name).
    spec : Spec
        Reads the table, and A's own catalogue.
    report : MatchReport
    """

    table: Table
    spec: Spec
    report: MatchReport

    def __str__(self) -> str:
        return str(self.report)


def pair(
    a: Source,
    b: Source,
    *,
    survey_a: str | os.PathLike[str] | Survey | None = None,
    survey_b: str | os.PathLike[str] | Survey | None = None,
    on: str | tuple[str, str] = GAIA,
    radius: float | None = None,
    repeats: str = "best",
    without: Iterable[str] = (),
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    corrects: Mapping[str, str] | None = None,
    suffix: str | None = None,
) -> Match:
    """Find the common stars of two surveys, and the spec that translates A into B.

    Each table is cleaned with its preset (`clean`). Stars are matched by an
    identifier, or by position where a radius is given: each other's nearest, after
    the table with proper motions is brought to the epoch of the other.

    Parameters
    ----------
    a, b : path-like, Table or DataFrame
        The tables of survey A, to be translated, and of survey B.
    survey_a, survey_b : str, path-like or Survey, optional
        Their presets, or TOML files that describe them, as `survey` takes them. Default: the
        one preset whose columns the table has.
    on : str or (str, str)
        ``"gaia_source_id"``: the columns of Gaia's identifier that the presets name;
        otherwise a column that both tables have, or A's and B's.
    radius : float, optional
        Match by position within this angle, in arcsec, and not by ``on``.
    repeats : str
        Where a star has several rows: ``"best"`` keeps that of the highest signal to
        noise, or without such a column that of the smallest error of the first
        quantity that quotes one; ``"first"`` the first; ``"refuse"`` raises.
    without : iterable of str
        Cuts to switch off, in whichever survey has one so called; ``"a:NAME"`` and
        ``"b:NAME"`` in one survey only.
    inputs, outputs : sequence of str, optional
        Quantities to use. Default: as outputs what both have; as inputs what A has.
    corrects : mapping of str to str, optional
        The input that an output corrects where their names differ, such as
        ``{"fe_h": "m_h"}``: [M/H] is never taken for [Fe/H] unasked.
    suffix : str, optional
        Ends the names of B's columns; default: its preset's, ``_apogee_dr17``.

    Returns
    -------
    Match

    Raises
    ------
    SurveyError
        For a cut or a quantity that is not there, repeated stars under ``"refuse"``,
        names of columns that clash, or no star in common.
    CatalogueError
        For a table that cannot be read, and identifiers that lost digits.

    Warns
    -----
    MatchWarning
        Where few stars match, or identifiers are of different Gaia releases.
    """
    if repeats not in REPEATS:
        raise SurveyError(f"repeats = {repeats!r} is not known; use one of {', '.join(REPEATS)}")
    surveys = survey_of(a, survey_a), survey_of(b, survey_b)
    off = _switches(without, *surveys)
    one, two = clean(a, surveys[0], without=off[0]), clean(b, surveys[1], without=off[1])
    if radius is None:
        joined = by_identifier(one, two, on, repeats)
    else:
        joined = by_position(one, two, radius, repeats)
    table, names = _joined_table(one, two, joined, suffix)
    columns: tuple[Columns, Columns] = (
        one.columns,
        {k: (names[value], error and names[error]) for k, (value, error) in two.columns.items()},
    )
    spec, usable, notes = _build_spec(
        table, surveys, columns, (inputs, outputs), corrects or {}, joined.key
    )
    if joined.release:
        spec = dataclasses.replace(spec, id_release=f"Gaia {joined.release}")
    report = MatchReport(one, two, joined, int((~usable).sum()), notes)
    for text in report.warnings:
        warnings.warn(text, MatchWarning, stacklevel=2)
    return Match(table[usable], spec, report)


def _switches(without: Iterable[str], *surveys: Survey) -> tuple[list[str], list[str]]:
    """Return the cuts to switch off in A and in B."""
    off: tuple[list[str], list[str]] = ([], [])
    for name in without:
        side, _, bare = name.rpartition(":")
        if side and side not in ("a", "b"):
            raise SurveyError(f"{name!r} names no cut; write a:{bare} or b:{bare}")
        sides = [side] if side else ["a", "b"]
        owners = [
            position
            for position, letter in enumerate("ab")
            if letter in sides and (side or any(cut.name == bare for cut in surveys[position].cuts))
        ]
        if not owners:
            known = "; ".join(
                f"{survey.title}: {', '.join(cut.name for cut in survey.cuts)}"
                for survey in surveys
            )
            raise SurveyError(f"neither survey has a cut {name!r} to switch off; cuts of {known}")
        for position in owners:
            off[position].append(bare)
    return off


def _joined_table(
    a: Cleaned, b: Cleaned, joined: Joined, suffix: str | None
) -> tuple[Table, dict[str, str]]:
    """Return the common stars side by side, and the new names of B's columns."""
    ending = "_" + b.survey.name.replace("-", "_").replace(".", "_") if suffix is None else suffix
    names = {name: f"{name}{ending}" for name in b.table.colnames}
    known = {name.lower(): name for name in a.table.colnames}
    for new in names.values():
        if new.lower() in known:
            raise SurveyError(
                f"the column {new} of B would clash with {known[new.lower()]} of A; "
                f"give its columns another ending than {ending!r} (--suffix _b)"
            )
    table = a.table[joined.first]
    other = b.table[joined.second]
    for name, new in names.items():
        table[new] = other[name]
    if joined.separation is not None:
        taken = {name.lower() for name in table.colnames}
        name = "separation" if "separation" not in taken else "match_separation"
        table[name] = Column(joined.separation, unit="arcsec")
    table.meta.clear()
    return table, names


# ---- which quantities the spec has ------------------------------------------------------


class _Roles(NamedTuple):
    """Inputs and outputs by name, and what each output corrects."""

    inputs: list[str]
    outputs: list[str]
    corrects: dict[str, str | None]


def _build_spec(
    table: Table,
    surveys: Sequence[Survey],
    columns: Sequence[Columns],
    wanted: tuple[Sequence[str] | None, Sequence[str] | None],
    corrects: Mapping[str, str],
    key: str | None,
) -> tuple[Spec, NDArray[np.bool_], tuple[str, ...]]:
    """Return the spec, which stars it can use, and what it leaves out."""
    values = [
        {name: _values(table, name, pair[0]) for name, pair in side.items()} for side in columns
    ]
    present = [[k for k, v in side.items() if np.isfinite(v).any()] for side in values]
    roles = _roles(surveys, present, wanted, corrects)
    errors = [
        {k: error if error and _quoted(table, error) else None for k, (_, error) in side.items()}
        for side in columns
    ]
    inputs = tuple(
        Input(k, columns[0][k][0], errors[0][k], QUANTITIES[k][0], extrinsic=k == "rv")
        for k in roles.inputs
    )
    outputs = tuple(
        Output(k, columns[1][k][0], errors[1][k], QUANTITIES[k][0], roles.corrects[k], k == "rv")
        for k in roles.outputs
    )
    # This table has none left, but catalogues that the model will translate may.
    sentinels = surveys[0].sentinels or None
    spec = Spec(f"{surveys[0].title} to {surveys[1].title}", inputs, outputs, key, sentinels)
    x = np.stack([values[0][k] for k in roles.inputs], axis=1)
    y = np.stack([values[1][k] for k in roles.outputs], axis=1)
    usable = np.isfinite(x).any(axis=1) & np.isfinite(y).any(axis=1)
    gaps = int((~np.isfinite(x[usable]).all(axis=1)).sum())
    notes = _notes(surveys, columns, present, roles)
    bare = [item.column for item in inputs if item.error is None]
    bare += [item.column for item in outputs if item.error is None]
    notes += [f"no quoted errors of {', '.join(bare)}"] if bare else []
    notes += [f"{gaps} stars have a gap in an input"] if gaps else []
    return spec, usable, tuple(notes)


def _roles(
    surveys: Sequence[Survey],
    present: Sequence[Sequence[str]],
    wanted: tuple[Sequence[str] | None, Sequence[str] | None],
    corrects: Mapping[str, str],
) -> _Roles:
    shared = [k for k in present[1] if k in present[0] or k in corrects]
    outputs = _asked(wanted[1], shared, present[1], surveys[1], "output")
    if not outputs:
        raise SurveyError(
            f"{surveys[0].title} ({', '.join(present[0])}) and {surveys[1].title} "
            f"({', '.join(present[1])}) have no quantity in common; name outputs (--outputs) and "
            "what they correct (--corrects fe_h=m_h)"
        )
    aims = {k: corrects.get(k, k) for k in outputs}
    default = [k for k in present[0] if _useful(k, present[0], list(aims.values()))]
    inputs = _asked(wanted[0], default, present[0], surveys[0], "input")
    for output, aim in corrects.items():
        if output not in outputs or aim not in inputs:
            raise SurveyError(
                f"{output}={aim} cannot be: outputs are {', '.join(outputs)}; inputs are "
                f"{', '.join(inputs)}; correct one of the first with one of the second"
            )
    return _Roles(inputs, outputs, {k: aim if aim in inputs else None for k, aim in aims.items()})


def _useful(name: str, present: Sequence[str], corrected: Sequence[str]) -> bool:
    """Say whether an input is used unasked: no velocity or second metallicity for nothing."""
    if name == "rv":
        return name in corrected
    other = [k for k in METALLICITIES if k != name and k in present and k in corrected]
    return name not in METALLICITIES or name in corrected or not other


def _asked(
    asked: Sequence[str] | None, default: list[str], known: Sequence[str], survey: Survey, role: str
) -> list[str]:
    if asked is None:
        return default
    for name in asked:
        if name not in known:
            raise SurveyError(
                f"{role} {name!r}: {survey.title} has no value of it for the common stars; "
                f"it has {', '.join(known)}"
            )
    return list(dict.fromkeys(asked))


def _notes(
    surveys: Sequence[Survey],
    columns: Sequence[Columns],
    present: Sequence[Sequence[str]],
    roles: _Roles,
) -> list[str]:
    notes = []
    for side, used in enumerate((roles.inputs, roles.outputs)):
        empty = [k for k in columns[side] if k not in present[side]]
        spare = [k for k in present[side] if k not in used]
        title = surveys[side].title
        if empty:
            notes.append(f"{title} has no {', '.join(empty)} for any common star")
        if spare:
            notes.append(f"not used of {title}: {', '.join(spare)}")
    fresh = [k for k in roles.outputs if roles.corrects[k] is None]
    if fresh:
        notes.append(f"learned without a value of A to correct: {', '.join(fresh)}")
    metals = [[k for k in METALLICITIES if k in side] for side in present]
    if (
        all(len(side) == 1 for side in metals)
        and metals[0] != metals[1]
        and not any(k in METALLICITIES for k in roles.outputs)
    ):
        mine, theirs = metals[0][0], metals[1][0]
        notes.append(
            f"{surveys[0].title} has {mine} and {surveys[1].title} {theirs}: [M/H] is not [Fe/H], "
            f"so neither is translated (--corrects {theirs}={mine} to do so)"
        )
    return notes


def _values(table: Table, name: str, column: str) -> NDArray[np.float64]:
    return numbers(table, column, read_unit(QUANTITIES[name][0], name), None)[0]


def _quoted(table: Table, column: str) -> bool:
    """Say whether a column of errors has any."""
    values, gap = plain(find(table, column))
    return bool((np.isfinite(values) & ~gap).any())
