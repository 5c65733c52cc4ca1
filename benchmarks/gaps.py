"""Stars with gaps: what integrating over what is missing is worth.

``python benchmarks/gaps.py [--data FOLDER] [--tables simulated real]`` prints two tables. Simulated
stars lose three tenths of their inputs, at random or the more the fainter they are, in
training and in the test; scored are the held-out stars that lost one. GALAH against
APOGEE, where the K2 stars have no log g, the others no [Mg/Fe] and half of them no
errors: one fit to all, against fits to the parts that are complete in some columns.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import sys
import tempfile
import warnings
from pathlib import Path

import jax
import numpy as np
from _survey_pairs import simulated

import bayestrans as bt

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MISSING = 0.3
STARS = 2000


def with_gaps(pairs: bt.Pairs, which: str, seed: int) -> bt.Pairs:
    """Return stars of which three tenths of the inputs, with their errors, are missing."""
    rng = np.random.default_rng(seed)
    chance = np.full(len(pairs), MISSING)
    if which == "by faintness":
        rank = np.argsort(np.argsort(np.log(pairs.x_err[:, 0]))) / len(pairs)
        chance = 2.0 * MISSING * rank
    gone = rng.random(pairs.x.shape) < chance[:, None]
    gone[gone.all(axis=1), 0] = False
    hide = [np.where(gone, np.nan, array) for array in (pairs.x, pairs.x_err)]
    return dataclasses.replace(pairs, x=hide[0], x_err=hide[1])


def filled(pairs: bt.Pairs, values: np.ndarray, errors: np.ndarray) -> bt.Pairs:
    """Return stars with each gap at one value."""
    return dataclasses.replace(
        pairs,
        x=np.where(np.isnan(pairs.x), values, pairs.x),
        x_err=np.where(np.isnan(pairs.x_err), errors, pairs.x_err),
    )


def fitted(pairs: bt.Pairs, steps: int, seed: int = 0) -> bt.Posterior:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.SamplingWarning)
        method = bt.MCLMC(steps=steps)
        return bt.fit(pairs, method=method, seed=seed, calibrate=False, progress=False)


def score(posterior: bt.Posterior, test: bt.Pairs) -> list[float]:
    """Return the CRPS of each output, and the coverage of all at 68 and 95 %."""
    found = bt.evaluate(posterior, test)
    away = np.abs(found.pit[np.isfinite(found.pit)] - 0.5)
    crps = [output.crps for output in found.overall.outputs.values()]
    return [*crps, float(np.mean(away <= 0.34)), float(np.mean(away <= 0.475))]


def line(name: str, n: int, values: np.ndarray) -> str:
    cells = [f"{v:.4g}" for v in values[:-2]] + [f"{100 * v:.1f}" for v in values[-2:]]
    return f"| {name} | {n} | " + " | ".join(cells) + " |"


def simulated_lines(steps: int) -> list[str]:
    """Return the table's lines for simulated stars."""
    everyone = simulated().take(np.arange(STARS + 1000))
    train, test = everyone.take(np.arange(STARS)), everyone.take(np.arange(STARS, STARS + 1000))
    lines = []
    for which in ("at random", "by faintness"):
        gappy, asked = with_gaps(train, which, 1), with_gaps(test, which, 2)
        lost = np.isnan(asked.x).any(axis=1)
        complete = gappy.take(~np.isnan(gappy.x).any(axis=1))
        rivals = {
            "nothing is missing": (train, test),
            "integrated over": (gappy, asked),
            "stars with gaps dropped from the training": (complete, asked),
        }
        for name, centre in (("mean", np.nanmean), ("median", np.nanmedian)):
            values = [centre(array, axis=0) for array in (gappy.x, gappy.x_err)]
            rivals[f"filled with the {name}"] = tuple(filled(p, *values) for p in (gappy, asked))
        for name, (learned, shown) in rivals.items():
            found = score(fitted(learned, steps), shown.take(lost))
            lines.append(line(f"{which}: {name}", int(lost.sum()), np.array(found)))
            print(lines[-1], file=sys.stderr, flush=True)
    return lines


