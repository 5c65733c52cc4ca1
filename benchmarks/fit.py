"""Time per gradient and per effective sample of a fit, with the floor beside them.

``python benchmarks/fit.py [--stars 4000] [--seconds 60]`` on simulated stars; with
``--again`` what a second fit of nearly as many stars takes. Times are wall-clock; ratios are within
one run on one machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from itertools import pairwise

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from _ours import effective
from blackjax.mcmc.mclmc import init

import bayestrans as bt
from bayestrans import langevin, student
from bayestrans.chains import PerChain
from bayestrans.network import RELEVANCE_SD
from bayestrans.programs import compiled
from bayestrans.scale import Scaler
from bayestrans.target import Target, build_target, scaled_data

REPEATS = 300
KEY = jax.random.key(0)


def seconds(function, *arguments) -> float:
    """Return the best of seven wall-clock times of a compiled function."""
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(7):
        begun = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - begun)
    return min(times)


def repeated(step):
    """Return a compiled function that applies ``step`` to a state REPEATS times."""

    def run(state):
        return jax.lax.scan(lambda s, _: (step(s), None), state, None, length=REPEATS)[0]

    return jax.jit(run)


def floor(n_stars: int, n_in: int, hidden: tuple[int, ...], n_out: int) -> tuple[float, float]:
    """Return seconds of the products and of the activations of one gradient, each measured.

    A gradient has three products for each layer: forward, back to the layer
    below (not for the first), and onto the weights. Each is timed alone at the
    layer's shape, so the sum is what this machine's matrix library can do.
    """
    widths = (n_in, *hidden, n_out)
    products = 0.0
    for layer, (before, after) in enumerate(pairwise(widths)):
        weight, state = jnp.ones((after, before)), jnp.ones((before, n_stars))
        up = jnp.ones((after, n_stars))
        products += seconds(repeated(lambda s, w=weight: s + 1e-9 * (w @ s)[:1]), state)
        products += seconds(repeated(lambda w, u=up, s=state: w + 1e-9 * (u @ s.T)), weight)
        if layer:
            products += seconds(repeated(lambda u, w=weight: u + 1e-9 * (w.T @ u)[:1]), up)
    states = jnp.ones((sum(hidden), n_stars))
    activations = seconds(repeated(jnp.tanh), states)
    return products / REPEATS, activations / REPEATS


def density_alone(n_stars: int, n_out: int) -> float:
    """Return seconds of the gradient of the stars' density, without the network before it."""
    residual = jax.random.normal(KEY, (n_out, n_stars))
    err = jnp.full((n_out, n_stars), 0.1)

    def log_density(unknown):
        location, log_scale, corr, factor, tails = unknown
        apart = residual - location, jnp.exp(log_scale), corr, factor * err
        return student.log_density(*apart, student.Tails(*tails)).sum()

    nothing = jnp.zeros((n_out, n_stars))
    start = (nothing, nothing, 0.8 * jnp.eye(n_out) + 0.2, jnp.ones(()), jnp.array([5.0, 0.02, 5]))
    descend = lambda u: jax.tree.map(lambda a, g: a - 1e-9 * g, u, jax.grad(log_density)(u))  # noqa: E731
    return seconds(repeated(descend), start) / REPEATS


def stars_first(weights, z):
    """The forward pass with stars along the first axis, for comparison."""
    state = z
    for layer in range(sum(name.startswith("bias") for name in weights)):
        before = state
        weight = weights[f"weight_{layer}"].T / before.shape[-1] ** 0.5
        if layer == 0:
            weight = weight * jnp.exp(RELEVANCE_SD * weights["log_relevance"])[:, None]
        state = jnp.tanh(before @ weight + weights[f"bias_{layer}"])
        state = state + before if layer else state
    return state @ weights["weight_out"].T / state.shape[-1] ** 0.5


def compare_layouts(network: bt.Network, z: jax.Array) -> float:
    """Return the time of a gradient with stars first over that with stars last."""
    shapes = network.shapes(len(z), 8)
    keys = jax.random.split(jax.random.key(0), len(shapes))
    weights = {n: jax.random.normal(k, s) for k, (n, s) in zip(keys, shapes.items(), strict=True)}

    def descend(apply, features):
        loss = jax.grad(lambda w: (apply(w, features) ** 2).mean())
        return repeated(lambda w: jax.tree.map(lambda a, g: a - 1e-9 * g, w, loss(w)))

    last = seconds(descend(network, z), weights)
    first = seconds(descend(stars_first, z.T), weights)
    return first / last


