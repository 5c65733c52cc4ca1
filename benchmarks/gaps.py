"""Stars with gaps: what integrating over what is missing is worth.

``python benchmarks/gaps.py [--data FOLDER] [--tables simulated real]`` prints two tables. Simulated
stars lose three tenths of their inputs, at random or the more the fainter they are, in
training and in the test; scored are the held-out stars that lost one. GALAH against
APOGEE, where the K2 stars have no log g, the others no [Mg/Fe] and half of them no
errors: one fit to all, against fits to the parts that are complete in some columns, on the
stars that lack none of these and on everyone.
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
from _completed import completed
from _ours import predicted
from _scores import Scores, differences, joined, score, sheet
from _survey_pairs import simulated

import bayestrans as bt

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
OURS, EVERYTHING = "integrated over", "all stars, all columns"
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


def scored(posterior: bt.Posterior, train: bt.Pairs, test: bt.Pairs, whole: bt.Pairs) -> Scores:
    """Score held-out stars, on the scale of the corrections of training stars.

    ``whole`` are the same held-out stars with all columns that any fit sees.
    """
    return score(predicted(posterior, test), train, whole, completed(train, whole))


def line(name: str, found: Scores, names: tuple[str, ...]) -> str:
    """Return a line of the table of scores: coverage is that of all outputs together."""
    values = sheet(found, names)
    away = np.abs(found.pit[np.isfinite(found.pit)] - 0.5)
    cells = [f"{values['nll']:.3f}", f"{values['energy']:.3f}"]
    cells += [f"{output['crps']:.4g}" for output in values["outputs"].values()]
    cells += [f"{100 * np.mean(away <= level / 2):.1f}" for level in (0.68, 0.95)]
    return f"| {name} | {values['n']} | " + " | ".join(cells) + " |"


def against(name: str, ours: Scores, theirs: Scores, names: tuple[str, ...]) -> str:
    """Return a line of what a fit is worse by than ours, with 95 % intervals."""
    cells = [
        f"{found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
        if key == "nll"
        else f"{100 * found['mean']:.1f} ({100 * found['low']:.1f} to {100 * found['high']:.1f})"
        for key, found in differences(ours, theirs, names).items()
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def simulated_tables(steps: int) -> None:
    """Print the table of simulated stars."""
    everyone = simulated().take(np.arange(STARS + 1000))
    train, test = everyone.take(np.arange(STARS)), everyone.take(np.arange(STARS, STARS + 1000))
    found: dict[str, Scores] = {}
    for which in ("at random", "by faintness"):
        gappy, asked = with_gaps(train, which, 1), with_gaps(test, which, 2)
        lost = np.isnan(asked.x).any(axis=1)
        complete = gappy.take(~np.isnan(gappy.x).any(axis=1))
        rivals = {
            OURS: (gappy, asked),
            "nothing is missing": (train, test),
            "stars with gaps dropped from the training": (complete, asked),
        }
        for name, centre in (("mean", np.nanmean), ("median", np.nanmedian)):
            values = [centre(array, axis=0) for array in (gappy.x, gappy.x_err)]
            rivals[f"filled with the {name}"] = tuple(filled(p, *values) for p in (gappy, asked))
        for name, (learned, shown) in rivals.items():
            post = fitted(learned, steps)
            here = scored(post, gappy, shown.take(lost), asked.take(lost))
            found[f"{which}: {name}"] = here
            print(line(name, here, train.spec.output_names), file=sys.stderr, flush=True)
    ours = {name: f"{name.split(': ')[0]}: {OURS}" for name in found}
    _print("simulated stars with gaps", train.spec, found, ours)


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


def galah_tables(path: Path, folds: int, steps: int) -> None:
    """Print the tables of GALAH against APOGEE, by group of held-out stars."""
    spec = bt.Spec.from_toml(EXAMPLES / "galah_to_apogee_dr17_gaps.toml")
    everyone = bt.read_pairs(path, spec)
    k2 = np.isnan(everyone.x[:, 1])
    designs = {
        EVERYTHING: (spec, k2 | True),
        "all stars, Teff and [Fe/H] alone": (part(spec, ("teff", "fe_h"), errors=False), k2 | True),
        "K2 alone, no log g": (part(spec, ("teff", "fe_h", "mg_fe"), errors=True), k2),
        "the others alone, no [Mg/Fe], no errors": (
            part(spec, ("teff", "logg", "fe_h"), errors=False),
            ~k2,
        ),
    }
    parts: dict[str, list[Scores]] = {}
    _, star = np.unique(everyone.ids, return_inverse=True)
    fold = np.random.default_rng(0).permutation(star.max() + 1)[star] % 5
    for number in range(folds):
        for name, (columns, rows) in designs.items():
            reread, away = bt.read_pairs(path, columns), fold != number
            post = fitted(reread.take(rows & away), steps, number)
            for group, members in (("K2", k2), ("the others", ~k2)):
                here = members & ~away
                new = scored(post, everyone.take(away), reread.take(here), everyone.take(here))
                parts.setdefault(f"everyone: {name}", []).append(new)
                print(line(f"{group}: {name}", new, spec.output_names), file=sys.stderr, flush=True)
                # A fit to a subset must integrate over what the other stars lack of its columns.
                if (rows & here).any():
                    parts.setdefault(f"{group}: {name}", []).append(new)
    found = {name: joined(several) for name, several in sorted(parts.items())}
    ours = {name: f"{name.split(': ')[0]}: {EVERYTHING}" for name in found}
    _print(f"GALAH to APOGEE DR17, {folds} of 5 folds", spec, found, ours)


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
        simulated_tables(options.steps)
    table = options.data / "galah_apogee.csv"
    if "real" not in options.tables:
        return
    if not table.is_file():
        print(f"{table} is absent; the real stars are left out")
        return
    galah_tables(table, options.folds, options.steps)


def _print(title: str, spec: bt.Spec, found: dict[str, Scores], ours: dict[str, str]) -> None:
    """Print scores, then what each fit is worse by than the one named in ``ours``."""
    names = spec.output_names
    outputs = [f"{o.name} ({o.unit})" if o.unit else o.name for o in spec.outputs]
    header = " | ".join(["NLL", "energy", *outputs])
    print("NLL and energy score of all outputs in units of the spread of the corrections, CRPS of")
    print(f"each in its unit, coverage (%) of central intervals: {title}\n")
    print(f"| stars | n | {header} | in 68 % | in 95 % |")
    print("| --- " * (6 + len(names)) + "|")
    for name, scores in found.items():
        print(line(name, scores, names))
    print(
        "\nWorse than ours by (95 % bootstrap intervals over the stars): NLL, others in per cent\n"
    )
    print(f"| stars | {header} |")
    print("| --- " * (3 + len(names)) + "|")
    for name, scores in found.items():
        if name != ours[name]:
            print(against(name, found[ours[name]], scores, names))
    print()


if __name__ == "__main__":
    main()
