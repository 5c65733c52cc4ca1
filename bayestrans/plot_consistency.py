"""Pictures of round trips and chains: whether several translations agree."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy import stats

from .neighbours import CLASSES
from .plot_style import CLASS_STYLES, GREY, PAGE, REVERSED, STYLE, frame, label
from .ways import Consistency

Floats = NDArray[np.float64]

#: Fewer stars of a class say too little to draw a line.
LEAST_STARS = 30
#: Points shown, and stars in each bin of a line of medians.
MOST_POINTS, BIN = 4000, 40
#: Normal scores shown.
REACH = 4.0


def round_trip(found: Consistency) -> Figure:
    """Show what is left between survey A and its translation to B and back.

    Parameters
    ----------
    found : Consistency
        What `bayestrans.round_trip` returned.

    Returns
    -------
    Figure
        One row per quantity. Left: the draw at the end of the way minus what A measured,
        against their mean (dots: one draw of each
        star), with the central 68 % and 95 % of all draws and the running median
        of each class of support. Where both models are right the median of all stars lies at
        zero everywhere (against A's values alone it would tilt: noise does not come back).
        Right: the scores of A's values within the law at the end, with a standard normal law.
    """
    return _draw(found, "mean of both", "there and back $-$ A")


def chain(found: Consistency) -> Figure:
    """Show what is left between a chain of two translations and the direct one.

    Parameters
    ----------
    found : Consistency
        What `bayestrans.chain` returned.

    Returns
    -------
    Figure
        One row per quantity. Left: draws of the chain minus draws of the direct translation,
        against the mean of the direct one, with the central 68 % and 95 % of all draws and the
        running median of each class of support. A chain that knows less tilts towards its
        population. Right: the differences over the joint uncertainty, with a standard normal
        law.
    """
    return _draw(found, "direct", "chain $-$ direct")


def _draw(found: Consistency, where: str, what: str) -> Figure:
    count = len(found.names)
    figure = Figure(figsize=(PAGE, 0.55 + 1.55 * count), layout="constrained")
    grid = figure.subplots(count, 2, squeeze=False, width_ratios=(2.2, 1))
    for k, (name, unit) in enumerate(zip(found.names, found.units, strict=True)):
        left, right = grid[k]
        _differences(left, found, k)
        left.set_xlabel(label(name, unit) + f" ({where})", fontsize=STYLE["labelsize"])
        left.set_ylabel(label(name, unit, r"$\Delta$"), fontsize=STYLE["labelsize"])
        _scores(right, found, k)
        for axis in (left, right):
            frame(axis)
    grid[-1, 1].set_xlabel("difference / joint uncertainty", fontsize=STYLE["labelsize"])
    grid[0, 0].set_title(what, fontsize=STYLE["labelsize"])
    grid[0, 1].set_title("in units of the uncertainty", fontsize=STYLE["labelsize"])
    handles, names = grid[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, names, loc="outside lower left", ncols=len(names), fontsize=7, frameon=False
        )
    return figure


def _differences(axis: Axes, found: Consistency, k: int) -> None:
    """Draw one quantity's differences with bands of all stars and medians of each class."""
    place, away = found.place[:, :, k], found.difference[:, :, k]
    known = np.isfinite(place) & np.isfinite(away)
    _legend_of(axis, found, k)
    if not known.any():
        axis.text(0.5, 0.5, "no values", transform=axis.transAxes, ha="center", fontsize=7)
        return
    _points(axis, place[0], away[0])
    centres, bands = _running(place[known], away[known], int(known.any(axis=0).sum()))
    for low, high, alpha in ((0, 4, 0.15), (1, 3, 0.3)):
        axis.fill_between(centres, bands[low], bands[high], color=GREY, alpha=alpha, lw=0)
    axis.axhline(0, color="black", lw=0.6)
    for group in CLASSES:
        stars = found.classes == group
        seen = known & stars
        if seen.any(axis=0).sum() >= LEAST_STARS:
            style = CLASS_STYLES[group]
            at, lines = _running(place[seen], away[seen], int(seen.any(axis=0).sum()))
            axis.plot(at, lines[2], color=style["color"], ls=style["ls"], lw=1.4)
    spread = stats.median_abs_deviation(away[known], scale="normal")
    middle = float(np.median(away[known]))
    axis.set_ylim(middle - 4.5 * spread, middle + 4.5 * spread)
    low, high = np.percentile(place[known], [0.2, 99.8])
    axis.set_xlim(*((high, low) if found.names[k] in REVERSED else (low, high)))
    axis.yaxis.set_major_locator(MaxNLocator(5))
    text = rf"median {middle:+.2g}, $\sigma_\mathrm{{MAD}}$ {spread:.3g}"
    _write(axis, 0.02, "left", text)


def _legend_of(axis: Axes, found: Consistency, k: int) -> None:
    """Name each class of support with its number of stars in the legend."""
    known = np.isfinite(found.difference[:, :, k]).any(axis=0)
    for group in CLASSES:
        count = int((known & (found.classes == group)).sum())
        style = CLASS_STYLES[group]
        if count >= LEAST_STARS:
            line = {"color": style["color"], "ls": style["ls"], "lw": 1.4}
            axis.plot([], [], label=f"median of {count} {group} stars", **line)
    axis.fill_between([], [], [], color=GREY, alpha=0.4, lw=0, label="68 % and 95 % of all")


def _points(axis: Axes, place: Floats, away: Floats) -> None:
    """Draw one draw of each star, or of some of them."""
    step = max(1, len(place) // MOST_POINTS)
    axis.scatter(
        place[::step],
        away[::step],
        s=2,
        color=GREY,
        alpha=0.25,
        linewidths=0,
        rasterized=True,
    )


def _running(place: Floats, values: Floats, stars: int) -> tuple[Floats, Floats]:
    """Return quantiles of the values in bins of equally many draws along ``place``."""
    order = np.argsort(place)
    bins = np.array_split(order, max(1, min(15, stars // BIN)))
    centres = np.array([np.median(place[rows]) for rows in bins])
    levels = [2.5, 16, 50, 84, 97.5]
    return centres, np.array([np.percentile(values[rows], levels) for rows in bins]).T


def _scores(axis: Axes, found: Consistency, k: int) -> None:
    """Draw the distribution of one quantity's scores by class, beside a standard normal law."""
    edges = np.linspace(-REACH, REACH, 33).tolist()
    axis.plot(at := np.linspace(-REACH, REACH, 201), stats.norm.pdf(at), color="black", lw=0.8)
    z = found.z[:, :, k]
    for group in CLASSES:
        chosen = z[:, found.classes == group]
        if np.isfinite(chosen).any(axis=0).sum() >= LEAST_STARS:
            style = CLASS_STYLES[group]
            inside = np.clip(chosen[np.isfinite(chosen)], -REACH, REACH)
            axis.hist(
                inside,
                edges,
                density=True,
                histtype="step",
                color=style["color"],
                ls=style["ls"],
                lw=1.2,
            )
    known = z[np.isfinite(z)]
    if len(known):
        shares = [np.mean(2.0 * stats.norm.cdf(np.abs(known)) - 1.0 <= p) for p in (0.68, 0.95)]
        text = f"in 68 %: {100 * shares[0]:.0f} %\nin 95 %: {100 * shares[1]:.0f} %"
        _write(axis, 0.03, "left", text)
    axis.set_xlim(-REACH, REACH)
    axis.set_ylim(0, 0.58)
    axis.set_yticks([])


def _write(axis: Axes, x: float, align: str, text: str) -> None:
    axis.text(
        x,
        0.95,
        text,
        transform=axis.transAxes,
        va="top",
        ha=align,
        fontsize=6.5,
        bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1},
    )
