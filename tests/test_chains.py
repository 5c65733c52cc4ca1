"""Chains as an accelerator runs them, one batch, against the threads of a CPU."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import LINEAR, tiny_fit

import bayestrans as bt
from bayestrans.chains import PerChain
from bayestrans.neighbours import Neighbours, _reaches


@pytest.fixture
def accelerator(monkeypatch):
    """Return what makes the package believe that it runs on a GPU."""
    return lambda: monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def walk(state: dict, shared: jax.Array) -> dict:
    return {"place": state["place"] * 2.0 + shared, "count": state["count"] + 1}


def test_one_batch_gives_what_threads_give(accelerator):
    states = {"place": jnp.arange(6.0).reshape(3, 2), "count": jnp.arange(3)}
    ended: list[int] = []
    run = PerChain(walk)
    first = run(states, jnp.float32(0.5), lambda: ended.append(1))
    accelerator()
    batch = PerChain(walk)
    for _ in range(2):  # compiled once, called again
        found = batch(states, jnp.float32(0.5), lambda: ended.append(1))
        for name, values in first.items():
            np.testing.assert_array_equal(found[name], values)
    np.testing.assert_array_equal(first["place"], [[0.5, 2.5], [4.5, 6.5], [8.5, 10.5]])
    assert len(ended) == 9


def test_a_batch_of_fits_is_what_single_fits_are(accelerator):
    method = bt.Ensemble(members=3, warm_steps=20)
    one = tiny_fit(method, LINEAR).blocks[0]
    accelerator()
    other = tiny_fit(method, LINEAR)
    assert other.record["backend"] == "gpu"
    for name, values in one.draws.items():
        np.testing.assert_allclose(other.blocks[0].draws[name], values, rtol=1e-5, atol=1e-5)


def test_reaches_are_the_same_in_one_sum(accelerator):
    known = Neighbours.learn(np.random.default_rng(0).normal(size=(400, 2)), (0, 1))
    place = jnp.asarray(np.random.default_rng(1).normal(size=(2, 64)), jnp.float32)
    kernel = known._kernel(known.held)
    one = _reaches(kernel, place[None])
    accelerator()
    np.testing.assert_allclose(_reaches.__wrapped__(kernel, place[None]), one, rtol=1e-5)
