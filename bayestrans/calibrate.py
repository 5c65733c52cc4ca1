"""Learn from held-out regions how far predictives must be stretched, and where to stop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from .calibration import LEVELS, N_PARAMETERS, Calibration
from .held_out import COMMON_PRIOR, ENDS, ENDS_SOON, PRIOR, HeldOut, Judges, compare, learn
from .left_out import left_out
from .neighbours import CLASSES, Neighbours
from .pairs import Pairs
from .posterior import Posterior
from .progress import progress_bar
from .refits import Refits
from .regions import Region, regions
from .sample import Method

Floats = NDArray[np.float64]
#: Says of training stars, by their rows, which are to teach: a weight of one or of zero each.
Chosen = Callable[[NDArray[np.int64]], Floats]

#: Refits without regions see at most this many stars: they cost as much as the fit otherwise.
MOST_STARS = 1000
#: Stars of the random fifth to judge by, where one is asked for.
FIFTH_STARS = 3000
#: Prior standard deviation of the level of what is said in the end, and of slopes about the
#: common one: among its own stars the fit is right to a few per cent, while the short chains of a
#: refit can be wide by more. Theirs has a wider one (`held_out.PRIOR`) where the fit's own stars
#: are known, and is not asked for.
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
        Coverage of held-out stars before and after the stretch, by kind: ``random``, which
        are the fit's own where its draws tell what they would be without it, and the
        classes of stars in held-out regions. Each region is judged by a
        stretch learned without its stars, of other regions too, and the random ones by halves
        or parts. The regions' are judged with the level and slope of the refits, which see fewer
        stars than the fit and are shorter; what carries over to the fit is the growth.
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

    def take(self, rows: NDArray[np.bool_]) -> Judged:
        """Return some of the stars."""
        named = ({name: v[rows] for name, v in part.items()} for part in (self.density, self.pit))
        return Judged(self.score[rows], self.random[rows], *named)


def hold_out_regions(
    posterior: Posterior,
    pairs: Pairs,
    method: Method,
    key: jax.Array,
    *,
    progress: bool,
) -> Learned:
    """Refit without each region in turn, and learn what was missing there.

    Parameters
    ----------
    posterior : Posterior
        The fit, not calibrated.
    pairs : Pairs
        Its training stars.
    method : Method
        The cheap sampler of the refits.
    key : jax.Array
    progress : bool
    """
    parameters = np.zeros((len(pairs.spec.outputs), N_PARAMETERS))
    judged: list[Judged] = []
    score = posterior.neighbours.own_score()
    for number, draws in enumerate(posterior.blocks):
        outputs = list(draws.block.outputs)
        rows = np.flatnonzero(pairs.seen[:, outputs].any(axis=1))
        seen = pairs.take(rows)
        refits = partial(
            Refits.of,
            seen,
            gaps=posterior.gaps,
            block=draws.block,
            network=posterior.network,
            noise=posterior.noise,
            method=method,
        )
        own = left_out(posterior, draws, seen, score[rows])
        label = f"{draws.block.name}: held-out regions"
        place = jax.random.fold_in(key, number)
        found = _learn_block(
            posterior.gaps.filled(seen), refits, own, place, label, progress=progress
        )
        for output, (values, judgement) in zip(outputs, found, strict=True):
            parameters[output] = values
            judged.append(judgement)
    calibration = Calibration.of(parameters, _tested(judged))
    thresholds = _thresholds(judged, calibration.doubling)
    return Learned(calibration, thresholds, _report(judged, thresholds))


def _learn_block(
    pairs: Pairs,
    refits: Callable[[int], Refits],
    own: list[HeldOut] | None,
    key: jax.Array,
    label: str,
    *,
    progress: bool,
) -> list[tuple[Floats, Judged]]:
    """Return parameters and judged stars of each output of one network.

    Where the draws do not tell what the fit's ``own`` stars would be without it, and the refits
    see fewer stars, one refit to as many as the fit has is asked.
    """
    inputs = pairs.spec.blocks[0].inputs
    names = tuple(pairs.spec.input_names[j] for j in inputs)
    points = Neighbours.learn(pairs.x, inputs).points
    parts = regions(pairs.x[:, list(inputs)], points, names, pairs.star)
    one_more = own is None and len(pairs) > MOST_STARS
    with progress_bar(label, len(parts) + one_more, "refit", progress=progress) as bar:
        some = refits(MOST_STARS)
        found = []
        for number, part in enumerate(parts):
            found.append(some.without(part, jax.random.fold_in(key, number)))
            bar.update()
        if one_more:
            fifth = Region("random fifth", "random", pairs.star % 5 == 0)
            own = refits(len(pairs)).without(fifth, key, FIFTH_STARS)
            bar.update()
    return learn_outputs([list(s) for s in zip(*found, strict=True)], parts, pairs.star, own)


class Evidence(NamedTuple):
    """Held-out stars of one output.

    Attributes
    ----------
    found : HeldOut
        Of all regions and random parts, under refits.
    part : (n,) array
        Of which of these each is.
    own : HeldOut or None
        The fit's own, each left out.
    """

    found: HeldOut
    part: NDArray[np.int64]
    own: HeldOut | None

    @classmethod
    def of(cls, found: list[HeldOut], own: HeldOut | None) -> Evidence:
        """Put together what was found of each region."""
        joined = (np.concatenate(arrays, axis=-1) for arrays in zip(*found, strict=True))
        part = np.repeat(np.arange(len(found)), [len(stars.delta) for stars in found])
        return cls(HeldOut(*joined), part, own)

    def judges(self, found: Chosen, own: Chosen) -> list[Judges]:
        """Return the stars that teach: those that are chosen, the fit's own last."""
        if self.own is None:
            return [Judges(self.found, found(_row(self.found)), LEVEL_PRIOR)]
        return [
            Judges(self.found, found(_row(self.found)), PRIOR),
            Judges(self.own, own(_row(self.own)), LEVEL_PRIOR),
        ]


