"""Two rivals, behind one signature: training stars, stars to predict and a seed.

Each returns a `Prediction` of what survey B would measure, in the units of the
spec. As in the package, intrinsic outputs share what they see, and an extrinsic
one has a model of its own that also sees the input it corrects.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _cost import predicting
from numpy.typing import NDArray
from scipy import special, stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

import bayestrans as bt
from bayestrans.chains import PerChain
from bayestrans.scale import Scaler

Floats = NDArray[np.float64]
Loss = Callable[[Any, jax.Array, jax.Array], jax.Array]

#: Draws from each predictive.
DRAWS = 1000

#: Stars on which the Gaussian processes learn their length scales, which is
#: what costs most, and stars that they are then conditioned on.
KERNEL_STARS, PROCESS_STARS = 500, 4000

#: Random starts of that search beside its first.
RESTARTS = 2

#: First weights of a layer of rectified units, times the root of its inputs (He et al. 2015).
HE_GAIN = 2.0**0.5

#: Bound on the logarithm of a scatter that the deep ensemble predicts, in units
#: of the correction's robust spread: wide enough for binaries, and finite.
LOG_SCATTER = 6.0

#: Bound on the norm of the deep ensemble's gradient: under a Gaussian one
#: binary whose velocity has moved by a hundred sigma would upset a whole batch.
GRADIENT_NORM = 5.0


class Prediction(NamedTuple):
    """What a method says of some stars.

    Attributes
    ----------
    draws : (draw, star, output) array
        Of what survey B would measure, in the units of the spec.
    mean : (star, output) array
        Predicted mean. Kept apart, because that of draws with heavy tails is noisy.
    trusted : (star,) array of bool, optional
        The method's own flag.
    log_density : (star,) array, optional
        Of the measured values that a star has, together, in the units of the spec.
    """

    draws: Floats
    mean: Floats
    trusted: NDArray[np.bool_] | None = None
    log_density: Floats | None = None


def normal_log_density(pairs: bt.Pairs, mean: Floats, sd: Floats) -> Floats:
    """Return the log density of each star's values under independent normals (..., N, K)."""
    each = stats.norm(mean, sd).logpdf(pairs.y)
    return np.where(pairs.seen, each, 0.0).sum(axis=-1)


class Plan(NamedTuple):
    """How an ensemble of networks is built and trained.

    Attributes
    ----------
    members, width, blocks : int
        Networks, units of a layer and residual blocks of two layers.
    epochs, batch, patience : int
        At most ``epochs`` passes in batches of ``batch`` stars, ended after
        ``patience`` of them without a better loss on the validation stars.
    rate, decay : float
        Learning rate and weight decay of Adam.
    validation : float
        Share of the stars that each member keeps to itself for that loss.
    clip : float
        Bound on the norm of a gradient.
    last_gain : float
        Size of the last layer's first weights, times the root of its inputs.
    """

    members: int = 5
    width: int = 64
    blocks: int = 3
    epochs: int = 500
    batch: int = 256
    patience: int = 50
    rate: float = 1e-3
    decay: float = 0.0
    validation: float = 0.1
    clip: float = float("inf")
    last_gain: float = HE_GAIN


#: As many members as Lakshminarayanan et al. (2017) have. Rate and decay are the
#: best of some ten pairs on simulated stars of all metallicities (seed 7). The last layer
#: starts small: a scatter that starts far off can leave a member stuck at a poor mean.
DEEP_ENSEMBLE = Plan(blocks=1, batch=128, rate=3e-3, decay=1.0, clip=GRADIENT_NORM, last_gain=0.1)


def deep_ensemble(
    train: bt.Pairs,
    test: bt.Pairs,
    seed: int,
    *,
    plan: Plan = DEEP_ENSEMBLE,
    draws: int = DRAWS,
) -> Prediction:
    """Mixture of networks that each predict mean and scatter of the corrections.

    Lakshminarayanan, Pritzel & Blundell (2017), without adversarial stars. It
    sees what the package's network sees: scaled inputs and log errors.
    """
    scaler = Scaler.learn(train)
    target = scaler.delta(train.x, train.y)
    rng = np.random.default_rng(seed)
    delta = np.empty((draws, *test.y.shape))
    mean, log_density = np.empty(test.y.shape), np.zeros(len(test))
    held, seen = scaler.delta(test.x, test.y), test.seen
    for block, key in _keyed_blocks(train.spec, seed):
        z, at = (scaler.features(p.x, p.x_err, block.inputs) for p in (train, test))
        outputs = list(block.outputs)
        weights = _train(_gaussian_loss, z, target[:, outputs], 2 * len(outputs), plan, key)
        with predicting():
            found = jnp.split(_predict(weights, at), 2, axis=-1)
            location, scatter = np.asarray(found[0]), np.exp(np.asarray(_bounded(found[1])))
            member = np.arange(draws) % plan.members
            noise = rng.standard_normal((draws, len(test), len(outputs)))
            # B's quoted errors are not added: the scatter is learned from residuals
            # of measured values, and so has them in it already.
            delta[:, :, outputs] = location[member] + scatter[member] * noise
            mean[:, outputs] = location.mean(axis=0)
        # Outputs that share a network are independent in each member, not in the mixture.
        each = stats.norm(location, scatter).logpdf(held[:, outputs])
        together = np.where(seen[:, outputs], each - np.log(scaler.delta_scale[outputs]), 0.0)
        log_density += special.logsumexp(together.sum(axis=-1), axis=0) - np.log(plan.members)
    sample, centre = scaler.restore(test.x, delta), scaler.restore(test.x, mean)
    return Prediction(sample, centre, log_density=log_density)


