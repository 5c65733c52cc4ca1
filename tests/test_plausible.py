"""What no star can be is missing, and a column of it a fault."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
from astropy.table import Table

import bayestrans as bt
from bayestrans.catalogue import read_inputs, read_pairs
from bayestrans.plausible import LOGARITHM, PLAIN, check_column, limits, without_impossible
from bayestrans.spec import Input, Output, Spec

SPEC = Spec(
    "A to B",
    (
        Input("teff", "teff", unit="K"),
        Input("logg", "logg"),
        Input("colour", "colour"),
        Input("rv", "rv", unit="km/s", extrinsic=True),
        Input("g", "g", unit="mag"),
    ),
    (Output("fe_h", "fe_h", unit="dex"),),
)


def stars() -> Table:
    rng = np.random.default_rng(1)
    return Table(
        {
            "teff": rng.normal(5000.0, 400.0, 40),
            "logg": rng.uniform(1.0, 5.0, 40),
            "colour": rng.normal(1.0, 0.1, 40),
            "rv": rng.normal(0.0, 40.0, 40),
            "g": rng.normal(12.0, 1.0, 40),
            "fe_h": rng.normal(-0.3, 0.2, 40),
        }
    )


def test_a_unit_says_what_a_quantity_can_be():
    assert limits(Input("logg", "logg")) == limits(Input("a", "a", unit="dex")) == LOGARITHM
    assert limits(Input("mg_fe", "m")) == limits(Input("fe_h", "f")) == LOGARITHM
    assert limits(Input("colour", "colour")) == PLAIN
    assert limits(Input("v", "v", unit="km/s")) == (-3000.0, 3000.0)
    assert limits(Input("d", "d", unit="kpc")) is None


def test_what_no_star_can_be_is_missing_and_counted(caplog):
    table = stars()
    table["teff"][:3] = 0.0, -99.0, 99.0
    table["logg"][4], table["rv"][5], table["colour"][6] = -77.0, 1e5, 88.0
    table["fe_h"][7] = 1e20  # what NumPy fills gaps with
    with caplog.at_level(logging.WARNING, "bayestrans"):
        found, inputs = read_pairs(table, SPEC), read_inputs(table, SPEC)
    gaps = [[0, 0], [1, 0], [2, 0], [4, 1], [5, 3]]
    assert np.argwhere(np.isnan(found.x)).tolist() == gaps
    assert np.argwhere(np.isnan(inputs.x)).tolist() == gaps
    assert len(found) == 39  # star 7 has no output left
    assert table["teff"][1] == -99.0  # the source stays as it is
    for said in (
        "teff: 3 of 40 values are not in 500 to 1e+06 K",
        "logg: 1 of 40 values are not in -15 to 15;",
        "rv: 1 of 40 values are not in -3000 to 3000 km/s",
        "fe_h: 1 of 40 values are 1e+20",
    ):
        assert said in caplog.text


def test_a_spec_can_say_that_all_numbers_are_measured():
    measured = dataclasses.replace(SPEC, sentinels=())
    values = np.array([[-99.0, 99.0, 1.0, 1e6]])
    found, odd = without_impossible(measured, SPEC.inputs, values)
    np.testing.assert_array_equal(found, values)
    assert odd == []


@pytest.mark.parametrize(
    ("item", "values", "said"),
    [
        (SPEC.inputs[0], [3.7, 3.6], "the median, 3.65 K, is not in 1e3..1e6 K"),
        (SPEC.inputs[1], [100.0, 1000.0], "the median, 550, is beyond a logarithm"),
        (SPEC.inputs[3], [2e4, -3e4], r"the median would be 2.5e\+04 km/s; if it is in m/s"),
        (
            SPEC.inputs[4],
            [2e4, 3e4],
            r"g: the median, 2.5e\+04 mag, is beyond 50; is it in another",
        ),
    ],
)
def test_a_column_in_another_unit_is_refused(item, values, said):
    with pytest.raises(bt.CatalogueError, match=said):
        check_column(np.array(values), item)


@pytest.mark.parametrize("values", [[99.0, -9999.0], [np.nan], [0.0]])
def test_a_column_of_gaps_says_nothing_of_its_unit(values):
    for item in SPEC.inputs:
        check_column(np.array(values), item)


def test_the_same_is_said_of_each_table(caplog):
    """Once of a table that is read twice, but not once for all tables that lie in memory."""
    tables = [stars(), stars()]
    with caplog.at_level(logging.WARNING, "bayestrans"):
        for table in [*tables, *tables]:
            table["teff"][0] = 0.0
            read_inputs(table, SPEC)
    assert caplog.text.count("teff: 1 of 40 values are not in") == 2
