"""Scores of models whose predictive is known exactly, against closed forms."""

from __future__ import annotations

import dataclasses
import math
from importlib import import_module

import numpy as np
import pytest
from known_law import (
    CHAINS,
    CLASSES,
    CORR,
    DRAWS,
    PIT_ERROR,
    RHO,
    SCALE,
    SCATTER,
    SPEC,
    assert_coverage,
    crps_of_draws,
    edit,
    exact,
    scaled_residual,
    stars,
)
from scipy import special, stats

import bayestrans as bt
from bayestrans.calibration import doubting, in_fours
from bayestrans.scores import Evaluation


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


# ---- the law itself, too wide, too narrow -----------------------------------------------


def test_the_true_law_scores_its_closed_forms(found, test):
    residual = scaled_residual(test)
    law = stats.multivariate_normal(np.zeros(3), np.outer(SCATTER, SCATTER) * CORR)
    assert found.overall.n == len(test)
    assert found.overall.nll == pytest.approx(-law.logpdf(residual).mean(), abs=1e-4)
    np.testing.assert_allclose(found.pit, stats.norm.cdf(residual / SCATTER), atol=PIT_ERROR)
    for k, name in enumerate(SPEC.output_names):
        score, away = found.overall.outputs[name], SCALE[k] * residual[:, k]
        assert score.rmse == pytest.approx(np.sqrt(np.mean(away**2)), rel=1e-4)
        assert score.bias == pytest.approx(np.median(away), rel=1e-3, abs=1e-4 * SCALE[k])
        spread = 1.4826 * np.median(np.abs(away - np.median(away)))
        assert score.mad_sigma == pytest.approx(spread, rel=1e-3)
        crps = crps_of_draws(away, SCALE[k] * SCATTER[k])
        assert score.crps == pytest.approx(crps, rel=0.015)


def test_the_true_law_is_called_calibrated(found, test):
    for k, name in enumerate(SPEC.output_names):
        assert_coverage(found.overall.outputs[name], len(test))
        assert stats.kstest(found.pit[:, k], "uniform").pvalue > 0.01


@pytest.mark.parametrize("widen", [2.0, 0.5])
def test_a_wrong_width_is_recognised(found, train, test, widen):
    wrong = bt.evaluate(exact(train, widen=widen), test)
    assert wrong.overall.nll > found.overall.nll + 0.1
    assert wrong.overall.energy_score > found.overall.energy_score
    for k, name in enumerate(SPEC.output_names):
        assert_coverage(wrong.overall.outputs[name], len(test), widen)
        assert wrong.overall.outputs[name].crps > 1.02 * found.overall.outputs[name].crps
        assert stats.kstest(wrong.pit[:, k], "uniform").pvalue < 1e-6
        assert wrong.overall.outputs[name].rmse == found.overall.outputs[name].rmse


def test_quoted_errors_of_b_widen_what_is_scored(train):
    error = np.random.default_rng(5).uniform(0.1, 2.0, (600, 3))
    test = stars(600, seed=6, error=error)
    found = bt.evaluate(exact(train), test)
    cov = np.outer(SCATTER, SCATTER) * CORR
    residual = scaled_residual(test)
    densities = [
        stats.multivariate_normal.logpdf(r, None, cov + np.diag(e**2))
        for r, e in zip(residual, error, strict=True)
    ]
    assert found.overall.nll == pytest.approx(-np.mean(densities), abs=1e-4)
    sd = np.hypot(SCATTER, error)
    np.testing.assert_allclose(found.pit, stats.norm.cdf(residual / sd), atol=PIT_ERROR)
    for k, name in enumerate(SPEC.output_names):
        crps = SCALE[k] * crps_of_draws(residual[:, k], sd[:, k])
        assert found.overall.outputs[name].crps == pytest.approx(crps, rel=0.015)


# Wide and narrow models in closed form: a number that falls the wrong way is no diagnostic.


@pytest.fixture(scope="module")
def judged(train) -> dict[float, Evaluation]:
    """Return scores of many stars of the law, by the factor of the claimed scatter."""
    many = stars(3000, seed=12)
    return {widen: bt.evaluate(exact(train, widen=widen), many) for widen in WIDTHS}


WIDTHS = (1.0, 1.6, 0.7)
wide_and_narrow = pytest.mark.parametrize("widen", WIDTHS)


@wide_and_narrow
def test_nll_is_the_entropy_plus_what_a_wrong_width_costs(judged, widen):
    law = stats.multivariate_normal(np.zeros(3), np.outer(SCATTER, SCATTER) * CORR)
    cost = 3 * (np.log(widen) + 0.5 * (widen**-2 - 1))
    # A squared distance in three dimensions has the variance 6.
    noise = 0.5 * np.sqrt(6 / 3000) / widen**2
    assert abs(judged[widen].overall.nll - law.entropy() - cost) < 4 * noise
    assert cost == 0 if widen == 1 else cost > 8 * noise


