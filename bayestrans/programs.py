"""Compile functions for any device, their products in full precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    """Return ``jax.jit(function, **options)`` whose matrix products keep single precision.

    Left to themselves, GPUs round the factors of a product to ten bits: the energies that a
    sampler compares, and the distances of near neighbours, are then lost in the rounding.
    """

    @wraps(function)
    def precise(*args: Any, **kwargs: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return jax.jit(precise, **options)


def computed_once(values: Any) -> Any:
    """Return arrays that a CPU computes once and keeps for all who use them.

    Left to itself, XLA computes what it takes for cheap again within each loop that reads it. Where
    some hundred small arrays make one another, as in the factorisation of the scatter, that is most
    of the work (docs/costs.md). Elsewhere than on a CPU the values are left to XLA: there it is not
    measured.
    """
    return jax.lax.optimization_barrier(values) if jax.default_backend() == "cpu" else values


def round_up(count: int) -> int:
    """Return the next number with no more than five significant bits.

    Arrays of so many stars, some of which say nothing, share compiled programs with others of
    nearly as many. They are a sixteenth more at most, half of that in the mean.
    """
    step = 1 << max(0, count.bit_length() - 5)
    return -(-count // step) * step
