"""Benchmarks of the sampling run: what they print for a run or two, not what it amounts to."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def printed(name: str, *arguments: str) -> str:
    command = [sys.executable, str(BENCHMARKS / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def shares(told: str, kind: str) -> list[float]:
    """Return the shares of true values within intervals, which grow with the level."""
    (line,) = re.findall(rf"^\s*{kind}[^\d]*(.*?)\d+ of \d+$", told, re.MULTILINE)
    return [float(number) for number in line.split()]


def by_whom(piece: int) -> tuple[int, int]:
    return piece, os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_pieces_come_back_in_their_order_whoever_did_them(workers, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    by_workers = importlib.import_module("_workers").by_workers
    pieces, processes = zip(*by_workers(by_whom, range(6), workers), strict=True)
    assert pieces == tuple(range(6))
    assert (os.getpid() in processes) is (workers == 1)


def test_without_an_accelerator_nothing_is_measured(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert printed("gpu.py") == "JAX finds no accelerator on this machine: nothing was measured\n"


@pytest.fixture
def sbc(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("sbc")


def ranked(sbc, wide: float, shift: float = 0.0) -> np.ndarray:
    """Return ranks (200 runs, 10) of standard normal truths among draws of another law."""
    rng = np.random.default_rng(9)
    truth, found = rng.standard_normal((200, 10)), []
    for run, one in enumerate(truth):
        # The centre of a posterior that is right strays from the truth as its draws do.
        centre = one + rng.standard_normal(10) + shift
        draws = centre + wide * rng.standard_normal((400, 10))
        found.append(sbc.rank(draws, one, run))
    return np.array(found)


def test_ranks_of_a_right_posterior_stay_in_their_band_and_others_leave_it(sbc):
    assert (sbc.beyond(ranked(sbc, 1.0)) == 0).sum() >= 9  # of ten at 99 %
    assert (sbc.beyond(ranked(sbc, 0.5)) > 0.02).all()  # too narrow
    assert (sbc.beyond(ranked(sbc, 2.0)) > 0.02).all()  # too wide
    assert (sbc.beyond(ranked(sbc, 1.0, shift=0.7)) > 0.02).all()


@pytest.mark.slow
def test_calibration_by_simulation_ranks_functions_and_stars():
    told = printed("sbc_fit.py", "--runs", "2", "--methods", "SVI", "--calibrated", "no")
    assert "2 fits of 150 stars" in told
    for kind in ("function, dense", "function, beyond", "new star, dense", "new star, beyond"):
        found = shares(told, kind)
        assert len(found) == 4
        assert sorted(found) == found
        assert 0 <= found[0] <= found[-1] <= 100


@pytest.mark.slow
def test_calibration_by_simulation_of_a_sampler_keeps_its_ranks(tmp_path):
    told = printed("sbc.py", "--runs", "2", "--methods", "SVI", "--keep", str(tmp_path / "r.npz"))
    assert "2 runs of 150 stars" in told
    assert len(shares(told, "all")) == 4
    with np.load(tmp_path / "r.npz") as kept:
        assert list(kept) == ["SVI"]
        assert len(kept["SVI"]) == 2
        assert ((kept["SVI"] >= 0) & (kept["SVI"] <= 1)).all()


def test_an_order_is_that_of_the_truth_but_for_what_its_samples_do_not_tell_apart(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    same_order = importlib.import_module("importance").same_order
    noise = 0.01 * np.random.default_rng(0).standard_normal((8, 3))
    noise -= noise.mean(axis=0)
    truth, names = np.array([0.6, 0.301, 0.3]) + noise, ["x", "y", "z"]
    assert same_order(truth, np.array([0.5, 0.4, 0.1]), names) == "ranks are the same"
    told = same_order(truth, np.array([0.5, 0.1, 0.4]), names)
    assert told.endswith("tied by the Monte-Carlo error of the truth: y and z")
    assert told.startswith("ranks are the same")
    told = same_order(truth, np.array([0.2, 0.4, 0.1]), names)
    assert told == "ranks are not all the same: x and y"
