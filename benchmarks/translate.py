"""Stars translated per second, beside the floor and beside the reference's networks.

``python benchmarks/translate.py [--stars 1000000] [--memory]`` translates a simulated
catalogue from Parquet to Parquet, all in one run on one machine. The floor is what the
matrix products and the activations of the draws in use take by themselves. The reference's
networks (Thomas et al. 2024) are run with random weights: their speed does not depend on
them. ``--memory`` compares the peak memory of a catalogue with that of one ten times as long.

``BAYESTRANS_KERAS_PYTHON`` names the Python of an environment with TensorFlow: the same networks
are then asked there too, as the reference's users ask them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _survey_pairs import simulated

import bayestrans as bt
from bayestrans.answers import Answers
from bayestrans.model import location_and_scale
from bayestrans.moments import moments
from bayestrans.summary import chosen

#: Layers of one network of the reference: a residual block of two at each width.
WIDTHS = (64, 128, 256, 512, 256, 128, 64)
MEMBERS = 10

#: Draws of the plain loop.
LOOP = 64

PEAK = (
    # Not getrusage: its peak counts that of the process which started this one.
    "import re, sys; from pathlib import Path; from bayestrans.cli import main;"
    "main(sys.argv[1:]);"
    r"print(int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1]) / 1024)"
)


def model() -> bt.Posterior:
    """Return a model of four outputs that was trained briefly: its speed is that of any."""
    train = simulated().take(np.arange(3000))
    return bt.fit(train, method=bt.MCLMC(steps=2000), calibrate=False, seed=1, progress=False)


def write_catalogue(path: Path, stars: int) -> None:
    """Write simulated stars, the same hundred thousand again and again."""
    block = pa.table(bt.simulate(10, min(stars, 100_000), seed=2).catalogue)
    with pq.ParquetWriter(path, block.schema) as writer:
        for start in range(0, stars, len(block)):
            writer.write_table(block.slice(0, min(len(block), stars - start)))


def rate(work: Callable[[], object], stars: int) -> float:
    """Return stars per second of the best of three runs."""
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return stars / min(seconds)


def parallel(program: Callable[..., jax.Array], arguments: tuple, stars: int) -> float:
    """Return stars per second of a program that runs on every core at once."""
    compiled = jax.jit(program).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    cores, runs = os.cpu_count() or 1, 60
    with ThreadPoolExecutor(cores) as pool:

        def work() -> None:
            list(pool.map(lambda _: jax.block_until_ready(compiled(*arguments)), range(runs)))

        return rate(work, runs * stars)


def floors(draws: int, features: int, outputs: int, group: int = 1024) -> tuple[float, float]:
    """Return stars per second of the products alone and of the activations alone."""
    rng = np.random.default_rng(0)

    def normal(*size: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=size), jnp.float32)

    z, state = normal(features, group), normal(32, group)
    layers = (
        normal(draws, 32, features),
        normal(draws, 32, 32),
        normal(draws, 2 * outputs, 32),
        normal(draws, outputs, features),
    )

    def products(z: jax.Array, state: jax.Array, *layers: jax.Array) -> jax.Array:
        def one(total: jax.Array, draw: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
            first, second, out, line = draw
            return total + first @ z + second @ state + (out @ state).sum(0) + (line @ z).sum(
                0
            ), None

        return jax.lax.scan(one, jnp.zeros((32, group)), layers)[0]

    def activations(state: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 2 * draws, lambda _, s: jnp.tanh(s) * 1.1, state)

    return parallel(products, (z, state, *layers), group), parallel(activations, (state,), group)


def plain_loop(posterior: bt.Posterior, group: int = 512) -> float:
    """Return stars per second of mean and covariance alone of `LOOP` draws, nothing read.

    The least that a predictive asks for, and a measure of the machine: what the package does
    to a star beside it (quantiles, support, flags, files) can be seen from the ratio.
    """
    network = Answers(posterior).networks[0]
    spaced = np.arange(LOOP) * posterior.n_draws // LOOP
    draws = {n: v.reshape(-1, *v.shape[2:]) for n, v in network.block.draws.items()}
    part = chosen(draws, spaced, network.shape)
    features = posterior.gaps.n_features(network.block.block.inputs)
    z = jnp.asarray(np.random.default_rng(0).normal(size=(features, group)), jnp.float32)
    outputs = network.shape.n_outputs

    def program(z: jax.Array, draws: dict, variance: jax.Array) -> tuple[jax.Array, ...]:
        def one(total: tuple, draw: tuple) -> tuple:
            location, scale = location_and_scale(draw[0], z, network.scatter, network.shape)
            noise = draw[1][..., None] * scale[:, None] * scale
            return (total[0] + location, total[1] + location[:, None] * location + noise), None

        zero = jnp.zeros((outputs, group)), jnp.zeros((outputs, outputs, group))
        (first, second), _ = jax.lax.scan(one, zero, (draws, variance))
        mean = first / LOOP
        return mean, second / LOOP - mean[:, None] * mean

    return parallel(program, (z, dict(part.draws), part.variance), group)


def reference(features: int, outputs: int, batch: int) -> float:
    """Return stars per second of ten of the reference's networks."""
    rng, before, weights = np.random.default_rng(0), features, []
    for width in WIDTHS:
        sizes = [(before, width), (width, width), (width, width)]
        weights.append([jnp.asarray(rng.normal(size=s) / s[0], jnp.float32) for s in sizes])
        before = width
    last = jnp.asarray(rng.normal(size=(before, outputs)), jnp.float32)

    def network(x: jax.Array) -> jax.Array:
        for into, first, second in weights:
            x = jax.nn.relu(x @ into)
            x = jax.nn.relu(x + jax.nn.relu(x @ first) @ second)
        return x @ last

    x = jnp.asarray(rng.normal(size=(batch, features)), jnp.float32)
    program = jax.jit(network).lower(x).compile()
    count = max(1, 4096 // batch)

    def work() -> None:
        for _ in range(count * MEMBERS):
            jax.block_until_ready(program(x))

    work()
    return rate(work, count * batch)


def in_keras(features: int, outputs: int, batches: tuple[int, ...]) -> list[float]:
    """Return the same in Keras for each batch size, or nothing where there is no Keras."""
    python = os.environ.get("BAYESTRANS_KERAS_PYTHON")
    if not python:
        return []
    script = Path(__file__).with_name("_in_keras.py")
    arguments = map(str, (features, outputs, 20_000, *batches))
    found = subprocess.run(
        [python, script, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return [float(line) for line in found.stdout.splitlines()]


def accuracy(posterior: bt.Posterior, path: Path) -> str:
    """Return how far summaries of the chosen draws are from those of all."""
    answers = Answers(posterior)
    network = answers.networks[0]
    table = pq.ParquetFile(path).read_row_group(0).slice(0, 4096).to_pandas()
    spec = posterior.spec
    x = table[[i.column for i in spec.inputs]].to_numpy()
    x_err = table[[i.error for i in spec.inputs]].to_numpy()
    every = np.arange(posterior.n_draws)
    draws = {n: v.reshape(-1, *v.shape[2:]) for n, v in network.block.draws.items()}
    exact = chosen(draws, every, network.shape).table
    total = [(r, moments(m, exact)) for r, m in posterior.mixtures(network.block, x, x_err)]
    some = bt.translate(posterior, table, progress=False)
    away: dict[str, list[np.ndarray]] = {}
    names = spec.output_names
    for rows, found in total:
        for k, name in enumerate(names):
            unit, base = posterior.scaler.delta_scale[k], posterior.scaler.base(x[rows])[:, k]
            values = dict(
                zip(("p16", "p50", "p84"), np.asarray(found.quantiles)[:, k], strict=True)
            )
            half = 0.5 * (values["p84"] - values["p16"])
            values |= {"mean": np.asarray(found.mean)[k], "sd": np.asarray(found.sd)[k]}
            for part, value in values.items():
                ours = np.asarray(some[f"{name}_{part}"])[rows] - (part != "sd") * base
                # A standard deviation is off by a share of itself.
                off = (ours / unit - value) / (value if part == "sd" else half)
                away.setdefault(part, []).append(off)
        for i, j in itertools.combinations(range(len(names)), 2):
            ours = np.asarray(some[f"corr_{names[i]}_{names[j]}"])[rows]
            away.setdefault("corr", []).append(ours - np.asarray(found.corr)[i, j])
    lines = []
    for part in ("mean", "sd", "p16", "p50", "p84", "corr"):
        off = np.abs(np.concatenate(away[part]))
        lines.append(f"{part} {np.sqrt(np.mean(off**2)):.4f} ({np.quantile(off, 0.99):.4f})")
    return f"{answers.counts[0]} of {posterior.n_draws} draws: " + ", ".join(lines)


def counted(draws: int, features: int, outputs: int) -> str:
    """Return the operations and bytes that a star asks for, as they are counted on paper.

    Two operations for each weight of each draw; of the activations their number. A star is read
    and written once: everything between stays in the cache, where the draws lie too.
    """
    width = 32
    weights = width * features + width * width + 2 * outputs * width
    pairs = outputs * (outputs - 1) // 2
    # In: inputs and errors in double precision, and an identifier; out: seven single-precision
    # summaries of each output, the correlations, support, its class and flags.
    read, written = 8 * features + 8, 8 + 4 * (7 * outputs + pairs + 1) + 6 + 4
    return (
        f"a star and draw: {2 * weights} operations of products, {2 * width} of tanh and "
        f"{outputs} of exp; a star: {2 * weights * draws:,} and {(2 * width + outputs) * draws:,}, "
        f"{read} bytes read and {written} written; the draws: {4 * weights * draws / 1024:.0f} KiB"
    )


def peak(model_file: Path, catalogue: Path, out: Path) -> float:
    """Return the peak memory (MiB) of one translation in a process of its own."""
    arguments = ["translate", str(model_file), str(catalogue), "--out", str(out), "--quiet"]
    found = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True, check=True
    )
    return float(found.stdout.splitlines()[-1])


def main() -> None:
    """Print the rates and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stars", type=int, default=1_000_000)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    posterior = model()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source, out = folder / "a.parquet", folder / "b.parquet"
        write_catalogue(source, options.stars)
        count = Answers(posterior).counts[0]
        features = posterior.gaps.n_features(posterior.blocks[0].block.inputs)
        outputs = len(posterior.spec.outputs)
        print(f"{os.cpu_count()} cores, {platform.machine()}, jax {jax.__version__}")
        print(f"{options.stars} stars, {features} features, {outputs} outputs")
        print(
            "summaries off by, root mean square (99 of 100); mean and quantiles in half of "
            "p84 - p16, sd relative, corr as it is: "
            f"{accuracy(posterior, source)}"
        )
        print(counted(count, features, outputs))
        ours = rate(
            lambda: bt.translate_file(posterior, source, out, overwrite=True, progress=False),
            options.stars,
        )
        products, activations = floors(count, features, outputs)
        floor = 1.0 / (1.0 / products + 1.0 / activations)
        print(f"Parquet to Parquet      {ours:12,.0f} stars/s")
        print(f"floor: products         {products:12,.0f} stars/s")
        print(f"floor: activations      {activations:12,.0f} stars/s")
        print(f"floor over ours         {floor / ours:12.2f}")
        loop = plain_loop(posterior)
        print(f"mean and covariance of {LOOP} draws alone {loop:,.0f} stars/s, ", end="")
        print(f"over ours {loop / ours:.2f}")
        for batch in (32, 256, 1024, 4096):
            theirs = reference(features, outputs, batch)
            ratio = f"ours over it {ours / theirs:.0f}"
            print(f"reference, batch {batch:5d}  {theirs:12,.0f} stars/s, {ratio}")
        batches = (32, 256, 4096)
        for batch, theirs in zip(batches, in_keras(features, outputs, batches), strict=False):
            print(f"in Keras,  batch {batch:5d}  {theirs:12,.0f} stars/s, ", end="")
            print(f"ours over it {ours / theirs:.0f}")
        if options.memory:
            saved, longer = folder / "m.nc", folder / "c.parquet"
            posterior.save(saved)
            write_catalogue(longer, 10 * options.stars)
            found = [
                peak(saved, path, folder / f"{path.stem}_b.parquet") for path in (source, longer)
            ]
            print(f"peak memory {found[0]:.0f} MiB, ten times the stars {found[1]:.0f} MiB")


if __name__ == "__main__":
    main()
