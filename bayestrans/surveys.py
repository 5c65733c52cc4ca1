"""What a survey calls its quantities and which of its stars it trusts, as plain data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .columns import find, matches
from .tables import COMMON, CatalogueError, Layout, plain

#: Units and physical bounds of the quantities that presets know, wide enough for any star.
QUANTITIES: dict[str, tuple[str, float, float]] = {
    "teff": ("K", 2000.0, 60000.0),
    "logg": ("", -1.5, 9.5),
    "fe_h": ("", -7.0, 2.0),
    "m_h": ("", -7.0, 2.0),
    "mg_fe": ("", -3.0, 3.0),
    "alpha_fe": ("", -3.0, 3.0),
    "rv": ("km/s", -1500.0, 1500.0),
}


class SurveyError(CatalogueError):
    """A survey preset that does not fit a table or a request, with what to do."""


@dataclass(frozen=True)
class Quantity:
    """One quantity of a survey.

    Parameters
    ----------
    name : str
        One of `QUANTITIES`: ``teff`` (K), ``logg`` (dex of cm/s2), ``fe_h``,
        ``m_h``, ``mg_fe``, ``alpha_fe`` (dex), ``rv`` (km/s). [M/H] and [Fe/H]
        are two quantities, as are [alpha/Fe] and [Mg/Fe].
    column : str
        The survey's column.
    error : str or (str, str), optional
        The column of its one-sigma error, or the columns of its 16th and 84th
        percentiles: the error is then half their difference.
    calibration : tuple of float
        Coefficients of a polynomial of the value, the constant first, that the
        survey's authors add to it.

    Raises
    ------
    SurveyError
        For a name that is not known.
    """

    name: str
    column: str
    error: str | tuple[str, str] | None = None
    calibration: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in QUANTITIES:
            known = ", ".join(QUANTITIES)
            raise SurveyError(f"the quantity {self.name!r} is not known; use one of {known}")

    @property
    def unit(self) -> str:
        """The unit of the quantity; ``""`` for dex."""
        return QUANTITIES[self.name][0]

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest value that a star can have, in that unit."""
        return QUANTITIES[self.name][1:]

    @property
    def value_column(self) -> str:
        """The column of the cleaned table that holds the value."""
        return f"{self.column}_calibrated" if self.calibration else self.column

    @property
    def error_column(self) -> str | None:
        """The column of the cleaned table that holds the error."""
        return f"{self.column}_error" if isinstance(self.error, tuple) else self.error


def _clear(values: NDArray[Any], bits: Any) -> NDArray[np.bool_]:
    mask = sum(1 << int(bit) for bit in np.atleast_1d(bits))
    whole = values.astype(np.int64)
    return (whole == values) & (whole & mask == 0)


