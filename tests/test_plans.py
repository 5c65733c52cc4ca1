"""Plans of merged catalogues: their files, their mistakes, and the command line."""

from __future__ import annotations

import json

import linear
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from scipy import stats
from three_surveys import BASE_COLUMNS, OWN, STARS, small

import bayestrans as bt
from bayestrans import cli, files
from bayestrans.homogenise import homogenise
from bayestrans.tables import read_table, write_table


@pytest.fixture(scope="module")
def models() -> dict[str, bt.Posterior]:
    return {name: linear.model(name, own=OWN) for name in "abc"}


@pytest.fixture(scope="module")
def stars() -> linear.Sky:
    return linear.sky(STARS, 11, OWN)


@pytest.fixture
def few(stars) -> dict[str, Table]:
    return small(stars, [0, 1, 2, 3])


TOML = """
name = "three surveys"
base = "base"
id = "source_id"
out = "merged.fits"
shared = 0.3

[survey.a]
catalogue = "a.parquet"
model = "a.nc"

[survey.base]
catalogue = "base.csv"
error_factor = 1.2
[survey.base.columns.teff]
column = "teff_b0"
error = "e_teff_b0"
unit = "K"
error_floor = 30.0
"""


@pytest.fixture
def folder(few, models, tmp_path):
    """Return a folder with a plan and all that it names."""
    write_table(few["a"], tmp_path / "a.parquet")
    write_table(few["base"], tmp_path / "base.csv")
    models["a"].save(tmp_path / "a.nc")
    (tmp_path / "plan.toml").write_text(TOML)
    return tmp_path


def test_the_command_line_gives_the_numbers_of_the_api(folder, few, models, capsys):
    assert cli.main(["homogenise", str(folder / "plan.toml"), "--quiet"]) == 0
    assert "4 stars" in capsys.readouterr().out
    found = read_table(folder / "merged.fits")
    base = bt.Input("teff", "teff_b0", "e_teff_b0", "K", error_floor=30.0)
    plan = bt.Plan(
        (
            bt.Member("base", few["base"], "source_id", columns=(base,), error_factor=1.2),
            bt.Member("a", few["a"], "source_id", models["a"]),
        ),
        id="source_id",
        shared=0.3,
    )
    want = homogenise(plan, progress=False)
    assert found.colnames == want.colnames
    for name in want.colnames:
        np.testing.assert_array_equal(found[name], want[name], name)
    header = fits.getheader(folder / "merged.fits", 1)
    assert json.loads(header["BTPLAN"]) == "three surveys"
    assert "32: the surveys disagree" in header["BTFLAGS"]
    assert cli.main(["homogenise", str(folder / "plan.toml"), "--quiet"]) == 2
    assert "the file exists" in capsys.readouterr().err
    draws = ["--overwrite", "--draws", "3", "--seed", "1"]
    assert cli.main(["homogenise", str(folder / "plan.toml"), "--quiet", *draws]) == 0
    drawn = homogenise(plan, draws=3, seed=1, progress=False)["teff_draws"]
    np.testing.assert_array_equal(read_table(folder / "merged.fits")["teff_draws"], drawn)
    out = ["--out", str(folder / "a.parquet"), "--overwrite"]
    assert cli.main(["homogenise", str(folder / "plan.toml"), *out]) == 2
    assert "the output is also an input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("shared = 0.3", "shard = 0.3", "unknown key 'shard' .did you mean 'shared'"),
        ("shared = 0.3", "shared = 1.3", "shared = 1.3 must lie between 0 and 0.95"),
        ("shared = 0.3", 'shared = "much"', "shared = 'much' must be a float"),
        ("shared = 0.3", "[shared]\nvsini = 0.3", r"\[shared\] names 'vsini', which is no output"),
        ("shared = 0.3", "disagree = 0", "disagree = 0 must lie between 0 and 1"),
        ('id = "source_id"', "", r"\[survey.a\] has no id"),
        ('id = "source_id"', 'id = "gaia"', r"a.parquet: there is no column 'gaia'"),
        ('model = "a.nc"', "", "survey 'a' has neither a model nor columns"),
        ("error_factor = 1.2", 'model = "a.nc"', "survey 'base' has a model and columns"),
        ("error_factor = 1.2", "error_factor = -1", "error_factor = -1 must be positive"),
        ('error = "e_teff_b0"', "", r"\[survey.base.columns.teff\] has no error"),
        ("error_floor = 30.0", "floor = 3", "unknown key 'floor' .did you mean 'error_floor'"),
        ("error_floor = 30.0", "error_floor = 0", "error_floor = 0 must be positive"),
        ('unit = "K"', 'unit = "km/s"', "teff is in 'km/s' in survey 'base' and in 'K' in 'a'"),
        ('catalogue = "base.csv"', "catalogue = 3", "catalogue = 3 must be a str"),
        ('catalogue = "base.csv"', "", r"\[survey.base\] has no catalogue"),
        ('"base.csv"', '"none.csv"', "none.csv: there is no such file"),
        ('"a.nc"', '"none.nc"', "none.nc.* does not exist"),
        ("[survey.a]", "[[survey.a]]", r"\[survey\] must hold tables"),
        ("[survey.a]", "[survey.a", "is not valid TOML"),
    ],
)
def test_a_plan_with_a_mistake_is_refused(folder, old, new, words):
    assert old in TOML
    text = TOML.replace(old, new, 1)
    if "[shared]" in new:  # at the end, so that what follows is not taken for a part of it
        text = TOML.replace(old, "", 1) + new
    (folder / "plan.toml").write_text(text)
    with pytest.raises(ValueError, match=words):
        homogenise(folder / "plan.toml", progress=False)
    assert not (folder / "merged.fits").exists()


