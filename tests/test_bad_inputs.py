"""Fifty faults of tables, models and configurations, the answer to each, and its tests."""

from __future__ import annotations

import ast
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, Table

import bayestrans as bt
from bayestrans import catalogue, cli, store
from bayestrans.catalogue import CatalogueError, read_inputs, read_pairs, write_table
from bayestrans.pairs import PairsError
from bayestrans.posterior import to_tree
from bayestrans.simulate import to_columns
from bayestrans.spec import Input, Output, Spec
from bayestrans.store import ModelFileError

TESTS = Path(__file__).parent
#: Which tests provoke each fault and hold its answer: row of the list, then ``file::test``.
ANSWERED: dict[int, str] = {
    1: """test_catalogue::test_fits_comes_in_native_order_with_clean_text_and_nulls
          test_catalogue::test_a_frame_keeps_nullable_integers_and_any_byte_order
          test_tables_properties::test_byte_order_and_masks_of_a_table_in_memory_change_nothing""",
    2: """test_bad_inputs::test_a_gap_is_flagged_and_leaves_the_other_rows
          test_bad_inputs::test_arrays_with_a_mask_or_a_unit
          test_catalogue::test_quantities_become_plain_columns_and_the_source_stays""",
    3: """test_bad_inputs::test_a_gap_is_flagged_and_leaves_the_other_rows
          test_posterior::test_a_missing_intrinsic_input_is_integrated_over
          test_gaps::test_stars_with_gaps_do_not_move_the_others""",
    4: """test_surveys::test_sentinels_and_impossible_values_become_gaps_and_are_counted
          test_surveys::test_the_nulls_of_fits_integers_go_from_every_column
          test_sentinels::test_unannounced_sentinels_among_common_stars_are_missing_and_said
          test_sentinels::test_a_translated_star_with_an_unannounced_sentinel_has_a_gap
          test_catalogue::test_faults_of_a_catalogue_row_become_nan_and_keep_the_row""",
    5: """test_pairs::test_missing_outputs_are_allowed_and_marked
          test_catalogue::test_a_star_without_any_input_or_output_is_left_out_and_counted""",
    6: """test_scale::test_a_constant_input_is_refused_by_its_column
          test_posterior::test_a_constant_column_is_refused_before_the_fit""",
    7: """test_catalogue::test_a_missing_column_lists_the_nearest
          test_translate::test_a_missing_column_is_refused_with_the_nearest_name""",
    8: """test_catalogue::test_case_matters_only_where_it_is_ambiguous
          test_formats::test_two_columns_of_one_name_are_refused_and_not_renamed
          test_formats::test_two_columns_of_one_name_in_a_frame""",
    9: """test_translate::test_an_empty_table_has_the_full_schema
          test_catalogue::test_an_empty_table_keeps_its_columns
          test_formats::test_names_alone_are_an_empty_table
          test_formats::test_vectors_of_a_table_without_rows
          test_formats::test_an_empty_ecsv_table_with_vectors_keeps_them""",
    10: "test_translate::test_one_row_gives_the_bits_it_has_within_the_table",
    11: """test_posterior::test_too_few_stars_are_refused_with_the_number_needed
           test_posterior::test_stars_are_counted_per_network""",
    12: """test_bad_inputs::test_arrays_with_a_mask_or_a_unit
           test_tables_properties::test_any_unit_of_speed_becomes_that_of_the_spec
           test_catalogue::test_quantities_become_plain_columns_and_the_source_stays""",
    13: """test_catalogue::test_metres_per_second_are_converted_with_their_errors
           test_catalogue::test_an_unlabelled_speed_in_metres_is_refused
           test_translate::test_velocities_may_be_in_another_unit""",
    14: """test_bad_inputs::test_a_missing_unit_is_said_once_and_recorded
           test_bad_inputs::test_units_that_were_taken_are_in_the_header
           test_bad_inputs::test_a_dash_is_no_unit""",
    15: """test_catalogue::test_spellings_of_plain_numbers
           test_catalogue::test_spellings_of_kelvin
           test_bad_inputs::test_spellings_of_speeds
           test_formats::test_unsigned_integers_and_odd_units_of_fits
           test_catalogue::test_units_that_do_not_fit_are_refused""",
    16: """test_bad_inputs::test_metallicity_is_not_offered_for_iron
           test_match::test_metallicity_is_never_taken_for_iron""",
    17: """test_bad_inputs::test_gravity_in_linear_units_is_refused
           test_catalogue::test_a_temperature_beyond_belief_is_refused""",
    18: """test_catalogue::test_an_error_floor_raises_zero_but_not_negative_errors
           test_posterior::test_a_missing_or_impossible_error_is_integrated_over
           test_translate::test_an_error_that_is_none_is_integrated_over_and_has_flag_2""",
    19: "test_translate::test_an_enormous_error_has_flag_8",
    20: """test_catalogue::test_identifiers_that_cannot_be_trusted_are_refused
           test_catalogue::test_lost_digits_are_a_fault_of_a_catalogue_as_well
           test_match::test_identifiers_that_went_through_floats_are_refused_with_their_table""",
    21: """test_catalogue::test_csv_integers_with_nulls_and_late_fractions
           test_formats::test_identifiers_in_csv_keep_what_is_written
           test_tables_properties::test_identifiers_keep_every_digit""",
    22: """test_bad_inputs::test_identifiers_never_enter_jax
           test_translate::test_all_identifiers_come_first_and_unchanged""",
    23: "test_match::test_null_identifiers_match_nobody_and_are_counted",
    24: "test_match::test_repeated_stars_give_one_row_and_the_best_is_kept",
    25: """test_pairs::test_split_keeps_all_rows_of_a_star_together
           test_pairs::test_folds_test_each_star_once""",
    26: """test_match::test_identifiers_of_different_gaia_releases_warn
           test_match::test_few_common_stars_warn_and_none_is_refused""",
    27: """test_tables_properties::test_padding_is_no_part_of_text
           test_formats::test_objects_become_what_they_all_are
           test_catalogue::test_fits_comes_in_native_order_with_clean_text_and_nulls""",
    28: """test_catalogue::test_vector_columns_need_an_index
           test_formats::test_lists_with_gaps_are_vectors_with_gaps""",
    29: "test_surveys::test_a_missing_flag_is_a_bad_one_except_where_blank_is_good",
    30: """test_catalogue::test_another_delimiter_is_named
           test_formats::test_text_that_is_no_csv_is_refused_with_the_reason""",
    31: """test_catalogue::test_junk_is_one_short_error_with_the_path
           test_catalogue::test_a_truncated_fits_file_is_refused
           test_catalogue::test_other_truncated_files_are_refused
           test_formats::test_a_compressed_file_that_was_cut_short_is_refused
           test_fuzz::test_a_damaged_table_is_refused_or_read""",
    32: """test_translate::test_provenance_of_a_name_beyond_ascii_is_ascii
           test_translate::test_fits_header_has_descriptors_and_provenance_in_ascii""",
    33: """test_translate::test_an_existing_output_is_refused_and_kept
           test_cli::test_an_existing_output_is_refused
           test_bad_inputs::test_the_output_may_not_be_the_input
           test_bad_inputs::test_no_command_writes_over_its_inputs""",
    34: """test_catalogue::test_a_failure_in_the_middle_leaves_the_old_file_and_nothing_else
           test_store::test_a_failed_write_leaves_nothing_behind
           test_store::test_a_killed_write_leaves_no_model_at_the_final_name
           test_bad_inputs::test_a_killed_writer_leaves_the_old_table
           test_stream::test_what_was_interrupted_goes_on_to_the_same_file
           test_stream::test_kills_at_any_moment_lose_nothing""",
    35: "test_stream::test_another_job_is_not_gone_on_with",
    36: "test_stream::test_a_second_writer_is_refused",
    37: "test_stream::test_reading_in_parts_takes_no_more_memory_for_more_rows",
    38: "test_summary::test_a_device_without_room_gets_fewer_stars_at_a_time",
    39: """test_diagnose::test_a_collapsed_step_is_called_frozen
           test_diagnose::test_a_large_energy_error_is_called_a_bias
           test_diagnose::test_chains_in_different_places_are_said_to_disagree
           test_diagnose::test_slowly_mixing_draws_count_for_few
           test_cli::test_strict_fails_where_there_is_a_warning""",
    40: """test_translate::test_a_star_outside_has_flag_4_and_keeps_its_answer
           test_calibration::test_a_far_star_is_outside_not_narrower_and_no_farther_from_the_line""",
    41: """test_calibration::test_strict_translation_refuses_stars_outside_and_writes_nothing
           test_cli::test_translate_writes_the_apis_table
           test_support::test_a_shifted_catalogue_lies_mostly_outside""",
    42: """test_store::test_what_is_no_model_is_refused
           test_store::test_a_pickle_is_never_run
           test_store::test_objects_and_text_are_refused""",
    43: """test_store::test_16_gigabytes_are_refused_unread
           test_store::test_many_datasets_below_the_budget_are_added_up""",
    44: """test_store::test_a_truncated_model_is_refused
           test_store::test_one_flipped_bit_anywhere_is_refused
           test_store::test_damage_that_would_hang_hdf5_is_refused
           test_fuzz::test_a_damaged_model_is_refused
           test_fuzz::test_damaged_weights_with_a_new_seal_are_refused""",
    45: "test_store::test_a_newer_format_is_refused_with_both_versions",
    46: """test_bad_inputs::test_columns_in_another_order_give_the_same_answers
           test_translate::test_velocities_may_be_in_another_unit
           test_translate::test_a_missing_column_is_refused_with_the_nearest_name""",
    47: """test_store::test_weights_that_are_not_finite_are_refused_whatever_the_digest
           test_store::test_weights_of_another_shape_are_refused_whatever_the_digest
           test_store::test_no_array_may_have_another_shape""",
    48: """test_store::test_a_link_is_refused_by_its_place
           test_store::test_data_outside_the_file_are_refused
           test_bad_inputs::test_names_that_lead_out_of_a_model_are_refused""",
    49: "test_hats::test_an_empty_partition_has_the_columns_of_the_others",
    50: """test_bad_inputs::test_ctrl_c_in_a_fit_is_a_clean_stop
           test_cli::test_ctrl_c_during_a_fit_leaves_nothing
           test_cli::test_ctrl_c_that_a_library_mistakes_or_drops_still_stops
           test_cli::test_ctrl_c_during_a_translation_leaves_what_was_there""",
}


