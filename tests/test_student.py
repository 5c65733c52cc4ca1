"""The Student-t densities against scipy's."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from bayestrans import student

N = 6
OUTPUTS = [1, 2, 3, 5]


def case(k: int, seed: int = 0):
    """Return residual, scale, err (k, N) and a correlation matrix."""
    rng = np.random.default_rng(seed + k)
    root = rng.normal(size=(k, k + 2))
    covariance = root @ root.T
    spread = np.sqrt(np.diag(covariance))
    residual = 2 * rng.normal(size=(k, N))
    scale, err = rng.uniform(0.3, 2, (2, k, N))
    err[:, :2] = 0.0
    return residual, scale, err, covariance / np.outer(spread, spread)


def matrix(scale, corr, err, star):
    d = np.diag(scale[:, star])
    return d @ corr @ d + np.diag(err[:, star] ** 2)


def density(residual, scale, err, corr, dof):
    log_density = jax.jit(student.log_density, static_argnums=4)
    return np.asarray(log_density(*map(jnp.asarray, (residual, scale, corr, err)), dof))


def reference(residual, scale, err, corr, dof):
    """Return scipy's log density of each star, over its values that are not NaN."""
    expected = []
    for n in range(N):
        seen = ~np.isnan(residual[:, n])
        shape = matrix(scale, corr, err, n)[np.ix_(seen, seen)]
        value = residual[seen, n]
        if math.isinf(dof):
            expected.append(stats.multivariate_normal.logpdf(value, cov=shape))
        else:
            expected.append(stats.multivariate_t.logpdf(value, shape=shape, df=dof))
    return np.array(expected)


@pytest.mark.parametrize("dof", [2.1, 30.0, math.inf])
@pytest.mark.parametrize("k", OUTPUTS)
def test_log_density_is_scipys_multivariate_t(k, dof):
    residual, scale, err, corr = case(k)
    expected = reference(residual, scale, err, corr, dof)
    np.testing.assert_allclose(density(residual, scale, err, corr, dof), expected, rtol=2e-5)


@pytest.mark.parametrize("dof", [3.0, math.inf])
def test_traced_degrees_of_freedom_give_the_same(dof):
    residual, scale, err, corr = case(3)
    traced = jax.jit(student.log_density)(
        *map(jnp.asarray, (residual, scale, corr, err)), jnp.asarray(dof)
    )
    np.testing.assert_allclose(traced, reference(residual, scale, err, corr, dof), rtol=2e-5)


def test_many_degrees_of_freedom_approach_the_gaussian():
    residual, scale, err, corr = case(2)
    expected = reference(residual, scale, err, corr, math.inf)
    np.testing.assert_allclose(density(residual, scale, err, corr, 1e6), expected, atol=1e-4)


def test_ratios_of_gamma_functions_are_scipys():
    x = np.concatenate([np.linspace(0.5, 4.0, 50), np.logspace(0.7, 5, 50)])
    with jax.enable_x64(True):
        found = student._log_gamma_ratios(jnp.asarray(x), 6)
    for m, ratio in enumerate(found, start=1):
        expected = special.gammaln(x + 0.5 * m) - special.gammaln(x)
        np.testing.assert_allclose(ratio, expected, rtol=1e-9, atol=5e-9)
    # Single precision keeps its digits where x is large.
    single = np.asarray(student._log_gamma_ratios(jnp.float32(1e6), 3))
    np.testing.assert_allclose(single, [0.5 * m * np.log(1e6) for m in (1, 2, 3)], rtol=3e-7)


@pytest.mark.parametrize("dof", [2.5, math.inf])
def test_missing_values_leave_the_marginal_density(dof):
    residual, scale, err, corr = case(3)
    residual[0, 0] = residual[1, 1] = residual[2, 2] = residual[:2, 3] = np.nan
    err[0, 0] = np.nan  # no value has no error either
    expected = reference(residual, scale, err, corr, dof)
    np.testing.assert_allclose(density(residual, scale, err, corr, dof), expected, rtol=2e-5)


def test_a_star_without_any_value_says_nothing():
    residual, scale, err, corr = case(2)
    residual[:, 1] = np.nan
    assert abs(density(residual, scale, err, corr, 4.0)[1]) < 1e-6


def test_gradients_are_finite_and_right_beside_missing_values():
    residual, scale, err, corr = case(3)
    residual[0, 0] = residual[1:, 1] = residual[:, 2] = np.nan
    seen = ~np.isnan(residual)

    def total(shift, log_scale):
        moved = jnp.asarray(residual) - shift
        spread = jnp.asarray(scale) * jnp.exp(log_scale)
        return student.log_density(moved, spread, jnp.asarray(corr), jnp.asarray(err), 3.5).sum()

    zero = jnp.zeros((3, N))
    for argument in (0, 1):
        gradient = np.asarray(jax.jit(jax.grad(total, argument))(zero, zero))
        assert np.isfinite(gradient).all()
        assert (gradient[~seen] == 0).all()
        step = 1e-4
        for k, n in np.argwhere(seen):
            ends = []
            for sign in (1, -1):
                r, s = residual.copy(), scale.copy()
                if argument == 0:
                    r[k, n] -= sign * step
                else:
                    s[k, n] *= np.exp(sign * step)
                ends.append(reference(r[:, [n] * N], s[:, [n] * N], err[:, [n] * N], corr, 3.5)[0])
            assert gradient[k, n] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=2e-4)


T = np.concatenate([-np.logspace(4, -8, 200), [0.0], np.logspace(-8, 4, 200)])
DOFS = [2.1, 3.0, 7.5, 40.0, math.inf]
MANY = [300.0, 1e4]


@pytest.fixture(scope="module")
def below() -> dict[float, np.ndarray]:
    """Return the probabilities below T by degrees of freedom."""
    dof = np.array([*DOFS, *MANY])
    found = jax.jit(student.cumulative)(jnp.asarray(T), jnp.asarray(dof)[:, None])
    return dict(zip(dof.tolist(), np.asarray(found), strict=True))


@pytest.mark.parametrize("dof", [*DOFS, *MANY])
def test_cumulative_is_scipys(below, dof):
    np.testing.assert_allclose(below[dof], stats.t.cdf(T, dof), atol=2e-6)


@pytest.mark.parametrize("dof", DOFS)
def test_cumulative_has_the_density_as_slope_at_the_centre(below, dof):
    near = (np.abs(T) > 5e-4) & (np.abs(T) < 5e-3)
    slope = (below[dof][near] - 0.5) / T[near]
    np.testing.assert_allclose(slope, stats.t.pdf(0, dof), rtol=5e-4)


@pytest.fixture(scope="module")
def table() -> jnp.ndarray:
    return jnp.asarray(student.tabulate(np.array(DOFS)))


def test_table_agrees_with_cumulative_everywhere(below, table):
    order = np.random.default_rng(0).permutation(len(T))
    t = jnp.asarray(np.tile(T[order], (len(DOFS), 1)))
    expected = np.stack([below[dof][order] for dof in DOFS])
    np.testing.assert_allclose(student.from_table(table, t), expected, atol=2e-5)


def test_table_is_monotone_and_stays_in_0_to_1(table):
    t = np.sort(np.concatenate([T, [-1e30, -2e4, 2e4, 1e30]]))
    found = np.asarray(student.from_table(table, jnp.asarray(np.tile(t, (len(DOFS), 1)))))
    assert (np.diff(found) >= 0).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found[:, 0] < 1e-4).all()
    assert (found[:, -1] > 1 - 1e-4).all()
