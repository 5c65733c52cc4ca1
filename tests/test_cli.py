"""The command line: the numbers of the API, and one sentence for each fault of the user."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from astropy.table import Table

import bayestrans as bt
from bayestrans import cli, cli_commands
from bayestrans.ctrl_c import ctrl_c
from bayestrans.simulate import to_columns
from bayestrans.tables import read_table, write_table

TINY = ["--method", "ensemble", "--chains", "2", "--hidden", "4", "--no-calibration", "--quiet"]


class Folder:
    """Files as a user has them, and what the API says of them."""

    def __init__(self, path: Path, survey: bt.SurveyPair) -> None:
        self.path = path
        inputs = tuple(item for item in survey.spec.inputs if item.name in ("teff", "logg"))
        self.spec = bt.Spec("tiny", inputs, survey.spec.outputs[:1], id="star_id")
        self.common = Table(to_columns(survey))
        self.train, self.test = bt.read_pairs(self.common, self.spec).split(0.3, seed=1)
        for name, pairs in (("train", self.train), ("test", self.test)):
            rows = np.isin(self.common["star_id"], pairs.ids)
            write_table(self.common[rows], path / f"{name}.csv")
        self.stars = Table(survey.catalogue)[:30]
        write_table(self.stars, path / "a.csv")
        (path / "spec.toml").write_text(self.spec.to_toml(), encoding="utf-8")
        method = bt.Ensemble(members=2)
        self.posterior = bt.fit(
            self.train,
            method=method,
            network=bt.Network((4,)),
            seed=6,
            progress=False,
            calibrate=False,
        )

    def __getitem__(self, name: str) -> str:
        return str(self.path / name)


@pytest.fixture(scope="module")
def given(tmp_path_factory, survey) -> Folder:
    return Folder(tmp_path_factory.mktemp("given"), survey)


@pytest.fixture(scope="module")
def model(given) -> str:
    """Return the model that the command line fits."""
    out = given["model.nc"]
    arguments = ["fit", given["train.csv"], "--spec", given["spec.toml"], "--out", out]
    assert cli.main([*arguments, "--seed", "6", *TINY]) == 0
    return out


# ---- the numbers of the API ---------------------------------------------------------------


def test_fit_draws_what_the_api_draws(given, model):
    fitted = bt.load(model)
    assert fitted.spec == given.posterior.spec
    assert fitted.network == bt.Network((4,))
    for name, values in given.posterior.blocks[0].draws.items():
        np.testing.assert_array_equal(fitted.blocks[0].draws[name], values)


@pytest.mark.slow
def test_fit_with_the_default_method_draws_what_the_api_draws(given, tmp_path, capsys):
    out = tmp_path / "m.nc"
    arguments = ["fit", given["train.csv"], "--spec", given["spec.toml"], "--out", str(out)]
    settings = ["--steps", "300", "--chains", "2", "--hidden", "4", "--seed", "2", "--quiet"]
    assert cli.main([*arguments, *settings]) == 0
    method, network = bt.MCLMC(chains=2, steps=300), bt.Network((4,))
    direct = bt.fit(
        given.train, method=method, network=network, seed=2, calibrate=False, progress=False
    )
    for name, values in direct.blocks[0].draws.items():
        np.testing.assert_array_equal(bt.load(out).blocks[0].draws[name], values)
    assert str(bt.diagnose(direct)) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "method", "network"),
    [
        ([], bt.MCLMC(), bt.Network()),
        (
            ["--steps", "900", "--chains", "3", "--time-budget", "7", "--hidden", "5", "6"],
            bt.MCLMC(steps=900, chains=3, time_budget=7.0),
            bt.Network((5, 6)),
        ),
        (
            ["--method", "nuts", "--steps", "70", "--chains", "3", "--activation", "silu"],
            bt.NUTS(draws=70, chains=3),
            bt.Network(activation="silu"),
        ),
        (["--method", "svi", "--steps", "80", "--hidden"], bt.SVI(steps=80), bt.Network(())),
        (["--method", "ensemble", "--chains", "9"], bt.Ensemble(members=9), bt.Network()),
    ],
)
def test_options_reach_the_fit(given, tmp_path, monkeypatch, options, method, network):
    seen = {}

    def catch(pairs: bt.Pairs, **settings: object) -> None:
        seen.update(settings, pairs=pairs)
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_commands, "fit", catch)
    out = str(tmp_path / "m.nc")
    arguments = ["fit", given["train.csv"], "--spec", given["spec.toml"], "--out", out]
    assert cli.main([*arguments, "--seed", "3", *options]) == 130
    assert (seen["method"], seen["network"], seen["seed"]) == (method, network, 3)
    assert seen["progress"] is True
    for part in ("x", "x_err", "y", "y_err", "ids"):
        np.testing.assert_array_equal(getattr(seen["pairs"], part), getattr(given.train, part))


def test_fit_judges_itself_and_scores_what_it_held_out(given, tmp_path, capsys):
    out = str(tmp_path / "m.nc")
    arguments = ["fit", given["train.csv"], "--spec", given["spec.toml"], "--out", out, *TINY]
    # An ensemble cannot show convergence, so --strict finds fault, and the model is written.
    assert cli.main([*arguments, "--hold-out", "0.2", "--seed", "5", "--strict"]) == 1
    told, fitted = capsys.readouterr().out, bt.load(out)
    train, test = given.train.split(0.2, seed=5)
    assert fitted.record["stars"] == len(train)
    assert str(bt.diagnose(fitted)) in told
    assert f"{len(test)} held-out stars:\n{bt.evaluate(fitted, test)}" in told
    assert told.endswith(f"wrote {out}\n")


def test_fit_says_what_corrects_what():
    outputs = [bt.Output("teff", "T", corrects="teff"), bt.Output("mg_fe", "M")]
    outputs.append(bt.Output("g", "G", corrects="logg"))
    spec = bt.Spec("s", (bt.Input("teff", "t"), bt.Input("logg", "l")), tuple(outputs))
    ones = np.ones((3, 2)), np.ones((3, 2)), np.ones((3, 3)), np.ones((3, 3))
    assert cli_commands._plan_of(bt.Pairs(spec, *ones, ids=np.arange(3))) == (
        "3 training stars, 2 inputs; corrects teff, g (of logg); "
        "predicts mg_fe (no input to correct)"
    )


@pytest.mark.parametrize("named", [True, False])
def test_fit_writes_the_stars_that_it_held_out(given, tmp_path, capsys, named):
    spec = given.spec if named else dataclasses.replace(given.spec, id=None)
    (tmp_path / "spec.toml").write_text(spec.to_toml(), encoding="utf-8")
    arguments = ["fit", given["train.csv"], "--spec", str(tmp_path / "spec.toml"), "--seed", "1"]
    out, kept = str(tmp_path / "m.nc"), str(tmp_path / "held_out.csv")
    assert cli.main([*arguments, "--out", out, "--hold-out", "0.3", "--held-out", kept, *TINY]) == 0
    _, test = bt.read_pairs(given["train.csv"], spec).split(0.3, seed=1)
    found, printed = bt.read_pairs(kept, spec), capsys.readouterr().out
    np.testing.assert_array_equal(found.x, test.x)  # as in the table, in its order
    assert read_table(kept).colnames == read_table(given["train.csv"]).colnames
    assert f"wrote {len(test)} rows of held-out stars to {kept}" in printed
    assert cli.main(["evaluate", out, kept]) == 0
    assert capsys.readouterr().out.strip() in printed


def test_evaluate_json_is_one_object_of_the_apis_numbers(given, model, capsys):
    assert cli.main(["evaluate", model, given["test.csv"], "--json"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.count("\n") == 1
    assert json.loads(told.out) == bt.evaluate(given.posterior, given.test).to_dict()


def test_evaluate_prints_the_apis_table(given, model, capsys):
    assert cli.main(["evaluate", model, given["test.csv"]]) == 0
    assert capsys.readouterr().out == f"{bt.evaluate(given.posterior, given.test)}\n"


def test_translate_writes_the_apis_table(given, model, tmp_path, capsys):
    out = tmp_path / "b.parquet"
    settings = ["--out", str(out), "--draws", "2", "--seed", "4", "--quiet"]
    assert cli.main(["translate", model, given["a.csv"], *settings]) == 0
    direct = bt.translate(given.posterior, given.stars, draws=2, seed=4, progress=False)
    found = read_table(out)
    assert found.colnames == direct.colnames
    for name in direct.colnames:
        np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(direct[name]))
    assert found.meta["BTMODEL"] == bt.load(model).digest
    told = capsys.readouterr().out
    assert told.startswith(f"wrote 30 stars to {out}\n")
    outside = (direct["support_class"] == "outside").sum()
    share = f"({100 * outside / len(direct):.1f}"
    assert ["outside", str(outside), share, "%)"] in [line.split() for line in told.splitlines()]


def test_diagnose_prints_and_writes_what_the_api_says(given, model, tmp_path, capsys):
    direct, out = bt.diagnose(given.posterior), tmp_path / "new" / "folder"
    assert cli.main(["diagnose", model, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{direct}\n"
    # Two members of an ensemble have no ranks and cannot be weighted: no pictures.
    assert sorted(p.name for p in out.iterdir()) == ["diagnosis.nc", "diagnosis.txt"]
    assert (out / "diagnosis.txt").read_text(encoding="utf-8") == f"{direct}\n"
    with xr.open_datatree(out / "diagnosis.nc", engine="h5netcdf") as tree:
        np.testing.assert_array_equal(tree["posterior"]["teff"], direct.tree["posterior"]["teff"])


def test_support_prints_and_writes_what_the_api_says(given, model, tmp_path, capsys):
    direct, out = bt.support(given.posterior, given.stars), tmp_path / "s.csv"
    assert cli.main(["support", model, given["a.csv"], "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{direct}\n"
    found = read_table(out)
    assert found["star_id"].tolist() == given.stars["star_id"].tolist()
    np.testing.assert_array_equal(found["support"], direct.score)
    assert found["support_class"].tolist() == direct.classes.tolist()


def test_importance_prints_and_writes_what_the_api_says(given, model, tmp_path, capsys):
    out, alone = tmp_path / "new" / "folder", tmp_path / "i.json"
    settings = ["--pairs", given["test.csv"], "--stars", "64", "--seed", "3", "--quiet"]
    settings += ["--group", "star=teff,logg"]
    groups = {"star": ["teff", "logg"]}
    direct = bt.importance(
        given.posterior, given.test, groups=groups, stars=64, seed=3, progress=False
    )
    assert cli.main(["importance", model, *settings, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{direct}\n"
    assert (out / "importance.txt").read_text(encoding="utf-8") == f"{direct}\n"
    found = json.loads((out / "importance.json").read_text(encoding="utf-8"))
    assert found == direct.to_dict()
    assert (out / "importance.csv").read_text() == direct.table().to_csv(index=False)
    with xr.open_datatree(out / "importance.nc", engine="h5netcdf") as tree:
        np.testing.assert_array_equal(tree["posterior"]["share"], direct.draws["share"])
    pictures = {"importance.png", "error_budget.png"}
    assert {p.name for p in out.iterdir()} >= pictures
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert cli.main(["importance", model, *settings, "--out", str(alone)]) == 0
    assert json.loads(alone.read_text(encoding="utf-8")) == found


def test_importance_of_a_model_alone_is_at_its_probe_stars(given, model, capsys):
    assert cli.main(["importance", model, "--stars", "16", "--draws", "2", "--quiet"]) == 0
    direct = bt.importance(given.posterior, stars=16, draws=2, progress=False)
    assert capsys.readouterr().out == f"{direct}\n"
    assert direct.budget.sizes["star"] == len(given.posterior.probe_x)


# ---- --strict -----------------------------------------------------------------------------


def test_strict_fails_where_there_is_a_warning(model):
    assert cli.main(["diagnose", model]) == 0
    assert cli.main(["diagnose", model, "--strict"]) == 1


def test_strict_passes_a_good_model(given, tmp_path):
    rng, first = np.random.default_rng(0), given.posterior.blocks[0]
    draws = {
        name: (v[:, :1] + 0.01 * rng.normal(size=(4, 100, *v.shape[2:]))).astype(v.dtype)
        for name, v in first.draws.items()
    }
    stats = {"log_density": rng.normal(size=(4, 100))}
    good = dataclasses.replace(given.posterior, blocks=(first._replace(draws=draws, stats=stats),))
    good.save(tmp_path / "m.nc")
    assert cli.main(["diagnose", str(tmp_path / "m.nc"), "--strict"]) == 0


# ---- faults of the user -------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path, capsys) -> Callable[..., str]:
    """Return a call that must exit 2 with one sentence, having written nothing."""

    def call(*arguments: object) -> str:
        before = listing(tmp_path)
        assert cli.main([str(a) for a in arguments]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith(f"bayestrans {arguments[0]}: ")
        assert told.err.count("\n") == 1
        assert listing(tmp_path) == before
        return told.err

    return call


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


def rename(table: Table) -> None:
    table.rename_column("logg_a", "logg_aa")


def flatten(table: Table) -> None:
    table["logg_a"] = 2.5


def blank(table: Table) -> None:
    table["logg_a"] = np.nan


def empty(table: Table) -> None:
    for name in table.colnames:
        if name.endswith("_b"):
            table[name] = np.nan


def cut(table: Table) -> None:
    table.remove_rows(np.arange(19, len(table)))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (rename, "there is no column 'logg_a'; the nearest are logg_aa"),
        (flatten, "column logg_a is constant (2.5)"),
        (blank, "column logg_a has no value in any of the 700 training stars"),
        (empty, "no star has any output; are its columns all empty?"),
        (cut, "19 training stars for the intrinsic outputs; at least 40 are needed"),
    ],
)
def test_unusable_pairs_are_refused(given, tmp_path, refused, fault, words):
    table = given.common.copy()
    fault(table)
    write_table(table, tmp_path / "p.csv")
    out = tmp_path / "m.nc"
    spec = given["spec.toml"]
    assert words in refused("fit", tmp_path / "p.csv", "--spec", spec, "--out", out)


def test_an_existing_output_is_refused(given, model, tmp_path, refused):
    stars, pairs, spec = given["a.csv"], given["train.csv"], given["spec.toml"]
    (tmp_path / "b.csv").write_text("precious")
    (tmp_path / "m.nc").write_text("precious")
    (tmp_path / "diagnosis.nc").write_text("precious")
    words = "exists"
    assert words in refused("fit", pairs, "--spec", spec, "--out", tmp_path / "m.nc")
    assert words in refused("translate", model, stars, "--out", tmp_path / "b.csv")
    assert words in refused("support", model, stars, "--out", tmp_path / "b.csv")
    assert words in refused("diagnose", model, "--out", tmp_path)


def test_an_existing_output_is_replaced_on_request(given, model, tmp_path):
    out = tmp_path / "s.csv"
    out.write_text("old")
    assert cli.main(["support", model, given["a.csv"], "--out", str(out), "--overwrite"]) == 0
    assert len(read_table(out)) == 30


def test_an_output_in_a_missing_folder_is_refused(given, model, tmp_path, refused):
    out = tmp_path / "no" / "m.nc"
    told = refused("fit", given["train.csv"], "--spec", given["spec.toml"], "--out", out)
    assert f"folder {tmp_path / 'no'} does not exist" in told
    told = refused("translate", model, given["a.csv"], "--out", tmp_path / "no" / "b.csv")
    assert "does not exist" in told


@pytest.mark.parametrize("verb", ["evaluate", "translate", "diagnose", "support"])
def test_what_is_not_a_model_is_refused(given, tmp_path, refused, verb):
    rest = {
        "evaluate": [given["test.csv"]],
        "translate": [given["a.csv"], "--out", tmp_path / "b.csv"],
        "diagnose": ["--out", tmp_path / "folder"],
        "support": [given["a.csv"], "--out", tmp_path / "b.csv"],
    }[verb]
    assert "not a readable model file" in refused(verb, given["spec.toml"], *rest)
    assert "does not exist" in refused(verb, tmp_path / "none.nc", *rest)
    assert "does not exist" in refused(verb, tmp_path, *rest)


def test_missing_files_are_refused(given, model, tmp_path, refused):
    none, out = tmp_path / "none.csv", tmp_path / "out.csv"
    spec = given["spec.toml"]
    assert "no such file" in refused("fit", none, "--spec", spec, "--out", tmp_path / "m.nc")
    told = refused("fit", given["train.csv"], "--spec", none, "--out", tmp_path / "m.nc")
    assert "does not exist" in told
    assert "no such file" in refused("evaluate", model, none)
    assert "no such file" in refused("translate", model, none, "--out", out)
    assert "no such file" in refused("support", model, none)


def test_pairs_without_the_outputs_are_refused(given, model, refused):
    assert "there is no column 'teff_b'" in refused("evaluate", model, given["a.csv"], "--json")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("extrinsic", "extrinsick", "unknown key 'extrinsick' (did you mean 'extrinsic'?)"),
        ("[input", "[[input", "is not valid TOML"),
        ('column = "teff_a"', "column = 3", "must be a str"),
    ],
)
def test_a_faulty_spec_is_refused(given, tmp_path, refused, old, new, words):
    text = given.spec.to_toml().replace(old, new, 1)
    (tmp_path / "s.toml").write_text(text)
    arguments = ["--spec", tmp_path / "s.toml", "--out", tmp_path / "m.nc"]
    assert words in refused("fit", given["train.csv"], *arguments)


def test_a_folder_in_place_of_the_spec_is_refused(given, tmp_path, refused):
    refused("fit", given["train.csv"], "--spec", tmp_path, "--out", tmp_path / "m.nc")


def test_a_folder_in_place_of_the_model_is_refused_before_the_fit(
    given, tmp_path, refused, monkeypatch
):
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the fit was begun")

    monkeypatch.setattr(cli_commands, "fit", fail)
    (tmp_path / "m.nc").mkdir()
    arguments = ["--spec", given["spec.toml"], "--out", tmp_path / "m.nc", "--overwrite"]
    refused("fit", given["train.csv"], *arguments)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "svi", "--chains", "2"], "--chains does not apply to SVI"),
        (["--method", "ensemble", "--steps", "2"], "--steps does not apply to an ensemble"),
        (["--method", "nuts", "--time-budget", "2"], "--time-budget applies to mclmc only"),
        (["--steps", "10"], "steps = 10 < draws = 250"),
        (["--chains", "0"], "chains = 0; it must be at least 1"),
        (["--hidden", "0"], "each must be at least 1"),
        (["--hold-out", "1.5"], "it must lie between 0 and 1"),
        (["--held-out", "h.csv"], "give --hold-out 0.2"),
        (["--hold-out", "0.2", "--held-out", "h.txt"], "unknown suffix '.txt'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given, tmp_path, refused, options, words):
    arguments = ["fit", given["train.csv"], "--spec", given["spec.toml"]]
    assert words in refused(*arguments, "--out", tmp_path / "m.nc", *options)


@pytest.mark.parametrize("arguments", [[], ["fly"], ["fit", "p.csv"], ["support", "m.nc"]])
def test_usage_errors_exit_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: bayestrans" in capsys.readouterr().err


# ---- Ctrl-C, version, help ----------------------------------------------------------------


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_during_a_fit_leaves_nothing(given, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli_commands, "fit", interrupt)
    arguments = ["fit", given["train.csv"], "--spec", given["spec.toml"]]
    assert cli.main([*arguments, "--out", str(tmp_path / "m.nc")]) == 130
    assert "stopped; nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


class Dropping:
    """What is interrupted where Python drops all errors, as in a callback of its collector."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def drop() -> None:
    thing = Dropping()
    del thing
    begun = time.monotonic()
    while time.monotonic() < begun + 30:
        time.sleep(0.01)


