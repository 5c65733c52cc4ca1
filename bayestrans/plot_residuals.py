"""Pictures of what is left between the surveys, before and after translation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy import stats

from .pairs import Pairs
from .plot_style import (
    COLOURS,
    GREY,
    PAGE,
    REVERSED,
    STYLE,
    decimals,
    frame,
    label,
    signed,
)
from .posterior import Posterior
from .spec import Output

Floats = NDArray[np.float64]

#: Panels in a row of `residuals_by_input`: more would be too narrow for their labels.
MOST_PANELS = 5


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
    mean, before, after = differences(posterior, pairs)
    outputs = posterior.spec.outputs
    figure = Figure(figsize=(PAGE, 0.6 + 1.35 * len(outputs)), layout="constrained")
    grid = np.atleast_2d(figure.subplots(len(outputs), 2, sharey="row", sharex="row"))
    for k, output in enumerate(outputs):
        known = before[:, k] if posterior.spec.corrects[k] >= 0 else None
        _residual_row(grid[k], output, mean[:, k], known, after[:, k])
    grid[0, 0].set_title("before: B $-$ A", fontsize=STYLE["labelsize"])
    grid[0, 1].set_title("after: B $-$ translated A", fontsize=STYLE["labelsize"])
    return figure


def residuals_by_input(posterior: Posterior, pairs: Pairs, output: str) -> Figure:
    """Show one output's held-out differences against each input that its network sees.

    Parameters
    ----------
    posterior : Posterior
    pairs : Pairs
        Stars that were not used in the fit.
    output : str
        Its name in the spec.

    Returns
    -------
    Figure
        One column per input, measured B minus A above and minus the
        translation below, with the running median and the central 68 % and
        95 % of the stars. Below, the medians of a good model lie at zero. They
        would not against B's value, measured or true: what was measured high is
        high partly by chance, so that there even perfect residuals tilt.

    Raises
    ------
    ValueError
        For a name that is no output.
    """
    names = posterior.spec.output_names
    if output not in names:
        raise ValueError(f"no output {output!r}; the model has {', '.join(names)}")
    return draw_by_input(posterior, pairs, differences(posterior, pairs), names.index(output))


def draw_by_input(
    posterior: Posterior, pairs: Pairs, found: tuple[Floats, Floats, Floats], k: int
) -> Figure:
    """Draw `residuals_by_input` of output ``k`` from what `differences` returned."""
    before, after = found[1:]
    output = posterior.spec.outputs[k]
    shown = next(b.block.inputs for b in posterior.blocks if k in b.block.outputs)
    figure, grid = _input_grid(len(shown), posterior.spec.corrects[k] >= 0)
    limits = _frame_of(before[:, k], after[:, k])
    for axes, j in zip(grid, shown, strict=True):
        item = posterior.spec.inputs[j]
        for axis, values in zip(axes, (before[:, k], after[:, k])[-len(axes) :], strict=True):
            _draw(axis, pairs.x[:, j], values, limits, "no values")
            _aim(axis, pairs.x[:, j], item.name)
            axis.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
            frame(axis)
        axes[-1].set_xlabel(label(item.name, item.unit), fontsize=STYLE["labelsize"])
    figure.supylabel(label(output.name, output.unit, r"$\Delta$"), fontsize=STYLE["labelsize"])
    return figure


def differences(posterior: Posterior, pairs: Pairs) -> tuple[Floats, Floats, Floats]:
    """Return predicted means and the residuals before and after translation, each (N, K)."""
    mean = posterior.predict(pairs, kind="mean").mean(axis=0)
    corrects = np.array(posterior.spec.corrects)
    base = np.where(corrects >= 0, pairs.x[:, corrects], np.nan)
    return mean, pairs.y - base, pairs.y - mean


def _input_grid(count: int, corrects: bool) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure and, for each input, its axes from above to below."""
    rows = -(-count // MOST_PANELS)
    wide, tall = -(-count // rows), 2 if corrects else 1
    figure = Figure(figsize=(PAGE, 0.4 + (0.3 + 1.15 * tall) * rows), layout="constrained")
    axes = figure.subplots(rows * tall, wide, squeeze=False, sharey=True)
    names = ("B $-$ A", "B $-$ translated A")[-tall:]
    grid = []
    for place in range(rows * wide):
        row, column = divmod(place, wide)
        panels = list(axes[row * tall : (row + 1) * tall, column])
        if place >= count:
            for axis in panels:
                axis.remove()
            continue
        if column == 0:
            for axis, name in zip(panels, names, strict=True):
                axis.set_ylabel(name, fontsize=7)
        for axis in panels[:-1]:
            axis.tick_params(labelbottom=False)
        grid.append(panels)
    return figure, grid


def _residual_row(
    axes: Sequence[Axes], output: Output, place: Floats, before: Floats | None, after: Floats
) -> None:
    limits = _frame_of(after if before is None else before, after)
    for axis, values in zip(axes, (before, after), strict=True):
        if values is None:
            _draw(axis, place, np.full(len(place), np.nan), limits, "no value in A")
        else:
            _draw(axis, place, values, limits, "no values")
            _write_numbers(axis, values[np.isfinite(values) & np.isfinite(place)], limits)
        _aim(axis, place, output.name)
        axis.set_xlabel(label(output.name, output.unit, "predicted "), fontsize=STYLE["labelsize"])
        frame(axis)
    axes[0].set_ylabel(label(output.name, output.unit, r"$\Delta$"), fontsize=STYLE["labelsize"])


def _frame_of(before: Floats, after: Floats) -> tuple[float, float]:
    """Return limits: binaries would flatten everything else, so they are off the page."""
    shown = np.concatenate([before, after])
    shown = shown[np.isfinite(shown)] if np.isfinite(shown).any() else np.array([-1.0, 1.0])
    middle = float(np.median(shown))
    reach = 5.0 * float(stats.median_abs_deviation(shown, scale="normal"))
    return middle - reach, middle + reach


def _aim(axis: Axes, place: Floats, name: str) -> None:
    """Set the limits along a quantity, in the direction of a Kiel diagram."""
    place = place[np.isfinite(place)]
    if len(place) and np.ptp(place) > 0:
        low, high = np.percentile(place, [0.2, 99.8])
        axis.set_xlim(*((high, low) if name in REVERSED else (low, high)))


def _draw(
    axis: Axes, place: Floats, values: Floats, limits: tuple[float, float], nothing: str
) -> None:
    """Draw stars with their running median and bands, or say that there are none."""
    seen = np.isfinite(values) & np.isfinite(place)
    place, values = place[seen], values[seen]
    if len(values):
        axis.scatter(place, values, s=2, color=GREY, alpha=0.35, linewidths=0, rasterized=True)
        centres, bands = _running(place, values)
        axis.fill_between(centres, bands[0], bands[4], color=COLOURS[0], alpha=0.15, lw=0)
        axis.fill_between(centres, bands[1], bands[3], color=COLOURS[0], alpha=0.3, lw=0)
        axis.plot(centres, bands[2], color=COLOURS[0], lw=1.3)
    else:
        axis.text(0.5, 0.5, nothing, transform=axis.transAxes, ha="center", fontsize=7)
    axis.axhline(0, color="black", lw=0.6)
    axis.set_ylim(*limits)


def _write_numbers(axis: Axes, values: Floats, limits: tuple[float, float]) -> None:
    if not len(values):
        return
    spread = stats.median_abs_deviation(values, scale="normal")
    hidden = int(((values < limits[0]) | (values > limits[1])).sum())
    digits = decimals(float(spread))
    # One digit more than the spread has: a median is surer than a star.
    median = signed(float(np.median(values)), digits + 1)
    text = rf"median {median}, $\sigma_\mathrm{{MAD}}$ {spread:.{digits}f}"
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
