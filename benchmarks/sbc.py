"""Which sampler's posterior to trust: simulation-based calibration in function space.

``python benchmarks/sbc.py [--runs 200] [--keep sbc.npz] [--out sbc.png] [--workers N]`` draws
a small network from the prior, its stars from the network, and the posterior of those stars
with each method; the rank of the true function among its draws must be uniform over the runs
(Talts et al. 2018, arXiv 1804.06788). Ranks of weights would say nothing: what is ranked are
the location and the log scatter at a few places, dense and beyond the training stars, the
degrees of freedom, odds and width of outliers, the factor of the errors and the correlation.
Printed are, for each method, the shares of true values in central 50, 68, 90 and 95 % intervals
and how many of the quantities stay within the simultaneous 99 % band of the ECDF of their ranks.
With ``--keep`` the methods of several commands come into one picture, and are compared with
NUTS, which takes many times as long as the others.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from _workers import add_workers, by_workers
from arviz_stats.ecdf_utils import ecdf_pit
from matplotlib.figure import Figure

import bayestrans as bt
from bayestrans.model import Data, Shape, correlation, location_and_scale, prior, tails_of
from bayestrans.plot_style import COLOURS, PAGE, frame
from bayestrans.sample import Method
from bayestrans.target import Target, build_target

STARS, FEATURES, OUTPUTS = 150, 2, 2
NETWORK, NOISE = bt.Network((6,)), bt.Noise()
SHAPE = Shape.of(NETWORK, NOISE, OUTPUTS)
#: Three places among the stars, which are standard normal, and one beyond them.
PLACES = np.array([[0.0, 0.0], [1.0, -0.5], [-1.0, 1.5], [3.0, 3.0]])
LEVELS = (0.50, 0.68, 0.90, 0.95)
PROB = 0.99
METHODS: dict[str, Method] = {
    "MCLMC": bt.MCLMC(draws=250, steps=4000),
    "NUTS": bt.NUTS(draws=250, warmup=500),
    "SVI": bt.SVI(),
    "Ensemble": bt.Ensemble(members=16),
}
GROUPS = {
    "location, dense": slice(0, 6),
    "location, beyond": slice(6, 8),
    "scatter, dense": slice(8, 14),
    "scatter, beyond": slice(14, 16),
    "dof": slice(16, 17),
    "outliers": slice(17, 19),
    "error factor": slice(19, 21),
    "correlation": slice(21, 22),
}


def functions(draw: dict[str, jax.Array]) -> jax.Array:
    """Return what is ranked of one draw."""
    ones = jnp.ones(OUTPUTS)
    location, scale = location_and_scale(draw, jnp.asarray(PLACES.T, jnp.float32), ones, SHAPE)
    # The places run slowest, so that those beyond are the last.
    parts = [location.T.ravel(), jnp.log(scale).T.ravel(), jnp.stack(tails_of(draw, SHAPE))]
    return jnp.concatenate([*parts, draw["error_factor"], correlation(draw, SHAPE)[0, 1:]])


def stretches(
    dof: float, odds: float, width: float, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Return by how much the tails make the scatter of each star wider (count,)."""
    outlier = rng.random(count) < odds / (1.0 + odds)
    return np.where(outlier, width, 1.0) / np.sqrt(rng.chisquare(dof, count) / dof)


def quantities(constrain: Callable[..., dict[str, jax.Array]], position: jax.Array) -> jax.Array:
    return functions(constrain(position))


def simulated(runs: int, seed: int, noise: bt.Noise = NOISE) -> Iterator[tuple[Data, np.ndarray]]:
    """Yield stars of networks from the prior, and what is true of them."""
    rng = np.random.default_rng(seed)
    nothing = jnp.empty((0, 1), dtype=int)
    empty = Data(
        z=jnp.zeros((FEATURES, STARS)),
        delta=jnp.full((OUTPUTS, STARS), jnp.nan),
        err=jnp.zeros((OUTPUTS, STARS)),
        scatter=jnp.ones(OUTPUTS),
        log_weight=jnp.zeros(STARS),
        star=jnp.arange(STARS),
        copies=nothing,
    )
    for key in jax.random.split(jax.random.key(seed), runs):
        draw = numpyro.handlers.seed(prior, key)(Shape.of(NETWORK, noise, OUTPUTS), FEATURES)
        z = rng.normal(size=(FEATURES, STARS))
        err = 0.3 * np.exp(0.5 * rng.normal(size=(OUTPUTS, STARS)))
        location, scale = location_and_scale(draw, jnp.asarray(z), empty.scatter, SHAPE)
        corr, tails = np.asarray(correlation(draw, SHAPE)), map(float, tails_of(draw, SHAPE))
        scaled = np.asarray(scale)
        covariance = np.einsum("in,ij,jn->nij", scaled, corr, scaled)
        own = np.asarray(draw["error_factor"])[:, None] * err
        covariance[:, range(OUTPUTS), range(OUTPUTS)] += (own**2).T
        normal = np.einsum(
            "nij,nj->in", np.linalg.cholesky(covariance), rng.normal(size=(STARS, OUTPUTS))
        )
        delta = np.asarray(location) + normal * stretches(*tails, STARS, rng)
        arrays = {"z": z, "delta": delta, "err": err}
        found = {name: jnp.asarray(a, jnp.float32) for name, a in arrays.items()}
        yield empty._replace(**found), np.asarray(functions(draw))


