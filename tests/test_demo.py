"""The demo: what it leaves, and that its verdict is right."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
from astropy.table import Table

import bayestrans as bt
from bayestrans import cli_fit
from bayestrans.calibration import describe
from bayestrans.cli import main
from bayestrans.demo import Demo, against_truth, demo
from bayestrans.tables import read_table

PICTURES = (
    *("coverage", "coverage_by_support", "kiel", "residuals", "training_coverage"),
    "width_by_support",
)
LEFT = sorted(
    [
        *("catalogue.fits", "catalogue.parquet", "model.nc", "pairs.csv", "report.html"),
        *("scores.json", "scores.txt", "spec.toml"),
        *(f"{name}.png" for name in PICTURES),
    ]
)


@pytest.mark.slow
def test_the_demo_leaves_everything_and_it_agrees(tmp_path):
    folder = tmp_path / "demo"
    method = bt.Ensemble(members=8, warm_steps=200)
    found = demo(folder, n_common=300, n_catalogue=400, method=method, seed=3, progress=False)
    assert sorted(p.name for p in folder.iterdir()) == LEFT
    for name in PICTURES:
        assert (folder / f"{name}.png").read_bytes()[:4] == b"\x89PNG"

    # The files are enough to come to the same scores again.
    pair = bt.simulate(300, 400, seed=3)
    spec = bt.Spec.from_toml(folder / "spec.toml")
    pairs = bt.read_pairs(folder / "pairs.csv", spec)
    np.testing.assert_array_equal(pairs.x, pair.pairs.x)
    posterior = bt.load(folder / "model.nc")
    train, test = pairs.split(0.2, seed=3)
    assert posterior.record["stars"] == len(train) == 240
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert scores == {"held_out": found.held_out, "against_truth": found.against_truth}
    evaluation = bt.evaluate(posterior, test)
    assert scores["held_out"] == evaluation.to_dict()
    text = (folder / "scores.txt").read_text(encoding="utf-8")
    assert str(evaluation) in text
    assert str(bt.diagnose(posterior)) in text
    assert describe(posterior.record["held_out_regions"], posterior.neighbours.thresholds) in text

    table, other = (read_table(folder / f"catalogue.{end}") for end in ("parquet", "fits"))
    assert table["star_id"].tolist() == pair.catalogue["star_id"].tolist()
    for name in table.colnames:
        np.testing.assert_array_equal(np.asarray(table[name]), np.asarray(other[name]))

    # By hand, for one output: [Fe/H] of all stars.
    truth = pair.catalogue_truth["y"][:, 2]
    (row,) = [r for r in found.against_truth if (r["output"], r["class"]) == ("fe_h", "all")]
    before, after = pair.catalogue["fe_h_a"] - truth, table["fe_h_mean"] - truth
    assert row["n"] == 400
    assert row["rmse_before"] == pytest.approx(np.sqrt(np.mean(before**2)), rel=1e-9)
    assert row["rmse_after"] == pytest.approx(np.sqrt(np.mean(after**2)), rel=1e-9)
    assert row["bias"] == pytest.approx(np.median(after), rel=1e-9)
    inside = np.mean((table["fe_h_p16"] <= truth) & (truth <= table["fe_h_p84"]))
    assert row["coverage_68"] == pytest.approx(inside, abs=1e-12)
    assert f"{row['rmse_before']:13.4g}{row['rmse_after']:9.4g}" in text


def test_a_second_demo_is_refused(tmp_path):
    (tmp_path / "model.nc").write_text("an earlier one")
    with pytest.raises(FileExistsError, match="holds a demo already; pass overwrite"):
        demo(tmp_path, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["model.nc"]
    assert (tmp_path / "model.nc").read_text() == "an earlier one"


def test_against_truth_of_four_stars():
    spec = bt.Spec(
        "four",
        (bt.Input("logg", "logg_a"), bt.Input("teff", "teff_a", unit="K")),
        (bt.Output("teff", "teff_b", unit="K", corrects="teff"),),
    )
    truth = np.array([[5000.0], [5100.0], [5200.0], [5300.0]])
    stars = Table({"logg_a": [1.0, 2, 3, 4], "teff_a": [5030.0, 5140.0, 5200.0, 5200.0]})
    result = Table(
        {
            "teff_mean": [5010.0, 5100.0, 5190.0, 5340.0],
            "teff_p16": [4990.0, 5100.0, 5150.0, 5310.0],
            "teff_p84": [5020.0, 5120.0, 5180.0, 5360.0],
            "support_class": ["dense", "dense", "dense", "outside"],
        }
    )
    everything, dense, outside = against_truth(result, stars, truth, spec)
    assert [r["class"] for r in (everything, dense, outside)] == ["all", "dense", "outside"]
    assert everything == {
        "output": "teff",
        "class": "all",
        "n": 4,
        "rmse_before": pytest.approx(np.sqrt((30**2 + 40**2 + 0 + 100**2) / 4)),
        "rmse_after": pytest.approx(np.sqrt((10**2 + 0 + 10**2 + 40**2) / 4)),
        "bias": 5.0,
        "coverage_68": 0.5,
    }
    assert dense["n"] == 3
    assert dense["rmse_before"] == pytest.approx(50 / np.sqrt(3))
    assert dense["coverage_68"] == pytest.approx(2 / 3)
    assert (outside["n"], outside["bias"], outside["coverage_68"]) == (1, 40.0, 0.0)


def test_the_command_hands_its_options_on(tmp_path, monkeypatch):
    asked = {}

    def instead(folder, **settings):
        asked.update(settings)
        (tmp_path / "scores.txt").write_text("fine")
        return Demo(tmp_path, {}, [])

    monkeypatch.setattr(cli_fit, "demo", instead)
    out = ["demo", "--out", str(tmp_path)]
    assert main([*out, "--stars", "400", "--steps", "500", "--quiet"]) == 0
    assert asked["n_common"] == 400
    assert asked["method"] == bt.MCLMC(steps=500)
    assert main(out) == 0
    assert asked["n_common"] == inspect.signature(demo).parameters["n_common"].default
    assert asked["method"] is None  # the demo's own: a time budget
