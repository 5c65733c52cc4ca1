"""The rivals of the metal-poor benchmark learn, and its scores say what they should."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scoringrules

import bayestrans as bt
from bayestrans.baseline import Baseline
from bayestrans.scale import Scaler

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

#: Scatter of the outputs below about a linear function of the inputs.
SCATTER = 0.1


def load(name: str) -> ModuleType:
    """Import a script by its path, under the name by which others there import it."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


load("_cost")
rivals = load("_rivals")
recipe = load("_spectrotranslator")
load("_scores")
load("_tables")
load("_workers")
metal_poor = load("metal_poor")

SMALL = {"members": 3, "width": 16, "epochs": 60, "batch": 64, "patience": 20, "rate": 1e-2}
FAST = {
    "deep_ensemble": {"plan": rivals.DEEP_ENSEMBLE._replace(**SMALL, decay=0.0)},
    "gaussian_process": {"kernel_stars": 40, "process_stars": 150},
}


def make_pairs(x, y, names=("teff", "logg", "rv")) -> bt.Pairs:
    """Return pairs without errors; a quantity named rv is extrinsic."""
    inputs = tuple(bt.Input(n, n, extrinsic=n == "rv") for n in names)
    outputs = tuple(bt.Output(n, n, corrects=n, extrinsic=n == "rv") for n in names)
    nothing = np.full(x.shape, np.nan)
    return bt.Pairs(bt.Spec("A to B", inputs, outputs), x, nothing, y, nothing, np.arange(len(x)))


@pytest.fixture(scope="module")
def linear() -> tuple[bt.Pairs, bt.Pairs]:
    """Return stars whose outputs are linear in the inputs, in units of tens and about 100."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((700, 3))
    shift = z @ np.array([[0.3, 0.2, 0.5], [-0.4, 0.5, 0.0], [0.0, 0.0, 0.4]]) + 0.5
    noise = SCATTER * rng.standard_normal(z.shape)
    pairs = make_pairs(100 + 10 * z, 100 + 10 * (z + shift + noise))
    return pairs.take(np.arange(500)), pairs.take(np.arange(500, 700))


@pytest.fixture(scope="module")
def found(linear) -> dict[str, list]:
    """Return what each rival predicts with seeds 0, 0 and 1."""
    return {
        name: [getattr(rivals, name)(*linear, s, draws=200, **options) for s in (0, 0, 1)]
        for name, options in FAST.items()
    }


@pytest.mark.parametrize("name", FAST)
def test_draws_are_finite_and_the_same_for_a_seed(name, found, linear):
    first, again, other = found[name]
    assert first.draws.shape == (200, *linear[1].y.shape)
    assert first.mean.shape == linear[1].y.shape
    assert np.isfinite(first.draws).all()
    np.testing.assert_array_equal(first.draws, again.draws)
    np.testing.assert_array_equal(first.mean, again.mean)
    assert not np.array_equal(first.draws, other.draws)


@pytest.mark.parametrize("name", FAST)
def test_linear_correction_is_learned(name, found, linear):
    test = linear[1]
    rmse = np.sqrt(np.mean((test.y - found[name][0].mean) ** 2, axis=0))
    assert (rmse < 0.3 * (test.y - test.x).std(axis=0)).all()


@pytest.mark.parametrize("name", ["deep_ensemble", "gaussian_process"])
def test_scatter_is_learned(name, found, linear):
    draws = found[name][0].draws
    assert np.median(draws.std(axis=0), axis=0) == pytest.approx(10 * SCATTER, rel=0.35)
    result = metal_poor.score(found[name][0], linear[1], 0.0)
    for scores in result.outputs.values():
        assert scores["90"] == pytest.approx(0.9, abs=0.08)


def test_mean_is_that_of_the_draws(found):
    for first, *_ in found.values():
        error = first.draws.std(axis=0) / np.sqrt(len(first.draws))
        assert np.abs((first.draws.mean(axis=0) - first.mean) / error).max() < 6


@pytest.mark.parametrize("name", FAST)
def test_missing_outputs_do_not_count(name, linear):
    train, test = linear
    y = train.y.copy()
    y[::3, 0] = np.nan
    predicted = getattr(rivals, name)(make_pairs(train.x, y), test, 0, draws=4, **FAST[name])
    rmse = np.sqrt(np.mean((test.y - predicted.mean) ** 2, axis=0))
    assert (rmse < 0.4 * (test.y - test.x).std(axis=0)).all()


def test_flag_on_a_diagonal_of_cells():
    """Training stars fill the 30 cells of one plane's diagonal, and two cells of the other."""
    along = np.linspace(0.0, 30.0, 31)
    other = np.repeat([0.0, 30.0], [15, 16])
    train_x = np.column_stack([along, along, other, other])
    train = make_pairs(train_x, train_x + 1, ("teff", "logg", "fe_h", "mg_fe"))
    stars = {
        (0.5, 0.5, 0.0, 0.0): True,
        (30.0, 30.0, 30.0, 30.0): True,  # the upper edges belong to the last cells
        (0.5, 1.5, 0.0, 0.0): False,  # an empty cell
        (0.5, 0.5, 0.0, 30.0): False,  # an empty cell of the other plane
        (15.5, 15.5, 15.0, 15.0): False,
        (30.1, 29.5, 0.0, 0.0): False,  # beyond the range
        (-0.1, 0.5, 0.0, 0.0): False,
    }
    flags = recipe.populated(train, np.array(list(stars)))
    assert flags.tolist() == list(stars.values())


