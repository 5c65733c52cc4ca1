"""The posterior of one block as a function of a flat vector, for any sampler."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray
from numpyro.infer.util import constrain_fn, initialize_model, potential_energy

from .gaps import Gaps
from .model import Data, Kinds, Noise, Shape, location_and_scale, model, prior
from .network import Network
from .pairs import Pairs
from .programs import compiled, round_up
from .scale import Scaler
from .spec import Block

#: Completions of each training star with gaps, over which its density is averaged.
COMPLETIONS = 8

#: Shapes of data whose functions are kept, and with them what was compiled of them.
TARGETS = 8


class Target(NamedTuple):
    """What a sampler needs to know of one block.

    Attributes
    ----------
    log_density : callable
        ``log_density(position, data)``: the unnormalised log posterior of the
        unconstrained parameters, a flat vector.
    constrain : callable
        ``constrain(position)``: the model's draw, by site name.
    probe : callable
        ``probe(position, probed)``: scaled location and, where it is learned, log
        scatter (2K, P) at the probe stars: the functions that must converge.
    data : Data
        The training stars, `padded`.
    probed : (F, P) array, (K,) array
        The features of the probe stars, and the known scatter.
    dim : int
        Length of a position.
    """

    log_density: Callable[[jax.Array, Data], jax.Array]
    constrain: Callable[[jax.Array], dict[str, jax.Array]]
    probe: Callable[[jax.Array, tuple[jax.Array, jax.Array]], jax.Array]
    data: Data
    probed: tuple[jax.Array, jax.Array]
    dim: int

    def with_stars(self, data: Data) -> Target:
        """Return the same with other training stars, as many as these."""
        return self._replace(data=padded(data))

    def draws(self, positions: jax.Array | NDArray) -> dict[str, jax.Array]:
        """Return the model's draws, by site name, of positions (S, dim)."""
        return _constrained(self.constrain)(positions)


# Compiled once for a target's functions, as what the samplers run is.
@lru_cache(maxsize=TARGETS)
def _constrained(constrain: Callable[..., Any]) -> Any:
    return compiled(jax.vmap(constrain))


def scaled_data(
    pairs: Pairs, scaler: Scaler, block: Block, noise: Noise, gaps: Gaps | None = None
) -> Data:
    """Return the training stars of one block in the model's scaled numbers.

    Stars with gaps in what this network sees come last, `COMPLETIONS` times each;
    without ``gaps`` there must be none.
    """
    outputs = list(block.outputs)
    scale = scaler.delta_scale[outputs]
    pairs = pairs.take(np.isfinite(pairs.y[:, outputs]).any(axis=1))
    scatter = (
        np.ones(len(outputs)) if noise.scatter is None else np.array(noise.scatter)[outputs] / scale
    )
    x, x_err = pairs.x, pairs.x_err
    if gaps is not None:
        x, x_err = gaps.by_kind(x, x_err)
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(scaler.features(x, x_err, block.inputs)).all(axis=1)
    x, x_err, star = x[whole], x_err[whole], np.flatnonzero(whole)
    log_weight, copies = np.zeros(len(x)), np.empty((0, COMPLETIONS), dtype=int)
    if gaps is not None and not whole.all():
        rest = np.flatnonzero(~whole)
        copies = len(x) + np.arange(len(rest) * COMPLETIONS).reshape(-1, COMPLETIONS)
        star = np.concatenate([star, np.repeat(rest, COMPLETIONS)])
        # All completions of the first star, then all of the second.
        x, x_err, log_weight = (
            np.concatenate([seen, np.swapaxes(new, 0, 1).reshape(-1, *seen.shape[1:])])
            for seen, new in zip(
                (x, x_err, log_weight),
                gaps.imputations(pairs.take(rest), block.outputs, COMPLETIONS),
                strict=True,
            )
        )
    if gaps is None:
        z = scaler.features(x, x_err, block.inputs)
    else:
        kind = gaps.kind(pairs.x, pairs.x_err)[star]
        z = gaps.features(x, x_err, block.inputs, kind)
    delta = scaler.delta(x, pairs.y[star])[:, outputs]
    err = scaler.noise(pairs.y_err)[star][:, outputs]
    arrays = (z.T, delta.T, err.T, scatter, log_weight, star, copies)
    return Data(*(jnp.asarray(array) for array in arrays))


