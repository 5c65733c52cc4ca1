"""The whole recipe of SpectroTranslator (Thomas et al. 2024, A&A 690, A54), from its paper.

Networks of residual blocks that widen from 64 to 512 units and narrow again; every layer
of a block is weight-normalised (Salimans & Kingma 2016) and rectified, with half of its
inputs dropped in training from 256 units on. The scaled input is added to the scaled
output. Mean absolute error, Adam at three learning rates, each until the loss of a fifth
of the stars has stopped falling; ten such networks, of whose predictions the two extremes
are dropped. Extrinsic quantities have networks of their own. Its flag: is there a training
star in the same cell of two planes of inputs?
"""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _cost import predicting
from _rivals import (
    DRAWS,
    Floats,
    Prediction,
    batch_of,
    batches,
    mean_of_known,
    normal_log_density,
)
from numpy.typing import NDArray

import bayestrans as bt
from bayestrans.chains import PerChain
from bayestrans.scale import Scaler

#: Units of the blocks.
WIDTHS = (64, 128, 256, 512, 256, 128, 64)

#: From this width on, half of the inputs of a block's layers are dropped in training.
DROPPED_FROM = 256

#: Networks, of which the highest and lowest prediction are dropped.
MEMBERS = 10

#: Planes in which the flag counts training stars, and cells along each axis.
PLANES = (("teff", "logg"), ("fe_h", "mg_fe"))
CELLS = 30

RATES = (1e-3, 1e-4, 1e-5)
VALIDATION = 0.2


class Training(NamedTuple):
    """How long, in what batches, and how many passes without a gain end a learning rate.

    The next rate then has at least that many passes, whatever is left of the epochs.
    """

    epochs: int
    batch: int
    patience: int


TRAININGS = {"notebook": Training(20, 4096, 5), "trained": Training(500, 256, 20)}


def spectrotranslator(
    train: bt.Pairs, test: bt.Pairs, seed: int, *, training: str
) -> dict[str, Prediction]:
    """Return what the recipe says, and the same with the scatter that it lacks.

    Its own error is the spread of the networks. Scored against measured values that
    leaves out the scatter of the surveys; so that its networks can be judged by
    themselves, the second prediction adds what its own error lacks of the residuals of
    stars on which the training of some networks was stopped.
    """
    scaler = Scaler.learn(train)
    x_centre, x_scale = train.x.mean(axis=0), train.x.std(axis=0)
    y_centre, y_scale = np.nanmean(train.y, axis=0), np.nanstd(train.y, axis=0)
    values, goal = (train.x - x_centre) / x_scale, (train.y - y_centre) / y_scale
    at_values = (test.x - x_centre) / x_scale
    mean, spread, scatter = (np.empty(test.y.shape) for _ in range(3))
    keys = jax.random.split(jax.random.key(seed), len(train.spec.blocks))
    for block, key in zip(train.spec.blocks, keys, strict=True):
        outputs = list(block.outputs)
        # Its inputs, and log errors as every method here has them.
        z, at = (
            np.concatenate([v[:, list(block.inputs)], _log_errors(scaler, p, block.inputs)], axis=1)
            for v, p in ((values, train), (at_values, test))
        )
        skip, at_skip = (_corrected(v, train.spec, outputs) for v in (values, at_values))
        weights, held = _train(z, skip, goal[:, outputs], TRAININGS[training], key)
        with predicting():
            mean[:, outputs], spread[:, outputs] = _trimmed(np.asarray(_members(weights, at)))
        mean[:, outputs] += at_skip
        inside = np.asarray(_members(weights, z)) + skip
        scatter[:, outputs] = lacking(inside, goal[:, outputs], np.asarray(held))
    mean, spread, scatter = y_centre + y_scale * mean, y_scale * spread, y_scale * scatter
    with predicting():
        noise = np.random.default_rng(seed).standard_normal((DRAWS, *mean.shape))
    trusted = populated(train, test.x)
    found = {"": spread, " + scatter": np.hypot(spread, scatter)}
    return {
        label: Prediction(
            mean + sd * noise, mean, trusted, log_density=normal_log_density(test, mean, sd)
        )
        for label, sd in found.items()
    }


def _trimmed(found: Floats) -> tuple[Floats, Floats]:
    """Return mean and spread of the networks' values (member, ...) without the two extremes."""
    found = np.sort(found, axis=0)[1:-1]
    return found.mean(axis=0), found.std(axis=0)


