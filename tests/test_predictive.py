"""Noise drawn from the mixture that a predictive is."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bayestrans.predictive import Mixture, draw_noise, replicate, star_keys
from bayestrans.student import Tails


def test_outputs_of_all_but_the_same_scatter_have_draws():
    """Their correlation matrix is singular in single precision."""
    corr = np.broadcast_to(np.array([[1, -1], [-1, 1]], np.float32), (50, 2, 2))
    shape = (50, 2, 5)
    mixture = Mixture(
        *(jnp.asarray(a) for a in (np.zeros(shape), np.ones(shape), corr)),
        tails=Tails(jnp.full(50, jnp.inf), jnp.zeros(50), jnp.ones(50)),
        error_factor=jnp.ones((50, 2)),
    )
    x = np.arange(10.0).reshape(5, 2)
    drawn = draw_noise(mixture, np.zeros((2, 5)), star_keys(x, x), (0, 0))
    for draws in (drawn, replicate(mixture, np.zeros((2, 5)), np.random.default_rng(0))):
        assert np.std(draws) == pytest.approx(1, abs=0.2)
        np.testing.assert_allclose(draws[:, 0], -draws[:, 1], atol=0.01)


def test_outliers_are_drawn_as_often_and_as_wide_as_they_are():
    """Both outputs of a star together, with B's errors."""
    draws, count = 4000, 10
    shape = (draws, 2, count)
    mixture = Mixture(
        jnp.zeros(shape),
        jnp.full(shape, 0.6),
        jnp.broadcast_to(jnp.eye(2), (draws, 2, 2)),
        tails=Tails(*(jnp.full(draws, value) for value in (math.inf, 0.25, 9.0))),
        error_factor=jnp.ones((draws, 2)),
    )
    x, err = np.arange(2.0 * count).reshape(count, 2), np.full((2, count), 0.8)
    drawn = draw_noise(mixture, err, star_keys(x, x), (0, 0))
    for noise in (np.asarray(drawn), replicate(mixture, err, np.random.default_rng(0))):
        far = np.abs(noise) > 3.5
        law = 0.8 * stats.norm.sf(3.5) + 0.2 * stats.norm.sf(3.5 / 9.0)
        assert far.mean() == pytest.approx(2 * law, abs=0.006)
        assert far.all(axis=1).mean() == pytest.approx(
            0.2 * (2 * stats.norm.sf(3.5 / 9)) ** 2, abs=0.006
        )
        assert noise.var() == pytest.approx(0.8 + 0.2 * 81, rel=0.04)
