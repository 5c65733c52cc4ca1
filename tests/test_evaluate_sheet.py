"""The score sheet: whom it counts, in what units, beside what, and what cannot be scored."""

from __future__ import annotations

import dataclasses
import json
import math
from importlib import import_module

import numpy as np
import pytest
from known_law import (
    CENTRE,
    CHAINS,
    CLASSES,
    CORR,
    DRAWS,
    SCALE,
    SCATTER,
    SPEC,
    X_CENTRE,
    X_SCALE,
    assert_coverage,
    crps_gaussian,
    crps_of_draws,
    exact,
    location,
    scaled_residual,
    stars,
)
from scipy import stats

import bayestrans as bt
from bayestrans.calibration import Calibration
from bayestrans.scores import Evaluation, Score


@pytest.fixture(autouse=True, scope="module")
def few_energy_draws():
    """Compare fewer pairs of draws: their number is no claim, and all of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("bayestrans.evaluate"), "ENERGY_DRAWS", 60)
        yield


@pytest.fixture(scope="module")
def train() -> bt.Pairs:
    return stars(400, seed=1)


@pytest.fixture(scope="module")
def test() -> bt.Pairs:
    return stars(600, seed=2)


@pytest.fixture(scope="module")
def model(train) -> bt.Posterior:
    return exact(train)


@pytest.fixture(scope="module")
def found(model, test) -> Evaluation:
    return bt.evaluate(model, test)


# ---- missing outputs, units -------------------------------------------------------------


def test_missing_outputs_leave_the_marginal(model, test):
    y = test.y.copy()
    y[::3, 0], y[1::3, 1], y[2::3, 2] = np.nan, np.nan, np.nan
    some = dataclasses.replace(test, y=y)
    found = bt.evaluate(model, some)
    residual = scaled_residual(some)
    cov = np.outer(SCATTER, SCATTER) * CORR
    density = np.empty(len(some))
    for missing in range(3):
        rest = [k for k in range(3) if k != missing]
        law = stats.multivariate_normal(np.zeros(2), cov[np.ix_(rest, rest)])
        density[missing::3] = law.logpdf(residual[missing::3][:, rest])
    assert found.overall.nll == pytest.approx(-density.mean(), abs=1e-4)
    np.testing.assert_array_equal(np.isnan(found.pit), np.isnan(y))
    score, away = found.overall.outputs["teff"], SCALE[0] * residual[:, 0]
    assert score.rmse == pytest.approx(np.sqrt(np.nanmean(away**2)), rel=1e-4)
    assert_coverage(score, int(np.isfinite(away).sum()))
    crps = crps_of_draws(away, SCALE[0] * SCATTER[0])
    assert score.crps == pytest.approx(crps, rel=0.015)
    assert np.isfinite(found.overall.energy_score)


def test_an_output_that_no_star_has_is_left_out(model, test):
    y = test.y.copy()
    y[:, 0] = np.nan
    found = bt.evaluate(model, dataclasses.replace(test, y=y))
    assert set(found.overall.outputs) == {"logg", "rv"}
    assert set(found.to_dict()["baselines"]["linear"]["outputs"]) == {"logg", "rv"}
    apart = stats.norm.logpdf(scaled_residual(test)[:, 1:], scale=SCATTER[1:]).sum(axis=1)
    assert found.overall.nll == pytest.approx(-apart.mean(), abs=1e-4)


def test_energy_score_of_one_output_is_its_crps(model, test, monkeypatch):
    monkeypatch.setattr(import_module("bayestrans.evaluate"), "ENERGY_DRAWS", CHAINS * DRAWS)
    y = test.y.copy()
    y[:, :2] = np.nan
    found = bt.evaluate(model, dataclasses.replace(test, y=y)).overall
    crps = crps_of_draws(scaled_residual(test)[:, 2], SCATTER[2])
    assert found.energy_score == pytest.approx(crps, rel=0.015)


def test_nll_is_in_units_of_the_robust_correction_scale(found, test):
    away = test.y - test.x - CENTRE - SCALE * location(test.x)
    sd = SCALE * SCATTER
    in_units = stats.multivariate_normal(np.zeros(3), np.outer(sd, sd) * CORR).logpdf(away)
    assert found.overall.nll == pytest.approx(-(in_units + np.log(SCALE).sum()).mean(), abs=1e-4)


def test_a_fitted_model_scores_in_the_scale_of_its_training_stars(posterior, split):
    train, _ = split
    delta = train.y - train.x[:, posterior.spec.corrects]
    robust = 1.4826 * np.median(np.abs(delta - np.median(delta, axis=0)), axis=0)
    np.testing.assert_allclose(posterior.scaler.delta_scale, robust, rtol=1e-4)


# ---- groups by support -----------------------------------------------------------------


def test_groups_are_the_classes_then_the_deciles(found, test):
    names = [name for name, _ in found.by_support]
    assert names == [*CLASSES, *(f"decile {d}" for d in range(1, 11))]
    sizes = np.array([score.n for _, score in found.by_support])
    assert sizes[:3].sum() == sizes[3:].sum() == len(test)
    np.testing.assert_allclose(sizes[3:], len(test) / 10, atol=1)
    assert (sizes[:3] > 0).all()


def test_a_group_is_scored_on_its_own_stars(model, found, test):
    score = model.neighbours.score(test.x)
    low, high = np.quantile(score, [0.9, 1.0])
    masks = [score < 1.5, (score >= 1.5) & (score < 2.5), score >= 2.5]
    classes = dict(zip(CLASSES, masks, strict=True))
    groups = dict(found.by_support)
    for name, rows in [*classes.items(), ("decile 10", (score >= low) & (score <= high))]:
        residual = scaled_residual(test.take(rows))
        law = stats.multivariate_normal(np.zeros(3), np.outer(SCATTER, SCATTER) * CORR)
        assert groups[name].n == rows.sum()
        assert groups[name].nll == pytest.approx(-law.logpdf(residual).mean(), abs=1e-4)
        rmse = SCALE[1] * np.sqrt(np.mean(residual[:, 1] ** 2))
        assert groups[name].outputs["logg"].rmse == pytest.approx(rmse, rel=1e-3)


def test_an_empty_class_has_no_scores(model, test):
    score = model.neighbours.score(test.x)
    inner = bt.evaluate(model, test.take(score < 1.0))
    groups = {group["class"]: group for group in inner.to_dict()["by_support"]}
    empty = {"n": 0, "nll": None, "energy_score": None, "joint_coverage": {}, "outputs": {}}
    assert groups["outside"] == {"class": "outside", **empty}
    assert groups["dense"]["n"] == inner.overall.n


# ---- baselines -------------------------------------------------------------------------


def correction(pairs: bt.Pairs) -> np.ndarray:
    return (pairs.y - pairs.x - CENTRE) / SCALE


def test_identity_is_the_training_offset_and_scatter(found, train, test):
    score, delta, past = found.baselines["identity"], correction(test), correction(train)
    law = stats.multivariate_normal(past.mean(axis=0), np.cov(past.T, bias=True))
    assert score.nll == pytest.approx(-law.logpdf(delta).mean(), abs=1e-3)
    for k, name in enumerate(SPEC.output_names):
        away = SCALE[k] * (delta[:, k] - past[:, k].mean())
        assert score.outputs[name].rmse == pytest.approx(np.sqrt(np.mean(away**2)), rel=1e-6)
        assert score.outputs[name].bias == pytest.approx(np.median(away), rel=1e-6)
        sd = SCALE[k] * past[:, k].std()
        assert score.outputs[name].crps == pytest.approx(crps_gaussian(away, sd).mean(), rel=1e-6)
        inside = np.mean(np.abs(away) <= stats.norm.ppf(0.84) * sd)
        assert score.outputs[name].coverage["0.68"] == pytest.approx(inside, abs=1e-9)


def test_linear_is_bayesian_regression_on_the_training_stars(found, train, test):
    score, past, n = found.baselines["linear"], correction(train), len(train)
    design, new = (
        np.column_stack([np.ones(len(p)), (p.x - X_CENTRE) / X_SCALE]) for p in (train, test)
    )
    inverse = np.linalg.inv(design.T @ design + np.eye(4))
    weights = inverse @ design.T @ past
    left = past - design @ weights
    scatter = left.T @ left + weights.T @ weights + 1e-3 * np.eye(3)
    dof = n + 3
    away = correction(test) - new @ weights
    stretch = 1 + np.einsum("nd,de,ne->n", new, inverse, new)
    density = [
        stats.multivariate_t(shape=s * scatter / dof, df=dof).logpdf(r)
        for s, r in zip(stretch, away, strict=True)
    ]
    assert score.nll == pytest.approx(-np.mean(density), abs=1e-3)
    for k, name in enumerate(SPEC.output_names):
        rmse = SCALE[k] * np.sqrt(np.mean(away[:, k] ** 2))
        assert score.outputs[name].rmse == pytest.approx(rmse, rel=1e-6)
    # The law is linear, so only the estimation of 16 numbers lies between them.
    assert 0 < score.nll - found.overall.nll < 0.1
    assert found.baselines["identity"].nll > score.nll + 0.5


# ---- the score sheet -------------------------------------------------------------------


def test_sheet_has_exactly_the_agreed_keys(found):
    sheet = found.to_dict()
    scores = ["n", "nll", "energy_score", "joint_coverage", "outputs"]
    assert list(sheet) == [*scores, "by_support", "baselines", "by_input"]
    assert list(sheet["baselines"]) == ["identity", "linear"]
    for group in sheet["by_support"]:
        assert list(group) == ["class", *scores]
    for part in (sheet, *sheet["baselines"].values(), *sheet["by_support"]):
        assert list(part["outputs"]) == ["teff", "logg", "rv"]
        assert list(part["joint_coverage"]) == ["0.50", "0.68", "0.90", "0.95"]
        for numbers in part["outputs"].values():
            assert list(numbers) == ["rmse", "mad_sigma", "bias", "crps", "coverage"]
            assert list(numbers["coverage"]) == ["0.50", "0.68", "0.90", "0.95"]
    assert sheet["outputs"]["teff"]["rmse"] == found.overall.outputs["teff"].rmse


def test_json_is_one_strict_object(found):
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    assert json.loads(found.to_json(), parse_constant=refuse) == found.to_dict()


def test_table_names_outputs_units_and_rows(found):
    text = str(found)
    lines = text.splitlines()
    for word in ("teff [K]", "rv [km/s]", "logg ", *CLASSES, "identity", "linear"):
        assert any(line.startswith(word) for line in lines), word
    model_line = next(line for line in lines if line.startswith("model"))
    overall = found.overall
    joint = [f"{100 * share:.1f}%" for share in overall.joint_coverage.values()]
    numbers = [str(overall.n), f"{overall.nll:.3f}", f"{overall.energy_score:.3f}"]
    assert model_line.split()[1:] == [*numbers, *joint]
    assert lines[0].split()[-8:] == ["in", "50%", "in", "68%", "in", "90%", "in", "95%"]
    assert {len(line) for line in lines[:-1] if line} == {len(model_line)}
    assert lines[-1].startswith("identity: A's value plus a constant")


def test_scoring_twice_gives_the_same_numbers(model, found, test):
    again = bt.evaluate(model, test)
    assert again.to_json() == found.to_json()
    assert isinstance(again.overall, Score)


# ---- what cannot be scored -------------------------------------------------------------


def test_empty_pairs_are_refused(model, test):
    with pytest.raises(ValueError, match="no pairs to score"):
        bt.evaluate(model, test.take(np.array([], dtype=int)))


def test_pairs_with_other_outputs_are_refused(model, test):
    spec = dataclasses.replace(SPEC, outputs=SPEC.outputs[:2])
    other = bt.Pairs(spec, test.x, test.x_err, test.y[:, :2], test.y_err[:, :2], test.ids)
    with pytest.raises(ValueError, match=r"where the model has .*rv"):
        bt.evaluate(model, other)


def test_pairs_with_inputs_in_another_order_are_refused(model, test):
    order = [1, 0, 2]
    spec = dataclasses.replace(SPEC, inputs=tuple(SPEC.inputs[j] for j in order))
    other = bt.Pairs(spec, test.x[:, order], test.x_err, test.y, test.y_err, test.ids)
    with pytest.raises(ValueError, match="logg"):
        bt.evaluate(model, other)


def test_pairs_in_another_unit_are_refused(model, test):
    unit = {"unit": "m/s"}
    spec = dataclasses.replace(
        SPEC,
        inputs=(*SPEC.inputs[:2], dataclasses.replace(SPEC.inputs[2], **unit)),
        outputs=(*SPEC.outputs[:2], dataclasses.replace(SPEC.outputs[2], **unit)),
    )
    with pytest.raises(ValueError, match="m/s"):
        bt.evaluate(model, dataclasses.replace(test, spec=spec))


def test_pairs_without_the_errors_that_the_model_needs_are_refused(posterior, split):
    _, test = split
    inputs = tuple(dataclasses.replace(item, error=None) for item in test.spec.inputs)
    bare = bt.Pairs(
        dataclasses.replace(test.spec, inputs=inputs),
        test.x,
        np.full(test.x.shape, np.nan),
        test.y,
        test.y_err,
        test.ids,
    )
    with pytest.raises(ValueError, match="error"):
        bt.evaluate(posterior, bare)


def test_scores_before_the_calibration_stand_beside_those_after_it(model, found, test):
    assert found.uncalibrated is None  # this model has no calibration
    nothing = np.zeros(3)
    wide = Calibration(np.full(3, math.log(2.0)), nothing, nothing)
    both = bt.evaluate(dataclasses.replace(model, calibration=wide), test)
    assert both.uncalibrated == found.overall
    assert both.overall.nll > found.overall.nll + 0.3
    assert both.to_dict()["uncalibrated"]["nll"] == found.overall.nll
    lines = [line.split() for line in str(both).splitlines()]
    assert [line[0] for line in lines[1:5]] == ["model", "uncalibrated", "identity", "linear"]
    assert lines[2][1:4] == next(x.split() for x in str(found).splitlines()[1:])[1:4]


@pytest.mark.parametrize("known", [0, 2, 7, 400])
def test_training_stars_are_told_from_others(model, train, test, known):
    rows = np.arange(known)
    x = np.concatenate([train.x[rows], test.x[known:]])
    mixed = dataclasses.replace(test, x=x)
    if known <= 6:  # a hundredth of 600: rounded inputs can do that
        assert bt.evaluate(model, mixed).fitted == 0
        return
    said = f"{known} of 600 stars have exactly the inputs of training stars"
    with pytest.warns(bt.TrainingStarsWarning, match=said) as told:
        found = bt.evaluate(model, mixed)
    assert found.fitted == found.to_dict()["fitted"] == known
    assert told[0].filename == __file__