def lacking(found: Floats, goal: Floats, held: NDArray[np.int64]) -> Floats:
    """Return the scatter (K,) that, with the networks' spread, makes up the residuals.

    Those of the mean of the networks that did not see a star, of values (member, N, K) at the
    training stars of which each network kept ``held`` (member, n) to itself.
    """
    unseen = np.zeros(found.shape[:2], dtype=bool)
    np.put_along_axis(unseen, held, True, axis=1)
    some = unseen.any(axis=0)
    weight = unseen[:, some, None]
    mean = (found[:, some] * weight).sum(axis=0) / weight.sum(axis=0)
    _, spread = _trimmed(found[:, some])
    square = np.nanmean((goal[some] - mean) ** 2 - spread**2, axis=0)
    return np.sqrt(np.maximum(square, 1e-6))


def populated(train: bt.Pairs, x: Floats) -> NDArray[np.bool_]:
    """Return which stars ``x`` (N, D) share their cell of each plane with a training star.

    Cells divide the range of the training stars; beyond it there are none. A
    plane of which the spec lacks an input is left out.
    """
    trusted = np.ones(len(x), dtype=bool)
    names = train.spec.input_names
    for plane in PLANES:
        if not set(plane) <= set(names):
            continue
        first, second = (names.index(name) for name in plane)
        counts, *edges = np.histogram2d(train.x[:, first], train.x[:, second], bins=CELLS)
        cells = []
        for edge, values in zip(edges, (x[:, first], x[:, second]), strict=True):
            cell = np.searchsorted(edge, values, side="right") - 1
            # The last cell has its upper edge too, as in the histogram.
            cell[values == edge[-1]] = CELLS - 1
            trusted &= (cell >= 0) & (cell < CELLS)
            cells.append(np.clip(cell, 0, CELLS - 1))
        trusted &= counts[cells[0], cells[1]] > 0
    return trusted


def _log_errors(scaler: Scaler, pairs: bt.Pairs, inputs: tuple[int, ...]) -> Floats:
    return scaler.features(pairs.x, pairs.x_err, inputs)[:, len(inputs) :]


def _corrected(values: Floats, spec: bt.Spec, outputs: list[int]) -> Floats:
    """Return the scaled input that each output corrects, zero for one that corrects none."""
    chosen = [spec.corrects[k] for k in outputs]
    return np.stack(
        [np.zeros(len(values)) if j is None or j < 0 else values[:, j] for j in chosen], axis=1
    )


def _start(key: jax.Array, n_in: int, n_out: int) -> Any:
    keys = iter(jax.random.split(key, 64))

    def dense(before: int, after: int) -> dict[str, jax.Array]:
        limit = (6.0 / (before + after)) ** 0.5  # Glorot & Bengio (2010)
        weight = jax.random.uniform(next(keys), (before, after), minval=-limit, maxval=limit)
        return {"weight": weight, "bias": jnp.zeros(after)}

    def normed(width: int) -> dict[str, jax.Array]:
        layer = dense(width, width)
        return {**layer, "gain": jnp.linalg.norm(layer["weight"], axis=0)}

    return {
        "in": dense(n_in, WIDTHS[0]),
        "blocks": [(normed(width), normed(width)) for width in WIDTHS],
        "between": [dense(before, after) for before, after in pairwise(WIDTHS)],
        "out": dense(WIDTHS[-1], n_out),
    }


