"""Stars on a line, with gaps, and what is then known of them in closed form."""

from __future__ import annotations

import math

import numpy as np

import bayestrans as bt

NAN = float("nan")
SCATTER = 30.0
CENTRE = np.array([4800.0, 2.5, -0.2])
WIDTH = np.array([300.0, 0.6, 0.3])
CORR = np.array([[1.0, 0.8, -0.3], [0.8, 1.0, 0.2], [-0.3, 0.2, 1.0]])
COVARIANCE = np.outer(WIDTH, WIDTH) * CORR
SLOPE = np.array([0.1, -90.0, 120.0])
SPEC = bt.Spec(
    "linear",
    (bt.Input("teff", "teff", unit="K"), bt.Input("logg", "logg"), bt.Input("fe_h", "fe_h")),
    (bt.Output("teff", "teff_b", unit="K", corrects="teff"),),
)


def linear(count: int, seed: int) -> bt.Pairs:
    """Draw stars with Gaussian inputs, whose correction is linear with Gaussian scatter."""
    rng = np.random.default_rng(seed)
    x = rng.multivariate_normal(CENTRE, COVARIANCE, count)
    y = x[:, 0] + 40 + (x - CENTRE) @ SLOPE + rng.normal(0, SCATTER, count)
    nothing = np.full(x.shape, NAN)
    return bt.Pairs(SPEC, x, nothing, y[:, None], nothing[:, :1], np.arange(count))


def closed_form(row: np.ndarray) -> tuple[float, float]:
    """Return mean and sd of the output given the inputs that are seen."""
    seen, slope = np.isfinite(row), SLOPE + np.array([1.0, 0.0, 0.0])
    gain = COVARIANCE[np.ix_(~seen, seen)] @ np.linalg.inv(COVARIANCE[np.ix_(seen, seen)])
    left = COVARIANCE[np.ix_(~seen, ~seen)] - gain @ COVARIANCE[np.ix_(seen, ~seen)]
    away = row - CENTRE
    away[~seen] = gain @ away[seen]
    variance = SCATTER**2 + slope[~seen] @ left @ slope[~seen]
    return CENTRE[0] + 40 + away @ slope, math.sqrt(variance)


def holed(array: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Blank a share of the numbers at random, but never all of a row's."""
    rng = np.random.default_rng(seed)
    gone = rng.random(array.shape) < share
    gone[np.arange(len(array)), rng.integers(0, array.shape[1], len(array))] = False
    return np.where(gone, NAN, array)
