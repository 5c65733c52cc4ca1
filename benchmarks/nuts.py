"""Effective draws of predictions in a second: MCLMC beside NUTS, in one run.

``python benchmarks/nuts.py [--data FOLDER] [--pairs NAME ...] [--seeds N ...]`` fits the first fold
of the two smallest real pairs, and 1,200 simulated stars: with NUTS and MCLMC by their defaults,
and with MCLMC that has as many gradients for its draws as NUTS had. Not calibrated. Compilation and
warm-up count; of a short run they are most. Of several seeds the first compiles for all. Each seed
simulates a survey pair of its own; ``--survey 0`` gives all of them the stars of seed 0.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from _ours import effective
from _survey_pairs import DATA, intrinsic, random_splits, read

import bayestrans as bt

SIMULATED = "simulated, 1,500 stars"
PAIRS = ("K2 giants", "velocity", SIMULATED)

#: Gradients of a step of MCLMC: McLachlan's integrator moves the position twice.
PER_STEP = 2

#: Draws kept of each long chain: more than are independent.
DRAWS = 10_000

#: What `diagnose` says, the best first.
VERDICTS = ("good", "usable", "do not use")

TITLES = (
    *("pair", "training stars", "seed", "sampler", "CPU s", "wall s", "effective draws"),
    *("of 1,000 gradients", "in a CPU s, over NUTS's", "R-hat", "verdict", "NLL"),
)


class Found(NamedTuple):
    """What a fit took and gave: effective draws are medians over predictions at 100 stars."""

    cpu: float
    wall: float
    effective: float
    gradients: int
    rhat: float
    verdict: str
    nll: float

    @classmethod
    def of_all(cls, several: list[Found]) -> Found:
        """Put seeds together: seconds and draws add up; largest R-hat, worst verdict, mean NLL."""
        cpu, wall, effective, gradients, rhat, verdict, nll = zip(*several, strict=True)
        worst = max(verdict, key=VERDICTS.index)
        sums = sum(cpu), sum(wall), sum(effective), sum(gradients)
        return cls(*sums, max(rhat), worst, sum(nll) / len(nll))

    @property
    def rate(self) -> float:
        """Effective draws in a CPU second."""
        return self.effective / self.cpu

    def row(self, nuts: Found) -> str:
        """Return the columns of a table from the seconds on."""
        each = 1e3 * self.effective / self.gradients
        return (
            f"| {self.cpu:.0f} | {self.wall:.0f} | {self.effective:.0f} | {each:.3f} "
            f"| {self.rate / nuts.rate:.1f} | {self.rhat:.2f} | {self.verdict} | {self.nll:.3f} |"
        )


def stars(name: str, folder: Path, survey: int) -> bt.Pairs | None:
    if name == SIMULATED:
        return intrinsic(bt.simulate(1500, 10, seed=survey).pairs)
    return read(name, folder)


def gradients_drawn(posterior: bt.Posterior) -> int:
    """Return how many gradients the kept draws of all chains took, without any warm-up."""
    block = posterior.blocks[0]
    if "gradients" in block.stats:  # NUTS tells of each draw
        return int(np.sum(block.stats["gradients"]))
    chains = len(next(iter(block.draws.values())))
    return PER_STEP * chains * int(block.tuning["steps"])


def fitted(train: bt.Pairs, test: bt.Pairs, method: bt.MCLMC | bt.NUTS, seed: int) -> Found:
    begun = time.process_time(), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.SamplingWarning)
        posterior = bt.fit(train, method=method, seed=seed, calibrate=False, progress=False)
    cpu, wall = time.process_time() - begun[0], time.perf_counter() - begun[1]
    diagnosis = bt.diagnose(posterior)
    return Found(
        cpu,
        wall,
        effective(posterior, test),
        gradients_drawn(posterior),
        next(iter(diagnosis.blocks.values())).rhat["90"],
        diagnosis.verdict,
        bt.evaluate(posterior, test).overall.nll,
    )


def beside(train: bt.Pairs, test: bt.Pairs, seed: int) -> Iterator[tuple[str, Found]]:
    """Yield NUTS, MCLMC, and MCLMC for as many gradients as NUTS, each with its label."""
    nuts = fitted(train, test, bt.NUTS(), seed)
    yield "NUTS", nuts
    yield "MCLMC", fitted(train, test, bt.MCLMC(), seed)
    as_long = nuts.gradients // (PER_STEP * bt.MCLMC().chains)
    long = bt.MCLMC(steps=as_long, draws=min(DRAWS, as_long))
    yield f"MCLMC, {as_long:,} steps", fitted(train, test, long, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--pairs", nargs="*", choices=PAIRS, default=PAIRS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--survey", type=int, help="seed of the simulated stars, by default the fit's"
    )
    options = parser.parse_args()
    machine = platform.processor() or platform.machine()
    print(f"{os.cpu_count()} cores, {machine}, jax {jax.__version__}\n")
    print("| " + " | ".join(TITLES) + " |\n|" + " --- |" * len(TITLES), flush=True)
    for name in options.pairs:
        every: list[list[Found]] = []
        for seed in options.seeds:
            survey = seed if options.survey is None else options.survey
            pairs = stars(name, options.data, survey)
            if pairs is None:
                continue
            split = next(random_splits(pairs))
            told = f"| {name} | {len(split.train)}"
            every.append([])
            for label, found in beside(split.train, split.test, seed):
                every[-1].append(found)
                print(f"{told} | {seed} | {label} {found.row(every[-1][0])}", flush=True)
        if len(every) > 1:
            nuts, *ours = map(Found.of_all, map(list, zip(*every, strict=True)))
            labels = "NUTS", "MCLMC", "MCLMC, as long"
            for label, found in zip(labels, (nuts, *ours), strict=True):
                print(f"{told} | all | {label} {found.row(nuts)}", flush=True)


if __name__ == "__main__":
    main()
