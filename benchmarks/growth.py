"""How time and memory grow with stars, inputs, outputs and width.

``python benchmarks/growth.py [--picture FILE] [--json FILE]`` fits and translates simulated
stars, each point in a process of its own, changing one number at a time. Fits are of a
fixed, short length (--steps), so their times compare with each other only. Prints
tables of CPU seconds (of all cores), wall-clock seconds and peak memory, with the slope of
the logarithm of the CPU seconds between the last points.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _cost import peak
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter

import bayestrans as bt

#: What is varied, and its values; all else is as in DEFAULT.
DEFAULT = {"stars": 4000, "inputs": 4, "outputs": 4, "width": 32}
FITS = {
    "stars": (1_000, 3_000, 10_000, 30_000, 100_000),
    "inputs": (2, 4, 8, 16),
    "outputs": (1, 2, 4, 8),
    "width": (8, 16, 32, 64, 128),
}
SHOWN = {"cpu": "CPU time [s]", "MiB": "peak memory [MiB]"}
TRANSLATED = {"stars": (10_000, 100_000, 1_000_000, 10_000_000)}
TRANSLATED |= {name: values for name, values in FITS.items() if name != "stars"}
#: Stars of a catalogue where something else is varied.
CATALOGUE = 300_000


def random_pairs(stars: int, inputs: int, outputs: int) -> bt.Pairs:
    """Return stars with any number of inputs and outputs: smooth functions and noise."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((stars, inputs))
    curve = np.tanh(x @ rng.standard_normal((inputs, outputs)))
    base = x[:, np.arange(outputs) % inputs]
    y = base + 0.5 * curve + 0.1 * rng.standard_normal((stars, outputs))
    spec = bt.Spec(
        "growth",
        tuple(bt.Input(f"x{j}", f"x{j}", error=f"e{j}") for j in range(inputs)),
        tuple(bt.Output(f"y{k}", f"y{k}", corrects=f"x{k % inputs}") for k in range(outputs)),
    )
    x_err = np.exp(rng.normal(-2, 0.3, x.shape))
    return bt.Pairs(spec, x, x_err, y, np.full(y.shape, 0.05), np.arange(stars))


def fit_once(stars: int, inputs: int, outputs: int, width: int, steps: int) -> dict[str, float]:
    """Return seconds of a fit of fixed length, compilation included."""
    method = bt.MCLMC(steps=steps, draws=min(steps, 100), warm_steps=steps, tune_steps=100)
    pairs = random_pairs(stars, inputs, outputs)
    return timed(
        lambda: bt.fit(
            pairs,
            method=method,
            network=bt.Network((width, width)),
            calibrate=False,
            progress=False,
        )
    )


def translate_once(stars: int, model: Path) -> dict[str, float]:
    """Return seconds from Parquet to Parquet."""
    with tempfile.TemporaryDirectory(dir=model.parent) as folder:
        source = Path(folder) / "a.parquet"
        posterior = bt.load(model)
        write_stars(posterior.spec, source, stars)
        out = Path(folder) / "b.parquet"
        return timed(lambda: bt.translate_file(posterior, source, out, progress=False))


def write_stars(spec: bt.Spec, path: Path, stars: int) -> None:
    """Write a catalogue of random stars, the same hundred thousand again and again."""
    count, rng = min(stars, 100_000), np.random.default_rng(1)
    columns = {"star": np.arange(count)}
    columns |= {item.column: rng.standard_normal(count) for item in spec.inputs}
    columns |= {item.error: np.exp(rng.normal(-2, 0.3, count)) for item in spec.inputs}
    block = pa.table(columns)
    with pq.ParquetWriter(path, block.schema) as writer:
        for start in range(0, stars, count):
            writer.write_table(block.slice(0, min(count, stars - start)))


def model_of(case: dict[str, int], steps: int, path: Path) -> None:
    """Fit a model whose draws are some of a posterior, and save it."""
    method = bt.MCLMC(steps=2 * steps, draws=min(steps, 100), warm_steps=steps, tune_steps=100)
    pairs = random_pairs(3000, case["inputs"], case["outputs"])
    network = bt.Network((case["width"],) * 2)
    options = {"network": network, "calibrate": False, "seed": 1, "progress": False}
    bt.fit(pairs, method=method, **options).save(path, overwrite=True)


def timed(work: Any) -> dict[str, float]:
    begun, cpu = time.perf_counter(), time.process_time()
    work()
    return {
        "wall": time.perf_counter() - begun,
        "cpu": time.process_time() - cpu,
        "MiB": peak(),
    }


