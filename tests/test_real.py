"""Real stars: the figures that the README and the docs quote, held by tests."""

from __future__ import annotations

import importlib
import json
import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import scoringrules
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

import bayestrans as bt
from bayestrans.cli import main
from bayestrans.merge import learned_factor

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
BENCHMARKS = EXAMPLES.parent / "benchmarks"

#: 5 for the figures in the docs.
K2_FOLDS = int(os.environ.get("BAYESTRANS_K2_FOLDS", "1"))
#: 2000 for the figures in the docs.
VELOCITY_STEPS = int(os.environ.get("BAYESTRANS_VELOCITY_STEPS", "1000"))
#: "one" for Gaia's errors as quoted: its figures are printed, and fail.
VELOCITY_FACTOR = os.environ.get("BAYESTRANS_VELOCITY_FACTOR", "below one")
#: 4000 for the figures in the docs.
SEISMIC_STEPS = os.environ.get("BAYESTRANS_SEISMIC_STEPS", "1000")

pytestmark = [pytest.mark.slow, pytest.mark.realdata]


def gaussian_process(train: bt.Pairs, test: bt.Pairs, scaler) -> tuple[float, np.ndarray]:
    """Return NLL and CRPS (per output), scaled, of one Gaussian process per output."""
    inputs = tuple(range(train.x.shape[1]))
    z, at = (scaler.features(p.x, p.x_err, inputs) for p in (train, test))
    delta, held = (scaler.delta(p.x, p.y) for p in (train, test))
    nll, crps = 0.0, []
    for k in range(delta.shape[1]):
        kernel = kernels.ConstantKernel(1.0, (1e-3, 1e3)) * kernels.RBF(
            np.full(z.shape[1], 2.0), (1e-1, 1e5)
        ) + kernels.WhiteKernel(0.5, (1e-3, 1e1))
        model = GaussianProcessRegressor(kernel, normalize_y=True).fit(z, delta[:, k])
        mean, sd = model.predict(at, return_std=True)
        nll -= stats.norm(mean, sd).logpdf(held[:, k]).mean()
        crps.append(scoringrules.crps_normal(held[:, k], mean, sd).mean())
    return nll, np.array(crps)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_k2_giants_in_folds_beat_linear_and_gaussian_process(real_data):
    """NLL and CRPS with each output in units of its input's sd, in folds of five by star."""
    spec = bt.Spec.from_toml(EXAMPLES / "galah_dr3_to_apogee_dr17_k2.toml")
    pairs = bt.read_pairs(real_data / "galah_dr3_apogee_dr17_k2.csv", spec)
    rows = {
        name: [] for name in ("nll", "crps", "cover", "lin_nll", "lin_crps", "gp_nll", "gp_crps")
    }
    for fold, (train, test) in enumerate(islice(pairs.folds(5, seed=0), K2_FOLDS)):
        post = bt.fit(train, method=bt.MCLMC(steps=3000), seed=fold, progress=False)
        found = bt.evaluate(post, test)
        sd = train.x.std(axis=0)[list(spec.corrects)]
        shift = np.log(post.scaler.delta_scale / sd).sum()
        linear = found.baselines["linear"]
        rows["nll"].append(found.overall.nll + shift)
        rows["lin_nll"].append(linear.nll + shift)
        for name, score in (("crps", found.overall), ("lin_crps", linear)):
            rows[name].append([o.crps for o in score.outputs.values()] / sd)
        rows["cover"].append([o.coverage["0.68"] for o in found.overall.outputs.values()])
        gp_nll, gp_crps = gaussian_process(train, test, post.scaler)
        rows["gp_nll"].append(gp_nll + shift)
        rows["gp_crps"].append(gp_crps * post.scaler.delta_scale / sd)
    mean = {name: np.mean(values, axis=0) for name, values in rows.items()}
    print("\n" + "\n".join(f"{name:9s}{np.round(value, 4)}" for name, value in mean.items()))
    all_stars = K2_FOLDS == 5
    assert mean["nll"] <= (0.33 if all_stars else 0.4)
    assert mean["nll"] < min(mean["lin_nll"], mean["gp_nll"])
    assert (mean["crps"] <= 1.02 * np.minimum(mean["lin_crps"], mean["gp_crps"])).all()
    chance = 0.0 if all_stars else 0.05  # of 116 stars
    assert ((mean["cover"] >= 0.64 - chance) & (mean["cover"] <= 0.73 + chance)).all()


