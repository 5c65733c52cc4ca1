"""Shapley effects: how much of a function's variance each of some correlated inputs explains."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from .density import Density

Floats = NDArray[np.float64]

#: All 2^P coalitions are visited: this many players at most.
MOST_PLAYERS = 10

#: The sample is as many independently scrambled Sobol sequences; they tell its error.
REPLICATES = 8

#: Stars looked at together: bounds the memory.
PART = 512

#: Least probability of a normal variate: none lies beyond six sigma.
TAIL = 1e-9


class Population(NamedTuple):
    """A mixture of normals that stars are drawn from.

    Attributes
    ----------
    weight : (C,) array
    mean : (C, F) array
    covariance : (C, F, F) array
    """

    weight: Floats
    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, density: Density, columns: Sequence[int]) -> Population:
        """Return the marginal density of some of the features."""
        chosen = list(columns)
        covariance = density.covariance[:, chosen][:, :, chosen]
        return cls(density.weight, density.mean[:, chosen], covariance)

    def redrawn(self, z: Floats, kept: NDArray[np.bool_], uniform: Floats) -> Floats:
        """Return stars (N, F) that share some features with others and have the rest redrawn.

        Parameters
        ----------
        z : (N, F) array
        kept : (F,) array of bool
            The features that stay as they are; without any, all is drawn anew.
        uniform : (N, F + 1) array
            Numbers between 0 and 1 that choose the component, then each feature: the
            same ones for every coalition, so that noise drops out of their differences.
        """
        share = np.cumsum(special.softmax(self._log_density(z, kept), axis=1), axis=1)
        component = (uniform[:, :1] > share[:, :-1]).sum(axis=1)
        normal = special.ndtri(np.clip(uniform[:, 1:], TAIL, 1.0 - TAIL))[:, ~kept]
        found = z.copy()
        for c in np.unique(component):
            rows, cov = component == c, self.covariance[c]
            towards = np.linalg.solve(cov[np.ix_(kept, kept)], cov[np.ix_(kept, ~kept)])
            left = cov[np.ix_(~kept, ~kept)] - cov[np.ix_(~kept, kept)] @ towards
            centre = self.mean[c, ~kept] + (z[rows][:, kept] - self.mean[c, kept]) @ towards
            noise = normal[rows] @ np.linalg.cholesky(left).T
            found[np.ix_(rows, ~kept)] = centre + noise
        return found

    def _log_density(self, z: Floats, kept: NDArray[np.bool_]) -> Floats:
        """Return the log of weight and density of the kept features (N, C), up to a constant."""
        found = np.tile(np.log(self.weight), (len(z), 1))
        for c, (mean, covariance) in enumerate(zip(self.mean, self.covariance, strict=True)):
            root = np.linalg.cholesky(covariance[np.ix_(kept, kept)])
            white = np.linalg.solve(root, (z[:, kept] - mean[kept]).T)
            found[:, c] -= 0.5 * (white**2).sum(axis=0) + np.log(np.diag(root)).sum()
        return found


class Effects(NamedTuple):
    """Shapley effects of the players, from each of R independent samples of stars.

    Attributes
    ----------
    shapley : (R, P, ...) array
        They sum to the variance, in each sample.
    variance : (R, ...) array
        Of the function over the stars.
    """

    shapley: Floats
    variance: Floats


def effects(
    function: Callable[[Floats], Any],
    population: Population,
    players: Sequence[Sequence[int]],
    *,
    size: int,
    seed: int = 0,
    done: Callable[[], object] = lambda: None,
) -> Effects:
    r"""Share a function's variance among its inputs, which may be correlated.

    Parameters
    ----------
    function : callable
        ``function(z)`` of stars (N, F) returns values (..., N); it runs in threads.
    population : Population
        Where the stars come from.
    players : sequence of sequences of int
        The features of each player; each feature belongs to one.
    size : int
        Stars in each of the `REPLICATES` samples, a power of two.
    seed : int
    done : callable
        Called after each coalition of each of the `parts` of each sample.

    Returns
    -------
    Effects

    Notes
    -----
    The worth of a coalition :math:`S` is
    :math:`V_S = \mathrm{Var}\,\langle f | x_S \rangle` (Owen 2014, SIAM/ASA JUQ 2, 245),
    and what is left, :math:`\langle \mathrm{Var}(f | x_S) \rangle`, is half the mean
    square difference of :math:`f` between two stars with the same :math:`x_S`, the rest
    drawn independently from its conditional density (Song, Nelson & Staum 2016, SIAM/ASA
    JUQ 4, 1060); between two unrelated stars it is the variance. All coalitions are
    visited, with the same random numbers.
    """
    subsets = np.arange(2 ** len(players))
    member = (subsets[:, None] >> np.arange(len(players))) & 1 == 1
    width = population.mean.shape[1]
    kept = np.zeros((len(subsets), width), dtype=bool)
    for p, columns in enumerate(players):
        kept[:, list(columns)] = member[:, [p]]

    def sample(rng: np.random.Generator) -> Any:
        uniform, left = _uniform(rng, 2 * (width + 1), size), 0.0
        for part in np.array_split(uniform, parts(size)):
            first, second = np.split(part, 2, axis=1)
            z = population.redrawn(np.zeros((len(part), width)), kept[0], first)
            left = left + over_coalitions(z, second)
        return left

    def over_coalitions(z: Floats, uniform: Floats) -> Any:
        values = np.asarray(function(z))
        left = np.zeros((len(subsets), *values.shape[:-1]))
        for subset in subsets[:-1]:
            other = np.asarray(function(population.redrawn(z, kept[subset], uniform)))
            left[subset] = np.square(other - values).sum(axis=-1, dtype=np.float64) / (2.0 * size)
            done()
        return left

    rngs = np.random.default_rng(seed).spawn(REPLICATES)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        left = np.stack(list(pool.map(sample, rngs)))
    shapley = [_shapley(-left, member, player) for player in range(len(players))]
    return Effects(np.stack(shapley, axis=1), left[:, 0])


def parts(size: int) -> int:
    """Return how many parts a sample of so many stars is looked at in, to bound the memory."""
    return -(-size // PART)


def _uniform(rng: np.random.Generator, width: int, size: int) -> Floats:
    """Return a scrambled Sobol sequence (size, width)."""
    return stats.qmc.Sobol(width, rng=rng).random_base2(int(math.log2(size)))


def _shapley(worth: Floats, member: NDArray[np.bool_], player: int) -> Floats:
    """Return one player's mean marginal worth (R, ...) from that of all coalitions (R, 2^P, ...).

    Coalitions are numbered by their members' bits.
    """
    count = member.shape[1]
    found = np.zeros_like(worth[:, 0])
    for subset in np.flatnonzero(~member[:, player]):
        others = int(member[subset].sum())
        weight = 1.0 / (count * math.comb(count - 1, others))
        found += weight * (worth[:, subset + 2**player] - worth[:, subset])
    return found
