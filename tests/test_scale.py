"""Scaled numbers: what the network sees, what it learns, and the way back to units."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import median_abs_deviation, zscore

from bayestrans.pairs import Pairs, PairsError
from bayestrans.scale import Scaler
from bayestrans.spec import Input, Output, Spec

SPEC = Spec(
    "A to B",
    (
        Input("teff", "teff_a", "e_teff_a", "K"),
        Input("logg", "logg_a", "e_logg_a"),
        Input("colour", "bp_rp"),
        Input("rv", "rv_a", "e_rv_a", "km/s", extrinsic=True),
    ),
    (
        Output("rv", "rv_b", unit="km/s", corrects="rv", extrinsic=True),
        Output("mass", "mass_b", unit="Msun"),
        Output("teff", "teff_b", "e_teff_b", "K", "teff"),
    ),
)
N = 501
NAN = float("nan")


@pytest.fixture
def pairs() -> Pairs:
    """Return stars with a heavy-tailed correction of 0.5 km/s at 300 km/s."""
    rng = np.random.default_rng(5)
    x = rng.normal([5000, 2.5, 0.8, 300], [400, 0.7, 0.2, 40], (N, 4))
    x_err = rng.lognormal([4, -2, 0, -1], 0.4, (N, 4))
    x_err[:, 1:3] = 0.1, NAN
    y = np.column_stack(
        [
            x[:, 3] + 0.5 * rng.standard_t(2, N) + 0.2,
            rng.lognormal(0, 0.3, N),
            x[:, 0] - 30 + 60 * rng.standard_t(3, N),
        ]
    )
    y[:7, 1] = NAN
    y_err = np.column_stack([np.full((N, 2), NAN), rng.uniform(20, 90, N)])
    return Pairs(SPEC, x, x_err, y, y_err, np.arange(N))


def test_the_scale_of_a_correction_is_its_robust_spread(pairs):
    scaler = Scaler.learn(pairs)
    x, y = pairs.x, pairs.y
    corrections = [y[:, 0] - x[:, 3], y[7:, 1], y[:, 2] - x[:, 0]]
    np.testing.assert_allclose(scaler.delta_centre, [np.median(c) for c in corrections])
    spread = [median_abs_deviation(c, scale="normal") for c in corrections]
    np.testing.assert_allclose(scaler.delta_scale, spread)
    assert scaler.delta_scale[0] < 1  # km/s: the correction's, not the velocity's 40


def test_scaled_corrections_have_unit_robust_spread_and_keep_missing_values(pairs):
    delta = Scaler.learn(pairs).delta(pairs.x, pairs.y)
    np.testing.assert_array_equal(np.isnan(delta), np.isnan(pairs.y))
    np.testing.assert_allclose(np.nanmedian(delta, axis=0), 0, atol=1e-12)
    spread = median_abs_deviation(delta, scale="normal", nan_policy="omit")
    np.testing.assert_allclose(spread, 1)


def test_restore_undoes_delta(pairs):
    scaler = Scaler.learn(pairs)
    delta = scaler.delta(pairs.x, pairs.y)
    np.testing.assert_allclose(scaler.restore(pairs.x, delta), pairs.y, rtol=1e-9)
    draws = scaler.restore(pairs.x, np.stack([delta, delta + 1]))
    np.testing.assert_allclose(draws[1] - draws[0] + 0 * pairs.y, scaler.delta_scale + 0 * pairs.y)


def test_a_velocity_keeps_its_correction_in_single_precision(pairs):
    """Of 300 km/s a float32 loses 3e-5 km/s; of the correction alone, nothing that counts."""
    scaler = Scaler.learn(pairs)
    single = scaler.delta(pairs.x, pairs.y).astype(np.float32).astype(np.float64)
    lost = scaler.restore(pairs.x, single)[:, 0] - pairs.y[:, 0]
    correction = pairs.y[:, 0] - pairs.x[:, 3] - scaler.delta_centre[0]
    assert (np.abs(lost) <= 1e-7 * np.abs(correction) + 1e-12).all()


def test_base_is_the_input_plus_the_usual_correction(pairs):
    scaler = Scaler.learn(pairs)
    base = scaler.base(pairs.x)
    usual = np.median(pairs.y[:, 0] - pairs.x[:, 3])
    np.testing.assert_allclose(base[:, 0], pairs.x[:, 3] + usual, rtol=1e-14)
    assert set(base[:, 1]) == {np.nanmedian(pairs.y[:, 1])}


def test_an_output_that_corrects_nothing_ignores_the_inputs(pairs):
    scaler = Scaler.learn(pairs)
    missing = np.full_like(pairs.x, NAN)
    np.testing.assert_array_equal(
        scaler.delta(missing, pairs.y)[:, 1], scaler.delta(pairs.x, pairs.y)[:, 1]
    )
    assert np.isfinite(scaler.base(missing)[:, 1]).all()


def test_features_are_standardised_inputs_then_log_errors(pairs):
    scaler = Scaler.learn(pairs)
    seen = (0, 1, 2, 3)
    features = scaler.features(pairs.x, pairs.x_err, seen)
    expected = np.hstack([zscore(pairs.x), zscore(np.log(pairs.x_err[:, [0, 3]]))])
    np.testing.assert_allclose(features, expected, atol=2e-6)
    assert scaler.n_features(seen) == 6


def test_constant_and_absent_errors_are_no_features(pairs):
    scaler = Scaler.learn(pairs)
    np.testing.assert_array_equal(scaler.log_err_scale > 0, [True, False, False, True])
    np.testing.assert_allclose(
        scaler.features(pairs.x, pairs.x_err, (1, 2)), zscore(pairs.x[:, 1:3]), atol=2e-6
    )
    assert scaler.n_features((1, 2)) == 2


def test_a_block_sees_its_own_inputs_only(pairs):
    scaler = Scaler.learn(pairs)
    full = scaler.features(pairs.x, pairs.x_err, (0, 1, 2, 3))
    np.testing.assert_array_equal(
        scaler.features(pairs.x, pairs.x_err, (0, 3)), full[:, [0, 3, 4, 5]]
    )
    hidden = pairs.x.copy()
    hidden[:, 3] = NAN
    assert np.isfinite(scaler.features(hidden, pairs.x_err, (0, 1, 2))).all()


def test_new_stars_are_scaled_as_the_training_stars(pairs):
    scaler = Scaler.learn(pairs)
    one = scaler.features(pairs.x[3:4], pairs.x_err[3:4], (0, 1, 2, 3))
    np.testing.assert_array_equal(one, scaler.features(pairs.x, pairs.x_err, (0, 1, 2, 3))[3:4])


def test_scaler_survives_its_arrays(pairs):
    scaler = Scaler.learn(pairs)
    again = Scaler.from_arrays(scaler.to_arrays())
    for field in dataclasses.fields(Scaler):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(scaler, field.name))


@pytest.mark.parametrize("value", [0.0, 2.5, 1e8])
def test_a_constant_input_is_refused_by_its_column(pairs, value):
    pairs.x[:, 2] = value
    with pytest.raises(PairsError, match=r"bp_rp is constant .* leave it out of the spec"):
        Scaler.learn(pairs)


def test_small_units_are_no_constants(pairs):
    pairs.x[:, 2] = 1e-13 * np.exp(np.linspace(0.0, 1.0, len(pairs)))
    assert 0 < Scaler.learn(pairs).x_scale[2] < 1e-13


def test_a_constant_correction_is_refused_by_its_column(pairs):
    pairs.y[: N // 2 + 1, 2] = pairs.x[: N // 2 + 1, 0] - 12
    with pytest.raises(PairsError, match=r"teff_b differs from its input .*\(-12\)"):
        Scaler.learn(pairs)


@pytest.mark.parametrize("column", ["teff_b", "mass_b"])
def test_a_constant_output_is_refused_by_its_column(pairs, column):
    """Also one that corrects an input, from which it differs by all that the input varies."""
    names = [output.column for output in pairs.spec.outputs]
    pairs.y[:, names.index(column)] = 5000.0
    with pytest.raises(PairsError, match=rf"output column {column} is constant \(5000\) in all"):
        Scaler.learn(pairs)


def test_an_output_that_is_its_input_is_asked_about(pairs):
    y = pairs.y.copy()
    y[:, 2] = pairs.x[:, 0]
    with pytest.raises(PairsError, match="is it a column of survey B, and teff_a one of A"):
        Scaler.learn(dataclasses.replace(pairs, y=y))


def test_a_constant_output_that_corrects_nothing_is_refused_as_constant(pairs):
    pairs.y[:, 1] = 1.5
    with pytest.raises(PairsError, match=r"mass_b") as caught:
        Scaler.learn(pairs)
    assert "differs from its input" not in str(caught.value)


def test_an_output_that_no_star_has_is_refused_by_its_column(pairs):
    pairs.y[:, 1] = NAN
    with pytest.raises(PairsError, match="mass_b has no value in any of the 501 training stars"):
        Scaler.learn(pairs)


def test_an_input_that_no_star_has_is_refused_by_its_column(pairs):
    pairs.x[:, 2] = NAN
    with pytest.raises(PairsError, match="bp_rp has no value in any of the 501 training stars"):
        Scaler.learn(pairs)


def test_an_output_that_no_star_has_beside_its_input_is_refused(pairs):
    pairs.x[: N // 2, 0], pairs.y[N // 2 :, 2] = NAN, NAN
    with pytest.raises(PairsError, match="teff_b has no value beside its input in any"):
        Scaler.learn(pairs)


# ---- gaps -------------------------------------------------------------------------------


@pytest.fixture
def gappy(pairs) -> Pairs:
    """Return the same stars with a third of the numbers missing."""
    rng = np.random.default_rng(6)
    arrays = {
        name: np.where(rng.random(getattr(pairs, name).shape) < 0.3, NAN, getattr(pairs, name))
        for name in ("x", "x_err", "y", "y_err")
    }
    keep = np.isfinite(arrays["x"]).any(axis=1) & np.isfinite(arrays["y"]).any(axis=1)
    return Pairs(SPEC, **{n: a[keep] for n, a in arrays.items()}, ids=pairs.ids[keep])


def test_each_scale_is_learned_from_the_stars_that_have_the_value(gappy):
    scaler = Scaler.learn(gappy)
    np.testing.assert_allclose(scaler.x_centre, np.nanmean(gappy.x, axis=0))
    np.testing.assert_allclose(scaler.x_scale, np.nanstd(gappy.x, axis=0))
    used = [0, 3]
    log_err = np.log(gappy.x_err[:, used])
    np.testing.assert_allclose(scaler.log_err_centre[used], np.nanmean(log_err, axis=0))
    np.testing.assert_allclose(scaler.log_err_scale[used], np.nanstd(log_err, axis=0))
    np.testing.assert_array_equal(scaler.log_err_scale[1:3], 0)
    correction = gappy.y - np.where([True, False, True], gappy.x[:, [3, 0, 0]], 0.0)
    np.testing.assert_allclose(scaler.delta_centre, np.nanmedian(correction, axis=0))
    spread = median_abs_deviation(correction, scale="normal", nan_policy="omit")
    np.testing.assert_allclose(scaler.delta_scale, spread)


def test_the_usual_error_is_the_median_and_stands_for_missing_ones(gappy):
    scaler = Scaler.learn(gappy)
    usual = [0.0, 0.0, np.nanmedian(gappy.y_err[:, 2])]  # B quotes errors of Teff alone
    np.testing.assert_array_equal(scaler.usual_err, usual)
    noise = scaler.noise(gappy.y_err) * scaler.delta_scale
    np.testing.assert_array_equal(noise[:, :2], 0)
    missing = np.isnan(gappy.y_err[:, 2])
    assert 100 < missing.sum() < 200
    np.testing.assert_allclose(noise[:, 2], np.where(missing, usual[2], gappy.y_err[:, 2]))


def test_gaps_stay_gaps_in_scaled_numbers(gappy):
    scaler = Scaler.learn(gappy)
    features = scaler.features(gappy.x, gappy.x_err, (0, 1, 2, 3))
    expected = np.isnan(np.hstack([gappy.x, gappy.x_err[:, [0, 3]]]))
    np.testing.assert_array_equal(np.isnan(features), expected)
    delta = np.isnan(scaler.delta(gappy.x, gappy.y))
    beside = np.isnan(gappy.x[:, [3, 0, 0]]) & [True, False, True]
    np.testing.assert_array_equal(delta, np.isnan(gappy.y) | beside)