def _row(stars: HeldOut) -> NDArray[np.int64]:
    return np.asarray(stars.row).astype(int)


def _every(rows: NDArray[np.int64]) -> Floats:
    return np.ones(len(rows))


def _learned(
    outputs: list[Evidence],
    found: Chosen = _every,
    own: Chosen = _every,
    start: Floats | None = None,
) -> Floats:
    """Return the outputs' parameters (K, J, 3), the fit's last, by stars that are chosen.

    With a ``start``, only to judge the others.
    """
    # Short refits are wide by more than the fit, of which a slope of theirs tells nothing.
    common_prior = 0.0 if outputs[0].own is None else COMMON_PRIOR
    judges = (evidence.judges(found, own) for evidence in outputs)
    ends = ENDS if start is None else ENDS_SOON
    return learn(*judges, start=start, common_prior=common_prior, ends=ends)


def learn_outputs(
    found: list[list[HeldOut]],
    parts: list[Region],
    star: NDArray[np.int64],
    own: list[HeldOut] | None = None,
) -> list[tuple[Floats, Judged]]:
    """Return parameters of a network's outputs, and stars judged by what was learned without them.

    ``star`` says which of the training stars' rows are of one. Judged are those of each region,
    and the fit's ``own`` in place of the random parts. The refits have a
    level and a slope of theirs then, which tell nothing of the fit's.
    """
    own_of = [None] * len(found) if own is None else own
    outputs = [Evidence.of(stars, o) for stars, o in zip(found, own_of, strict=True)]
    learned = _learned(outputs)
    judged = _by_parts(outputs, parts, learned)
    if own is not None:
        judged = [
            _put_together(regions_.take(~regions_.random), random)
            for regions_, random in zip(
                judged, _by_halves(outputs, own, star, learned), strict=True
            )
        ]
    return list(zip(learned[:, -1], judged, strict=True))


def _by_parts(outputs: list[Evidence], parts: list[Region], start: Floats) -> list[Judged]:
    """Return the stars of regions and random parts, each judged by what the others taught."""
    before = [compare(np.zeros(N_PARAMETERS), evidence.found) for evidence in outputs]
    after = [[np.empty(len(evidence.part)) for _ in range(2)] for evidence in outputs]
    for number, part in enumerate(parts):
        if part.kind == "random" and outputs[0].own is not None:
            continue  # these are not asked
        # Regions overlap: what another says of the same stars must not judge them.
        elsewhere = partial(_among, ~part.rows)
        learned = _learned(outputs, elsewhere, elsewhere, start)[:, 0]
        for values, evidence, judgement in zip(learned, outputs, after, strict=True):
            here = evidence.part == number
            for into, new in zip(judgement, compare(values, evidence.found, here), strict=True):
                into[here] = new
    random = np.array([part.kind == "random" for part in parts])
    return [
        Judged(np.asarray(evidence.found.score), random[evidence.part], *_named(*judgements))
        for evidence, *judgements in zip(outputs, before, after, strict=True)
    ]


def _by_halves(
    outputs: list[Evidence], own: list[HeldOut], star: NDArray[np.int64], start: Floats
) -> list[Judged]:
    """Return the fit's own stars, each half judged by what was learned with the other."""
    halves = [partial(_among, star % 2 == half) for half in range(2)]
    learned = [_learned(outputs, half, half, start)[:, -1] for half in halves]
    judged = []
    for one, other, stars in zip(*learned, own, strict=True):
        odd = star[_row(stars)] % 2 == 1
        before = compare(np.zeros(N_PARAMETERS), stars)
        by_even, by_odd = (compare(values, stars) for values in (one, other))
        after = [np.where(odd, a, b) for a, b in zip(by_even, by_odd, strict=True)]
        random = np.ones(len(odd), dtype=bool)
        judged.append(Judged(np.asarray(stars.score), random, *_named(before, after)))
    return judged


def _among(chosen: NDArray[np.bool_], rows: NDArray[np.int64]) -> Floats:
    return chosen[rows].astype(float)


def _named(before: Any, after: Any) -> list[dict[str, Floats]]:
    """Return log densities, and PITs, before and after the calibration."""
    return [{"before": b, "after": a} for b, a in zip(before, after, strict=True)]


def _put_together(one: Judged, other: Judged) -> Judged:
    def both(a: dict[str, Floats], b: dict[str, Floats]) -> dict[str, Floats]:
        return {name: np.concatenate([a[name], b[name]]) for name in a}

    score, random = (np.concatenate(pair) for pair in zip(one[:2], other[:2], strict=True))
    return Judged(score, random, both(one.density, other.density), both(one.pit, other.pit))


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
