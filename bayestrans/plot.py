"""Pictures for papers and for judging a model: results in, a Figure out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from arviz_stats import ecdf_utils
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy import stats

from .neighbours import CLASSES
from .plot_consistency import chain, round_trip
from .plot_diagnose import loo_pit, predictive_check, trace_rank
from .plot_importance import error_budget, importance
from .plot_kiel import kiel
from .plot_maps import galactic_maps, north_south
from .plot_residuals import residuals, residuals_by_input
from .plot_star import star
from .plot_style import (
    CLASS_STYLES,
    COLOURS,
    COLUMN,
    GREY,
    STYLE,
    frame,
    label,
    panel_grid,
    symbol,
)
from .plot_support import training_coverage, width_by_support
from .scores import Evaluation

Floats = NDArray[np.float64]

__all__ = [
    "chain",
    "coverage",
    "coverage_by_support",
    "error_budget",
    "galactic_maps",
    "importance",
    "kiel",
    "label",
    "loo_pit",
    "north_south",
    "pit_ecdf",
    "predictive_check",
    "residuals",
    "residuals_by_input",
    "round_trip",
    "star",
    "symbol",
    "trace_rank",
    "training_coverage",
    "width_by_support",
]

#: Fewer stars of a class say too little to draw a line.
LEAST_STARS = 30

#: Samples of a uniform law from which the simultaneous band of `pit_ecdf` is found.
BAND_SAMPLES = 1000


def coverage(evaluation: Evaluation, names: Sequence[str]) -> Figure:
    """Show the share of stars inside central intervals against the nominal share.

    Parameters
    ----------
    evaluation : Evaluation
    names : sequence of str
        The outputs, in the order of ``evaluation.pit``.

    Returns
    -------
    Figure
        Above, coverage against nominal; below, their difference with the 95 %
        band of a perfectly calibrated model for this many stars.
    """
    figure = Figure(figsize=(COLUMN, 4.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    nominal = np.linspace(0.01, 0.99, 99)
    styles: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
    for k, name in enumerate(names):
        central = 2 * np.abs(evaluation.pit[:, k] - 0.5)
        central = central[np.isfinite(central)]
        found = (central[:, None] <= nominal).mean(axis=0)
        line: dict[str, Any] = {
            "color": COLOURS[k % 6],
            "ls": styles[k % 5],
            "lw": 1.2,
            "label": symbol(name),
        }
        upper.plot(nominal, found, **line)
        lower.plot(nominal, found - nominal, **line)
    count = int(np.isfinite(evaluation.pit).sum(axis=0).min())
    low, high = (stats.binom.ppf(p, count, nominal) / count for p in (0.025, 0.975))
    upper.fill_between(nominal, low, high, color=GREY, alpha=0.25, lw=0, label="calibrated, 95 %")
    lower.fill_between(nominal, low - nominal, high - nominal, color=GREY, alpha=0.25, lw=0)
    upper.plot([0, 1], [0, 1], color="black", lw=0.6)
    lower.axhline(0, color="black", lw=0.6)
    upper.set_ylabel("share of stars inside", fontsize=STYLE["labelsize"])
    lower.set_ylabel("inside $-$ nominal", fontsize=STYLE["labelsize"])
    lower.set_xlabel("nominal probability of the central interval", fontsize=STYLE["labelsize"])
    upper.legend(fontsize=7, frameon=False)
    upper.text(0.97, 0.03, f"{count} stars", transform=upper.transAxes, ha="right", fontsize=7)
    for axis in (upper, lower):
        frame(axis)
        axis.set_xlim(0, 1)
    upper.set_ylim(0, 1)
    return figure


def pit_ecdf(evaluation: Evaluation, names: Sequence[str]) -> Figure:
    """Show how far the ranks of the measured values are from those of a calibrated model.

    Parameters
    ----------
    evaluation : Evaluation
    names : sequence of str
        The outputs, in the order of ``evaluation.pit``.

    Returns
    -------
    Figure
        One panel per output: the share of the stars whose measured value has at
        most this predictive probability below it, minus the share that should.
        The curve of a calibrated model stays within the band everywhere with
        95 % probability (Säilynoja et al. 2022, Stat. Comput. 32, 32). Above
        zero on the left and below on the right, errors are too narrow; the other
        way round, too wide; on one side of zero throughout, predictions are
        biased: too low where the curve lies below zero.
    """
    figure, panels = panel_grid(len(names), 1.9, sharex=True)
    for k, (axis, name) in enumerate(zip(panels, names, strict=True)):
        pit = evaluation.pit[:, k]
        pit = pit[np.isfinite(pit)]
        if len(pit):
            # Where a share of so many stars can be: other places would beat against them.
            place = np.unique(np.round(np.linspace(0, 1, 201) * len(pit)))[1:-1] / len(pit)
            low, high = (edge - place for edge in _uniform_band(len(pit), place))
            axis.fill_between(place, low, high, color=GREY, alpha=0.25, lw=0)
            found = ecdf_utils.compute_ecdf(pit, place) - place
            axis.plot(place, found, color=COLOURS[0], lw=1.2)
            reach = 1.15 * np.abs([low, high, found]).max()
            axis.set_ylim(-reach, reach)
            axis.yaxis.set_major_locator(MaxNLocator(5))
        axis.axhline(0, color="black", lw=0.6)
        axis.set_xlim(0, 1)
        axis.set_title(f"{symbol(name)}: {len(pit)} stars", fontsize=8, pad=3)
        frame(axis)
    figure.supxlabel("predictive probability below the measured value (PIT)", fontsize=8)
    figure.supylabel("share of stars $-$ nominal", fontsize=8)
    return figure


@cache
def _band_probability(count: int) -> float:
    """Return the pointwise probability of a band that holds everywhere with 95 %."""
    place, rng = np.linspace(0, 1, 201)[1:-1], np.random.default_rng(0)
    found = ecdf_utils.simulate_confidence_bands(count, 1, place, 0.95, BAND_SAMPLES, rng)
    return float(found)


def _uniform_band(count: int, place: Floats) -> tuple[Floats, Floats]:
    """Return the simultaneous 95 % band of the distribution function of uniform numbers."""
    return ecdf_utils.get_pointwise_confidence_band(_band_probability(count), count, place)


def coverage_by_support(evaluation: Evaluation) -> Figure:
    """Show coverage against nominal for each class of support.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    Figure
        One panel per output for its central intervals, the last for the joint
        regions of all outputs: a line for each class with its number of stars
        and the 95 % binomial uncertainty. Classes of fewer than 30 stars are
        named, not drawn.
    """
    names = [*evaluation.units, ""] if len(evaluation.units) > 1 else [*evaluation.units]
    figure, panels = panel_grid(len(names), 2.2, sharex=True, sharey=True)
    for k, (axis, name) in enumerate(zip(panels, names, strict=True)):
        central = 2 * np.abs(evaluation.pit[:, k] - 0.5) if name else evaluation.credibility
        for group in CLASSES:
            inside = central[evaluation.support_class == group]
            _coverage_line(axis, inside[np.isfinite(inside)], group)
        axis.plot([0, 1], [0, 1], color="black", lw=0.6)
        axis.set_title(symbol(name) if name else "all outputs jointly", fontsize=8, pad=3)
        axis.legend(fontsize=6.5, frameon=False, loc="upper left", handlelength=1.6)
        axis.set_aspect("equal")
        axis.set(xlim=(0, 1), ylim=(0, 1))
        frame(axis)
    figure.supxlabel("nominal probability", fontsize=8)
    figure.supylabel("share of stars inside", fontsize=8)
    return figure


def _coverage_line(axis: Axes, inside: Floats, group: str) -> None:
    """Draw the share of stars whose probability ``inside`` is at most the nominal one."""
    style, count = CLASS_STYLES[group], len(inside)
    if count < LEAST_STARS:
        axis.plot([], [], lw=0, label=f"{group}: {count}, too few")
        return
    nominal = np.linspace(0.01, 0.99, 99)
    hits = (inside[:, None] <= nominal).sum(axis=0)
    # Jeffreys' interval: it has a width at shares of 0 and 1, too.
    low, high = (stats.beta.ppf(p, hits + 0.5, count - hits + 0.5) for p in (0.025, 0.975))
    axis.fill_between(nominal, low, high, color=style["color"], alpha=0.2, lw=0)
    axis.plot(
        nominal,
        hits / count,
        color=style["color"],
        ls=style["ls"],
        lw=1.2,
        label=f"{group}: {count} stars",
    )
