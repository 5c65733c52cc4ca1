"""Simulation-based calibration of `fit` as a whole: scaling, sampling, calibration.

``python benchmarks/sbc_fit.py [--runs 200] [--workers N]`` takes the networks and stars of
``sbc.py`` in physical units, fits them with `fit`, which knows neither the scales that they
were made with nor that the prior holds, and asks `predict` at four places. Ranked are the true
function among its draws and B's true value of a new star there among those drawn for it, with
and without the calibration by regions held out. Shares and bands are those of ``sbc.py``;
beyond the training stars a calibrated error is meant to be too wide for a prior that holds.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from functools import partial
from itertools import product

import numpy as np
from _workers import add_workers
from sbc import (
    LEVELS,
    NETWORK,
    OUTPUTS,
    PLACES,
    PROB,
    SHAPE,
    STARS,
    line,
    rank,
    simulated,
    stretches,
    together,
)

import bayestrans as bt
from bayestrans.model import Data

#: Of the inputs, and of what is added to them.
CENTRE, SCALE = np.array([5000.0, 3.0]), np.array([500.0, 1.0])
OFFSET, UNIT = np.array([40.0, 0.1]), np.array([100.0, 0.2])
SPEC = bt.Spec(
    "networks from the prior",
    (bt.Input("teff", "teff_a", unit="K"), bt.Input("logg", "logg_a")),
    (
        bt.Output("teff", "teff_b", "e_teff_b", unit="K", corrects="teff"),
        bt.Output("logg", "logg_b", "e_logg_b", corrects="logg"),
    ),
)
METHODS = {
    "MCLMC": bt.MCLMC(draws=250, steps=4000),
    "SVI": bt.SVI(),
    "Ensemble": bt.Ensemble(members=16),
}
DENSE, BEYOND = slice(0, 3 * OUTPUTS), slice(3 * OUTPUTS, 4 * OUTPUTS)


def pairs_of(data: Data) -> bt.Pairs:
    """Return stars in physical units."""
    z, delta, err = (np.asarray(a, float).T for a in (data.z, data.delta, data.err))
    x = CENTRE + SCALE * z
    y = x + OFFSET + UNIT * delta
    return bt.Pairs(SPEC, x, np.full_like(x, np.nan), y, UNIT * err, np.arange(len(x)))


def truths(found: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the true function (place, output) and a new star's true value there."""
    size = len(PLACES) * OUTPUTS
    location, log_scale = found[: 2 * size].reshape(2, -1, OUTPUTS)
    tails, corr = found[2 * size : 2 * size + 3], found[-1]
    normal = rng.standard_normal((len(PLACES), OUTPUTS))
    normal[:, 1] = corr * normal[:, 0] + np.sqrt(1.0 - corr**2) * normal[:, 1]
    noise = normal * stretches(*tails, len(PLACES), rng)[:, None]
    shift = CENTRE + SCALE * PLACES + OFFSET
    return shift + UNIT * location, shift + UNIT * (location + np.exp(log_scale) * noise)


def ranks(
    method: str, seed: int, noise: bt.Noise, calibrate: bool, runs: range
) -> tuple[np.ndarray, float]:
    """Return ranks (run, kind, quantity) as shares of the draws, and seconds a run."""
    warnings.simplefilter("ignore", bt.SamplingWarning)
    rng, x, found = np.random.default_rng(seed), CENTRE + SCALE * PLACES, []
    begun = time.perf_counter()
    for run, (data, truth) in enumerate(simulated(runs.stop, seed, noise)):
        true = truths(truth, rng)
        if run not in runs:
            continue
        how = {"network": NETWORK, "method": METHODS[method], "noise": noise, "progress": False}
        posterior = bt.fit(pairs_of(data), seed=run, calibrate=calibrate, **how)
        asked = {"x_err": np.full_like(x, np.nan), "seed": run}
        draws = [posterior.predict(x, kind=kind, **asked) for kind in ("mean", "true")]
        found.append([rank(d, t, run).ravel() for d, t in zip(draws, true, strict=True)])
    return np.array(found), (time.perf_counter() - begun) / len(runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["MCLMC"])
    parser.add_argument(
        "--calibrated",
        nargs="+",
        choices=["no", "yes"],
        default=["no", "yes"],
        help="which of both",
    )
    parser.add_argument("--error-factor", choices=["below one", "free"], default="below one")
    add_workers(parser)
    options = parser.parse_args()
    noise = bt.Noise(error_factor=options.error_factor)
    print(
        f"{options.runs} fits of {STARS} stars, {OUTPUTS} outputs, network {SHAPE.network.hidden}; "
        f"{platform.machine()}\n\n  % of true values within"
        f"{'':2s}{''.join(f'{100 * level:7.0f}' for level in LEVELS)}   within the {PROB:.0%} band"
    )
    for method, answer in product(options.methods, options.calibrated):
        calibrate = answer == "yes"
        one = partial(ranks, method, options.seed, noise, calibrate)
        share, seconds = together(one, options.runs, options.workers)
        done = "calibrated" if calibrate else "not calibrated"
        print(f"{method}, {done}, {seconds:.1f} s a run")
        for k, kind in enumerate(("function", "new star")):
            print(line(f"{kind}, dense", share[:, k, DENSE]))
            print(line(f"{kind}, beyond", share[:, k, BEYOND]), flush=True)


if __name__ == "__main__":
    main()
