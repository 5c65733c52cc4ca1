"""Score a model on stars it has not seen."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scoringrules
from numpy.typing import NDArray
from scipy import stats

from . import student
from .baseline import Predictive
from .neighbours import CLASSES
from .pairs import Pairs
from .posterior import Posterior
from .predictive import Mixture

Floats = NDArray[np.float64]

#: Nominal probabilities of the central intervals whose coverage is counted.
LEVELS = (0.50, 0.68, 0.90, 0.95)

#: The energy score compares all pairs of draws; this many say enough.
ENERGY_DRAWS = 100


class OutputScore(NamedTuple):
    """Scores of one output.

    Attributes
    ----------
    rmse, mad_sigma, bias, crps : float
        Root mean square, robust spread and median of measured minus predicted
        mean, and continuous ranked probability score, in the output's unit.
    coverage : dict of str to float
        Share of the stars inside the central interval of each nominal level.
    """

    rmse: float
    mad_sigma: float
    bias: float
    crps: float
    coverage: dict[str, float]


class Score(NamedTuple):
    """Scores of some stars.

    Attributes
    ----------
    n : int
    nll : float
        Mean negative log density of the outputs together, in nats per star,
        each output in units of its robust correction scale.
    energy_score : float
        In the same units.
    outputs : dict of str to OutputScore
    """

    n: int
    nll: float
    energy_score: float
    outputs: dict[str, OutputScore]


class Evaluation(NamedTuple):
    """What `evaluate` returns.

    Attributes
    ----------
    overall : Score
    by_support : tuple of (str, Score)
        The classes, then the deciles of the support score.
    baselines : dict of str to Score
        ``identity`` and ``linear``, fitted on the model's own training stars.
    pit : (N, K) array
        Predictive probability below each measured value; NaN where missing.
    units : dict of str to str
        The unit of each output, for the table.
    """

    overall: Score
    by_support: tuple[tuple[str, Score], ...]
    baselines: dict[str, Score]
    pit: Floats
    units: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the score sheet as plain numbers, ready for JSON."""
        sheet = _sheet(self.overall)
        sheet["by_support"] = [{"class": name, **_sheet(score)} for name, score in self.by_support]
        sheet["baselines"] = {name: _sheet(score) for name, score in self.baselines.items()}
        return sheet

    def to_json(self) -> str:
        """Return the score sheet as one JSON object."""
        return json.dumps(self.to_dict())

    def __str__(self) -> str:
        """Return a table for people."""
        rows = [("model", self.overall), *self.baselines.items(), *self.by_support[: len(CLASSES)]]
        return "\n".join(_table(rows, self.units))


class _Stars(NamedTuple):
    """Per-star scores: log density (N,), energy (N,), and (N, K) of each of the others."""

    log_density: Floats
    energy: Floats
    residual: Floats
    crps: Floats
    pit: Floats


def evaluate(posterior: Posterior, pairs: Pairs) -> Evaluation:
    """Score the predictive of what survey B measures on held-out stars.

    Parameters
    ----------
    posterior : Posterior
    pairs : Pairs
        Stars that were not used in the fit.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If the pairs are empty or of another spec.

    Notes
    -----
    Scores are those of Gneiting & Raftery (2007, JASA 102, 359), computed with
    ``scoringrules``. The predictive includes survey B's quoted errors, because
    it is compared with measured values.
    """
    posterior.check_spec(pairs.spec)
    if len(pairs) == 0:
        raise ValueError("there are no pairs to score; check the table of held-out stars")
    stars = _score_model(posterior, pairs)
    scale, names = posterior.scaler.delta_scale, posterior.spec.output_names
    score = posterior.neighbours.score(pairs.x)
    groups = _groups(score, posterior.neighbours.classify(score))
    count = len(pairs)
    baselines = {
        "identity": posterior.baseline.identity(count),
        "linear": posterior.baseline.linear(pairs.x, posterior.scaler),
    }
    return Evaluation(
        _summarise(stars, np.ones(count, dtype=bool), scale, names),
        tuple((name, _summarise(stars, rows, scale, names)) for name, rows in groups),
        {
            name: _summarise(
                _score_baseline(posterior, pairs, p), np.ones(count, dtype=bool), scale, names
            )
            for name, p in baselines.items()
        },
        stars.pit,
        {output.name: output.unit for output in posterior.spec.outputs},
    )


def _score_model(posterior: Posterior, pairs: Pairs) -> _Stars:
    delta = posterior.scaler.delta(pairs.x, pairs.y)
    err = np.nan_to_num(pairs.y_err) / posterior.scaler.delta_scale
    log_density, pit = np.zeros(len(pairs)), np.full(delta.shape, np.nan)
    for block in posterior.blocks:
        outputs = list(block.block.outputs)
        joint = np.zeros(len(pairs))
        for rows, mixture in posterior.mixtures(block, pairs.x, pairs.x_err):
            values, errors = (jnp.asarray(a[np.ix_(rows, outputs)].T) for a in (delta, err))
            joint[rows], chunk = _compare(mixture, values, errors)
            pit[rows[:, None], outputs] = chunk.T
        log_density += joint
    draws = posterior.predict(pairs, kind="measured")
    sample = (draws - posterior.scaler.base(pairs.x)) / posterior.scaler.delta_scale
    crps = scoringrules.crps_ensemble(delta, np.moveaxis(sample, 0, -1))
    mean = posterior.predict(pairs, kind="mean").mean(axis=0)
    return _Stars(log_density, _energy(delta, sample), pairs.y - mean, np.asarray(crps), pit)


