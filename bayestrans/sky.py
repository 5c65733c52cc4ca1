"""Places on the sky: motion between epochs, and which stars of two tables are one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]

ARCSEC = np.pi / (180 * 3600)
MAS = ARCSEC / 1000


class Neighbours(NamedTuple):
    """Which star of the first table is which of the second.

    Attributes
    ----------
    first, second : (M,) arrays of int
        Rows of either table, in the order of the first.
    separation : (M,) array
        Angles between them, in arcsec.
    crowded : int
        Stars of the first table with more than one of the second within the radius.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    separation: Floats
    crowded: int


def directions(
    ra: Floats,
    dec: Floats,
    pm_ra: Floats | float = 0.0,
    pm_dec: Floats | float = 0.0,
    years: Floats | float = 0.0,
) -> Floats:
    """Return unit vectors (N, 3) towards stars, moved along their proper motions.

    Parameters
    ----------
    ra, dec : (N,) arrays
        Degrees.
    pm_ra, pm_dec : (N,) arrays
        Proper motions in mas/yr, that in right ascension times cos(dec).
        Missing ones (NaN) count as zero. Parallax and radial motion are left
        out: together below 0.1 arcsec in 20 years for all but the nearest stars.
    years : float or (N,) array
        From the epoch of the positions to the one wanted.

    Returns
    -------
    (N, 3) array
    """
    alpha, delta = np.radians(ra), np.radians(dec)
    towards = np.stack(
        [np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], axis=1
    )
    east = np.stack([-np.sin(alpha), np.cos(alpha), np.zeros_like(alpha)], axis=1)
    north = np.stack(
        [-np.sin(delta) * np.cos(alpha), -np.sin(delta) * np.sin(alpha), np.cos(delta)], axis=1
    )
    moved = [np.nan_to_num(np.asarray(pm) * years * MAS) for pm in (pm_ra, pm_dec)]
    towards += np.atleast_1d(moved[0])[:, None] * east + np.atleast_1d(moved[1])[:, None] * north
    return towards / np.linalg.norm(towards, axis=1, keepdims=True)


def mutual_nearest(first: Floats, second: Floats, radius: float) -> Neighbours:
    """Match stars that are each other's nearest within a radius.

    Parameters
    ----------
    first, second : (N, 3) and (M, 3) arrays
        Unit vectors, as from `directions`.
    radius : float
        Arcsec.

    Returns
    -------
    Neighbours
    """
    if len(first) == 0 or len(second) == 0:
        none = np.zeros(0, dtype=np.intp)
        return Neighbours(none, none, np.zeros(0), 0)
    chord = 2 * np.sin(radius * ARCSEC / 2)
    tree = cKDTree(second)
    distance, nearest = tree.query(first, k=2, distance_upper_bound=chord * (1 + 1e-9))
    back = np.asarray(cKDTree(first).query(second)[1])
    near = np.flatnonzero(np.isfinite(distance[:, 0]))
    mine = near[back[nearest[near, 0]] == near]
    separation = 2 * np.arcsin(np.minimum(distance[mine, 0] / 2, 1)) / ARCSEC
    return Neighbours(mine, nearest[mine, 0], separation, int(np.isfinite(distance[:, 1]).sum()))
