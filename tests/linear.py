"""Surveys whose translations are linear with normal noise, so that all has a closed form.

A star's true parameters y on the base are normal. The base measures them with errors. Every
other survey sees s = y - t, where t (the base's own scatter, of covariance T) is invisible to
it, with an offset and with noise. Models are built by hand from the exact regression.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

import bayestrans as bt
from bayestrans.baseline import Baseline
from bayestrans.calibration import Calibration
from bayestrans.gaps import Gaps
from bayestrans.neighbours import Neighbours
from bayestrans.posterior import BlockDraws
from bayestrans.scale import Scaler

NAMES, UNITS = ("teff", "logg", "fe_h"), ("K", "", "")
MEAN = np.array([4800.0, 2.5, -0.3])
SD = np.array([300.0, 0.5, 0.25])
CORR = np.array([[1.0, 0.6, -0.3], [0.6, 1.0, 0.1], [-0.3, 0.1, 1.0]])
POPULATION = CORR * np.outer(SD, SD)
BASE_ERROR = np.array([20.0, 0.03, 0.02])
NOISE = {
    "a": (np.array([90.0, 0.15, 0.08]), np.array([60.0, 0.1, -0.05])),
    "b": (np.array([60.0, 0.25, 0.10]), np.array([-30.0, 0.0, 0.1])),
    "c": (np.array([120.0, 0.10, 0.12]), np.array([0.0, -0.1, 0.0])),
}
BOTH = np.array([[1.0, 0.5, 0.3], [0.5, 1.0, 0.2], [0.3, 0.2, 1.0]])  # of noise, teff on


@dataclass(frozen=True)
class Sky:
    """Stars and what all surveys measure of them."""

    own: np.ndarray  # T
    truth: np.ndarray
    seen: dict[str, np.ndarray]
    base: np.ndarray
    ids: np.ndarray


def noise_of(name: str) -> np.ndarray:
    error, _ = NOISE[name]
    return BOTH * np.outer(error, error)


def sky(count: int, seed: int, own: float = 0.0) -> Sky:
    """Draw stars; ``own`` is the base's own scatter in units of the population's spread."""
    rng = np.random.default_rng(seed)
    common = own**2 * POPULATION
    star = rng.multivariate_normal(MEAN, POPULATION - common, count)
    truth = star + (rng.multivariate_normal(np.zeros(3), common, count) if own else 0.0)
    seen = {
        name: star + offset + rng.multivariate_normal(np.zeros(3), noise_of(name), count)
        for name, (_, offset) in NOISE.items()
    }
    base = truth + BASE_ERROR * rng.normal(size=truth.shape)
    return Sky(common, truth, seen, base, np.arange(count) + 2**60 + 1)


def spec(first: str = "a", second: str = "base") -> bt.Spec:
    ends = {"base": "b0"}
    one, two = ends.get(first, first), ends.get(second, second)
    return bt.Spec(
        f"{first} to {second}",
        tuple(
            bt.Input(n, f"{n}_{one}", f"e_{n}_{one}", u) for n, u in zip(NAMES, UNITS, strict=True)
        ),
        tuple(
            bt.Output(n, f"{n}_{two}", f"e_{n}_{two}", u, corrects=n)
            for n, u in zip(NAMES, UNITS, strict=True)
        ),
        id="source_id",
    )


def values(stars: Sky, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what a survey measured and its quoted errors."""
    if name == "base":
        return stars.base, np.tile(BASE_ERROR, (len(stars.base), 1))
    return stars.seen[name], np.tile(NOISE[name][0], (len(stars.base), 1))


def columns(stars: Sky, name: str) -> dict[str, np.ndarray]:
    """Return a survey's table."""
    x, x_err = values(stars, name)
    given = {"source_id": stars.ids}
    end = "b0" if name == "base" else name
    for j, quantity in enumerate(NAMES):
        given |= {f"{quantity}_{end}": x[:, j], f"e_{quantity}_{end}": x_err[:, j]}
    return given


def pairs(stars: Sky, first: str, second: str) -> bt.Pairs:
    y, y_err = values(stars, second)
    if second != "base":  # all of their errors are taken for scatter
        y_err = np.full_like(y, np.nan)
    return bt.Pairs(spec(first, second), *values(stars, first), y, y_err, stars.ids)


def law(name: str, own: float) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (3,) and covariance (3, 3) of what a survey measures."""
    if name == "base":
        return MEAN, POPULATION + np.diag(BASE_ERROR**2)
    return MEAN + NOISE[name][1], (1 - own**2) * POPULATION + noise_of(name)


def regression(first: str, second: str, own: float) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and scatter of the second survey's values without its quoted errors."""
    _, covariance = law(first, own)
    across = (1.0 - own**2) * POPULATION
    slope = across @ np.linalg.inv(covariance)
    _, total = law(second, own)
    quoted = BASE_ERROR if second == "base" else np.zeros(3)
    return slope, total - np.diag(quoted**2) - slope @ across.T


def model(first: str = "a", second: str = "base", own: float = 0.0, **changed) -> bt.Posterior:
    """Return the exact translation as a model, with hardly any doubt about it."""
    train = pairs(sky(3000, 99, own), first, second)
    slope, scatter = regression(first, second, own)
    centre, covariance = law(first, own)
    target, _ = law(second, own)
    scaler = dataclasses.replace(
        Scaler.learn(train),
        x_centre=centre,
        x_scale=np.sqrt(np.diag(covariance)),
        delta_centre=target - centre,
        delta_scale=np.sqrt(np.diag(scatter)),
    )
    scaled = (slope - np.eye(3)) * scaler.x_scale / scaler.delta_scale[:, None]
    corr = scatter / np.outer(scaler.delta_scale, scaler.delta_scale)
    lead = (2, 20)
    rng = np.random.default_rng(5)
    (block,) = train.spec.blocks
    draws = {
        "intercept": 1e-3 * rng.normal(size=(*lead, 3)),
        "slope": np.broadcast_to(scaled, (*lead, 3, 3)).copy(),
        "log_scatter": np.zeros((*lead, 3)),
        "corr_cholesky": np.broadcast_to(np.linalg.cholesky(corr), (*lead, 3, 3)).copy(),
    }
    made = bt.Posterior(
        train.spec,
        bt.Network(()),
        bt.Noise(dof=math.inf, error_factor="one"),
        scaler,
        (BlockDraws(block, draws, {"log_density": np.zeros(lead)}, {}),),
        Gaps.learn(scaler, train).density,
        Neighbours.learn(train.x, (0, 1, 2), (3.0, 8.0)),
        Calibration.identity(3),
        Baseline.learn(train, scaler),
        train.x[::15],
        train.x_err[::15],
        train.y[::15],
        train.y_err[::15],
        {"stars": len(train), "seed": 5},
    )
    return dataclasses.replace(made, **changed)