def _zero_at(values: NDArray[Any], places: Any) -> NDArray[np.bool_]:
    text = np.ascontiguousarray(values.astype(str))
    letters = text.view("U1").reshape(len(text), text.itemsize // 4)  # padded with empty ones
    there = [place for place in places if place <= letters.shape[1]]
    kept = (letters[:, [place - 1 for place in there]] == "0").all(axis=1)
    return kept & (len(there) == len(places))


class Rule(NamedTuple):
    """How a cut judges values: in words, and as a function of values and what is wanted."""

    words: str
    keeps: Callable[[NDArray[Any], Any], NDArray[np.bool_]]
    text: bool = False


#: What a cut can ask of its columns.
RULES: dict[str, Rule] = {
    "equals": Rule("is {}", lambda values, wanted: values == wanted),
    "differs": Rule("is not {}", lambda values, wanted: values != wanted),
    "above": Rule("is above {}", lambda values, wanted: values > wanted),
    "below": Rule("is below {}", lambda values, wanted: values < wanted),
    "bits clear": Rule("has bit {} clear", _clear),
    "starts with": Rule(
        "begins with {}", lambda v, wanted: np.strings.startswith(v.astype(str), wanted), text=True
    ),
    "zero at": Rule("has 0 at characters {}", _zero_at, text=True),
    "blank or": Rule("is blank or {}", lambda values, wanted: np.isin(values, wanted), text=True),
}


#: Bits of an integer, and characters of a text, that a cut can ask for.
PLACES = {"bits clear": (0, 62), "zero at": (1, 1000)}


@dataclass(frozen=True)
class Cut:
    """A published quality cut: which stars to keep.

    Parameters
    ----------
    name : str
        By which it is switched off.
    columns : tuple of str
        A star is kept where the rule holds for each of them. What is missing is
        bad, except for the rule ``"blank or"``.
    rule : str
        One of `RULES`: ``"equals"``, ``"differs"``, ``"above"``, ``"below"``,
        ``"bits clear"`` (bit 0 is the lowest), ``"starts with"``, ``"zero at"``
        (characters, counted from 1), ``"blank or"`` (one of these words).
    wanted : str, bool, float, tuple of int or tuple of str
        What the rule compares with.
    description : str
        Why the survey asks for it.

    Raises
    ------
    SurveyError
        For a bit or a character that there cannot be.
    """

    name: str
    columns: tuple[str, ...]
    rule: str
    wanted: str | bool | float | tuple[int, ...] | tuple[str, ...]
    description: str

    def __post_init__(self) -> None:
        low, high = PLACES.get(self.rule, (-math.inf, math.inf))
        places = self.wanted if self.rule in PLACES and isinstance(self.wanted, tuple) else ()
        wrong = [p for p in places if not isinstance(p, int) or not low <= p <= high]
        if wrong:
            raise SurveyError(
                f"the cut {self.name!r}: {self.rule} {wrong[0]} must be {low} to {high}"
            )

    def __str__(self) -> str:
        several = isinstance(self.wanted, tuple)
        wanted = " or ".join(map(str, self.wanted)) if several else str(self.wanted)  # type: ignore[arg-type]
        if self.rule in ("bits clear", "zero at"):
            wanted = wanted.replace(" or ", " and ")
        return f"{' and '.join(self.columns)} {RULES[self.rule].words.format(wanted)}"

    def missing(self, table: Table) -> tuple[str, ...]:
        """Return the columns that the cut needs and the table lacks."""
        return tuple(name for name in self.columns if not matches(table, name))

    def keeps(self, table: Table) -> NDArray[np.bool_]:
        """Return an array (N,), True for the stars that pass.

        Raises
        ------
        CatalogueError
            For a column that is missing, ambiguous or of the wrong kind.
        """
        kept = np.ones(len(table), dtype=bool)
        rule = RULES[self.rule]
        for name in self.columns:
            values, gap = plain(find(table, name, values=False))
            good = ~gap if values.dtype.kind != "f" else ~gap & np.isfinite(values)
            passed = np.zeros(len(table), dtype=bool)
            if good.any():
                self._check_kind(name, values)
                passed[good] = rule.keeps(values[good], self.wanted)
            kept &= passed | ~good if self.rule == "blank or" else passed
        return kept

    def _check_kind(self, name: str, values: NDArray[Any]) -> None:
        wants_text = RULES[self.rule].text or isinstance(self.wanted, str)
        if wants_text and values.dtype.kind != "U":
            raise SurveyError(
                f"{name}: holds numbers where the cut {self.name!r} needs text (leading zeros "
                f"are lost); store it as text or leave the cut out (--without {self.name})"
            )
        if not wants_text and values.dtype.kind not in "biuf":
            raise SurveyError(
                f"{name}: holds text where the cut {self.name!r} needs numbers; "
                f"convert it or leave the cut out (--without {self.name})"
            )


class GaiaId(NamedTuple):
    """Where a survey keeps Gaia's source identifier.

    Attributes
    ----------
    column : str
    release : str
        The Gaia release that gave it; identifiers of EDR3 and DR3 are the same.
    also : tuple of str
        Other names under which tables cut from the survey carry it.
    """

    column: str
    release: str
    also: tuple[str, ...] = ()


class Sky(NamedTuple):
    """Where a survey keeps places on the sky.

    Attributes
    ----------
    ra, dec : str
        Columns in degrees.
    epoch : float
        The year of the positions.
    pm_ra, pm_dec : str, optional
        Columns of proper motions in mas/yr, that in right ascension times cos(dec).
    """

    ra: str
    dec: str
    epoch: float
    pm_ra: str | None = None
    pm_dec: str | None = None


class VizieR(NamedTuple):
    """Where VizieR has the catalogue.

    Attributes
    ----------
    table : str
        Its name there, such as ``"III/286/catalog"``.
    names : dict of str to str
        The survey's own name of each column that is called otherwise there;
        names that differ in case and punctuation only are recognised.
    """

    table: str
    names: dict[str, str]


@dataclass(frozen=True)
class Survey:
    """A preset: the columns, gaps and quality cuts of one release of one survey.

    Parameters
    ----------
    name : str
        Such as ``"galah-dr3"``.
    title : str
        Such as ``"GALAH DR3"``; it ends with ``"(provisional)"`` where the
        preset is not verified.
    source : str
        Where columns and cuts are from.
    verified : bool
        True where they are those of the survey's own pages or paper.
    id : str
        The column that identifies an observation or a star.
    quantities : tuple of Quantity
    cuts : tuple of Cut
    gaia : GaiaId, optional
    sky : Sky, optional
    sentinels : tuple of float
        Numbers that stand for "no value".
    snr : str, optional
        The column of signal to noise that chooses between repeated stars.
    layout : Layout
        How its file is read.
    vizier : VizieR, optional
    page : str
        Where its file is to be had.
    notes : str
        What to know before using it.
    """

    name: str
    title: str
    source: str
    verified: bool
    id: str
    quantities: tuple[Quantity, ...]
    cuts: tuple[Cut, ...]
    gaia: GaiaId | None = None
    sky: Sky | None = None
    sentinels: tuple[float, ...] = ()
    snr: str | None = None
    layout: Layout = COMMON
    vizier: VizieR | None = None
    page: str = ""
    notes: str = ""

    @property
    def gaia_columns(self) -> tuple[str, ...]:
        """Names that the column of Gaia's identifier may have, the survey's own first."""
        own = (self.gaia.column, *self.gaia.also) if self.gaia else ()
        return tuple(dict.fromkeys((*own, "gaia_source_id")))

    def __str__(self) -> str:
        standing = "verified" if self.verified else "provisional: check it against the release"
        lines = [f"{self.name}: {self.title}", f"  standing   {standing}"]
        lines += [f"  source     {self.source}", f"  identifier {self.id}"]
        if self.gaia:
            lines.append(f"  Gaia id    {self.gaia.column} ({self.gaia.release})")
        if self.sky:
            motion = (
                f", proper motions {self.sky.pm_ra} {self.sky.pm_dec}" if self.sky.pm_ra else ""
            )
            lines.append(f"  position   {self.sky.ra} {self.sky.dec} at {self.sky.epoch:g}{motion}")
        lines += self._file_lines()
        lines += ["", f"  {'quantity':10s}{'column':26s}{'error':46s}{'unit':6s}bounds"]
        for item in self.quantities:
            error = " to ".join(item.error) if isinstance(item.error, tuple) else item.error or "-"
            low, high = item.bounds
            row = f"  {item.name:10s}{item.column:26s}{error:46s}{item.unit or 'dex':6s}"
            lines.append(f"{row}{low:g} to {high:g}")
        lines += ["", "  cuts (keep a star where)"]
        for cut in self.cuts:
            lines.append(f"  {cut.name:16s}{': '.join(filter(None, (str(cut), cut.description)))}")
        return "\n".join([*lines, *(["", f"  {self.notes}"] if self.notes else [])])

    def _file_lines(self) -> list[str]:
        lines = []
        if self.sentinels:
            lines.append(f"  sentinels  {', '.join(f'{value:g}' for value in self.sentinels)}")
        if self.snr:
            lines.append(f"  S/N        {self.snr}")
        if self.layout.hdus:
            lines.append(f"  tables     {', '.join(self.layout.hdus)}, row by row")
        if self.layout.separator != ",":
            lines.append(f"  separator  {self.layout.separator}")
        where = [f"VizieR {self.vizier.table}"] if self.vizier else []
        where += [self.page] if self.page else []
        return lines + ([f"  file       {'; '.join(where)}"] if where else [])