@wide_and_narrow
def test_crps_of_a_wrong_width_is_its_closed_form(judged, widen):
    for k, name in enumerate(SPEC.output_names):
        error, spread = np.hypot(1, widen), widen / np.sqrt(2) * (1 - 1 / (CHAINS * DRAWS))
        expected = SCALE[k] * SCATTER[k] * np.sqrt(2 / np.pi) * (error - spread)
        found = judged[widen].overall.outputs[name].crps
        # The score of a star scatters by three quarters of its mean.
        assert found == pytest.approx(expected, rel=4 * 0.75 / np.sqrt(3000))


@wide_and_narrow
def test_energy_score_of_a_wrong_width_is_its_closed_form(judged, widen):
    # Errors and differences of draws are Gaussian with the law's shape, so their mean
    # lengths are multiples of one.
    normal = np.random.default_rng(0).normal(size=(200_000, 3))
    length = np.linalg.norm(SCATTER * (normal @ np.linalg.cholesky(CORR).T), axis=1).mean()
    used = len(in_fours(CHAINS * DRAWS, 60))
    expected = length * (np.hypot(1, widen) - widen / np.sqrt(2) * (1 - 1 / used))
    found = judged[widen].overall.energy_score
    assert found == pytest.approx(expected, rel=0.03)


def test_the_energy_score_of_some_draws_has_its_share_of_those_that_doubt():
    """One in ten of a thousand draws, at even steps, might have none of them."""
    rng = np.random.default_rng(3)
    wide = np.where(doubting(1000), 6.0, 1.0)[:, None, None]
    sample, delta = wide * rng.normal(size=(1000, 200, 2)), np.zeros((200, 2))
    every = np.linalg.norm(sample, axis=2).mean()
    apart = np.linalg.norm(sample - rng.permutation(sample), axis=2).mean()
    found = import_module("bayestrans.evaluate")._energy(delta, sample).mean()
    assert found == pytest.approx(every - 0.5 * apart, rel=0.1)


@wide_and_narrow
def test_pit_is_flat_humped_or_hollow(judged, widen):
    grid = np.array([0.05, 0.2, 0.5, 0.8, 0.95])
    expected = stats.norm.cdf(widen * stats.norm.ppf(grid))
    for column in judged[widen].pit.T:
        below = (column[:, None] <= grid).mean(axis=0)
        assert (abs(below - expected) < 4 * np.sqrt(expected * (1 - expected) / 3000)).all()


@wide_and_narrow
def test_coverage_of_each_output_and_of_all_together(judged, widen):
    score = judged[widen].overall
    for output in score.outputs.values():
        assert_coverage(output, 3000, widen)
    assert list(score.joint_coverage) == ["0.50", "0.68", "0.90", "0.95"]
    for level, share in score.joint_coverage.items():
        nominal = float(level)
        noise = np.sqrt(nominal * (1 - nominal) / 3000)
        away = (share - nominal) / noise
        assert abs(away) < 4 if widen == 1 else away * np.sign(widen - 1) > 8


@pytest.mark.parametrize(
    ("claimed", "least"), [(RHO, 0), (0.0, 3), (-RHO, 20)], ids=["right", "none", "wrong sign"]
)
def test_only_joint_coverage_sees_a_wrong_correlation(model, claimed, least):
    def claim(draws: dict) -> dict:
        if "corr_cholesky" not in draws:
            return {}
        factor = np.linalg.cholesky([[1.0, claimed], [claimed, 1.0]])
        return {"corr_cholesky": np.broadcast_to(factor, draws["corr_cholesky"].shape)}

    many = stars(3000, seed=14)
    score = bt.evaluate(edit(model, claim), many).overall
    for output in score.outputs.values():
        assert_coverage(output, len(many))
    away = [
        abs(share - float(level)) / np.sqrt(float(level) * (1 - float(level)) / len(many))
        for level, share in score.joint_coverage.items()
    ]
    assert max(away) < 3.5 if claimed == RHO else max(away) > least


def test_joint_coverage_counts_the_stars_by_their_credibility(found, test):
    for score, rows in [
        (found.overall, np.ones(len(test), dtype=bool)),
        *((dict(found.by_support)[name], found.support_class == name) for name in CLASSES),
    ]:
        assert score.n == rows.sum()
        for level, share in score.joint_coverage.items():
            assert share == pytest.approx(np.mean(found.credibility[rows] <= float(level)))


def test_bins_hold_the_stars_with_an_input_between_their_edges(model, found, test):
    names = test.spec.input_names
    for j, name in enumerate(names):
        bins = [one for one in found.by_input if one.input == name]
        assert sum(one.score.n for one in bins) == len(test)
        assert max(one.score.n for one in bins) - min(one.score.n for one in bins) <= 1
        one, last = bins[1], bins[-1]
        assert last.high == test.x[:, j].max()
        rows = np.flatnonzero((test.x[:, j] >= one.low) & (test.x[:, j] < one.high))
        alone = bt.evaluate(model, test.take(rows)).overall
        assert one.score.nll == pytest.approx(alone.nll)
        for output, score in alone.outputs.items():
            assert one.score.outputs[output].rmse == pytest.approx(score.rmse)
    assert [one["input"] for one in found.to_dict()["by_input"]] == list(np.repeat(names, 5))


