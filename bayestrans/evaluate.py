"""Score a model on stars it has not seen."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from . import student, tarp
from .baseline import Predictive
from .calibration import LEVELS, in_fours
from .catalogue import Source, pairs_of
from .measured import compare
from .neighbours import CLASSES
from .pairs import Pairs
from .posterior import Posterior, check_posterior
from .scores import Bin, Evaluation, OutputScore, Score

Floats = NDArray[np.float64]

#: The energy score compares all pairs of draws; this many say enough.
ENERGY_DRAWS = 100

#: Bins of each input, with as many stars in each.
BINS = 5

#: Draws of a baseline for the scores that need draws.
BASELINE_DRAWS = 400

#: Stars whose pairs of draws are compared at once: bounds the memory.
PART = 64


class TrainingStarsWarning(UserWarning):
    """Stars to be scored were in the fit: their scores are better than those of others."""


class _Stars(NamedTuple):
    """Per-star scores: three of all outputs together (N,), three of each output (N, K)."""

    log_density: Floats
    energy: Floats
    credibility: Floats
    residual: Floats
    crps: Floats
    pit: Floats


def evaluate(posterior: Posterior, pairs: Pairs | Source) -> Evaluation:
    """Score the predictive of what survey B measures on held-out stars.

    Parameters
    ----------
    posterior : Posterior
    pairs : Pairs, path, Table or DataFrame
        Stars that were not used in the fit.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If the pairs are empty or of another spec.

    Warns
    -----
    TrainingStarsWarning
        If training stars are among them.

    Notes
    -----
    Scores are those of Gneiting & Raftery (2007, JASA 102, 359), the joint
    coverage is that of Lemos et al. (2023, ICML 40, 19256) with the regions of
    `tarp.credibility`. The predictive includes survey B's quoted errors,
    because it is compared with measured values.
    """
    check_posterior(posterior)
    pairs = pairs_of(pairs, posterior.spec)
    posterior.check_spec(pairs.spec)
    if len(pairs) == 0:
        raise ValueError("there are no pairs to score; check the table of held-out stars")
    stars = _score_model(posterior, pairs)
    scale, names = posterior.scaler.delta_scale, posterior.spec.output_names
    filled = posterior.gaps.filled(pairs).x
    score = posterior.neighbours.score(filled)
    classes = posterior.neighbours.classify(score)
    fitted = posterior.neighbours.shared(filled)
    if fitted:
        warnings.warn(
            f"{fitted} of {len(pairs)} stars have exactly the inputs of training stars: these "
            "scores are better than those of new stars; score some that were kept out of the "
            "fit (Pairs.split, or bayestrans fit --held-out)",
            TrainingStarsWarning,
            stacklevel=2,
        )
    everyone = np.ones(len(pairs), dtype=bool)
    baselines = {
        "identity": posterior.baseline.identity(len(pairs)),
        "linear": posterior.baseline.linear(filled, posterior.scaler),
    }
    return Evaluation(
        _summarise(stars, everyone, scale, names),
        tuple((n, _summarise(stars, rows, scale, names)) for n, rows in _groups(score, classes)),
        {
            name: _summarise(_score_baseline(posterior, pairs, p), everyone, scale, names)
            for name, p in baselines.items()
        },
        stars.pit,
        stars.credibility,
        np.array(CLASSES)[classes],
        {output.name: output.unit for output in posterior.spec.outputs},
        _score_uncalibrated(posterior, pairs),
        fitted,
        tuple(Bin(*place, _summarise(stars, rows, scale, names)) for place, rows in _bins(pairs)),
    )


def _score_uncalibrated(posterior: Posterior, pairs: Pairs) -> Score | None:
    """Return what there was before the calibration, if there is one."""
    if posterior.calibration.empty:
        return None
    names = posterior.spec.output_names
    stars = _score_model(posterior.uncalibrated, pairs)
    everyone = np.ones(len(pairs), dtype=bool)
    return _summarise(stars, everyone, posterior.scaler.delta_scale, names)


def _score_model(posterior: Posterior, pairs: Pairs) -> _Stars:
    import scoringrules  # not before it is needed: to import it takes seconds

    filled = posterior.gaps.filled(pairs).x
    delta = posterior.scaler.delta(filled, pairs.y)
    found = compare(posterior, pairs)
    sample = posterior.predict(pairs, kind="measured")
    sample -= posterior.scaler.base(filled)
    sample /= posterior.scaler.delta_scale
    crps = scoringrules.crps_ensemble(delta, np.moveaxis(sample, 0, -1))
    return _Stars(
        found.log_density,
        _energy(delta, sample),
        tarp.credibility(sample, delta),
        (delta - found.mean) * posterior.scaler.delta_scale,
        np.asarray(crps),
        found.pit,
    )


def _energy(delta: Floats, sample: Floats) -> Floats:
    """Return the energy score of each star over the outputs it has."""
    thin = sample[in_fours(len(sample), ENERGY_DRAWS)]
    seen = np.isfinite(delta)
    draws = np.moveaxis(np.where(seen, thin, 0.0), 0, 1)
    values = np.where(seen, delta, 0.0)
    error = np.linalg.norm(draws - values[:, None], axis=2).mean(axis=1)
    spread = np.empty(len(delta))
    for part in np.array_split(np.arange(len(delta)), max(1, len(delta) // PART)):
        # The squares of all distances at once, by one product of matrices for each star.
        product = draws[part] @ np.swapaxes(draws[part], 1, 2)
        square = product.diagonal(axis1=1, axis2=2)
        apart = square[:, :, None] + square[:, None] - 2 * product
        spread[part] = np.sqrt(np.maximum(apart, 0)).mean(axis=(1, 2))
    return np.asarray(error - 0.5 * spread)


def _score_baseline(posterior: Posterior, pairs: Pairs, predictive: Predictive) -> _Stars:
    delta = posterior.scaler.delta(posterior.gaps.filled(pairs).x, pairs.y)
    residual = delta - predictive.location
    dof = predictive.dof
    density = student.log_density(
        jnp.asarray(residual.T),
        jnp.asarray(predictive.scale.T),
        jnp.asarray(predictive.corr),
        jnp.zeros(residual.T.shape),
        student.Tails(dof),
    )
    import scoringrules

    law: Any = stats.norm if np.isinf(dof) else partial(stats.t, dof)()
    if np.isinf(dof):
        crps = scoringrules.crps_normal(delta, predictive.location, predictive.scale)
    else:
        crps = scoringrules.crps_t(delta, dof, predictive.location, predictive.scale)
    sample = predictive.sample(BASELINE_DRAWS)
    return _Stars(
        np.asarray(density, dtype=np.float64),
        _energy(delta, sample),
        tarp.credibility(sample, delta),
        residual * posterior.scaler.delta_scale,
        np.asarray(crps),
        law.cdf(residual / predictive.scale),
    )


def _groups(score: Floats, classes: NDArray[np.int64]) -> list[tuple[str, NDArray[np.bool_]]]:
    groups = [(name, classes == number) for number, name in enumerate(CLASSES)]
    edges = np.nanquantile(score, np.linspace(0, 1, 11)[1:-1])
    decile = np.searchsorted(edges, score, side="right")
    return groups + [(f"decile {number + 1}", decile == number) for number in range(10)]


def _bins(pairs: Pairs) -> Iterator[tuple[tuple[str, float, float], NDArray[np.bool_]]]:
    """Yield the name and the edges of each bin of an input, and its stars."""
    for name, values in zip(pairs.spec.input_names, pairs.x.T, strict=True):
        known = values[np.isfinite(values)]  # no stars at all, where all lack this input
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1))) if len(known) else known
        for low, high in pairwise(edges.tolist()):
            last = (values == high) & (high == edges[-1])
            yield (name, low, high), ((values >= low) & (values < high)) | last


def _summarise(
    stars: _Stars, rows: NDArray[np.bool_], scale: Floats, names: tuple[str, ...]
) -> Score:
    if not rows.any():
        return Score(0, float("nan"), float("nan"), {}, {})
    outputs = {}
    for k, name in enumerate(names):
        seen = rows & np.isfinite(stars.residual[:, k])
        if seen.any():
            outputs[name] = _output_score(stars, seen, k, scale[k])
    nll, energy = -stars.log_density[rows].mean(), stars.energy[rows].mean()
    inside = tarp.coverage(stars.credibility[rows], LEVELS)
    joint = {f"{level:.2f}": float(share) for level, share in zip(LEVELS, inside, strict=True)}
    return Score(int(rows.sum()), float(nll), float(energy), joint, outputs)


def _output_score(stars: _Stars, seen: NDArray[np.bool_], k: int, scale: float) -> OutputScore:
    residual = stars.residual[seen, k]
    central = np.abs(stars.pit[seen, k] - 0.5)
    return OutputScore(
        float(np.sqrt(np.mean(residual**2))),
        float(stats.median_abs_deviation(residual, scale="normal")),
        float(np.median(residual)),
        float(stars.crps[seen, k].mean() * scale),
        {f"{level:.2f}": float(np.mean(central <= level / 2)) for level in LEVELS},
    )
