"""Joint calibration of all outputs: coverage about random points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .calibration import DOUBTING

Floats = NDArray[np.float64]

#: Where a star's reference point lies on the way from the centre of its predictive (0)
#: to one random draw of it (1). Far from the predictive every region would be nearly a
#: half-space, which holds half of the truth however wide the predictive is; exactly at
#: the centre the point would not be random, and a predictive that is skewed to the wrong
#: side would pass. Half-way keeps most of the centre's power against a wrong width or
#: correlation.
REACH = 0.5

#: One draw for the metric's centre, one for its spread and two to rank among.
LEAST_DRAWS = 4

#: Stars that are treated at once: bounds the memory.
PART = 256


def credibility(draws: Floats, values: Floats, *, seed: int = 0) -> Floats:
    """Return how much of each star's predictive lies nearer to a random point than its value.

    Where the predictive is right, these numbers are uniform between 0 and 1; too
    large ones mean that it is too narrow in some direction of the outputs' space.

    Parameters
    ----------
    draws : (S, N, K) array
        Independent joint draws of what is measured, S for each star; of each four from the
        first on one may be of another law (`calibration.doubting`).
    values : (N, K) array
        The measured values; NaN where missing, which leaves the other outputs.
    seed : int
        Of the reference points.

    Returns
    -------
    (N,) array
        NaN for stars without a value or a finite predictive, and throughout
        for fewer than four draws.

    Notes
    -----
    The test of accuracy with random points (TARP; Lemos et al. 2023, ICML 40,
    19256) holds for any reference point and any distance that do not look at
    the measured value. Both are taken from the star's own predictive: half of
    the draws gives its covariance, in which the distances are Mahalanobis
    distances, and the reference point (see `REACH`); the value is then ranked
    among the other draws. In plain units a wrong correlation would hardly be
    seen, because round regions hold much the same share of differently tilted
    ellipses.

    A predictive that ignores the inputs passes if its spread is right for the
    stars as a whole: like every test of calibration, this one says nothing of
    sharpness. A proper score does.
    """
    rng = np.random.default_rng(seed)
    metric = _metric(len(draws))
    chosen = rng.integers(max(1, int(metric.sum())), size=len(values))
    jitter = rng.random(len(values))
    share = np.full(len(values), np.nan)
    known = np.isfinite(values).any(axis=1) & np.isfinite(draws).all(axis=(0, 2))
    rows = np.flatnonzero(known)
    if len(draws) >= LEAST_DRAWS:
        for part in np.array_split(rows, max(1, len(rows) // PART)):
            halves = draws[metric][:, part], draws[~metric][:, part]
            share[part] = _rank(*halves, values[part], chosen[part], jitter[part])
    return share


def coverage(credibility: Floats, levels: Sequence[float] | Floats) -> Floats:
    """Return the share of the stars inside the joint region of each nominal probability.

    Parameters
    ----------
    credibility : (N,) array
        What `credibility` returned; NaN is left out.
    levels : sequence of float
        Nominal probabilities.

    Returns
    -------
    array
        Equal to ``levels``, within the binomial noise of N stars, where the
        predictive is right; less where it is too narrow. NaN without stars.
    """
    nominal = np.asarray(levels, dtype=np.float64)
    known = credibility[np.isfinite(credibility)]
    if len(known) == 0:
        return np.full(nominal.shape, np.nan)
    return np.asarray(np.searchsorted(np.sort(known), nominal, side="right") / len(known))


def _metric(count: int) -> NDArray[np.bool_]:
    """Say which of so many draws serve for the metric: every second four, of few every second."""
    return np.arange(count) // (DOUBTING if count >= 2 * DOUBTING else 1) % 2 == 0


def _rank(
    metric: Floats,
    ranked: Floats,
    values: Floats,
    chosen: NDArray[np.int64],
    jitter: Floats,
) -> Floats:
    """Return the credibility of stars that have draws and a value."""
    seen = np.isfinite(values)
    # A missing output is zero in all of them, so that it adds nothing to any distance.
    metric, ranked = (np.moveaxis(np.where(seen, d, 0.0), 0, 1) for d in (metric, ranked))
    values = np.where(seen, values, 0.0)
    centre = metric.mean(axis=1)
    reference = centre + REACH * (metric[np.arange(len(values)), chosen] - centre)
    white = _whitening(metric - centre[:, None])
    distance = (((ranked - reference[:, None]) @ white) ** 2).sum(axis=2)
    measured = (((values - reference)[:, None] @ white) ** 2).sum(axis=2)
    # The value is one more draw if the predictive is right: its place among them, with a
    # random fraction, is uniform for any number of draws.
    return np.asarray(((distance < measured).sum(axis=1) + jitter) / (ranked.shape[1] + 1))


def _whitening(away: Floats) -> Floats:
    """Return matrices (N, K, K) that turn deviations (N, S, K) into white ones."""
    count = away.shape[1]
    covariance = np.swapaxes(away, 1, 2) @ away / count
    variance = covariance.diagonal(axis1=1, axis2=2).copy()
    # Few draws give a nearly singular matrix; less correlation is still a valid metric.
    wide = (variance > 0).sum(axis=1)[:, None, None]
    covariance *= count / (count + wide)
    place = np.arange(away.shape[2])
    covariance[:, place, place] = np.where(variance > 0, variance, 1.0)
    return np.swapaxes(np.linalg.inv(np.linalg.cholesky(covariance)), 1, 2)