def test_flag_needs_both_inputs_of_a_plane(linear):
    train = make_pairs(linear[0].x, linear[0].y, ("teff", "fe_h", "rv"))
    assert recipe.populated(train, 1e6 + linear[1].x).all()


def test_reference_alone_has_a_flag(found, linear, monkeypatch):
    assert {predictions[0].trusted for predictions in found.values()} == {None}
    monkeypatch.setitem(recipe.TRAININGS, "trained", recipe.Training(1, 256, 1))
    monkeypatch.setattr(recipe, "WIDTHS", (16, 16))
    monkeypatch.setattr(recipe, "MEMBERS", 4)
    recipe._program.cache_clear()
    train, test = linear
    given = metal_poor.RIVALS["reference"](train, test, 0)
    assert set(given) == {"", " + scatter"}
    for each in given.values():
        np.testing.assert_array_equal(each.trusted, recipe.populated(train, test.x))


def test_scores_of_a_known_gaussian():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 2))
    y = 3 + x + 0.5 * rng.standard_normal(x.shape)
    mean = 2.9 + x
    prediction = rivals.Prediction(mean + 0.5 * rng.standard_normal((1000, *x.shape)), mean)
    result = metal_poor.score(prediction, make_pairs(x, y, ("teff", "logg")), 1.0)
    exact = scoringrules.crps_normal(y, mean, 0.5).mean(axis=0)
    for scores, crps in zip(result.outputs.values(), exact, strict=True):
        assert scores["n"] == len(x)
        assert scores["bias"] == pytest.approx(0.1, abs=0.03)
        assert scores["rmse"] == pytest.approx(np.hypot(0.5, 0.1), rel=0.04)
        assert scores["crps"] == pytest.approx(crps, rel=0.01)
        # A shift of a fifth of a sigma costs at most 1.5 points of coverage.
        assert [scores[v] for v in ("68", "90", "95")] == pytest.approx([0.68, 0.9, 0.95], abs=0.03)


def test_baseline_draws_have_the_score_of_the_closed_form(linear):
    train, test = linear
    scaler = Scaler.learn(train)
    baseline = Baseline.learn(train, scaler)
    delta = scaler.delta(test.x, test.y)
    law = baseline.linear(test.x, scaler)
    exact = scoringrules.crps_t(delta, law.dof, law.location, law.scale).mean(axis=0)
    drawn = metal_poor.sample_baseline(law, scaler, test.x, seed=0)
    scores = metal_poor.score(drawn, test, 0.0).outputs.values()
    assert [s["crps"] for s in scores] == pytest.approx(exact * scaler.delta_scale, rel=0.02)


def test_test_stars_are_metal_poor_and_new():
    train, test = metal_poor.survey_pair(1000, seed=0)
    assert len(train) == 800
    assert len(test) >= 500
    assert metal_poor.metal_poor(test).all()
    assert not np.isin(test.x[:, 0], train.x[:, 0]).any()


