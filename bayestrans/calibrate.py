"""Learn from held-out regions how far predictives must be stretched, and where to stop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from .baseline import Baseline
from .calibration import N_PARAMETERS, Calibration, HeldOut, compare, learn
from .model import Data, Noise, Shape
from .neighbours import CLASSES, Neighbours
from .network import Network
from .pairs import Pairs
from .predictive import Mixture, mixture
from .regions import Region, regions
from .sample import Method, progress_bar
from .scale import Scaler
from .spec import Block
from .target import build_target, scaled_data

Floats = NDArray[np.float64]

#: Refits see at most this many stars: they cost as much as the fit otherwise.
MOST_STARS = 1000
#: Coverage of the 90 % intervals of held-out regions below which ``sparse`` begins
#: (as the networks say them) and ``outside`` (as they were stretched).
SPARSE_BELOW, OUTSIDE_BELOW = 0.89, 0.87
#: So that there is a zone of warning, ``sparse`` begins at this share of ``outside`` or before.
LATEST_SPARSE = 2.0 / 3.0
#: Nor earlier than this: what is amiss at the usual spacing has nothing to do with support.
EARLIEST_SPARSE = 1.25
#: Beyond this share of the held-out scores nothing was tested.
TESTED = 0.99
LEVELS = (0.50, 0.68, 0.90, 0.95)


class Learned(NamedTuple):
    """What `hold_out_regions` returns.

    Attributes
    ----------
    calibration : Calibration
    thresholds : (float, float)
        Support scores at which ``sparse`` and ``outside`` begin.
    report : dict
        Coverage of the refits' held-out stars before and after the stretch, by
        kind (``random``, and the classes of stars in held-out regions). Each
        region is judged by a stretch learned without regions of its kind.
    """

    calibration: Calibration
    thresholds: tuple[float, float]
    report: dict[str, Any]


class Judged(NamedTuple):
    """Held-out stars of one output with their log densities and PITs (n,)."""

    score: Floats
    random: NDArray[np.bool_]
    density: dict[str, Floats]
    pit: dict[str, Floats]


def hold_out_regions(
    pairs: Pairs,
    scaler: Scaler,
    method: Method,
    network: Network,
    noise: Noise,
    key: jax.Array,
    *,
    progress: bool,
) -> Learned:
    """Refit without each region in turn, and learn what was missing there.

    Parameters
    ----------
    pairs : Pairs
        The training stars.
    scaler : Scaler
        Learned from all of them.
    method : Method
        The cheap sampler of the refits.
    network, noise
        As in `fit`.
    key : jax.Array
    progress : bool
    """
    if len(pairs) > MOST_STARS:
        chosen = np.random.default_rng(0).choice(len(pairs), MOST_STARS, replace=False)
        pairs = pairs.take(np.sort(chosen))
    inputs = pairs.spec.blocks[0].inputs
    names = tuple(pairs.spec.input_names[j] for j in inputs)
    parts = regions(pairs.x[:, list(inputs)], Neighbours.learn(pairs.x, inputs).points, names)
    parameters = np.zeros((len(pairs.spec.outputs), N_PARAMETERS))
    judged: list[Judged] = []
    total = len(parts) * len(pairs.spec.blocks)
    with progress_bar("held-out regions", total, "refit", progress=progress) as bar:
        for block, block_key in zip(
            pairs.spec.blocks, jax.random.split(key, len(pairs.spec.blocks)), strict=True
        ):
            found: list[list[HeldOut]] = []
            for refit in refits(pairs, scaler, block, method, network, noise, parts, block_key):
                found.append(refit)
                bar.update()
            for place, output in enumerate(block.outputs):
                parameters[output], judgement = learn_output([f[place] for f in found], parts)
                judged.append(judgement)
    calibration = Calibration(*parameters.T)
    thresholds = _thresholds(judged, calibration.doubling)
    return Learned(calibration, thresholds, _report(judged, thresholds))


def refits(
    pairs: Pairs,
    scaler: Scaler,
    block: Block,
    method: Method,
    network: Network,
    noise: Noise,
    parts: list[Region],
    key: jax.Array,
) -> Iterator[list[HeldOut]]:
    """Yield for each region its stars, one `HeldOut` for each output of the block."""
    data = scaled_data(pairs, scaler, block, noise)
    seen = np.flatnonzero(np.isfinite(pairs.y[:, list(block.outputs)]).any(axis=1))
    probes = np.unique(np.linspace(0, len(seen) - 1, min(50, len(seen))).astype(int))
    target = build_target(data, network, noise, probes)
    shape = Shape.of(network, noise, len(block.outputs))
    constrain = jax.jit(jax.vmap(target.constrain))
    for number, part in enumerate(parts):
        rows = part.rows[seen]
        # A star without outputs adds nothing, and the compiled program stays the same.
        rest = data._replace(delta=jnp.where(jnp.asarray(rows), jnp.nan, data.delta))
        run = method.run(
            target._replace(data=rest),
            jax.random.fold_in(key, number),
            label=f"without the {part.name}",
            progress=False,
        )
        draws = constrain(run.positions.reshape(-1, target.dim))
        predictive = mixture(draws, data.z, data.scatter, shape)
        kept = Neighbours.learn(pairs.x[~part.rows], pairs.spec.blocks[0].inputs)
        score = kept.score(pairs.x[seen][rows])
        plain = Baseline.learn(pairs.take(np.flatnonzero(~part.rows)), scaler)
        linear = plain.linear_mean(pairs.x[seen][rows], scaler)[:, list(block.outputs)]
        yield [
            held_out(predictive, data, rows, column, score, place)
            for place, column in enumerate(linear.T)
        ]


def held_out(
    predictive: Mixture,
    data: Data,
    rows: NDArray[np.bool_],
    linear: Floats,
    score: Floats,
    place: int,
) -> HeldOut:
    """Return one output's held-out stars from a refit's predictive of all stars."""
    delta = np.asarray(data.delta[place, rows])
    here = np.isfinite(delta)
    location, scale = (
        np.asarray(part[:, place])[:, rows][:, here]
        for part in (predictive.location, predictive.scale)
    )
    factor = np.asarray(predictive.error_factor[:, place, None])
    noise = factor * np.asarray(data.err[place, rows])[here]
    dof = np.broadcast_to(np.asarray(predictive.dof)[:, None], location.shape)
    kind = location.dtype
    arrays = (location, scale, noise, dof, delta[here], linear[here], score[here])
    return HeldOut(*(np.asarray(array, dtype=kind) for array in arrays))


def _joined(parts: list[HeldOut]) -> HeldOut:
    return HeldOut(*(jnp.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True)))


def learn_output(found: list[HeldOut], parts: list[Region]) -> tuple[Floats, Judged]:
    """Return one output's parameters, and its stars judged by regions of other kinds."""
    everything = _joined(found)
    final = learn(everything)
    kinds = [part.kind for part in parts]
    of_star = np.repeat(kinds, [len(stars.delta) for stars in found])
    density, pit = {}, {}
    density["before"], pit["before"] = compare(np.zeros(N_PARAMETERS), everything)
    density["after"], pit["after"] = (np.empty(len(of_star)) for _ in range(2))
    for kind in dict.fromkeys(kinds):
        here = of_star == kind
        # All random parts are of a kind: without them the level has nothing to rest on.
        rest = final if kind == "random" else learn(everything, np.where(here, 0.0, 1.0))
        judgement = compare(rest, everything)
        density["after"][here], pit["after"][here] = (values[here] for values in judgement)
    return final, Judged(np.asarray(everything.score), of_star == "random", density, pit)


