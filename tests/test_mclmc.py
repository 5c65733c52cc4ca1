"""How MCLMC keeps its step to the energy error that it was asked for."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.base import array_stats

import bayestrans as bt
from bayestrans import mclmc, step_size
from bayestrans.target import Target

#: Standard deviations of a normal posterior: a few stiff directions, and many others.
SPREADS = np.concatenate([np.full(10, 0.1), np.linspace(0.5, 1.5, 50)]).astype(np.float32)


def _log_density(position, data):
    return -0.5 * jnp.sum((position / data) ** 2)


def _probe(position, data):
    return position[:20, None]


def normal_target() -> Target:
    """Return a normal posterior whose data are its spreads."""
    spreads = jnp.array(SPREADS)
    probed = spreads[None], spreads
    return Target(_log_density, lambda p: {"p": p}, _probe, spreads, probed, len(SPREADS))


@pytest.fixture
def tuned_too_long(monkeypatch):
    """Make the tuning end at steps several times too long."""
    tuned = mclmc._tuned

    def longer(*args):
        chains = tuned(*args)
        return chains._replace(step_size=2.0 * chains.step_size)

    monkeypatch.setattr(mclmc, "_tuned", longer)


@pytest.mark.parametrize("options", [{"steps": 16_000}, {"max_steps": 64_000}])
def test_a_step_that_was_tuned_too_long_is_mended(tuned_too_long, options):
    method = bt.MCLMC(**options)
    run = method.run(normal_target(), jax.random.key(1), label="", progress=False)
    print(run.tuning)
    assert run.tuning["energy_variance"] < mclmc.EXCESS * method.energy_variance
    # Of all steps, where these are of the last of each draw.
    size = np.abs(run.stats["energy_error"]).mean() / np.sqrt(len(SPREADS))
    assert run.tuning["energy_variance"] == pytest.approx(0.5 * np.pi * size**2, rel=0.3)
    spread = np.sqrt((run.positions**2).mean(axis=(0, 1)))
    np.testing.assert_allclose(spread, SPREADS, rtol=0.15)


def test_what_is_kept_of_a_draw_is_of_that_draw():
    """Also where the draws are no multiple of the pieces of a round."""
    run = bt.MCLMC(chains=2, draws=47, steps=470, warm_steps=50, tune_steps=50).run(
        normal_target(), jax.random.key(2), label="", progress=False
    )
    assert run.positions.shape == (2, 47, len(SPREADS))
    assert run.stats["energy_error"].shape == (2, 47)
    exact = -0.5 * np.sum((run.positions / SPREADS) ** 2, axis=-1)
    np.testing.assert_allclose(run.stats["log_density"], exact, rtol=1e-4)


@pytest.mark.parametrize(
    ("excess", "number", "wanted"),
    [
        (1.0, 0, 0.2),  # as asked for
        (np.e**2, 0, 0.2 * np.exp(-2 / 16)),
        (np.e**2, 10, 0.2 * np.exp(-2 / 26)),  # later ones are smaller
        (1e30, 0, 0.2 * np.exp(-6 / 16)),
        (np.exp(-1), 0, 0.2 * np.exp(1 / 16)),
        (1e-9, 0, 0.2 * np.exp(1.5 / 16)),  # up more slowly than down
    ],
)
def test_a_step_follows_the_energy_error(excess, number, wanted):
    assert step_size.corrected(0.2, excess, number) == pytest.approx(wanted)


@pytest.mark.parametrize("power", [6, 16])
def test_a_step_finds_the_energy_error_that_was_asked_for(power):
    """With smaller and greater powers of the step than the variance goes with."""
    for start in (0.1, 0.2, 0.4):
        step = start
        for number in range(20):
            step = step_size.corrected(step, (step / 0.2) ** power, number)
        assert 0.5 < (step / 0.2) ** power < 2.0


def test_the_variance_of_normal_errors_is_theirs():
    error = 2.0 * np.random.default_rng(3).normal(size=20_000)
    sizes = step_size.error_size(jnp.asarray(error), np.full(20_000, True), 100)
    assert step_size.variance_of(sizes) == pytest.approx(4.0 / 100, rel=0.03)
    odd = np.where(np.arange(20_000) % 1000 == 0, 1e6 * error, error)
    sizes = step_size.error_size(jnp.asarray(odd), np.full(20_000, True), 100)
    assert step_size.variance_of(sizes) < 1.05 * 4.0 / 100


def test_steps_that_ran_off_to_infinity_count_as_large_errors():
    """Their energy does not change, as they are taken back."""
    sizes = step_size.error_size(jnp.zeros(10), jnp.arange(10) > 4, 100)
    np.testing.assert_array_equal(sizes, np.repeat([step_size.MOST, 0.0], 5))
    step_size.corrected(0.2, step_size.variance_of(sizes[5:]) / 1e-5, 0)  # though none has moved


def drawn_of(position, gradient) -> mclmc._Drawn:
    """Return a round of one piece as it would be if its gradients were those."""
    nothing = np.zeros(position.shape[:2])
    steepness = (gradient**2).mean(axis=1, keepdims=True)
    return mclmc._Drawn(position, nothing, nothing, steepness, None)


def test_without_probes_there_is_no_function_space():
    target = normal_target()
    nowhere = target._replace(probed=(target.probed[0][:, :0], target.probed[1]))
    positions = np.random.default_rng(0).standard_normal((2, 50, target.dim)).astype(np.float32)
    assert math.isnan(mclmc.function_rhat(nowhere, positions))
    assert mclmc.function_rhat(target, positions) == pytest.approx(1.0, abs=0.1)


def test_the_mass_of_a_normal_posterior_is_its_variances():
    """Also from one chain of four that is far away, and where the density is no steeper for it."""
    count, dim = 4, len(SPREADS)
    position = SPREADS * np.random.default_rng(1).normal(size=(count, 4000, dim))
    position[3] *= 30.0
    keys = jax.random.split(jax.random.key(0), count)
    nothing = jnp.zeros(count)
    chains = mclmc._Chain(None, keys, nothing, nothing, 2.0 * jnp.ones((count, dim)))
    found = mclmc._preconditioned(chains, drawn_of(position, position / SPREADS**2))
    mass = np.asarray(found.inverse_mass)
    np.testing.assert_array_equal(mass[0], mass[3])
    np.testing.assert_allclose(mass[0] / mass[0, -1], (SPREADS / SPREADS[-1]) ** 2, rtol=0.15)
    np.testing.assert_allclose(SPREADS**-2.0 @ mass[0], 2.0 * np.sum(SPREADS**-2.0), rtol=0.05)


def test_chains_that_do_not_move_keep_their_mass():
    still = np.zeros((2, 10, 3))
    chains = mclmc._Chain(None, None, None, None, jnp.ones((2, 3)))
    assert mclmc._preconditioned(chains, drawn_of(still, still)) is chains


@pytest.mark.parametrize(("draws", "parts"), [(200, 2), (25, 1)])
def test_a_mass_is_learned_where_the_burn_in_is_long_enough(monkeypatch, draws, parts):
    """And from the second part of it alone, when all parameters have had the same."""
    masses = []
    preconditioned = mclmc._preconditioned

    def watched(chains, drawn):
        masses.append(np.asarray(chains.inverse_mass))
        chains = preconditioned(chains, drawn)
        learned = np.asarray(chains.inverse_mass[0])
        assert learned[:10].mean() < 0.1 * learned[10:].mean()  # the first ten are stiff
        return chains

    monkeypatch.setattr(mclmc, "_preconditioned", watched)
    method = bt.MCLMC(chains=2, draws=draws, steps=8 * draws, warm_steps=50, tune_steps=50)
    method.run(normal_target(), jax.random.key(3), label="", progress=False)
    assert len(masses) == parts - 1
    assert all((mass == 1.0).all() for mass in masses)


def test_the_mass_gives_more_effective_draws(monkeypatch):
    """Of the directions that are not stiff, in as many steps."""

    def effective() -> float:
        method = bt.MCLMC(steps=1000, warm_steps=50)
        run = method.run(normal_target(), jax.random.key(4), label="", progress=False)
        return float(np.median(array_stats.ess(run.positions[..., 10:], chain_axis=0, draw_axis=1)))

    with_it = effective()
    monkeypatch.setattr(mclmc, "TELLING", math.inf)
    assert with_it > 3.0 * effective()


@pytest.mark.parametrize(
    ("steps", "draws", "burn_in"),
    [(4000, 250, 500), (32_000, 250, 4000), (250_000, 250, 4000), (250_000, 10_000, 10_000)],
)
def test_burn_in_is_an_eighth_in_each_part_up_to_what_teaches(steps, draws, burn_in):
    rounds = [draws * thin for thin in bt.MCLMC(steps=steps, draws=draws)._rounds()]
    assert rounds == [burn_in, burn_in, steps]


@pytest.mark.parametrize(
    ("rhat", "excess", "last", "planned", "ended"),
    [
        (1.04, 1.9, False, 9.0, "converged"),
        (1.04, 2.1, False, 9.0, ""),  # there is room for a better step
        (1.04, 2.1, True, 9.0, "converged"),
        (1.04, 2.1, False, 11.0, "converged"),
        (1.06, 1.0, False, 9.0, ""),
        (1.06, 1.0, False, 11.0, "time_budget"),
        (1.06, 1.0, True, 11.0, "max_steps"),
        (math.nan, math.nan, True, 9.0, "max_steps"),
    ],
)
def test_rounds_end(rhat, excess, last, planned, ended):
    assert bt.MCLMC(time_budget=10.0)._ended(rhat, excess, last, planned) == ended


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"chains": 0}, "MCLMC has chains = 0"),
        ({"draws": 3}, "at least 4 draws"),
        ({"draws": 10, "steps": 9}, "ask for more steps"),
        ({"energy_variance": 0.0}, "give a positive number"),
        ({"energy_variance": math.nan}, "give a positive number"),
    ],
)
def test_settings_that_make_no_sense_are_refused_at_once(settings, said):
    with pytest.raises(ValueError, match=said):
        bt.MCLMC(**settings)