@pytest.mark.slow
def test_benchmark_prints_tables_and_writes_numbers(monkeypatch, tmp_path, capsys):
    """All of it, with rivals that say what A says."""

    def plain(train, test, seed):
        base = test.x[:, list(test.spec.corrects)]
        noise = np.random.default_rng(seed).standard_normal((50, *base.shape))
        one = rivals.Prediction(base + train.y_err.mean(axis=0) * noise, base, base[:, 0] > 5000)
        return {"": one, ", again": one}

    monkeypatch.setattr(metal_poor, "RIVALS", {"plain": plain})
    monkeypatch.setattr(metal_poor, "TEST_STARS", 1500)
    fit = bt.fit
    fast = bt.Ensemble(members=2, warm_steps=20)
    options = {"method": fast, "network": bt.Network((4,)), "calibrate": False}
    monkeypatch.setattr(bt, "fit", lambda p, **given: fit(p, **{**given, **options}))
    written = tmp_path / "scores.json"
    metal_poor.main(["--seeds", "1", "--stars", "400", "--json", str(written)])
    out = capsys.readouterr().out
    assert "| plain |" in out
    sheet = json.loads(written.read_text())
    assert sheet["summary"]["identity"]["crps"] == 1.0
    assert sheet["scores"]["bayestrans"] == sheet["scores"]["uncalibrated"]
    assert sheet["summary"]["identity"]["seconds"] is None
    shares = {(g["method"], g["group"]): g["share"] for g in sheet["groups"]}
    assert shares["plain", "trusted"] + shares["plain", "not trusted"] == pytest.approx(1)
    assert set(sheet["scores"]) == {
        "bayestrans",
        "uncalibrated",
        "plain",
        "plain, again",
        "linear",
        "identity",
    }


def test_batches_leave_out_no_star_and_what_fills_them_up_is_not_learned():
    found = np.asarray(rivals.batches(np.arange(10), 4))
    assert found.shape == (3, 4)
    assert sorted(found.ravel()) == [-1, -1, *range(10)]
    assert rivals.batches(np.arange(3), 4).shape == (1, 3)
    data = np.arange(20.0).reshape(10, 2), np.arange(10.0)[:, None]
    _, target = rivals.batch_of(data, found[-1])
    np.testing.assert_array_equal(target[:, 0], [8, 9, np.nan, np.nan])
    known = np.isfinite(target)
    assert rivals.mean_of_known(np.nan_to_num(target), known) == 8.5
    assert rivals.mean_of_known(np.ones(2), np.zeros(2, dtype=bool)) == 0.0


def test_every_learning_rate_has_its_chance():
    """While the loss falls, 20 passes and then 5 for each of the others; else as many less."""

    def passes(loss_at):
        zero = np.array(0)
        state = recipe._State(0.0, 0.0, None, 0.0, np.array(np.inf), zero, zero, zero)
        rates = []
        while state.rate < len(recipe.RATES):
            rates.append(int(state.rate))
            found = np.array(loss_at(len(rates)))
            state = recipe._judged(state, found, 0.0, None, found, recipe.TRAININGS["notebook"])
        assert len(rates) < 60
        return np.bincount(rates).tolist(), round(1.0 / float(state.best))

    assert passes(lambda n: 1.0 / n) == ([20, 5, 5], 30)
    assert passes(lambda n: float(n)) == ([6, 5, 5], 1)


def test_what_the_networks_spread_lacks_is_added():
    rng = np.random.default_rng(0)
    goal = rng.standard_normal((4000, 1))
    found = 0.5 * rng.standard_normal((10, 4000, 1))
    held = np.stack([rng.permutation(4000)[:800] for _ in range(10)])
    _, spread = recipe._trimmed(found)
    lacking = recipe.lacking(found, goal, held)
    unseen = np.bincount(held.ravel(), minlength=4000)
    both = np.mean(spread**2) + lacking[0] ** 2
    # The goals scatter about what all predict, and so do the means of those who did not see them.
    assert both == pytest.approx(1.0 + 0.25 * np.mean(1 / unseen[unseen > 0]), abs=0.07)
    assert recipe.lacking(np.stack([goal] * 10), goal, held)[0] < 0.01
