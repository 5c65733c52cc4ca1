"""The command line: the numbers of the API."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from astropy.table import Table
from command_line import TINY

import bayestrans as bt
from bayestrans import cli, cli_fit
from bayestrans.tables import read_table

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
    settings = [
        "--steps",
        "300",
        "--chains",
        "2",
        "--hidden",
        "4",
        "--seed",
        "2",
        "--quiet",
        "--no-calibration",
    ]
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
        (["--error-factor", "one"], bt.MCLMC(), bt.Network()),
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

    monkeypatch.setattr(cli_fit, "fit", catch)
    out = str(tmp_path / "m.nc")
    arguments = ["fit", given["train.csv"], "--spec", given["spec.toml"], "--out", out]
    assert cli.main([*arguments, "--seed", "3", *options]) == 130
    assert (seen["method"], seen["network"], seen["seed"]) == (method, network, 3)
    quoted = "--error-factor" in options
    assert seen["noise"] == bt.Noise(error_factor="one" if quoted else "below one")
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
    assert "\nnot calibrated where stars are few" in told
    assert f"{len(test)} held-out stars:\n{bt.evaluate(fitted, test)}" in told
    assert told.endswith(f"wrote {out}\n")
    scores = bt.evaluate(fitted, test)
    short = next(line for line in told.splitlines() if line.startswith("In short: "))
    assert f"NLL {scores.overall.nll:.2f} (A's value plus a constant" in short
    assert f"linear regression {scores.baselines['linear'].nll:.2f}; lower" in short
    inside = np.mean([one.coverage["0.68"] for one in scores.overall.outputs.values()])
    assert f"68 % intervals hold {100 * inside:.0f} % of the values" in short
    assert short.endswith(f"sampling: {bt.diagnose(fitted).verdict}; 1 warning above")


def test_fit_says_what_corrects_what():
    outputs = [bt.Output("teff", "T", corrects="teff"), bt.Output("mg_fe", "M")]
    outputs.append(bt.Output("g", "G", corrects="logg"))
    spec = bt.Spec("s", (bt.Input("teff", "t"), bt.Input("logg", "l")), tuple(outputs))
    ones = np.ones((3, 2)), np.ones((3, 2)), np.ones((3, 3)), np.ones((3, 3))
    assert cli_fit._plan_of(bt.Pairs(spec, *ones, ids=np.arange(3))) == (
        "3 training stars, 2 inputs; corrects teff, g (of logg); "
        "predicts mg_fe (no input to correct)"
    )


def test_the_stars_held_out_are_given_the_units_that_were_taken():
    inputs = (bt.Input("teff", "t", "e_t", unit="K"), bt.Input("jk", "c", "e_c", unit="mag"))
    spec = bt.Spec("s", inputs, (bt.Output("rv", "V[0]", unit="km/s"),))
    table = Table({"T": [5.0], "E_T": [0.1], "c": [0.7], "e_c": [0.1], "V": [[1.0, 2.0]]})
    table["T"].unit = "kK"
    cli_fit._give_units(table, spec)
    assert [str(table[name].unit) for name in table.colnames] == ["kK", "kK", "mag", "mag", "None"]


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
    assert "columns without a unit are taken to be in the spec's" in told.err or not told.err
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
    assert told.startswith(f"wrote 30 stars to {out}\nnot calibrated where stars are few")
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


# ---- version, help -----------------------------------------------------------------------


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
