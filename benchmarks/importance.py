"""What importances cost and how exact they are, beside the fit and beside point values.

``python benchmarks/importance.py [--budget 60] [--stars 3000]`` fits a model as the demo does,
to four fifths of so many stars, and prints the time of `importance`, of the same without
posterior draws (a point value for each effect) and of a sensitivity by finite differences, all
in one run on one machine; then the Monte-Carlo error for more and more stars, how much the
effects depend on the density that stars are drawn from, and how they compare with those of the
truth: what many more stars say of the mean correction, by boosted trees, over the finest of
these densities.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.mixture import GaussianMixture

import bayestrans as bt
from bayestrans.sensitivity import Mean
from bayestrans.shapley import Population, effects

#: Stars that tell the truth.
TRUTH_STARS = 200_000


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return a result, the wall time and the processors' time (s)."""
    begun, busy = time.perf_counter(), time.process_time()
    return work(), time.perf_counter() - begun, time.process_time() - busy


def fitted(budget: float, stars: int) -> bt.Posterior:
    """Return the demo's model, but for the calibration, which plays no part here."""
    train, _ = bt.simulate(stars, 1, seed=1).pairs.split(0.2, seed=1)
    method = bt.MCLMC(time_budget=budget)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.SamplingWarning)
        return bt.fit(train, method=method, seed=1, calibrate=False, progress=False)


def finite_differences(posterior: bt.Posterior, draws: int) -> None:
    """Move each input by a hundredth of its spread and predict anew."""
    x, x_err = posterior.probe_x, posterior.probe_x_err
    for j, step in enumerate(0.01 * posterior.scaler.x_scale):
        for sign in (-1, 1):
            moved = x.copy()
            moved[:, j] += sign * step
            posterior.predict(moved, x_err, kind="mean", draws=draws)


def intrinsic_players(posterior: bt.Posterior) -> tuple[list[list[int]], list[str]]:
    """Return the features and the names of the players: each input, and all quoted errors."""
    inputs = posterior.blocks[0].block.inputs
    width = len(inputs)
    players = [*([j] for j in range(width)), list(range(width, 2 * width))]
    return players, [*(posterior.spec.input_names[j] for j in inputs), "errors"]


def by_density(posterior: bt.Posterior) -> Population:
    """Print shares of the intrinsic corrections for several densities; return the finest."""
    block = posterior.blocks[0]
    mean, inputs = Mean.of(posterior, block, 20), block.block.inputs
    total = len(posterior.spec.inputs)
    many = bt.simulate(40_000, 0, seed=99).pairs
    z = posterior.scaler.features(many.x, many.x_err, inputs)
    spread = np.asarray(mean.values(z[:20_000]))[:, 1].std(axis=-1).mean(axis=0)
    print(f"standard deviation of the corrections over real stars: {np.round(spread, 3)}")
    own = Population.of(posterior.density, [*inputs, *(total + j for j in inputs)])
    found = {f"the model's, {len(own.weight)} components": own}
    for count in (8, 40):
        mixture = GaussianMixture(count, reg_covar=1e-5, max_iter=60, random_state=0).fit(z)
        parts = (mixture.weights_, mixture.means_, mixture.covariances_)
        found[f"of 40,000 stars, {count} components"] = Population(*parts)
    players, names = intrinsic_players(posterior)
    for title, population in found.items():
        got = effects(mean.values, population, players, size=512)
        variance = got.variance.mean(axis=(0, 1))[1]
        share = got.shapley.mean(axis=(0, 2))[:, 1] / variance
        print(f"{title}: standard deviation {np.round(np.sqrt(variance), 3)}")
        for player, row in zip(names, share, strict=True):
            print(f"  {player:8s}" + "".join(f"{100 * value:8.1f}%" for value in row))
    return population


