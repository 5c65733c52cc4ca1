"""The fewest posterior draws whose summaries are those of all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import student
from .predictive import Mixture

Floats = NDArray[np.float64]

#: Numbers of draws that are tried; the first that is good enough serves.
COUNTS = (16, 24, 32, 48, 64, 96, 128, 192, 256)

#: How far mean, standard deviation (over the standard deviation) and correlations may be from
#: those of all draws, as a root mean square over stars and outputs.
TOLERANCE = 0.02

#: One star in this many says when there are enough draws; the others choose them.
CHECKED = 4


def fewest(mixture: Mixture) -> NDArray[np.int64]:
    """Return the positions of the fewest draws that summarise probe stars as all do.

    Draws are taken one by one, each the one that brings locations, their products and the
    noise nearest to their means over all draws (kernel herding: Chen, Welling & Smola
    2010) at three stars of four. The others say when they are enough.
    """
    features = _features(mixture)
    checked = np.arange(features.shape[-1]) % CHECKED == CHECKED - 1
    chosen, check = features[..., ~checked], features[..., checked]
    flat = chosen.reshape(len(chosen), -1)
    order = _herded(flat - flat.mean(axis=0), COUNTS[-1])
    n_outputs, total = mixture.location.shape[1], check.mean(axis=0)
    for count in COUNTS:
        rows = np.sort(order[:count])
        if count < len(check) and _apart(check[rows].mean(axis=0), total, n_outputs) < TOLERANCE:
            return rows
    return np.arange(len(check))


def _apart(found: Floats, total: Floats, n_outputs: int) -> float:
    """Return how far mean, sd and correlations are off: the largest root mean square."""
    (mean, sd, corr), (mean_all, sd_all, corr_all) = (
        _moments(part, n_outputs) for part in (found, total)
    )
    parts = ((mean - mean_all) / sd_all, sd / sd_all - 1.0, corr - corr_all)
    return max(float(np.sqrt(np.mean(part**2))) for part in parts)


def _moments(features: Floats, n_outputs: int) -> tuple[Floats, Floats, Floats]:
    """Return mean (K, N), standard deviation and correlations (K, K, N) from means of features."""
    mean, rest = features[:n_outputs], features[n_outputs:]
    products, noise = rest.reshape(2, n_outputs, n_outputs, -1)
    covariance = products - mean[:, None] * mean[None] + noise
    sd = np.sqrt(np.einsum("iin->in", covariance))
    return mean, sd, covariance / (sd[:, None] * sd[None])


def _features(mixture: Mixture) -> Floats:
    """Return what the summaries are means of, (S, K + 2 K^2, N), over each star's spread."""
    location, scale, corr, dof = (np.asarray(a, dtype=np.float64) for a in mixture[:4])
    variance = student.variance(dof)[:, None, None] * corr
    usual = np.einsum("skk->sk", variance)[:, :, None] * scale**2
    sd = np.sqrt(location.var(axis=0) + usual.mean(axis=0))
    away, unit = (location - location.mean(axis=0)) / sd, scale / sd
    parts = (
        away,
        np.einsum("sin,sjn->sijn", away, away),
        np.einsum("sin,sij,sjn->sijn", unit, variance, unit),
    )
    return np.concatenate([part.reshape(len(away), -1, away.shape[2]) for part in parts], axis=1)


def _herded(away: Floats, count: int) -> NDArray[np.int64]:
    """Return draws in the order in which they bring the mean of features (S, F) nearest to 0."""
    products = away @ away.T
    sizes, reach = np.diag(products).copy(), np.zeros(len(away))
    order = np.empty(min(count, len(away)), dtype=np.int64)
    for place in range(len(order)):
        order[place] = best = int(np.argmin(2.0 * reach + sizes))
        reach += products[best]
        sizes[best] = np.inf
    return order
