"""The fewest posterior draws whose summaries are those of all of them."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import student
from .predictive import Mixture

Floats = NDArray[np.float64]

#: Numbers of draws that are tried; the first that is good enough serves.
COUNTS = (16, 20, 24, 28, 32, 36, 40, 44, 48, 56, 64, 80, 96, 128, 160, 192, 256)

#: How far the summaries may be from those of all draws, as a root mean square over stars and
#: outputs: means and quantiles in units of the core's width, widths relative, correlations as
#: they are. 0.02 is meant; stars of a catalogue are rarer than those that are asked here, and
#: further off by a fifth (`benchmarks/translate.py` prints it).
TOLERANCE = 0.016

#: How much the means weigh in the choice of the draws: they are off by most.
MEANS = 2.0

#: Exchanges of one draw for another at the most.
EXCHANGES = 200

#: One star in this many says when there are enough draws; the others choose them.
CHECKED = 2


class _Draws(NamedTuple):
    """The mixture of some stars in double precision: ``location`` and ``scale`` (S, K, N).

    ``variance`` (S,) is that of noise of unit scale.
    """

    location: Floats
    scale: Floats
    corr: Floats
    variance: Floats


class _Summary(NamedTuple):
    """What some draws say of each star.

    ``mean``, ``core`` and ``sd`` (K, N); ``corr`` (K, K, N). ``core`` is the width without
    the factor of the tails: with outliers the standard deviation can be several times larger,
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
    2010) at every other star, and exchanged for others while that brings them nearer still.
    The stars between say when they are enough.
    """
    checked = np.arange(mixture.location.shape[-1]) % CHECKED == CHECKED - 1
    features = _features(_at(mixture, ~checked))
    features -= features.mean(axis=0)
    products = features @ features.T
    order = _herded(products, COUNTS[-1])
    check = _at(mixture, checked)
    n_draws = len(check.location)
    whole = _summary(check, np.arange(n_draws))
    for count in COUNTS:
        if count >= n_draws:
            break
        rows = np.sort(_exchanged(products, order[:count]))
        if _apart(_summary(check, rows), whole) < TOLERANCE:
            return rows
    return np.arange(n_draws)


def _at(mixture: Mixture, stars: NDArray[np.bool_]) -> _Draws:
    parts = (*mixture[:3], student.variance(mixture.tails))
    location, scale, corr, variance = (np.asarray(part, dtype=np.float64) for part in parts)
    return _Draws(location[..., stars], scale[..., stars], corr, variance)


def _summary(draws: _Draws, rows: NDArray[np.int64]) -> _Summary:
    location, scale, corr, variance = (part[rows] for part in draws)
    mean = location.mean(axis=0)
    away = location - mean
    shape = (location.shape[1], *location.shape[1:])
    core, covariance = np.empty(shape), np.empty(shape)
    for i, j in combinations_with_replacement(range(len(mean)), 2):
        between = np.einsum("sn,sn->n", away[:, i], away[:, j]) / len(rows)
        for total, tails in ((core, np.ones(len(rows))), (covariance, variance)):
            weight = tails * corr[:, i, j] / len(rows)
            noise = np.einsum("s,sn,sn->n", weight, scale[:, i], scale[:, j])
            total[i, j] = total[j, i] = between + noise
    sd = np.sqrt(np.einsum("iin->in", covariance))
    width = np.sqrt(np.einsum("iin->in", core))
    return _Summary(mean, width, sd, covariance / (sd[:, None] * sd[None]))


def _apart(found: _Summary, whole: _Summary) -> float:
    """Return how far the summaries are off: the largest root mean square.

    Quantiles lie where means and widths put them.
    """
    mean, core = (found.mean - whole.mean) / whole.core, found.core / whole.core - 1.0
    parts = (
        mean,
        mean - core,
        mean + core,
        core,
        found.sd / whole.sd - 1.0,
        found.corr - whole.corr,
    )
    return max(float(np.sqrt(np.mean(part**2))) for part in parts)


def _features(draws: _Draws) -> NDArray[np.float32]:
    """Return what the summaries are means of, (S, F), over each star's widths."""
    whole = _summary(draws, np.arange(len(draws.variance)))
    away = ((draws.location - whole.mean) / whole.core).astype(np.float32)
    first, second = np.triu_indices(away.shape[1])
    twice = np.where(first == second, 1.0, np.sqrt(2.0)).astype(np.float32)[:, None]
    corr = draws.corr[:, first, second, None].astype(np.float32) * twice
    parts = [MEANS * away, away[:, first] * away[:, second] * twice]
    for tails, width in (
        (np.ones(len(draws.variance)), whole.core),
        (np.sqrt(draws.variance), whole.sd),
    ):
        unit = (draws.scale * tails[:, None, None] / width).astype(np.float32)
        parts.append(unit[:, first] * unit[:, second] * corr)
    return np.concatenate([part.reshape(len(away), -1) for part in parts], axis=1)


def _herded(products: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return draws in the order in which they bring the mean of their features nearest to 0.

    From the scalar products (S, S) of those.
    """
    sizes, reach = np.diag(products).copy(), np.zeros(len(products))
    order = np.empty(min(count, len(products)), dtype=np.int64)
    for place in range(len(order)):
        order[place] = best = int(np.argmin(2.0 * reach + sizes))
        reach += products[best]
        sizes[best] = np.inf
    return order


def _exchanged(products: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return as many draws, one after the other exchanged for the one that serves best."""
    rows, sizes = rows.copy(), np.diag(products)
    least = 1e-5 * float(sizes.mean())  # less is rounding
    reach = products[:, rows].sum(axis=1, dtype=np.float64)
    inside = np.zeros(len(products), dtype=bool)
    inside[rows] = True
    for _ in range(EXCHANGES):
        change = (sizes - 2.0 * reach)[rows, None] + (sizes + 2.0 * reach) - 2.0 * products[rows]
        change[:, inside] = np.inf
        place, best = np.unravel_index(np.argmin(change), change.shape)
        if change[place, best] > -least:
            break
        reach += products[best] - products[rows[place]]
        inside[rows[place]], inside[best] = False, True
        rows[place] = best
    return rows
