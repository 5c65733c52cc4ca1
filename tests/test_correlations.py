"""The prior of correlations against NumPyro's, and against what is known of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import biject_to
from scipy import stats

from bayestrans.correlations import LKJ, cholesky, drawn

SIZES = (2, 3, 4, 6)


@pytest.mark.parametrize("concentration", [1.0, 2.0, 3.5])
@pytest.mark.parametrize("size", SIZES)
def test_density_and_factor_are_numpyros(size, concentration):
    law, numpyros = LKJ(size, concentration), dist.LKJCholesky(size, concentration)
    values = np.random.default_rng(size).normal(size=size * (size - 1) // 2).astype(np.float32)
    way = biject_to(numpyros.support)
    expected = way(values)
    found = cholesky(jnp.tanh(values), size, jnp)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(cholesky(np.tanh(values), size, np), expected, atol=1e-6)
    density = numpyros.log_prob(expected) + way.log_abs_det_jacobian(values, expected)
    assert float(law.log_prob(values)) == pytest.approx(float(density), abs=2e-5)


def test_density_and_gradient_are_finite_far_out():
    law, far = LKJ(3, 2.0), jnp.array([-40.0, 0.0, 40.0])
    value, slope = jax.value_and_grad(law.log_prob)(far)
    assert np.isfinite(value)
    np.testing.assert_allclose(slope, -2.0 * law.power * np.sign(far), rtol=1e-6)


@pytest.mark.parametrize("by", ["numpy", "jax"])
def test_drawn_correlations_follow_their_law(by):
    law = LKJ(4, 2.0)
    if by == "numpy":
        values = drawn(law, 4000, np.random.default_rng(7))
    else:
        values = np.asarray(law.sample(jax.random.key(1), (4000,)))
    factor = cholesky(np.tanh(values), 4, np)
    corr = factor @ np.swapaxes(factor, 1, 2)
    np.testing.assert_allclose(np.einsum("nii->ni", corr), 1.0, rtol=1e-6)
    # Each correlation of an LKJ(2) matrix of 4 is 2 b - 1, b from a Beta(2 + 4 / 2 - 1, the same).
    for i, j in zip(*np.tril_indices(4, -1), strict=True):
        assert stats.kstest(0.5 * (corr[:, i, j] + 1), stats.beta(3, 3).cdf).pvalue > 1e-3
