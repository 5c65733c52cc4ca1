"""What kinds of stars the simulated Galaxy has: stages, metals, temperatures and gravities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Labels = NDArray[np.str_]

#: Share of each evolutionary stage among the stars.
STAGES = {"dwarf": 0.28, "subgiant": 0.10, "giant": 0.38, "clump": 0.24}

#: Dispersion of the line-of-sight velocity of each population, in km/s.
DISPERSIONS = {"thin": 32.0, "thick": 58.0, "halo": 145.0}


def metallicity(rng: Generator, n: int, metal_poor: float) -> tuple[Floats, Labels]:
    """Draw [Fe/H] and the population; the discs end at -1, the metal-poor tail at -2.5."""
    thick = rng.random(n) < 0.25
    disc = np.where(thick, 0.25 - 1.25 * rng.beta(3.5, 3, n), 0.45 - 1.2 * rng.beta(4, 5.6, n))
    tail = -1 - 1.5 * rng.beta(1, 2, n)
    poor = rng.random(n) < metal_poor
    # The metal-weak thick disc fades out between [Fe/H] = -1 and -1.6.
    weak = rng.random(n) < 0.5 * (tail + 1.6) / 0.6
    labels = np.where(thick, "thick", "thin")
    return np.where(poor, tail, disc), np.where(poor, np.where(weak, "thick", "halo"), labels)


def magnesium(rng: Generator, fe_h: Floats, population: Labels) -> Floats:
    """Draw [Mg/Fe]: the low-alpha and the high-alpha sequence, and the halo between them."""
    thin = 0.03 - np.where(fe_h < 0, 0.13, 0.02) * fe_h
    thick = np.interp(fe_h, [-1.0, -0.55, 0.25], [0.34, 0.31, 0.08])
    halo = np.interp(fe_h, [-2.5, -1.5, -1.0], [0.36, 0.30, 0.20])
    means = np.where(population == "thin", thin, np.where(population == "thick", thick, halo))
    widths = by_label(population, {"thin": 0.025, "thick": 0.030, "halo": 0.060})
    return np.asarray(means + widths * rng.normal(size=len(fe_h)))


def kiel(
    rng: Generator, fe_h: Floats, stage: Labels, old: Flags, shift: float
) -> tuple[Floats, Floats]:
    """Draw effective temperatures (K) and surface gravities (log of cm/s2) of each stage."""
    n, noise = len(fe_h), rng.normal(size=(2, len(fe_h)))
    metals = np.maximum(fe_h, -2.75)
    tracks = {}
    gravity = 3.5 - 3.0 * rng.beta(1.3, 2.4, n)
    branch = 4650 + 450 * (gravity - 2.5) - 40 * (gravity - 2.5) ** 2 - 60 * old
    tracks["giant"] = branch - 330 * metals - 60 * metals**2 + 45 * noise[0], gravity
    tracks["clump"] = 4800 - 250 * fe_h + 45 * noise[0], 2.45 - 0.05 * fe_h + 0.05 * noise[1]
    along = rng.random(n) ** 0.8
    tracks["subgiant"] = 6050 - 950 * along - 180 * fe_h + 80 * noise[0], 4.0 - 0.5 * along
    warm = 4300 + 2200 * rng.beta(3.2, 2.2, n) - 100 * fe_h + 300 * shift
    zero_age = np.interp(warm, [4000, 4800, 5500, 6000, 6500], [4.68, 4.6, 4.5, 4.42, 4.32])
    aged = np.minimum(0.35, rng.exponential(0.02 + 0.13 * np.clip((warm - 5200) / 900, 0, 1)))
    tracks["dwarf"] = warm, zero_age - aged + 0.015 * noise[1]
    chosen = [stage == name for name in tracks]
    teff = np.select(chosen, [track[0] for track in tracks.values()])
    return teff, np.select(chosen, [track[1] for track in tracks.values()])


def by_label(labels: Labels, values: Mapping[str, float]) -> Floats:
    """Return the value that belongs to each label."""
    return np.select([labels == name for name in values], list(values.values()))