# ---- the table itself ---------------------------------------------------------------------


def test_every_row_has_tests():
    assert ANSWERED.keys() == set(range(1, 51))


def test_every_test_that_is_named_exists():
    named = {item for text in ANSWERED.values() for item in text.split()}
    known = set()
    for file in {item.split("::")[0] for item in named}:
        tree = ast.parse((TESTS / f"{file}.py").read_text(encoding="utf-8"))
        known |= {f"{file}::{n.name}" for n in tree.body if isinstance(n, ast.FunctionDef)}
    assert sorted(named - known) == []


# ---- rows 2, 3, 12: masks, NaN, units -----------------------------------------------------


@pytest.fixture(scope="module")
def stars(survey) -> Table:
    return Table(survey.catalogue)[:30]


@pytest.fixture(scope="module")
def result(posterior, stars) -> Table:
    return bt.translate(posterior, stars, progress=False)


@pytest.mark.parametrize("kind", ["masked", "nan", "inf", "-inf"])
def test_a_gap_is_flagged_and_leaves_the_other_rows(posterior, stars, result, kind):
    table = stars.copy()
    if kind == "masked":
        table["logg_a"] = MaskedColumn(table["logg_a"], mask=np.arange(30) == 7)
    else:
        table["logg_a"][7] = float(kind)
    found = bt.translate(posterior, table, progress=False)
    assert found["flags"][7] & 1
    assert found["star_id"].tolist() == stars["star_id"].tolist()
    others = np.arange(30) != 7
    for name in found.colnames:
        np.testing.assert_array_equal(found[name][others], result[name][others])


