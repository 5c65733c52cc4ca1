"""The common stars of two surveys: exact identifiers, places on the sky, and every star counted."""

from __future__ import annotations

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table
from astropy.time import Time

import bayestrans as bt
from bayestrans import cli
from bayestrans.match import MatchWarning, pair
from bayestrans.sky import directions, mutual_nearest
from bayestrans.spec import Spec
from bayestrans.tables import CatalogueError, read_table, write_table

#: Neighbours of 2**53, which a float64 would merge, and on from there.
FIRST_ID = 2**53 + 1
GALAH = ("teff", "logg", "fe_h", "Mg_fe", "rv_galah")
APOGEE = ("TEFF", "LOGG", "FE_H", "MG_FE", "VHELIO_AVG")
TYPICAL = (4800.0, 2.5, -0.4, 0.2, 30.0)


def galah(ids, seed=1) -> Table:
    """Return made-up stars of GALAH DR3 with these Gaia identifiers."""
    table = Table({"sobject_id": 1000 + np.arange(len(ids)), "dr3_source_id": ids})
    rng = np.random.default_rng(seed)
    for name, typical in zip(GALAH, TYPICAL, strict=True):
        table[name] = typical * (1 + 0.1 * rng.normal(size=len(ids)))
        table[f"e_{name}"] = 0.02 * typical * np.sign(typical)
    for name in ("flag_sp", "flag_fe_h", "flag_Mg_fe"):
        table[name] = 0
    table["snr_c3_iraf"] = 50.0 + np.arange(len(ids))
    return table


def apogee(ids, seed=2) -> Table:
    """Return made-up stars of APOGEE DR17 with these Gaia identifiers."""
    table = Table({"APOGEE_ID": [f"2M{i:05d}" for i in range(len(ids))]})
    table["GAIAEDR3_SOURCE_ID"] = ids
    rng = np.random.default_rng(seed)
    errors = ("TEFF_ERR", "LOGG_ERR", "FE_H_ERR", "MG_FE_ERR", "VERR")
    for name, error, typical in zip(APOGEE, errors, TYPICAL, strict=True):
        table[name] = typical * (1 + 0.1 * rng.normal(size=len(ids)))
        table[error] = 0.005 * typical * np.sign(typical)
    table["M_H"], table["M_H_ERR"] = table["FE_H"] + 0.02, 0.01
    for name in ("ASPCAPFLAG", "FE_H_FLAG", "MG_FE_FLAG", "EXTRATARG"):
        table[name] = 0
    table["SNR"] = 100.0 + np.arange(len(ids))
    return table


def both(a: Table, b: Table, **keywords) -> bt.Match:
    return pair(a, b, survey_a="galah-dr3", survey_b="apogee-dr17", **keywords)


