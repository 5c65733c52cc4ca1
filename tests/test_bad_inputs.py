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

import astropy.units as u
import numpy as np
import pytest
from answered import ANSWERED, TESTS
from astropy.table import Column, MaskedColumn, Table

import bayestrans as bt
from bayestrans import catalogue, cli, store
from bayestrans.catalogue import CatalogueError, read_inputs, read_pairs, write_table
from bayestrans.pairs import PairsError
from bayestrans.posterior import to_tree
from bayestrans.simulate import to_columns
from bayestrans.spec import Input, Output, Spec
from bayestrans.store import ModelFileError

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
    catalogue._said.cache_clear()
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


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs the signals of POSIX")
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
