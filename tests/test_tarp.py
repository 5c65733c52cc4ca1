"""Joint coverage about random points: what it sees, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bayestrans import tarp
from bayestrans.calibration import doubting

LEVELS = np.array([0.1, 0.3, 0.5, 0.68, 0.9, 0.95])
COUNT, DRAWS = 2000, 200


def correlated(rho: float, outputs: int) -> np.ndarray:
    """Return the Cholesky factor of a matrix with ``rho`` everywhere off its diagonal."""
    return np.linalg.cholesky((1 - rho) * np.eye(outputs) + rho)


def gaussian(
    *, outputs: int = 3, width: float = 1.0, rho: tuple[float, float] = (0.5, 0.5), seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return draws that claim a ``width`` and the second ``rho``, and values with 1 and the first.

    Each star has a mean of its own, which the predictive knows.
    """
    rng = np.random.default_rng(seed)
    mean = 3 * rng.normal(size=(COUNT, outputs))
    true, claimed = (correlated(r, outputs) for r in rho)
    values = mean + rng.normal(size=mean.shape) @ true.T
    draws = mean + width * rng.normal(size=(DRAWS, *mean.shape)) @ claimed.T
    return draws, values


def excess(draws: np.ndarray, values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return coverage minus nominal in units of its binomial noise."""
    share = tarp.coverage(tarp.credibility(draws, values, seed=seed), LEVELS)
    return (share - LEVELS) / np.sqrt(LEVELS * (1 - LEVELS) / len(values))


def is_uniform(credibility: np.ndarray) -> bool:
    return stats.kstest(credibility, "uniform").pvalue > 0.005


# ---- what it sees -------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [1, 2, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_right_predictive_gives_uniform_numbers(outputs, seed):
    draws, values = gaussian(outputs=outputs, seed=seed)
    assert is_uniform(tarp.credibility(draws, values, seed=seed))
    assert (abs(excess(draws, values, seed)) < 4).all()


@pytest.mark.parametrize("count", [4, 5, 9, 50])
def test_any_number_of_draws_is_unbiased(count):
    draws, values = gaussian(outputs=5)
    assert is_uniform(tarp.credibility(draws[:count], values))


@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_a_wide_predictive_covers_more_and_a_narrow_one_less_at_every_level(outputs):
    wide, narrow = (excess(*gaussian(outputs=outputs, width=width)) for width in (1.5, 0.67))
    assert (wide > 4).all()
    assert (narrow < -3).all()
    assert narrow[-1] < -15


@pytest.mark.parametrize(
    ("true", "claimed", "least"), [(0.0, 0.6, 20), (0.6, 0.0, 4), (-0.3, 0.6, 20)]
)
def test_a_wrong_correlation_is_seen_though_the_marginals_are_right(true, claimed, least):
    draws, values = gaussian(rho=(true, claimed))
    below = (draws < values).mean(axis=0)
    for column in below.T:
        assert stats.kstest(column, "uniform").pvalue > 0.005
    assert abs(excess(draws, values)).max() > least
    assert not is_uniform(tarp.credibility(draws, values))


def test_a_shifted_predictive_is_seen():
    draws, values = gaussian()
    assert excess(draws, values + 0.7).min() < -8


def test_a_predictive_skewed_to_the_wrong_side_is_seen():
    rng = np.random.default_rng(3)
    values, draws = rng.exponential(size=(COUNT, 2)) - 1, rng.exponential(size=(200, COUNT, 2)) - 1
    assert is_uniform(tarp.credibility(draws, values))
    # About its centre alone the mirror image would hold the same shares.
    assert stats.kstest(tarp.credibility(-draws, values), "uniform").pvalue < 1e-8


def test_heavy_tails_are_seen():
    rng = np.random.default_rng(4)
    normal = rng.normal(size=(DRAWS, COUNT, 3))
    heavy = rng.standard_t(2.5, size=(COUNT, 3))
    same = heavy / stats.t.ppf(0.84, 2.5) * stats.norm.ppf(0.84)
    assert excess(normal, same)[-1] < -8
    draws = rng.standard_t(2.5, size=(DRAWS, COUNT, 3))
    assert is_uniform(tarp.credibility(draws, heavy))


# ---- missing values -----------------------------------------------------------------------


def test_a_missing_output_leaves_the_others():
    draws, values = gaussian(outputs=3)
    values[:, 1] = np.nan
    found = tarp.credibility(draws, values)
    kept = tarp.credibility(draws[:, :, [0, 2]], values[:, [0, 2]])
    np.testing.assert_allclose(found, kept, rtol=0, atol=1e-12)


def test_stars_that_miss_different_outputs_are_calibrated_together():
    draws, values = gaussian(outputs=3)
    values[::3, 0], values[1::3, 1:] = np.nan, np.nan
    assert is_uniform(tarp.credibility(draws, values))
    assert not is_uniform(tarp.credibility(0.7 * draws, 0.7 * values + 0.6))


def test_a_star_without_a_value_or_a_predictive_has_no_credibility():
    draws, values = gaussian()
    values[0], draws[3, 1, 0] = np.nan, np.nan
    found = tarp.credibility(draws, values)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found)), [0, 1])
    assert tarp.coverage(found, [0.68])[0] == np.mean(found[2:] <= 0.68)


def test_fewer_than_four_draws_tell_nothing():
    draws, values = gaussian()
    assert np.isnan(tarp.credibility(draws[:3], values)).all()


def test_no_stars_have_no_coverage():
    assert tarp.credibility(np.empty((10, 0, 2)), np.empty((0, 2))).shape == (0,)
    assert np.isnan(tarp.coverage(np.array([np.nan]), [0.5, 0.9])).all()


# ---- what it does not depend on -----------------------------------------------------------


def test_units_and_origin_of_the_outputs_do_not_matter():
    draws, values = gaussian()
    unit, origin = np.array([1e3, 1e-3, 7.0]), np.array([5000.0, 1.0, -30.0])
    found = tarp.credibility(draws * unit + origin, values * unit + origin)
    np.testing.assert_allclose(found, tarp.credibility(draws, values), rtol=0, atol=1e-12)


def test_the_size_of_the_parts_does_not_matter(monkeypatch):
    draws, values = gaussian()
    found = tarp.credibility(draws, values)
    monkeypatch.setattr(tarp, "PART", 7)
    np.testing.assert_array_equal(tarp.credibility(draws, values), found)


def test_the_seed_alone_chooses_the_points():
    draws, values = gaussian()
    found = tarp.credibility(draws, values, seed=1)
    np.testing.assert_array_equal(tarp.credibility(draws, values, seed=1), found)
    assert (tarp.credibility(draws, values, seed=2) != found).mean() > 0.9


def test_an_output_without_spread_is_no_obstacle():
    draws, values = gaussian()
    draws[:, :, 1] = values[:, 1] = 4.0
    assert is_uniform(tarp.credibility(draws, values))
    values[:, 1] = 4.1  # a claim of certainty that is wrong
    assert tarp.coverage(tarp.credibility(draws, values), [0.95])[0] < 0.95


def test_coverage_is_the_share_up_to_each_level():
    found = tarp.coverage(np.array([0.2, 0.4, 0.4, np.nan, 0.9]), [0.1, 0.4, 0.89, 0.9])
    np.testing.assert_array_equal(found, [0, 0.75, 0.75, 1])


@pytest.mark.parametrize("doubt", [1.5, 3.0, 6.0])
@pytest.mark.parametrize("count", [40, 400])
def test_the_truth_of_draws_of_which_a_quarter_doubts_is_uniform(doubt, count):
    """They are of another law, in each four draws one: both halves have as many."""
    rng = np.random.default_rng(8)
    scale = np.where(doubting(count), doubt, 1.0)[:, None, None]
    draws = scale * rng.normal(size=(count, 4000, 3))
    values = np.where(rng.random((4000, 1)) < 0.25, doubt, 1.0) * rng.normal(size=(4000, 3))
    found = tarp.coverage(tarp.credibility(draws, values), LEVELS)
    np.testing.assert_allclose(found, LEVELS, atol=0.025 + 0.2 / count)
