"""Run one compiled function for every chain, two at a time on a CPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from threading import Thread
from typing import Any

import jax
import jax.numpy as jnp


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
        self._compiled: Future[Any] | None = None
        self._batched: Any = None

    def prepare(self, states: Any, shared: Any) -> None:
        """Begin to compile for such states: `__call__` waits for it.

        What several programs take to compile is most of what a fit of few stars takes.
        """
        if jax.default_backend() == "cpu":
            self._program(states, shared)

    def _program(self, states: Any, shared: Any) -> Future[Any]:
        """Return the program of one chain, which a thread of its own compiles."""
        if self._compiled is None:
            one = jax.tree.map(lambda leaf: leaf[0], states)
            lowered = jax.jit(self._function).lower(one, shared)
            self._compiled = Future()
            Thread(target=_compile, args=(lowered, self._compiled)).start()
        return self._compiled

    def __call__(self, states: Any, shared: Any, done: Callable[[], Any] = lambda: None) -> Any:
        """Apply to states stacked along the first axis; return the stacked results.

        ``done`` is called after each chain.
        """
        n_chains = len(jax.tree.leaves(states)[0])
        if jax.default_backend() != "cpu":
            return self._batch(states, shared, n_chains, done)
        split = [jax.tree.map(lambda leaf, i=i: leaf[i], states) for i in range(n_chains)]
        compiled = self._program(states, shared).result()
        results: dict[int, Any] = {}
        pool = ThreadPoolExecutor(max_workers=min(n_chains, os.cpu_count() or 1))
        try:
            waiting = {pool.submit(_run, compiled, one, shared): i for i, one in enumerate(split)}
            for future in as_completed(waiting):
                results[waiting[future]] = future.result()
                done()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *(results[i] for i in range(n_chains))
        )

    def _batch(self, states: Any, shared: Any, n_chains: int, done: Callable[[], Any]) -> Any:
        if self._batched is None:
            self._batched = jax.jit(jax.vmap(self._function, (0, None)))
        result = _run(self._batched, states, shared)
        for _ in range(n_chains):
            done()
        return result


def _run(program: Callable[..., Any], state: Any, shared: Any) -> Any:
    return jax.block_until_ready(program(state, shared))


def _compile(lowered: Any, result: Future[Any]) -> None:
    try:
        result.set_result(lowered.compile())
    except BaseException as error:  # it is raised where the program is wanted
        result.set_exception(error)
