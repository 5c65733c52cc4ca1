"""Judge a model: its sampling in function space, and its fit to the stars it was given."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .catalogue import Source, pairs_of
from .checks import (
    LEAST_DRAWS,
    Loo,
    Pit,
    Reach,
    Statistic,
    efficiency,
    fit_faults,
    judge_pit,
    leave_one_out,
    loo_pit,
    ok,
    pit_text,
    reach,
    statistics,
)
from .convergence import BlockDiagnosis, Fault, judge
from .files import whole
from .measured import compare, draw_scatter, half_width
from .pairs import Pairs
from .posterior import BlockDraws, Posterior, check_posterior
from .store import check_target
from .trees import (
    Groups,
    as_prior,
    function_groups,
    prior_group,
    probe_pairs,
    star_groups,
    tree,
)

Floats = NDArray[np.float64]

#: Stars of a table that are left out in turn or scored, at most: every draw is kept of each.
STARS = 500


class HeldOut(NamedTuple):
    """Stars that were not in the fit.

    Attributes
    ----------
    n : int
    nll : float
        Mean negative log density of a star's outputs, in nats, each in units of its
        robust correction scale, as `evaluate` gives it.
    se : float
        Its standard error.
    pit : dict of str to Pit
        For each output.
    """

    n: int
    nll: float
    se: float
    pit: dict[str, Pit]


class Diagnosis(NamedTuple):
    """What `diagnose` returns; printed, it is a verdict with its evidence.

    Attributes
    ----------
    blocks : dict of str to BlockDiagnosis
        Convergence of each network.
    tree : DataTree
        Everything that was looked at, ready for any function of ArviZ: ``posterior``
        (functions at the probe stars), ``sample_stats``, and at training stars
        ``posterior_predictive``, ``prior_predictive``, ``log_likelihood`` and
        ``observed_data``. ``held_out`` is such a tree of held-out stars.
    training : str
        Which training stars these are, in words; empty if there are none.
    loo : dict of str to Loo
        Leave-one-out densities of each network, and of all (``joint``); empty where
        the draws cannot give them.
    pit : dict of str to Pit
        Leave-one-out PIT of each output.
    checks : dict of str to tuple of Statistic
        Replicated residuals of each output; empty where the draws are too few.
    prior : dict of str to Reach
        Whether the prior can give the observed corrections.
    held_out : HeldOut or None
    faults : tuple of (str, Fault)
        All that is wrong, each with the name of the network or output.
    """

    blocks: dict[str, BlockDiagnosis]
    tree: xr.DataTree
    training: str
    loo: dict[str, Loo]
    pit: dict[str, Pit]
    checks: dict[str, tuple[Statistic, ...]]
    prior: dict[str, Reach]
    held_out: HeldOut | None
    faults: tuple[tuple[str, Fault], ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings, each with the name of its network or output."""
        return tuple(f"{name}: {fault.text}" for name, fault in self.faults)

    @property
    def verdict(self) -> str:
        """``good``, ``usable`` (read the warnings) or ``do not use``."""
        if any(fault.serious for _, fault in self.faults):
            return "do not use"
        return "usable" if self.faults else "good"

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the tree as a netCDF file for ``arviz.from_netcdf``, whole or not at all.

        Raises
        ------
        FileExistsError
            Unless ``overwrite``.
        """
        check_target(path, overwrite=overwrite)
        with whole(path) as partial:
            self.tree.to_netcdf(partial, engine="h5netcdf")

    def __str__(self) -> str:
        """Return the verdict, its reasons and its evidence."""
        count = len(self.faults)
        reasons = f", for {count} reason{'s' if count > 1 else ''}:" if count else ""
        lines = [f"verdict: {self.verdict}{reasons}"]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        for name, block in self.blocks.items():
            lines += ["", *_sampling_lines(name, block)]
        if self.training and (seen := _fit_lines(self)):
            lines += ["", self.training, *seen]
        if self.held_out is not None:
            nll = f"{self.held_out.nll:.3f} +- {self.held_out.se:.3f}"
            lines += ["", f"{self.held_out.n} held-out stars: NLL {nll} a star"]
            lines += [f"  {name:24s} PIT {_pit_words(p)}" for name, p in self.held_out.pit.items()]
        return "\n".join(lines)


def _sampling_lines(name: str, block: BlockDiagnosis) -> list[str]:
    def shown(values: dict[str, float], form: str) -> str:
        # Chains that stand still disagree without bound.
        return ", ".join(f"{np.inf if v > 1e6 else v:{form}} ({k} %)" for k, v in values.items())

    tuning = (
        f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in block.tuning.items()
    )
    errors = ", ".join(f"{v:.2g}" for v in (block.mcse_mean["90"], block.mcse_sd["90"]))
    share = ", ".join(f"{100 * v:.2g} % ({k} %)" for k, v in block.mode_share.items())
    rows = {
        "R-hat of predictions": shown(block.rhat, ".3f"),
        "R-hat of the scatter": shown(block.scatter_rhat, ".3f"),
        "effective draws, bulk": shown(block.ess_bulk, ".0f"),
        "effective draws, tail": shown(block.ess_tail, ".0f"),
        "error of mean, of sd": f"{errors} of the predictive sd (90 %)",
        "spread between chains": f"{block.mode_spread:.2f} of the spread within",
        "what that costs": f"{share} of the predictive variance",
        "BFMI": ", ".join(f"{v:.2f}" for v in block.bfmi),
        "sampler": ", ".join(tuning),
    }
    head = f"{name}: {'see the warnings' if block.faults else 'good'}"
    if any(fault.kind == "unproven" for fault in block.faults):  # chains or draws too few to tell
        rows = {title: text for title, text in rows.items() if "nan" not in text}
    return [head, *(f"  {title:24s} {text}" for title, text in rows.items() if text)]


def _pit_words(pit: Pit) -> str:
    p = "" if np.isnan(pit.p_value) else f" (p {pit.p_value:.2g})"
    return f"{pit.word}{p}"


def _fit_lines(found: Diagnosis) -> list[str]:
    lines = [f"  leave-one-out, {name:9s} {loo}" for name, loo in found.loo.items()]
    for name, checks in found.checks.items():
        pit = f"LOO-PIT {_pit_words(found.pit[name])}; " if name in found.pit else ""
        p = ", ".join(f"{one.name} {one.p_value:.2g}" for one in checks)
        prior = "within" if found.prior[name].within else "beyond"
        lines.append(f"  {name:24s} {pit}Bayesian p of {p}; {prior} the prior's reach")
    return lines


def diagnose(
    posterior: Posterior,
    *,
    train: Pairs | Source | None = None,
    held_out: Pairs | Source | None = None,
    stars: int = STARS,
    seed: int = 0,
) -> Diagnosis:
    """Judge the sampling of every network, and the fit to the stars.

    The sampling is judged by the predictions at the probe stars. The fit is judged at
    training stars by leaving each out in turn (by weighting the draws), by
    replicates of the residuals and by the prior's reach, all of the model as it was
    sampled, without the calibration that came after; held-out stars are compared
    with the calibrated predictive, as `evaluate` does.

    Parameters
    ----------
    posterior : Posterior
    train : Pairs, path, Table or DataFrame, optional
        The stars of the fit; by default the probe stars, which are some of them.
    held_out : Pairs, path, Table or DataFrame, optional
        Stars that were not in the fit. Leaving these out would make no sense.
    stars : int
        At most so many of each are looked at, evenly spaced.
    seed : int
        Of the replicates and of the draws from the prior.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        For pairs of another spec, pairs that are not the training stars (as far as
        the probe stars tell), or held-out stars that are.

    Notes
    -----
    R-hat and effective sample sizes are those of Vehtari et al. (2021, Bayesian
    Analysis 16, 667), the workflow is that of Gelman et al. (2020, arXiv 2011.01808).
    """
    check_posterior(posterior)
    train = None if train is None else pairs_of(train, posterior.spec)
    held_out = None if held_out is None else pairs_of(held_out, posterior.spec)
    fitted = posterior.uncalibrated
    groups, blocks = _sampling(fitted)
    faults = [(name, fault) for name, block in blocks.items() for fault in block.faults]
    given, training = _training_stars(posterior, train, stars)
    enough = given is not None and posterior.n_draws >= LEAST_DRAWS
    if given is not None:
        groups |= star_groups(fitted, *given, seed=seed)
        if enough:
            groups |= prior_group(as_prior(posterior, seed=seed), *given, seed=seed)
    apart, outside = None, None
    if held_out is not None:
        apart = _held_out_stars(posterior, held_out, stars)
        outside = star_groups(posterior, *apart, seed=seed)
    content = tree(groups, outside)
    loo, pit = _leave_out(fitted, content, blocks) if enough else ({}, {})
    checks, prior = _replicated(fitted, content, given[0]) if given and enough else ({}, {})
    scored = _score(posterior, apart[0]) if apart is not None else None
    faults += fit_faults(loo, pit, checks, prior)
    if scored is not None:
        faults += [
            (name, Fault("PIT", False, pit_text(found, "held-out stars")))
            for name, found in scored.pit.items()
            if not ok(found)
        ]
    return Diagnosis(blocks, content, training, loo, pit, checks, prior, scored, tuple(faults))


def _sampling(posterior: Posterior) -> tuple[Groups, dict[str, BlockDiagnosis]]:
    probes = posterior.probe_x, posterior.probe_x_err
    mean = posterior.predict(*probes, kind="mean")
    scatter = draw_scatter(posterior, *probes)
    wide = half_width(posterior, mean, scatter)

    def judged(block: BlockDraws) -> BlockDiagnosis:
        outputs = list(block.block.outputs)
        lead = next(iter(block.draws.values())).shape[:2]
        location, scale = (v[..., outputs].reshape(*lead, -1) for v in (mean, scatter))
        layers = len(posterior.network.hidden)
        spread = wide[:, outputs].ravel()
        return judge(location, scale, spread, block.stats, block.tuning, layers)

    blocks = {block.block.name: judged(block) for block in posterior.blocks}
    return function_groups(posterior, mean, scatter), blocks


def _training_stars(
    posterior: Posterior, train: Pairs | None, stars: int
) -> tuple[tuple[Pairs, NDArray[np.int64]] | None, str]:
    """Return stars of the fit with their numbers, and which they are in words."""
    if train is None:
        found = probe_pairs(posterior)
        return found, "" if found is None else f"{len(found[1])} training stars (the probe stars):"
    posterior.check_spec(train.spec)
    count = posterior.record.get("stars", len(train))
    probes = probe_pairs(posterior)
    if len(train) != count or (probes is not None and _shared(probes[0], train) < len(probes[0])):
        raise ValueError(
            f"these {len(train)} stars are not the {count} that the model was fitted to; give the "
            "pairs that were passed to fit, or stars that were not in the fit as held_out"
        )
    # The likelihood of the others was an integral over what they lack.
    whole = np.flatnonzero(~posterior.gaps.missing(train.x, train.x_err))
    if not len(whole):
        return None, ""
    rows = _some(whole, stars)
    left = len(train) - len(whole)
    gaps = f"; {left} with gaps in their inputs were not asked" if left else ""
    return (train.take(rows), rows), f"{len(rows)} of {len(train)} training stars{gaps}:"


def _held_out_stars(
    posterior: Posterior, held_out: Pairs, stars: int
) -> tuple[Pairs, NDArray[np.int64]]:
    posterior.check_spec(held_out.spec)
    if len(held_out) == 0:
        raise ValueError("there are no held-out stars; check their table")
    probes = probe_pairs(posterior)
    known = _shared(probes[0], held_out) if probes is not None else 0
    if known:
        raise ValueError(
            f"{known} of the held-out stars were in the fit; give stars that were not "
            "(Pairs.split), or the training stars as train"
        )
    rows = _some(np.arange(len(held_out)), stars)
    return held_out.take(rows), rows


def _some(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return rows[np.arange(min(count, len(rows))) * len(rows) // min(count, len(rows))]


def _shared(probes: Pairs, pairs: Pairs) -> int:
    """Return how many of the probe stars are among these, number for number."""
    alike: dict[bytes, list[int]] = {}
    for row, measured in enumerate(np.nan_to_num(np.hstack([pairs.y, pairs.y_err]))):
        alike.setdefault(measured.tobytes(), []).append(row)
    x, own = (np.hstack([stars.x, stars.x_err]) for stars in (pairs, probes))
    return sum(
        # A probe's gaps are filled: what a star lacks cannot tell it apart.
        bool(np.all((x[rows] == inputs) | np.isnan(x[rows]), axis=1).any())
        for measured, inputs in zip(np.hstack([probes.y, probes.y_err]), own, strict=True)
        if (rows := alike.get(np.nan_to_num(measured).tobytes()))
    )


def _leave_out(
    posterior: Posterior, content: xr.DataTree, blocks: dict[str, BlockDiagnosis]
) -> tuple[dict[str, Loo], dict[str, Pit]]:
    """Leave training stars out in turn, where the draws are of a posterior."""
    kinds = {fault.kind for block in blocks.values() for fault in block.faults}
    if kinds & {"unproven", "frozen"}:
        return {}, {}
    loo: dict[str, Loo] = {}
    pit: dict[str, Pit] = {}
    names, r_eff = posterior.spec.output_names, efficiency(content)
    for block in posterior.blocks:
        network = block.block.name
        loo[network], found = leave_one_out(content, network, r_eff)
        for k in block.block.outputs:
            values = loo_pit(content, names[k], network, found, r_eff)
            pit[names[k]] = judge_pit(values, len(names))
    return loo, pit


def _replicated(
    posterior: Posterior, content: xr.DataTree, pairs: Pairs
) -> tuple[dict[str, tuple[Statistic, ...]], dict[str, Reach]]:
    mean = posterior.predict(pairs, kind="mean").mean(axis=0)
    base = posterior.scaler.base(posterior.gaps.filled(pairs).x)
    checks, prior = {}, {}
    for k, name in enumerate(posterior.spec.output_names):
        seen = pairs.seen[:, k]
        if not seen.any():
            continue
        drawn, invented = (
            np.asarray(content[group][name]).reshape(posterior.n_draws, -1)
            for group in ("posterior_predictive", "prior_predictive")
        )
        checks[name] = statistics(pairs.y[seen, k] - mean[seen, k], drawn - mean[seen, k])
        start = base[seen, k] - posterior.scaler.delta_centre[k]
        prior[name] = reach(pairs.y[seen, k] - start, invented - start)
    return checks, prior


def _score(posterior: Posterior, pairs: Pairs) -> HeldOut:
    found = compare(posterior, pairs)
    names, n = posterior.spec.output_names, len(pairs)
    pit = {
        name: judge_pit(found.pit[pairs.seen[:, k], k], len(names))
        for k, name in enumerate(names)
        if pairs.seen[:, k].any()
    }
    error = float(found.log_density.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return HeldOut(n, float(-found.log_density.mean()), error, pit)