def gaussian_process(
    train: bt.Pairs,
    test: bt.Pairs,
    seed: int,
    *,
    kernel_stars: int = KERNEL_STARS,
    process_stars: int = PROCESS_STARS,
    draws: int = DRAWS,
) -> Prediction:
    """One Gaussian process for each correction, with white noise; outputs independent.

    The length scales are learned from ``kernel_stars`` stars chosen at random,
    because the cost grows with the cube of their number, with the best of
    three starts. The process is then
    conditioned on up to ``process_stars``: with a random part of the training
    stars it would lose the few in a thinly populated tail.
    """
    scaler = Scaler.learn(train)
    target = scaler.delta(train.x, train.y)
    rng = np.random.default_rng(seed)
    mean, sd = np.empty(test.y.shape), np.empty(test.y.shape)
    for block in train.spec.blocks:
        z, at = (scaler.features(p.x, p.x_err, block.inputs) for p in (train, test))
        for k in block.outputs:
            rows = rng.permutation(np.flatnonzero(train.seen[:, k]))
            few, many = rows[:kernel_stars], rows[:process_stars]
            model = _learn_kernel(z[few], target[few, k], seed)
            model = GaussianProcessRegressor(model.kernel_, optimizer=None, normalize_y=True)
            model.fit(z[many], target[many, k])
            with predicting():
                mean[:, k], sd[:, k] = model.predict(at, return_std=True)
    with predicting():
        mean, sd = scaler.restore(test.x, mean), scaler.delta_scale * sd
        sample = mean + sd * rng.standard_normal((draws, *mean.shape))
    return Prediction(sample, mean, log_density=normal_log_density(test, mean, sd))


def _keyed_blocks(spec: bt.Spec, seed: int) -> list[tuple[Any, jax.Array]]:
    """Return the blocks of outputs, each with a random key of its own."""
    keys = jax.random.split(jax.random.key(seed), len(spec.blocks))
    return list(zip(spec.blocks, keys, strict=True))


def _learn_kernel(z: Floats, target: Floats, seed: int) -> GaussianProcessRegressor:
    """Return a process with its kernel learned by marginal likelihood."""
    kernel = kernels.ConstantKernel(1.0, (1e-3, 1e3)) * kernels.RBF(
        np.full(z.shape[1], 2.0), (1e-1, 1e5)
    ) + kernels.WhiteKernel(0.5, (1e-3, 1e1))
    with warnings.catch_warnings():
        # An input without influence drives its length scale to the bound.
        warnings.simplefilter("ignore", ConvergenceWarning)
        starts = {"n_restarts_optimizer": RESTARTS, "random_state": seed}
        return GaussianProcessRegressor(kernel, normalize_y=True, **starts).fit(z, target)


def _dense(
    key: jax.Array, before: int, after: int, gain: float = HE_GAIN
) -> tuple[jax.Array, jax.Array]:
    weight = gain / before**0.5 * jax.random.normal(key, (before, after))
    return weight, jnp.zeros(after)


def _start(key: jax.Array, n_in: int, n_out: int, plan: Plan) -> Any:
    """Return random weights of a residual network."""
    keys = iter(jax.random.split(key, 2 + 2 * plan.blocks))
    return {
        "in": _dense(next(keys), n_in, plan.width),
        "blocks": [
            (_dense(next(keys), plan.width, plan.width), _dense(next(keys), plan.width, plan.width))
            for _ in range(plan.blocks)
        ],
        "out": _dense(next(keys), plan.width, n_out, plan.last_gain),
    }


def _apply(weights: Any, z: jax.Array) -> jax.Array:
    """Return the outputs (N, n_out) of a residual network at features ``z`` (N, F)."""

    def dense(layer: Any, state: jax.Array) -> jax.Array:
        return state @ layer[0] + layer[1]

    state = jax.nn.relu(dense(weights["in"], z))
    for first, second in weights["blocks"]:
        state = jax.nn.relu(state + dense(second, jax.nn.relu(dense(first, state))))
    return dense(weights["out"], state)


