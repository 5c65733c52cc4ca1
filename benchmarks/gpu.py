"""How much faster an accelerator is than this machine's processor, where there is one.

``python benchmarks/gpu.py [--stars 14000] [--catalogue 1000000]`` fits the simulated stars
and translates a catalogue on each of the platforms that JAX finds, in processes of their own,
and prints seconds and ratios. Without an accelerator it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
from astropy.table import Table

import bayestrans as bt

STEPS = 4000


def measure(stars: int, catalogue: int) -> dict[str, float]:
    """Return seconds of a fit and of a translation, each after one that compiles its programs."""
    pairs = bt.simulate(stars, catalogue, seed=1)
    method = bt.MCLMC(steps=STEPS, max_steps=STEPS)
    seconds = {}
    for name in ("fit, with compilation", "fit"):
        begun = time.perf_counter()
        posterior = bt.fit(pairs.pairs, method=method, calibrate=False, seed=1, progress=False)
        seconds[name] = time.perf_counter() - begun
    table = Table(pairs.catalogue)
    bt.translate(posterior, table[:100_000], progress=False)
    begun = time.perf_counter()
    bt.translate(posterior, table, progress=False)
    seconds["translate"] = time.perf_counter() - begun
    return seconds


def in_process(which: str, stars: int, catalogue: int) -> dict[str, float]:
    """Measure on one platform, in a process that has only that."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "seconds.json"
        sizes = ["--stars", str(stars), "--catalogue", str(catalogue)]
        command = [sys.executable, __file__, *sizes, "--measure", str(out)]
        subprocess.run(command, check=True, env={**os.environ, "JAX_PLATFORMS": which})
        return json.loads(out.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stars", type=int, default=14_000)
    parser.add_argument("--catalogue", type=int, default=1_000_000)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        Path(options.measure).write_text(json.dumps(measure(options.stars, options.catalogue)))
        return
    device = jax.devices()[0]
    if device.platform == "cpu":
        print("JAX finds no accelerator on this machine: nothing was measured")
        return
    print(f"{device.device_kind} against {os.cpu_count()} cores ({platform.machine()}), seconds")
    found = {
        which: in_process(which, options.stars, options.catalogue)
        for which in (jax.default_backend(), "cpu")
    }
    fast, slow = found.values()
    for name, seconds in fast.items():
        ratio = slow[name] / seconds
        print(f"{name:24s}{seconds:9.1f}{slow[name]:9.1f}   ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
