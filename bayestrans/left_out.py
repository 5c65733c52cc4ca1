"""Training stars as the fit would predict them had it not seen them, without another fit."""

from __future__ import annotations

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from .held_out import HeldOut
from .measured import scaled, star_densities
from .pairs import Pairs
from .posterior import BlockDraws, Posterior

Floats = NDArray[np.float64]

#: Stars that are left out in turn, at most.
MOST_STARS = 3000
#: Draws that stand for the law of each.
KEPT = 64
#: Fewer draws have no tail to smooth, and those of one chain may be of anything.
LEAST_DRAWS, LEAST_CHAINS = 100, 2
#: A star's weights are of few draws beyond this Pareto k; where that holds for so large a share
#: of the stars, the draws do not tell what they would be without one.
PARETO_K, UNRELIABLE = 0.7, 0.25


def left_out(
    posterior: Posterior, block: BlockDraws, pairs: Pairs, score: Floats
) -> list[HeldOut] | None:
    """Leave training stars out in turn, by weights of the draws of one network.

    Pareto-smoothed importance sampling (Vehtari et al. 2024, JMLR 25, 72) of the draws with
    weights of one over the density of all rows of the star, then draws by these weights.

    Parameters
    ----------
    posterior : Posterior
        Not calibrated.
    block : BlockDraws
        One of its networks.
    pairs : Pairs
        The training stars of that network.
    score : (N,) array
        Their support among the other stars.

    Returns
    -------
    list of HeldOut or None
        For each output of the network; None where the draws cannot tell: of one chain, too few,
        too few of them near what they would be without a star, or where most stars have gaps.
    """
    chains, draws = next(iter(block.draws.values())).shape[:2]
    gaps = posterior.gaps.missing(pairs.x, pairs.x_err)
    if chains < LEAST_CHAINS or chains * draws < LEAST_DRAWS or gaps.mean() > 0.5:
        return None
    rows = _some(np.where(gaps, -1, pairs.star))
    stars = pairs.take(rows)
    chosen = _chosen(star_densities(posterior, block, stars), stars.star)
    return None if chosen is None else _under(posterior, block, stars, chosen, score[rows], rows)


def _some(star: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of `MOST_STARS` of the stars, all rows of each; those of -1 are none."""
    lot = np.random.default_rng(0).permutation(star.max() + 1)
    last = np.sort(lot[np.unique(star[star >= 0])])[:MOST_STARS][-1]
    return np.flatnonzero((star >= 0) & (lot[star] <= last))


def _chosen(density: Floats, star: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return which draws (N, `KEPT`) leave each star out, from log densities (S, N) of rows."""
    _, place = np.unique(star, return_inverse=True)
    total = np.zeros((place.max() + 1, len(density)))
    np.add.at(total, place, density.T)
    log_weight, k = array_stats.psislw(total)
    if not np.mean(k < PARETO_K) > 1.0 - UNRELIABLE:  # not a number is not reliable either
        return None
    below = np.cumsum(np.exp(log_weight - log_weight.max(axis=1, keepdims=True)), axis=1)
    at = (np.arange(KEPT) + 0.5) / KEPT
    found = [np.searchsorted(row, at * row[-1]) for row in below]
    return np.array(found)[place]


def _under(
    posterior: Posterior,
    block: BlockDraws,
    stars: Pairs,
    chosen: NDArray[np.int64],
    score: Floats,
    row: NDArray[np.int64],
) -> list[HeldOut]:
    """Return stars each under draws (N, S) of its own."""
    delta, err = scaled(posterior, stars)
    outputs = list(block.block.outputs)
    laws = np.empty((6, chosen.shape[1], len(stars), len(outputs)), np.float32)
    for rows, mixture in posterior.mixtures(block, stars.x, stars.x_err):
        draw, star = chosen[rows].T, np.arange(len(rows))
        location, scale = (np.swapaxes(np.asarray(part), 1, 2) for part in mixture[:2])
        laws[0, :, rows], laws[1, :, rows] = (
            np.swapaxes(part[draw, star], 0, 1) for part in (location, scale)
        )
        noise = np.asarray(mixture.error_factor)[draw] * err[np.ix_(rows, outputs)]
        laws[2, :, rows] = np.swapaxes(noise, 0, 1)
        for law, part in zip(laws[3:], mixture.tails, strict=True):
            law[:, rows] = np.asarray(part)[draw][..., None]
    found = []
    for place, k in enumerate(outputs):
        here = np.isfinite(delta[:, k])
        rest = (values[here].astype(np.float32) for values in (delta[:, k], score, row))
        found.append(HeldOut(*laws[:, :, here, place], *rest))
    return found
