"""Two invented surveys of one invented Galaxy, with everything known about them.

Survey A resembles an optical survey such as GALAH, survey B an infrared one
such as APOGEE. B scatters about a star's own parameters; A has offsets
(`systematics`), noise that its quoted errors misjudge, and another phase of the
orbit of a binary. Magnitudes are in A's band; log g and abundances in dex.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .arguments import check_count, check_range
from .pairs import Floats, Pairs
from .populations import DISPERSIONS, STAGES, by_label, kiel, magnesium, metallicity
from .spec import Input, Output, Spec

Flags = NDArray[np.bool_]
Labels = NDArray[np.str_]
Columns = dict[str, NDArray[Any]]

#: Survey A's quantities; survey B has all but the colour.
INPUTS = ("teff", "logg", "fe_h", "mg_fe", "jk", "rv")

#: Their units; abundances and log g are in dex, which is written as "".
UNITS = dict(zip(INPUTS, ("K", "", "", "", "mag", "km/s"), strict=True))

#: True noise of survey A in units of the error that it quotes.
ERROR_FACTORS = dict(zip(INPUTS, (1.4, 1.3, 1.5, 0.75, 0.8, 2.0), strict=True))

#: Errors quoted by A for a star where `_growth` and `_difficulty` are 1, in the units above.
QUOTED_A = np.array([40.0, 0.050, 0.035, 0.044, 0.022, 0.080])

#: The same for B (no colour), whose quoted errors are true.
QUOTED_B = np.array([10.0, 0.020, 0.009, 0.012, 0.030])

#: One-sigma scatter of B's true values about the star's own, where `_difficulty` is 1.
SCATTER_B = np.array([32.0, 0.050, 0.028, 0.026, 0.150])

#: Correlation of that scatter between B's outputs (teff, logg, fe_h, mg_fe, rv).
CORRELATION_B = np.array(
    [
        [1.0, 0.6, 0.5, -0.3, 0.0],
        [0.6, 1.0, 0.3, -0.1, 0.0],
        [0.5, 0.3, 1.0, -0.4, 0.0],
        [-0.3, -0.1, -0.4, 1.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 1.0],
    ]
)

#: Positions of B's quantities among A's.
_CORRECTED = [0, 1, 2, 3, 5]


class SurveyPair(NamedTuple):
    """Two surveys that share some stars, and the truth about them.

    Attributes
    ----------
    spec : Spec
        Inputs teff, logg, fe_h, mg_fe, jk and rv (extrinsic) of survey A;
        outputs teff, logg, fe_h, mg_fe and rv (extrinsic) of survey B.
    pairs : Pairs
        The N common stars as both surveys measured them.
    truth : dict of arrays
        For the common stars, in the order and units of the spec: ``y`` (N, K),
        B's true values, which B measures with its quoted error and which the
        predictive of a catalogue should cover; ``star`` (N, K), the star's own
        values, from which ``y`` scatters by ``scatter`` (N, K; one sigma) with
        ``correlation`` (K, K); ``x`` (N, D), what A would measure without
        noise; ``error_factor`` (D,), A's true noise over its quoted error;
        ``magnitude`` (mag); ``stage`` (``dwarf``, ``subgiant``, ``giant`` or
        ``clump``); ``population`` (``thin``, ``thick`` or ``halo``);
        ``binary`` (bool).
    catalogue : dict of arrays
        Survey A's stars that B has not seen: ``star_id`` (int64, 19 digits)
        and the columns of the inputs and their errors.
    catalogue_truth : dict of arrays
        As ``truth``, for the stars of ``catalogue``.
    """

    spec: Spec
    pairs: Pairs
    truth: Columns
    catalogue: Columns
    catalogue_truth: Columns


class Stars(NamedTuple):
    """Stars as they are, before a survey looks at them.

    Attributes
    ----------
    values : (N, 5) array
        Own Teff (K), log g, [Fe/H], [Mg/Fe] and line-of-sight velocity (km/s).
    stage, population : (N,) arrays of str
        As in ``SurveyPair.truth``.
    magnitude : (N,) array
        In survey A's band.
    """

    values: Floats
    stage: Labels
    population: Labels
    magnitude: Floats


class _Sample(NamedTuple):
    """Which stars to draw; ``shift`` as ``catalogue_shift`` in `simulate`."""

    size: int
    metal_poor: float
    faintest: float
    shift: float = 0.0


def simulate(
    n_common: int = 4000,
    n_catalogue: int = 20_000,
    *,
    seed: int = 0,
    binary_fraction: float = 0.05,
    metal_poor_fraction: float = 0.03,
    error_factors: Mapping[str, float] | None = None,
    catalogue_shift: float = 0.0,
) -> SurveyPair:
    """Draw two surveys' common stars and the rest of survey A's catalogue.

    Parameters
    ----------
    n_common : int
        Stars that both surveys observed, at least 1.
    n_catalogue : int
        Stars of survey A without a counterpart in B. Half as many again of
        them are metal-poor, and they reach 0.8 mag fainter.
    seed : int
        The same seed gives the same arrays; common stars and catalogue do not
        depend on each other's size.
    binary_fraction : float
        The share of binaries, which are the outliers, from 0 to 1.
    metal_poor_fraction : float
        The share of common stars whose own [Fe/H] is below -1, from 0 to 1.
    error_factors : mapping, optional
        True noise of survey A over its quoted error, for the inputs that
        differ from `ERROR_FACTORS`.
    catalogue_shift : float
        Takes the catalogue out of the training region: [Fe/H] is lowered by
        0.5 dex times this value, magnitudes rise by 1 mag and the dwarfs'
        effective temperatures by 300 K times it. From 0 to 3.

    Returns
    -------
    SurveyPair

    Raises
    ------
    ValueError
        Naming the argument that cannot be used, and its range.

    Examples
    --------
    >>> pair = simulate(500, 1000, seed=1)
    >>> len(pair.pairs), pair.spec.output_names
    (500, ('teff', 'logg', 'fe_h', 'mg_fe', 'rv'))
    """
    check_count("n_common", n_common, 1)
    check_count("n_catalogue", n_catalogue, 0)
    check_count("seed", seed, 0)
    check_range("binary_fraction", binary_fraction, 1)
    check_range("metal_poor_fraction", metal_poor_fraction, 1)
    check_range("catalogue_shift", catalogue_shift, 3)
    factors = _factors(error_factors or {})
    both = _Sample(n_common, metal_poor_fraction, faintest=13.5)
    poorer = min(1.0, 1.5 * metal_poor_fraction)
    only = _Sample(n_catalogue, poorer, faintest=14.3, shift=catalogue_shift)
    rng, rest = np.random.default_rng(seed).spawn(2)
    spec = survey_spec()
    x, x_err, truth = observe(rng, _stars(rng, both), binary_fraction, factors)
    y, y_err = measure_b(rng, truth)
    pairs = Pairs(spec, x, x_err, y, y_err, identifiers(rng, n_common, parity=0))
    stars = _stars(rest, only)
    x, x_err, catalogue_truth = observe(rest, stars, binary_fraction, factors)
    ids = identifiers(rest, n_catalogue, parity=1)
    catalogue = {"star_id": ids, **as_columns(spec.inputs, x, x_err)}
    return SurveyPair(spec, pairs, truth, catalogue, catalogue_truth)


def to_columns(pair: SurveyPair) -> Columns:
    """Return the common stars as the columns that the spec names, to be written to a table.

    Parameters
    ----------
    pair : SurveyPair

    Returns
    -------
    dict of (N,) arrays
        ``star_id``, then each value and its error: ``teff_a``, ``e_teff_a``
        to ``rv_b``, ``e_rv_b``, in the units of the spec.
    """
    pairs, spec = pair.pairs, pair.spec
    return {
        "star_id": pairs.ids,
        **as_columns(spec.inputs, pairs.x, pairs.x_err),
        **as_columns(spec.outputs, pairs.y, pairs.y_err),
    }


def systematics(star: Floats, clump: Flags) -> Floats:
    """Return survey A's noise-free value minus the star's own.

    Parameters
    ----------
    star : (N, 5) array
        The stars' own Teff (K), log g, [Fe/H], [Mg/Fe] and velocity (km/s).
    clump : (N,) array of bool
        True for red-clump stars: their log g is treated unlike that of the
        red giant branch, as in real surveys.

    Returns
    -------
    (N, 5) array
        Offsets in the same order and units.
    """
    teff, logg, fe_h = star[:, 0], star[:, 1], star[:, 2]
    warm, low = (teff - 5000) / 1000, logg - 2.5
    giant = _logistic((3.4 - logg) / 0.15)
    step = np.tanh((teff - 4500) / 70)
    offset = np.empty_like(star)
    offset[:, 0] = 20 - (20 + 35 * giant) * step + 30 * fe_h - 40 * np.maximum(0, warm - 1)
    offset[:, 1] = 0.03 + np.where(clump, 0.09, -0.07 * giant) + 0.05 * warm * fe_h
    offset[:, 2] = -0.02 + 0.07 * fe_h + 0.05 * fe_h**2 + 0.05 * warm * fe_h - 0.05 * warm**2
    offset[:, 3] = 0.02 + 0.06 * warm - 0.03 * low + 0.03 * warm * low
    redshift = 0.64 * 10 ** (0.5 * (logg - 4.44))
    offset[:, 4] = 0.15 + redshift - 0.45 * _logistic((teff - 5400) / 250) - 0.08 * fe_h
    return offset


def survey_spec() -> Spec:
    """Return the spec of the two surveys."""
    inputs = tuple(
        Input(name, f"{name}_a", f"e_{name}_a", unit, extrinsic=name == "rv")
        for name, unit in UNITS.items()
    )
    outputs = tuple(
        Output(name, f"{name}_b", f"e_{name}_b", unit, corrects=name, extrinsic=name == "rv")
        for name, unit in UNITS.items()
        if name != "jk"
    )
    return Spec("simulated A to B", inputs, outputs, id="star_id")


def as_columns(items: Sequence[Input | Output], values: Floats, errors: Floats) -> Columns:
    """Return values and errors (N, D) under the names of their columns."""
    columns: Columns = {}
    for j, item in enumerate(items):
        columns[item.column] = values[:, j].copy()
        columns[str(item.error)] = errors[:, j].copy()
    return columns


def identifiers(rng: Generator, count: int, parity: int) -> NDArray[np.int64]:
    """Return 19-digit identifiers that are unique, also between the two parities."""
    stride = 2_900_000_000_000_000_000 // max(count, 1)
    halves = np.arange(count, dtype=np.int64) * stride + rng.integers(0, stride, count)
    return np.asarray(1_000_000_000_000_000_000 + 2 * rng.permutation(halves) + parity, np.int64)


def observe(
    rng: Generator, stars: Stars, binary_fraction: float, factors: Floats
) -> tuple[Floats, Floats, Columns]:
    """Return what survey A measures, its quoted errors, and the truth."""
    star, stage, population, magnitude = stars
    n = len(star)
    difficulty = _difficulty(star)
    scatter = SCATTER_B * difficulty[:, None]
    y = star + scatter * (rng.normal(size=star.shape) @ np.linalg.cholesky(CORRELATION_B).T)
    x = np.empty((n, len(INPUTS)))
    x[:, _CORRECTED] = star + systematics(star, stage == "clump")
    x[:, 4] = _colour(rng, star)
    binary = rng.random(n) < binary_fraction
    _disturb(rng, x, y, binary)
    # A photometric colour is not harder to measure for some kinds of star.
    kind = np.where(np.array(INPUTS) == "jk", 1.0, difficulty[:, None])
    x_err = QUOTED_A * kind * _growth(magnitude)[:, None] * rng.lognormal(0, 0.12, x.shape)
    truth: Columns = {"y": y, "star": star, "scatter": scatter, "x": x, "magnitude": magnitude}
    truth |= {"stage": stage, "population": population, "binary": binary}
    truth |= {"error_factor": factors.copy(), "correlation": CORRELATION_B.copy()}
    return x + factors * x_err * rng.normal(size=x.shape), x_err, truth


def measure_b(rng: Generator, truth: Columns) -> tuple[Floats, Floats]:
    """Return what survey B measures, and its quoted errors."""
    kind = (_difficulty(truth["star"]) * _growth(truth["magnitude"]))[:, None]
    errors = QUOTED_B * kind * rng.lognormal(0, 0.1, truth["y"].shape)
    return truth["y"] + errors * rng.normal(size=errors.shape), errors


def _growth(magnitude: Floats) -> Floats:
    """Growth of errors with faintness: a floor of one half, plus photon noise from 12 mag on."""
    return np.sqrt(0.25 + 10 ** (0.4 * (magnitude - 12)))


def _difficulty(star: Floats) -> Floats:
    """Growth of errors and of scatter for hot and for metal-poor stars."""
    hot = np.maximum(0, star[:, 0] - 5500) / 1000
    poor = np.maximum(0, -0.5 - star[:, 2])
    return np.asarray(1 + 0.4 * hot + 0.4 * poor)


def _disturb(rng: Generator, x: Floats, y: Floats, binary: Flags) -> None:
    """Let binaries move between the surveys (km/s), and bias A's Teff (K) and log g."""
    n = len(x)
    amplitude = np.where(binary, np.exp(rng.uniform(np.log(5), np.log(50), n)), 0)
    phase = rng.uniform(0, 2 * np.pi, (2, n))
    x[:, 5] += amplitude * np.sin(phase[0])
    y[:, 4] += amplitude * np.sin(phase[1])
    light = np.where(binary, rng.uniform(0, 1, n), 0)
    x[:, 0] -= 120 * light
    x[:, 1] += 0.15 * light


