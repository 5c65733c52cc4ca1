"""What a fit makes of the base's quoted errors, where they are right: its factor of them.

``python benchmarks/error_factor.py [--pairs 8] [--stars 1500]`` fits simulated pairs, whose
survey B quotes its errors rightly, and prints mean and standard deviation of the factor that
each model multiplies them by. It is the reason why `homogenise` does not.
"""

from __future__ import annotations

import argparse
import platform
import warnings

import numpy as np

import bayestrans as bt
from bayestrans.merge import learned_factor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--stars", type=int, default=1500)
    options = parser.parse_args()
    method, found = bt.MCLMC(draws=250, steps=4000), []
    for seed in range(options.pairs):
        pairs = bt.simulate(options.stars, 0, seed=100 + seed).pairs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bt.SamplingWarning)
            model = bt.fit(pairs, method=method, seed=seed, calibrate=False, progress=False)
        names = model.spec.output_names
        factors = [learned_factor(model, name) for name in names]
        found.append([factor for factor in factors if factor is not None])
        told = ", ".join(
            f"{n} {m:.2f} ± {s:.2f}" for n, (m, s) in zip(names, found[-1], strict=True)
        )
        print(f"pair {seed}: {told}", flush=True)
    means = np.array(found)[..., 0]
    print(
        f"{options.pairs} pairs of {options.stars} stars ({platform.machine()}); the truth is 1:\n"
        f"means from {means.min():.2f} to {means.max():.2f}, their median {np.median(means):.2f}"
    )


if __name__ == "__main__":
    main()
