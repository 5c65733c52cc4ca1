"""Pictures of a diagnosis: what the chains did, and how the model meets its stars."""

from __future__ import annotations

from typing import Any

import numpy as np
from arviz_stats.base import array_stats
from arviz_stats.ecdf_utils import ecdf_pit
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from .checks import Pit, Statistic
from .diagnose import Diagnosis
from .plot_style import COLOURS, GREY, PAGE, STYLE, frame, label, panel_grid, symbol
from .posterior import SEPARATOR

Floats = NDArray[np.float64]

#: Simulations that the simultaneous bands are found from, of stars and of chains.
STAR_SIMULATIONS, CHAIN_SIMULATIONS = 500, 100

#: As many stars say what a distribution function looks like; bands of more take long.
BAND_STARS = 1000

LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)))

#: What the statistics are called on axes; those in units have them added.
STATISTICS = {"beyond 3 MAD": "share beyond 3 MAD", "skewness": "skewness"}


def pictures(diagnosis: Diagnosis) -> dict[str, Figure]:
    """Return each picture that a diagnosis has enough for, by the name of its function."""
    found = {}
    if _has_ranks(diagnosis):
        found["trace_rank"] = trace_rank(diagnosis)
    if diagnosis.pit or diagnosis.held_out is not None:
        found["loo_pit"] = loo_pit(diagnosis)
    if diagnosis.checks:
        found["predictive_check"] = predictive_check(diagnosis)
    return found


def _has_ranks(diagnosis: Diagnosis) -> bool:
    sizes = diagnosis.tree["posterior"].sizes
    return bool(sizes["chain"] >= 2 and sizes["draw"] >= 4)


def trace_rank(diagnosis: Diagnosis, probe: int | None = None) -> Figure:
    """Show what the chains did at a probe star.

    Parameters
    ----------
    diagnosis : Diagnosis
    probe : int, optional
        Number of the probe star; by default, for each output, the one with the
        largest R-hat.

    Returns
    -------
    Figure
        One row per output. On the left the trace of its predicted mean by chain; on the
        right each chain's ranks among all draws (Vehtari et al. 2021), as the difference
        of their distribution function from a uniform one, with the band in which
        all chains lie throughout, in 95 of 100 cases, if they mix. For the ranks,
        chains are thinned to their effective number of draws.

    Raises
    ------
    ValueError
        If there are fewer than two chains or four draws.
    """
    functions = diagnosis.tree["posterior"]
    names = [str(n) for n in functions.data_vars if "probe" in functions[str(n)].dims]
    names = [name for name in names if SEPARATOR not in name]
    if not _has_ranks(diagnosis):
        raise ValueError("so few chains or draws have no ranks; fit with MCLMC() or NUTS()")
    figure = Figure(figsize=(PAGE, 0.7 + 1.3 * len(names)), layout="constrained")
    grid = np.atleast_2d(figure.subplots(len(names), 2, width_ratios=(1.6, 1), sharex="col"))
    for row, name in zip(grid, names, strict=True):
        values = np.asarray(functions[name])
        rhat = _rhat(values)
        shown = int(np.argmax(rhat)) if probe is None else probe
        _traces(row[0], values[..., shown])
        _ranks(row[1], values[..., shown])
        text = label(name, functions[name].attrs.get("units", ""))
        row[0].set_ylabel(text, fontsize=STYLE["labelsize"])
        row[0].set_title(f"probe {shown}: R-hat {rhat[shown]:.3f}", fontsize=7, pad=2, loc="left")
    grid[-1, 0].set_xlabel("draw", fontsize=STYLE["labelsize"])
    grid[-1, 1].set_xlabel("rank among all draws", fontsize=STYLE["labelsize"])
    handles, labels = grid[0, 0].get_legend_handles_labels()
    look: dict[str, Any] = {"ncols": min(6, len(labels)), "fontsize": 7, "frameon": False}
    for line in figure.legend(handles, labels, loc="outside upper center", **look).get_lines():
        line.set_linewidth(1.5)
    return figure


def _rhat(values: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):  # chains that do not move
        rhat = np.asarray(array_stats.rhat(values, chain_axis=0, draw_axis=1))
    return np.where(np.isfinite(rhat), rhat, np.inf)


