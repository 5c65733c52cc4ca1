"""Ask of one network's chains whether they can be believed, in function space.

Hidden units can be permuted without changing the function, so R-hat of weights
means nothing. Everything here is computed on what the network predicts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Above these, or below, a run earns a warning.
RHAT_LIMIT = 1.1
ESS_LIMIT = 100
ENERGY_LIMIT = 1e-4
STEP_LIMIT = 1e-5
BFMI_LIMIT = 0.3
#: Share of the predictive variance that is between chains at one probe star in ten.
MODES_LIMIT = 0.05

#: Beyond these a run is not to be used.
#: Predicted means are off by 0.9 posterior sd from this energy variance on (docs/sampling.md).
ENERGY_TOO_MUCH = 2e-3
MODES_TOO_MUCH = 0.25
DIVERGING_TOO_MUCH = 0.01

#: A chain that moves less than this share of what the others do, or of the predictive
#: spread, does not move.
FROZEN_BESIDE_OTHERS = 1e-2
FROZEN = 1e-3

#: Percentiles over the probe stars that are reported.
PERCENTILES = (50, 90)

UNKNOWN = {str(p): float("nan") for p in PERCENTILES}


class Fault(NamedTuple):
    """Something that was found wrong.

    Attributes
    ----------
    kind : str
        ``frozen``, ``step``, ``modes``, ``mixing``, ``few draws``, ``unproven``;
        of a fit to data ``leave-one-out``, ``PIT``, ``check`` or ``prior``.
    serious : bool
        The model is not to be used as it is.
    text : str
        What was found, what it means and what to do.
    """

    kind: str
    serious: bool
    text: str


class BlockDiagnosis(NamedTuple):
    """Convergence of one network.

    Each number at the probe stars is given by its 50th and 90th percentiles from
    the good side, keyed ``"50"`` and ``"90"``: one probe in ten is worse than the latter.

    Attributes
    ----------
    rhat, scatter_rhat : dict of str to float
        Rank-normalised split R-hat (Vehtari et al. 2021) of the predicted mean
        and of the predicted scatter.
    ess_bulk, ess_tail : dict of str to float
        Effective sample sizes of the mean.
    mcse_mean, mcse_sd : dict of str to float
        Monte Carlo standard errors of the mean and of its standard deviation, as
        shares of the predictive standard deviation.
    mode_spread : float
        Median over the probes of the spread between the chains' means over
        that within a chain: what multimodality is left.
    mode_share : dict of str to float
        Share of the predictive variance that is between chains: what that costs.
    frozen : tuple of int
        Chains (from 0) whose predictions do not move.
    bfmi : tuple of float
        Energy fraction of missing information of each chain (Betancourt 2016);
        empty for samplers whose energy does not vary by design.
    tuning : dict
        What the sampler recorded: step size, steps, energy variance, its end.
    faults : tuple of Fault
        Empty for a good run.
    """

    rhat: dict[str, float]
    scatter_rhat: dict[str, float]
    ess_bulk: dict[str, float]
    ess_tail: dict[str, float]
    mcse_mean: dict[str, float]
    mcse_sd: dict[str, float]
    mode_spread: float
    mode_share: dict[str, float]
    frozen: tuple[int, ...]
    bfmi: tuple[float, ...]
    tuning: dict[str, Any]
    faults: tuple[Fault, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to distrust and what to do; empty for a good run."""
        return tuple(fault.text for fault in self.faults)


def judge(
    location: Floats,
    scatter: Floats,
    predictive_sd: Floats,
    stats: dict[str, NDArray],
    tuning: dict[str, Any],
    layers: int = 1,
) -> BlockDiagnosis:
    """Judge the chains of one network.

    Parameters
    ----------
    location, scatter : (chain, draw, M) array
        Predicted means and scatter, of every output at every probe star.
    predictive_sd : (M,) array
        Spread of the predictive of B's true parameters there, in the same units.
    stats : dict of (chain, draw) arrays
        What the sampler recorded of each draw.
    tuning : dict
        What it recorded of the run.
    layers : int
        Hidden layers of the network.
    """
    n_chains, n_draws = location.shape[:2]
    if n_chains < 2 or n_draws < 4:
        text = f"{n_chains} chain(s) of {n_draws} draw(s) cannot show convergence; fit with MCLMC()"
        fault, u = Fault("unproven", False, text), UNKNOWN
        return BlockDiagnosis(u, u, u, u, u, u, float("nan"), u, (), (), tuning, (fault,))
    with np.errstate(invalid="ignore", divide="ignore"):  # a frozen chain has no spread
        frozen = _frozen(location, predictive_sd)
        found = _measure(location, scatter, predictive_sd, stats, tuning)
        moving = np.delete(np.arange(n_chains), frozen)
        judged = found
        # A frozen chain disagrees with the others, who may agree among themselves.
        if frozen and len(moving) > 1:
            judged = _measure(location[moving], scatter[moving], predictive_sd, stats, tuning)
    found, judged = (one._replace(frozen=frozen) for one in (found, judged))
    return found._replace(faults=tuple(_faults(judged, n_chains, n_draws, layers)))


def _frozen(location: Floats, predictive_sd: Floats) -> tuple[int, ...]:
    moves = location.std(axis=1)
    usual = np.median(moves, axis=0)
    beside = np.median(np.where(usual > 0, moves / usual, 1.0), axis=1)
    alone = np.median(moves / predictive_sd, axis=1)
    still = (beside < FROZEN_BESIDE_OTHERS) | ~(alone >= FROZEN)
    return tuple(int(chain) for chain in np.flatnonzero(still))


