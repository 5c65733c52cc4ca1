"""How many common stars are enough: held-out scores against the number of training stars.

``python benchmarks/learning_curve.py [--json FILE] [--picture FILE] [--folder DATA]``.
Simulated stars (intrinsic outputs; others of the same two surveys are the test), and the K2
giants of a folder of real catalogues where one is given. ``--redraw FILE`` draws and prints
the figures of an earlier run again.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bayestrans as bt
from bayestrans.plot_style import COLOURS, GREY, PAGE, frame
from bayestrans.scale import Scaler
from bayestrans.simulate import to_columns

ROOT = Path(__file__).resolve().parents[1]

#: Training stars; each set holds the one before.
SIZES = (50, 100, 200, 400, 800, 1600, 3200)

#: Simulated stars that are scored, of a seed that no training stars have.
TEST_STARS = 2000
TEST_SEED = 1000

#: K2 giants that are scored in each split; the others are for training.
K2_TEST = 180
K2_FILE = "galah_dr3_apogee_dr17_k2.csv"

#: Columns of the table: key and title.
COLUMNS = {
    "nll": "NLL",
    "linear_nll": "linear",
    "identity_nll": "identity",
    "crps_identity": "CRPS / identity",
    "linear_identity": "linear / identity",
    "crps_linear": "CRPS / linear",
    "68": "in 68 %",
    "95": "in 95 %",
    "rhat": "R-hat",
}


class Split(NamedTuple):
    """One seed's stars: training stars in a random order, and test stars."""

    train: bt.Pairs
    test: bt.Pairs
    seed: int


def simulated(seeds: int) -> Iterator[Split]:
    """Yield simulated stars without their velocities: four outputs, ten features."""
    for seed in range(seeds):
        stars = bt.simulate(max(SIZES), 0, seed=seed), bt.simulate(TEST_STARS, 0, seed=TEST_SEED)
        yield Split(*(_intrinsic(survey) for survey in stars), seed)


def _intrinsic(survey: bt.SurveyPair) -> bt.Pairs:
    inputs = tuple(item for item in survey.spec.inputs if not item.extrinsic)
    outputs = tuple(item for item in survey.spec.outputs if not item.extrinsic)
    spec = bt.Spec("simulated", inputs, outputs, id=survey.spec.id)
    return bt.read_pairs(Table(to_columns(survey)), spec)


def k2_giants(folder: Path, seeds: int) -> Iterator[Split]:
    """Yield random splits of the K2 giants: three outputs, six features."""
    spec = bt.Spec.from_toml(ROOT / "examples" / "galah_dr3_to_apogee_dr17_k2.toml")
    pairs = bt.read_pairs(folder / K2_FILE, spec)
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(pairs))
        yield Split(pairs.take(order[K2_TEST:]), pairs.take(order[:K2_TEST]), seed)


def curve(
    splits: Iterator[Split], method: bt.MCLMC, *, calibrate: bool
) -> dict[str, list[dict[str, float]]]:
    """Return the scores of each seed by number of training stars."""
    found: dict[str, list[dict[str, float]]] = {}
    for train, test, seed in splits:
        for size in (*(s for s in SIZES if s < len(train)), min(len(train), max(SIZES))):
            part = train.take(np.arange(size))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", bt.SamplingWarning)
                post = bt.fit(part, method=method, calibrate=calibrate, seed=seed, progress=False)
            found.setdefault(str(size), []).append(score(post, test))
            report(f"{train.spec.name}, seed {seed}: {size} stars")
    return found


def score(post: bt.Posterior, test: bt.Pairs) -> dict[str, float]:
    """Return the scores of one model, its NLL in units that no training set decides."""
    found = bt.evaluate(post, test)
    # `evaluate` gives it in units of the model's own scales: those of its training stars.
    shift = float(np.log(post.scaler.delta_scale / Scaler.learn(test).delta_scale).sum())
    scores = {"model": found.overall, **found.baselines}
    crps = {k: np.array([o.crps for o in s.outputs.values()]) for k, s in scores.items()}
    outputs = found.overall.outputs.values()
    return {
        "nll": found.overall.nll + shift,
        "linear_nll": found.baselines["linear"].nll + shift,
        "identity_nll": found.baselines["identity"].nll + shift,
        "crps_identity": float(np.mean(crps["model"] / crps["identity"])),
        "linear_identity": float(np.mean(crps["linear"] / crps["identity"])),
        "crps_linear": float(np.mean(crps["model"] / crps["linear"])),
        "68": float(np.mean([o.coverage["0.68"] for o in outputs])),
        "95": float(np.mean([o.coverage["0.95"] for o in outputs])),
        "rhat": float(post.blocks[0].tuning["rhat_90"]),
    }


