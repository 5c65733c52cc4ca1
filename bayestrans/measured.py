"""What a model says of values that survey B measured: densities and PIT, star by star."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import special

from . import student
from .model import tails_of
from .pairs import Pairs
from .posterior import BlockDraws, Posterior
from .predictive import Mixture, replicate
from .programs import compiled

Floats = NDArray[np.float64]


class Comparison(NamedTuple):
    """The predictive at values that survey B measured.

    Attributes
    ----------
    log_density : (N,) array
        Of all outputs that a star has together, each in units of its robust
        correction scale; with B's quoted errors.
    pit : (N, K) array
        Predictive probability below each value; NaN where it is missing.
    mean : (N, K) array
        Predicted mean of the scaled corrections.
    """

    log_density: Floats
    pit: Floats
    mean: Floats


class DrawDensities(NamedTuple):
    """Log densities of measured values under every posterior draw.

    In the same units as `Comparison.log_density`.

    Attributes
    ----------
    stars : dict of str to (S, N) array
        Of the outputs of each network together, by its name; zero for a star that
        has none of them.
    outputs : (S, N, K) array
        Of each output by itself; NaN where it is missing.
    """

    stars: dict[str, Floats]
    outputs: Floats


def compare(posterior: Posterior, pairs: Pairs) -> Comparison:
    """Return density, PIT and mean of the predictive of what survey B measured."""
    delta, err = scaled(posterior, pairs)
    log_density = np.zeros(len(pairs))
    pit, mean = np.full(delta.shape, np.nan), np.full(delta.shape, np.nan)
    for block in posterior.blocks:
        outputs = list(block.block.outputs)
        joint, table = np.zeros(len(pairs)), None
        for rows, mixture in posterior.mixtures(block, pairs.x, pairs.x_err):
            values, errors = (jnp.asarray(a[np.ix_(rows, outputs)].T) for a in (delta, err))
            if table is None:  # the same for all stars
                table = jnp.asarray(student.tabulate(mixture.tails))
            joint[rows], below, centre = _compare(mixture, table, values, errors)
            pit[rows[:, None], outputs], mean[rows[:, None], outputs] = below.T, centre.T
        log_density += joint
    return Comparison(log_density, pit, mean)


def draw_densities(posterior: Posterior, pairs: Pairs) -> DrawDensities:
    """Return log densities of what survey B measured under each draw."""
    delta, err = scaled(posterior, pairs)
    lead = (posterior.n_draws, len(pairs))
    each, stars = np.full((*lead, delta.shape[1]), np.nan), {}
    for block in posterior.blocks:
        outputs = list(block.block.outputs)
        joint = np.full(lead, np.nan)
        for rows, mixture in posterior.mixtures(block, pairs.x, pairs.x_err):
            values, errors = (jnp.asarray(a[np.ix_(rows, outputs)].T) for a in (delta, err))
            together, alone = _densities(mixture, values, errors)
            joint[:, rows] = together
            each[:, rows[:, None], outputs] = np.swapaxes(alone, 1, 2)
        stars[block.block.name] = joint
    each[:, np.isnan(delta)] = np.nan
    return DrawDensities(stars, each)


def star_densities(posterior: Posterior, block: BlockDraws, pairs: Pairs) -> Floats:
    """Return log densities (S, N) of a network's outputs together, under each of its draws."""
    delta, err = scaled(posterior, pairs)
    outputs, joint = list(block.block.outputs), np.full((posterior.n_draws, len(pairs)), np.nan)
    for rows, mixture in posterior.mixtures(block, pairs.x, pairs.x_err):
        values, errors = (jnp.asarray(a[np.ix_(rows, outputs)].T) for a in (delta, err))
        joint[:, rows] = _together(mixture, values, errors)
    return joint


