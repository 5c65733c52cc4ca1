"""A model in closed form to draw, and the words of a picture."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

import bayestrans as bt
from bayestrans.baseline import Baseline
from bayestrans.calibration import Calibration
from bayestrans.gaps import Gaps
from bayestrans.neighbours import Neighbours
from bayestrans.posterior import BlockDraws
from bayestrans.scale import Scaler
from bayestrans.scores import Score

OFFSET = 25.0  # K, of the invented surveys below


def texts(axis) -> str:
    return " ".join(text.get_text() for text in axis.texts)


def simple(output: bt.Output) -> tuple[bt.Posterior, bt.Pairs]:
    """Return a linear model of one output, which scatters by 10 about it, and its stars."""
    inputs = (bt.Input("teff", "teff_a", unit="K"), bt.Input("logg", "logg_a"))
    spec = bt.Spec("simple", inputs, (output,))
    rng = np.random.default_rng(1)
    z = rng.normal(size=(200, 2))
    x = np.array([5000.0, 3.0]) + np.array([300.0, 0.5]) * z
    y = OFFSET + 10 * z[:, :1] + rng.normal(0, 10, (200, 1))
    y = y + (x[:, :1] if output.corrects else 0)
    nothing = np.full(x.shape, np.nan)
    pairs = bt.Pairs(spec, x, nothing, y, nothing[:, :1], np.arange(200))
    scaler = dataclasses.replace(
        Scaler.learn(pairs), delta_centre=np.array([OFFSET]), delta_scale=np.array([10.0])
    )
    draws = {
        "intercept": np.zeros((2, 10, 1), np.float32),
        "slope": np.tile(np.float32([1, 0]), (2, 10, 1, 1)),
        "log_scatter": np.zeros((2, 10, 1), np.float32),
    }
    posterior = bt.Posterior(
        spec,
        bt.Network(()),
        bt.Noise(dof=math.inf, error_factor="one"),
        scaler,
        (BlockDraws(spec.blocks[0], draws, {}, {}),),
        Gaps.learn(scaler, pairs).density,
        Neighbours.learn(x, (0, 1)),
        Calibration.identity(1),
        Baseline.learn(pairs, scaler),
        x[:5],
        nothing[:5],
        pairs.y[:5],
        pairs.y_err[:5],
        {},
    )
    return posterior, pairs


def evaluation(
    pit: np.ndarray, classes: np.ndarray | None = None, names: tuple[str, ...] = ()
) -> bt.Evaluation:
    """Return scores of stars, ``dense`` by default, whose joint credibility is their first PIT."""
    score = Score(len(pit), 0.0, 0.0, {}, {})
    classes = np.full(len(pit), "dense") if classes is None else classes
    return bt.Evaluation(score, (), {}, pit, pit[:, 0], classes, dict.fromkeys(names, ""))
