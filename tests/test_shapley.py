"""Shapley effects against the closed form of a linear map."""

from __future__ import annotations

import numpy as np
import pytest
from known_effects import CORRELATION, closed_form

from bayestrans.shapley import REPLICATES, Population, effects


def normal(covariance: np.ndarray) -> Population:
    return Population(np.ones(1), np.zeros((1, len(covariance))), covariance[None])


def estimate(function, population, players, size=512, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Return Shapley effects and their standard errors."""
    found = effects(function, population, players, size=size, seed=seed).shapley
    return found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(REPLICATES)


@pytest.mark.parametrize("players", [[[0], [1], [2], [3]], [[0, 2], [1], [3]]])
def test_effects_of_a_linear_map_are_the_closed_form(players):
    slope = np.array([1.0, -2.0, 0.5, 0.3])
    truth = closed_form(slope, CORRELATION, players)
    found, error = estimate(lambda z: z @ slope, normal(CORRELATION), players)
    assert error.max() < 0.005 * truth.sum()
    np.testing.assert_allclose(found, truth, atol=0.01 * truth.sum())
    assert truth.sum() == pytest.approx(slope @ CORRELATION @ slope)


def test_standard_errors_are_those_of_other_seeds():
    slope, players = np.array([1.0, -2.0, 0.5, 0.3]), [[0], [1], [2], [3]]
    settings = (lambda z: np.tanh(2 * z) @ slope, normal(CORRELATION), players, 32)
    found, errors = zip(*(estimate(*settings, seed=seed) for seed in range(40)), strict=True)
    ratio = np.std(found, axis=0, ddof=1) / np.sqrt(np.mean(np.square(errors), axis=0))
    # A standard deviation of forty is known to 11 %.
    np.testing.assert_allclose(ratio, 1.0, atol=0.4)


def test_an_input_that_does_nothing_and_tells_of_nothing_has_no_effect():
    found, _ = estimate(lambda z: np.sin(z[:, 0]) * z[:, 1], normal(CORRELATION), [[0], [1], [3]])
    assert abs(found[2]) < 1e-6
    # ... but one that tells of others has: knowing it is knowing of them.
    slope = np.array([1.0, 0.0, 0.0, 0.0])
    truth = closed_form(slope, CORRELATION, [[0], [1], [2], [3]])
    found, _ = estimate(lambda z: z @ slope, normal(CORRELATION), [[0], [1], [2], [3]])
    assert truth[1] > 0.15
    np.testing.assert_allclose(found, truth, atol=0.01)


def test_two_copies_of_one_input_share_alike():
    copies = np.array([[1.0, 1 - 1e-8, 0.0], [1 - 1e-8, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found, error = estimate(lambda z: z[:, 0] ** 2 + z[:, 2], normal(copies), [[0], [1], [2]])
    assert abs(found[0] - found[1]) < 1e-3 * found.sum()
    assert error.max() < 0.03
    assert (np.abs(found - 1.0) < 5 * error).all()  # the square's variance of two, halved


def test_an_interaction_is_halved():
    found, _ = estimate(lambda z: z[:, 0] * z[:, 1], normal(np.eye(2)), [[0], [1]], size=2048)
    np.testing.assert_allclose(found, 0.5, atol=0.02)  # four standard deviations over seeds


def test_effects_sum_to_the_variance_of_each_sample():
    found = effects(lambda z: np.cos(z).T, normal(CORRELATION), [[0], [1], [2], [3]], size=16)
    np.testing.assert_allclose(found.shapley.sum(axis=1), found.variance, rtol=1e-12)
    assert found.variance.shape == (REPLICATES, 4)


@pytest.mark.parametrize("kept", [[], [0], [1], [0, 1], [1, 2]])
def test_redrawn_stars_are_of_the_mixture_and_share_what_is_kept(kept):
    cov = np.array([CORRELATION[:3, :3], 0.2 * np.eye(3)])
    mixture = Population(np.array([0.7, 0.3]), np.array([[0.0, 0, 0], [3.0, -2, 1]]), cov)
    rng, mask = np.random.default_rng(0), np.isin(range(3), kept)
    z = mixture.redrawn(np.zeros((20000, 3)), np.zeros(3, bool), rng.random((20000, 4)))
    other = mixture.redrawn(z, mask, rng.random((20000, 4)))
    np.testing.assert_array_equal(other[:, mask], z[:, mask])
    mean = mixture.weight @ mixture.mean
    away = mixture.mean - mean
    total = np.einsum("c,cij->ij", mixture.weight, cov + away[:, :, None] * away[:, None])
    for stars in (z, other):
        np.testing.assert_allclose(stars.mean(axis=0), mean, atol=0.05)
        np.testing.assert_allclose(np.cov(stars.T), total, atol=0.1)
    if not kept:  # two independent stars
        np.testing.assert_allclose(np.corrcoef(z.T, other.T)[:3, 3:], 0.0, atol=0.03)


# ---- linear networks ----------------------------------------------------------------------
