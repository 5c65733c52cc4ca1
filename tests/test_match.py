"""The common stars of two surveys: exact identifiers, and every star counted."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from galah_apogee import APOGEE, GALAH, apogee, both, galah, refusal
from released import FIRST_ID

import bayestrans as bt
from bayestrans import cli
from bayestrans.match import MatchWarning, pair
from bayestrans.spec import Spec
from bayestrans.tables import read_table, write_table

# ---- by identifier ------------------------------------------------------------------------


def test_a_table_without_units_has_the_numbers_that_its_spec_tells(tmp_path):
    ids = FIRST_ID + np.arange(200)
    a, b = galah(ids), apogee(ids)
    known = np.array(a["rv_galah"])
    a["rv_galah"], a["e_rv_galah"] = 1000 * known, 1000 * a["e_rv_galah"]
    a["rv_galah"].unit = "m/s"
    found = both(a, b)
    path = tmp_path / "pairs.csv"
    write_table(found.table, path)
    read = bt.read_pairs(path, found.spec)
    place = read.spec.input_names.index("rv")
    np.testing.assert_allclose(read.x[:, place], known)
    np.testing.assert_allclose(read.x_err[:, place], 0.6)


def test_neighbouring_identifiers_stay_apart_and_the_rows_belong_together(tmp_path):
    a, b = galah(FIRST_ID + np.arange(40)), apogee(FIRST_ID + np.arange(60)[::-1] + 20)
    found = both(a, b)
    ids = (FIRST_ID + 20 + np.arange(20)).tolist()
    assert found.table["dr3_source_id"].tolist() == ids
    assert found.table["GAIAEDR3_SOURCE_ID_apogee_dr17"].tolist() == ids
    assert found.table["dr3_source_id"].dtype == np.int64
    assert found.table["teff"].tolist() == a["teff"][20:].tolist()
    assert found.table["TEFF_apogee_dr17"].tolist() == b["TEFF"][::-1][:20].tolist()
    assert found.report.joined.rate == 0.5
    write_table(found.table, tmp_path / "pairs.parquet")
    pairs = bt.read_pairs(tmp_path / "pairs.parquet", Spec.from_dict(found.spec.to_dict()))
    assert pairs.ids.tolist() == ids
    np.testing.assert_array_equal(pairs.x[:, 0], found.table["teff"])
    np.testing.assert_array_equal(pairs.y_err[:, 4], found.table["VERR_apogee_dr17"])


def test_the_spec_has_the_sentinels_that_catalogues_of_a_have():
    ids = FIRST_ID + np.arange(5)
    assert both(galah(ids), apogee(ids)).spec.sentinels is None
    turned = pair(apogee(ids), galah(ids), survey_a="apogee-dr17", survey_b="galah-dr3")
    assert turned.spec.sentinels == bt.survey("apogee-dr17").sentinels


def test_the_spec_pairs_what_both_have_and_keeps_velocity_apart():
    found = both(galah(FIRST_ID + np.arange(5)), apogee(FIRST_ID + np.arange(5)))
    spec = found.spec
    names = ("teff", "logg", "fe_h", "mg_fe", "rv")
    assert spec.input_names == spec.output_names == names
    assert spec.corrects == (0, 1, 2, 3, 4)
    assert [item.extrinsic for item in spec.outputs] == [False] * 4 + [True]
    assert [item.unit for item in spec.inputs] == ["K", "", "", "", "km/s"]
    assert [item.column for item in spec.inputs] == list(GALAH)  # as A's own catalogue has them
    assert spec.id == "dr3_source_id"
    assert spec.name == "GALAH DR3 to APOGEE DR17"
    assert "not used of APOGEE DR17: m_h" in str(found)


def test_null_identifiers_match_nobody_and_are_counted():
    a = galah(MaskedColumn([FIRST_ID, 0, 5, -1, np.iinfo(np.int64).min], mask=[0, 0, 1, 0, 0]))
    b = apogee([0, 0, FIRST_ID, -9999, 5])
    found = both(a, b)
    assert len(found.table) == 1
    assert found.report.joined.unusable == (4, 3)
    assert "4 stars without identifier left out" in str(found)


def test_repeated_stars_give_one_row_and_the_best_is_kept():
    a = galah([FIRST_ID] * 100 + [FIRST_ID + 1])
    a["snr_c3_iraf"] = np.where(np.arange(101) == 60, 500.0, 50.0)
    a["snr_c3_iraf"][3] = np.nan
    b = apogee([FIRST_ID] * 100 + [FIRST_ID + 1])
    off = {"without": ["a:snr"]}
    found = both(a, b, **off)
    assert found.table["sobject_id"].tolist() == [1060, 1100]
    assert found.table["APOGEE_ID_apogee_dr17"].tolist() == ["2M00099", "2M00100"]
    assert found.report.joined.repeated == (99, 99)
    assert "99 repeated rows left out; kept: the row of the highest snr_c3_iraf" in str(found)
    b.remove_column("SNR")
    b["TEFF_ERR"][7] = 1.0
    found = both(a, b, **off)
    assert found.table["APOGEE_ID_apogee_dr17"].tolist() == ["2M00007", "2M00100"]
    assert "the row of the smallest TEFF_ERR" in str(found)
    found = both(a, b, repeats="first", **off)
    assert found.table["sobject_id"].tolist() == [1000, 1100]
    message = refusal(a, b, repeats="refuse", **off)
    assert (
        f"GALAH DR3: 99 rows repeat a star that a table in memory has already (such as {FIRST_ID}"
        in message
    )
    assert "repeats = 'any' is not known; use one of best, first, refuse" in refusal(
        a, b, repeats="any"
    )


def test_the_best_row_is_chosen_after_the_cuts():
    a = galah([FIRST_ID, FIRST_ID])
    a["flag_sp"][1] = 1  # of the higher signal to noise
    assert both(a, apogee([FIRST_ID])).table["sobject_id"].tolist() == [1000]


def test_identifiers_that_went_through_floats_are_refused_with_their_table(tmp_path):
    a = galah(np.array([FIRST_ID, FIRST_ID + 2], dtype=float))
    write_table(a, tmp_path / "a.parquet")
    message = refusal(tmp_path / "a.parquet", apogee([FIRST_ID]))
    assert message.startswith(f"GALAH DR3, {tmp_path / 'a.parquet'}: dr3_source_id: ")
    assert "beyond 9007199254740992" in message
    small = both(galah([7.0, 8.0]), apogee([8, 9]))
    assert small.table["GAIAEDR3_SOURCE_ID_apogee_dr17"].tolist() == [8]


def test_digits_as_text_are_the_same_identifiers():
    ids = MaskedColumn([str(FIRST_ID), str(FIRST_ID + 1), ""], mask=[0, 0, 1])
    found = both(galah(ids), apogee([FIRST_ID + 1]))
    assert found.table["sobject_id"].tolist() == [1001]
    assert found.report.joined.unusable == (1, 0)
    assert "dr3_source_id holds text and GAIAEDR3_SOURCE_ID holds integers; name two" in refusal(
        galah(["Gaia DR3 1", "Gaia DR3 2"]), apogee([1, 2])
    )


def test_any_column_can_be_the_identifier():
    a, b = galah(FIRST_ID + np.arange(3)), apogee([1, 2, 3])
    a["twomass"] = ["2M00002 ", "2M00001", "2M00000"]
    found = both(a, b, on=("twomass", "apogee_id"))
    assert found.table["twomass"].tolist() == ["2M00002", "2M00001", "2M00000"]
    assert found.table["GAIAEDR3_SOURCE_ID_apogee_dr17"].tolist() == [3, 2, 1]
    assert found.spec.id == "twomass"
    assert found.spec.id_release is None
    assert "by twomass = APOGEE_ID" in str(found)
    assert "there is no column 'twomas'; the nearest are twomass" in refusal(
        a, b, on=("twomas", "apogee_id")
    )
    a.remove_column("dr3_source_id")
    assert (
        "no Gaia identifier (looked for dr3_source_id, gaia_source_id); name a column"
        in refusal(a, b)
    )


# ---- suspicions -----------------------------------------------------------------------------


def test_identifiers_of_different_gaia_releases_warn():
    a = galah(FIRST_ID + np.arange(4))
    a["dr2_source_id"] = a["dr3_source_id"]
    with pytest.warns(MatchWarning, match=r"dr2_source_id is of Gaia DR2 and GAIAEDR3_SOURCE_ID"):
        found = both(a, apogee(a["dr3_source_id"]), on=("dr2_source_id", "gaia_source_id"))
    assert found.report.warnings
    assert "warning: dr2_source_id is of Gaia DR2" in str(found)
    assert found.spec.id_release == "Gaia DR2"
    assert Spec.from_dict(tomllib.loads(found.spec.to_toml())) == found.spec
    assert both(a, apogee(a["dr3_source_id"])).spec.id_release == "Gaia DR3"


def test_few_common_stars_warn_and_none_is_refused():
    a = galah(FIRST_ID + np.arange(60))
    b = apogee(np.r_[FIRST_ID, 5 * FIRST_ID + np.arange(59)])
    with pytest.warns(MatchWarning, match=r"only 1\.7 % of the smaller table matched"):
        assert len(both(a, b).table) == 1
    message = refusal(a[1:], b)
    assert message.endswith("that the identifiers are of the same kind and release")
    assert "no star of GALAH DR3 (59 to match) is in APOGEE DR17 (60) by dr3_source_id" in message
    a["flag_sp"] = 1
    assert "no star of GALAH DR3 (0 to match)" in refusal(a, b)


# ---- what the spec has ----------------------------------------------------------------------


def rave(ids) -> Table:
    a = galah(ids)
    names = {"teff": "teff", "logg": "logg", "fe_h": "m_h"}
    table = Table(
        {"rave_obs_id": [f"r{i}" for i in range(len(a))], "source_id": a["dr3_source_id"]}
    )
    for own, name in names.items():
        table[f"{name}_cal_madera"], table[f"{name}_error_madera"] = a[own], a[f"e_{own}"]
    table["algo_conv_madera"] = 0
    return table


def test_metallicity_is_never_taken_for_iron():
    ids = FIRST_ID + np.arange(4)
    a, b = rave(ids), galah(ids)
    surveys = {"survey_a": "rave-dr6", "survey_b": "galah-dr3"}
    with pytest.warns(MatchWarning, match="of Gaia DR2 and dr3_source_id is of Gaia DR3"):
        found = pair(a, b, **surveys)
    assert found.spec.output_names == ("teff", "logg")
    assert found.spec.input_names == ("teff", "logg", "m_h")
    assert "has m_h and GALAH DR3 fe_h: [M/H] is not [Fe/H], so neither is translated" in str(found)
    with pytest.warns(MatchWarning):
        found = pair(a, b, **surveys, corrects={"fe_h": "m_h"}, outputs=["fe_h"], inputs=["m_h"])
    assert found.spec.outputs[0].corrects == "m_h"
    with pytest.warns(MatchWarning):
        found = pair(a, b, **surveys, outputs=["teff", "mg_fe"])
    assert found.spec.corrects == (0, -1)
    assert "learned without a value of A to correct: mg_fe" in str(found)


def test_quantities_that_are_not_there_are_named():
    a, b = galah([1, 2]), apogee([1, 2])
    assert refusal(a, b, outputs=["feh"]) == (
        "output 'feh': APOGEE DR17 has no value of it for the common stars; "
        "it has teff, logg, fe_h, m_h, mg_fe, rv"
    )
    assert "input 'm_h': GALAH DR3 has no value" in refusal(a, b, inputs=["m_h"])
    assert "m_h=fe_h cannot be: outputs are teff" in refusal(
        a, b, corrects={"m_h": "fe_h"}, outputs=["teff"]
    )
    assert both(a, b, corrects={"m_h": "fe_h"}).spec.corrects == (0, 1, 2, 2, 3, 4)


def test_gaps_stay_and_stars_without_any_value_go():
    a, b = galah(FIRST_ID + np.arange(4)), apogee(FIRST_ID + np.arange(4))
    a["logg"][0] = np.nan
    for name in GALAH:
        a[name][1] = np.nan
    for name in (*APOGEE, "M_H"):
        b[name][2] = np.nan
    b["TEFF_ERR"] = -9999.0
    found = both(a, b)
    assert found.table["sobject_id"].tolist() == [1000, 1003]
    assert found.report.dropped == 2
    assert "2 of them without any input or any output left out" in str(found)
    assert "1 stars have a gap in an input" in str(found)
    assert found.spec.outputs[0].error is None
    assert "no quoted errors of TEFF_apogee_dr17" in str(found)
    b["VHELIO_AVG"] = np.nan
    found = both(a, b)
    assert "rv" not in found.spec.input_names + found.spec.output_names
    assert "APOGEE DR17 has no rv for any common star" in str(found)


def test_cuts_are_switched_off_where_they_are_meant():
    a, b = galah([1, 2]), apogee([1, 2])
    a["snr_c3_iraf"], b["FE_H_FLAG"] = [10.0, 90.0], [0, 2]
    assert len(both(a, b, without=["snr", "fe_h_flag"]).table) == 2
    assert len(both(a, b, without=["a:snr", "b:fe_h_flag"]).table) == 2
    assert "neither survey has a cut 'snrg' to switch off; cuts of GALAH DR3: flag_sp" in refusal(
        a, b, without=["snrg"]
    )
    assert "APOGEE DR17 has no cut 'snr' to switch off" in refusal(a, b, without=["b:snr"])
    assert "'c:snr' names no cut; write a:snr or b:snr" in refusal(a, b, without=["c:snr"])


def test_columns_that_would_clash_are_refused():
    a, b = galah([1, 2]), apogee([1, 2])
    assert "the column TEFF of B would clash with teff of A; give its columns another" in refusal(
        a, b, suffix=""
    )
    found = both(a, b, suffix="_b")
    assert found.spec.outputs[0].column == "TEFF_b"
    again = pair(a, galah([1, 2], seed=5), survey_a="galah-dr3", survey_b="galah-dr3")
    assert again.spec.outputs[0].column == "teff_galah_dr3"


# ---- the command line -----------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """Return two survey files with 120 common stars."""
    a, b = galah(FIRST_ID + np.arange(150)), apogee(FIRST_ID + np.arange(150) + 30)
    for name, own in zip(APOGEE, GALAH, strict=True):
        b[name][:120] = a[own][30:] * 1.01
    a["flag_sp"][149] = 1
    write_table(a, tmp_path / "a.fits")
    write_table(b, tmp_path / "b.fits")
    names = {"survey-a": "galah-dr3", "survey-b": "apogee-dr17"}
    arguments = ["pair", str(tmp_path / "a.fits"), str(tmp_path / "b.fits")]
    for key, value in (
        names | {"out": tmp_path / "p.parquet", "spec": tmp_path / "s.toml"}
    ).items():
        arguments += [f"--{key}", str(value)]
    return tmp_path, arguments


def test_pairs_of_the_command_line_are_those_of_the_api_and_can_be_fitted(files, capsys):
    folder, arguments = files
    assert cli.main([*arguments, "--on", "gaia_source_id"]) == 0
    said = capsys.readouterr().out
    assert "matched 119 stars (79.9 % of the smaller table) by dr3_source_id" in said
    expected = pair(
        folder / "a.fits", folder / "b.fits", survey_a="galah-dr3", survey_b="apogee-dr17"
    )
    table = read_table(folder / "p.parquet")
    assert table["dr3_source_id"].tolist() == expected.table["dr3_source_id"].tolist()
    assert Spec.from_toml(folder / "s.toml") == expected.spec
    bt.read_pairs(folder / "p.parquet", expected.spec)
    # Unasked, the spec lies beside the table.
    at = arguments.index("--spec")
    arguments = [*arguments[:at], *arguments[at + 2 :], "--overwrite"]
    assert cli.main(arguments) == 0
    assert Spec.from_toml(folder / "p.toml") == expected.spec
    assert "taken to be in" not in capsys.readouterr().err  # the table carries its units


@pytest.mark.slow
def test_a_model_of_those_pairs_translates_the_catalogue_of_a(files):
    folder, arguments = files
    assert cli.main(arguments) == 0
    tiny = ["--method", "ensemble", "--chains", "2", "--hidden", "4", "--no-calibration", "--quiet"]
    model, out = str(folder / "m.nc"), str(folder / "t.parquet")
    fit = ["fit", str(folder / "p.parquet"), "--spec", str(folder / "s.toml"), "--out", model]
    assert cli.main([*fit, *tiny]) == 0
    assert cli.main(["translate", model, str(folder / "a.fits"), "--out", out, "--quiet"]) == 0
    translated = read_table(out)
    assert translated["dr3_source_id"].tolist() == (FIRST_ID + np.arange(150)).tolist()
    assert np.isfinite(translated["teff_mean"]).all()


def test_faults_of_the_command_line_leave_nothing_behind(files, capsys):
    folder, arguments = files
    before = sorted(folder.iterdir())
    for extra, said in (
        (["--on", "=x"], "'=x' is not of the form A=B"),
        (["--corrects", "fe_h"], "'fe_h' is not of the form A=B"),
        (["--without", "nothing"], "neither survey has a cut 'nothing'"),
        (["--out", str(folder / "a.fits"), "--overwrite"], "the output is also an input"),
        (["--spec", str(folder / "no" / "s.toml")], "does not exist"),
        (["--out", str(folder / "p.npz")], "unknown suffix"),
        (["--spec", str(folder / "p.parquet")], "table and spec cannot be one file"),
        (["--survey-a", "galah"], "did you mean 'galah-dr"),
        (["--radius", "1"], "there is no column 'ra_dr2'"),
    ):
        assert cli.main([*arguments, *extra]) == 2
        assert said in capsys.readouterr().err
        assert sorted(folder.iterdir()) == before
    assert cli.main(arguments) == 0
    assert cli.main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main([*arguments, "--overwrite", "--without", "flag_sp"]) == 0
    assert "matched 120 stars" in capsys.readouterr().out


def test_a_suspicion_is_printed_once_on_the_command_line(files, capsys):
    folder, arguments = files
    b = read_table(folder / "b.fits")
    b["GAIAEDR3_SOURCE_ID"][4:] += 10**15
    write_table(b, folder / "b.fits", overwrite=True)
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out.count("only 2.7 % of the smaller table matched") == 1


# ---- real catalogues ------------------------------------------------------------------------


@pytest.mark.realdata
@pytest.mark.parametrize("how", [{"on": "gaia_source_id"}, {"radius": 2.0}], ids=["id", "sky"])
def test_real_halo_stars_of_galah_and_apogee(real_data, how):
    files = real_data / "galah_dr3_halo.fits", real_data / "apogee_dr17_halo.fits"
    with pytest.warns(MatchWarning, match="only 1"):  # two samples of the halo hardly overlap
        found = both(*files, without=["star_bad"], **how)
    print(found)
    a, b = (Table.read(file) for file in files)
    ids = set(a["dr3_source_id"].tolist()) & set(b["dr3_source_id"].tolist())
    assert set(found.table["dr3_source_id"].tolist()) == ids
    same = found.table["dr3_source_id"] == found.table["dr3_source_id_apogee_dr17"]
    assert same.all()
    assert len(ids) == len(found.table) == 12
    pairs = bt.read_pairs(found.table, found.spec)
    apart = np.abs(pairs.y[:, 0] - pairs.x[:, 0])  # K; one star differs by 728 in the surveys
    assert np.median(apart) < 100
    assert (apart > 150).sum() == 1