def _thresholds(judged: list[Judged], doubling: float) -> tuple[float, float]:
    """Return the scores at which coverage, taken as falling with the score, is too low.

    ``outside`` begins earlier where nothing was tested, or where errors must double.
    """
    score = np.concatenate([j.score for j in judged])
    end = min(doubling, float(np.quantile(score, TESTED)))
    outside = min(end, _falls_below(judged, "after", OUTSIDE_BELOW))
    outside = max(EARLIEST_SPARSE / LATEST_SPARSE, outside)
    sparse = min(LATEST_SPARSE * outside, _falls_below(judged, "before", SPARSE_BELOW))
    return max(EARLIEST_SPARSE, sparse), outside


def _falls_below(judged: list[Judged], which: str, level: float) -> float:
    score = np.concatenate([j.score for j in judged])
    order = np.argsort(score)
    inside = np.concatenate([np.abs(j.pit[which] - 0.5) <= 0.45 for j in judged])[order]
    coverage = optimize.isotonic_regression(inside.astype(float), increasing=False).x
    low = np.flatnonzero(coverage < level)
    return float(score[order][low[0]]) if len(low) else float("inf")


def _report(judged: list[Judged], thresholds: tuple[float, float]) -> dict[str, Any]:
    report: dict[str, Any] = {}
    score = np.concatenate([j.score for j in judged])
    random = np.concatenate([j.random for j in judged])
    place = np.searchsorted(thresholds, score, side="right")
    groups = {"random": random}
    groups |= {name: ~random & (place == number) for number, name in enumerate(CLASSES)}
    for name, rows in groups.items():
        report[name] = {"n": int(rows.sum())}
        for which in ("before", "after"):
            density = np.concatenate([j.density[which] for j in judged])[rows]
            pit = np.concatenate([j.pit[which] for j in judged])[rows]
            report[name][which] = {
                "nll": float(-density.mean()) if rows.any() else None,
                **{
                    f"{level:.2f}": float(np.mean(np.abs(pit - 0.5) <= level / 2))
                    if rows.any()
                    else None
                    for level in LEVELS
                },
            }
    return report