def step_of(target: Target, step) -> float:
    """Return the seconds of one step of one chain of MCLMC, which has two gradients."""
    state = init(0.1 * jnp.ones(target.dim), lambda p: target.log_density(p, target.data), KEY)
    arguments = jnp.ones(target.dim), jnp.asarray(40.0), jnp.asarray(1e-3)

    def steps(state, data):
        def advance(carry, _):
            state, key, energy = carry
            key, step_key = jax.random.split(key)
            density = lambda p: target.log_density(p, data)  # noqa: E731
            state, info = step(step_key, state, density, *arguments)
            return (state, key, energy + info.energy_change), None

        return jax.lax.scan(advance, (state, KEY, 0.0), None, length=REPEATS)[0]

    return seconds(compiled(steps), state, target.data) / REPEATS


def fitted_again() -> None:
    """Print what a fit takes, and one of nearly as many other stars in the same process."""
    pairs = bt.simulate(1200, 10, seed=0).pairs
    half = len(pairs) // 2
    for method in (bt.MCLMC(steps=2000), bt.SVI()):
        spent = []
        for start, count in ((0, half), (half, half - 3)):
            begun = time.perf_counter()
            some = pairs.take(np.arange(start, start + count))
            bt.fit(some, method=method, seed=1, progress=False)
            spent.append(time.perf_counter() - begun)
        first, second = spent
        told = f"{type(method).__name__:6s}fit of {half} stars, calibrated {first:8.1f} s"
        print(f"{told}; of {half - 3} others {second:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stars", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=60.0, help="time budget of MCLMC")
    parser.add_argument("--again", action="store_true", help="only what a second fit takes")
    options = parser.parse_args()
    machine = platform.processor() or platform.machine()
    print(f"{os.cpu_count()} cores, {machine}, jax {jax.__version__}")
    if options.again:
        fitted_again()
        return

    full = bt.simulate(options.stars, 10, seed=0).pairs
    inputs = tuple(i for i in full.spec.inputs if not i.extrinsic)
    outputs = tuple(o for o in full.spec.outputs if not o.extrinsic)
    d, k = len(inputs), len(outputs)
    pairs = bt.Pairs(
        bt.Spec("intrinsic", inputs, outputs, "star_id"),
        full.x[:, :d],
        full.x_err[:, :d],
        full.y[:, :k],
        full.y_err[:, :k],
        full.ids,
    )
    train, test = pairs.split(0.2, seed=0)
    network, noise, block = bt.Network(), bt.Noise(), train.spec.blocks[0]
    data = scaled_data(train, Scaler.learn(train), block, noise)
    target = build_target(data, network, noise, np.arange(100))
    print(f"{len(train)} stars, {len(data.z)} features, {k} outputs, {target.dim} parameters")

    def gradients(position, data):
        step = lambda p, _: (p + 1e-9 * jax.grad(target.log_density)(p, data), None)  # noqa: E731
        return jax.lax.scan(step, position, None, length=REPEATS)[0]

    starts = 0.1 * jax.random.normal(KEY, (4, target.dim))
    each = PerChain(gradients)
    one = seconds(lambda s: each(s, data), starts[:1]) / REPEATS
    four = seconds(lambda s: each(s, data), starts) / REPEATS / 4
    products, activations = floor(len(train), len(data.z), network.hidden, 2 * k)
    print(f"gradient, one chain        {1e3 * one:8.3f} ms")
    print(f"gradient, four chains      {1e3 * four:8.3f} ms each ({one / four:.2f} times the rate)")
    print(f"floor: products            {1e3 * products:8.3f} ms")
    print(f"floor: activations         {1e3 * activations:8.3f} ms")
    print(f"gradient over floor        {one / (products + activations):8.2f}")
    print(f"density of stars alone     {1e3 * density_alone(len(train), k):8.3f} ms")
    for label, step in (("MCLMC", langevin.step), ("BlackJAX", blackjax.mclmc.build_kernel())):
        told = f"step over 2 gradients, {label}"
        print(f"{told:33s}{step_of(target, step) / 2 / one:8.2f}")
    print(f"stars first over last      {compare_layouts(network, data.z):8.2f}")

    begun = time.perf_counter()
    method = bt.MCLMC(time_budget=options.seconds)
    posterior = bt.fit(train, method=method, seed=1, calibrate=False, progress=False)
    spent = time.perf_counter() - begun
    ess = effective(posterior, test)
    print(
        f"MCLMC  {spent:6.1f} s, {ess:6.0f} effective draws (median over predictions), "
        f"{1e3 * spent / ess:7.0f} ms each, "
        f"held-out NLL {bt.evaluate(posterior, test).overall.nll:.3f}"
    )


if __name__ == "__main__":
    main()
