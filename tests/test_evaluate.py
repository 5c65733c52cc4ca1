"""Scores of models whose predictive is known exactly, against closed forms."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest
from scipy import special, stats

import bayestrans as bt
from bayestrans.baseline import Baseline
from bayestrans.calibration import Calibration
from bayestrans.evaluate import Evaluation, OutputScore, Score
from bayestrans.gaps import Gaps
from bayestrans.neighbours import Neighbours
from bayestrans.posterior import BlockDraws
from bayestrans.scale import Scaler

SPEC = bt.Spec(
    "exact",
    (
        bt.Input("teff", "teff_a", unit="K"),
        bt.Input("logg", "logg_a"),
        bt.Input("rv", "rv_a", unit="km/s", extrinsic=True),
    ),
    (
        bt.Output("teff", "teff_b", unit="K", corrects="teff"),
        bt.Output("logg", "logg_b", corrects="logg"),
        bt.Output("rv", "rv_b", unit="km/s", corrects="rv", extrinsic=True),
    ),
)
CENTRE, SCALE = np.array([20.0, -0.05, 0.3]), np.array([50.0, 0.1, 0.5])
X_CENTRE, X_SCALE = np.array([5000.0, 3.0, 0.0]), np.array([500.0, 0.8, 30.0])
INTERCEPT = np.array([0.3, -0.2, 0.1])
SLOPE = np.array([[1.0, -0.5, 0.0], [0.4, 0.8, 0.0], [-0.3, 0.2, 0.7]])
SCATTER = np.array([0.8, 1.2, 0.6])
RHO = 0.7
CORR = np.array([[1.0, RHO, 0.0], [RHO, 1.0, 0.0], [0.0, 0.0, 1.0]])
CHAINS, DRAWS = 4, 25
PIT_ERROR = 3e-5  # of interpolation in the table of the distribution function
CLASSES = ["dense", "sparse", "outside"]


def location(x: np.ndarray) -> np.ndarray:
    """Return the law's mean scaled correction."""
    return INTERCEPT + (x - X_CENTRE) / X_SCALE @ SLOPE.T


def stars(count: int, seed: int, error: np.ndarray | float = np.nan) -> bt.Pairs:
    """Draw pairs from the law; B measures them with Gaussian errors in units of ``SCALE``."""
    rng = np.random.default_rng(seed)
    x = X_CENTRE + X_SCALE * rng.normal(size=(count, 3))
    noise = SCATTER * (rng.normal(size=(count, 3)) @ np.linalg.cholesky(CORR).T)
    err = np.broadcast_to(error, x.shape)
    noise = noise + np.nan_to_num(err) * rng.normal(size=x.shape)
    y = x + CENTRE + SCALE * (location(x) + noise)
    return bt.Pairs(SPEC, x, np.full(x.shape, np.nan), y, err * SCALE, np.arange(count))


def scaled_residual(pairs: bt.Pairs) -> np.ndarray:
    return (pairs.y - pairs.x - CENTRE) / SCALE - location(pairs.x)


def exact(train: bt.Pairs, *, widen: float = 1.0, dof: float = math.inf) -> bt.Posterior:
    """Return the posterior whose every draw is the law, its scatter times ``widen``."""
    zero = np.zeros(3)
    scaler = Scaler(X_CENTRE, X_SCALE, zero, zero, CENTRE, SCALE, np.arange(3), zero)
    blocks = []
    for block in SPEC.blocks:
        inputs, outputs = list(block.inputs), list(block.outputs)
        law = {
            "intercept": INTERCEPT[outputs],
            "slope": SLOPE[np.ix_(outputs, inputs)],
            "log_scatter": np.log(widen * SCATTER[outputs]),
            "error_factor": np.ones(len(outputs)),
        }
        if len(outputs) > 1:
            law["corr_cholesky"] = np.linalg.cholesky(CORR[np.ix_(outputs, outputs)])
        draws = {
            name: np.tile(value.astype(np.float32), (CHAINS, DRAWS) + (1,) * value.ndim)
            for name, value in law.items()
        }
        blocks.append(BlockDraws(block, draws, {}, {}))
    return bt.Posterior(
        SPEC,
        bt.Network(()),
        bt.Noise(dof=dof),
        scaler,
        tuple(blocks),
        Gaps.learn(scaler, train).density,
        Neighbours.learn(train.x, SPEC.blocks[0].inputs),
        Calibration.identity(len(SPEC.outputs)),
        Baseline.learn(train, scaler),
        train.x[:20],
        train.x_err[:20],
        train.y[:20],
        train.y_err[:20],
        {},
    )


def edit(posterior: bt.Posterior, change: Callable[[dict], dict]) -> bt.Posterior:
    """Return the posterior with the draws of each network passed through ``change``."""
    blocks = tuple(b._replace(draws={**b.draws, **change(b.draws)}) for b in posterior.blocks)
    return dataclasses.replace(posterior, blocks=blocks)


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


def crps_gaussian(residual: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return the closed form of Gneiting & Raftery (2007), equation 21."""
    z = residual / sd
    return sd * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))


def crps_of_draws(residual: np.ndarray, sd: np.ndarray) -> float:
    """Return the mean score expected of a sample, whose own spread is biased by 1 / its size."""
    return float(np.nanmean(crps_gaussian(residual, sd) + sd / np.sqrt(np.pi) / (CHAINS * DRAWS)))


def assert_coverage(score: OutputScore, count: int, stretch: float = 1.0) -> None:
    """Hold coverage against what Gaussian intervals ``stretch`` times too wide contain."""
    assert list(score.coverage) == ["0.50", "0.68", "0.90", "0.95"]
    for level, share in score.coverage.items():
        expected = 2 * stats.norm.cdf(stretch * stats.norm.ppf(0.5 + float(level) / 2)) - 1
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / count) + 1e-9


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
    used = len(range(0, CHAINS * DRAWS, CHAINS * DRAWS // 60))
    expected = length * (np.hypot(1, widen) - widen / np.sqrt(2) * (1 - 1 / used))
    found = judged[widen].overall.energy_score
    assert found == pytest.approx(expected, rel=0.03)


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
    assert list(sheet) == [*scores, "by_support", "baselines"]
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
    assert {len(line) for line in lines if line} == {len(model_line)}


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
    wide = Calibration(np.full(3, math.log(2.0)), nothing, nothing, nothing)
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