def by_truth(posterior: bt.Posterior, population: Population) -> None:
    """Print the shares of the intrinsic corrections beside those of the truth."""
    block = posterior.blocks[0]
    outputs, inputs = list(block.block.outputs), block.block.inputs
    many = bt.simulate(TRUTH_STARS, 0, seed=98).pairs
    z = posterior.scaler.features(many.x, many.x_err, inputs)
    delta = posterior.scaler.delta(many.x, many.y)[:, outputs]
    trees = [
        HistGradientBoostingRegressor(max_iter=200, min_samples_leaf=200, random_state=0).fit(z, d)
        for d in delta.T
    ]
    players, names = intrinsic_players(posterior)

    def truth(z: np.ndarray) -> np.ndarray:
        return np.stack([one.predict(z) for one in trees])

    true = effects(truth, population, players, size=512)
    true_share = true.shapley.mean(axis=0) / true.variance.mean(axis=0)  # (player, output)
    found = effects(Mean.of(posterior, block, 50).values, population, players, size=512)
    draws = found.shapley.mean(axis=0)[:, :, 1] / found.variance.mean(axis=0)[:, 1]
    mean, (low, high) = draws.mean(axis=1), np.quantile(draws, [0.025, 0.975], axis=1)
    inside = (true_share >= low) & (true_share <= high)
    told = f"{inside.sum()} of {inside.size}"
    print(f"truth by {TRUTH_STARS} stars, and the fit; {told} of the 95 % intervals hold the truth")
    samples = true.shapley / true.variance[:, None]  # (sample, player, output)
    for k, output in enumerate(posterior.spec.output_names[o] for o in outputs):
        print(f"{output}: {same_order(samples[..., k], mean[:, k], names)}")
        for place in np.argsort(-true_share[:, k]):
            numbers = 100 * np.array([f[place, k] for f in (true_share, mean, low, high)])
            print("  {:8s}{:6.1f}%{:8.1f}% ({:.1f} to {:.1f})".format(names[place], *numbers))


def same_order(truth: np.ndarray, found: np.ndarray, names: list[str]) -> str:
    """Say whether shares come in the order of the true ones (sample, player), and which do not."""
    swapped, tied = [], []
    for i, j in itertools.combinations(range(len(names)), 2):
        apart = truth[:, i] - truth[:, j]
        if apart.mean() * (found[i] - found[j]) > 0:
            continue
        error = apart.std(ddof=1) / np.sqrt(len(apart))
        (swapped if abs(apart.mean()) > 2 * error else tied).append(f"{names[i]} and {names[j]}")
    told = f"ranks are not all the same: {', '.join(swapped)}" if swapped else "ranks are the same"
    if tied:
        told += f"; tied by the Monte-Carlo error of the truth: {', '.join(tied)}"
    return told


def main() -> None:
    """Print times, errors and what depends on the density."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for each network")
    parser.add_argument("--stars", type=int, default=3000, help="common stars")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, jax {jax.__version__}")
    posterior, fit, busy = timed(lambda: fitted(options.budget, options.stars))
    print(f"{'fit':44s}{fit:8.1f} s ({busy:.1f} s of processors)")
    works: dict[str, Callable[[], Any]] = {
        "importance, 100 draws": lambda: bt.importance(posterior, progress=False),
        "point values, 1 draw": lambda: bt.importance(posterior, draws=1, progress=False),
        "finite differences alone, 100 draws": lambda: finite_differences(posterior, 100),
    }
    for title, work in works.items():
        _, first, busy = timed(work)
        _, again, _ = timed(work)
        ratio = f"{busy:.1f} s of processors, {first / fit:.3f} of the fit"
        print(f"{title:44s}{first:8.1f} s ({ratio}); again {again:.1f} s")
    print(
        f"{'stars':>6s}  largest Monte-Carlo error of a share, posterior sd of that share (median)"
    )
    for stars in (1024, 4096, 16384):
        found = bt.importance(posterior, stars=stars, draws=50, progress=False)
        error = found.monte_carlo["share"].sel(target="correction")
        sd = found.draws["share"].sel(target="correction").std(("chain", "draw"))
        print(f"{stars:6d}  {float(error.max()):.4f}  {float(sd.median()):.4f}")
    by_truth(posterior, by_density(posterior))


if __name__ == "__main__":
    main()
