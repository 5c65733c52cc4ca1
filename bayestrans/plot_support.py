"""Pictures of where a catalogue lies among the training stars, and what that does to it."""

from __future__ import annotations

from typing import Any

import corner
import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from .catalogue import Source, read_inputs
from .neighbours import CLASSES, Neighbours
from .pairs import Pairs
from .plot_style import (
    CLASS_STYLES,
    COLOURS,
    GREY,
    PAGE,
    REVERSED,
    STYLE,
    check_columns,
    class_names,
    crowded,
    frame,
    label,
    numbers,
    panel_grid,
)
from .posterior import Posterior

Floats = NDArray[np.float64]
Labels = NDArray[np.str_]

#: Shares of the training stars inside the contours.
CONTOURS = (0.50, 0.90, 0.99)

#: The fills outside and between them, light enough for points on top.
FILLS = ("white", "#ebebeb", "#d9d9d9", "#c4c4c4")

#: Bins along each axis of the corner plot.
BINS = 30

#: Classes from below to above: the larger markers of `sparse` would hide the usual stars.
DRAWN = ("sparse", "dense", "outside")

#: A running median needs as many stars in a bin.
LEAST_IN_BIN = 15


def training_coverage(
    posterior: Posterior,
    stars: Source | Pairs | Floats,
    *,
    points: int = 3000,
    seed: int = 0,
    called: str = "stars of the catalogue",
) -> Figure:
    """Show the inputs of a catalogue over those of the training stars.

    Parameters
    ----------
    posterior : Posterior
    stars : path, Table, DataFrame, Pairs or (N, D) array
        Stars of survey A.
    points : int
        How many of them to draw, chosen at random.
    seed : int
        Of that choice.
    called : str
        What the stars are called in the legend.

    Returns
    -------
    Figure
        A corner plot of the inputs that span the support: contours around
        50, 90 and 99 % of the training stars in grey, the catalogue's stars
        by class of support, and the distributions of both on the diagonal.
        The legend counts all stars, drawn or not.

    Raises
    ------
    ValueError
        If no star has all of these inputs.
    """
    neighbours = posterior.neighbours
    x = _inputs(posterior, stars)
    score = neighbours.score(x)
    known = np.isfinite(score)
    if not known.any():
        raise ValueError("no star has all inputs of the model; there is nothing to draw")
    training, values = training_inputs(neighbours), x[known][:, neighbours.inputs]
    classes = np.array(CLASSES)[neighbours.classify(score[known])]
    limits = [_limits(*columns) for columns in zip(training.T, values.T, strict=True)]
    items = [posterior.spec.inputs[j] for j in neighbours.inputs]
    figure = _corner(training, limits, [label(item.name, item.unit) for item in items])
    shown = np.random.default_rng(seed).permutation(len(values))[:points]
    _draw_catalogue(figure, values, limits, classes, shown, [item.name for item in items])
    low, high = np.transpose(limits)
    notes = {
        "with an input missing, not drawn": int((~known).sum()),
        "beyond the frames": int(((values < low) | (values > high)).any(axis=1).sum()),
        "drawn as points": len(shown) if len(shown) < len(values) else 0,
    }
    _corner_legend(figure, len(training), len(x), called, classes, notes)
    return figure


def training_inputs(neighbours: Neighbours) -> Floats:
    """Return the training stars' inputs (N, D) that span the support, in their units."""
    return np.linalg.solve(neighbours.whiten.T, neighbours.points.T).T + neighbours.centre


def _inputs(posterior: Posterior, stars: Source | Pairs | Floats) -> Floats:
    if isinstance(stars, Pairs):
        posterior.check_spec(stars.spec)
        return stars.x
    if isinstance(stars, np.ndarray) and stars.dtype.names is None:
        return posterior.check_shape(stars)
    return read_inputs(stars, posterior.spec, posterior.scaler).x


def _limits(training: Floats, stars: Floats) -> tuple[float, float]:
    """Return the ends of an axis: a few stars far away must not shrink all the others."""
    low, high = np.quantile(training, [0.001, 0.999])
    first, last = np.quantile(stars, [0.002, 0.998])
    reach = high - low
    low, high = max(min(low, first), low - reach), min(max(high, last), high + reach)
    edge = 0.04 * (high - low)
    return float(low - edge), float(high + edge)


