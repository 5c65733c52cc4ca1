"""Pictures for papers and for judging a model: results in, a Figure out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from .evaluate import Evaluation
from .neighbours import CLASSES
from .pairs import Pairs
from .plot_diagnose import loo_pit, predictive_check, trace_rank
from .plot_style import (
    CLASS_STYLES,
    COLOURS,
    COLUMN,
    GREY,
    PAGE,
    STYLE,
    check_columns,
    class_names,
    crowded,
    frame,
    label,
    numbers,
    panel_grid,
    symbol,
)
from .plot_support import training_coverage, width_by_support
from .posterior import Posterior
from .spec import Output

Floats = NDArray[np.float64]

__all__ = [
    "coverage",
    "coverage_by_support",
    "kiel",
    "label",
    "loo_pit",
    "predictive_check",
    "residuals",
    "symbol",
    "trace_rank",
    "training_coverage",
    "width_by_support",
]

#: Fewer stars of a class say too little to draw a line.
LEAST_STARS = 30


def residuals(posterior: Posterior, pairs: Pairs) -> Figure:
    """Show held-out differences between the surveys before and after translation.

    Parameters
    ----------
    posterior : Posterior
    pairs : Pairs
        Stars that were not used in the fit.

    Returns
    -------
    Figure
        One row per output, measured B minus A on the left and minus the
        translation on the right, against the prediction (against the measured
        value even perfect residuals tilt), with the running median and the
        central 68 % and 95 % of the stars.
    """
    mean = posterior.predict(pairs, kind="mean").mean(axis=0)
    outputs = posterior.spec.outputs
    figure = Figure(figsize=(PAGE, 0.6 + 1.35 * len(outputs)), layout="constrained")
    grid = np.atleast_2d(figure.subplots(len(outputs), 2, sharey="row", sharex="row"))
    for k, output in enumerate(outputs):
        column = posterior.spec.corrects[k]
        after = pairs.y[:, k] - mean[:, k]
        before = pairs.y[:, k] - pairs.x[:, column] if column >= 0 else None
        _residual_row(grid[k], output, mean[:, k], before, after)
    grid[0, 0].set_title("before: B $-$ A", fontsize=STYLE["labelsize"])
    grid[0, 1].set_title("after: B $-$ translated A", fontsize=STYLE["labelsize"])
    return figure


def _residual_row(
    axes: Sequence[Axes], output: Output, place: Floats, before: Floats | None, after: Floats
) -> None:
    shown = after if before is None else np.concatenate([before, after])
    # Binaries would flatten everything else: they are off the page, and counted on it.
    shown = shown[np.isfinite(shown)] if np.isfinite(shown).any() else np.array([-1.0, 1.0])
    middle = float(np.median(shown))
    reach = 5.0 * float(stats.median_abs_deviation(shown, scale="normal"))
    limits = (middle - reach, middle + reach)
    for axis, values in zip(axes, (before, after), strict=True):
        if values is None or not np.isfinite(values).any():
            text = "no value in A" if values is None else "no values"
            axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", fontsize=7)
        else:
            _scatter_with_bands(axis, place, values, limits)
        axis.axhline(0, color="black", lw=0.6)
        axis.set_ylim(*limits)
        axis.set_xlim(*np.nanpercentile(place, [0.2, 99.8]))
        axis.set_xlabel(label(output.name, output.unit, "predicted "), fontsize=STYLE["labelsize"])
        frame(axis)
        if output.name == "teff":
            axis.set_xlim(*axis.get_xlim()[::-1])
    axes[0].set_ylabel(label(output.name, output.unit, r"$\Delta$"), fontsize=STYLE["labelsize"])


def _scatter_with_bands(
    axis: Axes, place: Floats, values: Floats, limits: tuple[float, float]
) -> None:
    seen = np.isfinite(values) & np.isfinite(place)
    place, values = place[seen], values[seen]
    axis.scatter(place, values, s=2, color=GREY, alpha=0.35, linewidths=0, rasterized=True)
    centres, bands = _running(place, values)
    axis.fill_between(centres, bands[0], bands[4], color=COLOURS[0], alpha=0.15, lw=0)
    axis.fill_between(centres, bands[1], bands[3], color=COLOURS[0], alpha=0.3, lw=0)
    axis.plot(centres, bands[2], color=COLOURS[0], lw=1.3)
    spread = stats.median_abs_deviation(values, scale="normal")
    hidden = int(((values < limits[0]) | (values > limits[1])).sum())
    text = rf"median {np.median(values):+.2g}, $\sigma_\mathrm{{MAD}}$ {spread:.2g}"
    text += f" ({hidden} beyond the frame)" if hidden else ""
    axis.text(
        0.02,
        0.95,
        text,
        transform=axis.transAxes,
        va="top",
        fontsize=6.5,
        bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1},
    )


def _running(place: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return quantiles of the values in bins of equally many stars along ``place``."""
    order = np.argsort(place)
    bins = np.array_split(order, min(len(order), max(3, min(15, len(order) // 30))))
    centres = np.array([np.median(place[rows]) for rows in bins])
    levels = [2.5, 16, 50, 84, 97.5]
    return centres, np.array([np.percentile(values[rows], levels) for rows in bins]).T


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


def kiel(catalogue: Table, teff: str = "teff_mean", logg: str = "logg_mean") -> Figure:
    """Show a translated catalogue in the Kiel diagram, coloured by support.

    Parameters
    ----------
    catalogue : Table
        What `translate` returned.
    teff, logg : str
        Its columns of effective temperature and surface gravity.

    Returns
    -------
    Figure
        Stars with many training stars near them are dark; those ``outside``
        are crosses.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    check_columns(catalogue, [teff, logg, "support", "support_class"])
    x, y, score = (numbers(catalogue, name) for name in (teff, logg, "support"))
    outside = class_names(catalogue) == CLASSES[-1]
    figure = Figure(figsize=(COLUMN, 3.6), layout="constrained")
    axis = figure.subplots()
    rows = np.flatnonzero(~outside & np.isfinite(x + y))
    rows = rows[np.argsort(score[rows])]
    dots = axis.scatter(
        x[rows],
        y[rows],
        c=score[rows],
        s=2,
        cmap="viridis",
        norm=LogNorm(0.5, 2.5),
        linewidths=0,
        rasterized=True,
    )
    known = outside & np.isfinite(x + y)
    cross = {"marker": "x", "color": CLASS_STYLES["outside"]["color"]}
    smaller = crowded(known.sum())
    axis.scatter(
        x[known],
        y[known],
        s=6 * smaller,
        linewidths=0.5 * smaller,
        alpha=0.8,
        rasterized=True,
        **cross,
    )
    bar = figure.colorbar(dots, ax=axis, extend="both", pad=0.02)
    bar.set_label("support (1: usual spacing; larger: sparser)", fontsize=STYLE["labelsize"])
    bar.set_ticks([0.5, 1, 2], labels=["0.5", "1", "2"])
    bar.ax.tick_params(labelsize=STYLE["ticksize"])
    bar.ax.minorticks_off()
    share = f"outside: {known.sum()} of {len(x)} stars"
    axis.scatter([], [], s=12, linewidths=0.8, label=share, **cross)
    axis.legend(fontsize=7, loc="upper left", frameon=False)
    axis.set_xlim(*np.nanpercentile(x, [99.95, 0.05]) + np.array([150, -150]))
    axis.set_ylim(*np.nanpercentile(y, [99.95, 0.05]) + np.array([0.25, -0.25]))
    axis.set_xlabel(label("teff", "K"), fontsize=STYLE["labelsize"])
    axis.set_ylabel(label("logg", ""), fontsize=STYLE["labelsize"])
    frame(axis)
    return figure