def _style(chain: int) -> dict[str, Any]:
    return {
        "color": COLOURS[chain % len(COLOURS)],
        "ls": LINES[(chain // len(COLOURS)) % len(LINES)],
    }


def _traces(axis: Axes, values: Floats) -> None:
    for chain, draws in enumerate(values):
        axis.plot(draws, lw=0.5, alpha=0.8, label=f"chain {chain}", **_style(chain))
    axis.set_xlim(0, values.shape[1] - 1)
    frame(axis)


def _ranks(axis: Axes, values: Floats) -> None:
    """Draw each chain's distribution of ranks less the uniform one."""
    n_chains, n_draws = values.shape
    effective = array_stats.ess(values, method="bulk", chain_axis=0, draw_axis=1)
    kept = min(n_draws, max(20, int(np.nan_to_num(effective) / n_chains)))
    thin = values[:, np.arange(kept) * n_draws // kept]
    ranks = stats.rankdata(thin).reshape(thin.shape) / thin.size
    for chain, own in enumerate(ranks):
        # All chains have the same band: it is simulated once.
        simulations = CHAIN_SIMULATIONS if chain == 0 else 2
        place, found, low, high = ecdf_pit(own, 0.95, simulations, n_chains)
        if chain == 0:
            axis.fill_between(place, low - place, high - place, color=GREY, alpha=0.25, lw=0)
        axis.plot(place, found - place, lw=0.9, **_style(chain))
    axis.axhline(0, color="black", lw=0.6)
    axis.set_xlim(0, 1)
    axis.set_ylabel(r"$\Delta$ ECDF", fontsize=STYLE["labelsize"])
    frame(axis)


def loo_pit(diagnosis: Diagnosis) -> Figure:
    """Show whether the PIT of training stars left out in turn is uniform, and of held-out ones.

    Parameters
    ----------
    diagnosis : Diagnosis

    Returns
    -------
    Figure
        One panel per output: the distribution function of the PIT less the uniform
        one, with simultaneous 95 % bands (Säilynoja et al. 2022, Statistics and
        Computing 32, 32) and the p-value of uniformity. A slope down in the middle is a
        predictive that is too wide, a slope up one too narrow. The bands take
        stars as independent, which leave-one-out values are only nearly; the
        p-value does not.

    Raises
    ------
    ValueError
        If the diagnosis has no PIT.
    """
    held_out = diagnosis.held_out.pit if diagnosis.held_out is not None else {}
    names = list(diagnosis.pit or held_out)
    if not names:
        raise ValueError(
            "the diagnosis has no PIT: diagnose with held_out, or fit with MCLMC() or NUTS()"
        )
    figure, panels = panel_grid(len(names), 1.9, sharex=True)
    for axis, name in zip(panels, names, strict=True):
        lines = {"left out in turn": diagnosis.pit.get(name), "held out": held_out.get(name)}
        for place, (title, found) in enumerate(lines.items()):
            if found is not None and len(found.values) > 2:
                _pit_line(axis, found, title, place)
        axis.axhline(0, color="black", lw=0.6)
        axis.set_xlim(0, 1)
        low, high = axis.get_ylim()
        axis.set_ylim(low, high + 0.35 * (high - low))  # room for the legend
        axis.legend(fontsize=6.5, frameon=False, loc="upper left", handlelength=1.6)
        axis.set_title(symbol(name), fontsize=8, pad=3)
        frame(axis)
    figure.supxlabel("PIT", fontsize=STYLE["labelsize"])
    figure.supylabel(r"$\Delta$ ECDF", fontsize=STYLE["labelsize"])
    return figure


def _pit_line(axis: Axes, found: Pit, title: str, number: int) -> None:
    values = np.sort(found.values)
    count = len(values)
    shown = values[np.arange(min(count, BAND_STARS)) * count // min(count, BAND_STARS)]
    place, ecdf, low, high = ecdf_pit(shown, 0.95, STAR_SIMULATIONS)
    colour, line = COLOURS[number], LINES[number]
    if number == 0:
        axis.fill_between(place, low - place, high - place, color=GREY, alpha=0.25, lw=0)
    else:
        for edge in (low, high):
            axis.plot(place, edge - place, color=colour, lw=0.5, alpha=0.8)
    text = f"{count} {title}, p {found.p_value:.2g}"
    axis.plot(place, ecdf - place, color=colour, ls=line, lw=1.1, label=text)


def predictive_check(diagnosis: Diagnosis) -> Figure:
    """Show statistics of the residuals beside those of replicated data.

    Parameters
    ----------
    diagnosis : Diagnosis

    Returns
    -------
    Figure
        One row per output, one column per statistic of measured minus predicted mean:
        the distribution over posterior draws of what the model would give, what
        was observed, and the Bayesian p-value.

    Raises
    ------
    ValueError
        If the model keeps no measured values of training stars and none were given.
    """
    if not diagnosis.checks:
        raise ValueError("the diagnosis has no training stars; diagnose with train")
    checks = diagnosis.checks
    wide = len(next(iter(checks.values())))
    figure = Figure(figsize=(PAGE, 0.4 + 1.2 * len(checks)), layout="constrained")
    grid = figure.subplots(len(checks), wide, squeeze=False)
    units = {name: diagnosis.tree["observed_data"][name].attrs.get("units", "") for name in checks}
    for row, (name, found) in zip(grid, checks.items(), strict=True):
        for axis, one in zip(row, found, strict=True):
            _statistic(axis, one, name, units[name])
        row[0].set_ylabel(symbol(name), fontsize=STYLE["labelsize"])
    return figure


def _bins(values: NDArray[np.float64]) -> int | list[float]:
    """Return bins; each of as many possible values where a share takes only some."""
    taken = np.unique(values)
    if len(taken) > len(values) / 4 or len(taken) < 2:
        return 25 if len(taken) > 1 else 1
    step = np.diff(taken).min()
    step *= np.ceil(np.ptp(taken) / step / 25)
    return [float(edge) for edge in np.arange(taken[0] - step / 2, taken[-1] + step, step)]


def _statistic(axis: Axes, one: Statistic, name: str, unit: str) -> None:
    axis.hist(one.replicated, bins=_bins(one.replicated), color=GREY, alpha=0.4, lw=0)
    axis.axvline(one.observed, color=COLOURS[1], lw=1.3)
    low, high = axis.get_ylim()
    axis.set_ylim(low, 1.25 * high)
    text = f"p = {one.p_value:.2g}"
    look: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": 6.5}
    box = {"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1}
    axis.text(0.97, 0.95, text, transform=axis.transAxes, bbox=box, **look)
    bracket = label(name, unit).removeprefix(symbol(name))
    title = STATISTICS.get(one.name, f"{one.name}{bracket}")
    axis.set_xlabel(title, fontsize=7, labelpad=1)
    axis.locator_params(axis="x", nbins=4)
    axis.set_yticks([])
    frame(axis)
