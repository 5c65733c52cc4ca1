"""What the diagonal mass of MCLMC gives, with it beside without it, on the same splits.

``python benchmarks/diagonal_mass.py [--pairs simulated] [--steps 4000] [--seeds 3]`` fits the
training stars of each split without calibration, and prints the effective draws of locations and
scatters at 100 training stars (medians; within chains, and summed over them), the 90th percentile
of their R-hat, the variance of the energy error, and seconds, compilation included.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jax
import numpy as np
from _survey_pairs import DATA, NAMES, intrinsic, read
from arviz_stats.base import array_stats

import bayestrans as bt
from bayestrans import mclmc
from bayestrans.sample import over_draws
from bayestrans.scale import Scaler
from bayestrans.target import Target, build_target, scaled_data

STARS, PROBES, NETWORK = 2000, 100, bt.Network()
#: Steps of a burn-in from which a mass would be learned.
NEVER = 10**9


def pairs_of(name: str, folder: Path) -> bt.Pairs | None:
    """Return a pair by name; of the simulated one, fewer stars than elsewhere."""
    if name == "simulated":
        return intrinsic(bt.simulate(1500, 10, seed=0).pairs)
    return read(name, folder)


def target_of(train: bt.Pairs, network: bt.Network = NETWORK, probes: int = PROBES) -> Target:
    block, noise = train.spec.blocks[0], bt.Noise()
    data = scaled_data(train, Scaler.learn(train), block, noise)
    stars = np.linspace(0, data.z.shape[1] - 1, probes).astype(int)
    return build_target(data, network, noise, stars)


def effective(values: np.ndarray) -> float:
    """Return the median over functions (chain, draw, function) of the sum over chains."""
    each = [array_stats.ess(v[None], chain_axis=0, draw_axis=1) for v in values]
    return float(np.median(np.sum(each, axis=0)))


def measure(target: Target, seed: int, steps: int) -> str:
    begun = time.perf_counter()
    method = bt.MCLMC(steps=steps)
    run = method.run(target, jax.random.key(seed), label="", progress=False)
    spent = time.perf_counter() - begun
    values = np.asarray(over_draws(target.probe, run.positions, target.probed))
    half = values.shape[2] // 2
    parts = (values[:, :, :half], values[:, :, half:])
    location, scatter = (effective(p.reshape(*p.shape[:2], -1)) for p in parts)
    told = run.tuning
    return (
        f"{location:10.0f}{scatter:9.0f}{told['rhat_90']:9.3f}"
        f"{told['energy_variance']:11.1e}{spent:7.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", nargs="*", choices=NAMES, default=["simulated"])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3, help="splits of each pair")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    print(f"{'':34s}locations scatters    R-hat     energy      s")
    telling = mclmc.TELLING
    for name in options.pairs:
        pairs = pairs_of(name, options.data)
        if pairs is None:
            continue
        for seed in range(1, options.seeds + 1):
            train, _ = pairs.split(0.2, seed=seed)
            target = target_of(train.take(np.arange(min(len(train), STARS))))
            for label, fewest in (("with", telling), ("without", NEVER)):
                mclmc.TELLING = fewest
                line = measure(target, seed, options.steps)
                print(f"{name:15s} split {seed} {label:10s}{line}", flush=True)


if __name__ == "__main__":
    main()
