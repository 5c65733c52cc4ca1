"""Pictures of the Galaxy: maps with their uncertainty, and north against south."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from .maps import LEVELS, Asymmetry, Floats, GalacticMap
from .places import SUN
from .plot_style import COLOURS, COLUMN, PAGE, STYLE, frame, label

#: Markers of the results that are compared with the first one.
MARKERS = ("s", "^", "D")


def galactic_maps(maps: Mapping[str, GalacticMap]) -> Figure:
    """Show maps of the Galaxy in R and z, and how uncertain they are.

    Parameters
    ----------
    maps : mapping of str to GalacticMap
        What `binned_map` returned, by the name of the quantity.

    Returns
    -------
    Figure
        A row for each quantity: the median over the draws on the left, their standard
        deviation on the right. Cells with too few stars are hatched; the Sun is marked.

    Raises
    ------
    ValueError
        If there is no map, or one without any cell that has enough stars.
    """
    for name, found in maps.items():
        if not np.isfinite(found.median).any():
            raise ValueError(f"no cell of the map of {name} has enough stars; widen the cells")
    if not maps:
        raise ValueError("there is no map to draw")
    first = next(iter(maps.values()))
    wide, tall = (np.ptp(edges) for edges in (first.radius_edges, first.height_edges))
    row = float(np.clip(0.5 * (PAGE - 2.0) * tall / wide, 1.2, 3.0)) + 0.1
    figure = Figure(figsize=(PAGE, 0.45 + row * len(maps)), layout="compressed")
    axes = figure.subplots(len(maps), 2, sharex=True, sharey=True, squeeze=False)
    for (left, right), (name, found) in zip(axes, maps.items(), strict=True):
        middle = _cells(left, found, found.median, cmap="viridis")
        # A few cells of few stars must not take the colours from all the others.
        spread = _cells(right, found, found.sd, cmap="cividis", norm=LogNorm())
        _bar(middle, left, label(name, ""))
        bar = _bar(spread, right, label(name, "", r"$\sigma$ of "))
        # Within a factor of ten, 1, 2 and 5 would be too few.
        many = np.nanmax(found.sd) > 10 * np.nanmin(found.sd)
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if many else MaxNLocator(5))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        bar.minorticks_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("$z$ [kpc]", fontsize=STYLE["labelsize"])
    for axis in axes[-1]:
        axis.set_xlabel("$R$ [kpc]", fontsize=STYLE["labelsize"])
    return figure


def _cells(axis: Axes, found: GalacticMap, values: Floats, **look: Any) -> QuadMesh:
    """Draw one map; what is blank is hatched, so that it is not taken for a value."""
    axis.add_patch(_blank(axis))
    mesh = axis.pcolormesh(
        found.radius_edges, found.height_edges, np.ma.masked_invalid(values.T), **look
    )
    mesh.set_rasterized(True)
    # The astronomers' sign of the Sun.
    axis.scatter(*SUN, s=36, facecolors="none", edgecolors="white", linewidths=1.0)
    axis.scatter(*SUN, s=2, color="white", linewidths=0)
    axis.set(xlim=found.radius_edges[[0, -1]], ylim=found.height_edges[[0, -1]], aspect="equal")
    axis.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    frame(axis)
    return mesh


def _blank(axis: Axes) -> Rectangle:
    return Rectangle(
        (0, 0), 1, 1, transform=axis.transAxes, fc="white", ec="0.75", hatch="////", lw=0, zorder=0
    )


def _bar(mesh: QuadMesh, axis: Axes, text: str) -> Colorbar:
    bar = axis.figure.colorbar(mesh, ax=axis, pad=0.02)
    bar.set_label(text, fontsize=STYLE["labelsize"])
    bar.ax.tick_params(labelsize=STYLE["ticksize"])
    bar.ax.yaxis.set_major_locator(MaxNLocator(6))
    return bar


def north_south(results: Mapping[str, Asymmetry], name: str, truth: float | None = None) -> Figure:
    """Show the difference between the Galaxy's north and south against the height.

    Parameters
    ----------
    results : mapping of str to Asymmetry
        What `asymmetry` returned, by what to call it in the legend. The first gets bands,
        the others points with 68 % error bars.
    name : str
        Of the quantity.
    truth : float, optional
        Marked where it is known.

    Returns
    -------
    Figure
        Bands hold 68 and 95 % of the posterior in each bin.

    Raises
    ------
    ValueError
        If there is no result, or no bin of the first has enough stars.
    """
    if not results or not np.isfinite(next(iter(results.values())).draws).any():
        raise ValueError("no bin has enough stars on both sides; there is nothing to draw")
    figure = Figure(figsize=(COLUMN, 2.9), layout="constrained")
    axis = figure.subplots()
    axis.axhline(0, color="black", lw=0.6)
    if truth is not None:
        axis.axhline(truth, color="black", lw=1.0, ls="--", label="put in")
    for number, (called, found) in enumerate(results.items()):
        if number == 0:
            _bands(axis, found, called)
        else:
            _points(axis, found, called, number)
    axis.set_xlim(found.height_edges[0], found.height_edges[-1])
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.30 * (high - low))  # room for the legend
    axis.set_xlabel("$|z|$ [kpc]", fontsize=STYLE["labelsize"])
    axis.set_ylabel(label(name, "", "north $-$ south, "), fontsize=STYLE["labelsize"])
    axis.legend(fontsize=6.5, frameon=False, loc="upper left", ncols=2)
    frame(axis)
    return figure


def _bands(axis: Axes, found: Asymmetry, called: str) -> None:
    """Draw a step of the width of each bin, as nothing is known within one."""
    for low, high, *ends in zip(
        found.height_edges,
        found.height_edges[1:],
        *found.interval(LEVELS[1]),
        *found.interval(LEVELS[0]),
        np.median(found.draws, axis=0),
        strict=False,
    ):
        if not np.isfinite(ends[0]):
            continue
        least, most, lower, upper, middle = ends
        x = [low, high]
        axis.fill_between(x, least, most, color=COLOURS[0], alpha=0.2, lw=0)
        axis.fill_between(x, lower, upper, color=COLOURS[0], alpha=0.4, lw=0)
        axis.plot(x, [middle, middle], color=COLOURS[0], lw=1.4)
    axis.plot([], [], color=COLOURS[0], lw=1.4, label=called)
    axis.fill_between([], [], color=COLOURS[0], alpha=0.5, lw=0, label="68 and 95 %")


def _points(axis: Axes, found: Asymmetry, called: str, number: int) -> None:
    low, high = found.interval()
    middle = np.median(found.draws, axis=0)
    edges = found.height_edges
    axis.errorbar(
        edges[:-1] + (0.5 + 0.08 * (number - 1)) * np.diff(edges),
        middle,
        [middle - low, high - middle],
        color=COLOURS[number % len(COLOURS)],
        marker=MARKERS[(number - 1) % len(MARKERS)],
        ms=4,
        lw=0,
        elinewidth=1.0,
        label=called,
    )
