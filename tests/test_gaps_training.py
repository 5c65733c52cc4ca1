"""Training stars with gaps, here and there or of whole subsets."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from astropy.table import Table
from gappy_stars import CENTRE, COVARIANCE, NAN, SCATTER, SLOPE, SPEC, closed_form, holed, linear

import bayestrans as bt
from bayestrans.density import Density
from bayestrans.target import scaled_data

# ---- training stars with gaps -------------------------------------------------------------


@pytest.fixture(scope="module")
def torn() -> bt.Pairs:
    """Return training stars of which none is complete."""
    rng = np.random.default_rng(12)
    inputs = tuple(bt.Input(n, n, f"e_{n}") for n in SPEC.input_names)
    outputs = (bt.Output("teff", "t_b", "e_t", corrects="teff"), bt.Output("age", "a_b", "e_a"))
    spec = bt.Spec("torn", inputs, outputs)
    whole = linear(300, 13)
    age = 1.5 * (whole.x[:, 1] - 2.5) + rng.normal(0, 0.3, 300)
    y = np.column_stack([whole.y[:, 0], age])
    x_err = rng.lognormal([3.0, -3.0, -3.0], 0.3, (300, 3))
    y_err = rng.lognormal([2.0, -2.0], 0.3, (300, 2))
    y = y + y_err * rng.normal(size=y.shape)
    x, x_err = holed(whole.x, 0.3, 14), holed(x_err, 0.3, 15)
    y, y_err = holed(y, 0.2, 16), holed(y_err, 0.2, 17)
    full = np.isfinite(x).all(axis=1)
    x[full, rng.integers(0, 3, full.sum())] = NAN
    return bt.Pairs(spec, x, x_err, y, y_err, np.arange(300))


@pytest.fixture(scope="module")
def mended(torn) -> bt.Posterior:
    return bt.fit(
        torn,
        method=bt.MCLMC(chains=2, draws=50, steps=500, warm_steps=500),
        network=bt.Network((8,)),
        seed=2,
        calibrate=False,
        progress=False,
    )


def test_a_fit_without_one_complete_star_is_calibrated_and_reported(torn):
    method, network = bt.Ensemble(members=3, warm_steps=200), bt.Network((4,))
    torn = torn.take(np.arange(150))
    mended = bt.fit(torn, method=method, network=network, seed=2, progress=False)
    assert np.isnan(torn.x).any(axis=1).all()
    for array in (torn.x_err, torn.y, torn.y_err):
        assert np.isnan(array).any()
    report = mended.record["held_out_regions"]
    assert set(report) == {"random", "dense", "sparse", "outside"}
    assert report["random"]["n"] > 40
    assert abs(report["random"]["after"]["0.68"] - 0.68) < 0.15
    assert mended.record["missing_inputs"] == np.isnan(torn.x).sum()
    assert np.isfinite(mended.probe_x).all()
    # Filled, these are not the stars that the fit saw: nothing is to be compared with them.
    assert np.isnan(mended.probe_y).all()
    for values in mended.calibration.to_arrays().values():
        assert np.isfinite(values).all()


def test_a_fit_without_one_complete_star_predicts_complete_stars(mended):
    test = linear(300, 18)
    x_err = np.exp(np.tile(mended.scaler.log_err_centre, (300, 1)))
    sample = mended.predict(test.x, x_err)[:, :, 0]
    mean, sd = sample.mean(axis=0), sample.std(axis=0)
    exact = np.array([closed_form(row)[0] for row in test.x])
    # The scatter of 30 K, and what 300 torn stars do not tell.
    assert np.sqrt(np.mean((mean - exact) ** 2)) < 20
    assert SCATTER * 0.8 < np.median(sd) < SCATTER * 1.5
    inside = np.mean(np.abs(test.y[:, 0] - mean) < sd)
    assert inside == pytest.approx(0.68, abs=0.12)


def test_a_fit_without_one_complete_star_covers_stars_with_gaps(mended):
    test = linear(400, 19)
    x = holed(test.x, 0.3, 20)
    x_err = np.exp(np.tile(mended.scaler.log_err_centre, (400, 1)))
    sample = mended.predict(x, x_err)[:, :, 0]
    some = np.isnan(x).any(axis=1)
    pit = (sample < test.y[:, 0]).mean(axis=0)[some]
    for level in (0.68, 0.95):
        share = np.mean(np.abs(pit - 0.5) < level / 2)
        assert share == pytest.approx(level, abs=0.08 if level < 0.9 else 0.05)


# ---- subsets that lack different columns --------------------------------------------------


@pytest.fixture(scope="module")
def subsets() -> tuple[bt.Pairs, bt.Posterior]:
    """Return stars of two subsets, that lack one column each and differ in more, and a fit."""
    pairs = linear(400, 8)
    first = np.arange(len(pairs)) % 2 == 0
    x, y = pairs.x.copy(), pairs.y.copy()
    x[first, 1], x[~first, 2] = NAN, NAN
    y[first] += 200.0  # which nothing tells but what they lack
    pairs = dataclasses.replace(pairs, x=x, y=y)
    method = bt.Ensemble(members=12, warm_steps=500)
    network = bt.Network(())
    return pairs, bt.fit(pairs, method=method, network=network, calibrate=False, progress=False)


def test_the_network_sees_which_subset_a_star_is_of(subsets):
    _, post = subsets
    assert len(post.density.kinds) == 2
    new = linear(400, 9)
    for column, extra in ((1, 200.0), (2, 0.0)):
        x = new.x.copy()
        x[:, column] = NAN
        residual = new.y[:, 0] + extra - post.predict(x, new.x_err, kind="mean").mean(axis=0)[:, 0]
        assert abs(residual.mean()) < 30.0


def test_a_subset_without_the_input_that_is_corrected_has_a_scatter_of_its_own():
    """Half of the stars lack Teff: their corrections are to what log g and [Fe/H] tell of it."""
    pairs = linear(600, 11)
    blind = np.arange(len(pairs)) % 2 == 0
    x = pairs.x.copy()
    x[blind, 0] = NAN
    method = bt.Ensemble(members=12, warm_steps=500)
    post = bt.fit(
        dataclasses.replace(pairs, x=x),
        method=method,
        network=bt.Network(()),
        calibrate=False,
        progress=False,
    )
    given = np.linalg.solve(COVARIANCE[1:, 1:], COVARIANCE[1:, 0])
    left = COVARIANCE[0, 0] - COVARIANCE[0, 1:] @ given
    expected = np.hypot((1.0 + SLOPE[0]) * np.sqrt(left), SCATTER)
    new = linear(400, 12)
    for column, sd in ((0, expected), (None, SCATTER)):
        x = new.x.copy()
        if column is not None:
            x[:, column] = NAN
        found = post.predict(x, new.x_err)[:, :, 0].std(axis=0)
        assert np.median(found) == pytest.approx(sd, rel=0.15)
    units = post.blocks[0].draws["kind_log_unit"].mean(axis=(0, 1))[0]
    lacks = post.density.kinds[:, 0] == 1
    assert (units[lacks] - units[~lacks]).item() > 0.5


def test_what_a_subset_lacks_is_not_integrated_over(subsets):
    pairs, post = subsets
    data = scaled_data(pairs, post.scaler, post.spec.blocks[0], bt.Noise(), post.gaps)
    assert data.z.shape[1] == len(pairs)
    assert not post.gaps.missing(pairs.x, pairs.x_err).any()
    one = pairs.x[:1].copy()
    one[0, 0] = NAN  # more than its subset lacks
    assert post.gaps.missing(one, pairs.x_err[:1]).all()


def test_a_star_of_no_known_subset_is_taken_as_of_the_nearest(subsets):
    _, post = subsets
    x = np.array([CENTRE, CENTRE, CENTRE])
    x[1:, 1] = NAN
    x[2, 0] = NAN
    kind = post.gaps.kind(x, np.full(x.shape, NAN))
    assert post.density.kinds[kind[1]].tolist() == [0, 1, 0]
    assert kind[2] == kind[1]
    assert np.isfinite(post.predict(x, np.full(x.shape, NAN))).all()


def test_a_star_of_no_known_subset_is_flagged(subsets):
    pairs, post = subsets
    x = pairs.x[:4].copy()
    x[2] = CENTRE  # lacks nothing, where every training star lacked something
    x[3, 0] = NAN
    found = bt.translate(post, Table(x, names=["teff", "logg", "fe_h"]), progress=False)
    assert (np.asarray(found["flags"]) & (1 | 128)).tolist() == [1, 1, 128, 1 | 128]


def test_a_model_of_subsets_survives_its_file(subsets, tmp_path):
    pairs, post = subsets
    post.save(tmp_path / "m.nc")
    some = pairs.take(np.arange(10))
    np.testing.assert_array_equal(bt.load(tmp_path / "m.nc").predict(some), post.predict(some))


def test_gaps_here_and_there_make_no_subsets():
    x = holed(np.random.default_rng(1).normal(size=(500, 6)), 0.3, 2)
    assert Density.learn(x).kinds.tolist() == [[0] * 6]


def test_networks_of_a_star_with_gaps_are_correlated_through_what_is_missing():
    """The closed form: both outputs depend on log g, which is missing."""
    pairs = linear(400, 10)
    other = bt.Output("other", "other", extrinsic=True)
    spec = dataclasses.replace(SPEC, outputs=(*SPEC.outputs, other))
    extra = 2.0 * pairs.x[:, 1] + np.random.default_rng(3).normal(0, 0.1, len(pairs))
    y = np.column_stack([pairs.y[:, 0], extra])
    pairs = bt.Pairs(spec, pairs.x, pairs.x_err, y, np.full(y.shape, NAN), pairs.ids)
    method = bt.MCLMC(chains=2, draws=125, steps=1000, warm_steps=500)
    noise = bt.Noise(scatter=(SCATTER, 0.1), dof=math.inf)
    options = {"network": bt.Network(()), "calibrate": False, "progress": False}
    post = bt.fit(pairs, method=method, noise=noise, **options)
    table = Table({"teff": [4800.0, 5000.0], "logg": [NAN, 2.5], "fe_h": [-0.2, -0.2]})
    found = bt.translate(post, table, progress=False)
    left = 1.0 / np.linalg.inv(COVARIANCE)[1, 1]
    variance = np.array([SLOPE[1], 2.0]) ** 2 * left + np.array([SCATTER, 0.1]) ** 2
    expected = SLOPE[1] * 2.0 * left / np.sqrt(variance.prod())
    assert expected < -0.5
    assert found["corr_teff_other"][0] == pytest.approx(expected, abs=0.12)
    assert found["corr_teff_other"][1] == 0.0
