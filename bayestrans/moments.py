"""Summaries of mixtures of Student-t's, in closed form: no noise is drawn."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from . import student
from .predictive import Mixture

#: Probabilities of the quantiles in a catalogue.
QUANTILES = {"p16": 0.16, "p50": 0.50, "p84": 0.84}

#: Halvings of the bracket of a quantile: its width is then 1e-5 of the spread.
BISECTIONS = 24


class Summary(NamedTuple):
    """Summaries of some stars for one network, in scaled units, stars last.

    Attributes
    ----------
    mean, sd, sd_model : (K, N) array
    quantiles : (3, K, N) array
    corr : (K, K, N) array
    """

    mean: Any
    sd: Any
    sd_model: Any
    quantiles: Any
    corr: Any


@jax.jit
def moments(mixture: Mixture) -> Summary:
    """Summarise the mixture of Student-t's in closed form: no noise is drawn."""
    stretch = jnp.where(jnp.isinf(mixture.dof), 1.0, mixture.dof / (mixture.dof - 2.0))
    mean = mixture.location.mean(axis=0)
    away = mixture.location - mean
    between = jnp.einsum("sin,sjn->ijn", away, away) / len(away)
    within = jnp.einsum(
        "s,sin,sij,sjn->ijn", stretch / len(away), mixture.scale, mixture.corr, mixture.scale
    )
    covariance = between + within
    sd = jnp.sqrt(jnp.einsum("iin->in", covariance))
    quantiles = _quantiles(mixture, mean, sd)
    sd_model = jnp.sqrt(jnp.einsum("iin->in", between))
    return Summary(mean, sd, sd_model, quantiles, covariance / (sd[:, None] * sd[None]))


def _quantiles(mixture: Mixture, mean: jax.Array, sd: jax.Array) -> jax.Array:
    """Return quantiles (3, K, N) by bisection of the mixture's distribution function."""
    table = student.tabulate(mixture.dof)
    n_draws, n_outputs, n_stars = mixture.location.shape

    def below(value: jax.Array) -> jax.Array:
        t = (value - mixture.location) / mixture.scale
        return (
            student.from_table(table, t.reshape(n_draws, -1))
            .mean(axis=0)
            .reshape(n_outputs, n_stars)
        )

    def one(level: float) -> jax.Array:
        def halve(_: int, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = bracket
            middle = 0.5 * (low + high)
            left = below(middle) > level
            return jnp.where(left, low, middle), jnp.where(left, middle, high)

        # By Cantelli's inequality these quantiles lie within 2.3 sd of the mean.
        low, high = jax.lax.fori_loop(0, BISECTIONS, halve, (mean - 2.5 * sd, mean + 2.5 * sd))
        return 0.5 * (low + high)

    return jnp.stack([one(level) for level in QUANTILES.values()])
