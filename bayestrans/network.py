"""The shape of the learned function, in plain ``jax.numpy``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp

#: Prior standard deviation of the logarithm of a feature's relevance.
RELEVANCE_SD = 0.5
ACTIVATIONS = {"tanh": jnp.tanh, "silu": jax.nn.silu, "relu": jax.nn.relu}


@dataclass(frozen=True)
class Network:
    """A small fully connected network with skip connections.

    Each hidden layer after the first adds to the one before it where their
    widths agree. Weights are standard normal a priori, divided by the square
    root of their fan-in (Neal 1996) and multiplied by a gain of each layer, whose
    logarithm is standard normal too: how sharp a function is, is learned. So is by how
    much sharper in one feature than in another: those of the first layer are multiplied
    by a relevance of each feature also, log-normal of width `RELEVANCE_SD`.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers; ``()`` leaves a linear map.
    activation : {"tanh", "silu", "relu"}

    Raises
    ------
    ValueError
        For a width below one or an unknown activation.
    """

    hidden: tuple[int, ...] = (32, 32)
    activation: str = "tanh"

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(int(width) for width in self.hidden))
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden widths are {self.hidden}; each must be at least 1")
        if self.activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation {self.activation!r} is unknown; choose one of {known}")

    def shapes(self, n_in: int, n_out: int) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of each array of weights (empty if linear)."""
        if not self.hidden:
            return {}
        shapes: dict[str, tuple[int, ...]] = {}
        widths = (n_in, *self.hidden)
        for layer, (before, after) in enumerate(pairwise(widths)):
            shapes[f"weight_{layer}"] = (after, before)
            shapes[f"bias_{layer}"] = (after,)
        shapes["log_gain"] = (len(self.hidden),)
        shapes["log_relevance"] = (n_in,)  # in units of its prior's width
        shapes["weight_out"] = (n_out, self.hidden[-1])
        return shapes

    def __call__(self, weights: Mapping[str, jax.Array], z: jax.Array) -> jax.Array:
        """Return the network's outputs (n_out, N) at features ``z`` (n_in, N).

        Stars run along the last axis, as everywhere in the model.
        """
        activation = ACTIVATIONS[self.activation]
        state = z
        for layer in range(len(self.hidden)):
            before = state
            gain = jnp.exp(weights["log_gain"][layer]) / math.sqrt(len(before))
            weight = gain * weights[f"weight_{layer}"]
            if layer == 0:
                weight = weight * jnp.exp(RELEVANCE_SD * weights["log_relevance"])
            state = activation(weight @ before + weights[f"bias_{layer}"][:, None])
            if layer > 0 and state.shape == before.shape:
                state = state + before
        return (weights["weight_out"] / math.sqrt(len(state))) @ state
