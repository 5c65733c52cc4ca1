"""Ask whether the sampler can be believed, in function space.

Hidden units can be permuted without changing the function, so R-hat of weights
means nothing. Everything here is computed on what the networks predict.
"""

from __future__ import annotations

from typing import NamedTuple

import arviz
import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from numpy.typing import NDArray

from .posterior import BlockDraws, Posterior

#: Above these, or below, a run earns a warning.
RHAT_LIMIT = 1.1
ESS_LIMIT = 100
ENERGY_LIMIT = 0.05
STEP_LIMIT = 1e-3

#: Percentiles over the probe stars that are reported.
PERCENTILES = (50, 90)


class BlockDiagnosis(NamedTuple):
    """Convergence of one network.

    Attributes
    ----------
    rhat : dict of str to float
        Rank-normalised split R-hat (Vehtari et al. 2021) of the prediction at
        the probe stars: its 50th and 90th percentiles, keyed ``"50"``, ``"90"``.
    ess_bulk, ess_tail : dict of str to float
        Effective sample sizes at the probe stars: 50th and 10th percentiles.
    mode_spread : float
        Median over the probes of the spread between the chains' means over
        that within a chain: what multimodality is left.
    tuning : dict
        What the sampler recorded: step size, steps, energy variance, its end.
    warnings : tuple of str
        What to distrust and what to do; empty for a good run.
    """

    rhat: dict[str, float]
    ess_bulk: dict[str, float]
    ess_tail: dict[str, float]
    mode_spread: float
    tuning: dict[str, object]
    warnings: tuple[str, ...]


class Diagnosis(NamedTuple):
    """What `diagnose` returns.

    Attributes
    ----------
    blocks : dict of str to BlockDiagnosis
        One for each network.
    tree : DataTree
        Predictions at the probe stars (``posterior``) and ``sample_stats``,
        ready for any function of ArviZ.
    """

    blocks: dict[str, BlockDiagnosis]
    tree: xr.DataTree

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings, each with the name of its network."""
        return tuple(f"{name}: {w}" for name, block in self.blocks.items() for w in block.warnings)

    def __str__(self) -> str:
        """Return a verdict with its evidence."""
        lines = []
        for name, block in self.blocks.items():
            rhat = ", ".join(f"{v:.3f} ({k} %)" for k, v in block.rhat.items())
            ess = ", ".join(f"{v:.0f} ({k} %)" for k, v in block.ess_bulk.items())
            lines += [
                f"{name}: {'good' if not block.warnings else 'see the warnings'}",
                f"  R-hat of predictions     {rhat}",
                f"  effective draws, bulk    {ess}",
                f"  spread between chains    {block.mode_spread:.2f} of the spread within",
                "  sampler                  "
                + ", ".join(
                    f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}"
                    for k, v in block.tuning.items()
                ),
                *(f"  warning: {warning}" for warning in block.warnings),
            ]
        return "\n".join(lines)


def diagnose(posterior: Posterior) -> Diagnosis:
    """Judge the sampling of every network by its predictions at probe stars.

    Parameters
    ----------
    posterior : Posterior

    Returns
    -------
    Diagnosis
    """
    mean = posterior.predict(posterior.probe_x, posterior.probe_x_err, kind="mean")
    groups: dict[str, dict[str, NDArray]] = {"posterior": {}, "sample_stats": {}}
    blocks = {}
    for block in posterior.blocks:
        lead = next(iter(block.draws.values())).shape[:2]
        values = mean[:, :, list(block.block.outputs)].reshape(*lead, len(posterior.probe_x), -1)
        for k, output in enumerate(block.block.outputs):
            groups["posterior"][posterior.spec.output_names[output]] = values[..., k]
        for site in ("log_scatter", "error_factor", "dof_above_2"):
            if site in block.draws:
                groups["posterior"][f"{block.block.name}.{site}"] = block.draws[site]
        for name, stat in block.stats.items():
            groups["sample_stats"][f"{block.block.name}.{name}"] = stat
        blocks[block.block.name] = _diagnose_block(block, values)
    dims = {name: ["probe"] for name in posterior.spec.output_names}
    return Diagnosis(blocks, arviz.from_dict(groups, dims=dims))


def _diagnose_block(block: BlockDraws, values: NDArray) -> BlockDiagnosis:
    flat = values.reshape(*values.shape[:2], -1)
    n_chains, n_draws = flat.shape[:2]
    nothing = {"50": float("nan"), "90": float("nan")}
    if n_chains < 2 or n_draws < 4:
        warning = (
            f"{n_chains} chain(s) of {n_draws} draw(s) cannot show convergence; fit with MCLMC()",
        )
        return BlockDiagnosis(nothing, nothing, nothing, float("nan"), block.tuning, warning)
    axes = {"chain_axis": 0, "draw_axis": 1}
    with np.errstate(invalid="ignore", divide="ignore"):  # a frozen chain has no spread
        rhat = array_stats.rhat(flat, **axes)
        bulk = array_stats.ess(flat, method="bulk", **axes)
        tail = array_stats.ess(flat, method="tail", prob=0.9, **axes)
        within = flat.std(axis=1, ddof=1).mean(axis=0)
        spread = flat.mean(axis=1).std(axis=0, ddof=1) / within
    result = BlockDiagnosis(
        {str(p): float(np.percentile(rhat, p)) for p in PERCENTILES},
        {str(p): float(np.percentile(bulk, 100 - p)) for p in PERCENTILES},
        {str(p): float(np.percentile(tail, 100 - p)) for p in PERCENTILES},
        float(np.median(spread)),
        block.tuning,
        (),
    )
    return result._replace(warnings=tuple(_warnings(result)))


def _warnings(found: BlockDiagnosis) -> list[str]:
    warnings = []
    if not found.rhat["90"] <= RHAT_LIMIT:
        warnings.append(
            f"R-hat of predictions is {found.rhat['90']:.2f} at the 90th percentile "
            f"(limit {RHAT_LIMIT}): the chains disagree; run longer (max_steps, time_budget), "
            "or use one hidden layer"
        )
    if not found.ess_bulk["90"] >= ESS_LIMIT:
        warnings.append(
            f"one probe in ten has fewer than {found.ess_bulk['90']:.0f} effective draws (limit "
            f"{ESS_LIMIT}): quantiles are rough; run longer"
        )
    energy = found.tuning.get("energy_variance")
    if isinstance(energy, float) and not energy <= ENERGY_LIMIT:
        warnings.append(
            f"the energy error varies by {energy:.2g} per dimension (limit {ENERGY_LIMIT}): the "
            "step is too long and the draws biased; lower energy_variance"
        )
    if found.tuning.get("divergences"):
        warnings.append(
            f"{found.tuning['divergences']} transitions diverged: raise target_accept and fit again"
        )
    step, length = found.tuning.get("step_size"), found.tuning.get("length")
    if isinstance(step, float) and isinstance(length, float) and not step >= STEP_LIMIT * length:
        warnings.append(
            f"the step size collapsed to {step:.2g}: the chains are frozen; fit with another seed"
        )
    return warnings