def _corner(training: Floats, limits: list[tuple[float, float]], labels: list[str]) -> Figure:
    size = min(PAGE, 1.2 + 1.4 * len(labels))
    # The legend stands where a corner plot is empty, or above a small one.
    height = size if len(labels) > 2 else size + 1.4
    figure = Figure(figsize=(size, height))
    corner.corner(
        training,
        fig=figure,
        bins=BINS,
        smooth=1.2,
        range=limits,
        levels=CONTOURS,
        labels=labels,
        label_kwargs={"fontsize": STYLE["labelsize"]},
        labelpad=0.02,
        max_n_ticks=4,
        color=GREY,
        plot_datapoints=False,
        plot_density=False,
        fill_contours=True,
        contourf_kwargs={"colors": FILLS},
        contour_kwargs={"linewidths": 0.6},
        hist_kwargs={"density": True, "histtype": "stepfilled", "alpha": 0.4, "lw": 0},
        quiet=True,
    )
    # Its margins are shares of the figure, made for larger ones.
    sides = {"left": 0.75 / size, "right": 1 - 0.1 / size}
    figure.subplots_adjust(**sides, bottom=0.7 / height, top=(size - 0.1) / height)
    return figure


def _draw_catalogue(
    figure: Figure,
    values: Floats,
    limits: list[tuple[float, float]],
    classes: Labels,
    shown: NDArray[np.int64],
    names: list[str],
) -> None:
    grid = np.array(figure.axes).reshape(len(names), len(names))
    for i, name in enumerate(names):
        _outline(grid[i, i], values[:, i], limits[i])
        for j in range(i):
            _class_points(grid[i, j], values[shown, j], values[shown, i], classes[shown])
            if name in REVERSED:
                grid[i, j].invert_yaxis()
        for axis in grid[i, : i + 1]:
            frame(axis)
        for axis in grid[i:, i]:
            if name in REVERSED:
                axis.invert_xaxis()


def _outline(axis: Axes, values: Floats, limits: tuple[float, float]) -> None:
    """Draw the catalogue's distribution over that of the training stars."""
    edges = np.linspace(*limits, BINS + 1).tolist()
    heights, _, _ = axis.hist(values, edges, density=True, histtype="step", color="black", lw=0.9)
    axis.set_ylim(0, max(axis.get_ylim()[1], 1.1 * float(np.max(heights))))


def _class_points(axis: Axes, x: Floats, y: Floats, classes: Labels) -> None:
    for name in CLASSES:
        style, rows = CLASS_STYLES[name], classes == name
        smaller = 1.0 if name == "dense" else crowded(rows.sum())
        axis.scatter(
            x[rows],
            y[rows],
            s=style["size"] * smaller,
            color=style["color"],
            marker=style["marker"],
            alpha=style["alpha"],
            linewidths=0.5 * smaller if style["marker"] == "x" else 0,
            rasterized=True,
            zorder=3 + DRAWN.index(name),
        )


def _corner_legend(
    figure: Figure, training: int, total: int, called: str, classes: Labels, notes: dict[str, int]
) -> None:
    handles: list[Any] = [
        Patch(facecolor=GREY, alpha=0.4, label=f"{training} training stars"),
        Line2D([], [], color="black", lw=0.9, label=f"{total} {called}:"),
    ]
    for name in CLASSES:
        style, count = CLASS_STYLES[name], int((classes == name).sum())
        text = f"{name}: {count} ({100 * count / total:.1f} %)"
        look = {"color": style["color"], "marker": style["marker"], "ls": "", "ms": 4}
        handles.append(Line2D([], [], label=text, **look))
    texts = [f"{name}: {count}" for name, count in notes.items() if count]
    handles += [Line2D([], [], ls="", label=text) for text in texts]
    figure.legend(handles=handles, fontsize=8, frameon=False, loc="upper right")


