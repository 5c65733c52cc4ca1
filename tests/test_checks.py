"""Checks of a fit on numbers of a known law: PIT values, statistics and draws of the prior."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import bayestrans as bt
from bayestrans.checks import judge_pit, pit_text, reach, statistics
from bayestrans.model import Shape, prior_draws, site_shapes

# ---- PIT ------------------------------------------------------------------------------------


def test_outliers_are_told_from_a_wrong_width():
    values = np.random.default_rng(0).uniform(size=1000)
    assert judge_pit(values, 1).word == "calibrated"
    values[:1] = 0.0  # one star, however far out, proves nothing
    assert judge_pit(values, 1).word == "calibrated"
    values[:15], values[15:30] = 0.0, 1.0
    assert judge_pit(values, 1).word == "calibrated but for outliers"


def test_outliers_are_named_although_the_others_are_not_uniform_either():
    # As of a law with heavier tails than the predictive's: too many at the ends and in the middle.
    place = np.linspace(0.006, 0.994, 1000)
    inner = place + 0.05 * np.sin(4 * np.pi * place)
    found = judge_pit(np.concatenate([inner, np.full(15, 1e-4), np.full(15, 0.9999)]), 1)
    assert found.word == "too wide, with outliers"
    assert pit_text(found).endswith(
        "errors of B that are too large, and at the outliers (binaries, blunders)"
    )
    place = np.linspace(0.006, 0.994, 500)
    bumps = np.clip(place + 0.03 * np.sin(8 * np.pi * place + 1.0), 0.006, 0.994)
    bumpy = judge_pit(np.concatenate([bumps, np.full(40, 0.9999)]), 1)
    assert bumpy.word == "calibrated but for outliers"
    one_side = judge_pit(np.concatenate([inner, np.full(30, 0.9999)]), 1)
    assert one_side.word == "too wide, with outliers"


@pytest.mark.parametrize("n", [100, 400, 3000])
@pytest.mark.parametrize(
    ("centre", "width", "word"),
    [(0.0, 1.8, "too narrow"), (0.0, 3.0, "too narrow"), (0.8, 1.0, "too low")],
)
def test_what_a_wrong_width_or_place_puts_at_the_ends_is_no_outlier(n, centre, width, word):
    z = centre + width * stats.norm.ppf((np.arange(n) + 0.5) / n)
    assert judge_pit(stats.norm.cdf(z), 4).word == word


def test_outliers_beside_a_wrong_place_are_named():
    z = 0.8 + stats.norm.ppf((np.arange(3000) + 0.5) / 3000)
    z[::25] = 50.0
    assert judge_pit(stats.norm.cdf(z), 4).word == "too low, with outliers"


def test_uniform_values_fail_as_rarely_as_they_should():
    rng = np.random.default_rng(1)
    failed = [judge_pit(rng.uniform(size=200), 1).word != "calibrated" for _ in range(300)]
    assert sum(failed) <= stats.binom.ppf(0.999, 300, 0.01)


# ---- replicates and prior ---------------------------------------------------------------------


def test_statistics_tell_tails_and_skewness():
    rng = np.random.default_rng(2)
    replicated = rng.normal(size=(1000, 300))
    p = {one.name: one.p_value for one in statistics(rng.normal(size=300), replicated)}
    assert min(p.values()) > 0.01
    heavy = statistics(rng.standard_t(2, size=300), replicated)
    assert {one.name for one in heavy if one.p_value < 0.005} >= {"beyond 3 MAD"}
    skew = statistics(rng.exponential(size=300) - math.log(2), replicated)
    found = {one.name: one for one in skew}
    assert found["skewness"].p_value == 0
    # (ln 20 + ln(20/19) - 2 ln 2) / (ln 20 - ln(20/19)) of an exponential
    wanted = (math.log(20) + math.log(20 / 19) - 2 * math.log(2)) / math.log(19)
    assert found["skewness"].observed == pytest.approx(wanted, abs=0.15)


def test_p_values_of_right_models_are_spread_out():
    rng = np.random.default_rng(3)
    p = [statistics(rng.normal(size=50), rng.normal(size=(200, 50)))[1].p_value for _ in range(300)]
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_the_prior_reaches_what_it_gives_and_not_what_it_does_not():
    rng = np.random.default_rng(4)
    # Each draw from the prior is a data set of its own centre and width.
    drawn_sets = rng.normal(size=(2000, 1)) + rng.lognormal(size=(2000, 1)) * rng.normal(
        size=(2000, 100)
    )
    assert reach(rng.normal(0.5, 1.5, 100), drawn_sets).within
    assert not reach(rng.normal(9.0, 1.0, 100), drawn_sets).within
    assert not reach(rng.normal(0.0, 300.0, 100), drawn_sets).within
    # What is learned to be alike is no fault of the prior.
    assert reach(rng.normal(0.5, 1e-6, 100), drawn_sets).within


@pytest.mark.parametrize(
    ("factor", "law"),
    [("free", stats.lognorm(0.3)), ("below one", stats.truncnorm(-1 / 0.2, 0, 1, 0.2))],
)
def test_prior_draws_are_those_of_the_laws(factor, law):
    shape = Shape.of(bt.Network((3,)), bt.Noise(error_factor=factor), 2)
    drawn_sites = prior_draws(shape, 2, 4000, np.random.default_rng(8))
    sizes = site_shapes(shape, 2)
    assert {name: v.shape[1:] for name, v in drawn_sites.items()} == sizes
    corr = drawn_sites["corr_cholesky"][:, 1, 0]  # LKJ(2) of a 2 x 2 matrix
    assert stats.kstest(0.5 * (corr + 1), stats.beta(2, 2).cdf).pvalue > 1e-3
    laws = {
        "slope": stats.norm,
        "amplitude": stats.halfnorm,
        "error_factor": law,
        "dof_above_2": stats.gamma(2, scale=10),
    }
    for name, prior in laws.items():
        values = drawn_sites[name].reshape(4000, -1)[:, 0]
        assert stats.kstest(values, prior.cdf).pvalue > 1e-3, name
