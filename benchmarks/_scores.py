"""Scores of any predictive, star by star, and the uncertainty of their differences."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scoringrules
from _rivals import Floats, Prediction

import bayestrans as bt
from bayestrans.neighbours import Neighbours
from bayestrans.scale import Scaler

#: Nominal levels of central intervals.
LEVELS = (0.50, 0.68, 0.90, 0.95)

#: The energy score compares all pairs of draws; this many say enough.
ENERGY_DRAWS = 128

#: Resamplings of the stars for the uncertainty of a difference.
RESAMPLED = 2000

#: Share of a split's held-out stars that is called sparse.
SPARSE = 0.2


class Scores(NamedTuple):
    """What is known of each held-out star (N) and each output (K).

    Attributes
    ----------
    nll, energy : (N,) array
        Negative log density, and energy score, of all outputs together; each output
        in units of the training stars' robust correction scale.
    crps, residual : (N, K) array
        In the output's unit; the residual is measured minus predicted mean.
    pit : (N, K) array
        Predictive probability below the measured value.
    sparse : (N,) array of bool
        Among the fifth of its split's stars with the fewest training stars about them.
    """

    nll: Floats
    energy: Floats
    crps: Floats
    residual: Floats
    pit: Floats
    sparse: Floats


def score(
    prediction: Prediction,
    train: bt.Pairs,
    test: bt.Pairs,
    whole: tuple[bt.Pairs, bt.Pairs] | None = None,
) -> Scores:
    """Score a predictive of what survey B measures.

    ``whole`` are both with gaps in A's values filled in, if there are any.
    """
    scale = Scaler.learn(train).delta_scale
    draws = np.moveaxis(prediction.draws, 0, -1)
    crps = scoringrules.crps_ensemble(test.y, draws)
    below = (draws < test.y[..., None]).mean(axis=-1) + 0.5 * (draws == test.y[..., None]).mean(-1)
    pit = np.where(test.seen, below, np.nan)
    # Draws of a chain resemble their neighbours.
    order = np.random.default_rng(0).permutation(draws.shape[-1])[:ENERGY_DRAWS]
    weight = np.where(test.seen, 1.0 / scale, 0.0)
    value = np.where(test.seen, test.y, 0.0) * weight
    energy = scoringrules.es_ensemble(
        value, np.moveaxis(draws[..., order], -1, 1) * weight[:, None]
    )
    nll = -prediction.log_density - (test.seen * np.log(scale)).sum(axis=1)
    stars, at = whole or (train, test)
    support = Neighbours.learn(stars.x, train.spec.blocks[0].inputs).score(at.x)
    sparse = support >= np.quantile(support, 1 - SPARSE)
    return Scores(nll, np.asarray(energy), np.asarray(crps), test.y - prediction.mean, pit, sparse)


def joined(parts: list[Scores]) -> Scores:
    """Return the scores of several splits as one."""
    return Scores(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def chosen(scores: Scores, rows: Floats) -> Scores:
    """Return the scores of some stars."""
    return Scores(*(column[rows] for column in scores))


def off_by(sheet: dict) -> float:
    """Return the mean distance of the coverage from its level, over levels and outputs."""
    return float(np.mean(_apart(sheet)))


def off_most(sheet: dict) -> float:
    """Return the largest of these distances."""
    return max(_apart(sheet))


def _apart(sheet: dict) -> list[float]:
    return [
        abs(share - float(level))
        for output in sheet["outputs"].values()
        for level, share in output["coverage"].items()
    ]


def sheet(scores: Scores, names: tuple[str, ...]) -> dict:
    """Return means over stars as plain numbers."""
    outputs = {}
    for k, name in enumerate(names):
        residual = scores.residual[:, k]
        seen = np.isfinite(residual)
        central = np.abs(scores.pit[seen, k] - 0.5)
        middle = np.median(residual[seen])
        outputs[name] = {
            "crps": float(scores.crps[seen, k].mean()),
            "rmse": float(np.sqrt((residual[seen] ** 2).mean())),
            "robust_sigma": float(1.4826 * np.median(np.abs(residual[seen] - middle))),
            "bias": float(middle),
            "coverage": {f"{v:.2f}": float((central <= v / 2).mean()) for v in LEVELS},
        }
    return {
        "n": len(scores.nll),
        "nll": float(scores.nll.mean()),
        "energy": float(scores.energy.mean()),
        "outputs": outputs,
    }


def differences(ours: Scores, theirs: Scores, names: tuple[str, ...]) -> dict[str, dict]:
    """Return theirs minus ours with 95 % bootstrap intervals over the same stars; above 0 we win.

    CRPS as a share of ours, the others as they are.
    """
    found = {
        "nll": _interval(theirs.nll - ours.nll, 1.0),
        "energy": _interval(theirs.energy - ours.energy, float(np.mean(ours.energy))),
    }
    for k, name in enumerate(names):
        seen = np.isfinite(ours.crps[:, k])
        apart = theirs.crps[seen, k] - ours.crps[seen, k]
        found[f"crps {name}"] = _interval(apart, float(ours.crps[seen, k].mean()))
    return found


def _interval(apart: Floats, unit: float) -> dict[str, float]:
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(apart), np.full(len(apart), 1 / len(apart)), size=RESAMPLED)
    means = counts @ apart / len(apart) / unit
    low, high = np.quantile(means, [0.025, 0.975])
    return {"mean": float(apart.mean() / unit), "low": float(low), "high": float(high)}