def refusal(*arguments, **keywords) -> str:
    with pytest.raises(CatalogueError) as caught:
        both(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- by identifier ------------------------------------------------------------------------


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


def test_few_common_stars_warn_and_none_is_refused():
    a = galah(FIRST_ID + np.arange(60))
    b = apogee(np.r_[FIRST_ID, 5 * FIRST_ID + np.arange(59)])
    with pytest.warns(MatchWarning, match=r"only 1\.7 % of the smaller table matched"):
        assert len(both(a, b).table) == 1
    message = refusal(a[1:], b)
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


# ---- on the sky -----------------------------------------------------------------------------


def places(table: Table, ra, dec, names=("ra_dr2", "dec_dr2")) -> Table:
    table[names[0]], table[names[1]] = ra, dec
    return table


def test_moved_directions_agree_with_astropy():
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 50), np.r_[rng.uniform(-89.9, 89.9, 48), 89.9999, -89.9999]
    pm_ra, pm_dec = rng.normal(0, 3000, (2, 50))
    start = SkyCoord(
        *(ra * u.deg, dec * u.deg),
        pm_ra_cosdec=pm_ra * u.mas / u.yr,
        pm_dec=pm_dec * u.mas / u.yr,
        distance=np.full(50, 1000) * u.pc,
        obstime=Time(2016.0, format="jyear"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        end = start.apply_space_motion(new_obstime=Time(2000.0, format="jyear"))
    there = directions(np.asarray(end.ra.deg), np.asarray(end.dec.deg))
    moved = directions(ra, dec, pm_ra, pm_dec, -16.0)
    apart = np.degrees(np.linalg.norm(moved - there, axis=1)) * 3600
    assert apart.max() < 1e-3  # arcsec, of up to 150


def test_mutual_nearest_agrees_with_astropy_across_the_pole_and_the_origin():
    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(-0.01, 0.01, 300) % 360, rng.uniform(-0.01, 0.01, 300)
    ra, dec = np.r_[ra, rng.uniform(0, 360, 100)], np.r_[dec, rng.uniform(89.99, 90, 100)]
    one = SkyCoord(ra * u.deg, dec * u.deg)
    two = one.directional_offset_by(
        rng.uniform(0, 360, 400) * u.deg, rng.exponential(3, 400) * u.arcsec
    )
    vectors = [directions(np.asarray(c.ra.deg), np.asarray(c.dec.deg)) for c in (one, two)]
    found = mutual_nearest(*vectors, 5.0)
    nearest, separation, _ = one.match_to_catalog_sky(two)
    back, _, _ = two.match_to_catalog_sky(one)
    mine = np.flatnonzero((back[nearest] == np.arange(400)) & (separation.arcsec <= 5))
    assert found.first.tolist() == mine.tolist()
    assert found.second.tolist() == nearest[mine].tolist()
    np.testing.assert_allclose(found.separation, separation.arcsec[mine], atol=1e-6)
    around = one.search_around_sky(two, 5 * u.arcsec)[1]
    assert found.crowded == (np.bincount(around, minlength=400) > 1).sum()
    assert mutual_nearest(vectors[0][:0], vectors[1], 5.0).first.size == 0


def test_a_fast_star_is_found_by_its_proper_motion():
    n = 5
    a = places(galah(FIRST_ID + np.arange(n)), 10.0 + np.arange(n), np.zeros(n))
    years = 2015.5 - 2000.0
    b = places(apogee(9 * FIRST_ID + np.arange(n)), 10.0 + np.arange(n), np.zeros(n), ("RA", "DEC"))
    b["DEC"][2] -= 1.5 * years / 3600  # 1.5 arcsec a year
    b["GAIAEDR3_PMRA"], b["GAIAEDR3_PMDEC"] = np.zeros(n), np.zeros(n)
    b["GAIAEDR3_PMRA"][0] = b["GAIAEDR3_PMDEC"][0] = np.nan
    b["GAIAEDR3_PMDEC"][2] = 1500.0
    found = both(a, b, radius=1.0)
    assert found.table["sobject_id"].tolist() == [1000, 1001, 1002, 1003, 1004]
    assert found.table["separation"].max() < 1e-6
    assert found.table["separation"].unit == u.arcsec
    assert found.spec.id == "sobject_id"
    assert "moved over 15.5 years by proper motions (1 stars have none and stay)" in str(found)
    b.remove_columns(["GAIAEDR3_PMRA", "GAIAEDR3_PMDEC"])
    found = both(a, b, radius=1.0)
    assert found.table["sobject_id"].tolist() == [1000, 1001, 1003, 1004]
    assert "15.5 years apart and neither table has proper motions" in str(found)


def test_positions_that_are_missing_or_crowded_are_counted():
    a = places(galah(FIRST_ID + np.arange(4)), [10.0, 20.0, np.nan, 400.0], np.zeros(4))
    b = places(apogee(np.arange(1, 4)), [10.0001, 10.0002, 20.0], np.zeros(3), ("RA", "DEC"))
    found = both(a, b, radius=2.0)
    assert found.table["APOGEE_ID_apogee_dr17"].tolist() == ["2M00000", "2M00002"]
    assert found.report.joined.unusable == (2, 0)
    assert "2 stars without position left out" in str(found)
    assert "1 stars of A have more than one star of B within the radius" in str(found)
    assert "a radius of 0 arcsec cannot be used; give 0 to 3600, such as 1" in refusal(
        a, b, radius=0
    )
    b.remove_column("RA")
    assert "APOGEE DR17, a table in memory: there is no column 'RA'" in refusal(a, b, radius=1.0)


def test_repeats_of_a_star_on_the_sky_go_by_its_identifier():
    a = places(galah([FIRST_ID, FIRST_ID, 0, 0]), [10.0, 10.0, 20.0, 20.0001], np.zeros(4))
    b = places(apogee([1, 2]), [10.0, 20.0], np.zeros(2), ("RA", "DEC"))
    found = both(a, b, radius=1.0)
    assert found.table["sobject_id"].tolist() == [1001, 1002]
    assert found.report.joined.repeated == (1, 0)


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
