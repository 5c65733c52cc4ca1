"""A translation whose predictive is known exactly, and the closed forms of its scores."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy import stats

import bayestrans as bt
from bayestrans.baseline import Baseline
from bayestrans.calibration import Calibration
from bayestrans.gaps import Gaps
from bayestrans.neighbours import Neighbours
from bayestrans.posterior import BlockDraws
from bayestrans.scale import Scaler
from bayestrans.scores import OutputScore

SPEC = bt.Spec(
    "exact",
    (
        bt.Input("teff", "teff_a", unit="K"),
        bt.Input("logg", "logg_a"),
        bt.Input("rv", "rv_a", unit="km/s", extrinsic=True),
    ),
    (
        bt.Output("teff", "teff_b", unit="K", corrects="teff"),
        bt.Output("logg", "logg_b", corrects="logg"),
        bt.Output("rv", "rv_b", unit="km/s", corrects="rv", extrinsic=True),
    ),
)
CENTRE, SCALE = np.array([20.0, -0.05, 0.3]), np.array([50.0, 0.1, 0.5])
X_CENTRE, X_SCALE = np.array([5000.0, 3.0, 0.0]), np.array([500.0, 0.8, 30.0])
INTERCEPT = np.array([0.3, -0.2, 0.1])
SLOPE = np.array([[1.0, -0.5, 0.0], [0.4, 0.8, 0.0], [-0.3, 0.2, 0.7]])
SCATTER = np.array([0.8, 1.2, 0.6])
RHO = 0.7
CORR = np.array([[1.0, RHO, 0.0], [RHO, 1.0, 0.0], [0.0, 0.0, 1.0]])
CHAINS, DRAWS = 4, 25
PIT_ERROR = 3e-5  # of interpolation in the table of the distribution function
CLASSES = ["dense", "sparse", "outside"]


def location(x: np.ndarray) -> np.ndarray:
    """Return the law's mean scaled correction."""
    return INTERCEPT + (x - X_CENTRE) / X_SCALE @ SLOPE.T


def stars(count: int, seed: int, error: np.ndarray | float = np.nan) -> bt.Pairs:
    """Draw pairs from the law; B measures them with Gaussian errors in units of ``SCALE``."""
    rng = np.random.default_rng(seed)
    x = X_CENTRE + X_SCALE * rng.normal(size=(count, 3))
    noise = SCATTER * (rng.normal(size=(count, 3)) @ np.linalg.cholesky(CORR).T)
    err = np.broadcast_to(error, x.shape)
    noise = noise + np.nan_to_num(err) * rng.normal(size=x.shape)
    y = x + CENTRE + SCALE * (location(x) + noise)
    return bt.Pairs(SPEC, x, np.full(x.shape, np.nan), y, err * SCALE, np.arange(count))


def scaled_residual(pairs: bt.Pairs) -> np.ndarray:
    return (pairs.y - pairs.x - CENTRE) / SCALE - location(pairs.x)


def exact(train: bt.Pairs, *, widen: float = 1.0, dof: float = math.inf) -> bt.Posterior:
    """Return the posterior whose every draw is the law, its scatter times ``widen``."""
    zero = np.zeros(3)
    scaler = Scaler(X_CENTRE, X_SCALE, zero, zero, CENTRE, SCALE, np.arange(3), zero)
    blocks = []
    for block in SPEC.blocks:
        inputs, outputs = list(block.inputs), list(block.outputs)
        law = {
            "intercept": INTERCEPT[outputs],
            "slope": SLOPE[np.ix_(outputs, inputs)],
            "log_scatter": np.log(widen * SCATTER[outputs]),
        }
        if len(outputs) > 1:
            law["corr_cholesky"] = np.linalg.cholesky(CORR[np.ix_(outputs, outputs)])
        draws = {
            name: np.tile(value.astype(np.float32), (CHAINS, DRAWS) + (1,) * value.ndim)
            for name, value in law.items()
        }
        blocks.append(BlockDraws(block, draws, {}, {}))
    return bt.Posterior(
        SPEC,
        bt.Network(()),
        bt.Noise(dof=dof, error_factor="one"),
        scaler,
        tuple(blocks),
        Gaps.learn(scaler, train).density,
        Neighbours.learn(train.x, SPEC.blocks[0].inputs),
        Calibration.identity(len(SPEC.outputs)),
        Baseline.learn(train, scaler),
        train.x[:20],
        train.x_err[:20],
        train.y[:20],
        train.y_err[:20],
        {},
    )


def edit(posterior: bt.Posterior, change: Callable[[dict], dict]) -> bt.Posterior:
    """Return the posterior with the draws of each network passed through ``change``."""
    blocks = tuple(b._replace(draws={**b.draws, **change(b.draws)}) for b in posterior.blocks)
    return dataclasses.replace(posterior, blocks=blocks)


def crps_gaussian(residual: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return the closed form of Gneiting & Raftery (2007), equation 21."""
    z = residual / sd
    return sd * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))


def crps_of_draws(residual: np.ndarray, sd: np.ndarray) -> float:
    """Return the mean score expected of a sample, whose own spread is biased by 1 / its size."""
    return float(np.nanmean(crps_gaussian(residual, sd) + sd / np.sqrt(np.pi) / (CHAINS * DRAWS)))


def assert_coverage(score: OutputScore, count: int, stretch: float = 1.0) -> None:
    """Hold coverage against what Gaussian intervals ``stretch`` times too wide contain."""
    assert list(score.coverage) == ["0.50", "0.68", "0.90", "0.95"]
    for level, share in score.coverage.items():
        expected = 2 * stats.norm.cdf(stretch * stats.norm.ppf(0.5 + float(level) / 2)) - 1
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / count) + 1e-9
