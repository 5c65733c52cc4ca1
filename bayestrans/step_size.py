"""The step of MCLMC's chains, which follows their energy error.

The variance of the energy error is that of a normal error of the same mean size. A few steps have
errors thousands of times as large as most: the squares are of those few alone, and what most have
hardly grows where the draws become biased (docs/sampling.md).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

#: A step's error counts for at most this many roots of the number of dimensions, and for that
#: where it ran off to infinity.
MOST = 1.0
#: The n-th correction since the tuning is with the power -1 / (FIRST + LATER n) of the excess.
#: The variance goes with the 6th to 15th power of the step (docs/sampling.md). As the corrections
#: die away, the draws are of one step, and count alike wherever a chain has been.
FIRST, LATER = 16.0, 1.0
#: What is counted of the logarithm of an excess: a long step comes down faster than a short one
#: grows, as a little beyond a good step can lie one that is unstable.
FALL, RISE = 6.0, -1.5


def error_size(energy_change: jax.Array, moved: jax.Array, dim: int) -> jax.Array:
    """Return the size of a step's energy error over the root of the dimensions."""
    size = jnp.abs(energy_change) / math.sqrt(dim)
    return jnp.where(moved, jnp.minimum(size, MOST), MOST)


def variance_of(sizes: NDArray) -> float:
    """Return the variance of the energy error per dimension from means of `error_size`."""
    return 0.5 * math.pi * float(np.mean(sizes)) ** 2


def corrected(step_size: float, excess: float, number: int) -> float:
    """Return the step after the ``number``-th piece (from 0) since the tuning.

    ``excess`` is how many times what was asked for the energy error varied in that piece.
    """
    log_excess = math.log(max(excess, math.exp(RISE)))
    return step_size * math.exp(-min(log_excess, FALL) / (FIRST + LATER * number))