def width_by_support(catalogue: Table, *, points: int = 4000, seed: int = 0) -> Figure:
    """Show how wide each output's 68 % interval is where training stars are rarer.

    Parameters
    ----------
    catalogue : Table
        What `translate` returned.
    points : int
        How many stars to draw, chosen at random.
    seed : int
        Of that choice.

    Returns
    -------
    Figure
        One panel per output: half of ``p84 - p16`` against the support score,
        with the running median and 16-84 % of all stars, and the scores at
        which the classes begin.

    Raises
    ------
    ValueError
        If a column is missing, or no star has an answer.
    """
    widths = _half_widths(catalogue)
    score, classes = numbers(catalogue, "support"), class_names(catalogue)
    known = np.isfinite(score) & np.isfinite(sum(widths.values()))
    if not known.any():
        raise ValueError("no star of the catalogue has an answer; there is nothing to draw")
    starts = class_starts(score[known], classes[known])
    shown = np.random.default_rng(seed).permutation(np.flatnonzero(known))[:points]
    figure, panels = panel_grid(len(widths), 1.9, sharex=True)
    for axis, (name, width) in zip(panels, widths.items(), strict=True):
        axis.scatter(
            score[shown],
            width[shown],
            s=1.5,
            color=GREY,
            alpha=0.3,
            linewidths=0,
            rasterized=True,
        )
        _running_band(axis, score[known], width[known])
        _log_axes(axis, score[known], width[known])
        _class_lines(axis, starts)
        unit = str(catalogue[f"{name}_p16"].unit or "")
        axis.set_ylabel(label(name, unit), fontsize=STYLE["labelsize"])
    figure.supxlabel("support (1: usual spacing; larger: sparser)", fontsize=STYLE["labelsize"])
    figure.supylabel("half of the 68 % interval", fontsize=STYLE["labelsize"])
    return figure


def _half_widths(catalogue: Table) -> dict[str, Floats]:
    names = [name.removesuffix("_p16") for name in catalogue.colnames if name.endswith("_p16")]
    needed = [*(f"{name}_p84" for name in names or ["NAME"]), "support", "support_class"]
    check_columns(catalogue, needed)
    return {
        name: 0.5 * (numbers(catalogue, f"{name}_p84") - numbers(catalogue, f"{name}_p16"))
        for name in names
    }


def class_starts(score: Floats, classes: Labels) -> dict[str, float]:
    """Return the score at which each class after the first begins, as stars (N,) show it."""
    starts = {}
    for number, name in enumerate(CLASSES[1:], start=1):
        below = score[np.isin(classes, CLASSES[:number])]
        if len(below) and (classes == name).any():
            starts[name] = float(0.5 * (below.max() + score[classes == name].min()))
    return starts


def _running_band(axis: Axes, score: Floats, width: Floats) -> None:
    """Draw median and 16-84 % in bins of equal ratio, as equal numbers would hide the tail."""
    edges = np.geomspace(score.min(), score.max() * (1 + 1e-9), 25)
    place = np.searchsorted(edges, score, side="right")
    bins = [place == b for b in range(1, len(edges)) if (place == b).sum() >= LEAST_IN_BIN]
    centres = [np.median(score[rows]) for rows in bins]
    bands = np.array([np.percentile(width[rows], [16, 50, 84]) for rows in bins]).reshape(-1, 3)
    axis.fill_between(centres, bands[:, 0], bands[:, 2], color=COLOURS[0], alpha=0.3, lw=0)
    axis.plot(centres, bands[:, 1], color=COLOURS[0], lw=1.3)


def _log_axes(axis: Axes, score: Floats, width: Floats) -> None:
    axis.set(xscale="log", yscale="log")
    axis.set_xlim(*np.quantile(score, [0.001, 0.999]) * [0.9, 1.1])
    axis.set_ylim(*np.quantile(width, [0.001, 0.999]) * [0.85, 1.3])
    for side, (low, high) in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        # Within a factor of ten, 1, 2 and 5 would be too few.
        side.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 10 * low else MaxNLocator(5))
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        side.set_minor_locator(NullLocator())
    frame(axis)


def _class_lines(axis: Axes, starts: dict[str, float]) -> None:
    low, high = axis.get_xlim()
    for name, start in starts.items():
        if not low < start < high:
            continue
        axis.axvline(start, color=CLASS_STYLES[name]["color"], ls=CLASS_STYLES[name]["ls"], lw=0.9)
        # The name stands where the class is: there must be room for it at the right edge.
        axis.set_xlim(right=max(axis.get_xlim()[1], start * (high / low) ** 0.1))
        axis.annotate(
            name,
            (start, 0.97),
            (2, 0),
            ha="left",
            xycoords=axis.get_xaxis_transform(),
            textcoords="offset points",
            rotation=90,
            va="top",
            fontsize=6.5,
        )