@jax.jit
def _compare(mixture: Mixture, delta: jax.Array, err: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the log predictive density (N,) and the PIT (K, N) of measured values."""

    def one(draw: Mixture) -> tuple[jax.Array, jax.Array]:
        residual = delta - draw.location
        noise = draw.error_factor[:, None] * err
        density = student.log_density(residual, draw.scale, draw.corr, noise, draw.dof)
        below = student.cumulative(residual / jnp.sqrt(draw.scale**2 + noise**2), draw.dof)
        return density, below

    density, below = jax.lax.map(one, mixture)
    log_mean = jax.scipy.special.logsumexp(density, axis=0) - jnp.log(len(density))
    return log_mean, below.mean(axis=0)


def _energy(delta: Floats, sample: Floats) -> Floats:
    """Return the energy score of each star over the outputs it has."""
    thin = sample[:: max(1, len(sample) // ENERGY_DRAWS)]
    seen = np.isfinite(delta)
    draws = np.moveaxis(np.where(seen, thin, 0.0), 0, 1)
    values = np.where(seen, delta, 0.0)
    parts = [
        scoringrules.es_ensemble(values[part], draws[part])
        for part in np.array_split(np.arange(len(delta)), max(1, len(delta) // 100))
    ]
    return np.concatenate(parts)


def _score_baseline(posterior: Posterior, pairs: Pairs, predictive: Predictive) -> _Stars:
    delta = posterior.scaler.delta(pairs.x, pairs.y)
    residual = delta - predictive.location
    dof = predictive.dof
    density = student.log_density(
        jnp.asarray(residual.T),
        jnp.asarray(predictive.scale.T),
        jnp.asarray(predictive.corr),
        jnp.zeros(residual.T.shape),
        dof,
    )
    law: Any = stats.norm if np.isinf(dof) else partial(stats.t, dof)()
    if np.isinf(dof):
        crps = scoringrules.crps_normal(delta, predictive.location, predictive.scale)
    else:
        crps = scoringrules.crps_t(delta, dof, predictive.location, predictive.scale)
    noise = np.random.default_rng(0).standard_normal((ENERGY_DRAWS, *delta.shape))
    if not np.isinf(dof):
        noise /= np.sqrt(
            np.random.default_rng(1).chisquare(dof, (ENERGY_DRAWS, len(delta), 1)) / dof
        )
    cholesky = np.linalg.cholesky(predictive.corr)
    sample = predictive.location + predictive.scale * (noise @ cholesky.T)
    return _Stars(
        np.asarray(density, dtype=np.float64),
        _energy(delta, sample),
        residual * posterior.scaler.delta_scale,
        np.asarray(crps),
        law.cdf(residual / predictive.scale),
    )


def _groups(score: Floats, classes: NDArray[np.int64]) -> list[tuple[str, NDArray[np.bool_]]]:
    groups = [(name, classes == number) for number, name in enumerate(CLASSES)]
    edges = np.nanquantile(score, np.linspace(0, 1, 11)[1:-1])
    decile = np.searchsorted(edges, score, side="right")
    return groups + [(f"decile {number + 1}", decile == number) for number in range(10)]


def _summarise(
    stars: _Stars, rows: NDArray[np.bool_], scale: Floats, names: tuple[str, ...]
) -> Score:
    if not rows.any():
        return Score(0, float("nan"), float("nan"), {})
    outputs = {}
    for k, name in enumerate(names):
        seen = rows & np.isfinite(stars.residual[:, k])
        if seen.any():
            outputs[name] = _output_score(stars, seen, k, scale[k])
    nll, energy = -stars.log_density[rows].mean(), stars.energy[rows].mean()
    return Score(int(rows.sum()), float(nll), float(energy), outputs)


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


def _sheet(score: Score) -> dict[str, Any]:
    """Return a score as plain numbers; what does not exist becomes null."""
    outputs = {name: output._asdict() for name, output in score.outputs.items()}
    numbers = {"n": score.n, "nll": score.nll, "energy_score": score.energy_score}
    plain = {k: None if np.isnan(v) else v for k, v in numbers.items()}
    return {**plain, "outputs": outputs}


def _table(rows: list[tuple[str, Score]], units: dict[str, str]) -> list[str]:
    lines = [f"{'all outputs':14s}{'stars':>7s}{'NLL':>9s}{'energy':>9s}"]
    lines += [f"{name:14s}{s.n:7d}{s.nll:9.3f}{s.energy_score:9.3f}" for name, s in rows]
    levels = "".join(f"{'in ' + str(round(100 * level)) + '%':>8s}" for level in LEVELS)
    for name in rows[0][1].outputs:
        title = f"{name} [{units[name]}]" if units[name] else name
        lines += ["", f"{title:14s}{'rmse':>9s}{'sigma':>9s}{'bias':>9s}{'CRPS':>9s}{levels}"]
        for label, score in rows:
            if name in score.outputs:
                found = score.outputs[name]
                cover = "".join(f"{100 * share:7.1f}%" for share in found.coverage.values())
                numbers = f"{found.rmse:9.4g}{found.mad_sigma:9.4g}{found.bias:+9.2g}"
                lines.append(f"{label:14s}{numbers}{found.crps:9.4g}{cover}")
    return lines
