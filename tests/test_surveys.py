"""Survey presets: columns, gaps and cuts, each printed, counted and applied to made-up stars."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table

import bayestrans as bt
from bayestrans import cli
from bayestrans.clean import clean
from bayestrans.presets import SURVEYS, overview, survey
from bayestrans.surveys import Cut, GaiaId, Quantity, Survey
from bayestrans.tables import NULL, CatalogueError, read_table, write_table

TYPICAL = {
    **{"teff": 4800.0, "logg": 2.5, "fe_h": -0.4, "m_h": -0.35},
    **{"mg_fe": 0.2, "alpha_fe": 0.15, "rv": 30.0},
}
CUTS = [(item, cut) for item in SURVEYS.values() for cut in item.cuts]
#: Neighbours of 2**53, which a float64 would merge, and on from there.
FIRST_ID = 2**53 + 1


def passing(cut: Cut):
    """Return a value that passes a cut."""
    known = {"above": 1000.0, "below": 0.01, "bits clear": 0, "differs": "good", "blank or": ""}
    return known.get(cut.rule, "0" * 41 if cut.rule in ("starts with", "zero at") else cut.wanted)


def failing(cut: Cut):
    """Return a value that fails a cut."""
    if cut.rule == "bits clear":
        return 1 << cut.wanted[0]
    if cut.rule == "zero at":
        return "0" * (cut.wanted[0] - 1) + "1" + "0" * 24
    known = {"above": cut.wanted, "below": cut.wanted, "differs": cut.wanted, "blank or": "SRP"}
    other = "1" + "0" * 40 if cut.rule == "starts with" else "QSO"
    return known.get(cut.rule, other if isinstance(cut.wanted, str) else not cut.wanted)


def stars(item: Survey, count: int = 6) -> Table:
    """Return made-up stars as the survey's table has them, all of which pass every cut."""
    table = Table({item.id: FIRST_ID + np.arange(count)})
    if item.gaia:
        table[item.gaia.column] = FIRST_ID + np.arange(count)
    if item.sky:
        table[item.sky.ra] = 10.0 + np.arange(count)
        table[item.sky.dec] = -20.0 + np.arange(count)
        for name in filter(None, item.sky[3:]):
            table[name] = np.full(count, 5.0)
    for quantity in item.quantities:
        value = TYPICAL[quantity.name] * (1 + 0.01 * np.arange(count))
        table[quantity.column] = value
        if isinstance(quantity.error, tuple):
            for name, sign in zip(quantity.error, (-1, 1), strict=True):
                table[name] = value + sign * 0.05
        elif quantity.error:
            table[quantity.error] = np.full(count, 0.05)
    for cut in item.cuts:
        for name in cut.columns:
            if name not in table.colnames:
                table[name] = [passing(cut)] * count
    if item.snr and item.snr not in table.colnames:
        table[item.snr] = np.full(count, 100.0)
    return table


def write_as_released(item: Survey, table: Table, folder) -> str:
    """Write a table as the survey lays out its file."""
    if item.layout.hdus:
        path = folder / "t.fits"
        parts = [fits.PrimaryHDU()]
        for name in item.layout.hdus:
            columns = [c for c in table.colnames if c.startswith(f"{name}_")]
            part = Table({c.removeprefix(f"{name}_"): table[c] for c in columns})
            parts.append(fits.table_to_hdu(part))
            parts[-1].name = name
        fits.HDUList(parts).writeto(path)
    elif item.layout.separator != ",":
        path = folder / "t.csv"
        table.write(path, format="ascii.csv", delimiter=item.layout.separator)
    else:
        path = folder / ("t.csv" if item.layout.text else "t.fits")
        write_table(table, path)
    return str(path)


