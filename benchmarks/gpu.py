"""How much faster an accelerator is than this machine's processor, where there is one.

``python benchmarks/gpu.py [--stars 14000] [--catalogue 1000000]`` fits the simulated stars
and translates a catalogue on each of the platforms that JAX finds, in processes of their own,
and prints seconds and ratios, and by how much the two translations of one model differ.
Without an accelerator it says so and measures nothing.
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
import jax.numpy as jnp
import numpy as np
from astropy.table import Table

import bayestrans as bt

STEPS = 2000


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Return seconds of a fit and of translations, after others that compile their programs.

    The first process leaves its model for the other to translate with, and each its answers.
    """
    pairs = bt.simulate(options.stars, options.catalogue, seed=1)
    method = bt.MCLMC(steps=options.steps, max_steps=max(options.steps, 1000))
    seconds, model = {}, options.folder / "model.nc"
    for name in ("fit, with compilation", "fit"):
        begun = time.perf_counter()
        posterior = bt.fit(pairs.pairs, method=method, calibrate=False, seed=1, progress=False)
        seconds[name] = time.perf_counter() - begun
        told = {b.block.name: b.tuning["energy_variance"] for b in posterior.blocks}
        print(
            f"{jax.default_backend()}: {name} {seconds[name]:.1f} s, energy variance {told}",
            flush=True,
        )
    if not model.exists():
        posterior.save(model)
    posterior = bt.load(model)
    table = Table(pairs.catalogue)
    for name, rows in (
        ("translate a tenth, with compilation", len(table) // 10),
        ("translate", len(table)),
    ):
        begun = time.perf_counter()
        answer = bt.translate(posterior, table[:rows], progress=False)
        seconds[name] = time.perf_counter() - begun
        print(f"{jax.default_backend()}: {name} {seconds[name]:.1f} s", flush=True)
    ends = ("_mean", "_sd", "_p16", "_p84")
    written = {name: np.asarray(answer[name]) for name in answer.colnames if name.endswith(ends)}
    np.savez(options.folder / f"{jax.default_backend()}.npz", **written)
    return seconds


def in_process(options: argparse.Namespace, **environment: str) -> dict[str, float]:
    """Measure in a process of its own, on the platform that the environment names."""
    sizes = ["--stars", options.stars, "--catalogue", options.catalogue, "--steps", options.steps]
    command = [sys.executable, __file__, *map(str, sizes), "--folder", str(options.folder)]
    subprocess.run(command, check=True, env={**os.environ, **environment})
    return json.loads((options.folder / "seconds.json").read_text())


def rounding() -> dict[str, float]:
    """Return the relative error of a product by itself and in full precision."""
    rng = np.random.default_rng(1)
    left, right = (rng.normal(size=size).astype("f4") for size in ((32, 32), (32, 14_000)))
    exact = left.astype(float) @ right.astype(float)
    found = {kind: jnp.dot(left, right, precision=kind) for kind in ("default", "highest")}
    return {k: float(np.linalg.norm(v - exact) / np.linalg.norm(exact)) for k, v in found.items()}


def differ(folder: Path) -> None:
    """Print by how much two platforms' answers differ, in the spread of each star."""
    one, other = (np.load(path) for path in sorted(folder.glob("*.npz")))
    print("\nlargest difference of a summary, in the star's own sd:")
    for name in one.files:
        spread = one[f"{name.rpartition('_')[0]}_sd"]
        print(f"  {name:12s}{np.nanmax(np.abs(one[name] - other[name]) / spread):10.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stars", type=int, default=14_000)
    parser.add_argument("--catalogue", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        (options.folder / "seconds.json").write_text(json.dumps(measure(options)))
        return
    # This process must leave the memory to those that measure.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    device = jax.devices()[0]
    del os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"]
    if device.platform == "cpu":
        print("JAX finds no accelerator on this machine: nothing was measured")
        return
    print("relative error of a product", rounding())
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        fast, slow = in_process(options), in_process(options, JAX_PLATFORMS="cpu")
        differ(options.folder)
    print(f"\n{device.device_kind} against {os.cpu_count()} cores ({platform.machine()}), seconds")
    for name, seconds in fast.items():
        print(f"{name:40s}{seconds:9.1f}{slow[name]:9.1f}   ratio {slow[name] / seconds:.1f}")


if __name__ == "__main__":
    main()
