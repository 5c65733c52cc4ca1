"""Where stars are in the Galaxy, with the errors of their distances."""

from __future__ import annotations

from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import (
    ICRS,
    Galactocentric,
    SkyCoord,
    galactocentric_frame_defaults,
)
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

#: Astropy's set of parameters of the Galactocentric frame: the Sun is 8.122 kpc from the centre
#: (GRAVITY Collaboration 2018) and 20.8 pc above the plane (Bennett & Bovy 2019).
FRAME = "v4.0"

#: The Sun's R and z in that frame, in kpc.
SUN = (8.122, 0.0208)


class Places(NamedTuple):
    """Where stars are in the Galaxy, in cylindrical coordinates.

    Attributes
    ----------
    radius : (N,) or (draw, N) array
        Distance from the axis of the Galaxy, R, in kpc.
    height : (N,) or (draw, N) array
        Height above the plane, z, in kpc, positive towards the Galactic north.
    azimuth : (N,) or (draw, N) array
        Angle about the axis in degrees: 180 for the Sun, less in the direction in which it turns.
    """

    radius: Floats
    height: Floats
    azimuth: Floats


def in_unit(values: ArrayLike, unit: u.UnitBase | None = None) -> Floats:
    """Return numbers in a unit, masked ones as NaN; those that come without are in it already."""
    own = getattr(values, "unit", None)
    plain = np.ma.filled(np.ma.asarray(getattr(values, "value", values), dtype=np.float64), np.nan)
    return np.asarray(plain if own is None or unit is None else u.Unit(own).to(unit, plain))


def galactocentric(ra: ArrayLike, dec: ArrayLike, distance: ArrayLike) -> Places:
    """Return where stars are in the Galaxy.

    The frame is astropy's with the parameters `FRAME`.

    Parameters
    ----------
    ra, dec : (N,) arrays
        ICRS, in degrees (or with a unit of angle).
    distance : (N,) or (draw, N) array
        From the Sun, in kpc (or with a unit of length). One that is missing, masked or not
        positive gives NaN.

    Returns
    -------
    Places

    Raises
    ------
    ValueError
        For arrays that do not fit together.
    UnitConversionError
        For a unit of another kind.

    Examples
    --------
    >>> centre = galactocentric([266.4051], [-28.936175], [8.122])
    >>> print(centre.radius.round(3), centre.height.round(3))
    [0.] [0.]
    """
    ra, dec, far = in_unit(ra, u.deg), in_unit(dec, u.deg), in_unit(distance, u.kpc)
    if (
        ra.ndim != 1
        or ra.shape != dec.shape
        or far.ndim not in (1, 2)
        or far.shape[-1:] != ra.shape
    ):
        raise ValueError(
            f"ra, dec and distance have shapes {ra.shape}, {dec.shape} and {far.shape}; "
            "give (N,), (N,) and (N,) or (draw, N)"
        )
    frame = Galactocentric(**galactocentric_frame_defaults.get_from_registry(FRAME)["parameters"])
    towards = SkyCoord(ra, dec, unit="deg").cartesian.xyz.value
    ends = ICRS(np.column_stack([np.zeros(3), towards]) * u.kpc, representation_type="cartesian")
    points = ends.transform_to(frame).cartesian.xyz.to_value(u.kpc)
    # The transformation is a rotation and a shift, so that all distances lie on one line.
    sun = points[:, 0]
    along = points[:, 1:] - sun[:, None]
    far = np.where(np.isfinite(far) & (far > 0), far, np.nan)
    x, y, z = (sun[i] + along[i] * far for i in range(3))
    return Places(np.hypot(x, y), z, np.degrees(np.arctan2(y, x)))


def draw_distances(distance: ArrayLike, error: ArrayLike, draws: int, *, seed: int = 0) -> Floats:
    """Draw what the distances of stars may be, each star on its own.

    Log-normal about the quoted distance. A small parallax is no distance: infer one first, as
    Bailer-Jones et al. (2021, AJ 161, 147) do; half of their 16 to 84 % range is the error.

    Parameters
    ----------
    distance, error : (N,) arrays
        Median and one-sigma error, in one unit; what has a unit is converted to kpc. No error
        counts as none; a distance that is missing or not positive gives NaN.
    draws : int
    seed : int

    Returns
    -------
    (draw, N) array
        In kpc where the distance has a unit, else in its own.
    """
    own = getattr(distance, "unit", None)
    far, err = in_unit(distance, u.kpc), in_unit(error, own or u.kpc)
    if own is not None:
        err = err * u.Unit(own).to(u.kpc)
    far = np.where(np.isfinite(far) & (far > 0), far, np.nan)
    width = np.where(np.isfinite(err) & (err > 0), err, 0.0) / far
    noise = np.random.default_rng(seed).standard_normal((draws, len(far)))
    return np.asarray(far * np.exp(width * noise))
