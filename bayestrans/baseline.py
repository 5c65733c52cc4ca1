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
    r"""Moments of the training stars that have every output.

    Attributes
    ----------
    gram : (D + 1, D + 1) array
        :math:`A^T A` of the design matrix (ones, then standardised inputs).
    cross : (D + 1, K) array
        :math:`A^T \Delta`.
    square : (K, K) array
        :math:`\Delta^T \Delta` of the scaled corrections.
    """

    gram: Floats
    cross: Floats
    square: Floats

    @classmethod
    def learn(cls, pairs: Pairs, scaler: Scaler) -> Baseline:
        """Collect the moments of the complete training stars."""
        full = pairs.seen.all(axis=1)
        design = _design(pairs.x[full], scaler)
        delta = scaler.delta(pairs.x, pairs.y)[full]
        return cls(design.T @ design, design.T @ delta, delta.T @ delta)

    def identity(self, count: int) -> Predictive:
        """Return A's value plus the mean offset, with the training scatter, for ``count`` stars."""
        n = self.gram[0, 0]
        mean = self.cross[0] / n
        scale, corr = _split(self.square / n - np.outer(mean, mean))
        shape = (count, len(mean))
        return Predictive(
            np.broadcast_to(mean, shape), np.broadcast_to(scale, shape), corr, float("inf")
        )

    def linear(self, x: Floats, scaler: Scaler) -> Predictive:
        """Return Bayesian linear regression on ``x`` (N, D): a multivariate Student-t.

        Conjugate, with unit-normal slopes relative to the scatter and a vague
        inverse-Wishart scatter (Minka 2000).
        """
        design = _design(x, scaler)
        k = self.cross.shape[1]
        precision, weights = self._regression(list(range(len(self.gram))))
        dof = self.gram[0, 0] + 3.0  # inverse-Wishart with K + 2 degrees of freedom a priori
        scatter = 1e-3 * np.eye(k) + self.square - self.cross.T @ weights
        leverage = np.einsum("nd,dn->n", design, np.linalg.solve(precision, design.T))
        scale, corr = _split(scatter / dof)
        return Predictive(design @ weights, np.sqrt(1.0 + leverage)[:, None] * scale, corr, dof)

    def linear_mean(self, x: Floats, scaler: Scaler, inputs: tuple[int, ...]) -> Floats:
        """Return the mean (N, K) of Bayesian linear regression on some of the inputs (N, D)."""
        used = [0, *(1 + j for j in inputs)]
        _, weights = self._regression(used)
        design = _design(x, scaler)[:, used]
        # Column by column: BLAS rounds a row differently in other company.
        return sum(a[:, None] * w for a, w in zip(design.T, weights, strict=True))

    def _regression(self, used: list[int]) -> tuple[Floats, Floats]:
        """Return posterior precision and mean of the weights of some columns of the design."""
        precision = self.gram[np.ix_(used, used)] + np.eye(len(used))
        return precision, np.linalg.solve(precision, self.cross[used])

    def to_arrays(self) -> dict[str, NDArray]:
        """Return the fields by name, as they are written to a model file."""
        return dict(vars(self))


def _design(x: Floats, scaler: Scaler) -> Floats:
    return np.column_stack([np.ones(len(x)), (x - scaler.x_centre) / scaler.x_scale])


def _split(covariance: Floats) -> tuple[Floats, Floats]:
    scale = np.sqrt(np.diag(covariance))
    return scale, covariance / np.outer(scale, scale)
