"""Run one compiled function for every chain, two at a time on a CPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import jax
import jax.numpy as jnp

from .programs import compiled


class PerChain:
    """A function of one chain, applied to all of them.

    On a CPU each chain runs as a program of its own in a thread, as many at a
    time as there are cores: on two, twice the rate of one chain after another
    (``benchmarks/fit.py``).
    On an accelerator the chains are one batch.

    Parameters
    ----------
    function : callable
        ``function(state, shared)``; traced once, in the calling thread,
        because NumPyro's tracing is not safe in others.
    """

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self._function = function
        self._compiled: Any = None
        self._batched: Any = None

    def __call__(self, states: Any, shared: Any, done: Callable[[], Any] = lambda: None) -> Any:
        """Apply to states stacked along the first axis; return the stacked results.

        ``done`` is called after each chain.
        """
        n_chains = len(jax.tree.leaves(states)[0])
        if jax.default_backend() != "cpu":
            return self._batch(states, shared, n_chains, done)
        split = [jax.tree.map(lambda leaf, i=i: leaf[i], states) for i in range(n_chains)]
        if self._compiled is None:
            self._compiled = compiled(self._function).lower(split[0], shared).compile()
        results: dict[int, Any] = {}
        pool = ThreadPoolExecutor(max_workers=min(n_chains, os.cpu_count() or 1))
        try:
            waiting = {pool.submit(self._one, state, shared): i for i, state in enumerate(split)}
            for future in as_completed(waiting):
                results[waiting[future]] = future.result()
                done()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *(results[i] for i in range(n_chains))
        )

    def _one(self, state: Any, shared: Any) -> Any:
        return jax.block_until_ready(self._compiled(state, shared))

    def _batch(self, states: Any, shared: Any, n_chains: int, done: Callable[[], Any]) -> Any:
        if self._batched is None:
            self._batched = compiled(jax.vmap(self._function, (0, None)))
        result = jax.block_until_ready(self._batched(states, shared))
        for _ in range(n_chains):
            done()
        return result
