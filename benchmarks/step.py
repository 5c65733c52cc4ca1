"""What the step of MCLMC costs in exactness, and what a shorter one costs in effective draws.

``python benchmarks/step.py [--pairs oracle simulated] [--variances 1e-4 1e-5 1e-6]
[--fixed 0.3 0.4]``: for each variance of the energy error that is asked for, or for each step.
``oracle`` is the problem on which NUTS mixes (tests/test_oracles.py): its means and spreads at
training stars are held against those of NUTS, ``--runs`` of it together, each of which is held
against the others too. For the other pairs there is no reference: effective draws only, of
locations and scatters at 100 training stars (medians; within chains, summed over them).
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _survey_pairs import DATA, NAMES, of_quantities
from diagonal_mass import STARS, effective, pairs_of, target_of

import bayestrans as bt
from bayestrans.sample import Run, over_draws
from bayestrans.target import Target

PROBES = 200


def oracle_pairs() -> bt.Pairs:
    """Return 600 simulated stars, [Fe/H] from four inputs."""
    pairs = bt.simulate(600, 10, seed=11).pairs
    inputs = [pairs.spec.input_names.index(n) for n in ("teff", "logg", "fe_h", "mg_fe")]
    return of_quantities(pairs, inputs, [pairs.spec.output_names.index("fe_h")])


def functions(target: Target, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return locations and log scatters at the probes, each (chain, draw, function)."""
    values = np.asarray(over_draws(target.probe, run.positions, target.probed))
    half = values.shape[2] // 2
    location, scatter = values[:, :, :half], values[:, :, half:]
    return location.reshape(*location.shape[:2], -1), scatter.reshape(*scatter.shape[:2], -1)


def off(values: np.ndarray, truth: np.ndarray) -> str:
    """Return how far means and spreads of functions lie from a reference's."""
    a, b = (v.reshape(-1, v.shape[-1]) for v in (truth, values))
    means = np.abs(b.mean(axis=0) - a.mean(axis=0)) / a.std(axis=0)
    spreads = np.log(b.std(axis=0) / a.std(axis=0))
    return f"{np.percentile(means, 95):8.3f}{spreads.mean():+8.3f}"


def against_nuts(target: Target, runs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return NUTS's functions, all runs together, and print each against the others."""
    method = bt.NUTS(chains=4, warmup=150, draws=450)
    found = []
    for seed in range(runs):
        begun = time.perf_counter()
        run = method.run(target, jax.random.key(seed), label="", progress=False)
        found.append(functions(target, run))
        print(f"NUTS, run {seed}: {time.perf_counter() - begun:.0f} s", flush=True)
    for seed in range(runs):
        rest = [f for other, f in enumerate(found) if other != seed]
        told = [
            off(part, np.concatenate([f[i] for f in rest], axis=1))
            for i, part in enumerate(found[seed])
        ]
        print(f"{'NUTS against the others':43s}{told[0]}  {told[1]}", flush=True)
    location, scatter = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    return location, scatter


@dataclass(frozen=True)
class Fixed(bt.MCLMC):
    """MCLMC whose step is set by hand once it is burnt in."""

    step: float = 0.35

    def _burnt_in(self, *args: Any, **options: Any) -> Any:
        chains = super()._burnt_in(*args, **options)
        return chains._replace(step_size=jnp.full_like(chains.step_size, self.step))

    def _corrected(self, chains: Any, drawn: Any, number: int, piece: int) -> Any:
        return chains if number else super()._corrected(chains, drawn, number, piece)


def energies(run: Run, dim: int) -> str:
    """Return the energy error's variance per dimension by its centre, mean size, mean square."""
    error = run.stats["energy_error"]
    low, high = np.percentile(error, [15.87, 84.13])
    centre = (0.5 * (high - low)) ** 2 / dim
    size, square = 0.5 * np.pi * np.abs(error).mean() ** 2 / dim, (error**2).mean() / dim
    return f"{centre:9.1e}{size:9.1e}{square:9.1e}"


def table(target: Target, truth: tuple[np.ndarray, ...] | None, options: Namespace) -> None:
    head = f"{'asked':>7s}{'step':>7s}{'centre':>9s}{'size':>9s}{'square':>9s}"
    head += f"{'ess loc':>9s}{'scatter':>9s}"
    print(head + ("   locations off    scatters off" if truth else ""), flush=True)
    lengths = {"draws": 1000, "steps": options.steps}
    methods = [("-", Fixed(step=step, **lengths)) for step in options.fixed] or [
        (f"{v:.0e}", bt.MCLMC(energy_variance=v, **lengths)) for v in options.variances
    ]
    for asked, method in methods:
        for seed in range(1, options.seeds + 1):
            run = method.run(target, jax.random.key(seed), label="", progress=False)
            found = functions(target, run)
            line = f"{asked:>7s}{run.tuning['step_size']:7.3f}"
            line += energies(run, target.dim) + "".join(f"{effective(f):9.0f}" for f in found)
            if truth:
                line += "".join(off(f, t) for f, t in zip(found, truth, strict=True))
            print(line, flush=True)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", nargs="*", choices=["oracle", *NAMES], default=["oracle"])
    parser.add_argument("--variances", nargs="*", type=float, default=[1e-4, 1e-5, 1e-6])
    parser.add_argument("--fixed", nargs="*", type=float, default=[], help="steps, set by hand")
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=4, help="of NUTS")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    for name in options.pairs:
        if name == "oracle":
            target = target_of(oracle_pairs(), bt.Network((32,)), PROBES)
        elif (pairs := pairs_of(name, options.data)) is not None:
            train, _ = pairs.split(0.2, seed=1)
            target = target_of(train.take(np.arange(min(len(train), STARS))))
        else:
            continue
        print(f"{name}, {options.steps} steps; off are means (95 % of stars within), log spreads")
        table(target, against_nuts(target, options.runs) if name == "oracle" else None, options)


if __name__ == "__main__":
    main()
