"""One step of MCLMC: BlackJAX's dynamics, a turn that forgets, and steps that fail."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.mcmc.mclmc import init

from bayestrans import langevin

DIM = 200
SCALES = jnp.linspace(0.5, 2.0, DIM)
STEADY = jnp.asarray(1e12)  # a momentum length at which nothing is forgotten


def log_density(position):
    return -0.5 * jnp.sum((position / SCALES) ** 2)


@pytest.fixture(scope="module")
def state():
    position = SCALES * jax.random.normal(jax.random.key(0), (DIM,))
    return init(position, log_density, jax.random.key(1))


def test_the_dynamics_are_those_of_blackjax(state):
    mass, step = jnp.ones(DIM), jnp.asarray(9.0)
    arguments = (jax.random.key(2), state, log_density, mass, STEADY, step)
    ours, told = langevin.step(*arguments)
    theirs, expected = blackjax.mclmc.build_kernel()(*arguments)
    np.testing.assert_allclose(ours.position, theirs.position, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.momentum, theirs.momentum, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.logdensity_grad, theirs.logdensity_grad, rtol=1e-5, atol=1e-6)
    assert float(told.energy_change) == pytest.approx(float(expected.energy_change), abs=1e-4)
    assert abs(told.energy_change) > 1e-3  # a step that errs
    assert told.nonans


@pytest.mark.parametrize("path", [0.01, 0.1, 1.0])
def test_momentum_forgets_its_direction_as_blackjax_s(state, path):
    """The cosine falls as exp(-path), by BlackJAX's two half turns and by our one."""
    length = jnp.asarray(1e-3) / path
    keys = jax.random.split(jax.random.key(3), 2000)

    def cosines(step):
        def one(key):
            arguments = (log_density, jnp.ones(DIM), length, jnp.asarray(1e-3))
            return step(key, state, *arguments)[0].momentum @ state.momentum

        return np.asarray(jax.vmap(one)(keys))

    ours, theirs = cosines(langevin.step), cosines(blackjax.mclmc.build_kernel())
    assert ours.mean() == pytest.approx(np.exp(-path), abs=0.01)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.01)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.1, abs=1e-4)


def test_momentum_has_unit_length(state):
    moved, _ = langevin.step(
        jax.random.key(4), state, log_density, jnp.ones(DIM), jnp.asarray(5.0), jnp.asarray(0.5)
    )
    assert jnp.linalg.norm(moved.momentum) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("wrong", ["value", "gradient"])
def test_a_step_out_of_the_finite_numbers_is_not_made(state, wrong):
    """A density that is not finite beyond a wall, or whose gradient is not."""

    @jax.custom_jvp
    def broken(position):
        beyond = (position != state.position).any()
        return jnp.where(beyond & (wrong == "value"), jnp.nan, log_density(position))

    @broken.defjvp
    def _(primals, tangents):
        (position,), (tangent,) = primals, tangents
        beyond = (position != state.position).any()
        slope = jnp.where(beyond & (wrong == "gradient"), jnp.nan, -position / SCALES**2)
        return broken(position), slope @ tangent

    length = jnp.asarray(5.0)
    arguments = (broken, jnp.ones(DIM), length, jnp.asarray(0.5))
    stayed, told = langevin.step(jax.random.key(5), state, *arguments)
    assert not told.nonans
    assert told.energy_change == 0.0
    for name in ("position", "logdensity", "logdensity_grad"):
        np.testing.assert_array_equal(getattr(stayed, name), getattr(state, name))
    assert jnp.linalg.norm(stayed.momentum) == pytest.approx(1.0, abs=1e-5)
    assert abs(stayed.momentum @ state.momentum) < 5 / np.sqrt(DIM)  # a direction of its own
