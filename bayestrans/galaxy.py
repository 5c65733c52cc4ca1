"""The two simulated surveys with places in the Galaxy, and a difference between its halves.

Survey A looks mostly south of the Galactic plane, survey B mostly north of it. With a zero
point of its own, A's stars beside B's look like a difference between the Galaxy's halves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from astropy.coordinates import SkyCoord
from numpy.random import Generator

from .arguments import check_count, check_range
from .pairs import Floats, Pairs
from .places import SUN, Places, galactocentric
from .populations import DISPERSIONS, STAGES, Labels, by_label, kiel, magnesium
from .simulate import (
    ERROR_FACTORS,
    Columns,
    Stars,
    as_columns,
    identifiers,
    measure_b,
    observe,
    survey_spec,
)
from .spec import Spec

#: Share of the stars of survey A, survey B, and of both that lie north of the Galactic plane.
NORTHERN = {"A": 0.15, "B": 0.85, "both": 0.5}

#: The surveys leave out Galactic latitudes below this, in degrees.
LEAST_LATITUDE = 8.0

#: Directions thin out as exp(-sin(latitude) / CONCENTRATION) above.
CONCENTRATION = 0.3

#: Radius in kpc from which on north and south differ.
BEYOND = 10.0

#: Scale length and height in kpc, and density at the Sun's place relative to the thin disc.
DISCS = {"thin": (3.0, 0.30, 1.0), "thick": (2.0, 0.90, 0.12)}

#: The same for the halo: exponent of its power law, flattening, relative density.
HALO = (-2.8, 0.7, 0.002)

#: Own [Fe/H] at the Sun's place, its gradients with R and with distance from the plane in
#: dex/kpc, and its spread.
METALS = {
    "thin": (0.0, -0.06, -0.10, 0.16),
    "thick": (-0.45, 0.0, -0.05, 0.20),
    "halo": (-1.35, 0.0, 0.0, 0.30),
}


class Galaxy(NamedTuple):
    """Two surveys of one invented Galaxy, and the truth about it.

    Attributes
    ----------
    spec : Spec
        As of `simulate`.
    pairs : Pairs
        The common stars, to learn from.
    a : dict of arrays
        Survey A's stars that B has not seen: ``star_id``, the columns of the inputs and
        their errors, ``ra`` and ``dec`` (ICRS, degrees), ``distance`` and ``e_distance`` (kpc).
    b : dict of arrays
        All stars of survey B, the common ones first: ``star_id``, the columns of
        the outputs and their errors, places as in ``a``.
    a_truth, b_truth : dict of arrays
        Of the stars of ``a`` and ``b``: as ``SurveyPair.truth``, and ``radius`` and
        ``height``, the true R and z in kpc.
    """

    spec: Spec
    pairs: Pairs
    a: Columns
    b: Columns
    a_truth: Columns
    b_truth: Columns


class _Made(NamedTuple):
    """Some stars as survey A sees them, their places and the truth."""

    x: Floats
    x_err: Floats
    place: Columns
    truth: Columns


def simulate_galaxy(
    n_common: int = 2000,
    n_a: int = 10_000,
    n_b: int = 10_000,
    *,
    asymmetry: float = 0.0,
    zero_point: float = -0.1,
    distance_error: float = 0.05,
    seed: int = 0,
) -> Galaxy:
    """Draw giants of the Galaxy as two surveys with different footprints see them.

    A thin disc, a thick disc and a halo with gradients of [Fe/H] (`METALS`), each with its own
    sequence of [Mg/Fe]. The surveys are those of `simulate`: A's systematics and
    misjudged errors, B's scatter.

    Parameters
    ----------
    n_common, n_a, n_b : int
        Stars that both surveys observed (at least 1), that only A did, and that only B did.
    asymmetry : float
        How much higher [Fe/H] is north of the plane than south of it, at the same place
        beyond R = `BEYOND`, in dex; half of it is put in on either side. From -1 to 1.
    zero_point : float
        Added to survey A's [Fe/H] beside its systematics, in dex, from -1 to 1.
    distance_error : float
        One-sigma error of the distances, relative; log-normal. From 0 to 0.5.
    seed : int
        The same seed gives the same arrays; common stars, A's and B's do not depend on one
        another's number.

    Returns
    -------
    Galaxy

    Raises
    ------
    ValueError
        Naming the argument that cannot be used, and its range.

    Examples
    --------
    >>> galaxy = simulate_galaxy(300, 500, 400, asymmetry=0.1)
    >>> len(galaxy.pairs), len(galaxy.a["ra"]), len(galaxy.b["ra"])
    (300, 500, 700)
    """
    for name, count, least in (("n_common", n_common, 1), ("n_a", n_a, 0), ("n_b", n_b, 0)):
        check_count(name, count, least)
    check_count("seed", seed, 0)
    for name, value in (("asymmetry", asymmetry), ("zero_point", zero_point)):
        if not abs(value) <= 1:
            raise ValueError(f"{name} is {value}; it must lie between -1 and 1 dex")
    check_range("distance_error", distance_error, 0.5)
    spec = survey_spec()
    rngs = np.random.default_rng(seed).spawn(3)
    asked = zip(rngs, (n_common, n_a, n_b), ("both", "A", "B"), strict=True)
    both, only_a, only_b = (
        _made(rng, n, NORTHERN[name], asymmetry, zero_point, distance_error)
        for rng, n, name in asked
    )
    measured = [measure_b(rng, made.truth) for rng, made in ((rngs[0], both), (rngs[2], only_b))]
    ids = [identifiers(rngs[0], n_common, parity=0), identifiers(rngs[2], n_b, parity=0)]
    pairs = Pairs(spec, both.x, both.x_err, *measured[0], ids[0])
    y, y_err = (np.concatenate(parts) for parts in zip(*measured, strict=True))
    of_a = {"star_id": identifiers(rngs[1], n_a, parity=1)}
    of_a |= as_columns(spec.inputs, only_a.x, only_a.x_err) | only_a.place
    of_b = {"star_id": np.concatenate(ids), **as_columns(spec.outputs, y, y_err)}
    of_b |= _joined(both.place, only_b.place)
    return Galaxy(spec, pairs, of_a, of_b, only_a.truth, _joined(both.truth, only_b.truth))


def _made(
    rng: Generator,
    n: int,
    northern: float,
    asymmetry: float,
    zero_point: float,
    distance_error: float,
) -> _Made:
    ra, dec, distance = _places(rng, n, northern)
    where = galactocentric(ra, dec, distance)
    stars = _giants(rng, where, asymmetry)
    x, x_err, truth = observe(rng, stars, 0.05, np.array(list(ERROR_FACTORS.values())))
    x[:, 2] += zero_point
    truth["x"][:, 2] += zero_point
    truth |= {"radius": where.radius, "height": where.height}
    quoted = distance * np.exp(distance_error * rng.normal(size=n))
    place = {"ra": ra, "dec": dec, "distance": quoted, "e_distance": distance_error * quoted}
    return _Made(x, x_err, place, truth)


def _joined(first: Columns, second: Columns) -> Columns:
    """Put the stars of two tables below one another; what belongs to no star stays as it is."""
    alone = ("error_factor", "correlation")
    return {
        name: first[name] if name in alone else np.concatenate([first[name], second[name]])
        for name in first
    }


def _places(rng: Generator, n: int, northern: float) -> tuple[Floats, Floats, Floats]:
    """Draw directions (ICRS, degrees) and distances (kpc) of giants."""
    longitude = rng.uniform(0, 360, n)
    # The distribution function of an exponential law between two ends, inverted.
    ends = np.exp(-np.array([np.sin(np.radians(LEAST_LATITUDE)), 1.0]) / CONCENTRATION)
    sine = -CONCENTRATION * np.log(rng.uniform(ends[1], ends[0], n))
    latitude = np.degrees(np.arcsin(sine)) * np.where(rng.random(n) < northern, 1, -1)
    sky = SkyCoord(longitude, latitude, unit="deg", frame="galactic").icrs
    return sky.ra.deg, sky.dec.deg, 0.3 + np.minimum(rng.gamma(3.0, 1.3, n), 14.0)


def _giants(rng: Generator, where: Places, asymmetry: float) -> Stars:
    """Draw what giants and red-clump stars at these places are like."""
    radius, height = where.radius, where.height
    n, off = len(radius), np.abs(where.height)
    population = _population(rng, radius, off)
    local, outwards, upwards, spread = (
        by_label(population, {name: METALS[name][k] for name in METALS}) for k in range(4)
    )
    fe_h = local + outwards * (radius - SUN[0]) + upwards * off + spread * rng.normal(size=n)
    fe_h = np.clip(fe_h, -2.5, 0.5)
    mg_fe = magnesium(rng, fe_h, population)
    # Last, so that only [Fe/H], and the temperatures that go with it, differ.
    fe_h = fe_h + 0.5 * asymmetry * np.sign(height) * (radius > BEYOND)
    share = STAGES["clump"] / (STAGES["clump"] + STAGES["giant"])
    clump = (rng.random(n) < share) & (fe_h > -1)
    stage = np.where(clump, "clump", "giant")
    teff, logg = kiel(rng, fe_h, stage, population == "thick", 0.0)
    velocity = rng.normal(size=n) * by_label(population, DISPERSIONS)
    magnitude = 8.5 + 5.0 * rng.beta(3, 1.5, n)
    values = np.column_stack([teff, logg, fe_h, mg_fe, velocity])
    return Stars(values, stage, population, magnitude)


def _population(rng: Generator, radius: Floats, off: Floats) -> Labels:
    """Draw to which population a star belongs, by the densities at its place."""
    densities = {
        name: share * np.exp(-(radius - SUN[0]) / length - off / thickness)
        for name, (length, thickness, share) in DISCS.items()
    }
    exponent, flattening, share = HALO
    # Flat within 1 kpc, where a power law has no bounds.
    away = np.maximum(np.hypot(radius, off / flattening), 1.0)
    densities["halo"] = share * (away / SUN[0]) ** exponent
    share_below = np.cumsum(list(densities.values()), axis=0)
    place = (rng.random(len(radius)) * share_below[-1] > share_below).sum(axis=0)
    return np.array(list(densities))[place]