def replicates(posterior: Posterior, pairs: Pairs, *, seed: int) -> Floats:
    """Return draws (S, N, K) of what survey B might have measured, in units."""
    rng, (delta, err) = np.random.default_rng(seed), scaled(posterior, pairs)
    drawn = np.full((posterior.n_draws, *delta.shape), np.nan)
    for block in posterior.blocks:
        outputs = list(block.block.outputs)
        for rows, mixture in posterior.mixtures(block, pairs.x, pairs.x_err):
            new = replicate(mixture, err[np.ix_(rows, outputs)].T, rng)
            drawn[:, rows[:, None], outputs] = np.swapaxes(new, 1, 2)
    return posterior.scaler.restore(posterior.gaps.filled(pairs).x, drawn)


def draw_scatter(posterior: Posterior, x: Floats, x_err: Floats) -> Floats:
    """Return the intrinsic scale (S, N, K) of each output in its unit, for each draw."""
    scatter = np.full((posterior.n_draws, len(x), len(posterior.spec.outputs)), np.nan)
    for block in posterior.blocks:
        for rows, mixture in posterior.mixtures(block, x, x_err):
            place = rows[:, None], list(block.block.outputs)
            scatter[:, *place] = np.swapaxes(mixture.scale, 1, 2)
    return scatter * posterior.scaler.delta_scale


def half_width(posterior: Posterior, mean: Floats, scatter: Floats) -> Floats:
    """Return about half of the central 68 % (N, K) of B's true parameters, in their units.

    From means and scatter (S, N, K) of all draws. Heavy tails may have no useful
    variance, so the scatter counts with the 84th percentile of its law.
    """
    one_sigma, variance = special.ndtr(1.0), np.empty(mean.shape[1:])
    for block in posterior.blocks:
        shape = posterior.shape(block.block)
        wide = student.quantile(one_sigma, tails_of(posterior.flat_draws(block), shape))
        outputs = list(block.block.outputs)
        variance[:, outputs] = ((scatter[..., outputs] * wide[..., None, None]) ** 2).mean(axis=0)
    return np.sqrt(mean.var(axis=0) + variance)


def scaled(posterior: Posterior, pairs: Pairs) -> tuple[Floats, Floats]:
    """Return B's values and quoted errors (N, K) in units of the scaled corrections."""
    delta = posterior.scaler.delta(posterior.gaps.filled(pairs).x, pairs.y)
    return delta, posterior.scaler.noise(pairs.y_err)


def _density(draw: Mixture, delta: jax.Array, err: jax.Array) -> jax.Array:
    noise = draw.error_factor[:, None] * err
    return student.log_density(delta - draw.location, draw.scale, draw.corr, noise, draw.tails)


@compiled
def _compare(
    mixture: Mixture, table: jax.Array, delta: jax.Array, err: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return log density (N,) and PIT (K, N) of measured values, and the predicted mean (K, N)."""

    def one(part: tuple[Mixture, jax.Array]) -> tuple[jax.Array, jax.Array]:
        draw, row = part
        noise = draw.error_factor[:, None] * err
        t = (delta - draw.location) / jnp.sqrt(draw.scale**2 + noise**2)
        below = student.from_table(row[None], t.reshape(1, -1)).reshape(t.shape)
        return _density(draw, delta, err), below

    density, below = jax.lax.map(one, (mixture, table))
    log_mean = jax.scipy.special.logsumexp(density, axis=0) - jnp.log(len(density))
    return log_mean, below.mean(axis=0), mixture.location.mean(axis=0)


@compiled
def _together(mixture: Mixture, delta: jax.Array, err: jax.Array) -> jax.Array:
    """Return log densities of stars (S, N) under each draw."""
    return jax.lax.map(lambda draw: _density(draw, delta, err), mixture)


@compiled
def _densities(mixture: Mixture, delta: jax.Array, err: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return log densities of each draw: of stars (S, N), and of their outputs alone (S, K, N)."""
    alone = jnp.where(jnp.eye(len(delta), dtype=bool)[:, :, None], delta, jnp.nan)

    def one(draw: Mixture) -> tuple[jax.Array, jax.Array]:
        each = jax.vmap(lambda values: _density(draw, values, err))(alone)
        return _density(draw, delta, err), each

    return jax.lax.map(one, mixture)