def mistake() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise ValueError("no such attribute") from None


@pytest.fixture
def default_answer() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


@pytest.mark.usefixtures("default_answer")
@pytest.mark.parametrize("library", [mistake, drop])
def test_ctrl_c_that_a_library_mistakes_or_drops_still_stops(
    given, tmp_path, capsys, monkeypatch, library
):
    monkeypatch.setattr(cli_commands, "fit", lambda *_, **__: library())
    arguments = ["fit", given["train.csv"], "--spec", given["spec.toml"]]
    hook = sys.unraisablehook
    assert cli.main([*arguments, "--out", str(tmp_path / "m.nc")]) == 130
    assert sys.unraisablehook is hook
    told = capsys.readouterr().err
    assert "stopped; nothing was written" in told
    assert "ignored" not in told


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_an_answer_to_ctrl_c_that_is_not_ours_stays(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with ctrl_c():
            assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_during_a_translation_leaves_what_was_there(
    given, model, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(bt.Posterior, "mixtures", interrupt)
    out = tmp_path / "b.csv"
    out.write_text("precious")
    arguments = ["translate", model, given["a.csv"], "--out", str(out), "--overwrite", "--quiet"]
    assert cli.main(arguments) == 130
    assert "stopped" in capsys.readouterr().err
    assert listing(tmp_path) == {str(out): b"precious"}


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"bayestrans {bt.__version__}\n"


def test_the_module_runs_and_names_every_verb():
    done = subprocess.run(
        [sys.executable, "-m", "bayestrans", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout.startswith("usage: bayestrans ")
    for verb in ("fit", "translate", "evaluate", "diagnose", "support", "importance", "demo"):
        assert re.search(rf"\n    {verb}\s", done.stdout)
