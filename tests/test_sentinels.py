"""Numbers that stand for "no value": named in the spec, or met unannounced."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
from astropy.table import Table

import bayestrans as bt
from bayestrans.catalogue import read_inputs, read_pairs
from bayestrans.scale import Scaler
from bayestrans.sentinels import suspects
from bayestrans.spec import Input, Output, Spec, SpecError

SPEC = Spec(
    "A to B",
    (Input("teff", "teff", "e_teff", "K"), Input("logg", "logg")),
    (Output("teff", "TEFF_B", None, "K", "teff"),),
    sentinels=(-9999.0,),
)
UNSAID = dataclasses.replace(SPEC, sentinels=None)


@pytest.fixture
def stars() -> Table:
    rng = np.random.default_rng(1)
    teff = rng.normal(5000.0, 400.0, 40)
    stars = Table({"teff": teff, "e_teff": np.full(40, 50.0), "logg": rng.uniform(1.0, 5.0, 40)})
    stars["TEFF_B"] = teff + 30.0 + rng.normal(0.0, 20.0, 40)
    stars["teff"][3] = stars["logg"][5] = stars["logg"][6] = stars["e_teff"][7] = -9999.0
    return stars


def test_named_sentinels_are_gaps_in_pairs_and_catalogues(stars):
    for found in (read_pairs(stars, SPEC), read_inputs(stars, SPEC)):
        assert np.argwhere(np.isnan(found.x)).tolist() == [[3, 0], [5, 1], [6, 1]]
        assert np.flatnonzero(np.isnan(found.x_err[:, 0])).tolist() == [7]
    assert stars["teff"][3] == -9999  # the source stays as it is


def test_a_sentinel_is_compared_before_units_are_converted(stars):
    stars["teff"] = np.where(stars["teff"] > 0, stars["teff"] / 1000, -9999.0)
    stars["teff"].unit = "kK"
    found = read_inputs(stars, SPEC).x[:, 0]
    assert np.flatnonzero(np.isnan(found)).tolist() == [3]
    np.testing.assert_allclose(np.nanmedian(found), 5000, atol=300)


def test_a_sentinel_is_rounded_as_its_column():
    table = Table({"teff": np.array([4000.0, 99.99], "f4"), "logg": [1.0, 2.0]})
    inputs = (Input("teff", "teff"), Input("logg", "logg"))
    spec = Spec("s", inputs, (Output("b", "b"),), None, (99.99,))
    assert np.isnan(read_inputs(table, spec).x[:, 0]).tolist() == [False, True]


def test_unannounced_sentinels_among_common_stars_are_missing_and_said(stars, caplog):
    with caplog.at_level(logging.WARNING, "bayestrans"):
        found = read_pairs(stars, UNSAID)
    assert np.argwhere(np.isnan(found.x)).tolist() == [[3, 0], [5, 1], [6, 1]]
    assert (
        "the table: teff: 1 of 40 values are -9999; logg: 2 of 40 values are -9999: they look like "
        "'no value' and are taken as missing; name them at the top of the spec"
    ) in caplog.text
    taken = read_pairs(stars, dataclasses.replace(SPEC, sentinels=()))
    assert taken.x[3, 0] == -9999


def test_whoever_names_one_sentinel_is_told_of_others(stars, caplog):
    stars["logg"][8] = stars["logg"][9] = -999.0
    with caplog.at_level(logging.WARNING, "bayestrans"):
        found = read_pairs(stars, SPEC)
    assert np.argwhere(np.isnan(found.x)).tolist() == [[3, 0], [5, 1], [6, 1], [8, 1], [9, 1]]
    assert "logg: 2 of 40 values are -999: they look" in caplog.text
    assert "as sentinels = [-9999, -999]" in caplog.text
    usual = Scaler.learn(found)
    assert np.isnan(read_inputs(stars[8:9], SPEC, usual).x[0]).tolist() == [False, True]


def test_unannounced_sentinels_of_a_catalogue_are_told_by_the_training_stars(stars, caplog):
    usual = Scaler.learn(read_pairs(stars, SPEC))
    stars["logg"][7], stars["logg"][8], stars["teff"][9] = 99.0, 9.9, 9999.0
    with caplog.at_level(logging.WARNING, "bayestrans"):
        found = read_inputs(stars, UNSAID, usual)
    assert np.argwhere(np.isnan(found.x)).tolist() == [[3, 0], [5, 1], [6, 1], [7, 1]]
    said = "logg: 2 of 40 values are -9999; logg: 1 of 40 values are 99: they look like 'no value'"
    assert said in caplog.text
    alone = read_inputs(stars[5:6], UNSAID, usual)  # whatever its company
    np.testing.assert_array_equal(alone.x, found.x[5:6])
    assert read_inputs(stars, dataclasses.replace(SPEC, sentinels=()), usual).x[3, 0] == -9999
    alone = read_inputs(stars, UNSAID).x[:, 1]  # nothing to compare with: what no star can be
    assert np.flatnonzero(np.isnan(alone)).tolist() == [5, 6, 7]


def test_a_translated_star_with_an_unannounced_sentinel_has_a_gap(posterior, survey):
    table = Table(survey.catalogue)[:5]
    column = posterior.spec.inputs[1].column
    table[column] = np.asarray(table[column], dtype=float)
    table[column][2] = np.nan
    want = bt.translate(posterior, table, progress=False)
    table[column][2] = -9999.0
    found = bt.translate(posterior, table, progress=False)
    assert found["flags"].tolist() == want["flags"].tolist()
    assert found["flags"][2] & 1
    assert found["teff_mean"].tolist() == want["teff_mean"].tolist()


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([*np.linspace(3500, 8000, 50), -9999, -9999, -999], {-9999.0: 2, -999.0: 1}),
        ([*np.linspace(0.5, 4.8, 50), 99, -99], {99.0: 1, -99.0: 1}),
        ([*np.linspace(-300, 300, 50), 99, -99], {}),  # velocities among others
        ([*np.linspace(3500, 9900, 50), 9999], {}),  # a hot star
        ([*np.geomspace(1, 5000, 50), 999], {}),  # a count
        ([5.0] * 50 + [99], {}),  # nothing to compare with
        ([-9999.0] * 5, {}),
        ([np.nan, np.inf], {}),
    ],
)
def test_what_looks_like_a_sentinel(values, found):
    assert suspects(np.asarray(values, dtype=float)) == found


@pytest.mark.parametrize("sentinels", [(-9999.0, 99.0), (), None])
def test_sentinels_survive_the_file(tmp_path, sentinels):
    spec = dataclasses.replace(SPEC, sentinels=sentinels)
    path = tmp_path / "spec.toml"
    path.write_text(spec.to_toml(), encoding="utf-8")
    assert Spec.from_toml(path) == Spec.from_dict(spec.to_dict()) == spec
    assert ("sentinels" in spec.to_dict()) == (sentinels is not None)  # models keep their digests


@pytest.mark.parametrize("wrong", ["-9999", -9999.0, ["-9999"], [True], [float("nan")], [[1.0]]])
def test_sentinels_that_are_no_numbers_are_refused(wrong):
    content = {**SPEC.to_dict(), "sentinels": wrong}
    with pytest.raises(SpecError, match=r"must be a list of numbers, such as \[-9999.0\]"):
        Spec.from_dict(content)


def test_sentinels_are_looked_for_in_the_unit_of_the_table(stars, caplog):
    stars["rv"] = np.linspace(-200_000.0, 200_000.0, 40)
    stars["rv"].unit = "m/s"
    stars["rv"][[8, 9]] = -9999.0, 9e5
    stars["rv"][10:30] = -9999.0
    rv = Input("rv", "rv", unit="km/s")
    spec = dataclasses.replace(UNSAID, inputs=(*UNSAID.inputs, rv))
    # Among velocities of all sizes it may be one; alone on its side of them it is none.
    assert np.isfinite(read_pairs(stars, spec).x[:, 2]).all()
    stars["rv"][:] = np.linspace(20_000.0, 25_000.0, 40)
    stars["rv"][10:13] = -9999.0
    with caplog.at_level(logging.WARNING, "bayestrans"):
        pairs = read_pairs(stars, spec)
    assert np.flatnonzero(np.isnan(pairs.x[:, 2])).tolist() == [10, 11, 12]
    assert "rv: 3 of 40 values are -9999" in caplog.text
    usual = Scaler.learn(pairs)
    assert np.flatnonzero(np.isnan(read_inputs(stars, spec, usual).x[:, 2])).tolist() == [
        10,
        11,
        12,
    ]


@pytest.mark.parametrize("number", [np.ma.default_fill_value(1.0), -9999.0, 99.0])
@pytest.mark.parametrize(("unit", "size"), [("mas", 1.0), ("rad", 5e-9), ("deg", 3e-7)])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_gaps_are_missing_in_every_unit(stars, kind, unit, size, number):
    stars["parallax"] = np.linspace(0.5 * size, 3.0 * size, 40).astype(kind)
    stars["parallax"][4] = number
    stars["parallax"].unit = unit
    item = Input("parallax", "parallax", unit="mas")
    spec = dataclasses.replace(UNSAID, inputs=(*UNSAID.inputs, item))
    assert np.flatnonzero(np.isnan(read_pairs(stars, spec).x[:, 2])).tolist() == [4]