def _apply(weights: Any, z: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """Return what is added to the scaled inputs (N, n_out); with a key, units are dropped."""

    def dense(layer: Any, state: jax.Array) -> jax.Array:
        return state @ layer["weight"] + layer["bias"]

    def normed(layer: Any, state: jax.Array, number: int) -> jax.Array:
        state = jax.nn.relu(state)
        if key is not None and state.shape[-1] >= DROPPED_FROM:
            kept = jax.random.bernoulli(jax.random.fold_in(key, number), 0.5, state.shape)
            state = jnp.where(kept, 2.0 * state, 0.0)
        length = jnp.linalg.norm(layer["weight"], axis=0)
        return state @ layer["weight"] * (layer["gain"] / length) + layer["bias"]

    state = dense(weights["in"], z)
    for number, (first, second) in enumerate(weights["blocks"]):
        state = state + normed(second, normed(first, state, 2 * number), 2 * number + 1)
        if number < len(weights["between"]):
            state = dense(weights["between"][number], state)
    return dense(weights["out"], state)


@jax.jit
def _members(weights: Any, z: Floats) -> jax.Array:
    return jax.lax.map(lambda w: _apply(w, jnp.asarray(z, dtype=jnp.float32)), weights)


def _train(
    z: Floats, skip: Floats, goal: Floats, training: Training, key: jax.Array
) -> tuple[Any, jax.Array]:
    """Return the members' weights, and the stars that stopped each one."""
    data = tuple(jnp.asarray(a, dtype=jnp.float32) for a in (z, goal - skip))
    program = _program(training, *z.shape, goal.shape[1])
    return program(jax.random.split(key, MEMBERS), data)


class _State(NamedTuple):
    """A network in training, the best of it so far, and where in its schedule it is."""

    weights: Any
    moments: Any
    key: jax.Array
    best: Any
    best_loss: jax.Array
    stale: jax.Array
    epoch: jax.Array
    rate: jax.Array


@lru_cache(maxsize=8)
def _program(training: Training, n_stars: int, n_in: int, n_out: int) -> PerChain:
    return PerChain(partial(_member, training, n_stars, n_in, n_out))


def _member(
    training: Training, n_stars: int, n_in: int, n_out: int, key: jax.Array, data: Any
) -> tuple[Any, jax.Array]:
    """Train one network; return its best weights and its held-out stars."""
    n_held = round(VALIDATION * n_stars)
    adam = optax.scale_by_adam()
    start_key, split_key, key = jax.random.split(key, 3)
    order = jax.random.permutation(split_key, n_stars)
    held = tuple(a[order[:n_held]] for a in data)
    kept = order[n_held:]

    def loss(weights: Any, z: jax.Array, goal: jax.Array, key: jax.Array | None) -> jax.Array:
        # Stars without an output count with the others; a difference of NaN has no gradient.
        known = jnp.isfinite(goal)
        apart = jnp.where(known, goal, 0.0) - _apply(weights, z, key)
        return mean_of_known(jnp.abs(apart), known)

    def one_epoch(now: _State) -> _State:
        key, shuffle, drop = jax.random.split(now.key, 3)
        rows = batches(jax.random.permutation(shuffle, kept), training.batch)
        rate = jnp.asarray(RATES)[now.rate]

        def step(carry: Any, inputs: Any) -> tuple[Any, None]:
            (weights, moments), (chosen, dropping) = carry, inputs
            gradient = jax.grad(loss)(weights, *batch_of(data, chosen), dropping)
            update, moments = adam.update(gradient, moments)
            return (jax.tree.map(lambda w, u: w - rate * u, weights, update), moments), None

        carry = (now.weights, now.moments)
        (weights, moments), _ = jax.lax.scan(step, carry, (rows, jax.random.split(drop, len(rows))))
        return _judged(now, weights, moments, key, loss(weights, *held, None), training)

    first = _start(start_key, n_in, n_out)
    zero = jnp.array(0)
    state = _State(first, adam.init(first), key, first, jnp.array(jnp.inf), zero, zero, zero)

    go_on = lambda now: now.rate < len(RATES)  # noqa: E731
    return jax.lax.while_loop(go_on, one_epoch, state).best, order[:n_held]


def _judged(
    now: _State, weights: Any, moments: Any, key: jax.Array, found: jax.Array, training: Training
) -> _State:
    """Keep the best weights; go to the next rate, from them, where the loss has stopped falling.

    Or where the epochs are over. The passes without a gain are then not counted, as in the
    reference's code, so that each rate has its chance.
    """
    better = found < now.best_loss
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), weights, now.best)
    stale, epoch = jnp.where(better, 0, now.stale + 1), now.epoch + 1
    ended = (stale >= training.patience) | (epoch >= training.epochs)
    weights = jax.tree.map(lambda w, b: jnp.where(ended, b, w), weights, best)
    lowest = jnp.minimum(found, now.best_loss)
    stale, rate = jnp.where(ended, 0, stale), now.rate + ended
    epoch = jnp.where(ended, epoch - training.patience, epoch)
    return _State(weights, moments, key, best, lowest, stale, epoch, rate)