def test_bins_leave_out_stars_that_lack_the_input(model, test):
    x = test.x.copy()
    x[::3, 0] = np.nan
    found = bt.evaluate(model, dataclasses.replace(test, x=x)).by_input
    assert sum(one.score.n for one in found[:5]) == np.isfinite(x[:, 0]).sum()
    x[:, 0] = np.nan  # as where one survey's stars alone lack it
    none = bt.evaluate(model, dataclasses.replace(test, x=x)).by_input
    assert {one.input for one in none} == set(test.spec.input_names[1:])


def test_joint_coverage_of_stars_with_one_output_is_that_of_the_output(model):
    many = stars(3000, seed=15)
    y = many.y.copy()
    y[np.arange(3000)[:, None], (np.arange(3000)[:, None] + [1, 2]) % 3] = np.nan
    found = bt.evaluate(model, dataclasses.replace(many, y=y))
    assert np.isfinite(found.credibility).all()
    for level, share in found.overall.joint_coverage.items():
        assert abs(share - float(level)) < 4 * np.sqrt(0.25 / 3000)


def test_the_baselines_have_a_joint_coverage(train):
    many = stars(3000, seed=16)
    linear = bt.evaluate(exact(train), many).baselines["linear"].joint_coverage
    for level, share in linear.items():
        # Linear regression is right here, but for the estimation of its numbers.
        assert share == pytest.approx(float(level), abs=0.04)


def test_an_unknown_joint_coverage_is_null(found):
    unknown = dict.fromkeys(found.overall.joint_coverage, math.nan)  # of three draws or fewer
    sheet = found._replace(overall=found.overall._replace(joint_coverage=unknown)).to_dict()
    assert sheet["joint_coverage"] == dict.fromkeys(unknown)


def test_joint_nll_counts_the_correlation(model, found, test):
    def forget(draws: dict) -> dict:
        return (
            {"corr_cholesky": np.zeros_like(draws["corr_cholesky"]) + np.eye(2)}
            if ("corr_cholesky" in draws)
            else {}
        )

    blind = bt.evaluate(edit(model, forget), test)
    apart = stats.norm.logpdf(scaled_residual(test), scale=SCATTER).sum(axis=1)
    assert blind.overall.nll == pytest.approx(-apart.mean(), abs=1e-4)
    # The information that the correlation carries, -log(1 - rho^2) / 2 nats per star.
    gain = blind.overall.nll - found.overall.nll
    assert gain == pytest.approx(-0.5 * np.log(1 - RHO**2), abs=0.06)
    np.testing.assert_array_equal(blind.pit, found.pit)
    assert blind.overall.energy_score > found.overall.energy_score


def test_draws_that_disagree_are_averaged_as_densities(model, test):
    shifts = np.random.default_rng(8).normal(0, 1, (CHAINS, DRAWS, 1))
    wide = np.exp(np.random.default_rng(9).normal(0, 0.5, (CHAINS, DRAWS, 1)))

    def spread(draws: dict) -> dict:
        return {
            "intercept": (draws["intercept"] + shifts).astype(np.float32),
            "log_scatter": (draws["log_scatter"] + np.log(wide)).astype(np.float32),
        }

    some = test.take(np.arange(50))
    found = bt.evaluate(edit(model, spread), some)
    residual = scaled_residual(some)
    shift, stretch = shifts.reshape(-1), wide.reshape(-1)
    joint = np.zeros(len(some))
    for outputs in ([0, 1], [2]):  # networks are independent
        cov = (np.outer(SCATTER, SCATTER) * CORR)[np.ix_(outputs, outputs)]
        each = [
            stats.multivariate_normal.logpdf(residual[:, outputs] - d, None, s**2 * cov)
            for d, s in zip(shift, stretch, strict=True)
        ]
        joint += special.logsumexp(each, axis=0) - np.log(len(shift))
    assert found.overall.nll == pytest.approx(-joint.mean(), abs=1e-4)
    t = (residual - shift[:, None, None]) / (stretch[:, None, None] * SCATTER)
    np.testing.assert_allclose(found.pit, stats.norm.cdf(t).mean(axis=0), atol=PIT_ERROR)


def test_student_noise_is_scored_as_such(train):
    some = stars(60, seed=3, error=0.4)
    found = bt.evaluate(exact(train, dof=4.0), some)
    shape = np.outer(SCATTER, SCATTER) * CORR + 0.4**2 * np.eye(3)
    residual = scaled_residual(some)
    inner = stats.multivariate_t(shape=shape[:2, :2], df=4).logpdf(residual[:, :2])
    outer = stats.t.logpdf(residual[:, 2], 4, scale=np.sqrt(shape[2, 2]))
    assert found.overall.nll == pytest.approx(-(inner + outer).mean(), abs=1e-4)
    below = stats.t.cdf(residual / np.sqrt(np.diag(shape)), 4)
    np.testing.assert_allclose(found.pit, below, atol=PIT_ERROR)