def ranks(name: str, seed: int, noise: bt.Noise, runs: range) -> tuple[np.ndarray, float]:
    """Return the true values' ranks (run, quantity) as shares of the draws, and seconds a run."""
    warnings.simplefilter("ignore", bt.SamplingWarning)
    found, begun = [], 0.0
    target: Target | None = None
    read = None
    for run, (data, truth) in enumerate(simulated(runs.stop, seed, noise)):
        if run not in runs:
            continue
        if target is None or read is None:
            target = build_target(data, NETWORK, noise, np.arange(0, STARS, 10))
            read = jax.jit(jax.vmap(partial(quantities, target.constrain)))
        # The functions stay, so that all runs share one compiled program.
        key = jax.random.fold_in(jax.random.key(seed), run)
        drawn = METHODS[name].run(target.with_stars(data), key, label="", progress=False)
        values = np.asarray(read(drawn.positions.reshape(-1, target.dim)))
        found.append(rank(values, truth, run))
        if run == runs.start:
            begun = time.perf_counter()
    return np.array(found), (time.perf_counter() - begun) / max(1, len(runs) - 1)


def rank(draws: np.ndarray, truth: np.ndarray, seed: int) -> np.ndarray:
    """Return the ranks of true values among draws as shares, uniform between neighbours."""
    dither = np.random.default_rng(seed).uniform(size=truth.shape)
    return ((draws < truth).sum(axis=0) + dither) / (len(draws) + 1)


def together(
    one: Callable[[range], tuple[np.ndarray, float]], runs: int, workers: int
) -> tuple[np.ndarray, float]:
    """Return the ranks of all runs, which the workers share, and seconds a run."""
    ends = np.linspace(0, runs, workers + 1).astype(int)
    parts = [range(a, b) for a, b in pairwise(ends.tolist())]
    found, seconds = zip(*by_workers(one, parts, workers), strict=True)
    return np.concatenate(found), float(np.mean(seconds))


def beyond(share: np.ndarray) -> np.ndarray:
    """Return how far the ECDF of each quantity's ranks leaves the band of a uniform one, or 0."""
    found = []
    for one in share.T:
        points, away, low, high = differences(one)
        outside = np.maximum(away - high, low - away)[(points > 0) & (points < 1)]
        found.append(max(0.0, outside.max()))
    return np.array(found)


def differences(share: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return where the ECDF is taken, its difference from the uniform, and the band of that."""
    points, found, low, high = ecdf_pit(share, PROB, 2000, rng=np.random.default_rng(1))
    return points, found - points, low - points, high - points


def line(name: str, share: np.ndarray) -> str:
    central = 2.0 * np.abs(share - 0.5)
    inside = "".join(f"{100 * (central <= level).mean():7.1f}" for level in LEVELS)
    kept = (beyond(share) == 0).sum()
    return f"  {name:20s}{inside}   {kept} of {share.shape[1]}"


def picture(found: dict[str, np.ndarray]) -> Figure:
    """Show the ECDF of the ranks less the uniform, for each method."""
    figure = Figure(figsize=(PAGE, 2.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(found), sharey=True))
    for axis, (name, share) in zip(panels, found.items(), strict=True):
        for colour, (group, columns) in zip((*COLOURS, "black"), GROUPS.items(), strict=True):
            for number, one in enumerate(share[:, columns].T):
                points, away, low, high = differences(one)
                label = group if number == 0 else None
                axis.plot(points, away, color=colour, lw=0.8, alpha=0.8, label=label)
        axis.fill_between(points, low, high, color="grey", alpha=0.25, lw=0)
        axis.set_title(name, fontsize=8)
        axis.set_xticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
        frame(axis)
    figure.supxlabel("rank of the true value among the draws / number of draws", fontsize=8)
    panels[0].set_ylabel("ECDF $-$ uniform", fontsize=8)
    panels[-1].legend(fontsize=6, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--methods", nargs="*", choices=[*METHODS], default=[*METHODS])
    parser.add_argument("--error-factor", choices=["below one", "free"], default="below one")
    parser.add_argument("--keep", type=Path, help="file of the ranks to go on with")
    parser.add_argument("--out", help="picture of the ECDFs to write")
    add_workers(parser)
    options = parser.parse_args()
    print(
        f"{options.runs} runs of {STARS} stars, {FEATURES} features, {OUTPUTS} outputs, network "
        f"{NETWORK.hidden}; {platform.machine()}\n\n  % of true values within"
        f"{'':2s}{''.join(f'{100 * level:7.0f}' for level in LEVELS)}   within the {PROB:.0%} band"
    )
    found: dict[str, np.ndarray] = {}
    for name in options.methods:
        one = partial(ranks, name, options.seed, bt.Noise(error_factor=options.error_factor))
        share, seconds = together(one, options.runs, options.workers)
        found[name] = share
        print(f"{name}, {seconds:.2f} s a run")
        for group, columns in GROUPS.items():
            print(line(group, share[:, columns]))
        print(line("all", share), flush=True)
    if options.keep:
        kept = dict(np.load(options.keep)) if options.keep.exists() else {}
        every = kept | found
        found = {name: every[name] for name in METHODS if name in every}
        np.savez(options.keep, **found)
    for name in [n for n in found if "NUTS" in found and n != "NUTS"]:
        away = found[name] - found["NUTS"]
        print(
            f"{name} less NUTS, ranks of the same run: mean of a quantity at most "
            f"{np.abs(away.mean(axis=0)).max():.3f}, root mean square {away.std():.3f}"
        )
        left, theirs = beyond(found[name]), beyond(found["NUTS"])
        print(
            f"  leaves its band in {(left > 0).sum()}, by at most {left.max():.3f}; "
            f"in {((left > 0) & (theirs > 0)).sum()} of these NUTS does too"
        )
    if options.out:
        picture(found).savefig(options.out, dpi=200)


if __name__ == "__main__":
    main()