def refusal(call, *arguments, **keywords) -> str:
    with pytest.raises(CatalogueError) as caught:
        call(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- what a preset says -------------------------------------------------------------------


def test_all_eight_surveys_are_there_with_their_standing():
    assert len(SURVEYS) == 8
    assert {name for name, item in SURVEYS.items() if not item.verified} == {
        *("gaia-eso-dr5.1", "rave-dr6", "lamost-lrs")
    }
    for item in SURVEYS.values():
        assert item.verified != item.title.endswith("(provisional)")
        assert item.name in overview()
        assert item.source
        assert item.page
        assert len({cut.name for cut in item.cuts}) == len(item.cuts)


@pytest.mark.parametrize("item", SURVEYS.values(), ids=SURVEYS)
def test_a_preset_prints_all_that_it_does(item, capsys):
    assert cli.main(["surveys", item.name]) == 0
    text = capsys.readouterr().out
    for quantity in item.quantities:
        assert quantity.column in text
    for cut in item.cuts:
        assert f"{cut.name:16s}{cut}" in text
        assert cut.description in text
    for sentinel in item.sentinels:
        assert f"{sentinel:g}" in text
    assert item.source in text
    assert ("provisional" in text) != item.verified


def test_the_list_of_surveys(capsys):
    assert cli.main(["surveys"]) == 0
    assert capsys.readouterr().out == overview() + "\n"
    assert cli.main(["surveys", "galah-dr5"]) == 2
    assert "there is no preset 'galah-dr5' (did you mean 'galah-dr" in capsys.readouterr().err


def test_published_cuts_of_the_verified_surveys():
    said = {name: [str(cut) for cut in item.cuts] for name, item in SURVEYS.items()}
    assert said["galah-dr3"] == [
        *("flag_sp is 0", "flag_fe_h is 0", "flag_Mg_fe is 0", "snr_c3_iraf is above 30")
    ]
    assert said["galah-dr4"] == ["flag_sp is 0", "flag_mg_fe is 0", "snr_px_ccd3 is above 30"]
    assert said["apogee-dr17"] == [
        *("ASPCAPFLAG has bit 23 clear", "FE_H_FLAG is 0", "MG_FE_FLAG is 0"),
        *("EXTRATARG has bit 4 clear", "EXTRATARG has bit 2 clear"),
    ]
    assert said["gaia-gspspec-dr3"][1] == "flags_gspspec has 0 at characters 16 and 17"


def test_names_are_found_however_they_are_written():
    assert survey("GALAH_DR3") is survey("galah-dr3") is bt.survey(SURVEYS["galah-dr3"])
    assert "quantity 'feh' is not known; use one of teff" in refusal(Quantity, "feh", "FEH")


# ---- every preset reads its survey --------------------------------------------------------


@pytest.mark.parametrize("item", SURVEYS.values(), ids=SURVEYS)
def test_a_preset_reads_the_file_as_it_is_released(item, tmp_path):
    made = stars(item)
    found = clean(write_as_released(item, made, tmp_path), item)
    assert len(found.table) == found.stars == len(made)
    assert found.absent == ()
    assert found.gaps == ()
    assert all(count.alone == count.removed == 0 for count in found.cuts)
    assert found.table[item.id].dtype == np.int64
    assert found.table[item.id].tolist() == made[item.id].tolist()
    for quantity in item.quantities:
        value, error = found.columns[quantity.name]
        assert error is not None
        np.testing.assert_allclose(found.table[error], 0.05)
        if not quantity.calibration:
            np.testing.assert_array_equal(found.table[value], made[quantity.column])
        if quantity.unit:
            assert found.table[value].unit == found.table[error].unit == quantity.unit


@pytest.mark.parametrize(("item", "cut"), CUTS, ids=[f"{s.name}-{c.name}" for s, c in CUTS])
def test_every_cut_removes_what_it_should_and_is_counted(item, cut):
    table = stars(item)
    name = cut.columns[0]
    values = table[name].tolist()
    values[1], values[4] = failing(cut), failing(cut)
    table[name] = values
    found = clean(table, item)
    assert found.table[item.id].tolist() == (FIRST_ID + np.array([0, 2, 3, 5])).tolist()
    count = next(count for count in found.cuts if count.cut is cut)
    assert count.alone == 2
    assert f"cut {cut.name}" in str(found)
    assert sum(count.removed for count in found.cuts) == 2
    sharing = [c.name for c in item.cuts if name in c.columns and not c.keeps(table).all()]
    assert len(clean(table, item, without=sharing).table) == 6


@pytest.mark.parametrize(("item", "cut"), CUTS, ids=[f"{s.name}-{c.name}" for s, c in CUTS])
def test_a_missing_flag_is_a_bad_one_except_where_blank_is_good(item, cut):
    table = stars(item)
    name = cut.columns[0]
    gone = np.arange(6) == 2
    table[name] = MaskedColumn(table[name].tolist(), mask=gone)
    count = next(count for count in clean(table, item).cuts if count.cut is cut)
    assert count.alone == (cut.rule != "blank or")
    if table[name].dtype.kind in "if":  # a flag stored as float, with NaN
        table[name] = np.where(gone, np.nan, np.asarray(table[name].filled(0), float))
        table[name][~gone] = passing(cut)
        count = next(count for count in clean(table, item).cuts if count.cut is cut)
        assert count.alone == 1


@pytest.mark.parametrize("item", SURVEYS.values(), ids=SURVEYS)
def test_tables_without_rows_or_without_any_flag_work(item):
    table = stars(item)
    assert len(clean(table[:0], item).table) == 0
    for name in {name for cut in item.cuts for name in cut.columns}:
        table[name] = np.full(6, np.nan)  # as an empty column of a CSV file is read
    blank = all(cut.rule == "blank or" for cut in item.cuts)
    assert len(clean(table, item).table) == (6 if blank else 0)


def test_cuts_count_alone_and_one_after_the_other():
    table = stars(survey("galah-dr3"))
    table["flag_sp"] = [1, 1, 0, 0, 0, 0]
    table["snr_c3_iraf"] = [10, 90, 10, 90, 90, 30]
    found = clean(table, "galah-dr3")
    assert [(c.cut.name, c.alone, c.removed) for c in found.cuts] == [
        *(("flag_sp", 2, 2), ("flag_fe_h", 0, 0), ("flag_mg_fe", 0, 0), ("snr", 3, 2))
    ]
    assert len(found.table) == 2
    found = clean(table, "galah-dr3", without=["flag_sp"])
    assert [(c.applied, c.removed) for c in found.cuts][::3] == [(False, 0), (True, 3)]
    assert "switched off" in str(found)


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


def test_bounds_hold_in_the_units_of_the_column():
    table = stars(survey("apogee-dr17"))
    table["VHELIO_AVG"] = Column([30_000.0, -20_000.0, 2e6, 0.0, 1.0, 2.0], unit="m/s")
    found = clean(table, "apogee-dr17")
    assert found.table["VHELIO_AVG"].mask.tolist() == [0, 0, 1, 0, 0, 0]
    assert found.table["VHELIO_AVG"].unit == "m/s"
    assert table["TEFF"].unit is None
    table["VHELIO_AVG"].unit = "K"
    assert "VHELIO_AVG: 'K' and 'km / s'" in refusal(clean, table, "apogee-dr17")


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


# ---- real catalogues ------------------------------------------------------------------------


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "name", "without", "columns"),
    [
        ("galah_dr3_halo.fits", "galah-dr3", (), ("sobject_id", "dr3_source_id")),
        ("apogee_dr17_halo.fits", "apogee-dr17", ("star_bad",), ("apogee_id", "dr3_source_id")),
    ],
)
def test_real_halo_stars_with_their_presets(real_data, file, name, without, columns):
    found = clean(real_data / file, name, without=without)
    print(found)
    raw = Table.read(real_data / file)
    assert len(found.table) == found.stars == len(raw)
    assert all(count.alone == 0 for count in found.cuts)  # the files were cut before
    for column in columns:
        given = [str(value).strip() for value in np.ma.getdata(raw[column]).astype(str)]
        assert [str(value) for value in found.table[column]] == given
    assert set(found.columns) >= {"teff", "logg", "fe_h", "mg_fe"}
    integers = [c for c in raw.colnames if raw[c].dtype.kind == "i"]
    lost = {c: int((np.ma.getdata(raw[c]) == NULL).sum()) for c in integers}
    lost = {c: count for c, count in lost.items() if count}
    assert {gap.column: gap.sentinels for gap in found.gaps if gap.column in lost} == lost
    assert bool(lost) == (name == "galah-dr3")
    for column in lost:
        assert found.table[column].min() >= 0
        assert int(found.table[column].mask.sum()) == lost[column]


@pytest.mark.realdata
def test_real_apogee_stars_without_their_flags_are_refused_with_the_remedy(real_data):
    message = refusal(clean, real_data / "apogee_dr17_halo.fits", "apogee-dr17")
    assert "star_bad (column ASPCAPFLAG)" in message
    assert "--without star_bad" in message