def _bounded(raw: jax.Array) -> jax.Array:
    return LOG_SCATTER * jnp.tanh(raw / LOG_SCATTER)


def _gaussian_loss(weights: Any, z: jax.Array, target: jax.Array) -> jax.Array:
    """Negative log density of a Gaussian, over the outputs that are not NaN."""
    location, raw = jnp.split(_apply(weights, z), 2, axis=-1)
    log_scatter = _bounded(raw)
    seen = jnp.isfinite(target)
    residual = (jnp.where(seen, target, 0.0) - location) * jnp.exp(-log_scatter)
    return mean_of_known(log_scatter + 0.5 * residual**2, seen)


def mean_of_known(values: jax.Array, known: jax.Array) -> jax.Array:
    """Return the mean of what is known, zero where nothing is."""
    return jnp.sum(jnp.where(known, values, 0.0)) / jnp.maximum(known.sum(), 1)


def batches(rows: jax.Array, size: int) -> jax.Array:
    """Return all rows in batches (steps, size) as Keras cuts them: -1 fills up the last."""
    size = min(size, len(rows))
    steps = -(-len(rows) // size)
    return jnp.pad(rows, (0, steps * size - len(rows)), constant_values=-1).reshape(steps, size)


def batch_of(data: tuple[jax.Array, jax.Array], rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return features and targets of rows; a target that is none of a star's is NaN."""
    z, target = data
    return z[rows], jnp.where((rows >= 0)[:, None], target[rows], jnp.nan)


def _predict(weights: Any, z: Floats) -> jax.Array:
    """Return what each member predicts: (member, star, n_out)."""
    return jax.vmap(_apply, (0, None))(weights, jnp.asarray(z, dtype=jnp.float32))


class _State(NamedTuple):
    """A network in training, and the best of it so far."""

    weights: Any
    moments: Any
    key: jax.Array
    best: Any
    best_loss: jax.Array
    stale: jax.Array
    epoch: jax.Array


def _train(loss: Loss, z: Floats, target: Floats, n_out: int, plan: Plan, key: jax.Array) -> Any:
    """Return the members' weights, stacked; each is trained from a start of its own."""
    data = tuple(jnp.asarray(a, dtype=jnp.float32) for a in (z, target))
    return _program(loss, plan, *z.shape, n_out)(jax.random.split(key, plan.members), data)


# Compiled once for all members, which run on as many cores as there are, and
# for all seeds: the shapes are part of the key because a program has one shape.
@lru_cache(maxsize=8)
def _program(loss: Loss, plan: Plan, n_stars: int, n_in: int, n_out: int) -> PerChain:
    return PerChain(_member(loss, plan, n_stars, n_in, n_out))


def _member(
    loss: Loss, plan: Plan, n_stars: int, n_in: int, n_out: int
) -> Callable[[jax.Array, Any], Any]:
    """Return the training of one network as one function that can be compiled."""
    n_held = max(1, round(plan.validation * n_stars))
    adam = optax.chain(
        optax.clip_by_global_norm(plan.clip), optax.adamw(plan.rate, weight_decay=plan.decay)
    )

    def run(key: jax.Array, data: Any) -> Any:
        key, start_key, split_key = jax.random.split(key, 3)
        weights = _start(start_key, n_in, n_out, plan)
        order = jax.random.permutation(split_key, n_stars)
        held, kept = order[:n_held], order[n_held:]

        def step(carry: Any, rows: jax.Array) -> tuple[Any, None]:
            weights, moments = carry
            gradient = jax.grad(loss)(weights, *batch_of(data, rows))
            update, moments = adam.update(gradient, moments, weights)
            return (optax.apply_updates(weights, update), moments), None

        def epoch(now: _State) -> _State:
            key, shuffle = jax.random.split(now.key)
            rows = batches(jax.random.permutation(shuffle, kept), plan.batch)
            (weights, moments), _ = jax.lax.scan(step, (now.weights, now.moments), rows)
            found = loss(weights, *(a[held] for a in data))
            better = found < now.best_loss
            best = jax.tree.map(lambda new, old: jnp.where(better, new, old), weights, now.best)
            best_loss = jnp.where(better, found, now.best_loss)
            stale = jnp.where(better, 0, now.stale + 1)
            return _State(weights, moments, key, best, best_loss, stale, now.epoch + 1)

        zero = jnp.array(0)
        first = _State(weights, adam.init(weights), key, weights, jnp.array(jnp.inf), zero, zero)
        go_on = lambda now: (now.epoch < plan.epochs) & (now.stale < plan.patience)  # noqa: E731
        return jax.lax.while_loop(go_on, epoch, first).best

    return run
