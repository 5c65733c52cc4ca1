"""Telling by a table's columns which survey it is of."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from released import refusal, stars, write_as_released

from bayestrans import cli
from bayestrans.clean import clean
from bayestrans.match import pair
from bayestrans.presets import SURVEYS
from bayestrans.recognise import recognise
from bayestrans.tables import read_table, write_table


@pytest.mark.parametrize("name", SURVEYS)
def test_every_survey_is_told_by_its_file_as_released(name, tmp_path):
    table = stars(SURVEYS[name])
    assert recognise(table).name == recognise(table.to_pandas()).name == name
    assert recognise(write_as_released(SURVEYS[name], table, tmp_path)).name == name


def test_a_table_that_lacks_what_a_cut_needs_or_fits_several_is_asked_about(tmp_path):
    table = stars(SURVEYS["apogee-dr17"])
    table.remove_column("ASPCAPFLAG")
    write_table(table, tmp_path / "t.fits")
    assert refusal(clean, tmp_path / "t.fits") == (
        f"{tmp_path / 't.fits'}: the table looks most like apogee-dr17, but lacks ASPCAPFLAG; "
        "name the survey: a preset (bayestrans surveys), or a file that describes yours"
    )
    galah = stars(SURVEYS["galah-dr3"])
    other = stars(SURVEYS["rave-dr6"])
    for column in other.colnames:
        galah[column] = other[column]
    assert "could be of galah-dr3 and rave-dr6; name the survey" in refusal(clean, galah)
    nothing = Table({"teff": [1.0]})
    assert "the table has the columns of no survey with a preset" in refusal(clean, nothing)
    assert "there is no such file" in refusal(clean, tmp_path / "none.fits")


def test_pairs_of_unnamed_surveys_are_those_of_named_ones(tmp_path, capsys):
    a, b = stars(SURVEYS["galah-dr3"], 40), stars(SURVEYS["apogee-dr17"], 40)
    named = pair(a, b, survey_a="galah-dr3", survey_b="apogee-dr17")
    found = pair(a, b)
    assert found.spec == named.spec
    assert found.table.colnames == named.table.colnames
    write_table(a, tmp_path / "a.fits")
    write_table(b, tmp_path / "b.fits")
    files = [str(tmp_path / name) for name in ("a.fits", "b.fits")]
    out = str(tmp_path / "p.parquet")
    assert cli.main(["pair", *files, "--on", "gaia_source_id", "--out", out]) == 0
    assert "A: GALAH DR3: 40 stars" in capsys.readouterr().out
    np.testing.assert_array_equal(read_table(out)["teff"], found.table["teff"])
    clean_out = str(tmp_path / "c.parquet")
    assert cli.main(["clean", files[0], "--out", clean_out]) == 0
    assert capsys.readouterr().out.startswith("GALAH DR3: 40 stars")
