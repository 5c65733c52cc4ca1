"""What each setting of the model and of MCLMC is worth: one is changed, the others stay.

``python benchmarks/settings.py [--pairs "K2 giants"] [--folds 4] [--what chains ...]`` fits
without the calibration, and scores four fifths of the stars in folds; the last fifth is never
looked at. Printed are NLL, with 95 % bootstrap intervals over the stars, and CRPS (mean over the
outputs, as a share of the default's) minus those of the default,
the 90th percentile of R-hat, the effective draws of predictions (median, the sum over the folds),
and CPU seconds, compilation included. A single chain has neither of the last but one.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _ours import effective, predicted
from _scores import Scores, differences, joined, score
from _survey_pairs import DATA, NAMES
from diagonal_mass import pairs_of

import bayestrans as bt

#: Steps of all chains together: a change of their number leaves the work as it is.
STEPS = 8000


class ConstantScatter(bt.Network):
    """A network of the mean alone: of the scatter it says that it is the same everywhere."""

    def __call__(self, weights: Any, z: jax.Array) -> jax.Array:
        """Return the network's outputs, the latter half of which are the scatter's."""
        found = super().__call__(weights, z)
        return found * (jnp.arange(len(found)) < len(found) // 2)[:, None]


@dataclass(frozen=True)
class Setting:
    """One way to fit.

    Attributes
    ----------
    name : str
    mclmc : dict
        Of its parameters, those that are not the default's.
    network : Network
    seed : int
        Added to that of the fold.
    """

    name: str
    mclmc: dict[str, Any] = field(default_factory=dict)
    network: bt.Network = field(default_factory=bt.Network)
    seed: int = 0

    def method(self) -> bt.MCLMC:
        chains = self.mclmc.get("chains", 4)
        return bt.MCLMC(**{"steps": STEPS // chains, **self.mclmc})


DEFAULT = Setting("default: 4 chains")
SETTINGS = {
    "seed": [Setting("the same, other seed", seed=100)],
    "chains": [
        Setting(f"{n} chain{'s' if n > 1 else ''}", {"chains": n, "draws": 1000 // n})
        for n in (1, 2, 8)
    ],
    "warm start": [
        Setting(f"warm start of {n:,} steps", {"warm_steps": n}) for n in (150, 500, 5000)
    ],
    "thinning": [Setting(f"{n} draws of each chain", {"draws": n}) for n in (25, 1000)],
    "steps": [Setting(f"{n:,} steps of each chain", {"steps": n}) for n in (500, 8000)],
    "network": [
        Setting("16 units", network=bt.Network(hidden=(16, 16))),
        Setting("64 units", network=bt.Network(hidden=(64, 64))),
        Setting("one layer", network=bt.Network(hidden=(32,))),
        Setting("three layers", network=bt.Network(hidden=(32, 32, 32))),
    ],
    "scatter": [Setting("constant scatter", network=ConstantScatter())],
}


class Found(NamedTuple):
    """What one setting gives, over the folds."""

    scores: Scores
    rhat: float
    effective: float
    cpu: float


def measure(setting: Setting, pairs: bt.Pairs, folds: int) -> Found:
    parts, rhat, draws, cpu = [], [], [], 0.0
    for seed, (train, held) in enumerate(pairs.folds(folds, seed=1)):
        begun = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bt.SamplingWarning)
            posterior = bt.fit(
                train,
                method=setting.method(),
                network=setting.network,
                seed=seed + setting.seed,
                calibrate=False,
                progress=False,
            )
        cpu += time.process_time() - begun
        parts.append(score(predicted(posterior, held), train, held))
        rhat.append(posterior.blocks[0].tuning["rhat_90"])
        draws.append(effective(posterior, held))
    return Found(joined(parts), float(np.mean(rhat)), float(np.sum(draws)), cpu)


def line(name: str, found: Found, default: Found, names: tuple[str, ...]) -> str:
    apart = differences(default.scores, found.scores, names)
    nll = apart["nll"]
    crps = 100 * np.mean([v["mean"] for key, v in apart.items() if key.startswith("crps")])
    told = f"{nll['mean']:+.4f} ({nll['low']:+.4f} to {nll['high']:+.4f}) | {crps:+.2f} %"
    return f"| {name} | {told} | {found.rhat:.2f} | {found.effective:.0f} | {found.cpu:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", nargs="*", choices=NAMES, default=["K2 giants", "simulated"])
    parser.add_argument("--what", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--folds", type=int, default=4, help="in which each star is held out once")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    for pair in options.pairs:
        pairs = pairs_of(pair, options.data)
        if pairs is None:
            continue
        pairs, _ = pairs.split(0.2, seed=0)  # the last fifth
        names = pairs.spec.output_names
        default = measure(DEFAULT, pairs, options.folds)
        count = len(default.scores.nll)
        print(f"\n{pair}: {count} held-out stars, NLL {default.scores.nll.mean():.4f}\n")
        print("| setting | NLL beside the default's | CRPS | R-hat | effective draws | CPU s |")
        print("| --- | --- | --- | --- | --- | --- |")
        print(line(DEFAULT.name, default, default, names), flush=True)
        for what in options.what:
            for setting in SETTINGS[what]:
                found = measure(setting, pairs, options.folds)
                print(line(setting.name, found, default, names), flush=True)


if __name__ == "__main__":
    main()
