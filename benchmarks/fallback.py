"""What to do away from the training stars: several mechanisms on the same held-out regions.

``python benchmarks/fallback.py [--data FOLDER] [--pairs NAME ...]`` prints, for each
pair and mechanism, the mean log density per output and the coverage of 90 %
intervals of stars in held-out regions, by support score. What a mechanism learns
is learned from regions of other kinds (cross-validated), as in `fit`.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
from _mechanisms import Mechanism, judged
from _survey_pairs import GAPS, NAMES, read
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

import bayestrans as bt
from bayestrans.baseline import Baseline
from bayestrans.calibrate import Judged
from bayestrans.calibration import DOUBTING
from bayestrans.gaps import Gaps
from bayestrans.held_out import HeldOut
from bayestrans.neighbours import Neighbours
from bayestrans.refits import Refits
from bayestrans.regions import Region, regions
from bayestrans.scale import Scaler
from bayestrans.target import build_target, scaled_data

STARS = 1000
#: Pseudo-stars for each star, and how far from it they lie in the whitened space.
PSEUDO_SHARE, PSEUDO_REACH = 0.3, 1.5
EDGES = ((0.0, 1.5), (1.5, 2.5), (2.5, 4.0), (4.0, np.inf))

Found = list[list[HeldOut]]


def prepared(pairs: bt.Pairs) -> Refits:
    """Return the cheap refits of the first network."""
    gaps, block = Gaps.learn(Scaler.learn(pairs), pairs), pairs.spec.blocks[0]
    method = bt.MCLMC().refit()
    return Refits.of(pairs, len(pairs), gaps, block, bt.Network(), bt.Noise(), method)


def plain_refits(pairs: bt.Pairs, parts: list[Region]) -> Found:
    """Return for each region, and each output, its stars under a refit without them."""
    refits = prepared(pairs)
    return [refits.without(part, jax.random.key(n)) for n, part in enumerate(parts)]


def with_pseudo_stars(pairs: bt.Pairs, parts: list[Region]) -> Found:
    """Return the same, with pseudo-stars around the others that lie on the linear regression.

    Noise-contrastive priors (Hafner et al. 2020): inputs are thrown out of the
    training stars, and there the target is what one would say without a network,
    with its scatter doubled.
    """
    plain, found = prepared(pairs), []
    for number, part in enumerate(parts):
        more = _pseudo(pairs.take(np.flatnonzero(~part.rows)), len(pairs))
        joined = bt.Pairs(
            pairs.spec,
            *(
                np.concatenate([getattr(pairs, name), getattr(more, name)])
                for name in ("x", "x_err", "y", "y_err")
            ),
            np.arange(len(pairs) + len(more)),
        )
        data = scaled_data(joined, plain.gaps.scaler, plain.block, plain.noise)
        # Only the data have the pseudo-stars. They are never held out, so each
        # stands where a star does that is not.
        elsewhere = np.full(len(more), np.flatnonzero(~part.rows)[0])
        star = np.concatenate([np.arange(len(pairs)), elsewhere]).astype(data.star.dtype)
        data = data._replace(star=star)
        # More stars than the plain refits have; all parts have as many, and share a program.
        target = build_target(data, plain.network, plain.noise, np.arange(50))
        refits = dataclasses.replace(plain, data=data, target=target)
        found.append(refits.without(part, jax.random.key(number)))
    return found


def _pseudo(rest: bt.Pairs, count: int) -> bt.Pairs:
    rng = np.random.default_rng(2)
    chosen = rng.choice(len(rest), int(PSEUDO_SHARE * count))
    inputs = rest.spec.blocks[0].inputs
    space = Neighbours.learn(rest.x, inputs)
    step = PSEUDO_REACH * rng.normal(size=(len(chosen), len(inputs)))
    x = rest.x[chosen].copy()
    x[:, list(inputs)] += step @ np.linalg.inv(space.whiten)
    scaler = Scaler.learn(rest)
    linear = Baseline.learn(rest, scaler).linear(x, scaler)
    wide = 2.0 * linear.scale * scaler.delta_scale
    y = scaler.restore(x, linear.location) + wide * rng.normal(size=wide.shape)
    return bt.Pairs(rest.spec, x, rest.x_err[chosen], y, wide, np.arange(len(x)))


def with_discrepancy(pairs: bt.Pairs, parts: list[Region], found: Found) -> Found:
    """Return the same stars with a Gaussian process of the linear residuals as discrepancy.

    Its variance is added to the noise, so it grows away from the stars; the mean
    stays the network's.
    """
    scaler = Scaler.learn(pairs)
    inputs = pairs.spec.blocks[0].inputs
    z, delta = scaler.features(pairs.x, pairs.x_err, inputs), scaler.delta(pairs.x, pairs.y)
    wider = []
    for part, stars in zip(parts, found, strict=True):
        here = []
        for k, star in enumerate(stars):
            process = _process(z[~part.rows], delta[~part.rows, k])
            _, sd = process.predict(z[part.rows], return_std=True)
            prior = np.sqrt(process.kernel_.k1.k1.constant_value)
            noise = process.kernel_.k2.noise_level
            extra = np.sqrt(np.clip(sd**2 - noise, 0.0, prior**2))
            near = np.sqrt(np.clip(_at_stars(process, z[~part.rows]) ** 2 - noise, 0.0, None))
            extra = np.sqrt(np.clip(extra**2 - np.median(near) ** 2, 0.0, None))
            here.append(star._replace(noise=np.hypot(star.noise, extra).astype(np.float32)))
        wider.append(here)
    return wider


def _process(z: np.ndarray, delta: np.ndarray) -> GaussianProcessRegressor:
    kernel = kernels.ConstantKernel(0.5, (1e-3, 1e2)) * kernels.RBF(3.0, (0.3, 1e2))
    kernel = kernel + kernels.WhiteKernel(0.5, (1e-2, 1e1))
    some = np.random.default_rng(0).choice(len(z), min(400, len(z)), replace=False)
    fitted = GaussianProcessRegressor(kernel).fit(z[some], delta[some])
    return GaussianProcessRegressor(fitted.kernel_, optimizer=None).fit(z, delta)


def _at_stars(process: GaussianProcessRegressor, z: np.ndarray) -> np.ndarray:
    return process.predict(z[:200], return_std=True)[1]


def line(name: str, which: str, judged: list[Judged]) -> str:
    """Return one line of the table."""
    score = np.concatenate([j.score for j in judged])
    random = np.concatenate([j.random for j in judged])
    density = np.concatenate([j.density[which] for j in judged])
    inside = np.abs(np.concatenate([j.pit[which] for j in judged]) - 0.5) <= 0.45
    cells = [f"{-density[random].mean():.3f} ({100 * inside[random].mean():.0f})"]
    for low, high in EDGES:
        rows = ~random & (score >= low) & (score < high)
        cells.append(
            f"{-density[rows].mean():.3f} ({100 * inside[rows].mean():.0f})" if rows.any() else "-"
        )
    return f"| {name} | " + " | ".join(cells) + " |"


def compare_on(pairs: bt.Pairs) -> list[str]:
    """Return the table's lines for one pair."""
    if len(pairs) > STARS:
        chosen = np.random.default_rng(0).choice(len(pairs), STARS, replace=False)
        pairs = pairs.take(np.sort(chosen))
    inputs = pairs.spec.blocks[0].inputs
    names = tuple(pairs.spec.input_names[j] for j in inputs)
    points = Neighbours.learn(pairs.x, inputs).points
    parts = regions(pairs.x[:, list(inputs)], points, names, pairs.star)
    found = plain_refits(pairs, parts)
    print("pseudo-stars", file=sys.stderr)
    pseudo = with_pseudo_stars(pairs, parts)
    print("discrepancy", file=sys.stderr)
    wider = with_discrepancy(pairs, parts, found)

    line_of = [_linear(pairs, part, stars) for part, stars in zip(parts, found, strict=True)]
    few, every = Mechanism(DOUBTING), Mechanism(1)

    def judge(mechanism: Mechanism, stars: Found) -> list[Judged]:
        outputs = range(len(stars[0]))
        return [
            judged(mechanism, [f[k] for f in stars], [m[k] for m in line_of], parts)
            for k in outputs
        ]

    return [
        line("the network as it is", "before", judge(few, found)),
        line("one draw in four stretched", "after", judge(few, found)),
        line("all draws stretched", "after", judge(every, found)),
        line("fade to the line, all stretched", "after", judge(Mechanism(1, fades=True), found)),
        line("Gaussian-process discrepancy", "before", judge(few, wider)),
        line("the same, one draw in four stretched", "after", judge(few, wider)),
        line("pseudo-stars on the line", "before", judge(few, pseudo)),
        line("the same, one draw in four stretched", "after", judge(few, pseudo)),
    ]


