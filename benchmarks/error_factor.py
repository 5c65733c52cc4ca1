"""B's errors as quoted, or times a factor that is learned: who covers B's true values?

``python benchmarks/error_factor.py [--pairs 4] [--stars 1500] [--quoted 1]`` fits simulated
pairs, whose survey B quotes its errors rightly (or ``--quoted`` times too large), in each of the
three ways that `Noise` knows, and asks for as many new stars as 2,000: the share of B's true
and of its measured values within 68 %, and the joint NLL of the measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import warnings

import numpy as np

import bayestrans as bt
from bayestrans.merge import learned_factor
from bayestrans.model import ERROR_FACTORS

NEW = 2000


def quoting(pairs: bt.Pairs, factor: float) -> bt.Pairs:
    """Return the pairs as a survey B would give them that quotes its errors ``factor`` times."""
    return dataclasses.replace(pairs, y_err=factor * pairs.y_err)


def covered(model: bt.Posterior, pairs: bt.Pairs, truth: np.ndarray) -> np.ndarray:
    """Return the share of true values (K,) within central 68 % intervals."""
    low, high = np.quantile(model.predict(pairs, kind="true", seed=1), [0.16, 0.84], axis=0)
    return ((low <= truth) & (truth <= high)).mean(axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--stars", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=4000, help="of each MCLMC chain; 0: SVI")
    parser.add_argument(
        "--quoted", type=float, default=1.0, help="B's quoted errors over true ones"
    )
    options = parser.parse_args()
    method = bt.MCLMC(draws=250, steps=options.steps) if options.steps else bt.SVI()
    print(f"{options.stars} stars, {type(method).__name__}; {platform.machine()}")
    for seed in range(options.pairs):
        train = quoting(bt.simulate(options.stars, 0, seed=100 + seed).pairs, options.quoted)
        new = bt.simulate(NEW, 0, seed=200 + seed)
        measured = quoting(new.pairs, options.quoted)
        names = train.spec.output_names
        print(f"pair {seed}{'':14s}" + "".join(f"{name:>9s}" for name in names) + "      NLL")
        for kind in ERROR_FACTORS:
            noise = bt.Noise(error_factor=kind)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", bt.SamplingWarning)
                model = bt.fit(
                    train, method=method, noise=noise, seed=seed, calibrate=False, progress=False
                )
            found = bt.evaluate(model, measured).overall
            rows = {
                "true": 100 * covered(model, measured, new.truth["y"]),
                "measured": [100 * found.outputs[n].coverage["0.68"] for n in names],
            }
            if kind != "one":
                rows["factor"] = [(learned_factor(model, n) or (1.0,))[0] for n in names]
            for name, values in rows.items():
                end = f"{found.nll:9.3f}" if name == "measured" else ""
                head = f"{kind}, {name}"
                print(f"{head:20s}" + "".join(f"{v:9.2f}" for v in values) + end, flush=True)


if __name__ == "__main__":
    main()
