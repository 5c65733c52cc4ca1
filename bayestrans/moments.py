"""Summaries of mixtures of laws, in closed form: no noise is drawn."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from . import student
from .predictive import Mixture
from .programs import compiled

#: Probabilities of the quantiles in a catalogue.
QUANTILES = {"p16": 0.16, "p50": 0.50, "p84": 0.84}

#: Halvings of the bracket of a quantile: its width is then 3e-4 of the spread.
BISECTIONS = 14


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


@compiled
def moments(mixture: Mixture, table: jax.Array) -> Summary:
    """Summarise the mixture in closed form: no noise is drawn.

    ``table`` is `student.polynomial` of the mixture's tails.
    """
    stretch = student.variance(mixture.tails)
    mean = mixture.location.mean(axis=0)
    away = mixture.location - mean
    between = jnp.einsum("sin,sjn->ijn", away, away) / len(away)
    within = jnp.einsum(
        "s,sin,sij,sjn->ijn", stretch / len(away), mixture.scale, mixture.corr, mixture.scale
    )
    covariance = between + within
    sd = jnp.sqrt(jnp.einsum("iin->in", covariance))
    quantiles = _quantiles(mixture, table, mean, sd)
    sd_model = jnp.sqrt(jnp.einsum("iin->in", between))
    return Summary(mean, sd, sd_model, quantiles, covariance / (sd[:, None] * sd[None]))


def _quantiles(mixture: Mixture, table: jax.Array, mean: jax.Array, sd: jax.Array) -> jax.Array:
    """Return quantiles (3, K, N) by bisection of the mixture's distribution function."""

    def below(values: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        def add(sums: tuple[jax.Array, ...], draw: tuple[jax.Array, ...]):  # type: ignore[no-untyped-def]
            location, scale, row = draw
            return tuple(
                s + student.from_polynomial((value - location) / scale, row)
                for s, value in zip(sums, values, strict=True)
            ), None

        draws = (mixture.location, mixture.scale, table)
        sums, _ = jax.lax.scan(add, (jnp.zeros_like(mean),) * len(values), draws)
        return tuple(s / len(table) + 0.5 for s in sums)

    def halve(_: int, bracket: tuple[tuple[jax.Array, ...], jax.Array]):  # type: ignore[no-untyped-def]
        centres, width = bracket
        right = zip(below(centres), QUANTILES.values(), strict=True)
        moved = (jnp.where(found > level, -0.5, 0.5) * width for found, level in right)
        return tuple(c + m for c, m in zip(centres, moved, strict=True)), 0.5 * width

    # By Cantelli's inequality these quantiles lie within 2.3 sd of the mean.
    start = ((mean,) * len(QUANTILES), 2.5 * sd)
    centres, _ = jax.lax.fori_loop(0, BISECTIONS, halve, start)
    return jnp.stack(centres)
