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


@compiled
def draw_noise(mixture: Mixture, err: jax.Array, keys: jax.Array, base: jax.Array) -> jax.Array:
    """Add noise with scale D R D + diag((f e)^2): the same law as the likelihood's."""
    n_draws, n_outputs, _ = mixture.location.shape
    cholesky = jnp.linalg.cholesky(mixture.corr + RIDGE * jnp.eye(n_outputs))
    tails = mixture.tails

    def star(words: jax.Array, location: jax.Array, scale: jax.Array, err: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(base, words[0]), words[1])
        inner, outer, tail = jax.random.split(key, 3)
        within = scale * jnp.einsum(
            "sij,sj->si", cholesky, jax.random.normal(inner, (n_draws, n_outputs))
        )
        noise = within + mixture.error_factor * err * jax.random.normal(outer, (n_draws, n_outputs))
        half = 0.5 * tails.dof
        stretch = jnp.where(
            jnp.isinf(half),
            1.0,
            jnp.sqrt(half / jax.random.gamma(tail, jnp.where(jnp.isinf(half), 1.0, half))),
        )
        lot = jax.random.uniform(jax.random.fold_in(tail, 1), (n_draws,))
        stretch = jnp.where(lot < tails.share, tails.width, 1.0) * stretch
        return location + stretch[:, None] * noise

    return jax.vmap(star, (0, 2, 2, 1), 2)(keys, mixture.location, mixture.scale, err)


def replicate(
    mixture: Mixture, err: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the same law's draws (S, K, N), which depend on the company of the stars.

    For replicated data, which need no star to keep its noise: NumPy's gamma
    numbers take a tenth of the time, and nothing to compile.
    """
    location, scale, corr, factor, *tails = (
        np.asarray(part, np.float64)
        for part in (*mixture[:3], mixture.error_factor, *mixture.tails)
    )
    ridge = RIDGE * np.eye(corr.shape[-1])
    within = np.linalg.cholesky(corr + ridge) @ rng.standard_normal(location.shape)
    noise = scale * within + factor[..., None] * err * rng.standard_normal(location.shape)
    law = Tails(*(part[:, None] for part in tails))
    half = np.where(np.isinf(law.dof), 1.0, 0.5 * law.dof)
    each = len(law.dof), location.shape[2]
    tail = np.where(np.isinf(law.dof), 1.0, rng.gamma(half, 1.0, each) / half)
    stretch = np.where(rng.random(each) < law.share, law.width, 1.0) / np.sqrt(tail)
    return location + stretch[:, None] * noise


def star_keys(x: NDArray[np.float64], x_err: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Return two words per star from its own numbers: 64 bits do not fit one fold."""
    hashed = pd.util.hash_pandas_object(pd.DataFrame(np.hstack([x, x_err])), index=False)
    return hashed.to_numpy(dtype=np.uint64).view(np.uint32).reshape(-1, 2)
