"""The two plain translations against closed forms that do not share their algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import multigammaln

from bayestrans.baseline import Baseline, Predictive
from bayestrans.pairs import Pairs
from bayestrans.scale import Scaler
from bayestrans.spec import Input, Output, Spec

NAN = float("nan")


def make(n: int, k: int, missing: int = 0) -> tuple[Pairs, Scaler]:
    """Return stars whose corrections are linear in two inputs, with correlated scatter."""
    rng = np.random.default_rng(n + k)
    x = rng.normal([5000, 2.5], [400, 0.7], (n, 2))
    slope = np.array([[0.1, 0.002, 0.0], [20.0, -0.3, 1.0]])[:, :k]
    mix = np.array([[40, 0.1, 0], [0, 0.2, 0.3], [0, 0, 0.5]])[:k, :k]
    y = (x - [5000, 2.5]) @ slope + rng.normal(size=(n, k)) @ mix
    y[:, 0] += x[:, 0]
    y[:missing, -1] = NAN
    inputs = (Input("teff", "t"), Input("logg", "g"))
    outputs = (Output("teff", "t_b", corrects="teff"), Output("a", "a"), Output("b", "b"))
    spec = Spec("A to B", inputs, outputs[:k])
    pairs = Pairs(spec, x, np.full_like(x, NAN), y, np.full_like(y, NAN), np.arange(n))
    return pairs, Scaler.learn(pairs)


def design(x, scaler):
    return np.column_stack([np.ones(len(x)), (x - scaler.x_centre) / scaler.x_scale])


def log_marginal(a: np.ndarray, delta: np.ndarray) -> float:
    """Return the log of a matrix-variate t: linear regression with everything integrated out.

    Weights N(0, 1) relative to the scatter, which is inverse-Wishart with
    K + 2 degrees of freedom and scale 1e-3 (Gelman et al. 2013, section 14.8).
    """
    n, k = delta.shape
    prior, dof = 1e-3 * np.eye(k), k + 2
    spread = np.eye(n) + a @ a.T
    total = prior + delta.T @ np.linalg.solve(spread, delta)
    return (
        -0.5 * n * k * math.log(math.pi)
        + multigammaln(0.5 * (dof + n), k)
        - multigammaln(0.5 * dof, k)
        + 0.5 * dof * np.linalg.slogdet(prior)[1]
        - 0.5 * (dof + n) * np.linalg.slogdet(total)[1]
        - 0.5 * k * np.linalg.slogdet(spread)[1]
    )


def log_predictive(found: Predictive, star: int, delta: np.ndarray) -> float:
    d = np.diag(found.scale[star])
    return stats.multivariate_t.logpdf(
        delta, found.location[star], d @ found.corr @ d, df=found.dof
    )


@pytest.mark.parametrize("missing", [0, 12])
def test_identity_is_the_moments_of_the_training_stars(missing):
    """Of those with each output; correlations are of those with all."""
    pairs, scaler = make(60, 3, missing)
    found = Baseline.learn(pairs, scaler).identity(5)
    delta = scaler.delta(pairs.x, pairs.y)
    assert found.dof == math.inf
    for star in range(5):
        np.testing.assert_allclose(found.location[star], np.nanmean(delta, axis=0), atol=1e-12)
        np.testing.assert_allclose(found.scale[star], np.nanstd(delta, axis=0))
    np.testing.assert_allclose(found.corr, np.corrcoef(delta[missing:], rowvar=False))


def test_each_output_has_the_line_of_the_stars_that_have_it():
    """Outputs of different stars, of which none has both, and one that few have."""
    pairs, scaler = make(300, 3)
    y = pairs.y.copy()
    y[:150, 0], y[150:, 1], y[20:, 2] = NAN, NAN, NAN
    apart = Pairs(pairs.spec, pairs.x, pairs.x_err, y, pairs.y_err, pairs.ids)
    baseline = Baseline.learn(apart, scaler)
    found = baseline.linear(pairs.x, scaler)
    assert baseline.gram[0, 0] == 0.0
    np.testing.assert_array_equal(found.corr, np.eye(3))
    np.testing.assert_array_equal(baseline.identity(2).corr, np.eye(3))
    mean = baseline.linear_mean(pairs.x, scaler, (0, 1))
    np.testing.assert_allclose(mean, found.location)
    delta = scaler.delta(pairs.x, pairs.y)
    for k, rows in enumerate((slice(150, 300), slice(0, 150), slice(0, 20))):
        a = design(pairs.x[rows], scaler)
        ridge = np.linalg.solve(a.T @ a + np.eye(3), a.T @ delta[rows, k])
        np.testing.assert_allclose(found.location[:, k], design(pairs.x, scaler) @ ridge)
    assert found.dof == 23.0


def test_models_of_before_have_the_line_of_complete_stars():
    pairs, scaler = make(60, 3)
    arrays = Baseline.learn(pairs, scaler).to_arrays()
    old = Baseline.from_arrays({name: arrays[name] for name in ("gram", "cross", "square")})
    for name, values in arrays.items():
        np.testing.assert_allclose(old.to_arrays()[name], values)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_linear_is_the_ratio_of_two_marginal_likelihoods(k):
    pairs, scaler = make(15, k)
    a, delta = design(pairs.x, scaler), scaler.delta(pairs.x, pairs.y)
    stars = np.array([[5100.0, 2.0], [9000.0, 7.0]])  # one among the stars, one far away
    found = Baseline.learn(pairs, scaler).linear(stars, scaler)
    for star, row in enumerate(design(stars, scaler)):
        for value in np.random.default_rng(star).normal(size=(3, k)):
            both = log_marginal(np.vstack([a, row]), np.vstack([delta, value]))
            expected = both - log_marginal(a, delta)
            assert log_predictive(found, star, value) == pytest.approx(expected, rel=1e-8)


def test_linear_approaches_least_squares_for_many_stars():
    pairs, scaler = make(20_000, 3)
    a, delta = design(pairs.x, scaler), scaler.delta(pairs.x, pairs.y)
    weights, *_ = np.linalg.lstsq(a, delta)
    residual = delta - a @ weights
    found = Baseline.learn(pairs, scaler).linear(pairs.x[:50], scaler)
    np.testing.assert_allclose(found.location, (a @ weights)[:50], atol=1e-3)
    d = np.diag(found.scale[0])
    covariance = np.cov(residual, rowvar=False, bias=True)
    np.testing.assert_allclose(d @ found.corr @ d, covariance, rtol=1e-3, atol=1e-4)


def test_linear_is_wider_where_there_are_no_stars():
    pairs, scaler = make(100, 2)
    far = np.array([[5000, 2.5], [7000, 2.5], [9000, 2.5]])
    scale = Baseline.learn(pairs, scaler).linear(far, scaler).scale
    assert (np.diff(scale, axis=0) > 0).all()


def test_a_baseline_is_rebuilt_from_its_arrays():
    pairs, scaler = make(50, 2)
    baseline = Baseline.learn(pairs, scaler)
    again = Baseline.from_arrays(baseline.to_arrays()).linear(pairs.x, scaler)
    np.testing.assert_array_equal(again.location, baseline.linear(pairs.x, scaler).location)
