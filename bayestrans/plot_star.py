"""A picture of one star: what survey B's parameters may be, all of them together."""

from __future__ import annotations

from typing import Any

import corner
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import NDArray

from .neighbours import CLASSES
from .pairs import Pairs
from .plot_style import COLOURS, PAGE, REVERSED, STYLE, frame, label
from .posterior import CHUNK, Posterior
from .predictive import draw_noise

Floats = NDArray[np.float64]

#: Shares of the posterior inside the contours: one and two sigma of a normal law in 2-D.
CONTOURS = (0.393, 0.865)

#: The fills outside, between and inside them, light enough for marks on top.
FILLS = ("white", "#d4e6f2", "#93c4e1")

#: Draws: as many as make contours smooth.
LEAST_DRAWS = 5000
#: Axes end at so many times the distance from the median to the 16th and 84th percentile.
FAR = 4.0

#: How each value beside the posterior is marked.
MARKS: dict[str, dict[str, Any]] = {
    "survey A": {"color": COLOURS[1], "marker": "s", "ls": "--"},
    "survey B, measured": {"color": COLOURS[2], "marker": "o", "ls": "-"},
    "true": {"color": "black", "marker": "D", "ls": ":"},
}


def star(
    posterior: Posterior,
    x: Pairs | Floats,
    x_err: Floats | None = None,
    *,
    y: Floats | None = None,
    y_err: Floats | None = None,
    truth: Floats | None = None,
    seed: int = 0,
) -> Figure:
    """Show one star's joint posterior of B's true parameters.

    Parameters
    ----------
    posterior : Posterior
    x : (D,) array or Pairs
        The star's inputs in the units of the spec. `Pairs` of one star bring
        their own errors and B's measured values.
    x_err : (D,) array, optional
        Their quoted errors; needed where the training stars had them.
    y, y_err : (K,) array, optional
        What survey B measured, and its quoted errors; NaN where it has none.
    truth : (K,) array, optional
        The true values, of a simulated star.
    seed : int
        Of the draws.

    Returns
    -------
    Figure
        A corner plot (Foreman-Mackey 2016, JOSS 1, 24): contours around 39 %
        and 86 % of the posterior, one and two sigma of a normal law, and the
        distribution of each output. Marked are A's values and what else is
        given. The posterior is of B's true value: B's measured one lies about it
        with its own error besides.

    Raises
    ------
    ValueError
        For more than one star, arrays of the wrong shape, or a star without
        any input.
    """
    x, x_err, y, y_err = _one(posterior, x, x_err, y, y_err)
    sample = _sample(posterior, x, x_err, seed)
    if not np.isfinite(sample).all():
        raise ValueError("the star has no input, so that there is no posterior to draw")
    spec = posterior.spec
    base = np.append(x[0], np.nan)[list(spec.corrects)]
    marks = {"survey A": base, "survey B, measured": y}
    wide = len(spec.outputs)
    marks["true"] = np.full(wide, np.nan) if truth is None else _row(truth, wide, "truth")
    figure = _corner(sample, _limits(sample, np.array([*marks.values()])), posterior)
    grid = np.array(figure.axes).reshape(wide, wide)
    for name, values in marks.items():
        _mark(grid, values, y_err if "measured" in name else np.full(wide, np.nan), MARKS[name])
    _turn(grid, list(spec.output_names))
    _legend(figure, marks, posterior, x, x_err)
    return figure