def _linear(pairs: bt.Pairs, part: Region, stars: list[HeldOut]) -> list[np.ndarray]:
    """Return for each output what linear regression to all other stars says of a region's."""
    rest = pairs.take(np.flatnonzero(~part.rows))
    scaler, inputs = Scaler.learn(pairs), pairs.spec.blocks[0].inputs
    mean = Baseline.learn(rest, scaler).linear_mean(pairs.x, scaler, inputs)
    return [mean[np.asarray(star.row).astype(int), k] for k, star in enumerate(stars)]


def main() -> None:
    """Compare the mechanisms on all pairs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=default)
    names = ["simulated", "K2 giants", "seismic log g"]
    complete = [name for name in NAMES if name != GAPS]  # distances ask for all inputs
    parser.add_argument("--pairs", nargs="*", choices=complete, default=names)
    options = parser.parse_args()
    # Refits of one pair have the same shapes; compiling each would be most of the time.
    cache = tempfile.TemporaryDirectory()
    jax.config.update("jax_compilation_cache_dir", cache.name)
    print(f"{os.cpu_count()} cores, {platform.machine()}; {STARS} stars at most\n")
    print("NLL per output (share inside 90 % intervals, %) by support score\n")
    titles = ["random", *(f"{low:g} to {high:g}" for low, high in EDGES)]
    for name in options.pairs:
        pairs = read(name, options.data)
        if pairs is not None:
            print(f"| {name} | " + " | ".join(titles) + " |")
            print("| --- " * (len(titles) + 1) + "|")
            print("\n".join(compare_on(pairs)) + "\n", flush=True)


if __name__ == "__main__":
    main()
