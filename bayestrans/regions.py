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

#: Share of the stars in a tail, and in each other region.
TAIL, SHARE = 0.07, 0.10
HOLES, RANDOM_PARTS = 3, 4


class Region(NamedTuple):
    """Stars that are held out together.

    Attributes
    ----------
    name : str
    kind : str
        ``random``, or the region's name.
    rows : (N,) array of bool
        All rows of its stars.
    """

    name: str
    kind: str
    rows: NDArray[np.bool_]


def regions(
    x: Floats, points: Floats, names: tuple[str, ...], star: NDArray[np.int64], seed: int = 0
) -> list[Region]:
    """Return tails of each input, the rim, holes, and random parts for comparison.

    Parameters
    ----------
    x : (N, D) array
        The inputs that span the space.
    points : (N, D) array
        The same stars, whitened.
    names : tuple of str
        The inputs' names.
    star : (N,) array of int
        `Pairs.star`; rows with the same number are one star, and held out together.
    seed : int
        Of the holes' centres and the random parts.

    Returns
    -------
    list of Region
        The lowest and highest 7 % of each input (more where values repeat); the tenth
        of the stars that lies farthest from the centre (the corners); the tenths about
        three stars; and four random tenths, of kind ``random``.
    """
    found = []
    for (j, name), side in itertools.product(enumerate(names), ("lowest", "highest")):
        found.append(Region(f"{side} {name}", f"{side} {name}", _tail(x[:, j], side)))
    found.append(Region("rim", "rim", _nearest(-np.linalg.norm(points, axis=1))))
    rng = np.random.default_rng(seed)
    for number, centre in enumerate(rng.choice(len(x), min(HOLES, len(x)), replace=False), 1):
        away = np.linalg.norm(points - points[centre], axis=1)
        found.append(Region(f"hole {number}", f"hole {number}", _nearest(away)))
    found = [part._replace(rows=np.isin(star, star[part.rows])) for part in found]
    count = int(star.max()) + 1
    lot = (rng.permutation(count) // max(1, int(SHARE * count)))[star]
    found += [
        Region(f"random part {number + 1}", "random", lot == number)
        for number in range(RANDOM_PARTS)
    ]
    return [region for region in found if _usable(region.rows, x)]


def _usable(rows: NDArray[np.bool_], x: Floats) -> bool:
    """Say whether stars are left out and most are left, with every input still varying."""
    return bool(rows.any() and rows.mean() < 0.5 and (np.ptp(x[~rows], axis=0) > 0).all())


def _tail(values: Floats, side: str) -> NDArray[np.bool_]:
    if side == "lowest":
        return values <= np.quantile(values, TAIL)
    return values >= np.quantile(values, 1.0 - TAIL)


def _nearest(away: Floats) -> NDArray[np.bool_]:
    return away <= np.quantile(away, SHARE)
