"""What the tests of translated catalogues have in common."""

from __future__ import annotations

import numpy as np
from astropy.table import Table

import bayestrans as bt

OUTPUTS = ["teff", "logg", "fe_h", "mg_fe", "rv"]
DRAWS = 200  # all that the model holds
PARTS = ["mean", "sd", "p16", "p50", "p84", "sd_model"]


def inputs(posterior: bt.Posterior, table: Table) -> tuple[np.ndarray, np.ndarray]:
    items = posterior.spec.inputs
    return tuple(
        np.column_stack([table[getattr(item, kind)] for item in items])
        for kind in ("column", "error")
    )


def assert_same(first: Table, second: Table) -> None:
    """Hold every column bit for bit, NaN included."""
    assert first.colnames == second.colnames
    assert len(first) == len(second)
    for name in first.colnames:
        a, b = (np.asarray(t[name]) for t in (first, second))
        if a.dtype.kind == "U":
            assert a.tolist() == b.tolist(), name
        else:
            assert a.dtype == b.dtype, name
            assert a.tobytes() == b.tobytes(), name
