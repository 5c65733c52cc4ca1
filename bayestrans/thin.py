"""The fewest posterior draws whose summaries are those of all of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import student
from .predictive import Mixture

Floats = NDArray[np.float64]

#: Numbers of draws that are tried; the first that is good enough serves.
COUNTS = (*range(16, 64, 4), *range(64, 128, 8), *range(128, 257, 16))

#: Draws exchanged for others at the most: far more than are needed.
EXCHANGES = 200

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
    2010) at every other star; then some are exchanged for others, as long as that brings
    them nearer. The stars between say when they are enough.
    """
    checked = np.arange(mixture.location.shape[-1]) % CHECKED == CHECKED - 1
    features = _features(_at(mixture, ~checked))
    away = features - features.mean(axis=0)
    products = np.asarray(away @ away.T, dtype=np.float64)
    order = _herded(products, COUNTS[-1])
    check = _at(mixture, checked)
    n_draws = len(check.location)
    whole = _summary(check, np.arange(n_draws))
    for count in COUNTS:
        if count >= n_draws:
            break
        rows = _exchanged(products, order[:count])
        if _apart(_summary(check, rows), whole) < TOLERANCE:
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


def _herded(products: Floats, count: int) -> NDArray[np.int64]:
    """Return draws in the order in which they bring the mean of their features nearest to 0.

    From the features' scalar products (S, S).
    """
    sizes, reach = np.diag(products).copy(), np.zeros(len(products))
    order = np.empty(min(count, len(products)), dtype=np.int64)
    for place in range(len(order)):
        order[place] = best = int(np.argmin(2.0 * reach + sizes))
        reach += products[best]
        sizes[best] = np.inf
    return order


def _exchanged(products: Floats, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return as many draws whose mean is nearer to 0: the best exchange first, until none helps."""
    sizes, inside = np.diag(products), np.zeros(len(products), dtype=bool)
    inside[rows] = True
    reach = products[inside].sum(axis=0)
    for _ in range(EXCHANGES):
        own, others = np.flatnonzero(inside), np.flatnonzero(~inside)
        gain = 2.0 * reach[own] - sizes[own]
        loss = 2.0 * reach[others] + sizes[others]
        change = loss - gain[:, None] - 2.0 * products[np.ix_(own, others)]
        leaves, comes = np.unravel_index(int(np.argmin(change)), change.shape)
        if change[leaves, comes] >= -1e-9 * sizes.sum():
            break
        inside[own[leaves]], inside[others[comes]] = False, True
        reach += products[others[comes]] - products[own[leaves]]
    return np.flatnonzero(inside)