ONE = Spec("s", (Input("rv", "rv", unit="km/s"),), (Output("rv", "rv_b", unit="km/s"),))


def test_arrays_with_a_mask_or_a_unit():
    x, nothing = np.array([[1.0], [2.0]]), np.full((2, 1), np.nan)
    masked = np.ma.array(x, mask=[[False], [True]])
    with pytest.raises(PairsError, match="x has the unit m / s; give plain numbers in the units"):
        bt.Pairs(ONE, x * u.m / u.s, nothing, x, nothing, np.arange(2))
    outputs = (*ONE.outputs, Output("other", "other"))
    two = np.ma.hstack([masked, x])
    none = np.full((2, 2), np.nan)
    pairs = bt.Pairs(Spec("s", ONE.inputs, outputs), x, nothing, two, none, np.arange(2))
    np.testing.assert_array_equal(pairs.seen, [[True, True], [False, True]])


# ---- rows 13 to 17: units and ranges ------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        *((text, 1.0) for text in ("km/sec", "KM/S", "km s-1", "km.s-1", "'km/s'", "km s^-1")),
        *((text, 1e-3) for text in ("m/s", "m s-1", "m/sec", "M/S")),
    ],
)
def test_spellings_of_speeds(text, factor):
    table = Table({"rv": Column([100.0], unit=u.Unit(text, parse_strict="silent"))})
    assert read_inputs(table, ONE).x[0, 0] == pytest.approx(100 * factor, rel=1e-15)


@pytest.fixture
def said(caplog) -> Callable[[], list[str]]:
    """Return what has been said since, as if for the first time."""
    catalogue._say.cache_clear()
    return lambda: [told.getMessage() for told in caplog.records if told.name == "bayestrans"]


