"""Do the surveys of a plan fit together? What is refused, and what is said of their differences."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .merge import Answered, Stars
from .plan import Plan, PlanError, PlanWarning
from .posterior import Posterior
from .spec import Output
from .tables import digest, read_table

log = logging.getLogger("bayestrans")

#: A median difference beyond this share of its uncertainty, and beyond so many of its own
#: standard errors, is of two scales rather than of stars.
APART, CERTAIN = 0.3, 4.0
#: Fewer stars in common tell nothing.
LEAST_COMMON = 20


def check_surveys(plan: Plan, models: Mapping[str, Posterior]) -> None:
    """Refuse a catalogue that is not there, or that counts twice; warn of other identifiers."""
    for one in plan.surveys:
        if isinstance(one.catalogue, str | os.PathLike) and not Path(one.catalogue).exists():
            read_table(one.catalogue)  # says what is wrong with it
    said: dict[tuple[str, object], str] = {}
    for one in plan.surveys:
        what = models[one.name].digest if one.name in models else one.columns
        other = said.setdefault((digest(one.catalogue), what), one.name)
        if other != one.name:
            raise PlanError(
                f"surveys {other!r} and {one.name!r} are one catalogue with one meaning, which "
                "would count twice; remove one"
            )
    releases = {}
    for one in plan.surveys:
        spec = models[one.name].spec if one.name in models else None
        if spec is not None and spec.id_release and spec.id == one.id:
            releases[one.name] = spec.id_release
    if len(set(releases.values())) > 1:
        told = ", ".join(f"{name}: {release}" for name, release in releases.items())
        warnings.warn(
            f"the identifiers are of different releases ({told}), between which some change; "
            "name columns of one release as id",
            PlanWarning,
            stacklevel=3,
        )


def compare_surveys(
    surveys: Sequence[Answered],
    stars: Stars,
    used: NDArray[np.bool_],
    outputs: Sequence[Output],
) -> None:
    """Log by how much each two surveys differ, and warn where they are not on one scale."""
    alone = {one.name for one in surveys}
    apart = []
    for s, t in combinations(range(len(surveys)), 2):
        both = np.flatnonzero(used[:, s] & used[:, t])
        if not len(both):
            continue
        alone -= {surveys[s].name, surveys[t].name}
        pair = f"{surveys[s].name} - {surveys[t].name}"
        told = []
        for k, output in enumerate(outputs):
            found = _difference(surveys[s], surveys[t], stars.rows[both][:, (s, t)], k)
            if found is None:
                continue
            median, z, error = found
            text = f"{output.name} {median:+.3g} {output.unit}".rstrip() + f" ({z:+.2f} sigma)"
            told.append(text)
            if abs(z) > max(APART, CERTAIN * error):
                apart.append(f"{pair}, {text}")
        if told:
            log.info(f"{pair}, median of {len(both)} stars: {', '.join(told)}")
    if apart:
        warnings.warn(
            f"surveys are not on one scale: {'; '.join(apart)}; look whether each model leads to "
            "the base of the plan, and each catalogue is of the survey that its model translates",
            PlanWarning,
            stacklevel=3,
        )
    if len(surveys) > 1 and alone:
        log.warning(  # not all surveys overlap: it may be right
            f"{', '.join(sorted(alone))}: no star is in another survey too; if some should be, the "
            "identifiers are of different releases or kinds"
        )


def _difference(
    one: Answered, other: Answered, rows: NDArray[np.int64], k: int
) -> tuple[float, float, float] | None:
    """Return the median difference of an output, in units of its uncertainty, and its error."""
    first, second = rows.T
    inside = (one.classes[first] != "outside") & (other.classes[second] != "outside")
    first, second = first[inside], second[inside]
    away = one.mean[first, k] - other.mean[second, k]
    z = away / np.hypot(one.core[first, k], other.core[second, k])
    known = np.isfinite(z)
    if known.sum() < LEAST_COMMON:
        return None
    width = float(stats.median_abs_deviation(z[known], scale="normal"))
    error = np.sqrt(np.pi / 2) * width / np.sqrt(known.sum())
    return float(np.median(away[known])), float(np.median(z[known])), float(error)
