"""Numbers that stand for "no value": those that are named, and those that look like it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .scale import Scaler
from .spec import Input, Output, Spec

Floats = NDArray[np.float64]

#: What surveys write for "no value", with either sign.
SENTINELS = (99.0, 999.0, 9999.0, 99999.0)
#: What NumPy and others fill gaps with, which single precision rounds.
FILLS = (1e20, 1e30)
#: In a catalogue, whose stars are judged one by one, such a number is a sentinel this many
#: robust standard deviations of the training stars from their median.
FAR = 15.0
#: Percentiles between which values usually lie.
CENTRAL = (1.0, 99.0)


class Odd(NamedTuple):
    """Values of a column that were taken as missing although nobody said that they are.

    Attributes
    ----------
    column : str
    what : str
        Such as ``-9999`` or ``not in 500 to 1e+06 K``.
    stars : int
    """

    column: str
    what: str
    stars: int


def marked(values: NDArray[Any], sentinels: Iterable[float]) -> NDArray[np.bool_]:
    """Return which values (N,) are one of the sentinels, as the column's own type rounds them."""
    kind = values.dtype if values.dtype.kind == "f" else np.float64
    return np.isin(values, np.array(tuple(sentinels), dtype=kind))


def suspects(values: Floats) -> dict[float, int]:
    """Return numbers among values (N,) that look like sentinels, and how often each is there.

    Such a number is one of `SENTINELS` or `FILLS`, and the gap between it and the nearest of
    the other values is wider than 98 per cent of those values are apart: a star
    of 9999 K among hot stars is none, -9999 is. Values that are all the same, or all
    sentinels, cannot tell.
    """
    values = values[np.isfinite(values)]
    candidate = _listed(values)
    others = values[~candidate]
    if not len(others) or not candidate.any():
        return {}
    low, high = np.percentile(others, CENTRAL)
    numbers, counts = np.unique(values[candidate], return_counts=True)
    return {
        float(number): int(count)
        for number, count in zip(numbers, counts, strict=True)
        if np.abs(others - number).min() > high - low > 0
    }


def _listed(values: Floats) -> NDArray[np.bool_]:
    size = np.abs(values)
    fills = [np.abs(size - fill) < 1e-6 * fill for fill in FILLS]
    return np.isin(size, SENTINELS) | np.any(fills, axis=0)


def as_held(values: Floats, factors: Floats) -> Floats:
    """Return values (N, D) as the table holds them, before the conversion by factors (D,)."""
    held = values / factors
    for number in SENTINELS:  # back and forth, they are so but for the last digit
        near = (factors != 1.0) & (np.abs(np.abs(held) - number) < 1e-9 * number)
        held = np.where(near, np.copysign(number, held), held)
    return held


def without_suspects(
    spec: Spec, items: Sequence[Input | Output], values: Floats, factors: Floats
) -> tuple[Floats, list[Odd]]:
    """Return values (N, D) of a whole table without what looks like sentinels, and what was found.

    They are looked for as the table holds them, before a conversion of units (`as_held`).
    Whoever has named some may not know of others: nothing changes only where the spec says that
    there are none (``sentinels = []``).
    """
    if spec.sentinels == ():
        return values, []
    values, said = values.copy(), []
    held = as_held(values, factors)
    for column, raw, item in zip(values.T, held.T, items, strict=True):
        for number, count in suspects(raw).items():
            column[raw == number] = np.nan
            said.append(Odd(item.column, f"{number:g}", count))
    return values, said


def without_beyond(
    spec: Spec, x: Floats, factors: Floats, usual: Scaler | None
) -> tuple[Floats, list[Odd]]:
    """Return inputs (N, D) without sentinels far beyond the training stars, star by star.

    Nothing changes where `without_suspects` changes nothing.
    """
    if usual is None or spec.sentinels == ():
        return x, []
    held = as_held(x, factors)
    far = (np.abs(x - usual.x_centre) > FAR * usual.x_scale) & _listed(held)
    x, said = x.copy(), []
    for column, raw, bad, item in zip(x.T, held.T, far.T, spec.inputs, strict=True):
        numbers, counts = np.unique(raw[bad], return_counts=True)
        said += [Odd(item.column, f"{n:g}", int(c)) for n, c in zip(numbers, counts, strict=True)]
        column[bad] = np.nan
    return x, said