def _one(
    posterior: Posterior,
    x: Pairs | Floats,
    x_err: Floats | None,
    y: Floats | None,
    y_err: Floats | None,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return one star's inputs and errors (1, D) and B's values and errors (K,)."""
    wide, tall = len(posterior.spec.inputs), len(posterior.spec.outputs)
    if isinstance(x, Pairs):
        posterior.check_spec(x.spec)
        if len(x) != 1:
            raise ValueError(f"{len(x)} stars given; choose one, such as pairs.take([0])")
        inputs: Floats = x.x
        errors: Floats | None = x.x_err
        y, y_err = x.y[0] if y is None else y, x.y_err[0] if y_err is None else y_err
    else:
        inputs = _row(x, wide, "x")[None]
        errors = None if x_err is None else _row(x_err, wide, "x_err")[None]
    nothing = np.full(tall, np.nan)
    return (
        *posterior.check_inputs(inputs, errors),
        nothing if y is None else _row(y, tall, "y"),
        nothing if y_err is None else _row(y_err, tall, "y_err"),
    )


def _row(values: Floats, wide: int, name: str) -> Floats:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (wide,):
        raise ValueError(f"{name} has shape {values.shape}; give the {wide} numbers of one star")
    return values


def _sample(posterior: Posterior, x: Floats, x_err: Floats, seed: int) -> Floats:
    """Return draws (S, K): all of the model's, each with several draws of the noise."""
    times = min(CHUNK, -(-LEAST_DRAWS // posterior.n_draws))
    keys = np.arange(2 * CHUNK, dtype=np.uint32).reshape(CHUNK, 2)
    delta = np.full((posterior.n_draws, times, len(posterior.spec.outputs)), np.nan)
    for block in posterior.blocks:
        outputs = list(block.block.outputs)
        # A chunk is filled up with copies of its only star, which become other draws.
        for _, copies in posterior.mixtures(block, x, x_err):
            drawn = draw_noise(copies, np.zeros((len(outputs), CHUNK)), keys, (seed, outputs[0]))
            delta[:, :, outputs] = np.swapaxes(drawn[:, :, :times], 1, 2)
    expected = posterior.gaps.expected(x, x_err)[0]
    sample = posterior.scaler.restore(expected, delta.reshape(-1, 1, delta.shape[2]))
    return np.asarray(sample[:, 0])


def _limits(sample: Floats, marks: Floats) -> list[tuple[float, float]]:
    """Return the ends of each axis: the posterior but its far tails, and the marks near it."""
    low, below, middle, above, high = np.quantile(sample, [0.005, 0.16, 0.5, 0.84, 0.995], axis=0)
    # Outliers, some per cent of the draws, would make the rest a single bin.
    low = np.maximum(low, middle - FAR * (middle - below))
    high = np.minimum(high, middle + FAR * (above - middle))
    reach = high - low
    near = np.where((marks > low - 2 * reach) & (marks < high + 2 * reach), marks, np.nan)
    low, high = np.fmin(low, np.fmin.reduce(near)), np.fmax(high, np.fmax.reduce(near))
    edge = 0.05 * (high - low)
    return [(float(a), float(b)) for a, b in zip(low - edge, high + edge, strict=True)]


def _corner(sample: Floats, limits: list[tuple[float, float]], posterior: Posterior) -> Figure:
    outputs = posterior.spec.outputs
    size = min(PAGE, 1.3 + 1.3 * len(outputs))
    # The legend stands where a corner plot is empty, or above a small one.
    height = size if len(outputs) > 2 else size + 1.1
    figure = Figure(figsize=(size, height))
    corner.corner(
        sample,
        fig=figure,
        bins=40,
        smooth=1.0,
        range=limits,
        levels=CONTOURS,
        labels=[label(o.name, o.unit) for o in outputs],
        label_kwargs={"fontsize": STYLE["labelsize"]},
        labelpad=0.02,
        max_n_ticks=4,
        color=COLOURS[0],
        plot_datapoints=False,
        plot_density=False,
        fill_contours=True,
        contourf_kwargs={"colors": FILLS},
        contour_kwargs={"linewidths": 0.8},
        hist_kwargs={"density": True, "lw": 1.0},
        quiet=True,
    )
    sides = {"left": 0.8 / size, "right": 1 - 0.1 / size}
    figure.subplots_adjust(**sides, bottom=0.75 / height, top=(size - 0.1) / height)
    return figure


def _mark(grid: NDArray, values: Floats, errors: Floats, look: dict[str, Any]) -> None:
    """Draw a value, where there is one, as a line on the diagonal and a point below."""
    known = np.isfinite(values)
    for i in np.flatnonzero(known):
        line = {"color": look["color"], "ls": look["ls"], "lw": 1.0}
        grid[i, i].axvline(values[i], **line)
        if np.isfinite(errors[i]):
            ends = values[i] - errors[i], values[i] + errors[i]
            grid[i, i].axvspan(*ends, color=look["color"], alpha=0.15, lw=0)
        for j in np.flatnonzero(known[:i]):
            grid[i, j].errorbar(
                values[j],
                values[i],
                xerr=errors[j] if np.isfinite(errors[j]) else None,
                yerr=errors[i] if np.isfinite(errors[i]) else None,
                fmt=look["marker"],
                color=look["color"],
                ms=4,
                mew=0.6,
                mec="white",
                elinewidth=1.0,
                zorder=5,
            )


def _turn(grid: NDArray, names: list[str]) -> None:
    """Let temperature and gravity run as in a Kiel diagram."""
    for i, name in enumerate(names):
        for axis in grid[i, : i + 1]:
            frame(axis)
            axis.xaxis.set_major_locator(_inner_ticks(*axis.get_xlim()))
            if axis is not grid[i, i]:
                axis.yaxis.set_major_locator(_inner_ticks(*axis.get_ylim()))
        if name in REVERSED:
            for axis in grid[i, :i]:
                axis.invert_yaxis()
            for axis in grid[i:, i]:
                axis.invert_xaxis()


def _inner_ticks(*ends: float) -> FixedLocator:
    """Return ticks away from the ends, where labels run into those of the next panel."""
    low, high = sorted(ends)
    edge = 0.1 * (high - low)
    ticks = MaxNLocator(4).tick_values(low, high)
    return FixedLocator([tick for tick in ticks if low + edge < tick < high - edge])


def _legend(
    figure: Figure, marks: dict[str, Floats], posterior: Posterior, x: Floats, x_err: Floats
) -> None:
    handles = [Line2D([], [], color=COLOURS[0], lw=2, label="posterior of B's true value")]
    for name, values in marks.items():
        if np.isfinite(values).any():
            handles.append(Line2D([], [], ms=5, lw=1, label=name, **MARKS[name]))
    score = posterior.neighbours.score(posterior.gaps.expected(x, x_err)[0])
    group = CLASSES[int(posterior.neighbours.classify(score)[0])]
    handles.append(Line2D([], [], ls="", label=f"support {score[0]:.2g} ({group})"))
    figure.legend(handles=handles, fontsize=8, frameon=False, loc="upper right")
