"""Pictures of what a translation rests on, and of where its errors come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .attribution import SAMPLE, Importance
from .plot_style import COLOURS, COLUMN, PAGE, STYLE, frame, label, symbol

Floats = NDArray[np.float64]

#: Probabilities of the thick and the thin lines.
LEVELS = (0.68, 0.95)

#: Of a value, and of its quoted error.
MARKERS = ("o", "s")

#: How each part of the error budget is called and drawn: colour and hatching.
PART_STYLES = {
    "model": ("model", COLOURS[0], ""),
    "gaps": ("missing inputs", COLOURS[3], "...."),
    "inputs": ("errors of A", COLOURS[4], "////"),
    "intrinsic": ("intrinsic scatter", "#BBBBBB", ""),
    "calibration": ("calibration", COLOURS[1], "xxxx"),
}

#: Above all panels.
LEGEND: dict[str, Any] = {"loc": "outside upper right", "ncols": 2, "fontsize": 7, "frameon": False}

#: Shares below this are drawn without their number.
LEAST_WRITTEN = 0.07


def importance(result: Importance) -> Figure:
    """Show what the correction of each output rests on.

    Parameters
    ----------
    result : Importance

    Returns
    -------
    Figure
        One row per output. Left, the share of each player in the variance of the
        correction over the stars (Shapley effects); right, the root mean square change of
        the output when an input, or the logarithm of its quoted error, moves by its
        standard deviation. Points are posterior means, lines 68 % and 95 % intervals.
    """
    outputs, inputs = result.units["outputs"], list(result.units["inputs"])
    tall = 0.5 + sum(0.42 + 0.15 * len(result.members) for _ in outputs)
    figure = Figure(figsize=(PAGE, tall), layout="constrained")
    grid = figure.subplots(len(outputs), 2, squeeze=False)
    correction = result.draws.sel(target="correction").stack(sample=SAMPLE)
    change = correction["sensitivity"] ** 0.5
    for (left, right), (output, unit) in zip(grid, outputs.items(), strict=True):
        share = 100 * correction["share"].sel(output=output).dropna("player")
        players = [str(name) for name in share["player"].values]
        _intervals(left, share.transpose("player", "sample").values, players)
        left.set_xlabel(rf"share of the variance of $\Delta${symbol(output)} [%]", fontsize=7.5)
        mine = change.sel(output=output).dropna("feature").transpose("feature", "sample")
        names = [name for name in inputs if name in mine["feature"]]
        noisy = [name for name in names if f"{name} error" in mine["feature"]]
        _intervals(right, mine.sel(feature=names).values, names, -0.14 * bool(noisy))
        if noisy:
            moved = mine.sel(feature=[f"{name} error" for name in noisy]).values
            _intervals(right, moved, noisy, 0.14, 1, [names.index(name) for name in noisy])
        for axis, rows in ((left, players), (right, names)):
            axis.set_yticks(range(len(rows)), [symbol(row) for row in rows])
            axis.set_ylim(len(rows) - 0.4, -0.6)
        name = label(output, unit).removeprefix(symbol(output))
        right.set_xlabel(f"rms change of {symbol(output)} per sd{name}", fontsize=7.5)
    if len(change["feature"]) > len(inputs):
        _legend(figure, grid[0, 1])
    return figure


def _intervals(
    axis: Axes,
    values: Floats,
    names: Sequence[str],
    shift: float = 0.0,
    style: int = 0,
    places: Sequence[int] | None = None,
) -> None:
    """Draw posterior means and intervals of values (names, draws), one below the other."""
    rows = np.array(range(len(names)) if places is None else places) + shift
    for level, width in zip(LEVELS, (2.2, 0.9), strict=True):
        low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=1)
        axis.hlines(rows, low, high, color=COLOURS[style], lw=width)
    marker = MARKERS[style]
    axis.plot(values.mean(axis=1), rows, marker, ms=4, mfc="white", color=COLOURS[style], mew=1)
    axis.axvline(0, color="black", lw=0.6)
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    frame(axis)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", color="0.9", lw=0.6)
    axis.set_axisbelow(True)


def _legend(figure: Figure, axis: Axes) -> None:
    for style, text in enumerate(("value", "quoted error")):
        options: dict[str, Any] = {
            "marker": MARKERS[style],
            "color": COLOURS[style],
            "mfc": "white",
            "ms": 4,
        }
        axis.plot([], [], lw=1.5, label=text, **options)
    # Outside: within it would lie on intervals.
    figure.legend(*axis.get_legend_handles_labels(), **LEGEND)


def error_budget(result: Importance) -> Figure:
    """Show where the variance of each output of the catalogue comes from.

    Parameters
    ----------
    result : Importance

    Returns
    -------
    Figure
        A bar for each output with the parts of its variance, averaged over the stars, and
        beside it the root mean square error. What calibration takes away is drawn to the
        left of zero.
    """
    outputs, mean = result.units["outputs"], result.mean_budget
    figure = Figure(figsize=(COLUMN, 1.0 + 0.34 * len(outputs)), layout="constrained")
    axis = figure.subplots()
    share = 100 * mean / mean.sum("part")
    ends = np.zeros(len(outputs))
    for part in mean["part"].values:
        name, colour, hatch = PART_STYLES[str(part)]
        width = share.sel(part=part).values
        if not np.any(np.abs(width) > 0.05):
            continue
        start = np.where(width < 0, 0.0, ends)
        options: dict[str, Any] = {
            "color": colour,
            "hatch": hatch,
            "edgecolor": "white",
            "linewidth": 0.5,
        }
        axis.barh(range(len(outputs)), width, left=start, height=0.62, label=name, **options)
        _write_shares(axis, start, width)
        ends = ends + np.maximum(width, 0.0)
    axis.axvline(0, color="black", lw=0.6)
    _name_bars(axis, outputs, np.sqrt(mean.sum("part").values), float(ends.max()))
    axis.set_xlabel("mean share of the variance [%]", fontsize=STYLE["labelsize"])
    figure.legend(loc="outside upper center", ncols=3, fontsize=7, frameon=False, handlelength=1.4)
    return figure


def _write_shares(axis: Axes, start: Floats, width: Floats) -> None:
    for row, (left, size) in enumerate(zip(start, width, strict=True)):
        if size > 100 * LEAST_WRITTEN:
            box = {"facecolor": "white", "alpha": 0.85, "lw": 0, "pad": 0.8}
            place: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6.5, "bbox": box}
            axis.text(left + size / 2, row, f"{size:.0f}", **place)


def _name_bars(axis: Axes, outputs: dict[str, str], sd: Floats, end: float) -> None:
    axis.set_yticks(range(len(outputs)), [symbol(name) for name in outputs])
    axis.set_ylim(len(outputs) - 0.5, -0.8)
    axis.text(1.02 * end, -0.6, "rms error", va="center", fontsize=6.5, color="0.35")
    for row, ((name, unit), value) in enumerate(zip(outputs.items(), sd, strict=True)):
        text = label(name, unit).removeprefix(symbol(name)).strip(" []")
        axis.text(1.02 * end, row, f"{value:.2g} {text}".strip(), va="center", fontsize=7)
    axis.set_xlim(min(0.0, axis.get_xlim()[0]), 1.34 * end)
    axis.set_xticks(range(0, 101, 20))
    frame(axis)
    axis.tick_params(axis="y", length=0)
