"""Learn from held-out regions how far predictives must be stretched, and where to stop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from .calibration import LEVELS, N_PARAMETERS, PRIOR, Calibration, HeldOut, compare, learn
from .gaps import Gaps
from .model import Noise
from .neighbours import CLASSES, Neighbours
from .network import Network
from .pairs import Pairs
from .progress import progress_bar
from .refits import Refits
from .regions import Region, regions
from .sample import Method

Floats = NDArray[np.float64]

#: Refits without regions see at most this many stars: they cost as much as the fit otherwise.
MOST_STARS = 1000
#: Stars of the random fifth to judge by: level and slope rest on them alone.
FIFTH_STARS = 3000
#: Prior standard deviation of level and slope of what is said in the end: among its own stars the
#: fit is right to a few per cent, while the short chains of a refit can be wide by more. Refits
#: to fewer stars than the fit has need a wider one (`calibration.PRIOR`), and lend only the rest.
LEVEL_PRIOR = 0.03
#: ``sparse`` begins where this share of the excess misses of held-out regions lies nearer.
UNFLAGGED = 0.1
#: At the latest where this share of random stars lies nearer: where a survey changes its
#: regime just beyond the training stars, no region held out elsewhere gives warning.
DENSE = 0.8
#: ``outside`` begins where the stretched 90 % intervals of held-out regions cover less.
OUTSIDE_BELOW = 0.87
#: So that there is a zone of warning, ``sparse`` begins at this share of ``outside`` or before.
LATEST_SPARSE = 2.0 / 3.0
#: Nor earlier than this: what is amiss at the usual spacing has nothing to do with support.
EARLIEST_SPARSE = 1.25
#: Beyond this share of the held-out scores nothing was tested.
TESTED = 0.99


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
        region and each random part is judged by a stretch learned without its stars, of
        other regions too. Of more than `MOST_STARS` stars the regions' are
        judged with the level and slope of the refits, which see fewer stars than the fit
        and are wider; what carries over to the fit, the growth, is the same.
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
    gaps: Gaps,
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
    gaps : Gaps
        Learned from all of them.
    method : Method
        The cheap sampler of the refits.
    network, noise
        As in `fit`.
    key : jax.Array
    progress : bool
    """
    parameters = np.zeros((len(pairs.spec.outputs), N_PARAMETERS))
    judged: list[Judged] = []
    for number, block in enumerate(pairs.spec.blocks):
        outputs = list(block.outputs)
        seen = pairs.take(np.flatnonzero(pairs.seen[:, outputs].any(axis=1)))
        refits = partial(
            Refits.of, seen, gaps=gaps, block=block, network=network, noise=noise, method=method
        )
        label = f"{block.name}: held-out regions"
        place = jax.random.fold_in(key, number)
        found = _learn_block(gaps.filled(seen), refits, place, label, progress=progress)
        for output, (values, judgement) in zip(outputs, found, strict=True):
            parameters[output] = values
            judged.append(judgement)
    calibration = Calibration.of(parameters, _tested(judged))
    thresholds = _thresholds(judged, calibration.doubling)
    return Learned(calibration, thresholds, _report(judged, thresholds))


def _learn_block(
    pairs: Pairs,
    refits: Callable[[int], Refits],
    key: jax.Array,
    label: str,
    *,
    progress: bool,
) -> list[tuple[Floats, Judged]]:
    """Return parameters and judged stars of each output of one network."""
    inputs = pairs.spec.blocks[0].inputs
    names = tuple(pairs.spec.input_names[j] for j in inputs)
    points = Neighbours.learn(pairs.x, inputs).points
    parts = regions(pairs.x[:, list(inputs)], points, names, pairs.star)
    many = len(pairs) > MOST_STARS
    with progress_bar(label, len(parts) + many, "refit", progress=progress) as bar:
        some = refits(MOST_STARS)
        found = []
        for number, part in enumerate(parts):
            found.append(some.without(part, jax.random.fold_in(key, number)))
            bar.update()
        learned = [
            learn_output(list(stars), parts, PRIOR if many else LEVEL_PRIOR)
            for stars in zip(*found, strict=True)
        ]
        if many:
            fifth = Region("random fifth", "random", pairs.star % 5 == 0)
            stars = refits(len(pairs)).without(fifth, key, FIFTH_STARS)
            bar.update()
            learned = [_relearn(*one, s) for one, s in zip(learned, stars, strict=True)]
    return learned


def _joined(parts: list[HeldOut]) -> HeldOut:
    return HeldOut(*(np.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True)))


