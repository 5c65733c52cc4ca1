"""Stars in bundles of fixed shapes, so that one compiled program serves all."""

from __future__ import annotations

import jax
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Stars in one call; the last call is filled up.
BUNDLE = 8192


def bundled(values: Floats, group: int, size: int = BUNDLE) -> NDArray[np.float32]:
    """Return up to ``size`` stars (N, F) in groups (G, F, group), filled up with zeros."""
    filled = np.zeros((size, values.shape[1]), dtype=np.float32)
    filled[: len(values)] = values
    return np.ascontiguousarray(filled.reshape(-1, group, values.shape[1]).swapaxes(1, 2))


def unbundled(values: jax.Array) -> NDArray[np.float32]:
    """Return groups of stars (G, ..., group) as (..., N)."""
    apart = np.moveaxis(np.asarray(values), 0, -2)
    return apart.reshape(*apart.shape[:-2], -1)