def test_a_missing_unit_is_said_once_and_recorded(survey, tmp_path, said):
    path = tmp_path / "pairs.csv"  # which knows no units
    write_table(Table(to_columns(survey))[:40], path)
    pairs = read_pairs(path, survey.spec)
    again = read_pairs(path, survey.spec)
    items = [item for item in (*survey.spec.inputs, *survey.spec.outputs) if item.unit]
    taken = ", ".join(f"{name} {i.unit}" for i in items for name in (i.column, i.error))
    assert "rv_a km/s, e_rv_a km/s, teff_b K, e_teff_b K" in taken
    assert said() == [f"{path}: columns without a unit are taken to be in the spec's: {taken}"]
    assert dict(pairs.assumed) == dict(again.assumed)
    assert pairs.assumed["rv_a"] == "km/s"
    assert "logg_a" not in pairs.assumed  # a plain number needs none
    assert pairs.split(0.5)[0].assumed == pairs.assumed


def test_units_that_were_taken_are_in_the_header(posterior, stars, said):
    table = stars[:2].copy()
    for item in posterior.spec.inputs:
        table[item.column].unit = table[item.error].unit = item.unit or None
    labelled = bt.translate(posterior, table, progress=False)
    assert json.loads(labelled.meta["BTUNITS"]) == {}
    assert said() == []
    table["teff_a"].unit = None
    table["e_rv_a"].unit = None  # that of its value is known
    found = bt.translate(posterior, table, progress=False)
    assert json.loads(found.meta["BTUNITS"]) == {"teff_a": "K"}
    assert said() == ["the table: columns without a unit are taken to be in the spec's: teff_a K"]


@pytest.mark.parametrize("text", ["-", "---", "none", "None", "''"])
def test_a_dash_is_no_unit(text, said):
    table = Table({"rv": Column([100.0], unit=u.Unit(text, parse_strict="silent"))})
    found = read_inputs(table, ONE)
    assert (found.x[0, 0], dict(found.assumed)) == (100.0, {"rv": "km/s"})
    assert len(said()) == 1


def test_metallicity_is_not_offered_for_iron():
    spec = Spec("s", (Input("fe_h", "fe_h"),), (Output("m_h", "m_h_b"),))
    with pytest.raises(CatalogueError, match="there is no column 'fe_h'"):
        read_inputs(Table({"m_h": [0.0], "M_H": [0.1]}), spec)
    assert Spec.from_dict(spec.to_dict()).corrects == (-1,)  # [M/H] corrects no [Fe/H]


@pytest.mark.parametrize(("name", "unit"), [("logg", ""), ("g", "dex"), ("g", "log(cm/s2)")])
def test_gravity_in_linear_units_is_refused(name, unit):
    spec = Spec("s", (Input(name, "g_a", unit=unit),), (Output("y", "y"),))
    table = Table({"g_a": [275.4, 27400.0, 1000.0, -9999.0]})
    with pytest.raises(CatalogueError, match="g_a: the median, 1000, is beyond a logarithm; if "):
        read_inputs(table, spec)
    table["g_a"].unit = "cm/s2"
    with pytest.raises(CatalogueError, match=r"g_a: 'cm / s2' and 'dex', .* do not convert"):
        read_inputs(table, spec)
    assert read_inputs(Table({"g_a": [2.4, 4.4, -9999.0]}), spec).x[1, 0] == 4.4


# ---- row 22: identifiers ------------------------------------------------------------------


def test_identifiers_never_enter_jax():
    for file in (TESTS.parent / "bayestrans").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        if re.search(r"^(import|from) jax", text, re.MULTILINE):
            assert not re.search(r"\.ids\b", text), file.name


# ---- row 33: the output is the input ------------------------------------------------------


@pytest.mark.parametrize("link", [None, "symlink_to", "hardlink_to"])
def test_the_output_may_not_be_the_input(posterior, stars, tmp_path, link):
    path = out = tmp_path / "a.fits"
    write_table(stars, path)
    before = path.read_bytes()
    if link is not None:
        out = tmp_path / "b.fits"
        getattr(out, link)(path)
    with pytest.raises(CatalogueError, match="the output is also an input; give it another name"):
        bt.translate(posterior, path, out, overwrite=True, progress=False)
    assert path.read_bytes() == before