def _measure(
    location: Floats,
    scatter: Floats,
    predictive_sd: Floats,
    stats: dict[str, NDArray],
    tuning: dict[str, Any],
) -> BlockDiagnosis:
    axes: dict[str, Any] = {"chain_axis": 0, "draw_axis": 1}
    varied = np.isfinite(scatter).all(axis=(0, 1)) & (np.ptp(scatter, axis=(0, 1)) > 0)
    rhat = array_stats.rhat(location, **axes)
    wide = array_stats.rhat(scatter[..., varied], **axes) if varied.any() else np.ones(1)
    bulk = array_stats.ess(location, method="bulk", **axes)
    tail = array_stats.ess(location, method="tail", prob=0.9, **axes)
    of_mean, of_sd = (
        array_stats.mcse(location, method=kind, **axes) / predictive_sd for kind in ("mean", "sd")
    )
    between = location.mean(axis=1).std(axis=0, ddof=1)
    spread = between / location.std(axis=1, ddof=1).mean(axis=0)
    energy = stats.get("energy")
    return BlockDiagnosis(
        _percentiles(rhat),
        _percentiles(wide),
        _percentiles(bulk, fewest=True),
        _percentiles(tail, fewest=True),
        _percentiles(of_mean),
        _percentiles(of_sd),
        float(np.median(spread)),
        _percentiles((between / predictive_sd) ** 2),
        (),
        () if energy is None else tuple(float(b) for b in array_stats.bfmi(energy)),
        tuning,
        (),
    )


def _percentiles(values: Floats, *, fewest: bool = False) -> dict[str, float]:
    return {str(p): float(np.percentile(values, 100 - p if fewest else p)) for p in PERCENTILES}


def _faults(found: BlockDiagnosis, n_chains: int, n_draws: int, layers: int) -> Iterator[Fault]:
    """Yield what is wrong, causes first: what follows from a serious one is not said again."""
    causes = [*_frozen_faults(found, n_chains), *_step_faults(found, n_chains * n_draws)]
    yield from causes
    # Of the chains that are left beside frozen ones it can still be asked.
    if any(fault.serious and fault.kind == "step" for fault in causes):
        return
    if len(found.frozen) >= n_chains - 1:
        return
    yield from _mixing_faults(found, layers)


def _frozen_faults(found: BlockDiagnosis, n_chains: int) -> Iterator[Fault]:
    step, length = found.tuning.get("step_size"), found.tuning.get("length")
    if isinstance(step, float) and isinstance(length, float) and not step >= STEP_LIMIT * length:
        text = (
            f"the step size collapsed to {step:.2g}: the chains are frozen; fit with another seed"
        )
        yield Fault("frozen", True, text)
    elif len(found.frozen) == n_chains:
        text = "the chains are frozen: their predictions do not move; fit with another seed"
        yield Fault("frozen", True, text)
    elif found.frozen:
        which = ", ".join(str(chain) for chain in found.frozen)
        text = (
            f"of the {n_chains} chains (from 0) frozen: {which}; the predictions do not move "
            "there, but the draws count like the others'; fit with another seed"
        )
        yield Fault("frozen", True, text)


def _step_faults(found: BlockDiagnosis, draws: int) -> Iterator[Fault]:
    energy = found.tuning.get("energy_variance")
    if isinstance(energy, float) and not energy <= ENERGY_LIMIT:
        serious = not energy <= ENERGY_TOO_MUCH
        biased = (
            "biased" if serious else f"slightly biased, which matters from {ENERGY_TOO_MUCH} on"
        )
        text = (
            f"the energy error varies by {energy:.2g} per dimension (limit {ENERGY_LIMIT}): the "
            f"step is too long and the draws {biased}; lower energy_variance, an option of MCLMC "
            "in Python"
        )
        yield Fault("step", serious, text)
    diverging = found.tuning.get("divergences")
    if diverging:
        text = f"{diverging} transitions diverged: raise target_accept and fit again"
        yield Fault("step", diverging > DIVERGING_TOO_MUCH * draws, text)
    if found.bfmi and not min(found.bfmi) >= BFMI_LIMIT:
        text = (
            f"a chain has a BFMI of {min(found.bfmi):.2f} (limit {BFMI_LIMIT}): it hardly reaches "
            "the tails of its energy; run longer"
        )
        yield Fault("mixing", False, text)


def _mixing_faults(found: BlockDiagnosis, layers: int) -> Iterator[Fault]:
    worst = max(found.rhat["90"], found.scatter_rhat["90"])
    share = found.mode_share["90"]
    if not worst <= RHAT_LIMIT:
        of = "predictions" if worst == found.rhat["90"] else "the predicted scatter"
        stuck = found.mode_spread > 1 or share > MODES_LIMIT
        where = "they sit in different modes, " if stuck else "they have not mixed, "
        text = (
            f"R-hat of {of} is {worst:.2f} at the 90th percentile (limit {RHAT_LIMIT}): the "
            f"chains disagree; {where}which is {100 * share:.2g} % of the predictive variance at "
            f"one star in ten (limit {100 * MODES_LIMIT:.0f} %): run longer (time_budget, "
            "max_steps; --time-budget, --steps)"
            + (", or use one hidden layer (--hidden 32)" if layers > 1 else "")
        )
        yield Fault("modes" if stuck else "mixing", not share <= MODES_TOO_MUCH, text)
    fewest = min(found.ess_bulk["90"], found.ess_tail["90"])
    if not fewest >= ESS_LIMIT:
        text = (
            f"one probe in ten has fewer than {fewest:.0f} effective draws (limit "
            f"{ESS_LIMIT}): quantiles are rough; run longer"
        )
        yield Fault("few draws", False, text)