def of_stars(data: Data, chosen: NDArray[np.bool_]) -> Data:
    """Return the rows of some of the stars (one bool each), in their order."""
    rows = chosen[np.asarray(data.star)]
    count = data.copies.shape[1]
    gaps = int(rows[len(rows) - data.copies.size :].sum()) // count
    copies = int(rows.sum()) - gaps * count + np.arange(gaps * count).reshape(-1, count)
    z, delta, err, weight, star = (
        jnp.asarray(np.asarray(part)[..., rows])
        for part in (data.z, data.delta, data.err, data.log_weight, data.star)
    )
    return Data(z, delta, err, data.scatter, weight, star, jnp.asarray(copies))


def padded(data: Data) -> Data:
    """Return the data with so many stars more, which say nothing, that others have as many.

    Fits to nearly as many stars, such as the folds of a cross-validation, then run what was
    compiled for one of them.
    """
    gaps, count = data.copies.shape
    whole = len(data.star) - data.copies.size
    more, more_gaps = round_up(whole) - whole, round_up(gaps) - gaps

    # By NumPy, as all that prepares data: JAX would compile it for each number of stars.
    def filled(part: jax.Array, value: float) -> jax.Array:
        given = np.asarray(part)
        nothing = [
            np.full((*given.shape[:-1], size), value, given.dtype)
            for size in (more, more_gaps * count)
        ]
        rows = (given[..., :whole], nothing[0], given[..., whole:], nothing[1])
        return jnp.asarray(np.concatenate(rows, axis=-1))

    z, err, weight = (filled(part, 0.0) for part in (data.z, data.err, data.log_weight))
    star, delta = filled(data.star, -1), filled(data.delta, math.nan)
    copies = whole + more + np.arange(round_up(gaps) * count).reshape(-1, count)
    return Data(z, delta, err, data.scatter, weight, star, jnp.asarray(copies))


def build_target(
    data: Data,
    network: Network,
    noise: Noise,
    probes: NDArray[np.int64],
    kinds: Kinds | None = None,
) -> Target:
    """Return the target of one block; ``probes`` are positions among its stars.

    Targets of equal shapes share their functions, so that what was compiled for one serves all.
    """
    shape = Shape.of(network, noise, len(data.delta), kinds)
    probed = (data.z[:, probes], data.scatter)
    data = padded(data)
    arrays = tuple((part.shape, part.dtype) for part in data)
    return _functions(arrays, shape)._replace(data=data, probed=probed)


@lru_cache(maxsize=TARGETS)
def _functions(arrays: tuple[Any, ...], shape: Shape) -> Target:
    """Return the target of stars of which the shape and dtype of each array are known."""
    like: Any = Data(*(jax.ShapeDtypeStruct(*kind) for kind in arrays))  # type: ignore[arg-type]
    # Only shapes are wanted of it: run for real, it compiles hundreds of small programs.
    template = jax.eval_shape(
        lambda data: (
            initialize_model(jax.random.key(0), model, model_args=(data, shape)).param_info.z
        ),
        like,
    )
    flat, unravel = ravel_pytree({name: np.zeros(t.shape, t.dtype) for name, t in template.items()})

    @compiled  # within other programs too, so that the model is traced once for all of them
    def log_density(position: jax.Array, data: Data) -> jax.Array:
        return -potential_energy(model, (data, shape), {}, unravel(position))

    def constrain(position: jax.Array) -> dict[str, jax.Array]:
        arguments = (shape, like.z.shape[0])
        with numpyro.handlers.substitute(
            data=constrain_fn(prior, arguments, {}, unravel(position))
        ):
            return prior(*arguments)

    def probe(position: jax.Array, probed: tuple[jax.Array, jax.Array]) -> jax.Array:
        location, scale = location_and_scale(constrain(position), *probed, shape)
        if shape.fixed_scatter:
            return location
        return jnp.concatenate([location, jnp.log(scale)])

    return Target(log_density, constrain, probe, like, (like.z, like.scatter), len(flat))
