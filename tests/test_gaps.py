"""Stars with gaps: what is missing is integrated over, in training and in prediction."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from astropy.table import Table
from gappy_stars import CENTRE, COVARIANCE, NAN, SCATTER, SLOPE, SPEC, closed_form, holed, linear
from scipy import special, stats

import bayestrans as bt
from bayestrans.density import Density
from bayestrans.gaps import Gaps
from bayestrans.posterior import CHUNK
from bayestrans.scale import Scaler
from bayestrans.target import COMPLETIONS, scaled_data

# ---- training: importance weights ---------------------------------------------------------


@pytest.fixture(scope="module")
def known() -> Gaps:
    """Return a density that is right about the inputs and not quite about the outputs."""
    train = linear(400, 1)
    scaler = Scaler.learn(train)
    scale = np.append(scaler.x_scale, scaler.x_scale[0])
    through = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.8, -60.0, 80.0]])
    joint = through @ COVARIANCE @ through.T + np.diag([0, 0, 0, (1.5 * SCATTER) ** 2])
    mean = np.append((CENTRE - scaler.x_centre) / scaler.x_scale, 0.1)
    kinds = np.zeros((1, 3), dtype=int)
    density = Density(np.ones(1), mean[None], (joint / np.outer(scale, scale))[None], kinds)
    return Gaps(scaler, density)


def features(gaps: Gaps, pairs: bt.Pairs) -> np.ndarray:
    """Return the scaled inputs and the output on the scale of its input."""
    scaler = gaps.scaler
    output = (pairs.y - scaler.x_centre[0]) / scaler.x_scale[0]
    return np.hstack([(pairs.x - scaler.x_centre) / scaler.x_scale, output])


@pytest.mark.parametrize("missing", [(0,), (1,), (1, 2)])
def test_weighted_completions_give_the_density_given_what_is_seen(known, missing):
    pairs = linear(6, 2)
    pairs.x[:, list(missing)] = NAN
    count = 20_000
    found = known.imputations(pairs, (0,), count)
    assert found.x.shape == (count, 6, 3)
    # The constant, q(y | what is seen of z), and the integral of p(y | z) q(z | what is seen).
    z = features(known, pairs)
    blind = z.copy()
    blind[:, 3] = NAN
    constant = known.density.log_density(z) - known.density.log_density(blind)
    for n in range(len(pairs)):
        away = found.x[:, n] - CENTRE
        location = CENTRE[0] + 40 + away @ (SLOPE + np.array([1.0, 0, 0]))
        log_p = stats.norm.logpdf(pairs.y[n, 0], location, SCATTER)
        log_terms = found.log_weight[:, n] + log_p
        estimate = special.logsumexp(log_terms) - math.log(count) + constant[n]
        mean, sd = closed_form(pairs.x[n])
        terms = np.exp(log_terms - log_terms.max())
        error = terms.std() / terms.mean() / math.sqrt(count)
        expected = stats.norm.logpdf(pairs.y[n, 0], mean, sd)
        assert estimate == pytest.approx(expected, abs=4.5 * error + 1e-4)
        assert error < 0.2


def test_completions_keep_what_is_seen_and_a_star_its_own(known):
    pairs = linear(40, 3)
    pairs.x[::2, 1] = NAN
    found = known.imputations(pairs, (0,), 8)
    np.testing.assert_allclose(
        found.x[:, np.isfinite(pairs.x)], np.tile(pairs.x[np.isfinite(pairs.x)], (8, 1)), rtol=0
    )
    assert (found.x[0, ::2, 1] != found.x[1, ::2, 1]).all()
    order = np.random.default_rng(0).permutation(40)
    again = known.imputations(pairs.take(order), (0,), 8)
    np.testing.assert_allclose(again.x, found.x[:, order], rtol=1e-12)
    np.testing.assert_allclose(again.log_weight, found.log_weight[:, order], atol=1e-9)


def test_scaled_data_has_complete_stars_first_and_then_all_completions(known):
    pairs = linear(30, 4)
    pairs.x[3, 1], pairs.x[17, 2] = NAN, NAN
    data = scaled_data(pairs, known.scaler, SPEC.blocks[0], bt.Noise(), known)
    rows = 28 + 2 * COMPLETIONS
    assert data.z.shape == (3, rows)
    assert data.delta.shape == data.err.shape == (1, rows)
    whole = [n for n in range(30) if n not in (3, 17)]
    assert data.star.tolist() == [*whole, *[3] * COMPLETIONS, *[17] * COMPLETIONS]
    assert data.copies.tolist() == [
        [*range(28, 28 + COMPLETIONS)],
        [*range(28 + COMPLETIONS, rows)],
    ]
    np.testing.assert_array_equal(data.log_weight[:28], 0)
    assert (np.asarray(data.log_weight[28:]) != 0).all()
    assert np.isfinite(data.z).all()
    z = np.asarray(data.z)
    scaled = (pairs.x - known.scaler.x_centre) / known.scaler.x_scale
    np.testing.assert_allclose(z[:, :28], scaled[whole].T, rtol=1e-5, atol=1e-6)
    for rows_of, n, gone in ((data.copies[0], 3, 1), (data.copies[1], 17, 2)):
        part = z[:, np.asarray(rows_of)]
        kept = [j for j in range(3) if j != gone]
        expected = np.tile(scaled[n, kept][:, None], COMPLETIONS)
        np.testing.assert_allclose(part[kept], expected, rtol=1e-5, atol=1e-6)
        assert len(np.unique(part[gone])) == COMPLETIONS


# ---- prediction against the closed form ---------------------------------------------------


@pytest.fixture(scope="module")
def line() -> bt.Posterior:
    """Return linear regression with known Gaussian noise, on complete stars."""
    return bt.fit(
        linear(1500, 5),
        method=bt.MCLMC(chains=2, draws=300, steps=600, warm_steps=300),
        network=bt.Network(()),
        noise=bt.Noise(scatter=(SCATTER,), dof=math.inf),
        seed=1,
        calibrate=False,
        progress=False,
    )


@pytest.mark.parametrize("missing", [(0,), (1,), (2,), (1, 2), (0, 1)])
def test_the_predictive_is_the_conditional_normal(line, missing):
    test = linear(300, 6)
    x = test.x.copy()
    x[:, list(missing)] = NAN
    exact = np.array([closed_form(row) for row in x])
    mean, sd = exact.T
    found = line.predict(x)[:, :, 0]
    away = (found.mean(axis=0) - mean) / sd
    # Of 600 draws the mean scatters by 0.04 sd, the rest is what 1500 stars do not tell.
    assert abs(away.mean()) < 0.08
    assert away.std() < 0.1
    ratio = found.std(axis=0) / sd
    assert ratio.mean() == pytest.approx(1, abs=0.05)
    assert ratio.std() < 0.06
    below = (found < test.y[:, 0]).mean(axis=0)
    assert stats.kstest(below, "uniform").pvalue > 1e-3


def test_a_catalogue_gives_mean_and_sd_of_the_conditional_normal(line):
    x = linear(300, 7).x
    x[:, 1] = NAN
    table = Table(dict(zip(SPEC.input_names, x.T, strict=True)))
    out = bt.translate(line, table, progress=False)
    mean, sd = np.array([closed_form(row) for row in x]).T
    # `translate` sums up 250 completions.
    away = (out["teff_mean"] - mean) / sd
    assert abs(away.mean()) < 0.1
    assert away.std() < 0.12
    assert np.mean(out["teff_sd"] / sd) == pytest.approx(1, abs=0.06)
    inside = (out["teff_p16"] < mean) & (mean < out["teff_p84"])
    assert inside.all()


def test_scores_of_stars_with_gaps_are_those_of_the_conditional_normal(line):
    test = linear(400, 8)
    gaps = dataclasses.replace(test, x=holed(test.x, 0.3, 9))
    found = bt.evaluate(line, gaps)
    mean, sd = np.array([closed_form(row) for row in gaps.x]).T
    density = stats.norm.logpdf(test.y[:, 0], mean, sd) + math.log(line.scaler.delta_scale[0])
    assert found.overall.nll == pytest.approx(-density.mean(), abs=0.03)
    rmse = np.sqrt(np.mean((test.y[:, 0] - mean) ** 2))
    assert found.overall.outputs["teff"].rmse == pytest.approx(rmse, rel=0.02)
    np.testing.assert_allclose(found.pit[:, 0], stats.norm.cdf(test.y[:, 0], mean, sd), atol=0.1)


# ---- a fitted model of two surveys --------------------------------------------------------


@pytest.fixture(scope="module")
def gappy(split) -> bt.Pairs:
    """Return the test stars with 30 % of their inputs missing."""
    _, test = split
    return dataclasses.replace(test, x=holed(test.x, 0.3, 10))


@pytest.fixture(scope="module")
def found(posterior, gappy) -> np.ndarray:
    return posterior.predict(gappy)


def test_a_star_is_known_less_well_with_a_gap(posterior, split, gappy, found):
    whole = posterior.predict(split[1])
    some = np.isnan(gappy.x).any(axis=1)
    assert 100 < some.sum() < len(some)
    np.testing.assert_array_equal(found[:, ~some], whole[:, ~some])
    ratio = found[:, some].std(axis=0) / whole[:, some].std(axis=0)
    assert (np.median(ratio, axis=0)[:4] > 1.02).all()
    own = np.isnan(gappy.x[some][:, [0, 1, 2, 3, 5]])
    assert np.median(ratio[own]) > 1.5
    assert np.isfinite(found).all()


def test_intervals_of_stars_with_gaps_cover_what_they_promise(posterior, gappy):
    measured = posterior.predict(gappy, kind="measured")
    some = np.isnan(gappy.x).any(axis=1)
    pit = (measured[:, some] < gappy.y[some]).mean(axis=0)
    for level in (0.68, 0.95):
        share = np.mean(np.abs(pit - 0.5) < level / 2, axis=0)
        # About 150 stars, and a model of 490 that is uncertain of itself.
        np.testing.assert_allclose(share, level, atol=0.12 if level < 0.9 else 0.06)


def test_scores_and_support_of_stars_with_gaps_are_finite(posterior, gappy):
    found = bt.evaluate(posterior, gappy)
    assert math.isfinite(found.overall.nll)
    assert math.isfinite(found.overall.energy_score)
    for score in (found.overall, *found.baselines.values()):
        assert set(score.outputs) == set(posterior.spec.output_names)
        for output in score.outputs.values():
            assert np.isfinite([output.rmse, output.mad_sigma, output.bias, output.crps]).all()
    assert found.overall.nll < found.baselines["linear"].nll
    assert np.isfinite(found.pit).all()
    assert np.isfinite(found.credibility).all()
    near = bt.support(posterior, gappy)
    assert np.isfinite(near.score).all()
    np.testing.assert_array_equal(near.classes, found.support_class)


def test_the_mean_is_near_that_of_the_star_at_its_expected_values(posterior, gappy):
    filled = posterior.gaps.filled(gappy)
    assert np.isfinite(filled.x).all()
    seen = np.isfinite(gappy.x)
    np.testing.assert_array_equal(filled.x[seen], gappy.x[seen])
    away = posterior.predict(gappy).mean(axis=0) - posterior.predict(filled).mean(axis=0)
    spread = posterior.predict(gappy).std(axis=0)
    assert np.median(np.abs(away / spread)) < 0.3


# ---- the same numbers, whatever the company -----------------------------------------------


def test_stars_with_gaps_do_not_move_the_others(posterior, survey):
    table = Table(survey.catalogue)[:60]
    before = bt.translate(posterior, table, progress=False)
    holes = table.copy()
    for j, item in enumerate(posterior.spec.inputs):
        holes[item.column][j::7] = np.nan
        holes[item.error][j + 7 :: 14] = np.nan
    whole = np.arange(60) % 7 == 6
    after = bt.translate(posterior, holes, progress=False)
    for name in before.colnames:
        assert before[name][whole].tolist() == after[name][whole].tolist(), name
    assert (np.asarray(after["flags"])[~whole] & 3 > 0).all()
    assert np.isfinite(after["teff_mean"]).all()


@pytest.mark.parametrize("company", ["reversed", "alone", "among complete ones", "second chunk"])
def test_a_star_with_gaps_has_the_same_numbers_in_any_company(
    posterior, split, gappy, found, company
):
    count = len(gappy)
    x, x_err = gappy.x, gappy.x_err
    rows = np.arange(count)
    if company == "reversed":
        rows = rows[::-1]
        x, x_err = x[rows], x_err[rows]
    elif company == "alone":
        rows = np.flatnonzero(np.isnan(x).any(axis=1))[[0, 5]]
        parts = [posterior.predict(x[n : n + 1], x_err[n : n + 1]) for n in rows]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), found[:, rows])
        return
    elif company == "among complete ones":
        train = split[0].take(np.arange(CHUNK // 2))
        x, x_err = np.vstack([train.x, x]), np.vstack([train.x_err, x_err])
    else:
        more, more_err = (np.tile(array, (3, 1)) for array in (x[:, :], x_err))
        more[:, 4] = NAN
        x, x_err = np.vstack([more, x]), np.vstack([more_err, x_err])
    again = posterior.predict(x, x_err)[:, -count:]
    np.testing.assert_array_equal(again, found[:, rows])


def test_a_loaded_model_gives_the_same_numbers(posterior, gappy, found, tmp_path):
    posterior.save(tmp_path / "m.nc")
    loaded = bt.load(tmp_path / "m.nc")
    np.testing.assert_array_equal(loaded.predict(gappy), found)
    for name, values in posterior.density.to_arrays().items():
        np.testing.assert_array_equal(loaded.density.to_arrays()[name], values)


# ---- what is flagged ----------------------------------------------------------------------


def test_a_star_without_inputs_is_flagged_and_has_no_answer(posterior, survey):
    table = Table(survey.catalogue)[:5]
    for item in posterior.spec.inputs:
        table[item.column][2] = np.nan
    table["e_teff_a"][1] = np.nan
    out = bt.translate(posterior, table, draws=3, progress=False)
    nothing = np.arange(5) == 2
    for name in ("teff_mean", "rv_sd", "logg_p50", "support", "corr_teff_logg"):
        np.testing.assert_array_equal(np.isnan(out[name]), nothing)
    np.testing.assert_array_equal(np.isnan(out["fe_h_draws"]).all(axis=1), nothing)
    flags = np.asarray(out["flags"])
    assert flags[2] == 1 | 4 | 16
    assert out["support_class"][2] == "outside"
    np.testing.assert_array_equal(flags & 16 > 0, nothing)
    np.testing.assert_array_equal(flags & 2 > 0, np.arange(5) == 1)
    x = np.full((1, 6), NAN)
    assert np.isnan(posterior.predict(x, x)).all()


def test_a_missing_error_of_b_counts_as_the_usual_one_in_scores(posterior, split):
    test = split[1].take(np.arange(60))
    usual = np.tile(posterior.scaler.usual_err, (60, 1))
    np.testing.assert_allclose(usual[0], np.median(split[0].y_err, axis=0))
    some = holed(test.y_err, 0.5, 11)
    given = bt.evaluate(posterior, dataclasses.replace(test, y_err=some))
    put = np.where(np.isnan(some), usual, some)
    expected = bt.evaluate(posterior, dataclasses.replace(test, y_err=put))
    assert given.to_json() == expected.to_json()
