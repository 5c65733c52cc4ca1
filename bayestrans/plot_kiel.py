"""The Kiel diagram of a translated catalogue, with where its stars have training stars."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .neighbours import CLASSES
from .plot_style import (
    CLASS_STYLES,
    COLUMN,
    STYLE,
    check_columns,
    class_names,
    crowded,
    frame,
    label,
    numbers,
)
from .plot_support import class_starts

Floats = NDArray[np.float64]

#: Scores of support at which the colour bar may be labelled.
SUPPORT_TICKS = (0.5, 1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000)

#: Without the pale end, which a white page swallows.
COLOURS_OF_SUPPORT = ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.93, 256)))


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
        Stars with many training stars near them are dark, in an order by chance, so that
        neither kind hides the other; the colour bar shows where `sparse` begins. Those
        ``outside`` are crosses.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    check_columns(catalogue, [teff, logg, "support", "support_class"])
    x, y, score = (numbers(catalogue, name) for name in (teff, logg, "support"))
    classes, known = class_names(catalogue), np.isfinite(x + y)
    outside = classes == CLASSES[-1]
    figure = Figure(figsize=(COLUMN, 3.6), layout="constrained")
    axis = figure.subplots()
    rows = np.random.default_rng(0).permutation(np.flatnonzero(~outside & known))
    _inside(figure, axis, x[rows], y[rows], score[rows], classes[rows])
    _outside(axis, x[outside & known], y[outside & known], len(x))
    axis.set_xlim(*np.nanpercentile(x, [99.95, 0.05]) + np.array([150, -150]))
    axis.set_ylim(*np.nanpercentile(y, [99.95, 0.05]) + np.array([0.25, -0.25]))
    axis.set_xlabel(label("teff", "K"), fontsize=STYLE["labelsize"])
    axis.set_ylabel(label("logg", ""), fontsize=STYLE["labelsize"])
    frame(axis)
    return figure


def _inside(
    figure: Figure, axis: Axes, x: Floats, y: Floats, score: Floats, classes: NDArray[np.str_]
) -> None:
    # A few odd stars must not take the colours from all the others.
    top = max(2.0, float(np.percentile(score, 99))) if len(score) else 2.0
    norm = LogNorm(SUPPORT_TICKS[0], top)
    look: dict[str, Any] = {"s": 2, "linewidths": 0, "rasterized": True}
    dots = axis.scatter(x, y, c=score, cmap=COLOURS_OF_SUPPORT, norm=norm, **look)
    bar = figure.colorbar(dots, ax=axis, extend="both", pad=0.02)
    bar.set_label("support (1: usual spacing; larger: sparser)", fontsize=STYLE["labelsize"])
    ticks = [tick for tick in SUPPORT_TICKS if tick <= top]
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.ax.tick_params(labelsize=STYLE["ticksize"])
    bar.ax.minorticks_off()
    for name, start in class_starts(score, classes).items():
        if SUPPORT_TICKS[0] < start < top:
            bar.ax.axhline(start, color="white", lw=1.2)
            bar.ax.annotate(
                name,
                (0.5, start),
                (0, 3),
                textcoords="offset points",
                rotation=90,
                ha="center",
                va="bottom",
                color="white",
                fontsize=7,
            )


def _outside(axis: Axes, x: Floats, y: Floats, total: int) -> None:
    cross: dict[str, Any] = {"marker": "x", "color": CLASS_STYLES["outside"]["color"]}
    smaller = crowded(len(x))
    look: dict[str, Any] = {"s": 6 * smaller, "linewidths": 0.5 * smaller, "alpha": 0.8}
    axis.scatter(x, y, rasterized=True, **look, **cross)
    share = f"outside: {len(x)} of {total} stars"
    axis.scatter([], [], s=12, linewidths=0.8, label=share, **cross)
    axis.legend(fontsize=7, loc="upper left", frameon=False)