def part(spec: bt.Spec, inputs: tuple[str, ...], *, errors: bool) -> bt.Spec:
    """Return the spec with some of its inputs, with or without their errors."""
    kept = tuple(
        item if errors else dataclasses.replace(item, error=None)
        for item in spec.inputs
        if item.name in inputs
    )
    outputs = tuple(
        o if o.corrects in inputs else dataclasses.replace(o, corrects=None) for o in spec.outputs
    )
    return bt.Spec(spec.name, kept, outputs, spec.id)


def galah_lines(path: Path, folds: int, steps: int) -> list[str]:
    """Return the table's lines for GALAH against APOGEE, by group of held-out stars."""
    spec = bt.Spec.from_toml(EXAMPLES / "galah_to_apogee_dr17_gaps.toml")
    everyone = bt.read_pairs(path, spec)
    k2 = np.isnan(everyone.x[:, 1])
    designs = {
        "all stars, all columns": (spec, k2 | True),
        "all stars, Teff and [Fe/H] alone": (part(spec, ("teff", "fe_h"), errors=False), k2 | True),
        "K2 alone, no log g": (part(spec, ("teff", "fe_h", "mg_fe"), errors=True), k2),
        "the others alone, no [Mg/Fe], no errors": (
            part(spec, ("teff", "logg", "fe_h"), errors=False),
            ~k2,
        ),
    }
    found: dict[tuple[str, str], list[tuple[int, list[float]]]] = {}
    _, star = np.unique(everyone.ids, return_inverse=True)
    fold = np.random.default_rng(0).permutation(star.max() + 1)[star] % 5
    for number in range(folds):
        for name, (columns, rows) in designs.items():
            reread = bt.read_pairs(path, columns)
            post = fitted(reread.take(rows & (fold != number)), steps, number)
            for group, members in (("K2", k2), ("the others", ~k2)):
                here = members & (fold == number)
                if (rows & here).any():
                    test = reread.take(here)
                    found.setdefault((group, name), []).append((len(test), score(post, test)))
                    print(group, name, found[group, name][-1], file=sys.stderr, flush=True)
    return [
        line(
            f"{group}: {name}",
            sum(n for n, _ in scores),
            np.average([s for _, s in scores], axis=0, weights=[n for n, _ in scores]),
        )
        for (group, name), scores in sorted(found.items())
    ]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--folds", type=int, default=5, help="of five, for the real stars")
    parser.add_argument("--steps", type=int, default=1000, help="of each chain")
    both = ["simulated", "real"]
    parser.add_argument("--tables", nargs="+", choices=both, default=both, help="which to print")
    options = parser.parse_args()
    cache = tempfile.TemporaryDirectory()
    jax.config.update("jax_compilation_cache_dir", cache.name)
    print(f"{os.cpu_count()} cores, {platform.machine()}, {options.steps} steps of each chain\n")
    if "simulated" in options.tables:
        _print("simulated stars with gaps", "[Mg/Fe]", simulated_lines(options.steps))
    table = options.data / "galah_apogee.csv"
    if "real" not in options.tables:
        return
    if not table.is_file():
        print(f"{table} is absent; the real stars are left out")
        return
    lines = galah_lines(table, options.folds, options.steps)
    _print(f"GALAH to APOGEE DR17, {options.folds} of 5 folds", "[alpha/M]", lines)


def _print(title: str, abundance: str, lines: list[str]) -> None:
    print(f"CRPS of each output in its unit, and coverage (%) of central intervals: {title}\n")
    print(f"| stars | n | Teff (K) | log g | [Fe/H] | {abundance} | in 68 % | in 95 % |")
    print("| --- " * 8 + "|")
    print("\n".join(lines), "\n")


if __name__ == "__main__":
    main()
