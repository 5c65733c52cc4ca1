"""Draw the pictures of the documentation: ``python docs/make_pictures.py [NAME ...]``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

import bayestrans as bt
from bayestrans import plot
from bayestrans.demo import demo
from bayestrans.simulate import SurveyPair, simulate

PICTURES = Path(__file__).parent / "pictures"

OF_THE_DEMO = (
    *("residuals", "coverage", "kiel", "training_coverage", "coverage_by_support"),
    "width_by_support",
)

#: Okabe and Ito's colours, told apart by colour-blind readers.
BLUE, ORANGE, BLACK = "#0072B2", "#D55E00", "#000000"

STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.labelsize": 10.5,
    "legend.fontsize": 8.5,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "savefig.dpi": 170,
}


def simulated() -> Figure:
    """Return the stars of both simulated surveys, their differences and their errors."""
    pair = simulate(4000, 0, seed=1)
    figure, panels = plt.subplots(2, 2, figsize=(7.4, 6.4), layout="constrained")
    for letter, axes, draw in zip(
        "abcd", panels.flat, (_kiel, _sequences, _differences, _errors), strict=True
    ):
        draw(axes, pair)
        axes.set_title(f"({letter})", loc="left", fontsize=10.5)
    return figure


def _kiel(axes: Axes, pair: SurveyPair) -> None:
    x = pair.pairs.x
    mixed = np.random.default_rng(0).permutation(len(x))
    teff, logg, fe_h = x[mixed, :3].T
    dots = axes.scatter(teff, logg, c=fe_h, s=4, lw=0, cmap="viridis", vmin=-1.2, vmax=0.4)
    axes.set(xlim=(7000, 3500), ylim=(5.1, 0.2))
    axes.set(xlabel=r"$T_{\rm eff}$ of A [K]", ylabel=r"$\log g$ of A [dex]")
    side = axes.inset_axes((0, 0, 0.3, 1), sharey=axes)
    bins = np.arange(0.2, 3.5, 0.1)
    side.hist(
        logg, bins.tolist(), orientation="horizontal", color="0.85", ec="0.4", histtype="stepfilled"
    )
    side.axis("off")
    axes.annotate("red clump", (6050, 2.5), (5950, 1.75), arrowprops={"arrowstyle": "-", "lw": 0.8})
    axes.figure.colorbar(dots, ax=axes, extend="both", label="[Fe/H] of A [dex]")


def _sequences(axes: Axes, pair: SurveyPair) -> None:
    y, population = pair.pairs.y, pair.truth["population"]
    for name, colour, marker, size in (
        ("thin", BLUE, "o", 5),
        ("thick", ORANGE, "^", 10),
        ("halo", BLACK, "s", 10),
    ):
        mine = population == name
        label = {"thin": "thin disc", "thick": "thick disc"}.get(name, name)
        axes.scatter(
            y[mine, 2], y[mine, 3], s=size, lw=0, c=colour, marker=marker, label=label, alpha=0.7
        )
    axes.set(xlim=(-2.7, 0.65), ylim=(-0.17, 0.62))
    axes.set(xlabel="[Fe/H] of B [dex]", ylabel="[Mg/Fe] of B [dex]")
    axes.legend(loc="lower left", frameon=False, markerscale=2, handletextpad=0.2)


def _differences(axes: Axes, pair: SurveyPair) -> None:
    mixed = np.random.default_rng(0).permutation(len(pair.pairs))
    teff, logg = pair.pairs.x[mixed, :2].T
    difference = pair.pairs.y[mixed, 0] - teff
    dots = axes.scatter(teff, difference, c=logg, s=4, lw=0, cmap="cividis")
    axes.axhline(0, color="0.4", lw=0.8)
    for low, high, style, label in ((0, 3.4, "-", "giants"), (3.4, 6, "--", "dwarfs, subgiants")):
        mine = (logg > low) & (logg < high)
        _running_median(axes, teff[mine], difference[mine], style, label)
    axes.set(xlim=(7000, 3500), ylim=(-560, 450))
    axes.set(xlabel=r"$T_{\rm eff}$ of A [K]", ylabel=r"$T_{\rm eff}$, B $-$ A [K]")
    axes.legend(loc="lower left", title="running median", title_fontsize=8.5, alignment="left")
    axes.figure.colorbar(dots, ax=axes, label=r"$\log g$ of A [dex]")


def _running_median(
    axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], style: str, label: str
) -> None:
    centres = np.arange(3600, 7000, 100)
    near = [y[np.abs(x - centre) < 75] for centre in centres]
    medians = [np.median(values) if len(values) > 49 else np.nan for values in near]
    axes.plot(centres, medians, color="white", lw=4.5)
    axes.plot(centres, medians, color=ORANGE, lw=2.2, ls=style, label=label)


def _errors(axes: Axes, pair: SurveyPair) -> None:
    pairs, truth = pair.pairs, pair.truth
    magnitude = truth["magnitude"]
    centres = np.arange(9.6, 13.5, 0.4)
    for errors, noise, colour, name in (
        (pairs.x_err[:, 0], pairs.x[:, 0] - truth["x"][:, 0], ORANGE, "A"),
        (pairs.y_err[:, 0], pairs.y[:, 0] - truth["y"][:, 0], BLUE, "B"),
    ):
        axes.scatter(magnitude, errors, s=4, lw=0, c=colour, alpha=0.4, label=f"{name}, quoted")
        spread = [noise[np.abs(magnitude - centre) < 0.2].std() for centre in centres]
        axes.plot(centres, spread, "k-o", ms=6, mfc=colour, label=f"{name}, true")
    axes.set(yscale="log", xlim=(8.9, 13.6), ylim=(4, 400))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.set(xlabel="magnitude [mag]", ylabel=r"1$\sigma$ error of $T_{\rm eff}$ [K]")
    legend = axes.legend(loc="upper left", frameon=False, ncols=2, handlelength=1.6)
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set(sizes=[20], alpha=1)


FIGURES: dict[str, Callable[[], Figure]] = {"simulated": simulated}


def draw_demo() -> None:
    """Run the demo, copy its pictures and its scores, and draw the others of its model."""
    with TemporaryDirectory() as folder:
        demo(folder)
        for name in (*(f"{picture}.png" for picture in OF_THE_DEMO), "scores.txt"):
            shutil.copy(Path(folder) / name, PICTURES / name)
        posterior = bt.load(Path(folder) / "model.nc")
        train, test = bt.read_pairs(Path(folder) / "pairs.csv", posterior.spec).split(0.2, seed=1)
    for name, figure in _of_the_model(posterior, train, test).items():
        figure.savefig(PICTURES / f"{name}.png", dpi=170)
        plt.close(figure)


def _of_the_model(posterior: bt.Posterior, train: bt.Pairs, test: bt.Pairs) -> dict[str, Figure]:
    """Return one picture of each kind that the demo itself leaves out."""
    found = bt.diagnose(posterior, train=train, held_out=test)
    rests = bt.importance(posterior, test, progress=False)
    giant = int(np.argmin(np.abs(test.x[:, 1] - 2.5)))
    return {
        "pit_ecdf": plot.pit_ecdf(bt.evaluate(posterior, test), posterior.spec.output_names),
        "loo_pit": plot.loo_pit(found),
        "trace_rank": plot.trace_rank(found),
        "predictive_check": plot.predictive_check(found),
        "residuals_by_input": plot.residuals_by_input(posterior, test, "teff"),
        "importance": plot.importance(rests),
        "error_budget": plot.error_budget(rests),
        "star": plot.star(posterior, test.take(np.array([giant]))),
    }


def main(names: list[str]) -> None:
    """Draw the named pictures, or all of them, into ``docs/pictures``."""
    PICTURES.mkdir(exist_ok=True)
    if not names or "demo" in names:
        draw_demo()
        names = [name for name in names or FIGURES if name != "demo"]
        if not names:
            return
    with plt.rc_context(STYLE):
        for name in names or FIGURES:
            figure = FIGURES[name]()
            figure.savefig(PICTURES / f"{name}.png")
            plt.close(figure)


if __name__ == "__main__":
    main(sys.argv[1:])
