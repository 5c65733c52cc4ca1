"""Cleaning a survey's table: gaps, refusals with their remedy, and the command."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Column, Table
from released import refusal, stars, write_as_released

from bayestrans import cli
from bayestrans.clean import clean
from bayestrans.presets import survey
from bayestrans.surveys import Cut, GaiaId, Quantity, Survey
from bayestrans.tables import NULL, read_table, write_table

# ---- gaps -----------------------------------------------------------------------------------


def test_sentinels_and_impossible_values_become_gaps_and_are_counted():
    table = stars(survey("lamost-lrs"))
    table.meta["of"] = "the source"
    table["teff"] = [-9999.0, 4800.0, 1e6, np.nan, 4800.0, 4800.0]
    table["feh_err"] = [0.1, -9999.0, 0.0, -1.0, 0.1, 0.1]
    table["snrg"] = [50.0, 50.0, 50.0, 50.0, 50.0, -9999.0]
    table["rv"] = np.array([-9999, 10, 20, 30, 40, 50], dtype=np.int32)
    found = clean(table, "lamost-lrs")
    gaps = {gap.column: gap[1:] for gap in found.gaps}
    assert gaps == {"teff": (1, 1), "feh_err": (1, 2), "snrg": (1, 0), "rv": (1, 0)}
    assert found.table["teff"].mask.tolist() == [1, 0, 1, 0, 0]
    assert found.table["feh_err"].mask.tolist() == [0, 1, 1, 1, 0]
    assert "teff: 1 sentinels and 1 values beyond belief are missing" in str(found)
    assert found.cuts[0].alone == 1  # no S/N is no good S/N
    assert table["teff"][0] == -9999  # the source stays as it is
    assert table["teff"].unit is None
    assert table.meta == {"of": "the source"}


def test_values_and_errors_get_the_units_of_the_preset():
    table = stars(survey("apogee-dr17"))
    table["VHELIO_AVG"] = Column([30_000.0, -20_000.0, 2e6, 0.0, 1.0, 2.0], unit="m/s")
    found = clean(table, "apogee-dr17")
    assert found.table["VHELIO_AVG"].mask.tolist() == [0, 0, 1, 0, 0, 0]
    assert found.table["VHELIO_AVG"].unit == found.table["VERR"].unit == "km/s"
    np.testing.assert_allclose(found.table["VHELIO_AVG"][:2], [30.0, -20.0])
    # An error that has no unit is in that of its value.
    np.testing.assert_allclose(found.table["VERR"], np.asarray(table["VERR"]) / 1000)
    assert table["VHELIO_AVG"].unit == "m/s"
    assert table["TEFF"].unit is None
    table["VHELIO_AVG"].unit = "K"
    assert "VHELIO_AVG: 'K' and 'km / s'" in refusal(clean, table, "apogee-dr17")


@pytest.mark.parametrize(
    ("name", "factor", "said"),
    [
        ("TEFF", 1e-3, "TEFF: 6 of 6 values are not in 2000 to 60000 K, as teff of APOGEE DR17"),
        ("VHELIO_AVG", 1e3, r"values are not in -1500 to 1500 km/s, as rv of APOGEE DR17 must be"),
    ],
)
def test_a_column_in_another_unit_is_refused_and_not_emptied(name, factor, said):
    table = stars(survey("apogee-dr17"))
    table[name] = np.asarray(table[name], dtype=float) * factor
    assert said in refusal(clean, table, "apogee-dr17")


def test_the_nulls_of_fits_integers_go_from_every_column():
    table = stars(survey("galah-dr3"))
    table["nr_Li_fe"] = np.array([NULL, 1, 2, NULL, 3, 4])
    found = clean(table, "galah-dr3")
    assert found.table["nr_Li_fe"].tolist() == [None, 1, 2, None, 3, 4]
    assert found.gaps == (("nr_Li_fe", 2, 0),)
    assert "1 other columns: 2 sentinels" in str(found)


def test_percentiles_become_errors_and_log_g_is_calibrated():
    table = stars(survey("gaia-gspspec-dr3"))
    table["teff_gspspec_lower"] = table["teff_gspspec"] - 80
    table["teff_gspspec_upper"] = table["teff_gspspec"] + 40
    table["teff_gspspec_upper"][1] = np.nan
    found = clean(table, "gaia-gspspec-dr3")
    assert found.columns["teff"] == ("teff_gspspec", "teff_gspspec_error")
    assert found.table["teff_gspspec_error"].tolist() == [60, None, 60, 60, 60, 60]
    raw = table["logg_gspspec"][0]
    assert found.table["logg_gspspec_calibrated"][0] == pytest.approx(
        raw + 0.4496 - 0.0036 * raw - 0.0224 * raw**2
    )
    assert found.table["logg_gspspec"][0] == raw


def test_quantities_that_a_cut_down_table_lacks_are_left_out_and_said():
    table = stars(survey("apogee-dr17"))
    table.remove_columns(["VHELIO_AVG", "LOGG_ERR"])
    for name in ("TEFF", "FE_H", "GAIAEDR3_SOURCE_ID"):
        table.rename_column(name, name.lower())
    found = clean(table, "apogee-dr17")
    assert found.absent == ("the error of logg (LOGG_ERR)", "rv (VHELIO_AVG)")
    assert found.columns["logg"] == ("LOGG", None)
    assert found.columns["teff"] == ("teff", "TEFF_ERR")
    assert "not in the table: the error of logg (LOGG_ERR), rv (VHELIO_AVG)" in str(found)


# ---- refusals -------------------------------------------------------------------------------


def test_cuts_that_cannot_be_made_are_all_named_with_the_remedy(tmp_path):
    table = stars(survey("apogee-dr17"))
    table.remove_columns(["ASPCAPFLAG", "EXTRATARG"])
    write_table(table, tmp_path / "t.parquet")
    message = refusal(clean, tmp_path / "t.parquet", "apogee-dr17")
    assert message == (
        f"{tmp_path / 't.parquet'}: the table lacks columns for the cuts of APOGEE DR17: star_bad "
        "(column ASPCAPFLAG), duplicate (column EXTRATARG), telluric (column EXTRATARG); add the "
        "columns, or switch the cuts off (--without star_bad --without duplicate --without "
        "telluric) and make sure another way that such stars are out"
    )
    message = refusal(clean, stars(survey("galah-dr3")), "apogee-dr17", without=["fe_h_flag"])
    assert message.startswith("is this a table of APOGEE DR17? It lacks what ")
    assert "name another preset (bayestrans surveys)" in message
    off = ["star_bad", "duplicate", "telluric"]
    assert len(clean(table, "apogee-dr17", without=off).table) == 6


def test_what_a_user_may_mistake_is_said_plainly(tmp_path):
    table = stars(survey("galah-dr3"))
    assert refusal(clean, table, "galah-dr3", without=["flagsp"]) == (
        "GALAH DR3 has no cut 'flagsp' to switch off (did you mean 'flag_sp'?); "
        "its cuts: flag_sp, flag_fe_h, flag_mg_fe, snr"
    )
    assert "no column of RAVE DR6 (provisional) is in the table (looked for teff_cal" in refusal(
        clean, table, "rave-dr6"
    )
    table["flag_sp"] = ["ok"] * 6
    assert "flag_sp: holds text where the cut 'flag_sp' needs numbers" in refusal(
        clean, table, "galah-dr3"
    )
    table["flag_sp"], table["teff"] = 0, ["4800"] * 6
    assert "teff: not numeric" in refusal(clean, table, "galah-dr3")


def test_flags_of_digits_are_read_as_text_or_refused(tmp_path):
    item = survey("gaia-gspspec-dr3")
    path = write_as_released(item, stars(item), tmp_path)
    assert len(clean(path, item).table) == 6
    numbers = read_table(path)  # as a reader without the preset understands them
    assert "flags_gspspec: holds numbers where the cut 'best' needs text" in refusal(
        clean, numbers, item
    )


def test_desi_tables_are_read_side_by_side_or_refused(tmp_path):
    item = survey("desi-dr1")
    path = write_as_released(item, stars(item), tmp_path)
    assert "RVTAB_TEFF" in clean(path, item).table.colnames
    assert "TEFF" in read_table(path).colnames  # the plain reader reads the first table
    with fits.open(path) as hdus:
        short = fits.BinTableHDU(hdus["SPTAB"].data[:4], name="SPTAB")
        fits.HDUList([hdus[0], hdus["RVTAB"], short, hdus["GAIA"]]).writeto(tmp_path / "s.fits")
        fits.HDUList([hdus[0], hdus["RVTAB"]]).writeto(tmp_path / "m.fits")
    assert "differ in their rows (RVTAB 6, SPTAB 4, GAIA 6)" in refusal(
        clean, tmp_path / "s.fits", item
    )
    assert "there is no table SPTAB among its tables (RVTAB)" in refusal(
        clean, tmp_path / "m.fits", item
    )


def test_lamost_is_read_with_its_own_separator_or_with_commas(tmp_path):
    item = survey("lamost-lrs")
    path = write_as_released(item, stars(item), tmp_path)
    assert "separated by '|'" in refusal(read_table, path)
    write_table(stars(item), tmp_path / "c.csv")
    assert len(clean(tmp_path / "c.csv", item).table) == len(clean(path, item).table) == 6


def test_a_survey_of_ones_own():
    own = Survey(
        name="mine",
        title="Mine",
        source="my thesis",
        verified=True,
        id="star",
        quantities=(Quantity("teff", "T", "dT"),),
        cuts=(Cut("quality", ("q1", "q2"), "below", 3, "as I like it"),),
        gaia=GaiaId("gaia", "DR3"),
    )
    table = Table({"star": [1, 2, 3], "T": [5e3] * 3, "dT": [9.0] * 3})
    table["q1"], table["q2"] = [1, 1, 5], [1, 5, 1]
    found = clean(table, own)
    assert found.table["star"].tolist() == [1]
    assert str(own.cuts[0]) == "q1 and q2 is below 3"


# ---- the command line -----------------------------------------------------------------------


def test_clean_on_the_command_line_writes_what_the_api_gives(tmp_path, capsys):
    table = stars(survey("galah-dr3"))
    table["flag_sp"][3] = 4
    write_table(table, tmp_path / "a.fits")
    out = str(tmp_path / "c.parquet")
    arguments = ["clean", str(tmp_path / "a.fits"), "--survey", "galah-dr3", "--out"]
    assert cli.main([*arguments, out]) == 0
    assert "removes 1 (1 alone)" in capsys.readouterr().out
    assert read_table(out)["sobject_id"].tolist() == table["sobject_id"][[0, 1, 2, 4, 5]].tolist()
    assert cli.main([*arguments, out]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main([*arguments, out, "--overwrite", "--without", "flag_sp"]) == 0
    assert len(read_table(out)) == 6
    assert cli.main([*arguments, str(tmp_path / "a.fits"), "--overwrite"]) == 2
    assert "the output is also an input" in capsys.readouterr().err
