"""Coverage where stars are few: random held-out stars, and whole regions held out.

``python benchmarks/sparse.py [--data FOLDER] [--pairs NAME ...]`` fits the simulated
pair and, where the folder holds their tables, the three real pairs of ``examples/``.

Random: five folds, so that a tenth of the stars by support is as many as can be.
Regions: the lowest and highest 15 % of each of three inputs and a hole of 15 % are
taken from the table before the fit; its own calibration never sees them.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import sys
import tempfile
import time
import warnings
from pathlib import Path

import jax
import numpy as np
from _survey_pairs import (
    DATA,
    NAMES,
    SHARE,
    Split,
    read,
    some,
    tails,
)

import bayestrans as bt
from bayestrans.calibration import LEVELS, Calibration
from bayestrans.neighbours import CLASSES, Neighbours


class Stars:
    """Held-out stars of several fits: PITs, log densities and classes, before and after."""

    def __init__(self) -> None:
        self.parts: dict[str, list[np.ndarray]] = {
            name: [] for name in ("score", "classes", "before", "after", "nll_before", "nll_after")
        }

    def add(self, train: bt.Pairs, test: bt.Pairs, steps: int, seed: int) -> None:
        """Fit, and judge the test stars with and without the calibration."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bt.SamplingWarning)
            post = bt.fit(train, method=bt.MCLMC(steps=steps), seed=seed, progress=False)
        plain = Calibration.identity(len(train.spec.outputs))
        score = post.neighbours.score(test.x)
        self.parts["score"].append(score)
        self.parts["classes"].append(post.neighbours.classify(score))
        for which, model in (
            ("after", post),
            ("before", dataclasses.replace(post, calibration=plain)),
        ):
            found = bt.evaluate(model, test)
            self.parts[which].append(found.pit)
            self.parts[f"nll_{which}"].append(np.full(len(test), found.overall.nll))

    def __getitem__(self, name: str) -> np.ndarray:
        return np.concatenate(self.parts[name])

    def coverage(self, which: str, level: float, rows: np.ndarray | None = None) -> float:
        """Return the share of the values inside the central intervals, over all outputs."""
        pit = self[which] if rows is None else self[which][rows]
        inside = np.abs(pit - 0.5) <= level / 2
        return float(inside[np.isfinite(pit)].mean()) if np.isfinite(pit).any() else float("nan")


def random_parts(pairs: bt.Pairs, steps: int) -> Stars:
    """Judge random held-out stars."""
    stars = Stars()
    for seed, (train, test) in enumerate(pairs.folds(5, seed=0)):
        stars.add(train, test, steps, seed)
    return stars


def outer_regions(pairs: bt.Pairs) -> list[Split]:
    """Return the regions that no fit and no calibration sees."""
    inputs = pairs.spec.blocks[0].inputs
    found = list(tails(pairs, tuple(pairs.spec.input_names[j] for j in inputs[:3])))
    points = Neighbours.learn(pairs.x, inputs).points
    centre = points[np.random.default_rng(3).integers(len(points))]
    away = np.linalg.norm(points - centre, axis=1)
    rows = away <= np.quantile(away, SHARE)
    kept, held = (pairs.take(np.flatnonzero(r)) for r in (~rows, rows))
    return [*found, Split("hole", True, kept, held)]


def region_parts(pairs: bt.Pairs, steps: int, label: str) -> Stars:
    """Judge whole regions that were taken away before the fit."""
    stars = Stars()
    for seed, split in enumerate(outer_regions(some(pairs))):
        begun = time.perf_counter()
        stars.add(split.train, split.test, steps, seed)
        known = stars.parts["classes"][-1] < CLASSES.index("outside")
        for which in ("before", "after"):
            inside = np.abs(stars.parts[which][-1] - 0.5) <= 0.45
            print(
                f"{label}, {split.name}: 90 % intervals {which} cover "
                f"{100 * inside.mean():.0f} % of {len(known)}, "
                f"{100 * inside[known].mean():.0f} % of the {known.sum()} "
                f"dense or sparse ({time.perf_counter() - begun:.0f} s)",
                file=sys.stderr,
            )
    return stars


