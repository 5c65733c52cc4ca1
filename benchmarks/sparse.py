"""Coverage where stars are few: random held-out stars, and whole regions held out.

``python benchmarks/sparse.py [--data FOLDER] [--pairs NAME ...] [--workers N]`` fits the
simulated pair and its velocity and, where the folder holds their tables, the four real pairs of
``examples/``. What has been found of each fit stays in ``--keep`` and is not found again.

Random: five folds, so that a tenth of the stars by support is as many as can be.
Regions: the lowest and highest 15 % of each of three inputs and a hole of 15 % are
taken from the table before the fit; its own calibration never sees them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

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
from _workers import add_workers, by_workers

import bayestrans as bt
from bayestrans.calibration import LEVELS
from bayestrans.neighbours import CLASSES, Neighbours

#: Fewer values of a region and an output say nothing by themselves.
LEAST = 30


class Piece(NamedTuple):
    """One fit: random stars of a pair held out, or a region; where it is kept, if it is."""

    pair: str
    split: Split
    steps: int
    seed: int
    keep: Path | None = None

    @property
    def file(self) -> Path | None:
        name = re.sub(r"[^a-z0-9]+", "_", f"{self.pair} {self.split.name} {self.steps}".lower())
        return None if self.keep is None else self.keep / f"{name}.npz"


class Stars(dict[str, np.ndarray]):
    """Held-out stars: PITs and log densities before and after the calibration, and classes."""

    @classmethod
    def of(cls, parts: Sequence[Stars]) -> Stars:
        """Put together what several fits say of their held-out stars."""
        return cls({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def coverage(self, which: str, level: float, rows: np.ndarray | None = None) -> float:
        """Return the share of the values inside the central intervals, over all outputs."""
        pit = self[which] if rows is None else self[which][rows]
        inside = np.abs(pit - 0.5) <= level / 2
        return float(inside[np.isfinite(pit)].mean()) if np.isfinite(pit).any() else float("nan")


def judge(piece: Piece) -> Stars:
    """Fit, and judge the test stars with and without the calibration, if that is not kept."""
    if piece.file is not None and piece.file.exists():
        with np.load(piece.file) as kept:
            return Stars(kept)
    stars = judged(piece)
    if piece.file is not None:
        half = piece.file.with_suffix(".part")
        with half.open("wb") as stream:
            np.savez_compressed(stream, **stars)
        half.replace(piece.file)
    return stars


def judged(piece: Piece) -> Stars:
    begun = time.perf_counter()
    train, test = piece.split.train, piece.split.test
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.SamplingWarning)
        method = bt.MCLMC(steps=piece.steps)
        post = bt.fit(train, method=method, seed=piece.seed, progress=False)
    score = bt.support(post, test).score
    stars = Stars(score=score, classes=post.neighbours.classify(score))
    for which, model in (("before", post.uncalibrated), ("after", post)):
        found = bt.evaluate(model, test)
        stars[which] = found.pit
        stars[f"nll_{which}"] = np.full(len(test), found.overall.nll)
        # For who waits: what each fit finds, as soon as it has.
        print(
            f"{piece.pair}, {piece.split.name}: 90 % intervals {which} cover "
            f"{100 * stars.coverage(which, 0.9):.0f} % of {len(test)} stars "
            f"({time.perf_counter() - begun:.0f} s)",
            file=sys.stderr,
            flush=True,
        )
    return stars


def outer_regions(pairs: bt.Pairs) -> list[Split]:
    """Return the regions that no fit and no calibration sees."""
    inputs = pairs.spec.blocks[0].inputs
    found = list(tails(pairs, tuple(pairs.spec.input_names[j] for j in inputs[:3])))
    whole = tuple(j for j in inputs if np.isfinite(pairs.x[:, j]).all())
    points = Neighbours.learn(pairs.x, whole).points
    centre = points[np.random.default_rng(3).integers(len(points))]
    away = np.linalg.norm(points - centre, axis=1)
    rows = away <= np.quantile(away, SHARE)
    kept, held = (pairs.take(np.flatnonzero(r)) for r in (~rows, rows))
    return [*found, Split("hole", True, kept, held)]


def pieces_of(name: str, pairs: bt.Pairs, steps: int, keep: Path | None = None) -> list[Piece]:
    """Return what is to be fitted of a pair: five folds, then each region held out."""
    folds = [
        Split(f"fold {number}", False, train, test)
        for number, (train, test) in enumerate(pairs.folds(5, seed=0), 1)
    ]
    return [
        Piece(name, split, steps, seed, keep)
        for splits in (folds, outer_regions(some(pairs)))
        for seed, split in enumerate(splits)
    ]


def worst_tenth(pit: np.ndarray, tenth: np.ndarray) -> float:
    """Return how far the coverage of some tenth of the stars is from its nominal level."""
    inside = np.abs(pit - 0.5)[..., None] <= np.array(LEVELS) / 2
    seen = np.isfinite(pit)[..., None]
    cover = [(inside & seen)[tenth == t].sum((0, 1)) / seen[tenth == t].sum() for t in range(10)]
    return float(np.abs(np.array(cover) - LEVELS).max())


def worst_output(pit: np.ndarray, names: Sequence[str]) -> str:
    """Return how far the coverage of some output is from its nominal level, and which it is."""
    inside = np.abs(pit - 0.5)[..., None] <= np.array(LEVELS) / 2
    seen = np.isfinite(pit)[..., None]
    away = np.abs((inside & seen).sum(axis=0) / seen.sum(axis=0) - LEVELS).max(axis=1)
    return f"{100 * away.max():.1f} ({names[int(away.argmax())]})"


def random_lines(name: str, parts: dict[str, Stars], outputs: Sequence[str]) -> list[str]:
    """Return the table's lines on random held-out stars."""
    lines = []
    stars = Stars.of(list(parts.values()))
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
            + f" | {worst_output(stars[which], outputs)}"
            + f" | {100 * worst_tenth(stars[which], decile):.1f} ({count})"
            + " | {:.1f} to {:.1f}".format(*(100 * np.quantile(dealt, [0.05, 0.95])))
            + f" | {stars[f'nll_{which}'].mean():.4f} |"
        )
    return lines


