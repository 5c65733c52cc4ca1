"""The command line: one sentence for each fault of the user, and nothing written at Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

import bayestrans as bt
from bayestrans import cli, cli_fit
from bayestrans.ctrl_c import ctrl_c
from bayestrans.tables import read_table, write_table

# ---- faults of the user -------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path, capsys) -> Callable[..., str]:
    """Return a call that must exit 2 with one sentence, having written nothing."""

    def call(*arguments: object) -> str:
        before = listing(tmp_path)
        assert cli.main([str(a) for a in arguments]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        *notes, sentence = told.err.splitlines()
        assert all("columns without a unit are taken to be" in note for note in notes)
        assert sentence.startswith(f"bayestrans {arguments[0]}: ")
        assert listing(tmp_path) == before
        return sentence

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


def test_held_out_stars_that_a_format_cannot_hold_are_told_before_the_fit(given, tmp_path, refused):
    table = given.common.copy()
    table["note"] = np.where(np.arange(len(table)) == 7, "\u03b1 Cen", "")
    write_table(table, tmp_path / "p.csv")
    split = ["--hold-out", 0.2, "--held-out", tmp_path / "h.fits"]
    rest = ["--spec", given["spec.toml"], "--out", tmp_path / "m.nc", *split]
    assert "1 rows have other letters; write .parquet" in refused("fit", tmp_path / "p.csv", *rest)


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
    assert "does not exist" in refused("fit", none, "--spec", spec, "--out", tmp_path / "m.nc")
    told = refused("fit", given["train.csv"], "--spec", none, "--out", tmp_path / "m.nc")
    assert "does not exist" in told
    assert "does not exist" in refused("evaluate", model, none)
    assert "does not exist" in refused("translate", model, none, "--out", out)
    assert "does not exist" in refused("support", model, none)


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

    monkeypatch.setattr(cli_fit, "fit", fail)
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


# ---- Ctrl-C ------------------------------------------------------------------------------


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_during_a_fit_leaves_nothing(given, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli_fit, "fit", interrupt)
    arguments = ["fit", given["train.csv"], "--spec", given["spec.toml"]]
    assert cli.main([*arguments, "--out", str(tmp_path / "m.nc")]) == 130
    assert "stopped; nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_after_the_model_is_written_says_so(given, model, tmp_path, capsys, monkeypatch):
    out = tmp_path / "m.nc"
    monkeypatch.setattr(cli_fit, "fit", lambda *_, **__: bt.load(model))
    monkeypatch.setattr(cli_fit, "_judged", interrupt)
    arguments = ["fit", given["train.csv"], "--spec", given["spec.toml"], "--out", str(out)]
    assert cli.main(arguments) == 130
    assert f"stopped; {out} was written" in capsys.readouterr().err
    monkeypatch.setattr(cli_fit, "fit", interrupt)
    now = time.time
    monkeypatch.setattr(cli.time, "time", lambda: now() + 60)  # the file is of before
    assert cli.main([*arguments, "--overwrite"]) == 130
    assert "stopped; nothing was written" in capsys.readouterr().err


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
    monkeypatch.setattr(cli_fit, "fit", lambda *_, **__: library())
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
