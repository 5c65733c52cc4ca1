"""What a method costs: fit and prediction apart, in a process that runs nothing else."""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Of the method that is at work: seconds and MiB of its predictions, and what else it tells.
SPENT: dict[str, float] = {}

#: What is asked when the clock has stopped.
LATER: list[Callable[[], dict[str, float]]] = []


#: Seconds (wall-clock, CPU) of what is no part of the method.
ASIDE = [0.0, 0.0]


def begin() -> None:
    """Forget what was spent before."""
    SPENT.clear()
    LATER.clear()
    ASIDE[:] = 0.0, 0.0
    SPENT.update(predict_wall=0.0, predict_cpu=0.0, fit_MiB=0.0, predict_MiB=0.0)
    forget_peak()


@contextmanager
def predicting() -> Iterator[None]:
    """Count the block as prediction and not as fit; a method may come by several times."""
    SPENT["fit_MiB"] = max(SPENT.get("fit_MiB", 0.0), peak())
    forget_peak()
    wall, cpu = time.perf_counter(), cpu_seconds()
    yield
    add(predict_wall=time.perf_counter() - wall, predict_cpu=cpu_seconds() - cpu)
    SPENT["predict_MiB"] = max(SPENT.get("predict_MiB", 0.0), peak())
    forget_peak()


@contextmanager
def uncounted() -> Iterator[None]:
    """Leave the block's seconds out."""
    wall, cpu = clocks()
    yield
    ASIDE[:] = (a + now - then for a, now, then in zip(ASIDE, clocks(), (wall, cpu), strict=True))
    forget_peak()


def clocks() -> tuple[float, float]:
    """Return seconds (wall-clock, CPU) without what was left out."""
    return time.perf_counter() - ASIDE[0], cpu_seconds() - ASIDE[1]


def told() -> dict[str, float]:
    """Return all that is known, with what costs nothing to the method."""
    return SPENT | {name: value for ask in LATER for name, value in ask().items()}


def add(**spent: float) -> None:
    """Add to what was spent before."""
    for name, value in spent.items():
        SPENT[name] = SPENT.get(name, 0.0) + value


def cpu_seconds() -> float:
    """Return what this process and the children that it has waited for have used."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak() -> float:
    """Return the most memory (MiB) that this process has had since `forget_peak`; or NaN."""
    with suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
    return float("nan")


def forget_peak() -> None:
    """Let the peak begin anew, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