def test_no_command_writes_over_its_inputs(tmp_path, capsys):
    pairs, spec, model = (tmp_path / name for name in ("p.csv", "s.toml", "diagnosis.nc"))
    for path in (pairs, spec, model):
        path.write_text("precious")
    for out in (pairs, spec):
        arguments = ["fit", pairs, "--spec", spec, "--out", out, "--overwrite"]
        assert cli.main([str(a) for a in arguments]) == 2
        assert f"{out}: the output is also an input" in capsys.readouterr().err
    for out in (pairs, model):
        for verb in ("translate", "support"):
            assert cli.main([verb, str(model), str(pairs), "--out", str(out), "--overwrite"]) == 2
    assert {p.read_text() for p in tmp_path.iterdir()} == {"precious"}


def test_diagnose_does_not_write_over_the_model(posterior, tmp_path, capsys):
    path = tmp_path / "diagnosis.nc"
    posterior.save(path)
    before = path.read_bytes()
    assert cli.main(["diagnose", str(path), "--out", str(tmp_path), "--overwrite"]) == 2
    assert "the output is also an input" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_draws_do_not_fit_csv_and_that_is_said_first(posterior, stars, tmp_path, monkeypatch):
    monkeypatch.setattr(bt.Posterior, "mixtures", lambda *_, **__: pytest.fail("it was begun"))
    with pytest.raises(CatalogueError, match=r"CSV holds no vectors, .* write \.parquet or \.fits"):
        bt.translate(posterior, stars, tmp_path / "b.csv", draws=2, progress=False)


# ---- rows 34, 50: killed, interrupted ---------------------------------------------------------

KILLED = """
import os, signal, sys
from astropy.table import Table
from bayestrans import tables
write = tables.WRITERS["FITS"]
def half(table, path):
    write(table, path)
    path.write_bytes(path.read_bytes()[:4000])
    os.kill(os.getpid(), signal.SIGKILL)
tables.WRITERS["FITS"] = half
tables.write_table(Table({"x": range(1000)}), sys.argv[1], overwrite=True)
"""


def test_a_killed_writer_leaves_the_old_table(tmp_path):
    path = tmp_path / "t.fits"
    path.write_text("precious")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "precious"
    (left,) = set(tmp_path.iterdir()) - {path}
    assert left.name.startswith(".t.fits.")
    assert left.name.endswith(".partial")


@pytest.mark.slow
@pytest.mark.parametrize("patience", [0.0, 3.0])
def test_ctrl_c_in_a_fit_is_a_clean_stop(survey, tmp_path, patience):
    pairs, spec = tmp_path / "p.csv", tmp_path / "s.toml"
    write_table(Table(to_columns(survey)), pairs)
    spec.write_text(survey.spec.to_toml(), encoding="utf-8")
    log = tmp_path / "log"
    command = [sys.executable, "-m", "bayestrans", "fit", str(pairs), "--spec", str(spec)]
    with log.open("w") as stream:
        before = set(tmp_path.iterdir())
        running = subprocess.Popen([*command, "--out", str(tmp_path / "m.nc")], stderr=stream)
        begun = time.monotonic()
        while "step/s" not in log.read_text() and time.monotonic() < begun + 120:
            time.sleep(0.05)
        time.sleep(patience)
        running.send_signal(signal.SIGINT)
        running.wait(120)
    told = log.read_text()
    assert running.returncode == 130, told
    assert told.endswith("\nbayestrans fit: stopped; nothing was written\n")
    assert "Traceback" not in told
    assert set(tmp_path.iterdir()) == before


# ---- rows 46, 48: models ------------------------------------------------------------------


def test_columns_in_another_order_give_the_same_answers(posterior, stars, result):
    table = stars[stars.colnames[::-1]]
    table["rv_a"], table["e_rv_a"] = 1000 * table["rv_a"], 1000 * table["e_rv_a"]
    table["rv_a"].unit = table["e_rv_a"].unit = "m/s"
    found = bt.translate(posterior, table, progress=False)
    for name in ("teff_mean", "logg_sd", "support", "flags"):
        np.testing.assert_array_equal(found[name], result[name])
    np.testing.assert_allclose(found["rv_mean"], result["rv_mean"], rtol=1e-5)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", ".."])
def test_names_that_lead_out_of_a_model_are_refused(posterior, tmp_path, name):
    tree = to_tree(posterior)
    spec = json.loads(tree.attrs["spec"])
    spec["output"] = {(name if key == "teff" else key): v for key, v in spec["output"].items()}
    tree.attrs["spec"] = json.dumps(spec)
    store.write(tree, tmp_path / "m.nc", overwrite=False)
    with pytest.raises(ModelFileError, match="lacks a part of a model"):
        bt.load(tmp_path / "m.nc")
    with pytest.raises(bt.SpecError, match="use another name"):
        Spec.from_dict(spec)
