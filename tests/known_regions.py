"""Stars of known laws, in regions held out."""

from __future__ import annotations

import numpy as np

from bayestrans.calibration import ONSET
from bayestrans.held_out import HeldOut

NAMES = ("teff", "logg")


def cloud(count: int = 1000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 2))


def held_out(
    *,
    count: int = 4000,
    wrong: float = 1.0,
    growing: float = 0.0,
    everywhere: bool = True,
    seed: int = 1,
) -> HeldOut:
    """Return stars of scores from 0.5 to 5 whose scatter is 1, said by Gaussians of sd 1.

    The true scatter is ``wrong`` times what is said, growing away from the training
    stars: that of all stars, or of every fourth alone.
    """
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.5, 5.0, count)
    away = np.maximum(0.0, score - ONSET)
    grows = growing * (everywhere | (rng.random(count) < 0.25))
    network = rng.normal(0.0, 3.0, count)
    truth = network + wrong * np.sqrt(1.0 + grows * away**2) * rng.normal(size=count)
    ones = np.ones((4, count))
    tails = (np.inf * ones, 0 * ones, ones)
    arrays = (network * ones, ones, 0 * ones, *tails, truth, score, np.arange(count))
    return HeldOut(*(np.asarray(a, dtype=np.float32) for a in arrays))
