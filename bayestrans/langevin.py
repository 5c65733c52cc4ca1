"""One step of microcanonical Langevin dynamics.

The integrator is BlackJAX's. Its own kernel draws four vectors of normal numbers for each step,
two of which turn the momentum and two of which are for steps that fail; beside a few hundred stars
and a small network that counts (docs/design.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from blackjax.mcmc.integrators import IntegratorState, isokinetic_mclachlan
from blackjax.mcmc.mclmc import MCLMCInfo


def step(
    rng_key: jax.Array,
    state: IntegratorState,
    logdensity_fn: Callable[[Any], jax.Array],
    inverse_mass_matrix: jax.Array,
    L: jax.Array,
    step_size: jax.Array,
) -> tuple[IntegratorState, MCLMCInfo]:
    """Return the state after McLachlan's step and a turn of the momentum, and its energy error.

    With the names and the meanings of BlackJAX's kernels, whose tuning can call it. A step that
    leaves the finite numbers is not made: the chain goes on in a direction of its own.
    """
    moved, kinetic = isokinetic_mclachlan(logdensity_fn, inverse_mass_matrix)(state, step_size)
    energy = kinetic - moved.logdensity + state.logdensity
    good = jnp.isfinite(energy)
    for part in (moved.momentum, moved.logdensity_grad):
        good &= jnp.isfinite(part).all()
    kept = jax.tree.map(lambda after, before: jnp.where(good, after, before), moved, state)
    momentum = _turned(jnp.where(good, moved.momentum, 0.0), rng_key, step_size / L)
    info = MCLMCInfo(
        kept.logdensity, jnp.where(good, kinetic, 0.0), jnp.where(good, energy, 0.0), good
    )
    return kept._replace(momentum=momentum), info


def _turned(momentum: jax.Array, key: jax.Array, path: jax.Array) -> jax.Array:
    """Return a direction that has forgotten the momentum's by ``path`` of its length.

    Of no momentum, a random one.
    """
    noise = jax.random.normal(key, momentum.shape, momentum.dtype)
    momentum = momentum + jnp.sqrt(jnp.expm1(2.0 * path) / len(momentum)) * noise
    return momentum / jnp.linalg.norm(momentum)