def mean(rows: list[dict[str, float]], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def markdown(curves: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Return the mean over the seeds as one Markdown table for each pair."""
    lines = []
    for name, sizes in curves.items():
        lines += ["", f"{name}:", "", f"| training stars | {' | '.join(COLUMNS.values())} |"]
        lines.append("| ---: |" + " ---: |" * len(COLUMNS))
        for size, rows in sizes.items():
            cells = [_cell(key, mean(rows, key)) for key in COLUMNS]
            lines.append(f"| {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(key: str, value: float) -> str:
    return f"{100 * value:.1f}" if key in ("68", "95") else f"{value:.3f}"


def draw(curves: dict[str, dict[str, list[dict[str, float]]]]) -> Figure:
    """Return scores and coverage against the number of training stars."""
    figure = Figure(figsize=(PAGE, 2.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for (name, sizes), line in zip(curves.items(), ("-", "--"), strict=False):
        style: dict[str, Any] = {"ls": line, "ms": 3.5, "lw": 1.2}
        short = {"data": sizes, "style": style}
        _line(left, "nll", **short, color=COLOURS[0], marker="o", label=f"bayestrans, {name}")
        _line(left, "linear_nll", **short, color=COLOURS[1], marker="s", label=f"linear, {name}")
        _line(middle, "crps_identity", **short, color=COLOURS[0], marker="o")
        _line(middle, "linear_identity", **short, color=COLOURS[1], marker="s")
        _line(right, "68", **short, color=COLOURS[0], marker="o")
        _line(right, "95", **short, color=COLOURS[0], marker="^")
    for level in (0.68, 0.95):
        right.axhline(level, color=GREY, lw=0.8, ls=":")
    right.annotate("95 %", (3200, 0.938), ha="right", va="top", fontsize=7, color=GREY)
    right.annotate("68 %", (3200, 0.662), ha="right", va="top", fontsize=7, color=GREY)
    right.set_ylim(0.5, 1.0)
    titles = ("NLL [nats per star]", "CRPS over that of the identity", "share inside the interval")
    for axis, title in zip((left, middle, right), titles, strict=True):
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_xlabel("training stars", fontsize=8)
        axis.set_ylabel(title, fontsize=8)
        frame(axis)
    figure.legend(loc="outside upper center", ncols=4, fontsize=7, frameon=False)
    return figure


def _line(
    axis: Axes,
    key: str,
    *,
    data: dict[str, list[dict[str, float]]],
    style: dict[str, Any],
    **more: Any,
) -> None:
    """Draw the mean over the seeds, and each seed as a faint mark."""
    sizes = np.array([int(size) for size in data])
    axis.plot(sizes, [mean(rows, key) for rows in data.values()], **style, **more)
    for size, rows in zip(sizes, data.values(), strict=True):
        values = [row[key] for row in rows]
        axis.vlines(size, min(values), max(values), color=more["color"], lw=0.8, alpha=0.6)


def report(line: str) -> None:
    """Tell people how far it is."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
    parser.add_argument("--steps", type=int, default=3000, help="of each MCLMC chain")
    parser.add_argument("--calibrate", action="store_true", help="with held-out regions")
    parser.add_argument("--folder", type=Path, help="of the real catalogues")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--picture", type=Path, help="file for the picture (.png)")
    parser.add_argument("--redraw", type=Path, help="numbers of an earlier run")
    options = parser.parse_args(arguments)
    if options.redraw:
        sheet = json.loads(options.redraw.read_text(encoding="utf-8"))
    else:
        method = bt.MCLMC(steps=options.steps)
        pairs = {"simulated": simulated(options.seeds)}
        if options.folder:
            pairs["K2 giants"] = k2_giants(options.folder, options.seeds)
        how = "calibrated" if options.calibrate else "not calibrated"
        sheet = {"method": f"{method}, {how}, {options.seeds} seeds"}
        sheet["curves"] = {
            name: curve(splits, method, calibrate=options.calibrate)
            for name, splits in pairs.items()
        }
    print(f"{sheet['method']}\n{markdown(sheet['curves'])}")
    if options.json:
        options.json.write_text(json.dumps(sheet, indent=1) + "\n", encoding="utf-8")
    if options.picture:
        draw(sheet["curves"]).savefig(options.picture, dpi=160)


if __name__ == "__main__":
    main()
