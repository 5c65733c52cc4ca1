"""Hold a model against values that survey B measured: leave-one-out, PIT, replicates, prior."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import arviz
import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray
from scipy import stats

from .convergence import Fault

Floats = NDArray[np.float64]

#: A test of the PIT is failed below this probability, over all outputs.
PIT_LIMIT = 0.01
#: Shares of the PIT at both ends where outliers lie, which the rest is judged without.
ENDS = 0.005
#: What is added where outliers are not all that is wrong.
WITH_OUTLIERS = ", with outliers"
#: So is a check of a statistic, over all statistics of all outputs.
CHECK_LIMIT = 0.01
#: Larger a share of unreliable leave-one-out densities earns a warning.
PARETO_SHARE = 0.05
#: Fewer draws than this are too few to leave a star out by weighting them.
LEAST_DRAWS = 100

#: Quantiles of the corrections that the prior must be able to give.
REACH = (0.05, 0.5, 0.95)


class Loo(NamedTuple):
    """Leave-one-out densities of one network by Pareto-smoothed importance sampling.

    Vehtari, Gelman & Gabry (2017, Statistics and Computing 27, 1413); the same
    numbers as ``arviz.loo(diagnosis.tree, var_name=...)``.

    Attributes
    ----------
    n : int
        Training stars left out in turn.
    nll : float
        Mean negative log density of a star's outputs under the model fitted to all
        others, in nats, each output in units of its robust correction scale.
    se : float
        Its standard error over the stars.
    p : float
        Effective number of parameters.
    good_k : float
        Pareto k up to which a star's density is reliable with this many draws.
    bad : int
        Stars beyond it.
    worst_k : float
        The largest Pareto k.
    """

    n: int
    nll: float
    se: float
    p: float
    good_k: float
    bad: int
    worst_k: float

    def __str__(self) -> str:
        """Return the figures in words."""
        k = f"Pareto k below {self.good_k:.2f} for {self.n - self.bad} of {self.n} stars"
        rest = f" (largest {self.worst_k:.2f}): {self.bad} unreliable" if self.bad else ": reliable"
        figures = f"NLL {self.nll:.3f} +- {self.se:.3f} a star, {self.p:.1f} effective parameters"
        return f"{figures}; {k}{rest}"


class Pit(NamedTuple):
    """Whether the PIT of one output is uniform.

    Attributes
    ----------
    values : (n,) array
        Predictive probability below each measured value.
    p_value : float
        Of uniformity (Tesso et al. 2026, arXiv:2603.02928, which allows for the
        dependence of leave-one-out values).
    word : str
        ``calibrated``, or else in what way it is not: ``too wide``,
        ``too narrow``, ``too high``, ``too low``, ``of another shape`` or ``calibrated
        but for outliers`` (in the outermost hundredth), which are named beside the others too
        (``too wide, with outliers``).
    """

    values: Floats
    p_value: float
    word: str


class Statistic(NamedTuple):
    """A statistic of the residuals about the predicted mean, beside replicated ones.

    Attributes
    ----------
    name : str
        ``median``, ``MAD`` (times 1.4826), ``beyond 3 MAD`` (share of the stars) or
        ``skewness`` (of the 5th, 50th and 95th percentiles, from -1 to 1).
    observed : float
        In the output's unit, for the first two.
    replicated : (S,) array
        One for each posterior draw.
    p_value : float
        Bayesian p-value, two-sided: small where few replicates are as extreme. The
        same stars were fitted, so it is rather too large than too small.
    """

    name: str
    observed: float
    replicated: Floats
    p_value: float


class Reach(NamedTuple):
    """Whether the prior can give the corrections that were observed, for one output.

    Attributes
    ----------
    observed : (3,) array
        Their 5th, 50th and 95th percentiles, in the output's unit.
    low, high : (3,) array
        Central 99 % of the same percentiles in data drawn from the prior.
    """

    observed: Floats
    low: Floats
    high: Floats

    @property
    def within(self) -> bool:
        """The prior reaches as far as the corrections do, and has their median.

        It need not give corrections as alike as they are: networks learn that.
        """
        (lowest, middle, highest), low, high = self.observed, self.low, self.high
        return bool(low[0] <= lowest and low[1] <= middle <= high[1] and highest <= high[2])


def efficiency(tree: xr.DataTree) -> float:
    """Return effective draws over draws, as ``arviz.loo`` finds it for a tree, but once."""
    functions = tree["posterior"].to_dataset()
    draws = functions.sizes["chain"] * functions.sizes["draw"]
    found = functions.azstats.ess(method="mean")
    mean = np.concatenate([np.ravel(found[name]) for name in found.data_vars]).mean() / draws
    return float(mean) if np.isfinite(mean) else 1.0


def leave_one_out(tree: xr.DataTree, name: str, r_eff: float) -> tuple[Loo, Any]:
    """Leave each training star out in turn, for the densities called ``name``.

    Returns
    -------
    Loo, ELPDData
        The figures, and what ArviZ gave (with ``elpd_i``, ``pareto_k`` and ``log_weights``).
    """
    with warnings.catch_warnings():  # what it warns of is counted and said below
        warnings.simplefilter("ignore", UserWarning)
        found = arviz.loo(tree, var_name=name, pointwise=True, reff=r_eff)
    n, k = int(found.n_data_points), found.pareto_k.values
    # What is not a number is not reliable either.
    bad = int((~(k <= found.good_k)).sum())
    nll, se = -float(found.elpd) / n, float(found.se) / n
    return Loo(n, nll, se, float(found.p), float(found.good_k), bad, float(k.max())), found


def loo_pit(tree: xr.DataTree, output: str, network: str, left_out: Any, r_eff: float) -> Floats:
    """Return the leave-one-out PIT of an output's measured values.

    The weights leave the whole star out, its other outputs with this one, as
    ``arviz.loo_pit(tree)`` by itself does not: it only knows one variable at a time.
    """
    observed = tree["observed_data"][output]
    stars = {f"{network}_star": observed[f"{output}_star"]}
    weights, k = (
        values.sel(stars).drop_vars(f"{network}_star", errors="ignore")
        for values in (left_out.log_weights, left_out.pareto_k)
    )
    found, _ = tree["posterior_predictive"][output].azstats.loo_pit(
        y_obs=observed, log_weights=weights, pareto_k=k, r_eff=r_eff, pareto_pit=True
    )
    return np.asarray(found)


def judge_pit(values: Floats, tests: int) -> Pit:
    """Judge PIT values of one output, one of so many ``tests``."""
    if len(values) < 2:
        return Pit(values, float("nan"), "of too few stars")
    p_value, inner = _uniformity(values), values[np.abs(values - 0.5) < 0.5 - ENDS]
    if p_value >= PIT_LIMIT / tests:
        return Pit(values, p_value, "calibrated")
    # More at the ends than the others explain are outliers; the others are judged without them.
    ends = stats.binom.sf(len(values) - len(inner) - 1, len(values), _at_ends(values))
    inner = (inner - ENDS) / (1 - 2 * ENDS)
    outliers = len(inner) > 1 and ends < PIT_LIMIT / tests
    uniform = len(inner) > 1 and _uniformity(inner) >= PIT_LIMIT / tests
    shift, width = _moments(inner if outliers or uniform else values)
    # Few stars can be far too narrow before they fail as uniform.
    if max(abs(shift), abs(width)) < (3 if uniform else 2):
        word = "calibrated but for outliers" if outliers or uniform else "of another shape"
        return Pit(values, p_value, word)
    word = "too narrow" if width > 0 else "too wide"
    if abs(shift) > abs(width):
        # Measured values low in the predictive: it lies too high.
        word = "too high" if shift < 0 else "too low"
    return Pit(values, p_value, word + (WITH_OUTLIERS if outliers else ""))


def _moments(values: Floats) -> tuple[float, float]:
    # Mean and variance against those of uniform values, in standard errors.
    shift, width = values.mean() - 0.5, values.var() - 1 / 12
    return float(shift * np.sqrt(12 * len(values))), float(width * np.sqrt(180 * len(values)))


def _at_ends(values: Floats) -> float:
    # The share that lies there because all are shifted, or the predictive is too narrow. Two
    # standard errors are added to the width: its efficiency is 37 % (Gaussian values).
    z, end = stats.norm.ppf(np.clip(values, 1e-9, 1 - 1e-9)), stats.norm.ppf(1 - ENDS)
    width = max(float(stats.median_abs_deviation(z, scale="normal")), 1.0)
    width *= 1 + 2 / np.sqrt(2 * 0.37 * len(values))
    middle = float(np.median(z))
    return float(stats.norm.sf((end - middle) / width) + stats.norm.sf((end + middle) / width))


def _uniformity(values: Floats) -> float:
    # How far out an outlier lies is not known that well: beyond a tenth of a star it is
    # one star, not a proof.
    end = 0.1 / len(values)
    return float(array_stats.uniformity_test(np.clip(values, end, 1 - end), method="pot_c")[0])


def statistics(observed: Floats, replicated: Floats) -> tuple[Statistic, ...]:
    """Compare residuals (N,) with replicated ones (S, N), each about the same mean."""
    measures: dict[str, tuple[float, Floats]] = {}
    for values in (observed[None], replicated):
        for name, found in _measures(values).items():
            first = measures.get(name)
            measures[name] = (float(found[0]), found) if first is None else (first[0], found)
    return tuple(
        Statistic(name, seen, drawn, _two_sided(seen, drawn))
        for name, (seen, drawn) in measures.items()
    )


def _measures(values: Floats) -> dict[str, Floats]:
    median = np.median(values, axis=1)
    mad = np.asarray(stats.median_abs_deviation(values, axis=1, scale="normal"))
    low, high = np.quantile(values, [0.05, 0.95], axis=1)
    return {
        "median": median,
        "MAD": mad,
        "beyond 3 MAD": (np.abs(values - median[:, None]) > 3 * mad[:, None]).mean(axis=1),
        "skewness": (low + high - 2 * median) / (high - low),
    }


def _two_sided(observed: float, replicated: Floats) -> float:
    above, equal = (replicated > observed).mean(), (replicated == observed).mean()
    one_sided = above + 0.5 * equal
    return float(2 * min(one_sided, 1 - one_sided))


def reach(observed: Floats, drawn: Floats) -> Reach:
    """Compare observed corrections (N,) with corrections drawn from the prior (S, N)."""
    quantiles = np.quantile(drawn, REACH, axis=1)
    low, high = np.quantile(quantiles, [0.005, 0.995], axis=1)
    return Reach(np.quantile(observed, REACH), low, high)


def fit_faults(
    loo: Mapping[str, Loo],
    pit: Mapping[str, Pit],
    checks: Mapping[str, tuple[Statistic, ...]],
    prior: Mapping[str, Reach],
) -> tuple[tuple[str, Fault], ...]:
    """Return what is wrong with a fit to its own stars, with the network's or output's name."""
    faults = []
    for name, left_out in loo.items():
        if left_out.bad > PARETO_SHARE * left_out.n:
            text = (
                f"leave-one-out densities of {left_out.bad} of {left_out.n} stars are unreliable "
                f"(Pareto k above {left_out.good_k:.2f}): score held-out stars instead, and look "
                "for outliers"
            )
            faults.append((name, Fault("leave-one-out", False, text)))
    faults += [
        (name, Fault("PIT", False, pit_text(found))) for name, found in pit.items() if not ok(found)
    ]
    count = sum(len(found) for found in checks.values())
    for name, found in checks.items():
        for one in found:
            # So few replicates beyond it that the draws could not show fewer.
            if one.p_value < max(CHECK_LIMIT / count, 2 / len(one.replicated)):
                low, high = np.quantile(one.replicated, [0.025, 0.975])
                text = (
                    f"{one.name} of the residuals is {one.observed:.3g}, where the model gives "
                    f"{low:.3g} to {high:.3g} (Bayesian p {one.p_value:.3f}): it does not "
                    "describe this scatter"
                )
                faults.append((name, Fault("check", False, text)))
    for name, prior_reach in prior.items():
        if not prior_reach.within:
            text = (
                "the observed corrections lie beyond what the prior can give: look for "
                "outliers or wrong units"
            )
            faults.append((name, Fault("prior", False, text)))
    return tuple(faults)


def ok(pit: Pit) -> bool:
    """Say whether there is nothing to be said against these PIT values."""
    return pit.word in ("calibrated", "of too few stars")


def pit_text(pit: Pit, stars: str = "training stars left out in turn") -> str:
    """Return what is wrong with the PIT of these stars, and what to do."""
    remedies = {
        "calibrated but for outliers": "look at them (binaries, blunders); tails are too thin",
        "too narrow": "look for outliers and for quoted errors of B that are too small",
        "too wide": "look for quoted errors of B that are too large",
    }
    word, outliers = pit.word.removesuffix(WITH_OUTLIERS), pit.word.endswith(WITH_OUTLIERS)
    remedy = remedies.get(word, "look for a jump between subsets, or a wider network")
    if outliers:
        remedy += ", and at the outliers (binaries, blunders)"
    return (
        f"the predictive of {stars} is {pit.word} (PIT not uniform, p {pit.p_value:.1g}): {remedy}"
    )
