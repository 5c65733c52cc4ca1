"""Survey presets: columns, gaps and cuts, each printed, counted and applied to made-up stars."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from released import FIRST_ID, passing, refusal, stars, write_as_released

import bayestrans as bt
from bayestrans import cli
from bayestrans.clean import clean
from bayestrans.presets import SURVEYS, overview, survey
from bayestrans.surveys import Cut, Quantity
from bayestrans.tables import NULL

CUTS = [(item, cut) for item in SURVEYS.values() for cut in item.cuts]


def failing(cut: Cut):
    """Return a value that fails a cut."""
    if cut.rule == "bits clear":
        return 1 << cut.wanted[0]
    if cut.rule == "zero at":
        return "0" * (cut.wanted[0] - 1) + "1" + "0" * 24
    known = {"above": cut.wanted, "below": cut.wanted, "differs": cut.wanted, "blank or": "SRP"}
    other = "1" + "0" * 40 if cut.rule == "starts with" else "QSO"
    return known.get(cut.rule, other if isinstance(cut.wanted, str) else not cut.wanted)


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