def in_a_process(*arguments: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--once", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(options: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """Return for each thing varied what its values cost."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, values in FITS.items():
        title = f"fit: {name}"
        found[title] = {}
        for value in values[: options.points]:
            case = {**DEFAULT, name: value}
            found[title][str(value)] = in_a_process(
                "fit", *map(str, case.values()), str(options.steps)
            )
            print(title, value, found[title][str(value)], file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, values in TRANSLATED.items():
            title = f"translate: {name}"
            found[title] = {}
            for value in values[: options.points]:
                model = Path(folder) / "m.nc"
                model_of({**DEFAULT, name: value}, options.steps, model)
                stars = value if name == "stars" else CATALOGUE
                found[title][str(value)] = in_a_process("translate", str(stars), str(model))
                print(title, value, found[title][str(value)], file=sys.stderr, flush=True)
    return found


def slope(costs: dict[str, dict[str, float]], what: str) -> float:
    """Return the slope between the last two points, on logarithmic axes."""
    (a, first), (b, last) = list(costs.items())[-2:]
    return float(np.log(last[what] / first[what]) / np.log(int(b) / int(a)))


def tables(found: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = ["| what is varied | value | CPU (s) | wall (s) | peak (MiB) | slope of CPU |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for title, costs in found.items():
        for value, cost in costs.items():
            last = value == list(costs)[-1] and len(costs) > 1
            steep = f"{slope(costs, 'cpu'):.2f}" if last else ""
            lines.append(
                f"| {title} | {int(value):,} | {cost['cpu']:.1f} | {cost['wall']:.1f} | "
                f"{cost['MiB']:.0f} | {steep} |"
            )
    return "\n".join(lines)


def draw(found: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Draw CPU seconds and memory against what was varied, on logarithmic axes."""
    # Fits above, translations below: time and memory of each.
    half = len(found) // 2
    size = (2.0 * half, 7.6)
    figure, every = plt.subplots(4, half, figsize=size, sharey="row", layout="constrained")
    for number, (title, costs) in enumerate(found.items()):
        axes, column = every[2 * (number // half) :][:2], number % half
        values = np.array([int(v) for v in costs])
        for row, (what, label) in enumerate(SHOWN.items()):
            axis, numbers = axes[row, column], [cost[what] for cost in costs.values()]
            axis.loglog(values, numbers, "o-", color="#0072b2", markersize=4)
            if len(costs) > 1:
                steep = round(slope(costs, what), 2) + 0.0  # no minus before nothing
                text = f"last slope {steep:.2f}".replace("-", "\N{MINUS SIGN}")
                axis.text(0.05, 0.9, text, transform=axis.transAxes, fontsize=8)
            few = values[-1] < 1000  # numbers as they are, not powers of ten
            axis.xaxis.set_major_locator(FixedLocator(values) if few else LogLocator())
            if few:
                axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.tick_params(labelsize=7, which="both", direction="in", top=True, right=True)
            axis.set_xlabel(title, fontsize=8)
            if column == 0:
                axis.set_ylabel(label, fontsize=8)
                axis.yaxis.set_major_formatter("{x:g}")
                axis.yaxis.set_minor_formatter(NullFormatter())
    for kind, shown in enumerate((list(found.values())[:half], list(found.values())[half:])):
        for row, what in enumerate(SHOWN):  # panels of a row share their axis
            numbers = [cost[what] for costs in shown for cost in costs.values()]
            low = 10 ** np.floor(np.log10(min(numbers)))
            every[2 * kind + row, 0].set_ylim(low, 3 * max(numbers))
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=500, help="of each chain of a fit")
    parser.add_argument("--points", type=int, default=9, help="at most, of each thing varied")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--page", type=Path, help="file for the table, as Markdown")
    parser.add_argument("--picture", type=Path, help="file for the picture")
    parser.add_argument("--once", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        kind, *rest = options.once
        numbers = (
            fit_once(*map(int, rest))
            if kind == "fit"
            else translate_once(int(rest[0]), Path(rest[1]))
        )
        print(json.dumps(numbers))
        return
    machine = platform.processor() or platform.machine()
    title = f"{os.cpu_count()} cores, {machine}, jax {jax.__version__}, {options.steps} steps"
    print(title)
    found = measure(options)
    text = f"{title}\n\n{tables(found)}\n"
    print(text)
    if options.page:
        options.page.write_text(text, encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.picture:
        draw(found, options.picture)


if __name__ == "__main__":
    main()
