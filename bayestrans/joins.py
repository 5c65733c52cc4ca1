"""Which row of one survey's table is which of another's: by identifier, or by position."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .clean import Cleaned
from .columns import find, matches, numbers
from .identifiers import id_column
from .repeats import one_row_each
from .sky import directions, mutual_nearest
from .surveys import Survey, SurveyError
from .tables import NULL, CatalogueError, plain
from .units import read_unit

Rows = NDArray[np.intp]

#: The name by which every survey's Gaia identifier is meant.
GAIA = "gaia_source_id"
#: Below this share of the smaller table, a match is suspected.
LOW_RATE = 0.05
#: How a match by position is told.
POSITION = "position"


class Joined(NamedTuple):
    """Which rows belong together.

    Attributes
    ----------
    first, second : (M,) arrays of int
        Rows of A and of B, in the order of A.
    by : str
        How they were matched.
    key, release : str or None
        The column of A that identifies a star, and the Gaia release that it is of.
    unusable, repeated : (int, int)
        Rows of A and of B that could not be matched, and those dropped because
        another row of the same star was kept.
    policy : (str, str)
        How that row was chosen.
    rate : float
        Share of the smaller table that matched.
    separation : (M,) array or None
        Angles in arcsec, where matched by position.
    notes, warnings : tuple of str
    """

    first: Rows
    second: Rows
    by: str
    key: str | None
    release: str | None
    unusable: tuple[int, int]
    repeated: tuple[int, int]
    policy: tuple[str, str]
    rate: float
    separation: NDArray[np.float64] | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


class Key(NamedTuple):
    """Rows of a table that have an identifier, those identifiers, and where they are from."""

    rows: Rows
    values: NDArray[Any]
    column: str
    release: str | None


def by_identifier(a: Cleaned, b: Cleaned, on: str | tuple[str, str], repeats: str) -> Joined:
    """Match two tables by an identifier that both have.

    Parameters
    ----------
    a, b : Cleaned
    on : str or (str, str)
        As for `pair`.
    repeats : str
        One of `REPEATS`.

    Raises
    ------
    SurveyError
        For a column that is not there, identifiers of different kinds, repeated
        stars under ``"refuse"``, or no star in common.
    """
    both = (on, on) if isinstance(on, str) else on
    keys = [_key(one, name) for one, name in zip((a, b), both, strict=True)]
    _check_kinds(keys)
    chosen = [
        one_row_each(one, key.rows, key.values, repeats)
        for one, key in zip((a, b), keys, strict=True)
    ]
    unique = [key.values[kept] for key, (kept, _) in zip(keys, chosen, strict=True)]
    _, mine, theirs = np.intersect1d(unique[0], unique[1], assume_unique=True, return_indices=True)
    order = np.argsort(mine)
    first = keys[0].rows[chosen[0][0]][mine[order]]
    second = keys[1].rows[chosen[1][0]][theirs[order]]
    by = " = ".join(dict.fromkeys(key.column for key in keys))
    rate = _rate(len(first), a, b, len(unique[0]), len(unique[1]), by)
    return Joined(
        first,
        second,
        by,
        keys[0].column,
        keys[0].release,
        (len(a.table) - len(keys[0].rows), len(b.table) - len(keys[1].rows)),
        (len(keys[0].rows) - len(unique[0]), len(keys[1].rows) - len(unique[1])),
        (chosen[0][1], chosen[1][1]),
        rate,
        None,
        (),
        _suspicions(keys, rate),
    )


def by_position(a: Cleaned, b: Cleaned, radius: float, repeats: str) -> Joined:
    """Match stars that are each other's nearest within a radius, in arcsec.

    The table with proper motions is brought to the epoch of the other. Rows are
    one star where they have the same Gaia identifier, or else the survey's own.

    Raises
    ------
    SurveyError
        For a radius that is not positive, a survey without positions, repeated
        stars under ``"refuse"``, or no star in common.
    """
    if not 0 < radius < 3600:
        raise SurveyError(
            f"a radius of {radius:g} arcsec cannot be used; give 0 to 3600, such as 1"
        )
    places = [_place(one) for one in (a, b)]
    usable = [np.flatnonzero(place.usable) for place in places]
    chosen = [
        one_row_each(one, rows, _star(one)[rows], repeats)
        for one, rows in zip((a, b), usable, strict=True)
    ]
    kept = [rows[own] for rows, (own, _) in zip(usable, chosen, strict=True)]
    target = places[1].epoch if places[0].motion is not None else places[0].epoch
    towards = [place.at(rows, target) for place, rows in zip(places, kept, strict=True)]
    found = mutual_nearest(towards[0], towards[1], radius)
    by = f"{POSITION} within {radius:g} arcsec"
    rate = _rate(len(found.first), a, b, len(kept[0]), len(kept[1]), by)
    return Joined(
        kept[0][found.first],
        kept[1][found.second],
        by,
        _own_id(a),
        None,
        (len(a.table) - len(usable[0]), len(b.table) - len(usable[1])),
        (len(usable[0]) - len(kept[0]), len(usable[1]) - len(kept[1])),
        (chosen[0][1], chosen[1][1]),
        rate,
        found.separation,
        _place_notes(places, found.crowded),
        _suspicions([], rate),
    )


# ---- identifiers ----------------------------------------------------------------------


def _key(one: Cleaned, on: str) -> Key:
    with _said_of(one):
        column = _gaia_column(one) if on == GAIA else str(find(one.table, on, values=False).name)
        values, null = plain(id_column(one.table, column))
    gaia = on == GAIA or re.search("gaia|source_?id", column.lower()) is not None
    if gaia and values.dtype.kind == "U":
        values, null = _whole(values, null)
    if values.dtype.kind != "U":
        no_star = [float(NULL), *one.survey.sentinels]
        null = null | ~np.isfinite(values) | np.isin(values, no_star)
        null |= (values <= 0) if gaia else False
        if values[~null].size and values[~null].max() > np.iinfo(np.int64).max:
            raise SurveyError(f"{column}: identifiers beyond 2**63; store them as text")
        values = np.where(null, np.zeros((), values.dtype), values).astype(np.int64)
    rows = np.flatnonzero(~null)
    return Key(rows, values[rows], column, _release(one.survey, column) if gaia else None)


@contextmanager
def _said_of(one: Cleaned) -> Iterator[None]:
    """Say of which table a fault is."""
    try:
        yield
    except SurveyError:
        raise
    except CatalogueError as error:
        raise SurveyError(f"{one.survey.title}, {one.source}: {error}") from None


def _release(survey: Survey, column: str) -> str | None:
    """Return the Gaia release of a column: that in its name, else the preset's."""
    named = re.search(r"e?dr([1-9])(?!\d)", column.lower())
    if named:
        return f"DR{named[1]}"
    own = {name.lower() for name in survey.gaia_columns}
    return survey.gaia.release if survey.gaia and column.lower() in own else None


