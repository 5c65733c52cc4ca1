"""What callers give: paths where tables are read, models that are none, seeds, slips of names."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table, vstack
from tiny import temperatures, tiny_fit

import bayestrans as bt
from bayestrans import cli
from bayestrans.tables import count_rows, write_table

# ---- a path in the place of pairs ----------------------------------------------------------


def test_verbs_read_pairs_by_the_models_spec(given):
    model, path = given.posterior, given["test.csv"]
    assert bt.evaluate(model, path).to_json() == bt.evaluate(model, given.test).to_json()
    told = [bt.diagnose(model, held_out=stars) for stars in (path, given.test)]
    assert str(told[0]) == str(told[1])
    settings = {"draws": 10, "stars": 64, "progress": False}
    found = [bt.importance(model, stars, **settings).to_dict() for stars in (path, given.test)]
    assert found[0] == found[1]


def test_a_report_reads_pairs_by_the_models_spec(given, tmp_path):
    pages = [
        bt.report(given.posterior, tmp_path / name, pairs=stars).read_text(encoding="utf-8")
        for name, stars in (("path", given["test.csv"]), ("pairs", given.test))
    ]
    assert pages[0] == pages[1]


def test_pairs_are_read_by_a_specs_file(given):
    found = bt.read_pairs(given["train.csv"], given["spec.toml"])
    assert found.spec == given.spec
    np.testing.assert_array_equal(found.x, given.train.x)


def test_the_text_of_a_spec_is_not_its_path(given):
    with pytest.raises(bt.SpecError, match="give the path of a spec's file; this is the text"):
        bt.Spec.from_toml(given.spec.to_toml())


# ---- what is no model, no seed -------------------------------------------------------------


@pytest.mark.parametrize(
    "verb",
    [
        lambda model, given: bt.translate(model, given["a.csv"]),
        lambda model, given: bt.translate_file(model, given["a.csv"], given.path / "no.csv"),
        lambda model, given: bt.evaluate(model, given.test),
        lambda model, _: bt.diagnose(model),
        lambda model, _: bt.importance(model),
        lambda model, given: bt.support(model, given["a.csv"]),
        lambda model, given: bt.report(model, given.path / "no"),
        lambda model, given: bt.predict(model, given.test),
        lambda model, given: bt.round_trip(model, given.posterior, given["a.csv"]),
        lambda model, given: bt.chain(model, model, given.posterior, given["a.csv"]),
    ],
)
def test_the_path_of_a_model_is_refused_with_what_to_do(given, verb):
    with pytest.raises(TypeError, match=r"a model is needed, not a str; .* bayestrans\.load"):
        verb("model.nc", given)


@pytest.mark.parametrize("seed", [1.5, -1, "1", None, True])
@pytest.mark.parametrize(
    "verb",
    [
        lambda seed, _: bt.fit(temperatures(), seed=seed),
        lambda seed, _: temperatures().split(0.2, seed=seed),
        lambda seed, given: bt.translate(given.posterior, given["a.csv"], seed=seed),
        lambda seed, given: bt.importance(given.posterior, seed=seed),
        lambda seed, given: bt.homogenise(given.path / "no.toml", seed=seed),
    ],
)
def test_what_is_no_seed_is_refused(given, verb, seed):
    with pytest.raises(ValueError, match=r"seed is .*; give a whole number of at least 0"):
        verb(seed, given)


# ---- what a notebook shows -----------------------------------------------------------------


def test_pairs_and_models_are_shown_in_a_line(given):
    assert repr(given.test) == f"<Pairs 'tiny': {len(given.test)} stars, teff, logg to teff>"
    expected = f"<Posterior 'tiny': teff; 2 draws, {len(given.train)} training stars>"
    assert repr(given.posterior) == expected
    block = given.posterior.blocks[0]
    assert repr(block) == f"<BlockDraws 'intrinsic': 1 x 2 draws of {len(block.draws)} sites>"


# ---- a slip on the command line ------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("trian.csv", "does not exist (did you mean 'train.csv'?); check the path"),
        ("elsewhere/train.csv", "does not exist, nor does its folder; check the path"),
        ("zzz", "does not exist; check the path"),
    ],
)
def test_a_misspelt_path_is_told_before_the_libraries_are_loaded(given, path, words):
    code = (
        "import sys; from bayestrans.cli import main; status = main(sys.argv[1:]); "
        "sys.exit(9 if {'jax', 'numpy'} & set(sys.modules) else status)"
    )
    arguments = ["fit", given.path / path, "--spec", given["spec.toml"], "--out", "m.nc"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=given.path,
    )
    assert done.returncode == 2, done
    assert words in done.stderr
    assert done.stderr.startswith(f"bayestrans fit: {given.path / path} ")


# ---- what a command says beside its answer -------------------------------------------------


@pytest.mark.filterwarnings("default")
def test_warnings_of_a_command_are_sentences_without_source_lines(given, model, capsys):
    assert cli.main(["evaluate", model, given["train.csv"]]) == 0
    told = capsys.readouterr()
    (line,) = [line for line in told.err.splitlines() if "warning" in line]
    assert line.startswith("bayestrans evaluate: warning: ")
    assert "have exactly the inputs of training stars" in line
    assert "cli" not in told.err
    assert logging.getLogger("bayestrans").handlers == []


def test_a_command_says_what_the_package_logs(given, model, tmp_path, capsys):
    stars = given.stars.copy()
    stars["teff_a"][:3] = -9999.0
    table = tmp_path / "a.csv"
    write_table(stars, table)
    assert cli.main(["support", model, str(table)]) == 0
    told = capsys.readouterr().err
    assert f"bayestrans support: {table}: " in told
    assert "sentinels = [-9999]" in told


def test_rows_that_look_like_one_star_are_told_where_nothing_names_stars(given, caplog):
    table, spec = given.common[:60], dataclasses.replace(given.spec, id=None)
    bt.read_pairs(table, spec)
    assert "exactly the inputs" not in caplog.text
    bt.read_pairs(vstack([table, table[:4]]), spec)
    assert "8 of 64 rows have exactly the inputs of another row" in caplog.text
    caplog.clear()
    bt.read_pairs(vstack([table, table[:5]]), given.spec)
    assert "exactly the inputs" not in caplog.text


def test_a_misspelt_unit_is_told_with_the_nearest(given):
    table = given.common.copy()
    table["teff_a"].unit = u.Unit("Kelvn", parse_strict="silent")
    with pytest.raises(bt.CatalogueError, match=r"unit 'Kelvn' cannot be used .*'kelvin'"):
        bt.read_pairs(table, given.spec)


# ---- what cannot be told is left out -------------------------------------------------------


def test_a_diagnosis_of_one_chain_has_no_lines_of_nan():
    told = str(bt.diagnose(tiny_fit(bt.SVI(steps=50, draws=20))))
    assert "cannot show convergence" in told
    assert "nan" not in told
    assert not told.endswith(":")
    assert "sampler" in told


def test_lines_of_csv_are_counted_for_the_bar(tmp_path):
    for text, rows in (("a,b\n1,2\n3,4\n", 2), ("a,b\n1,2\n3,4", 2), ("a,b\n", 0)):
        (tmp_path / "t.csv").write_text(text)
        assert count_rows(tmp_path / "t.csv") == rows


def test_numbers_of_numpy_are_as_good_as_pythons(tmp_path):
    one, four = np.int64(1), np.int64(4)
    method = bt.MCLMC(chains=np.int64(2), draws=four, steps=np.int32(8), warm_steps=four)
    found = bt.fit(temperatures(), method=method, seed=one, calibrate=False, progress=False)
    found.save(tmp_path / "m.nc")
    assert bt.load(tmp_path / "m.nc").digest == found.digest
    table = Table(bt.simulate(10, 3, seed=one).catalogue)
    for out in (None, tmp_path / "a.parquet"):
        again = bt.translate(found, table, out, draws=four, seed=one, chunk_size=four)
        assert len(again) == 3
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("err", [np.ma.array([[1e20]], mask=[[True]]), [[-9999.0]], [[np.nan]]])
def test_an_error_of_b_that_is_none_is_the_usual_one(err):
    model = tiny_fit(bt.SVI(steps=50, draws=20))
    x = np.array([[5000.0]]), np.array([[50.0]])
    usual = model.predict(*x, kind="measured", y_err=[[model.scaler.usual_err[0]]])
    np.testing.assert_array_equal(model.predict(*x, kind="measured", y_err=err), usual)
    with pytest.raises(ValueError, match="y_err has the unit K"):
        model.predict(*x, kind="measured", y_err=[[1.0]] * u.K)
