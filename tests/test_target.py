"""What is compiled for one fit serves others of the same shapes, and only what is compiled."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import LINEAR, tiny_fit

import bayestrans as bt
from bayestrans import sample
from bayestrans.chains import PerChain
from bayestrans.model import Data
from bayestrans.target import build_target

NETWORK, NOISE, PROBES = bt.Network((3,)), bt.Noise(), np.array([0, 4])


def stars(seed: int, count: int = 12) -> Data:
    rng = np.random.default_rng(seed)
    arrays = (rng.normal(size=(2, count)), rng.normal(size=(2, count)), np.ones((2, count)))
    scaled = [jnp.asarray(a, jnp.float32) for a in (*arrays, np.ones(2), np.zeros(count))]
    return Data(*scaled, jnp.arange(count), jnp.empty((0, 1), dtype=int))


def test_targets_of_equal_shapes_share_functions_and_not_stars():
    one, other = (build_target(stars(seed), NETWORK, NOISE, PROBES) for seed in (1, 2))
    assert one.log_density is other.log_density
    assert one.probe is other.probe
    position = jnp.full(one.dim, 0.1)
    values = [float(t.log_density(position, t.data)) for t in (one, other)]
    alone = build_target(stars(2), NETWORK, NOISE, np.array([1]))
    assert values[0] != values[1] == float(alone.log_density(position, alone.data))
    assert not np.allclose(one.probe(position, one.probed), one.probe(position, other.probed))
    probed = np.asarray(one.probe(position, one.probed))[:, 1]
    one = build_target(stars(1), NETWORK, NOISE, PROBES[1:])
    np.testing.assert_allclose(one.probe(position, one.probed)[:, 0], probed, rtol=1e-5)


def test_stars_that_fill_up_to_a_round_number_say_nothing():
    data = stars(3, count=65)
    target = build_target(data, NETWORK, NOISE, PROBES)
    assert target.data.z.shape == (2, 68)
    position = jnp.linspace(-0.5, 0.5, target.dim)
    found = jax.jit(jax.value_and_grad(target.log_density))
    (one, slopes), (other, others) = (found(position, d) for d in (data, target.data))
    assert float(one) == pytest.approx(float(other), rel=1e-6)
    np.testing.assert_allclose(others, slopes, rtol=2e-5, atol=1e-4)


def test_stars_with_gaps_are_filled_up_too_and_stay_last():
    count, gaps, copies = 65, 33, 2
    data = stars(4, count + gaps * copies)
    rows = count + np.arange(gaps * copies).reshape(gaps, copies)
    star = np.concatenate([np.arange(count), np.repeat(count + np.arange(gaps), copies)])
    weight = np.random.default_rng(5).normal(size=len(star))
    data = data._replace(
        copies=jnp.asarray(rows), star=jnp.asarray(star), log_weight=jnp.asarray(weight)
    )
    target = build_target(data, NETWORK, NOISE, PROBES)
    filled = target.data
    assert filled.copies.shape == (34, copies)
    np.testing.assert_array_equal(filled.star[:count], star[:count])
    np.testing.assert_array_equal(filled.star[68 : 68 + gaps * copies], star[count:])
    assert (np.asarray(filled.star) < 0).sum() == 3 + copies
    position = jnp.linspace(-0.5, 0.5, target.dim)
    one, other = (float(target.log_density(position, d)) for d in (data, filled))
    assert float(one) == pytest.approx(float(other), rel=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"data": stars(1, count=13)},
        {"network": bt.Network((4,))},
        {"network": bt.Network((3,), "relu")},
        {"noise": bt.Noise(dof=5.0)},
    ],
)
def test_other_shapes_have_functions_of_their_own(change):
    usual = {"data": stars(1), "network": NETWORK, "noise": NOISE, "probes": PROBES}
    one, other = (build_target(**given) for given in (usual, usual | change))
    assert one.log_density is not other.log_density
    assert other.probe(jnp.zeros(other.dim), other.probed).shape == (4, 2)


def test_nearly_as_many_stars_and_other_probes_share_functions():
    one = build_target(stars(1, count=65), NETWORK, NOISE, PROBES)
    for count, probes in ((67, PROBES), (65, PROBES + 5)):
        assert build_target(stars(2, count), NETWORK, NOISE, probes).log_density is one.log_density


def test_a_second_fit_of_as_many_stars_compiles_nothing_large(monkeypatch):
    method = bt.MCLMC(chains=2, draws=20, steps=40, warm_steps=20, tune_steps=20)
    tiny_fit(method, LINEAR)
    made: list[int] = []
    monkeypatch.setattr(PerChain, "__init__", lambda self, function: made.append(1))
    tiny_fit(method, LINEAR)
    assert not made


def test_refits_by_svi_climb_with_one_program():
    method = bt.SVI(steps=20, draws=20, warm_steps=20)
    tiny_fit(method, LINEAR)
    before = sample._ascent.cache_info()
    tiny_fit(method, LINEAR, seed=1)
    after = sample._ascent.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)