def test_a_plan_needs_a_survey_and_names_without_the_signs_used(few, models):
    with pytest.raises(bt.PlanError, match="no survey"):
        bt.Plan(())
    with pytest.raises(bt.PlanError, match="use a name without"):
        bt.Member("a+b", few["a"], "source_id", models["a"])
    one = bt.Member("a", few["a"], "source_id", models["a"])
    with pytest.raises(bt.PlanError, match="two surveys are called 'a'"):
        bt.Plan((one, one))
    with pytest.raises(bt.PlanError, match=r"no plan.toml does not exist"):
        bt.Plan.from_toml("no plan.toml")


def test_nothing_is_left_where_writing_is_stopped(folder, monkeypatch):
    before = sorted(folder.iterdir())

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", stop)
    out = str(folder / "merged.parquet")
    assert cli.main(["homogenise", str(folder / "plan.toml"), "--out", out, "--quiet"]) == 130
    assert sorted(folder.iterdir()) == before


def test_surveys_on_the_base_alone_are_weighted_by_their_errors(few):
    other = few["base"].copy()
    for name, error in zip(linear.NAMES, linear.BASE_ERROR, strict=True):
        other[f"e_{name}_b0"] *= 2.0
        other[f"{name}_b0"] += error
    members = [
        bt.Member(name, table, "source_id", columns=BASE_COLUMNS)
        for name, table in (("one", few["base"]), ("two", other))
    ]
    found = homogenise(bt.Plan(tuple(members)), progress=False)
    # Weights of 4 to 1; the difference of one sigma is 1 / (1 + 4) of a chi-square, in 3 outputs.
    np.testing.assert_allclose(found["teff_mean"], few["base"]["teff_b0"] + 4.0, rtol=1e-6)
    np.testing.assert_allclose(found["teff_sd"], 20.0 * np.sqrt(0.8), rtol=1e-6)
    np.testing.assert_allclose(found["agreement"], stats.chi2.sf(0.6, 3), rtol=1e-5)


def test_a_plan_file_says_what_is_kept(folder):
    text = TOML + '[survey.a.keep]\nteff_of_a = "TEFF_A"\n'
    (folder / "plan.toml").write_text(text)
    found = homogenise(folder / "plan.toml", folder / "merged.fits", progress=False)
    again = Table.read(folder / "merged.fits")
    here = found["row_a"] >= 0
    assert here.any()
    assert np.isfinite(np.asarray(again["teff_of_a"])[here]).all()
    (folder / "plan.toml").write_text(text.replace('"TEFF_A"', "3"))
    with pytest.raises(bt.PlanError, match=r"\[survey.a.keep\]: teff_of_a = 3 must be a str"):
        homogenise(folder / "plan.toml", progress=False)