def run_through_command_line(folder, table, name, capsys, *options) -> tuple[dict, bt.Posterior]:
    """Hold out a fifth, fit and evaluate by command, and return the score sheet and the model."""
    spec = EXAMPLES / f"{name}.toml"
    pairs = bt.read_pairs(table, bt.Spec.from_toml(spec))
    _, test = pairs.split(0.2, seed=1)
    model = folder / "model.nc"
    command = ["fit", str(table), "--spec", str(spec), "--out", str(model), "--hold-out", "0.2"]
    assert main([*command, "--quiet", "--seed", "1", *options]) == 0
    capsys.readouterr()
    post = bt.load(model)
    return json.loads(bt.evaluate(post, test).to_json()), post


def test_seismic_logg(real_data, tmp_path, capsys):
    table = real_data / "apogee_dr17_seismic_logg.csv"
    options = ("--steps", SEISMIC_STEPS, "--no-calibration")
    sheet, post = run_through_command_line(
        tmp_path, table, "apogee_dr17_to_seismic_logg", capsys, *options
    )
    diagnosis = bt.diagnose(post)
    scale = np.log(post.scaler.delta_scale[0] / post.scaler.x_scale[0])
    score, linear = sheet["outputs"]["logg"], sheet["baselines"]["linear"]
    print(
        f"\nNLL {sheet['nll'] + scale:.4f}, linear {linear['nll'] + scale:.4f}\n"
        f"{score}\nlinear: {linear['outputs']['logg']}\n{diagnosis}"
    )
    assert sheet["nll"] + scale <= -0.48
    assert score["rmse"] <= 0.083
    found = diagnosis.blocks["intrinsic"]
    assert found.mode_share["90"] < 0.05
    # R-hat is about 1.2 after the steps of the default.
    assert int(SEISMIC_STEPS) < 16_000 or found.rhat["90"] < 1.1


def test_velocity_in_five_folds(real_data):
    """Robust scatter before and after; coverage at 68 and 95 %.

    Gaia's errors, which outweigh all else, are quoted too large: what is learned of them serves.
    """
    spec = bt.Spec.from_toml(EXAMPLES / "galah_dr3_to_gaia_dr2_rv.toml")
    pairs = bt.read_pairs(real_data / "galah_dr3_gaia_dr2_rv.csv", spec)
    names = ("cover", "after", "before", "crps", "identity", "factor")
    rows: dict[str, list] = {name: [] for name in names}
    for fold, (train, test) in enumerate(pairs.folds(5, seed=0)):
        method = bt.MCLMC(steps=VELOCITY_STEPS)
        noise = bt.Noise(error_factor=VELOCITY_FACTOR)
        post = bt.fit(train, method=method, noise=noise, seed=fold, calibrate=False, progress=False)
        found = bt.evaluate(post, test)
        score = found.overall.outputs["rv"]
        rows["cover"].append([score.coverage["0.68"], score.coverage["0.95"]])
        rows["crps"].append(score.crps)
        rows["factor"].append((learned_factor(post, "rv") or (1.0,))[0])
        rows["identity"].append(found.baselines["identity"].outputs["rv"].crps)
        rows["after"].extend(test.y[:, 0] - post.predict(test, kind="mean").mean(axis=0)[:, 0])
        rows["before"].extend(test.y[:, 0] - test.x[:, -1])
    mean = {name: np.mean(values, axis=0) for name, values in rows.items()}
    for name in ("before", "after"):
        mean[name] = stats.median_abs_deviation(rows[name], scale="normal")
    print("\n" + "\n".join(f"{name:13s}{np.round(v, 4)}" for name, v in mean.items()))
    # The core of the velocities is Gaia's noise, which nothing narrows: the same, but for one per
    # cent by which these short chains differ from one run to the next.
    assert mean["after"] <= 1.02 * mean["before"]
    assert mean["crps"] < 0.9 * mean["identity"]
    assert np.abs(mean["cover"] - [0.68, 0.95]).max() <= 0.03


def test_one_fit_to_stars_with_gaps_serves_everyone_better(real_data, monkeypatch, capsys):
    """Than fits to the stars, or to the columns, without them; by a fit that takes little time."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    gaps = importlib.import_module("gaps")

    def fitted(pairs: bt.Pairs, _: int, seed: int = 0) -> bt.Posterior:
        how = {"method": bt.Ensemble(members=4, warm_steps=500), "network": bt.Network((16,))}
        return bt.fit(pairs, **how, calibrate=False, seed=seed, progress=False)

    monkeypatch.setattr(gaps, "fitted", fitted)
    gaps.galah_tables(real_data / "galah_apogee.csv", folds=1, steps=0)
    told = capsys.readouterr().out.split("Worse than ours")[1]
    print(told)
    rows = [row.split("|")[1:] for row in told.splitlines() if row.startswith("| everyone")]
    assert len(rows) == 3
    # The mean (low to high) of the difference; the density of a few modes says nothing.
    for name, _, energy, *_ in rows:
        assert float(energy.split("(")[1].split(" to ")[0]) > 0, name
