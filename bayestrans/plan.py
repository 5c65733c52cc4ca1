"""What surveys are to be made one catalogue, on which base: read from one TOML file."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .combine import MOST_SHARED
from .spec import Input
from .tables import Source
from .toml import check_keys, read_toml

if TYPE_CHECKING:
    from .posterior import Posterior

PLAN_KEYS = ("name", "base", "id", "out", "disagree", "shared", "survey")
SURVEY_KEYS = ("catalogue", "id", "model", "columns", "error_factor", "keep", "sentinels")
COLUMN_KEYS = ("column", "error", "unit", "error_floor")


class PlanError(ValueError):
    """A plan that cannot be used, with what to change."""


class PlanWarning(UserWarning):
    """Surveys of a plan that may not fit together."""


@dataclass(frozen=True)
class Member:
    """One survey of a merged catalogue.

    Parameters
    ----------
    name : str
        A short name (``galah``), which names its columns in the merged catalogue.
    catalogue : path, Table or DataFrame
        Its stars.
    id : str
        The column that names the same star in every survey, integers or text.
    model : path or Posterior, optional
        Translates it to the base.
    columns : tuple of Input
        For a survey on the base itself, in place of a model: its quantities by the names of
        the models' outputs, each with its quoted error.
    error_factor : float
        Multiplies the quoted errors of a survey on the base.
    keep : mapping of str to str, optional
        Columns that the merged catalogue keeps, by the names that they get there:
        ``{"ra": "ra_dr2", "dec": "dec_dr2"}``.
    sentinels : tuple of float, optional
        For a survey on the base: numbers that stand for "no value" in its columns, as in a
        `Spec`. A model knows those of the survey that it translates.

    Raises
    ------
    PlanError
        Without a model and columns, or with both; for the error of a quantity that is the
        quantity itself.
    """

    name: str
    catalogue: Source
    id: str
    model: str | os.PathLike[str] | Posterior | None = None
    columns: tuple[Input, ...] = ()
    error_factor: float = 1.0
    keep: Mapping[str, str] = field(default_factory=dict)
    sentinels: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.name or set(self.name) & set("/.+ "):
            raise PlanError(
                f"a survey is called {self.name!r}; use a name without '/', '.', '+' or blank"
            )
        where = f"survey {self.name!r}"
        if (self.model is None) == (not self.columns):
            both = "neither a model nor columns" if self.model is None else "a model and columns"
            raise PlanError(
                f"{where} has {both}; give a model to translate it, or columns of a survey that "
                "is on the base"
            )
        for item in self.columns:
            if item.error is None:
                raise PlanError(
                    f"{where} gives no error of {item.name}; without one it cannot be weighed"
                )
            if item.error == item.column:
                raise PlanError(
                    f"{where}: {item.name} and its error are one column; name the error"
                )
        given = {"error_factor": self.error_factor != 1.0, "sentinels": self.sentinels is not None}
        for key in (key for key, there in given.items() if there and self.model is not None):
            raise PlanError(f"{where} has a model, which needs no {key}; remove it")
        if not 0 < self.error_factor < math.inf:
            raise PlanError(f"{where}: error_factor = {self.error_factor} must be positive")


@dataclass(frozen=True)
class Plan:
    """Surveys that are to be made one catalogue.

    Parameters
    ----------
    surveys : tuple of Member
        Their order does not matter.
    name : str
        A title.
    base : str
        Whose scale it is, such as ``"APOGEE DR17"``.
    id : str
        What the column of the stars' identifiers is called in the merged catalogue.
    out : path, optional
        Where it is written by default.
    disagree : float
        Surveys whose differences are less probable than this disagree.
    shared : float or mapping of str to float, optional
        The share of the narrowest translation's variance that all translations have in
        common, for all outputs or by output; learned from the stars by default. See
        `bayestrans.combine`.

    Raises
    ------
    PlanError
        For no survey, two of one name, or a number out of its range.
    """

    surveys: tuple[Member, ...]
    name: str = "merged"
    base: str = ""
    id: str = "star_id"
    out: Path | None = None
    disagree: float = 0.001
    shared: float | Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if not self.surveys:
            raise PlanError("the plan has no survey; give at least one [survey.NAME]")
        if not all(isinstance(one, Member) for one in self.surveys):
            raise PlanError("surveys must be a tuple of Member; Plan.from_toml reads a file")
        names = [one.name for one in self.surveys]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise PlanError(f"two surveys are called {twice[0]!r}; rename one")
        if not 0 < self.disagree < 1:
            raise PlanError(f"disagree = {self.disagree} must lie between 0 and 1, such as 0.001")
        given = self.shared if isinstance(self.shared, Mapping) else {"shared": self.shared}
        for name, value in given.items():
            if value is not None and not 0 <= value <= MOST_SHARED:
                raise PlanError(f"{name} = {value} must lie between 0 and {MOST_SHARED}")

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Plan:
        """Read a plan from a TOML file; paths in it are relative to its folder.

        Parameters
        ----------
        path : path-like
            A file with a ``[survey.NAME]`` table for each survey.

        Raises
        ------
        PlanError
            For an unreadable file, an unknown key or a missing one.
        """
        path = Path(path)
        build = partial(cls.from_dict, folder=path.parent)
        return read_toml(path, "plan", build, PlanError)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path = Path()) -> Plan:
        """Build a plan from the mapping that its TOML file holds."""
        check_keys("the top level", content, PLAN_KEYS, PlanError)
        for key in ("name", "base", "id", "out"):
            _check_type("the top level", content, key, (str,))
        _check_type("the top level", content, "disagree", (float, int))
        _check_type("the top level", content, "shared", (float, int, dict))
        if isinstance(content.get("shared"), dict):
            for key in content["shared"]:
                _check_type("[shared]", content["shared"], key, (float, int))
        tables = _tables("survey", content.get("survey", {}))
        simple = {key: content[key] for key in PLAN_KEYS if key in content and key != "survey"}
        if "out" in simple:
            simple["out"] = folder / simple["out"]
        members = tuple(_member(name, t, content.get("id"), folder) for name, t in tables)
        return cls(members, **simple)

    def ordered(self) -> Plan:
        """Return the same plan with its surveys in the order of their names."""
        return dataclasses.replace(
            self, surveys=tuple(sorted(self.surveys, key=lambda one: one.name))
        )


def _member(name: str, table: Mapping[str, Any], key: str | None, folder: Path) -> Member:
    where = f"[survey.{name}]"
    check_keys(where, table, SURVEY_KEYS, PlanError)
    for word in ("catalogue", "id", "model"):
        _check_type(where, table, word, (str,))
    _check_type(where, table, "keep", (dict,))
    keep = table.get("keep", {})
    for word in keep:
        _check_type(f"[survey.{name}.keep]", keep, word, (str,))
    _check_type(where, table, "error_factor", (float, int))
    if "catalogue" not in table:
        raise PlanError(f'{where} has no catalogue; write catalogue = "..."')
    identifier = table.get("id", key)
    if identifier is None:
        raise PlanError(
            f'{where} has no id; write id = "..." there, or at the top for all surveys: the '
            "column that names the same star in every survey"
        )
    columns = tuple(
        _column(f"[survey.{name}.columns.{quantity}]", quantity, fields)
        for quantity, fields in _tables(f"survey.{name}.columns", table.get("columns", {}))
    )
    model = folder / table["model"] if "model" in table else None
    factor = table.get("error_factor", 1.0)
    catalogue, sentinels = folder / table["catalogue"], _sentinels(where, table)
    return Member(name, catalogue, identifier, model, columns, factor, keep, sentinels)


def _sentinels(where: str, table: Mapping[str, Any]) -> tuple[float, ...] | None:
    given = table.get("sentinels")
    if given is None:
        return None
    numbers = given if isinstance(given, list) else [given]
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in numbers):
        raise PlanError(f"{where}: sentinels = {given!r} must be a list of numbers")
    return tuple(float(value) for value in numbers)


def _column(where: str, name: str, table: Mapping[str, Any]) -> Input:
    check_keys(where, table, COLUMN_KEYS, PlanError)
    for key in ("column", "error", "unit"):
        _check_type(where, table, key, (str,))
    _check_type(where, table, "error_floor", (float, int))
    for key in ("column", "error"):
        if key not in table:
            raise PlanError(f'{where} has no {key}; write {key} = "..."')
    floor = table.get("error_floor")
    if floor is not None and not 0 < floor < math.inf:
        raise PlanError(f"{where} error_floor = {floor} must be positive")
    return Input(name, **table)


def _tables(where: str, content: Any) -> Iterable[tuple[str, Mapping[str, Any]]]:
    if not isinstance(content, Mapping) or not all(
        isinstance(table, Mapping) for table in content.values()
    ):
        raise PlanError(f"[{where}] must hold tables; write [{where}.NAME]")
    return content.items()


def _check_type(where: str, table: Mapping[str, Any], key: str, wanted: tuple[type, ...]) -> None:
    value = table.get(key)
    if value is not None and (not isinstance(value, wanted) or isinstance(value, bool)):
        raise PlanError(f"{where}: {key} = {value!r} must be a {wanted[0].__name__}")