def _gaia_column(one: Cleaned) -> str:
    for name in one.survey.gaia_columns:
        if matches(one.table, name):
            return str(find(one.table, name, values=False).name)
    looked = ", ".join(one.survey.gaia_columns)
    raise SurveyError(
        f"{one.survey.title}: {one.source} has no Gaia identifier (looked for {looked}); "
        "name a column of each table (--on A=B) or match by position (--radius 1)"
    )


def _whole(values: NDArray[Any], null: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return digits written as text as integers, if all of them are."""
    text = np.where(null, "0", values)
    try:
        return np.array([int(word) for word in text], dtype=np.int64), null
    except (ValueError, OverflowError):
        return values, null


def _check_kinds(keys: list[Key]) -> None:
    text = [key.values.dtype.kind == "U" for key in keys]
    if text[0] != text[1]:
        kinds = " and ".join(
            f"{key.column} holds {'text' if is_text else 'integers'}"
            for key, is_text in zip(keys, text, strict=True)
        )
        raise SurveyError(f"{kinds}; name two columns of the same identifier (--on A=B)")


def _suspicions(keys: list[Key], rate: float) -> tuple[str, ...]:
    found = []
    releases = [key.release for key in keys]
    if len(set(releases)) == 2 and None not in releases:
        each = " and ".join(f"{key.column} is of Gaia {key.release}" for key in keys)
        found.append(
            f"{each}: between releases some identifiers change and some go to other stars; "
            "use columns of one release, or match by position (--radius 1)"
        )
    if rate < LOW_RATE:
        look = "both columns are the same identifier of the same release"
        found.append(
            f"only {100 * rate:.1f} % of the smaller table matched; unless the surveys hardly "
            f"overlap, look whether {look if keys else 'the radius is wide enough'}"
        )
    return tuple(found)


def _rate(matched: int, a: Cleaned, b: Cleaned, stars_a: int, stars_b: int, by: str) -> float:
    if matched == 0:
        look = "the identifiers are of the same kind and release"
        if by.startswith(POSITION):
            look = "positions are in degrees and of one epoch, or their tables have proper motions"
        raise SurveyError(
            f"no star of {a.survey.title} ({stars_a} to match) is in {b.survey.title} "
            f"({stars_b}) by {by}; check that both files cover the same sky and that {look}"
        )
    return matched / min(stars_a, stars_b)


# ---- positions ------------------------------------------------------------------------


class Place(NamedTuple):
    """Where the stars of a table are: degrees, mas/yr or None, a year, which are usable."""

    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    motion: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    epoch: float
    usable: NDArray[np.bool_]

    def at(self, rows: Rows, epoch: float) -> NDArray[np.float64]:
        """Return unit vectors (M, 3) towards some stars at an epoch."""
        ra, dec = self.ra[rows], self.dec[rows]
        if self.motion is None:
            return directions(ra, dec)
        pm_ra, pm_dec = self.motion
        return directions(ra, dec, pm_ra[rows], pm_dec[rows], epoch - self.epoch)


def _place(one: Cleaned) -> Place:
    sky = one.survey.sky
    if sky is None:
        raise SurveyError(f"the preset of {one.survey.title} has no positions; match by identifier")
    degree, speed = read_unit("deg", "position"), read_unit("mas/yr", "motion")
    motion = None
    with _said_of(one):
        ra, dec = (numbers(one.table, name, degree, None)[0] for name in (sky.ra, sky.dec))
        if sky.pm_ra and sky.pm_dec and all(matches(one.table, n) for n in (sky.pm_ra, sky.pm_dec)):
            pm_ra, pm_dec = (
                numbers(one.table, name, speed, None)[0] for name in (sky.pm_ra, sky.pm_dec)
            )
            motion = pm_ra, pm_dec
    usable = (np.abs(dec) <= 90) & (np.abs(ra) <= 360)  # False for what is missing
    return Place(ra, dec, motion, sky.epoch, usable)


def _place_notes(places: list[Place], crowded: int) -> tuple[str, ...]:
    notes = []
    years = abs(places[0].epoch - places[1].epoch)
    if years:
        motions = [place.motion for place in places if place.motion is not None]
        if not motions:
            notes.append(
                f"positions are {years:g} years apart and neither table has proper motions: "
                "fast stars are lost"
            )
        else:
            still = int((~np.isfinite(motions[0][0])).sum())
            notes.append(
                f"moved over {years:g} years by proper motions ({still} stars have none and stay)"
            )
    if crowded:
        notes.append(
            f"{crowded} stars of A have more than one star of B within the radius; "
            "the nearest was taken"
        )
    return tuple(notes)


def _star(one: Cleaned) -> NDArray[Any]:
    """Return which star each row is: by Gaia's identifier, else the survey's, else by itself."""
    name = next((n for n in one.survey.gaia_columns if matches(one.table, n)), _own_id(one))
    stars = -1 - np.arange(len(one.table))
    if name is None:
        return stars
    key = _key(one, name)
    _, star = np.unique(key.values, return_inverse=True)
    stars[key.rows] = star
    return stars


def _own_id(one: Cleaned) -> str | None:
    """Return the survey's identifier as its table writes it, if it has no gaps."""
    found = matches(one.table, one.survey.id)
    if not found or plain(find(one.table, found[0]))[1].any():
        return None
    return found[0]
