"""A small model file, and the refusal of any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import bayestrans as bt
from bayestrans.store import ModelFileError


def tree() -> xr.DataTree:
    """Return a small tree with every kind of content that a model has."""
    weights = np.random.default_rng(0).normal(size=(2, 50, 8)).astype(np.float32)
    groups = {
        "posterior": xr.Dataset({"weights": (("chain", "draw", "unit"), weights)}),
        "support": xr.Dataset({"spacing": ((), np.float64(0.5)), "inputs": ("i", np.arange(3))}),
        "probe": xr.Dataset({"x_err": (("star", "j"), np.array([[1.0, np.nan]]))}),
    }
    made = xr.DataTree.from_dict(groups)
    made.attrs = {"spec": '{"name": "é"}'}
    return made


def refusal(path: Path, read=bt.load) -> str:
    """Return the one sentence with which a file is refused."""
    with pytest.raises(ModelFileError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 250
    return message
