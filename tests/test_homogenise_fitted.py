"""A fitted model and the base's own values merged: error bars against what is true."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

import bayestrans as bt
from bayestrans.simulate import as_columns

COUNT = 2000


@pytest.mark.slow
def test_a_star_that_the_base_has_too_gets_an_error_of_the_right_size():
    common = bt.simulate(1500, 0, seed=101).pairs
    model = bt.fit(common, method=bt.SVI(), seed=1, calibrate=False, progress=False)
    both = bt.simulate(COUNT, 0, seed=201)
    spec, pairs = both.spec, both.pairs
    columns = tuple(
        bt.Input(o.name, o.column, o.error, o.unit) for o in spec.outputs if not o.extrinsic
    )
    tables = [
        Table({"star_id": pairs.ids, **as_columns(spec.inputs, pairs.x, pairs.x_err)}),
        Table({"star_id": pairs.ids, **as_columns(spec.outputs, pairs.y, pairs.y_err)}),
    ]
    members = (
        bt.Member("a", tables[0], "star_id", model=model),
        bt.Member("b", tables[1], "star_id", columns=columns),
    )
    found = bt.homogenise(bt.Plan(members, base="b", id="star_id"), progress=False)
    order = np.argsort(pairs.ids)
    assert found["star_id"].tolist() == pairs.ids[order].tolist()
    for k, output in enumerate(spec.outputs[:4]):
        truth, name = both.truth["y"][order, k], output.name
        covered = (found[f"{name}_p16"] <= truth) & (truth <= found[f"{name}_p84"])
        # Two thousand stars: a standard error of 1 %.
        assert covered.mean() == pytest.approx(0.68, abs=0.04), name
        alone = np.median(pairs.y_err[:, k])
        assert np.median(found[f"{name}_sd"]) < alone