def region_lines(name: str, parts: dict[str, Stars], outputs: Sequence[str]) -> list[str]:
    """Return the table's lines on held-out regions."""
    lines = []
    stars = Stars.of(list(parts.values()))
    classes = stars["classes"]
    known = classes < CLASSES.index("outside")
    shares = [100 * float(np.mean(classes == c)) for c in range(len(CLASSES))]
    for which in ("before", "after"):
        per_class = [stars.coverage(which, 0.9, classes == c) for c in range(len(CLASSES))]
        unflagged = excess(stars[which], classes == 0)
        flagged = excess(stars[which], classes > 0)
        total = max(0.0, unflagged[0]) + max(0.0, flagged[0])
        told = f"{100 * max(0.0, flagged[0]) / total:.0f}" if total > 0 else "-"
        # Where no class misses surely too much there may be nothing to flag.
        sure = any(missed > 2 * error for missed, error in (unflagged, flagged))
        values = np.isfinite(stars[which]).sum() / 100
        lines.append(
            f"| {name} | {which} | {len(classes)} | "
            + " / ".join(f"{s:.0f}" for s in shares)
            + f" | {100 * stars.coverage(which, 0.9, known):.1f} | "
            + " / ".join("-" if np.isnan(c) else f"{100 * c:.0f}" for c in per_class)
            + "".join(f" | {m / values:.1f} ± {e / values:.1f}" for m, e in (unflagged, flagged))
            + f" | {told if sure else f'({told})'} | "
            + worst_region(parts, which, outputs)
            + f" | {100 * stars.coverage(which, 0.68):.1f} | {stars[f'nll_{which}'].mean():.3f} |"
        )
    return lines


def worst_region(parts: dict[str, Stars], which: str, outputs: Sequence[str]) -> str:
    """Return the least coverage of 90 % intervals of one region's dense or sparse stars, and where.

    Of one output; where there are fewer than `LEAST` such values it is not counted.
    """
    found = []
    for name, stars in parts.items():
        known = stars["classes"] < CLASSES.index("outside")
        for pit, output in zip(stars[which][known].T, outputs, strict=True):
            pit = pit[np.isfinite(pit)]
            if len(pit) >= LEAST:
                found.append((float(np.mean(np.abs(pit - 0.5) <= 0.45)), output, name))
    if not found:
        return "-"
    share, output, name = min(found)
    return f"{100 * share:.0f} ({output}, {name})"


def excess(pit: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Return the misses of the 95 % intervals of some stars beyond 5 %, and their error."""
    surplus = np.where(np.isfinite(pit), (np.abs(pit - 0.5) > 0.475) - 0.05, 0.0)
    # Errors of one star go together, so that stars are counted and not values.
    each = surplus[rows].sum(axis=1)
    return float(each.sum()), float(each.std() * np.sqrt(len(each)))


def main() -> None:
    """Fit all pairs and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--pairs", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--steps", type=int, default=1000, help="of each chain")
    parser.add_argument("--keep", type=Path, default=Path("build/sparse"))
    add_workers(parser)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, {options.steps} steps of each chain\n")
    # Many fits have the same shapes; compiling them again would be most of the time.
    cache = tempfile.TemporaryDirectory()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache.name  # the workers'
    jax.config.update("jax_compilation_cache_dir", cache.name)
    options.keep.mkdir(parents=True, exist_ok=True)
    found = {name: read(name, options.data) for name in options.pairs}
    pieces = [
        piece
        for name, pairs in found.items()
        if pairs is not None
        for piece in pieces_of(name, pairs, options.steps, options.keep)
    ]
    found_of = zip(pieces, by_workers(judge, pieces, options.workers), strict=True)
    tables: tuple[list[str], list[str]] = ([], [])
    for name, several in itertools.groupby(found_of, lambda one: one[0].pair):
        parts = list(several)
        outputs = parts[0][0].split.train.spec.output_names
        for table, lines, region in zip(
            tables, (random_lines, region_lines), (False, True), strict=True
        ):
            some = {p.split.name: stars for p, stars in parts if p.split.region is region}
            table.extend(lines(name, some, outputs))
            print("\n".join(table[-2:]), file=sys.stderr, flush=True)
    print("Random held-out stars: share (%) inside central intervals, all outputs.\n")
    print(
        "| pair | calibration | stars | 50 | 68 | 90 | 95 | worst output | "
        "worst decile (stars) | random tenths | NLL |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(tables[0]))
    print("\nHeld-out regions: share (%) inside the 90 % intervals.\n")
    print(
        "| pair | calibration | stars | dense / sparse / outside (%) | dense or sparse | "
        "by class | excess misses of 95 %, dense | sparse and outside | "
        "of these flagged (if there are any) | worst region | in 68 | NLL |"
    )
    print("| --- " * 12 + "|")
    print("\n".join(tables[1]))


if __name__ == "__main__":
    main()