def _colour(rng: Generator, star: Floats) -> Floats:
    """Draw J-K in mag: intrinsic colour plus a reddening that is larger for (distant) giants."""
    teff, logg, fe_h = star[:, 0], star[:, 1], star[:, 2]
    intrinsic = 0.62 + 1.52 * (5040 / teff - 1.05) + 0.03 * fe_h - 0.01 * (logg - 4.4)
    return np.asarray(intrinsic + rng.exponential(np.where(logg < 3.5, 0.05, 0.02)))


def _stars(rng: Generator, sample: _Sample) -> Stars:
    n = sample.size
    fe_h, population = metallicity(rng, n, sample.metal_poor)
    fe_h -= 0.5 * sample.shift
    stage = rng.choice(np.array(list(STAGES)), n, p=list(STAGES.values()))
    # Old metal-poor stars burn helium on the horizontal branch, which surveys leave out.
    stage[(stage == "clump") & (fe_h < -1)] = "giant"
    star = np.empty((n, 5))
    star[:, 0], star[:, 1] = kiel(rng, fe_h, stage, population == "thick", sample.shift)
    star[:, 2], star[:, 3] = fe_h, magnesium(rng, fe_h, population)
    star[:, 4] = rng.normal(size=n) * by_label(population, DISPERSIONS)
    magnitude = 8.5 + (sample.faintest - 8.5) * rng.beta(3, 1.5, n) + sample.shift
    return Stars(star, stage, population, magnitude)


def _logistic(values: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(values / 2)))


def _factors(changed: Mapping[str, float]) -> Floats:
    for name, value in changed.items():
        if name not in INPUTS:
            raise ValueError(f"error_factors names {name!r}; known inputs: {', '.join(INPUTS)}")
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"error_factors[{name!r}] is {value}; give a positive finite factor")
    return np.array([changed.get(name, ERROR_FACTORS[name]) for name in INPUTS], dtype=np.float64)
