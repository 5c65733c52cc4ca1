"""What values can be, by their unit: one beyond that is missing, a column of them a fault."""

from __future__ import annotations

from collections.abc import Sequence

import astropy.units as u
import numpy as np
from numpy.typing import NDArray

from .layout import CatalogueError
from .sentinels import SENTINELS, Odd
from .spec import Input, Output, Spec
from .units import read_unit

Floats = NDArray[np.float64]

#: Least and greatest value of any star by unit, wider than those of presets, which know what a
#: column holds. A plain number can be anything unless it is a logarithm, but no filling value.
LIMITS = {u.K: (500.0, 1e6), u.km / u.s: (-3000.0, 3000.0), u.mag: (-50.0, 50.0)}
LOGARITHM = (-15.0, 15.0)
PLAIN = (-1e15, 1e15)
#: Names of quantities that are logarithms also where the spec gives no unit.
LOGARITHMS = ("logg", "log_g", "fe_h", "m_h", "mg_fe", "alpha_fe", "alpha_m")
#: Logarithms are rarely beyond this, what they are taken of always is.
LARGE_LOGARITHM = 10.0


def limits(item: Input | Output) -> tuple[float, float] | None:
    """Return the least and the greatest value that a quantity can have, if its unit says so."""
    unit = read_unit(item.unit, f"the spec's {item.name}")
    if unit == u.one:
        return LOGARITHM if item.unit or item.name.lower() in LOGARITHMS else PLAIN
    return LIMITS.get(unit)


def check_column(values: Floats, item: Input | Output) -> None:
    """Raise where the typical value (N,) says that a column is in another unit, or is another.

    Raises
    ------
    CatalogueError
    """
    name, bounds = item.column, limits(item)
    size = np.abs(values[np.isfinite(values)])
    size = size[(size > 0) & ~np.isin(size, SENTINELS)]
    if bounds is None or not len(size):
        return
    typical = float(np.median(size))
    if bounds == LIMITS[u.K] and not 1e3 <= typical <= bounds[1]:
        remedy = "is it a logarithm or in another unit?"
        raise CatalogueError(f"{name}: the median, {typical:.4g} K, is not in 1e3..1e6 K; {remedy}")
    if bounds == LIMITS[u.km / u.s] and typical > bounds[1]:
        remedy = "if it is in m/s, give the column that unit"
        raise CatalogueError(f"{name}: the median would be {typical:.4g} km/s; {remedy}")
    if bounds == LOGARITHM and typical > LARGE_LOGARITHM:
        remedy = "if it is in linear units, take its logarithm first"
        raise CatalogueError(f"{name}: the median, {typical:.4g}, is beyond a logarithm; {remedy}")
    if typical > bounds[1]:
        what = f"the median, {typical:.4g} {item.unit}, is beyond {bounds[1]:g}"
        raise CatalogueError(f"{name}: {what}; is it in another unit?")


def without_impossible(
    spec: Spec, items: Sequence[Input | Output], values: Floats
) -> tuple[Floats, list[Odd]]:
    """Return values (N, D) without those that no star can have, and how many there were.

    Nothing changes where the spec says that there are no sentinels (``sentinels = []``).
    """
    if spec.sentinels == ():
        return values, []
    values, found = values.copy(), []
    for column, item in zip(values.T, items, strict=True):
        bounds = limits(item)
        if bounds is None:
            continue
        low, high = bounds
        bad = np.isfinite(column) & ((column < low) | (column > high))
        if bad.any():
            column[bad] = np.nan
            what = f"not in {low:g} to {high:g} {item.unit}".rstrip()
            found.append(Odd(item.column, what, int(bad.sum())))
    return values, found
