"""Whole regions of the training stars, to be held out in turn.

Stars left out at random lie among their like; a catalogue's stars often do not.
What a model is worth where it has no stars is seen only by taking them away.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Share of the stars in a tail, the rim or a hole, in a far tail, and in a random part.
SHARE, FAR_SHARE = 0.10, 0.03
HOLES, RANDOM_PARTS = 4, 5


class Region(NamedTuple):
    """Stars that are held out together.

    Attributes
    ----------
    name : str
    kind : str
        Regions of one kind overlap, and are never used to judge one another.
    rows : (N,) array of bool
    """

    name: str
    kind: str
    rows: NDArray[np.bool_]


def regions(x: Floats, points: Floats, names: tuple[str, ...], seed: int = 0) -> list[Region]:
    """Return tails of each input, the rim, holes, and random parts for comparison.

    Parameters
    ----------
    x : (N, D) array
        The inputs that span the space.
    points : (N, D) array
        The same stars, whitened.
    names : tuple of str
        The inputs' names.
    seed : int
        Of the holes' centres and the random parts.

    Returns
    -------
    list of Region
        The lowest and highest 10 % and 3 % of each input; the tenth of the stars
        that lies farthest from the centre (the corners); the tenths about four
        stars; and five random tenths, of kind ``random``.
    """
    found = []
    for (j, name), side in itertools.product(enumerate(names), ("lowest", "highest")):
        for share in (SHARE, FAR_SHARE):
            rows = _tail(x[:, j], side, share)
            found.append(Region(f"{side} {100 * share:.0f} % of {name}", f"{side} {name}", rows))
    found.append(Region("rim", "rim", _nearest(-np.linalg.norm(points, axis=1))))
    rng = np.random.default_rng(seed)
    for number, centre in enumerate(rng.choice(len(x), min(HOLES, len(x)), replace=False), 1):
        away = np.linalg.norm(points - points[centre], axis=1)
        found.append(Region(f"hole {number}", f"hole {number}", _nearest(away)))
    part = rng.permutation(len(x)) // max(1, int(SHARE * len(x)))
    found += [
        Region(f"random part {number + 1}", "random", part == number)
        for number in range(RANDOM_PARTS)
    ]
    return [region for region in found if _usable(region.rows, x)]


def _usable(rows: NDArray[np.bool_], x: Floats) -> bool:
    """Say whether stars are left out and most are left, with every input still varying."""
    return bool(rows.any() and rows.mean() < 0.5 and (np.ptp(x[~rows], axis=0) > 0).all())


def _tail(values: Floats, side: str, share: float) -> NDArray[np.bool_]:
    if side == "lowest":
        return values <= np.quantile(values, share)
    return values >= np.quantile(values, 1.0 - share)


def _nearest(away: Floats) -> NDArray[np.bool_]:
    return away <= np.quantile(away, SHARE)
