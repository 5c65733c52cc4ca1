"""The fewest posterior draws whose summaries are those of all of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import student
from .predictive import Mixture

Floats = NDArray[np.float64]

#: Numbers of draws that are tried; the first that is good enough serves.
COUNTS = (16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256)

#: How far the summaries may be from those of all draws, as a root mean square over stars and
#: outputs: means in units of the core's width, widths relative, correlations as they are.
TOLERANCE = 0.02

#: One star in this many says when there are enough draws; the others choose them.
CHECKED = 2


class _Draws(NamedTuple):
    """The mixture of some stars in double precision: ``location`` and ``scale`` (S, K, N)."""

    location: Floats
    scale: Floats
    corr: Floats
    dof: Floats


class _Summary(NamedTuple):
    """What some draws say of each star.

    ``mean``, ``core`` and ``sd`` (K, N); ``corr`` (K, K, N). ``core`` is the width without
    the factor of the tails: with dof near 2 the standard deviation is several times larger,
    and a mean that is off by little of it can be off by much of what lies between p16 and p84.
    """

    mean: Floats
    core: Floats
    sd: Floats
    corr: Floats


def fewest(mixture: Mixture) -> NDArray[np.int64]:
    """Return the positions of the fewest draws that summarise probe stars as all do.

    Draws are taken one by one, each the one that brings locations, their products and the
    noise nearest to their means over all draws (kernel herding: Chen, Welling & Smola
    2010) at every other star. Those between say when they are enough.
    """
    checked = np.arange(mixture.location.shape[-1]) % CHECKED == CHECKED - 1
    features = _features(_at(mixture, ~checked))
    order = _herded(features - features.mean(axis=0), COUNTS[-1])
    check = _at(mixture, checked)
    n_draws = len(check.location)
    whole = _summary(check, np.arange(n_draws))
    for count in COUNTS:
        rows = np.sort(order[:count])
        if count < n_draws and _apart(_summary(check, rows), whole) < TOLERANCE:
            return rows
    return np.arange(n_draws)


def _at(mixture: Mixture, stars: NDArray[np.bool_]) -> _Draws:
    location, scale, corr, dof = (np.asarray(part, dtype=np.float64) for part in mixture[:4])
    return _Draws(location[..., stars], scale[..., stars], corr, dof)


def _summary(draws: _Draws, rows: NDArray[np.int64]) -> _Summary:
    location, scale, corr, dof = (part[rows] for part in draws)
    mean = location.mean(axis=0)
    away = location - mean
    between = np.einsum("sin,sjn->ijn", away, away) / len(rows)
    core, covariance = (
        between + np.einsum("s,sin,sij,sjn->ijn", tails / len(rows), scale, corr, scale)
        for tails in (np.ones(len(rows)), student.variance(dof))
    )
    sd = np.sqrt(np.einsum("iin->in", covariance))
    width = np.sqrt(np.einsum("iin->in", core))
    return _Summary(mean, width, sd, covariance / (sd[:, None] * sd[None]))


def _apart(found: _Summary, whole: _Summary) -> float:
    """Return how far the summaries are off: the largest root mean square."""
    parts = (
        (found.mean - whole.mean) / whole.core,
        found.core / whole.core - 1.0,
        found.sd / whole.sd - 1.0,
        found.corr - whole.corr,
    )
    return max(float(np.sqrt(np.mean(part**2))) for part in parts)


def _features(draws: _Draws) -> NDArray[np.float32]:
    """Return what the summaries are means of, (S, F), over each star's widths."""
    whole = _summary(draws, np.arange(len(draws.dof)))
    away = ((draws.location - whole.mean) / whole.core).astype(np.float32)
    corr = draws.corr.astype(np.float32)
    parts = [away, np.einsum("sin,sjn->sijn", away, away)]
    for tails, width in (
        (np.ones(len(draws.dof)), whole.core),
        (np.sqrt(student.variance(draws.dof)), whole.sd),
    ):
        unit = (draws.scale * tails[:, None, None] / width).astype(np.float32)
        parts.append(np.einsum("sin,sij,sjn->sijn", unit, corr, unit))
    return np.concatenate([part.reshape(len(away), -1) for part in parts], axis=1)


def _herded(away: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return draws in the order in which they bring the mean of features (S, F) nearest to 0."""
    products = away @ away.T
    sizes, reach = np.diag(products).copy(), np.zeros(len(away))
    order = np.empty(min(count, len(away)), dtype=np.int64)
    for place in range(len(order)):
        order[place] = best = int(np.argmin(2.0 * reach + sizes))
        reach += products[best]
        sizes[best] = np.inf
    return order
