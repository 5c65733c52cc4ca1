"""The two plain translations that every model is compared with.

Both are kept in the model as the few moments they need, so that a loaded model
can be judged beside them without its training stars.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .pairs import Pairs
from .scale import Scaler

Floats = NDArray[np.float64]


class Predictive(NamedTuple):
    """A multivariate Student-t for each star, in units of the scaled corrections.

    Attributes
    ----------
    location, scale : (N, K) array
    corr : (K, K) array
    dof : float
        Infinite for a Gaussian.
    """

    location: Floats
    scale: Floats
    corr: Floats
    dof: float

    def sample(self, draws: int) -> Floats:
        """Return draws (draws, N, K), always the same."""
        rng = np.random.default_rng(0)
        noise = rng.standard_normal((draws, *self.location.shape))
        if not np.isinf(self.dof):
            noise /= np.sqrt(rng.chisquare(self.dof, (*noise.shape[:2], 1)) / self.dof)
        cholesky = np.linalg.cholesky(self.corr)
        return self.location + self.scale * (noise @ cholesky.T)


@dataclass(frozen=True)
class Baseline:
    r"""Moments of the training stars: of those with each output, and of those with every output.

    Attributes
    ----------
    gram : (D + 1, D + 1) array
        :math:`A^T A` of the design matrix (ones, then standardised inputs) of the stars that
        have every output, from which the outputs' correlations are known.
    cross : (D + 1, K) array
        :math:`A^T \Delta`, of the same.
    square : (K, K) array
        :math:`\Delta^T \Delta` of the scaled corrections, of the same.
    each_gram : (K, D + 1, D + 1) array
        The first, of all stars that have the output.
    each_cross : (D + 1, K) array
    each_square : (K,) array
    """

    gram: Floats
    cross: Floats
    square: Floats
    each_gram: Floats
    each_cross: Floats
    each_square: Floats

    @classmethod
    def learn(cls, pairs: Pairs, scaler: Scaler) -> Baseline:
        """Collect the moments of the training stars."""
        design, delta = _design(pairs.x, scaler), scaler.delta(pairs.x, pairs.y)
        full, seen = pairs.seen.all(axis=1), pairs.seen
        a, d = design[full], delta[full]
        known = np.where(seen, delta, 0.0)
        grams = np.stack([design[rows].T @ design[rows] for rows in seen.T])
        each = (grams, design.T @ known, (known**2).sum(axis=0))
        return cls(a.T @ a, a.T @ d, d.T @ d, *each)

    def identity(self, count: int) -> Predictive:
        """Return A's value plus the mean offset, with the training scatter, for ``count`` stars."""
        n = self.each_gram[:, 0, 0]
        mean = self.each_cross[0] / n
        scale = np.sqrt(self.each_square / n - mean**2)
        about = self.cross[0] / max(self.gram[0, 0], 1.0)
        corr = self._correlation(self.square - self.gram[0, 0] * np.outer(about, about))
        shape = (count, len(mean))
        location, scale = (np.broadcast_to(values, shape) for values in (mean, scale))
        return Predictive(location, scale, corr, float("inf"))

    def linear(self, x: Floats, scaler: Scaler) -> Predictive:
        """Return Bayesian linear regression on ``x`` (N, D): a multivariate Student-t.

        Conjugate, with unit-normal slopes relative to the scatter and a vague
        inverse-Wishart scatter (Minka 2000). Where stars lack some output, each
        has the regression of the stars that have it, with the correlations and the fewest
        degrees of freedom of all.
        """
        design = _design(x, scaler)
        every = list(range(len(self.gram)))
        # Inverse-Wishart with K + 2 degrees of freedom a priori.
        dof = self.each_gram[:, 0, 0] + 3.0
        weights = self._regression(every)
        scatter = 1e-3 + self.each_square - (self.each_cross * weights).sum(axis=0)
        inverse = [np.linalg.solve(gram + np.eye(len(gram)), design.T) for gram in self.each_gram]
        leverage = np.einsum("nd,kdn->nk", design, inverse)
        precision = self.gram + np.eye(len(self.gram))
        shared = self.square - self.cross.T @ np.linalg.solve(precision, self.cross)
        scale = np.sqrt((1.0 + leverage) * scatter / dof)
        corr = self._correlation(1e-3 * np.eye(len(dof)) + shared)
        return Predictive(design @ weights, scale, corr, float(dof.min()))

    def linear_mean(self, x: Floats, scaler: Scaler, inputs: tuple[int, ...]) -> Floats:
        """Return the mean (N, K) of Bayesian linear regression on some of the inputs (N, D)."""
        used = [0, *(1 + j for j in inputs)]
        weights = self._regression(used)
        design = _design(x, scaler)[:, used]
        # Column by column: BLAS rounds a row differently in other company.
        return sum(a[:, None] * w for a, w in zip(design.T, weights, strict=True))

    def _regression(self, used: list[int]) -> Floats:
        """Return the posterior mean (U, K) of the weights of some columns of the design."""
        precision = self.each_gram[:, used][:, :, used] + np.eye(len(used))
        return np.linalg.solve(precision, self.each_cross[used].T[..., None])[..., 0].T

    def _correlation(self, covariance: Floats) -> Floats:
        """Return the correlations of the stars with every output; none of fewer than outputs."""
        if self.gram[0, 0] <= len(covariance) + 1:
            return np.eye(len(covariance))
        scale = np.sqrt(np.diag(covariance))
        return covariance / np.outer(scale, scale)

    def to_arrays(self) -> dict[str, NDArray]:
        """Return the fields by name, as they are written to a model file."""
        return dict(vars(self))

    @classmethod
    def from_arrays(cls, arrays: dict[str, Floats]) -> Baseline:
        """Rebuild from what `to_arrays` returned."""
        if "each_gram" in arrays:
            return cls(**arrays)
        # Models of before those were kept know the stars with every output alone.
        gram, cross, square = (arrays[name] for name in ("gram", "cross", "square"))
        grams = np.broadcast_to(gram, (cross.shape[1], *gram.shape))
        return cls(gram, cross, square, grams, cross, np.diag(square))


def _design(x: Floats, scaler: Scaler) -> Floats:
    return np.column_stack([np.ones(len(x)), (x - scaler.x_centre) / scaler.x_scale])
