"""The benchmark's methods and scores, against closed forms and stars of known truth."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import scoringrules
from scipy import stats

import bayestrans as bt
from bayestrans.scale import Scaler

#: More than the scatter of either output.
SHIFT = np.array([30.0, 0.15])

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
DOCS = BENCHMARKS.parent / "docs"


@pytest.fixture(scope="module", autouse=True)
def _path():
    """The scripts import each other by name."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def correlated_pairs(count: int, seed: int) -> tuple[bt.Pairs, np.ndarray, np.ndarray]:
    """Return stars with a linear law, correlated Gaussian scatter, and that law's mean and cov."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, 2)) * [100.0, 0.5] + [5000.0, 3.0]
    cov = np.array([[400.0, 0.6 * 20 * 0.1], [0.6 * 20 * 0.1, 0.01]])
    mean = x + [30.0, 0.2] + (x - [5000.0, 3.0]) @ np.array([[0.2, 0.0], [10.0, -0.1]])
    y = mean + rng.multivariate_normal([0, 0], cov, size=count)
    inputs = (bt.Input("teff", "teff", unit="K"), bt.Input("logg", "logg"))
    outputs = (
        bt.Output("teff", "t", unit="K", corrects="teff"),
        bt.Output("logg", "g", corrects="logg"),
    )
    nothing = np.full(x.shape, np.nan)
    pairs = bt.Pairs(bt.Spec("ab", inputs, outputs), x, nothing, y, nothing, np.arange(count))
    return pairs, mean, cov


@pytest.fixture(scope="module")
def truth():
    """Return training and held-out stars, with a prediction that is their own law."""
    from _rivals import Prediction

    train, *_ = correlated_pairs(600, 1)
    test, mean, cov = correlated_pairs(500, 2)
    rng = np.random.default_rng(3)
    draws = mean + rng.multivariate_normal([0, 0], cov, size=(200, len(test)))
    density = stats.multivariate_normal([0, 0], cov).logpdf(test.y - mean)
    return train, test, Prediction(draws, mean, log_density=density), cov


def test_scores_of_the_true_law_are_its_own(truth):
    from _scores import score, sheet

    train, test, prediction, cov = truth
    found = sheet(score(prediction, train, test), ("teff", "logg"))
    scale = Scaler.learn(train).delta_scale
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * cov)[1] - np.log(scale).sum()
    assert found["nll"] == pytest.approx(entropy, abs=0.1)
    for k, output in enumerate(found["outputs"].values()):
        sd = np.sqrt(cov[k, k])
        assert output["crps"] == pytest.approx(sd / np.sqrt(np.pi), rel=0.05)
        assert output["rmse"] == pytest.approx(sd, rel=0.07)
        assert output["robust_sigma"] == pytest.approx(sd, rel=0.1)
        assert output["bias"] == pytest.approx(0, abs=0.1 * sd)
        assert [output["coverage"][v] for v in ("0.50", "0.68", "0.90", "0.95")] == pytest.approx(
            [0.5, 0.68, 0.9, 0.95], abs=0.045
        )


def test_energy_is_the_crps_of_a_single_output(truth):
    from _scores import score

    train, test, prediction, _ = truth
    one = bt.Spec("one", train.spec.inputs, train.spec.outputs[:1])
    short = [bt.Pairs(one, p.x, p.x_err, p.y[:, :1], p.y_err[:, :1], p.ids) for p in (train, test)]
    alone = prediction._replace(draws=prediction.draws[..., :1], mean=prediction.mean[:, :1])
    found = score(alone, *short)
    scale = Scaler.learn(short[0]).delta_scale[0]
    assert found.energy.mean() == pytest.approx(found.crps.mean() / scale, rel=0.02)


def test_narrow_wide_and_shifted_laws_are_told_apart(truth):
    from _scores import differences, off_by, score, sheet

    train, test, good, _ = truth
    best, names = score(good, train, test), ("teff", "logg")
    cases = {
        "narrow": good.mean + 0.4 * (good.draws - good.mean),
        "wide": good.mean + 2.5 * (good.draws - good.mean),
        "shifted": good.draws + SHIFT,
    }
    for draws in cases.values():
        bad = score(good._replace(draws=draws), train, test)
        assert off_by(sheet(bad, names)) > 2 * off_by(sheet(best, names))
        apart = differences(best, bad, names)
        assert min(apart[key]["low"] for key in ("energy", "crps teff", "crps logg")) > 0
        assert apart["nll"] == {"mean": 0, "low": 0, "high": 0}
    again = differences(best, best, names)
    assert all(v == 0 for difference in again.values() for v in difference.values())


def test_missing_values_do_not_count(truth):
    from _scores import score, sheet

    train, test, good, cov = truth
    y = test.y.copy()
    y[::2, 1] = np.nan
    gaps = bt.Pairs(test.spec, test.x, test.x_err, y, test.y_err, test.ids)
    alone = stats.norm(0, np.sqrt(cov[0, 0])).logpdf((y - good.mean)[:, 0])
    density = np.where(np.isnan(y[:, 1]), alone, good.log_density)
    found, whole = score(good._replace(log_density=density), train, gaps), score(good, train, test)
    np.testing.assert_allclose(found.nll[1::2], whole.nll[1::2])
    assert np.isnan(found.crps[::2, 1]).all()
    np.testing.assert_allclose(found.crps[1::2, 1], whole.crps[1::2, 1])
    np.testing.assert_allclose(found.crps[:, 0], whole.crps[:, 0])
    sums = sheet(found, ("teff", "logg"))
    assert np.isfinite([sums["nll"], sums["energy"], sums["outputs"]["logg"]["rmse"]]).all()


def test_polynomials_find_the_law_and_degree_0_the_offset(truth):
    from _polynomials import polynomial
    from _scores import score

    train, test, good, cov = truth
    best = score(good, train, test).nll.mean()
    linear, offset = (polynomial(train, test, 0, degree=degree) for degree in (1, 0))
    assert score(linear, train, test).nll.mean() == pytest.approx(best, abs=0.03)
    cubic = score(polynomial(train, test, 0, degree=3), train, test)
    assert cubic.nll.mean() == pytest.approx(best, abs=0.05)
    shift = np.broadcast_to((train.y - train.x).mean(axis=0), test.y.shape)
    np.testing.assert_allclose(offset.mean - test.x, shift, rtol=1e-4)
    residual = linear.draws - linear.mean
    np.testing.assert_allclose(residual[..., 0].std(), np.sqrt(cov[0, 0]), rtol=0.05)
    assert np.corrcoef(residual[..., 0].ravel(), residual[..., 1].ravel())[0, 1] == pytest.approx(
        0.6, abs=0.06
    )
    exact = scoringrules.crps_normal(test.y, linear.mean, np.sqrt(np.diag(cov)))
    np.testing.assert_allclose(score(linear, train, test).crps.mean(0), exact.mean(0), rtol=0.03)


def test_the_recipe_learns_and_its_own_errors_lack_the_scatter(truth, monkeypatch):
    import _spectrotranslator as recipe
    from _scores import score, sheet

    monkeypatch.setattr(recipe, "WIDTHS", (16, 32, 16))
    monkeypatch.setattr(recipe, "DROPPED_FROM", 32)
    monkeypatch.setattr(recipe, "MEMBERS", 4)
    monkeypatch.setitem(recipe.TRAININGS, "trained", recipe.Training(120, 64, 10))
    train, test, _, cov = truth
    found = recipe.spectrotranslator(train, test, 0, training="trained")
    sheets = {label: sheet(score(p, train, test), ("teff", "logg")) for label, p in found.items()}
    for outputs in (found["outputs"].values() for found in sheets.values()):
        assert (np.array([o["rmse"] for o in outputs]) < 1.15 * np.sqrt(np.diag(cov))).all()
    own, whole = (sheets[label]["outputs"]["teff"]["coverage"]["0.68"] for label in found)
    assert own < 0.4 < 0.6 < whole < 0.78


@pytest.mark.parametrize("name", ["catboost", "ngboost"])
@pytest.mark.filterwarnings("ignore")  # of libraries that are no dependency
def test_trees_learn_mean_and_scatter(name, truth, monkeypatch):
    pytest.importorskip(name, reason=f"{name} comes with the extra `bench`")
    import _trees
    from _scores import score, sheet

    monkeypatch.setattr(_trees, "TREES", 300)
    train, test, _, cov = truth
    found = sheet(score(getattr(_trees, name)(train, test, 0), train, test), ("teff", "logg"))
    for k, output in enumerate(found["outputs"].values()):
        assert output["rmse"] < 1.4 * np.sqrt(cov[k, k])
        assert output["coverage"]["0.68"] == pytest.approx(0.68, abs=0.12)


def test_tables_mark_ties_and_what_is_better(truth, tmp_path):
    import _tables
    from _scores import score

    train, test, good, _ = truth
    bad = good._replace(draws=good.draws + SHIFT, log_density=good.log_density - 1)
    near = good._replace(draws=good.draws[::-1])
    files = {}
    for method, prediction in {"ours": good, "bad": bad, "near": near}.items():
        files[method] = tmp_path / f"{method}.npz"
        parts = [score(prediction, train, test)] * 2
        arrays = {
            f"{method}|{i}|{field}": values
            for i, part in enumerate(parts)
            for field, values in part._asdict().items()
        }
        slow = 4.0 if method == "bad" else 2.0
        spent = {"cpu": slow + 1.0, "wall": slow + 0.5, "predict_cpu": 1.0, "predict_wall": 0.5}
        spent |= {"fit_MiB": 100.0, "predict_MiB": 40.0, "effective": 500.0}
        costs = [{**spent, "region": False}, {**dict.fromkeys(spent, 9.0), "region": True}]
        np.savez(files[method], notes=json.dumps({"costs": costs}), **arrays)
    results = {"pair": _tables.collect(files, ("teff", "logg"), "ours")}
    kept = json.dumps(_tables.plain(results), allow_nan=False)
    against = results["pair"]["groups"]["random"]["bad"]["against_ours"]
    assert against["nll"]["mean"] == pytest.approx(1)
    assert against["energy"]["low"] > 0
    assert results["pair"]["groups"]["sparse"]["ours"]["n"] == len(test) // 5
    text = _tables.page(results, "ours")
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if "|" in line}
    assert "≈" not in rows["bad"]
    assert "≈" in next(line for line in text.splitlines() if line.startswith("| near"))
    # Of the rivals the best in each score stands at the head of the page.
    head = text.split("## pair")[0]
    own = results["pair"]["groups"]["random"]["ours"]
    assert f"| pair | {len(test)} | {own['nll']:.3f} |" in head
    assert "≈ (near)" in head
    assert "(bad)" not in head
    turned = _tables.page({"pair": _tables.collect(files, ("teff", "logg"), "bad")}, "bad")
    assert "✗ (near)" in turned.split("## pair")[0]
    assert "✗" in next(line for line in turned.splitlines() if line.startswith("| ours"))
    details = _tables.more(results, "ours")
    assert "worse than ours by" in details
    assert "| ours | 2 | 2 | 1 | 0.5 | 500 | 250 |" in details
    against = results["pair"]["groups"]["random"]["bad"]["against_ours"]["nll"]
    assert f"| bad | 1.000 ({against['low']:.3f} to {against['high']:.3f}) |" in details
    first = results["pair"]["groups"]["random"]["ours"]["outputs"]["teff"]
    residuals = " | ".join(f"{first[k]:.3g}" for k in ("rmse", "robust_sigma", "bias"))
    assert f"| ours | {residuals} |" in details
    assert "| ours | 1.5 | 1 | 1 | 0.5 | 0.25 | 100 | 40 | 1 |" in text
    assert "| bad | 2.5 | 2 | 2 | 0.5 | 0.25 | 100 | 40 | 0.5 |" in text
    assert _tables.page(_tables.with_nan(json.loads(kept)), "ours") == text


def test_costs_of_earlier_runs_are_those_of_the_whole():
    import _tables

    costs = {"ours": {"cpu": 2.0, "wall": 1.0, "peak_MiB": 100.0}, "bad": {"cpu": 5.0}}
    lines = _tables._costs(costs, "ours")
    assert lines[2] == "| ours | 1 | - | - | - | - | 100 | - | - |"
    assert lines[3].startswith("| bad | 2.5 | -")


def test_what_a_prediction_takes_is_not_the_fits():
    import _cost

    _cost.begin()
    kept = np.ones(20_000_000)  # 150 MiB
    begun = _cost.cpu_seconds()
    del kept
    with _cost.predicting():
        while _cost.cpu_seconds() - begun < 0.3:
            np.sort(np.arange(1000.0))
    with _cost.predicting():
        pass
    _cost.LATER.append(lambda: {"effective": 7.0})
    told = _cost.told()
    assert 0.2 < told["predict_cpu"] < 0.6
    assert told["effective"] == 7.0
    assert "effective" not in _cost.SPENT
    if np.isfinite(told["fit_MiB"]):  # Linux
        assert told["predict_MiB"] < told["fit_MiB"] - 100
    _cost.begin()
    assert _cost.told()["predict_cpu"] == 0.0


def test_the_tables_in_the_docs_are_those_of_the_numbers_beside_them():
    import _tables
    from side_by_side import OURS

    kept = json.loads((DOCS / "side_by_side.json").read_text(encoding="utf-8"))
    tables = (DOCS / "side_by_side_tables.md").read_text(encoding="utf-8")
    assert _tables.page(_tables.with_nan(kept), OURS) == tables
    details = (DOCS / "side_by_side_more.md").read_text(encoding="utf-8")
    assert _tables.more(_tables.with_nan(kept), OURS) == details


def test_splits_keep_stars_apart_and_regions_whole():
    from _survey_pairs import random_splits, some, tails

    pairs = bt.simulate(300, 0, seed=0).pairs
    folds = list(random_splits(pairs))
    assert len(folds) == 5
    for split in folds:
        assert not set(split.train.ids) & set(split.test.ids)
    assert sorted(i for f in folds for i in f.test.ids) == sorted(pairs.ids)
    column = pairs.spec.input_names.index("fe_h")
    low, high = tails(pairs, ("fe_h",))
    assert low.test.x[:, column].max() < low.train.x[:, column].min()
    assert high.test.x[:, column].min() > high.train.x[:, column].max()
    x = pairs.x.copy()
    x[::2, column] = 5.0  # each star twice, once far off
    twice = dataclasses.replace(pairs, x=x, ids=np.arange(300) // 2)
    for split in tails(twice, ("fe_h",)):
        assert not set(split.train.ids) & set(split.test.ids)
    assert len(some(pairs, 100)) == 100


def with_gaps(pairs: bt.Pairs, seed: int) -> bt.Pairs:
    """Return stars of which every third lacks its last input, every fourth its last output."""
    x, y = pairs.x.copy(), pairs.y.copy()
    x[seed::3, 1], y[seed::4, 1] = np.nan, np.nan
    return dataclasses.replace(pairs, x=x, y=y)


def test_gaps_are_filled_with_what_the_training_stars_expect():
    from _completed import completed

    train, *_ = correlated_pairs(600, 1)
    test, *_ = correlated_pairs(90, 2)
    found = completed(train, test)
    assert found[0] is train
    assert found[1] is test
    x = train.x.copy()
    x[:, 1] += (x[:, 0] - 5000.0) / 200.0
    gaps = with_gaps(dataclasses.replace(train, x=x), 0), with_gaps(test, 1)
    whole, at = completed(*gaps)
    lacking = np.arange(len(at)) % 3 == 1
    assert np.isfinite(at.x).all()
    assert at.spec.input_names[:2] == test.spec.input_names
    np.testing.assert_array_equal(at.x[~lacking, 1], test.x[~lacking, 1])
    np.testing.assert_allclose(
        at.x[lacking, 1], 3.0 + (at.x[lacking, 0] - 5000.0) / 200.0, atol=0.25
    )
    # A third input tells who they are, as the mixture found them to be a kind of their own.
    np.testing.assert_array_equal(at.x[:, 2] == at.x[1, 2], lacking)
    np.testing.assert_array_equal(whole.y, gaps[0].y)


@pytest.mark.parametrize("method", ["linear", "reference, trained", "deep ensemble"])
def test_an_output_that_some_stars_lack_is_learned_from_the_others(method, monkeypatch):
    """As well as if the stars without it were not there."""
    import _spectrotranslator as recipe
    from side_by_side import METHODS

    # Its million weights take a minute; the way of a gap through it is that of fewer.
    monkeypatch.setattr(recipe, "WIDTHS", (64, 128, 64))
    recipe._program.cache_clear()
    train, *_ = correlated_pairs(600, 1)
    test, mean, _ = correlated_pairs(200, 2)
    gone = with_gaps(train, 1)
    gone = dataclasses.replace(gone, x=train.x)
    answer = METHODS[method]()(gone, test, 0)
    found = answer[" + scatter"] if isinstance(answer, dict) else answer
    sd = np.array([20.0, 0.1])
    off = np.sqrt(np.mean((found.mean - mean) ** 2, axis=0)) / sd
    assert (off < (0.15 if method == "linear" else 0.5)).all()
    # Of a star with one output, the density of that one, in its unit.
    one = dataclasses.replace(test, y=test.y * [1.0, np.nan])
    alone = METHODS[method]()(gone, one, 0)
    alone = alone[" + scatter"] if isinstance(alone, dict) else alone
    entropy = 0.5 * np.log(2 * np.pi * np.e) + np.log(sd)
    assert -np.mean(alone.log_density) == pytest.approx(entropy[0], abs=0.3)
    assert -np.mean(found.log_density) == pytest.approx(entropy.sum() - 0.22, abs=0.5)
    np.testing.assert_allclose(found.draws.std(axis=0).mean(axis=0), sd, rtol=0.3)


def test_our_own_prediction_of_stars_with_gaps_is_whole(monkeypatch):
    import _ours

    quick = bt.Ensemble(members=3, warm_steps=100)
    monkeypatch.setitem(_ours.METHODS, "MCLMC", quick)
    monkeypatch.setattr(_ours, "DRAWS", 30)
    train, *_ = correlated_pairs(300, 1)
    test, *_ = correlated_pairs(40, 2)
    told = _ours.bayestrans(with_gaps(train, 0), with_gaps(test, 1), 0, method="MCLMC")
    assert set(told) == {"", ", errors of B not told", ", not calibrated"}
    for found in told.values():
        assert np.isfinite(found.mean).all()
        assert np.isfinite(found.draws).all()
        assert np.isfinite(found.log_density).all()


def test_errors_of_b_are_hidden_where_no_rival_knows_them(monkeypatch):
    """Then stars of all errors are predicted alike, and the clock stands still."""
    import _cost
    import _ours

    monkeypatch.setitem(_ours.METHODS, "MCLMC", bt.Ensemble(members=3, warm_steps=100))
    monkeypatch.setattr(_ours, "DRAWS", 150)
    train, *_ = correlated_pairs(300, 1)
    test, *_ = correlated_pairs(40, 2)
    err = np.where(np.arange(40)[:, None] % 2 == 0, 1.0, 20.0) * [10.0, 0.05]
    train = dataclasses.replace(train, y_err=np.broadcast_to([10.0, 0.05], train.y.shape))
    test = dataclasses.replace(test, y_err=err)
    _cost.begin()
    told, hidden, plain = _ours.bayestrans(train, test, 0, method="MCLMC").values()
    assert not np.array_equal(plain.draws, told.draws)
    assert _cost.ASIDE[0] > 0
    spreads = (found.draws.std(axis=0)[:, 0] for found in (told, hidden))
    wider, same = (np.median(each[1::2]) / np.median(each[::2]) for each in spreads)
    assert wider > 4.0
    assert same == pytest.approx(1.0, abs=0.3)


def test_effective_draws_are_those_of_several_chains(posterior, split):
    import _ours

    _, test = split
    assert 4 < _ours.effective(posterior, test) < 2 * posterior.n_draws
    one = [
        block._replace(draws={n: v[:1] for n, v in block.draws.items()})
        for block in posterior.blocks
    ]
    assert np.isnan(_ours.effective(dataclasses.replace(posterior, blocks=tuple(one)), test))