def learn_output(
    found: list[HeldOut], parts: list[Region], prior: float = PRIOR
) -> tuple[Floats, Judged]:
    """Return one output's parameters, and the stars of each region judged without its stars."""
    everything = _joined(found)
    row = np.asarray(everything.row).astype(int)
    of_star = np.repeat(np.arange(len(parts)), [len(stars.delta) for stars in found])
    density, pit = {}, {}
    density["before"], pit["before"] = compare(np.zeros(N_PARAMETERS), everything)
    density["after"], pit["after"] = (np.empty(len(of_star)) for _ in range(2))
    for number, part in enumerate(parts):
        here = of_star == number
        # Regions overlap: what another says of the same stars must not judge them.
        weight = np.where(part.rows[row], 0.0, 1.0)
        judgement = compare(learn(everything, weight, prior=prior), everything, here)
        density["after"][here], pit["after"][here] = judgement
    random = np.array([part.kind == "random" for part in parts])[of_star]
    return learn(everything, prior=prior), Judged(
        np.asarray(everything.score), random, density, pit
    )


def _relearn(parameters: Floats, judged: Judged, stars: HeldOut) -> tuple[Floats, Judged]:
    """Learn level and slope from a refit to as many stars as the fit has.

    A refit to fewer is more uncertain among the training stars than the fit. The
    new stars take the place of the random parts, one half judged by the other.
    """
    again = partial(learn, growth=float(parameters[2]), prior=LEVEL_PRIOR)
    half = np.arange(len(stars.delta)) % 2 == 0
    before = compare(np.zeros(N_PARAMETERS), stars)
    one, other = (compare(again(stars, rows.astype(float)), stars) for rows in (half, ~half))
    after = [np.where(half, o, a) for a, o in zip(one, other, strict=True)]
    keep = ~judged.random
    new = {"before": before, "after": after}
    density, pit = (
        {name: np.concatenate([old[name][keep], new[name][place]]) for name in new}
        for place, old in enumerate((judged.density, judged.pit))
    )
    score = np.concatenate([judged.score[keep], np.asarray(stars.score)])
    random = np.concatenate([judged.random[keep], np.ones(len(half), dtype=bool)])
    return again(stars), Judged(score, random, density, pit)


def _thresholds(judged: list[Judged], doubling: float) -> tuple[float, float]:
    """Return the scores at which ``sparse`` and ``outside`` begin.

    Random parts are left out: among stars that have neighbours on all sides they say
    what random stars always say, and hide where those of a region begin to fail.
    """
    outside = min(doubling, _tested(judged), _falls_short(judged))
    outside = max(EARLIEST_SPARSE / LATEST_SPARSE, outside)
    random = np.concatenate([j.score[j.random] for j in judged])
    fifth = float(np.quantile(random, DENSE)) if len(random) else float("inf")
    sparse = min(LATEST_SPARSE * outside, _excess_begins(judged), fifth)
    return max(EARLIEST_SPARSE, sparse), outside


def _tested(judged: list[Judged]) -> float:
    """Return the score beyond which hardly any star was held out."""
    return float(np.quantile(np.concatenate([j.score for j in judged]), TESTED))


def _falls_short(judged: list[Judged]) -> float:
    """Return where the coverage of stretched 90 % intervals, falling with the score, is too low."""
    score, missed = _by_score(judged, "after", 0.90)
    coverage = 1.0 - optimize.isotonic_regression(missed).x
    low = np.flatnonzero(coverage < OUTSIDE_BELOW)
    return float(score[low[0]]) if len(low) else float("inf")


def _excess_begins(judged: list[Judged]) -> float:
    """Return the score below which a tenth lies of what the networks as they are miss too often.

    That is the misses of their 95 % intervals beyond 5 %, or beyond the share that random
    stars miss, which has nothing to do with support. The share grows with the score.
    """
    random = np.concatenate([np.abs(j.pit["before"][j.random] - 0.5) > 0.475 for j in judged])
    usual = max(0.05, float(random.mean())) if len(random) else 0.05
    score, missed = _by_score(judged, "before", 0.95)
    excess = np.cumsum(np.maximum(optimize.isotonic_regression(missed).x - usual, 0.0))
    if not len(score) or excess[-1] == 0.0:
        return float("inf")
    return float(score[np.searchsorted(excess, UNFLAGGED * excess[-1])])


def _by_score(judged: list[Judged], which: str, level: float) -> tuple[Floats, Floats]:
    """Return the scores of regions' stars in order, and whether (0 or 1) intervals miss each."""
    score = np.concatenate([j.score[~j.random] for j in judged])
    pit = np.concatenate([j.pit[which][~j.random] for j in judged])
    order = np.argsort(score)
    return score[order], (np.abs(pit - 0.5) > level / 2)[order].astype(float)


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
