"""The prior of correlation matrices, in coordinates that have no bounds."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpy.typing import NDArray
from numpyro.distributions import constraints
from scipy import special


class LKJ(dist.Distribution):  # type: ignore[misc]
    """The law of Lewandowski, Kurowicka & Joe (2009, J. Multivariate Analysis 100, 1989).

    Of the inverse hyperbolic tangents of the partial correlations below the diagonal, row by
    row. The partial correlation of outputs i and j given those before j is
    independent of all others, and follows a Beta law between -1 and 1. NumPyro's `LKJCholesky`
    is the same law of the Cholesky factor; its way there and back takes twice as long to
    compile.

    Parameters
    ----------
    size : int
        Outputs K; there are K (K - 1) / 2 partial correlations.
    concentration : float
        The density of the matrix goes with its determinant to this power less one.
    """

    support = constraints.real_vector

    def __init__(self, size: int, concentration: float) -> None:
        column = np.tril_indices(size, -1)[1]
        #: Both parameters of each partial correlation's Beta law.
        self.power = concentration + 0.5 * (size - 2 - column)
        super().__init__(event_shape=(len(column),))

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Return values (..., K (K - 1) / 2)."""
        shape = (*sample_shape, *self.event_shape)
        return jnp.arctanh(2.0 * jax.random.beta(key, self.power, self.power, shape) - 1.0)

    def log_prob(self, value: jax.Array, intermediates: Any = None) -> jax.Array:
        """Return the log density of values (..., K (K - 1) / 2)."""
        constant = (1.0 - 2.0 * self.power) * np.log(2.0) - special.betaln(self.power, self.power)
        log_cosh = jnp.abs(value) + jnp.log1p(jnp.exp(-2.0 * jnp.abs(value))) - np.log(2.0)
        return (constant - 2.0 * self.power * log_cosh).sum(axis=-1)


def cholesky(partial: Any, size: int, xp: ModuleType) -> Any:
    """Return Cholesky factors (..., K, K) of partial correlations (..., K (K - 1) / 2).

    ``xp`` is ``numpy`` or ``jax.numpy``.
    """
    rows, columns = np.tril_indices(size, -1)
    place = np.zeros((len(rows), size, size))
    place[np.arange(len(rows)), rows, columns] = 1.0
    square = xp.tensordot(partial, xp.asarray(place, partial.dtype), 1)
    left, factor = xp.ones_like(square[..., 0]), []
    for column in range(size):
        below = np.arange(size) > column
        root = xp.sqrt(left)
        diagonal = np.arange(size) == column
        factor.append(xp.where(below, square[..., column], 1.0 * diagonal) * root)
        left = left * (1.0 - square[..., column] ** 2)
    return xp.stack(factor, axis=-1)


def drawn(law: LKJ, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return ``count`` values of the law, by NumPy."""
    return np.arctanh(2.0 * rng.beta(law.power, law.power, (count, *law.event_shape)) - 1.0)
