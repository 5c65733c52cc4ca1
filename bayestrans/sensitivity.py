"""What the mean of a network does when its features move: values and forward-mode derivatives."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .model import Shape, location_and_scale
from .posterior import CHUNK, BlockDraws, Posterior, groups
from .programs import compiled

Floats = NDArray[np.float64]

#: The two maps that are looked at: all of the translation, and what it adds to A's value.
TARGETS = ("full", "correction")


class Mean(NamedTuple):
    """Posterior draws of one network's mean as a function of its features.

    Attributes
    ----------
    draws : dict of (S, ...) arrays
    scatter : (K,) array
    scale : (K,) array
        Units of the corrections.
    start : (K, J) array
        What the value of A that an output corrects changes by when one of the first J
        features, those that are no marks of a kind, moves by one.
    shape : Shape
    """

    draws: dict[str, jax.Array]
    scatter: jax.Array
    scale: jax.Array
    start: jax.Array
    shape: Shape

    @classmethod
    def of(cls, posterior: Posterior, block: BlockDraws, draws: int) -> Mean:
        """Return so many draws of a network, evenly spaced."""
        (inputs, outputs), scaler = block.block[1:], posterior.scaler
        start = np.zeros((len(outputs), scaler.n_features(inputs)))
        for k, output in enumerate(outputs):
            corrected = int(scaler.corrects[output])
            if corrected >= 0:
                start[k, inputs.index(corrected)] = scaler.x_scale[corrected]
        return cls(
            posterior.flat_draws(block, draws),
            posterior.scatter(block.block),
            jnp.asarray(scaler.delta_scale[list(outputs)]),
            jnp.asarray(start),
            posterior.shape(block.block),
        )

    def values(self, z: Floats) -> jax.Array:
        """Return both `TARGETS` (S, 2, K, N) at features (N, F), but for a constant."""
        *arrays, shape = self
        return _values(*arrays, jnp.asarray(z.T), shape)

    def slopes(self, z: Floats, seen: NDArray[np.bool_]) -> Slopes:
        """Return derivatives at features (N, F); stars count where they have (N, J) a feature."""
        *arrays, shape = self
        count, kinds = len(z), (*self.start.T.shape, len(z))
        sums = np.zeros((2, len(TARGETS), len(self.draws["intercept"]), *self.start.T.shape))
        star_mean, star_square = np.zeros((len(TARGETS), *kinds)), np.zeros((len(TARGETS), *kinds))
        for rows in groups(np.arange(count), CHUNK):
            new = rows.copy()
            new[1:] = np.where(rows[1:] == rows[0], -1, rows[1:])  # the last group is filled up
            weight = (seen[rows] & (new >= 0)[:, None]).T.astype(np.float32)
            found = _slopes(*arrays, jnp.asarray(z[rows].T), jnp.asarray(weight), shape)
            sums += np.stack([np.asarray(part, dtype=np.float64) for part in found[:2]])
            star_mean[..., rows], star_square[..., rows] = found[2:]
        total = seen.sum(axis=0)[:, None]
        square, mean = np.where(total > 0, sums / np.maximum(total, 1), np.nan)
        return Slopes(square, mean, star_mean, star_square)


class Slopes(NamedTuple):
    """Derivatives of both `TARGETS` with respect to J features, in the outputs' units.

    Attributes
    ----------
    square, mean : (2, S, J, K) array
        Mean over the stars that have the feature of the derivative squared, and of the
        derivative, for each draw; NaN without such stars.
    star_mean, star_square : (2, J, K, N) array
        Mean over the draws of the derivative, and of its square, for each star.
    """

    square: Floats
    mean: Floats
    star_mean: Floats
    star_square: Floats


@partial(compiled, static_argnames="shape")
def _values(
    draws: dict[str, jax.Array],
    scatter: jax.Array,
    scale: jax.Array,
    start: jax.Array,
    z: jax.Array,
    shape: Shape,
) -> jax.Array:
    base = start @ z[: start.shape[1]]

    def one(draw: dict[str, jax.Array]) -> jax.Array:
        correction = scale[:, None] * location_and_scale(draw, z, scatter, shape)[0]
        return jnp.stack([base + correction, correction])

    return jax.lax.map(one, draws)


@partial(compiled, static_argnames="shape")
def _slopes(
    draws: dict[str, jax.Array],
    scatter: jax.Array,
    scale: jax.Array,
    start: jax.Array,
    z: jax.Array,
    weight: jax.Array,
    shape: Shape,
) -> tuple[jax.Array, ...]:
    """Return what `Slopes` holds, summed over stars with a weight (J, N), not averaged."""
    count = len(next(iter(draws.values())))

    def one(sums: tuple[jax.Array, jax.Array], draw: dict[str, jax.Array]):  # type: ignore[no-untyped-def]
        def correction(z: jax.Array) -> jax.Array:
            return scale[:, None] * location_and_scale(draw, z, scatter, shape)[0]

        def along(direction: jax.Array) -> jax.Array:
            step = jnp.broadcast_to(direction[:, None], z.shape)
            return jax.jvp(correction, (z,), (step,))[1]

        slope = jax.vmap(along)(jnp.eye(len(z), dtype=z.dtype)[: len(weight)])
        both = jnp.stack([slope + start.T[:, :, None], slope])
        square = both**2
        added = tuple(jnp.einsum("tjkn,jn->tjk", part, weight) for part in (square, both))
        return (sums[0] + both / count, sums[1] + square / count), added

    size = (len(TARGETS), *start.T.shape, z.shape[1])
    zero = (jnp.zeros(size, z.dtype), jnp.zeros(size, z.dtype))
    stars, (square, mean) = jax.lax.scan(one, zero, draws)
    return (*(jnp.swapaxes(part, 0, 1) for part in (square, mean)), *stars)
