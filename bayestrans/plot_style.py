"""What all pictures share: sizes for journals, colours for every eye, labels with units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Widths of one and two journal columns, in inches.
COLUMN, PAGE = 3.5, 7.1

#: Okabe & Ito (2008): told apart by every kind of colour vision, and in grey by order.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#666666"

#: Each class of support has a colour, a line and a marker of its own.
CLASS_STYLES: dict[str, dict[str, Any]] = {
    "dense": {"color": COLOURS[0], "ls": "-", "marker": "o", "size": 1.5, "alpha": 0.4},
    "sparse": {"color": COLOURS[2], "ls": "--", "marker": "^", "size": 3.5, "alpha": 0.8},
    "outside": {"color": COLOURS[1], "ls": "-.", "marker": "x", "size": 5.0, "alpha": 0.9},
}

SYMBOLS = {
    "teff": r"$T_\mathrm{eff}$",
    "logg": r"$\log g$",
    "fe_h": "[Fe/H]",
    "m_h": "[M/H]",
    "mg_fe": "[Mg/Fe]",
    "alpha_m": r"[$\alpha$/M]",
    "jk": r"$J-K$",
    "rv": r"$v_\mathrm{los}$",
}

#: Units of quantities that carry none, by name.
DEX = ("logg", "fe_h", "m_h", "mg_fe", "alpha_m")

#: Quantities whose axes run against their values in a Kiel diagram.
REVERSED = ("teff", "logg")

STYLE = {"labelsize": 8, "ticksize": 7}


def symbol(name: str) -> str:
    """Return the customary symbol of a quantity, or its name."""
    return SYMBOLS.get(name) or _literal(name.replace("_", " "))


def label(name: str, unit: str, before: str = "") -> str:
    """Return an axis label with its unit."""
    unit = unit or ("dex" if name in DEX else "")
    unit = _literal(unit.replace(" / ", "/")).replace("km/s", r"km s$^{-1}$")
    return f"{before}{symbol(name)}" + (f" [{unit}]" if unit else "")


def _literal(text: str) -> str:
    """Return a user's text so that nothing in it is taken for mathematics."""
    return text.replace("$", r"\$")


def decimals(spread: float) -> int:
    """Return the decimals that show two digits of a spread, and no less than whole numbers."""
    return max(0, 1 - int(np.floor(np.log10(spread)))) if 0 < spread < np.inf else 2


def signed(value: float, digits: int) -> str:
    """Return a number with its sign, which is a minus and not a hyphen."""
    rounded = round(value, digits) + 0.0  # no minus before nothing
    return f"{rounded:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def frame(axis: Axes) -> None:
    """Put ticks of one size inside all four sides."""
    axis.tick_params(
        which="both", labelsize=STYLE["ticksize"], direction="in", top=True, right=True
    )


def crowded(count: int) -> float:
    """Return a factor for the size of markers, so that many of them leave others visible."""
    return float(np.clip(np.sqrt(500 / max(count, 1)), 0.2, 1.0))


def panel_grid(count: int, height: float, **share: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` panels, three in a row (of four, two)."""
    wide = 2 if count == 4 else min(3, count)
    tall = -(-count // wide)
    size = (COLUMN if wide == 1 else PAGE * wide / 3, 0.4 + height * tall)
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(tall, wide, squeeze=False, **share).ravel())
    for axis in panels[count:]:
        axis.remove()
    # A removed panel takes the labels of a shared axis with it.
    for axis in panels[max(0, count - wide) : count]:
        axis.tick_params(labelbottom=True)
    return figure, panels[:count]


def check_columns(catalogue: Table, names: Sequence[str]) -> None:
    """Refuse a table that lacks one of these columns."""
    for name in names:
        if name not in catalogue.colnames:
            raise ValueError(
                f"the catalogue has no column {name}; give one that translate returned"
            )


def numbers(catalogue: Table, name: str) -> Floats:
    """Return a column as numbers, NaN where it is masked."""
    return np.ma.filled(np.ma.asarray(catalogue[name], dtype=np.float64), np.nan)


def class_names(catalogue: Table) -> NDArray[np.str_]:
    """Return the class of support of each star, also from a file that holds bytes."""
    return np.asarray(catalogue["support_class"]).astype(str)