def worst_tenth(pit: np.ndarray, tenth: np.ndarray) -> float:
    """Return how far the coverage of some tenth of the stars is from its nominal level."""
    inside = np.abs(pit - 0.5)[..., None] <= np.array(LEVELS) / 2
    seen = np.isfinite(pit)[..., None]
    cover = [(inside & seen)[tenth == t].sum((0, 1)) / seen[tenth == t].sum() for t in range(10)]
    return float(np.abs(np.array(cover) - LEVELS).max())


def random_lines(name: str, stars: Stars) -> list[str]:
    """Return the table's lines on random held-out stars."""
    lines = []
    score = stars["score"]
    decile = np.searchsorted(np.nanquantile(score, np.linspace(0, 1, 11)[1:-1]), score)
    count = min(int((decile == d).sum()) for d in range(10))
    rng = np.random.default_rng(0)
    for which in ("before", "after"):
        cover = [stars.coverage(which, level) for level in LEVELS]
        # What the worst would be if support had nothing to do with who is missed.
        dealt = [worst_tenth(stars[which], rng.permutation(decile)) for _ in range(200)]
        lines.append(
            f"| {name} | {which} | {len(score)} | "
            + " | ".join(f"{100 * c:.1f}" for c in cover)
            + f" | {100 * worst_tenth(stars[which], decile):.1f} ({count})"
            + " | {:.1f} to {:.1f}".format(*(100 * np.quantile(dealt, [0.05, 0.95])))
            + f" | {stars[f'nll_{which}'].mean():.3f} |"
        )
    return lines


def region_lines(name: str, stars: Stars) -> list[str]:
    """Return the table's lines on held-out regions."""
    lines = []
    classes = stars["classes"]
    known = classes < CLASSES.index("outside")
    shares = [100 * float(np.mean(classes == c)) for c in range(len(CLASSES))]
    for which in ("before", "after"):
        missed = np.abs(stars[which] - 0.5) > 0.475
        values = int(np.isfinite(stars[which]).sum())
        excess = {
            c: float(missed[classes == c].sum() - 0.05 * missed[classes == c].size)
            for c in range(len(CLASSES))
        }
        total = sum(max(0.0, e) for e in excess.values())
        flagged = (total - max(0.0, excess[0])) / total if total > 0 else float("nan")
        # Errors of one star go together, so that stars are counted and not values.
        each = (missed - 0.05).sum(axis=1)
        error = float(each.std() * np.sqrt(len(each)))
        told = "-" if np.isnan(flagged) else f"{100 * flagged:.0f}"
        per_class = [stars.coverage(which, 0.9, classes == c) for c in range(len(CLASSES))]
        lines.append(
            f"| {name} | {which} | {len(classes)} | "
            + " / ".join(f"{s:.0f}" for s in shares)
            + f" | {100 * stars.coverage(which, 0.9, known):.1f} | "
            + " / ".join("-" if np.isnan(c) else f"{100 * c:.0f}" for c in per_class)
            + f" | {100 * each.sum() / values:.1f} ± {100 * error / values:.1f}"
            + f" | {told if each.sum() > 2 * error else f'({told})'} |"
        )
    return lines


def main() -> None:
    """Fit all pairs and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--pairs", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--steps", type=int, default=1000, help="of each chain")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, {options.steps} steps of each chain\n")
    # Many fits have the same shapes; compiling them again would be most of the time.
    cache = tempfile.TemporaryDirectory()
    jax.config.update("jax_compilation_cache_dir", cache.name)
    tables: tuple[list[str], list[str]] = ([], [])
    for name in options.pairs:
        pairs = read(name, options.data)
        if pairs is None:
            continue
        tables[0].extend(random_lines(name, random_parts(pairs, options.steps)))
        print("\n".join(tables[0][-2:]), file=sys.stderr)
        tables[1].extend(region_lines(name, region_parts(pairs, options.steps, name)))
        print("\n".join(tables[1][-2:]), file=sys.stderr)
    print("Random held-out stars: share (%) inside central intervals, all outputs.\n")
    print(
        "| pair | calibration | stars | 50 | 68 | 90 | 95 | worst decile (stars) | "
        "random tenths | NLL |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(tables[0]))
    print("\nHeld-out regions: share (%) inside the 90 % intervals.\n")
    print(
        "| pair | calibration | stars | dense / sparse / outside (%) | dense or sparse | "
        "by class | excess misses of 95 % | of these flagged (if there are any) |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(tables[1]))


if __name__ == "__main__":
    main()
