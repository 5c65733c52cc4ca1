"""The Student-t densities against scipy's."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from bayestrans import student
from bayestrans.student import Tails

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


def density(residual, scale, err, corr, dof, *outliers):
    @jax.jit  # of constants: outliers that are not there are left out of the program
    def log_density(*arrays):
        return student.log_density(*arrays, Tails(dof, *outliers))

    return np.asarray(log_density(*map(jnp.asarray, (residual, scale, corr, err))))


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


def contaminated(residual, scale, err, corr, dof, odds, width):
    """Return the same where outliers are ``width`` times wider in all that they have."""
    usual = reference(residual, scale, err, corr, dof)
    wider = reference(residual, width * scale, width * err, corr, dof)
    return np.log((np.exp(usual) + odds * np.exp(wider)) / (1 + odds))


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
        *map(jnp.asarray, (residual, scale, corr, err)), Tails(jnp.asarray(dof))
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
@pytest.mark.parametrize("outliers", [(0.02, 150.0), (1.0, 3.0)])
@pytest.mark.parametrize("k", [1, 3])
def test_outliers_are_wider_together(k, outliers, dof):
    residual, scale, err, corr = case(k)
    residual[0, 0], residual[-1, 1] = 40.0, np.nan if k > 1 else -90.0
    found = density(residual, scale, err, corr, dof, *outliers)
    expected = contaminated(residual, scale, err, corr, dof, *outliers)
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    traced = jax.jit(student.log_density)(
        *map(jnp.asarray, (residual, scale, corr, err)), Tails(*map(jnp.asarray, (dof, *outliers)))
    )
    np.testing.assert_allclose(traced, expected, rtol=2e-5)


@pytest.mark.parametrize("odds", [0.0, 1e-30])
def test_where_there_are_no_outliers_their_width_means_nothing(odds):
    residual, scale, err, corr = (jnp.asarray(a) for a in case(3))
    plain = student.log_density(residual, scale, corr, err, Tails(3.0))
    found = student.log_density(
        residual, scale, corr, err, Tails(jnp.asarray(3.0), jnp.asarray(odds), jnp.asarray(9.0))
    )
    np.testing.assert_allclose(found, plain, rtol=1e-6)


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


LAW = Tails(3.5, 0.1, 6.0)


def test_gradients_are_finite_and_right_beside_missing_values():
    residual, scale, err, corr = case(3)
    residual[0, 0] = residual[1:, 1] = residual[:, 2] = np.nan
    seen = ~np.isnan(residual)

    def total(shift, log_scale):
        moved = jnp.asarray(residual) - shift
        spread = jnp.asarray(scale) * jnp.exp(log_scale)
        return student.log_density(moved, spread, jnp.asarray(corr), jnp.asarray(err), LAW).sum()

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
                law = contaminated(r[:, [n] * N], s[:, [n] * N], err[:, [n] * N], corr, *LAW)
                ends.append(law[0])
            assert gradient[k, n] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=2e-4)


T = np.concatenate([-np.logspace(4, -8, 200), [0.0], np.logspace(-8, 4, 200)])
DOFS = [2.1, 3.0, 7.5, 40.0, math.inf]
MANY = [300.0, 1e4]


@pytest.fixture(scope="module")
def below() -> dict[float, np.ndarray]:
    """Return the probabilities below T by degrees of freedom."""
    dof = np.array([*DOFS, *MANY])
    found = student.cumulative(T, Tails(dof[:, None]))
    return dict(zip(dof.tolist(), found, strict=True))


@pytest.mark.parametrize("dof", [*DOFS, *MANY])
def test_cumulative_is_scipys(below, dof):
    np.testing.assert_allclose(below[dof], stats.t.cdf(T, dof), atol=1e-12)


@pytest.mark.parametrize("dof", DOFS)
def test_cumulative_has_the_density_as_slope_at_the_centre(below, dof):
    near = (np.abs(T) > 5e-4) & (np.abs(T) < 5e-3)
    slope = (below[dof][near] - 0.5) / T[near]
    np.testing.assert_allclose(slope, stats.t.pdf(0, dof), rtol=5e-4)


@pytest.fixture(scope="module")
def table() -> jnp.ndarray:
    return jnp.asarray(student.tabulate(Tails(np.array(DOFS))))


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


# ---- outliers in one dimension ------------------------------------------------------------

OUTLIERS = Tails(
    np.array([2.5, 8.0, 60.0, math.inf, math.inf]),
    np.array([0.0, 0.05, 0.04, 0.1, 1.0]),
    np.array([1.0, 3.0, 130.0, 8.0, 2.0]),
)


def below_with_outliers(t):
    dof, odds, width = (part[:, None] for part in OUTLIERS)
    return (stats.t.cdf(t, dof) + odds * stats.t.cdf(t / width, dof)) / (1 + odds)


def test_cumulative_and_table_with_outliers_are_the_mixture():
    expected = below_with_outliers(T)
    found = student.cumulative(T, Tails(*(part[:, None] for part in OUTLIERS)))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    t = jnp.asarray(np.tile(T, (len(OUTLIERS.dof), 1)))
    found = student.from_table(jnp.asarray(student.tabulate(OUTLIERS)), t)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("level", [0.16, 0.5, 0.84, 0.975])
def test_quantiles_have_their_share_below(level):
    found = student.quantile(level, OUTLIERS)
    np.testing.assert_allclose(np.diag(below_with_outliers(found)), level, atol=2e-5)
    one = student.quantile(level, Tails(8.0))
    np.testing.assert_allclose(one, stats.t.ppf(level, 8.0), atol=5e-4)


def test_the_variance_is_that_of_usual_stars_and_outliers_together():
    dof, odds, width = OUTLIERS
    expected = stats.t.var(dof) * (1 + odds * width**2) / (1 + odds)
    np.testing.assert_allclose(student.variance(OUTLIERS), expected)
    traced = student.variance(Tails(*(jnp.asarray(part) for part in OUTLIERS)))
    np.testing.assert_allclose(traced, expected, rtol=1e-5)


def test_polynomials_with_outliers_are_right_where_quantiles_lie():
    t = np.linspace(-30, 30, 2001)
    expected = below_with_outliers(t) - 0.5
    for row, exact in zip(student.polynomial(OUTLIERS), expected, strict=True):
        found = student.from_polynomial(jnp.asarray(t), jnp.asarray(row, jnp.float32))
        away = np.abs(np.asarray(found) - exact)
        assert away.max() < 0.02
        assert away[np.abs(t) < 2.5].max() < 0.003


@pytest.mark.parametrize("k", OUTPUTS)
def test_no_part_of_the_factorisation_is_computed_again_for_each_reader(k):
    """The arguments, each entry of the factor, and each whitened residual."""
    residual, scale, err, corr = case(k)
    told = jax.jit(lambda *arrays: student.log_density(*arrays, Tails(5.0)))
    text = told.lower(residual, scale, corr, err).as_text()
    assert text.count("optimization_barrier") == 1 + k * (k + 1) // 2 + k
