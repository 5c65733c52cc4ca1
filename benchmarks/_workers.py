"""Independent pieces of a benchmark at once, each worker with cores of its own."""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.sharedctypes import Synchronized


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add ``--workers`` to the options of a benchmark."""
    parser.add_argument("--workers", type=int, default=1, help="processes that share the cores")


def keep_to_own_cores(number: Synchronized, workers: int) -> None:
    """Take a share of the cores, before JAX starts as many threads as it is left."""
    if not hasattr(os, "sched_setaffinity"):  # elsewhere than on Linux the system shares them out
        return
    with number.get_lock():
        mine = number.value
        number.value += 1
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[mine % len(cores) :: workers])


def by_workers[Piece, Result](
    work: Callable[[Piece], Result], pieces: Iterable[Piece], workers: int
) -> Iterator[Result]:
    """Yield ``work`` of each piece, in their order; with one worker in this process."""
    if workers == 1:
        yield from map(work, pieces)
        return
    # JAX has threads, which a forked process would lack.
    context = multiprocessing.get_context("spawn")
    arguments = context.Value("i", 0), workers
    with ProcessPoolExecutor(workers, context, keep_to_own_cores, arguments) as pool:
        yield from pool.map(work, pieces)
