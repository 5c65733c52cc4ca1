"""What is compiled for one fit serves others of the same shapes, and only what is compiled."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from tiny import LINEAR, tiny_fit

import bayestrans as bt
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
    assert not np.allclose(one.probe(position, one.data), one.probe(position, other.data))


@pytest.mark.parametrize(
    "change",
    [
        {"data": stars(1, count=13)},
        {"network": bt.Network((4,))},
        {"network": bt.Network((3,), "relu")},
        {"noise": bt.Noise(dof=5.0)},
        {"probes": np.array([0, 5])},
    ],
)
def test_other_shapes_have_functions_of_their_own(change):
    usual = {"data": stars(1), "network": NETWORK, "noise": NOISE, "probes": PROBES}
    one, other = (build_target(**given) for given in (usual, usual | change))
    assert one.log_density is not other.log_density
    assert other.probe(jnp.zeros(other.dim), other.data).shape == (4, 2)


def test_a_second_fit_of_as_many_stars_compiles_nothing_large(monkeypatch):
    method = bt.MCLMC(chains=2, draws=20, steps=40, warm_steps=20, tune_steps=20)
    tiny_fit(method, LINEAR)
    made: list[int] = []
    monkeypatch.setattr(PerChain, "__init__", lambda self, function: made.append(1))
    tiny_fit(method, LINEAR)
    assert not made
