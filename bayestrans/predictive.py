"""The predictive of each star: one law per posterior draw, and draws from it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .calibration import Change, applied
from .model import Shape, correlation, error_factor, location_and_scale, tails_of
from .programs import compiled
from .student import Tails

#: Added to the diagonal of a correlation matrix: in single precision that of outputs whose
#: scatter is all but the same has no Cholesky factor, and NaN would be drawn for every star.
RIDGE = 1e-6


class Mixture(NamedTuple):
    """Predictive of some stars for one network: one law per posterior draw.

    Attributes
    ----------
    location, scale : (S, K, N) array
        In units of the scaled corrections; stars run along the last axis.
    corr : (S, K, K) array
    tails : Tails
        Of arrays (S,).
    error_factor : (S, K) array
        What B's quoted errors are to be multiplied by.
    """

    location: jax.Array
    scale: jax.Array
    corr: jax.Array
    tails: Tails
    error_factor: jax.Array


@partial(compiled, static_argnames="shape")
def mixture(
    draws: Mapping[str, jax.Array], z: jax.Array, scatter: jax.Array, shape: Shape
) -> Mixture:
    """Return the predictive of features ``z`` (F, N) under draws stacked along the first axis."""
    return jax.lax.map(lambda draw: _one(draw, z, scatter, shape), dict(draws))


@partial(compiled, static_argnames="shape")
def mixture_of_each(
    draws: Mapping[str, jax.Array], z: jax.Array, scatter: jax.Array, shape: Shape
) -> Mixture:
    """Return the predictive of features ``z`` (S, F, N), of others for each draw."""
    return jax.lax.map(lambda part: _one(part[0], part[1], scatter, shape), (dict(draws), z))


def _one(draw: Mapping[str, jax.Array], z: jax.Array, scatter: jax.Array, shape: Shape) -> Mixture:
    location, scale = location_and_scale(draw, z, scatter, shape)
    tails = Tails(*(jnp.asarray(part, location.dtype) for part in tails_of(draw, shape)))
    return Mixture(location, scale, correlation(draw, shape), tails, error_factor(draw, shape))


@compiled
def calibrated(mixture: Mixture, linear: jax.Array, change: Change) -> Mixture:
    """Return a mixture stretched and, far beyond the stars, moved to the linear mean (K, N)."""
    location, scale = applied(mixture.location, mixture.scale, linear, change)
    return mixture._replace(location=location, scale=scale)


def draw_noise(
    mixture: Mixture,
    err: NDArray[np.float64],
    keys: NDArray[np.uint32],
    base: tuple[int, int],
) -> NDArray:
    """Return draws (S, K, N) with noise of scale D R D + diag((f e)^2), the likelihood's law.

    A star's noise depends on ``base`` and its own words in ``keys`` (N, 2). By NumPy: JAX's gamma
    numbers are slow, and slow to compile.
    """
    n_draws, n_outputs, _ = mixture.location.shape
    unique, place = np.unique(keys, axis=0, return_inverse=True)
    kind = np.dtype(mixture.location.dtype)
    normal = np.empty((len(unique), 2, n_draws, n_outputs), kind)
    gamma, lot = np.empty((2, len(unique), n_draws), kind)
    half = _half(mixture)
    seeds = [int(number) % 2**64 for number in base]
    for star, words in enumerate(unique.tolist()):
        rng = np.random.default_rng([*seeds, *words])
        rng.standard_normal(out=normal[star], dtype=kind)
        gamma[star] = rng.standard_gamma(half)
        rng.random(out=lot[star], dtype=kind)
    inner, outer = np.moveaxis(normal[place.reshape(-1)], 0, -1)
    return _noisy(mixture, err, inner, outer, gamma[place].T, lot[place].T)


def replicate(
    mixture: Mixture, err: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the same law's draws (S, K, N), which depend on the company of the stars.

    For replicated data, which need no star to keep its noise.
    """
    size = mixture.location.shape
    each = size[0], size[2]
    inner, outer = rng.standard_normal((2, *size))
    gamma = rng.standard_gamma(_half(mixture)[:, None], each)
    return _noisy(mixture, err, inner, outer, gamma, rng.random(each))


def _half(mixture: Mixture) -> NDArray[np.float64]:
    """Return half the degrees of freedom (S,), one where they are endless."""
    half = 0.5 * np.asarray(mixture.tails.dof, np.float64)
    return np.where(np.isinf(half), 1.0, half)


def _noisy(
    mixture: Mixture, err: NDArray, inner: NDArray, outer: NDArray, gamma: NDArray, lot: NDArray
) -> NDArray:
    """Add noise of standard normal numbers (S, K, N), gamma numbers and lots (S, N)."""
    parts = (*mixture[:3], mixture.error_factor, *mixture.tails)
    location, scale, corr, factor, *tails = (np.asarray(part, inner.dtype) for part in parts)
    law = Tails(*(part[:, None] for part in tails))
    root = np.linalg.cholesky(corr + RIDGE * np.eye(corr.shape[-1])).astype(inner.dtype)
    noise = scale * (root @ inner) + factor[..., None] * np.asarray(err, inner.dtype) * outer
    half = _half(mixture)[:, None].astype(inner.dtype)
    stretch = np.where(np.isinf(law.dof), 1.0, np.sqrt(half / gamma))
    stretch = np.where(lot < law.share, law.width, 1.0) * stretch
    return np.asarray(location + stretch[:, None] * noise, inner.dtype)


def star_keys(x: NDArray[np.float64], x_err: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Return two words per star from its own numbers: 64 bits do not fit one fold."""
    hashed = pd.util.hash_pandas_object(pd.DataFrame(np.hstack([x, x_err])), index=False)
    return hashed.to_numpy(dtype=np.uint64).view(np.uint32).reshape(-1, 2)
