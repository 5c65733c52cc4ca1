"""What a posterior predicts."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats
from tiny import LINEAR, NAN, SMALL, SPEC, stars

import bayestrans as bt
from bayestrans.baseline import Baseline
from bayestrans.calibration import Calibration, doubting
from bayestrans.gaps import Gaps
from bayestrans.model import Shape, site_shapes
from bayestrans.neighbours import Neighbours
from bayestrans.posterior import CHUNK, BlockDraws, Posterior
from bayestrans.scale import Scaler

DRAWS, STARS = 400, 120
DOF = 6.0
NOISE = bt.Noise(dof=DOF, error_factor="free")


def invented(pairs: bt.Pairs, network=SMALL, noise=NOISE) -> Posterior:
    """Return a posterior whose draws were not fitted but drawn: 2 chains of half of `DRAWS`."""
    rng = np.random.default_rng(9)
    scaler, blocks = Scaler.learn(pairs), []
    for block in pairs.spec.blocks:
        shape = Shape.of(network, noise, len(block.outputs))
        sites = site_shapes(shape, scaler.n_features(block.inputs))
        draws = {n: 0.5 * rng.normal(size=(2, DRAWS // 2, *s)) for n, s in sites.items()}
        if shape.correlated:
            rho = np.tanh(draws["corr_cholesky"][..., 1, 0] + 1)
            rows = np.stack([1 + 0 * rho, 0 * rho, rho, np.sqrt(1 - rho**2)], axis=-1)
            draws["corr_cholesky"] = rows.reshape(2, -1, 2, 2)
        draws = {n: values.astype(np.float32) for n, values in draws.items()}
        stats_ = {"log_density": np.zeros((2, DRAWS // 2))}
        blocks.append(BlockDraws(block, draws, stats_, {"steps": 1}))
    return Posterior(
        pairs.spec,
        network,
        noise,
        scaler,
        tuple(blocks),
        Gaps.learn(scaler, pairs).density,
        Neighbours.learn(pairs.x, (0, 1)),
        Calibration.identity(len(pairs.spec.outputs)),
        Baseline.learn(pairs, scaler),
        pairs.x[:5],
        pairs.x_err[:5],
        pairs.y[:5],
        pairs.y_err[:5],
        {"stars": len(pairs)},
    )


@pytest.fixture(scope="module")
def made() -> Posterior:
    return invented(stars(300))


@pytest.fixture(scope="module")
def new() -> bt.Pairs:
    """Return stars to predict."""
    return stars(STARS, seed=1)


def components(made: Posterior, pairs: bt.Pairs):
    """Return location, scale (draw, star, output) in units and corr (draw, 2, 2) of the mixture."""
    location = np.empty((DRAWS, len(pairs), 3))
    scale, corr = location.copy(), None
    for block in made.blocks:
        for rows, found in made.mixtures(block, pairs.x, pairs.x_err):
            for k, output in enumerate(block.block.outputs):
                location[:, rows, output] = found.location[:, k]
                scale[:, rows, output] = found.scale[:, k]
        if len(block.block.outputs) == 2:
            corr = np.asarray(found.corr)
    unit = made.scaler.delta_scale
    return made.scaler.restore(pairs.x, location), scale * unit, corr


def test_draws_have_the_documented_shape(made, new):
    for kind in ("mean", "true", "measured"):
        assert made.predict(new, kind=kind).shape == (DRAWS, STARS, 3)
    assert made.predict(new.x[:0], new.x_err[:0]).shape == (DRAWS, 0, 3)
    assert made.n_draws == DRAWS


def test_a_linear_mean_is_the_formula():
    pairs, new = stars(300), stars(7, seed=1)
    made = invented(pairs, LINEAR)
    found = made.predict(new, kind="mean")
    z = np.hstack(
        [
            (new.x - pairs.x.mean(axis=0)) / pairs.x.std(axis=0),
            (np.log(new.x_err) - np.log(pairs.x_err).mean(axis=0))
            / np.log(pairs.x_err).std(axis=0),
        ]
    )
    intrinsic, rv = made.blocks
    for chain, draw in ((0, 0), (1, 17)):
        row = chain * DRAWS // 2 + draw
        slope, start = (intrinsic.draws[n][chain, draw] for n in ("slope", "intercept"))
        delta = start + z[:, [0, 1, 3, 4]] @ slope.T
        shift = np.median(pairs.y[:, 1] - pairs.x[:, 0])
        spread = stats.median_abs_deviation(pairs.y[:, 1] - pairs.x[:, 0], scale="normal")
        teff = new.x[:, 0] + shift + spread * delta[:, 0]
        np.testing.assert_allclose(found[row, :, 1], teff, atol=0.01)
        spread = stats.median_abs_deviation(pairs.y[:, 2], scale="normal")
        mass = np.median(pairs.y[:, 2]) + spread * delta[:, 1]
        np.testing.assert_allclose(found[row, :, 2], mass, atol=1e-5)
        slope, start = (rv.draws[n][chain, draw] for n in ("slope", "intercept"))
        correction = pairs.y[:, 0] - pairs.x[:, 2]
        spread = stats.median_abs_deviation(correction, scale="normal")
        delta = start + z @ slope.T
        velocity = new.x[:, 2] + np.median(correction) + spread * delta[:, 0]
        np.testing.assert_allclose(found[row, :, 0], velocity, atol=1e-5)


def test_the_mean_has_no_noise(made, new):
    mean = made.predict(new, kind="mean", seed=1)
    np.testing.assert_array_equal(mean, made.predict(new, kind="mean", seed=2))
    np.testing.assert_allclose(mean, components(made, new)[0], rtol=1e-12)


def test_true_draws_have_the_moments_of_the_mixture(made, new):
    location, scale, _ = components(made, new)
    true = made.predict(new, seed=3)
    variance = (scale**2).mean(axis=0) * DOF / (DOF - 2) + location.var(axis=0)
    pull = (true.mean(axis=0) - location.mean(axis=0)) / np.sqrt(variance / DRAWS)
    assert np.abs(pull.mean(axis=0)).max() < 4 / math.sqrt(STARS)
    ratio = (true.var(axis=0) / variance).mean(axis=0)
    np.testing.assert_allclose(ratio, 1, atol=0.08)


@pytest.mark.parametrize("kind", ["true", "measured"])
def test_noise_is_the_likelihoods_student_t(made, new, kind):
    location, scale, corr = components(made, new)
    factor = np.empty((DRAWS, 1, 3))
    for block in made.blocks:
        factor[:, 0, block.block.outputs] = block.draws["error_factor"].reshape(DRAWS, -1)
    err = factor * new.y_err if kind == "measured" else np.zeros_like(new.y_err)
    width = np.sqrt(scale**2 + err**2)
    residual = made.predict(new, kind=kind, seed=5) - location
    for output in range(3):
        t = residual[:, :, output] / width[:, :, output]
        assert stats.kstest(t.ravel(), stats.t(DOF).cdf).pvalue > 1e-3
    # The joint law of the two intrinsic outputs: their Mahalanobis distance follows an F.
    a, b = residual[:, :, 1] / width[:, :, 1], residual[:, :, 2] / width[:, :, 2]
    between = scale[:, :, 1] * scale[:, :, 2] / (width[:, :, 1] * width[:, :, 2])
    rho = corr[:, None, 0, 1] * between
    distance = (a**2 - 2 * rho * a * b + b**2) / (1 - rho**2)
    assert stats.kstest(distance.ravel() / 2, stats.f(2, DOF).cdf).pvalue > 1e-3
    assert np.abs(rho).mean() > 0.3  # so that forgetting it would show


def test_gaussian_noise_is_gaussian(new):
    made = invented(stars(300), noise=bt.Noise(scatter=(0.4, 50.0, 0.2), dof=math.inf))
    noise = made.predict(new, seed=1) - made.predict(new, kind="mean")
    for output, scatter in enumerate((0.4, 50.0, 0.2)):
        scaled = noise[:, :, output].ravel() / scatter
        assert stats.kstest(scaled, stats.norm.cdf).pvalue > 1e-3


def test_correlations_between_outputs_are_kept(made, new):
    """Taking out each draw's correlation leaves none, where it is weak and where it is strong."""
    location, scale, corr = components(made, new)
    residual = (made.predict(new, seed=7) - location) / scale
    rho = corr[:, 0, 1, None]
    teff, mass = residual[:, :, 1], residual[:, :, 2]
    rest = (mass - rho * teff) / np.sqrt(1 - rho**2)
    for chosen in (rho[:, 0] < 0.75, rho[:, 0] >= 0.75):
        assert stats.spearmanr(teff[chosen].ravel(), mass[chosen].ravel()).statistic > 0.3
        left = stats.spearmanr(teff[chosen].ravel(), rest[chosen].ravel()).statistic
        assert abs(left) < 3.5 / math.sqrt(chosen.sum() * STARS)


def test_networks_draws_and_stars_have_noise_of_their_own(made, new):
    location, scale, _ = components(made, new)
    noise = (made.predict(new, seed=7) - location) / scale
    rank = stats.rankdata(noise, axis=0) / DRAWS
    assert abs(np.corrcoef(rank[:, :, 0].ravel(), rank[:, :, 1].ravel())[0, 1]) < 0.02
    among_stars = np.corrcoef(rank[:, :, 1], rowvar=False) - np.eye(STARS)
    assert np.abs(among_stars).max() < 5 / math.sqrt(DRAWS)
    among_draws = np.corrcoef(rank[:, :, 1]) - np.eye(DRAWS)
    assert np.abs(among_draws).max() < 6 / math.sqrt(STARS)


@pytest.fixture(scope="module")
def many(made) -> tuple[bt.Pairs, np.ndarray]:
    """Return more stars than one chunk, and a few of their draws."""
    pairs = stars(CHUNK + 30, seed=2)
    return pairs, made.predict(pairs, draws=40, seed=3)


@pytest.mark.parametrize(
    "rows",
    [
        np.arange(CHUNK + 30)[::-1],
        np.array([CHUNK + 3]),
        np.arange(5, 300, 7),
        np.array([0, 1, 0, CHUNK]),
    ],
    ids=["reversed", "alone", "some", "repeated"],
)
def test_a_stars_draws_do_not_depend_on_its_company(made, many, rows):
    pairs, all_draws = many
    again = made.predict(pairs.x[rows], pairs.x_err[rows], draws=40, seed=3)
    np.testing.assert_array_equal(again, all_draws[:, rows])


def test_a_missing_star_does_not_move_the_others(made, many):
    pairs, all_draws = many
    x = pairs.x.copy()
    x[::3, 0] = NAN
    x[::6] = NAN
    again = made.predict(x, pairs.x_err, draws=40, seed=3)
    assert np.isnan(again[:, ::6]).all()
    assert np.isfinite(again[:, 3::6]).all()
    kept = np.arange(len(x)) % 3 > 0
    np.testing.assert_array_equal(again[:, kept], all_draws[:, kept])


def test_the_seed_decides_the_noise(made, new):
    first = made.predict(new, seed=1)
    np.testing.assert_array_equal(first, made.predict(new, seed=1))
    assert (first != made.predict(new, seed=2)).mean() > 0.99


def test_fewer_draws_are_evenly_spaced(made, new):
    mean = made.predict(new, kind="mean")
    for count in (1, 40):
        fewer = made.predict(new, kind="mean", draws=count)
        np.testing.assert_array_equal(fewer, mean[np.arange(count) * DRAWS // count])


def test_pairs_bring_their_own_errors(made, new):
    for kind in ("true", "measured"):
        np.testing.assert_array_equal(
            made.predict(new, kind=kind),
            made.predict(new.x, new.x_err, kind=kind, y_err=new.y_err),
        )
    np.testing.assert_array_equal(bt.predict(made, new, seed=2), made.predict(new, seed=2))


def test_a_missing_output_error_counts_as_the_usual_one(made, new):
    usual = np.tile(np.median(stars(300).y_err, axis=0), (STARS, 1))
    some = np.where(np.arange(STARS)[:, None] % 2 == 0, new.y_err, NAN)
    np.testing.assert_array_equal(
        made.predict(new, kind="measured", y_err=some),
        made.predict(new, kind="measured", y_err=np.where(np.isnan(some), usual, some)),
    )


def test_a_missing_output_error_counts_as_none_where_no_training_star_has_one(new):
    pairs = stars(300)
    pairs.y_err[:] = NAN
    made, nothing = invented(pairs), np.full_like(new.y_err, NAN)
    np.testing.assert_array_equal(
        made.predict(new, kind="measured", y_err=nothing), made.predict(new)
    )


@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf])
def test_a_missing_intrinsic_input_is_integrated_over(made, new, value):
    x = new.x.copy()
    x[4, 0] = value
    found, whole = made.predict(x, new.x_err), made.predict(new)
    # Teff cannot be known better than among all stars, nor worse by much: it has 400 K there.
    assert 300 < found[:, 4, 1].std() < 700
    assert found[:, 4, 1].std() > 1.5 * whole[:, 4, 1].std()
    assert np.isfinite(found).all()
    others = np.arange(STARS) != 4
    np.testing.assert_array_equal(found[:, others], whole[:, others])
    x[4, 0] = NAN
    np.testing.assert_array_equal(found, made.predict(x, new.x_err))


@pytest.mark.parametrize("value", [NAN, 0.0, -1.0, math.inf])
def test_a_missing_or_impossible_error_is_integrated_over(made, new, value):
    x_err = new.x_err.copy()
    x_err[4, 1] = value
    found, whole = made.predict(new.x, x_err), made.predict(new)
    assert np.isfinite(found).all()
    assert (found[:, 4] != whole[:, 4]).all()
    others = np.arange(STARS) != 4
    np.testing.assert_array_equal(found[:, others], whole[:, others])
    x_err[4, 1] = NAN
    np.testing.assert_array_equal(found, made.predict(new.x, x_err))


def test_a_missing_velocity_leaves_the_intrinsic_outputs_as_they_are(made, new):
    x = new.x.copy()
    x[4, 2] = NAN
    found, whole = made.predict(x, new.x_err, kind="mean"), made.predict(new, kind="mean")
    assert np.isfinite(found).all()
    assert found[:, 4, 0].std() > 20 > 10 * whole[:, 4, 0].std()
    np.testing.assert_array_equal(found[:, :, 1:], whole[:, :, 1:])


def test_errors_that_the_model_does_not_use_may_be_missing(new):
    pairs = stars(300)
    pairs.x_err[:] = 1.0
    made = invented(pairs)
    assert made.predict(new.x, draws=40).shape == (40, STARS, 3)
    with_errors = made.predict(new.x, new.x_err, kind="mean", draws=40)
    np.testing.assert_array_equal(made.predict(new.x, kind="mean", draws=40), with_errors)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"x": np.ones((4, 2))}, r"x has shape \(4, 2\); give \(N, 3\) .* teff, fe_h, rv"),
        ({"x": np.ones(3)}, r"x has shape \(3,\); give \(N, 3\)"),
        ({"x_err": None}, r"x_err is missing; the model uses the errors of teff, fe_h, rv"),
        ({"x_err": np.ones((3, 3))}, r"x_err has shape \(3, 3\); x has \(4, 3\)"),
        ({"kind": "median"}, r"kind is 'median'; choose 'true', 'measured' or 'mean'"),
        ({"kind": "measured"}, r"needs y_err, the quoted errors of survey B"),
        ({"draws": DRAWS + 1}, rf"{DRAWS + 1} draws asked; the model holds {DRAWS}"),
        ({"draws": 0}, r"0 draws asked"),
        ({"kind": "measured", "y_err": np.ones(3)}, r"y_err has shape \(3,\)"),
        ({"kind": "measured", "y_err": np.ones((4, 2))}, r"y_err has shape \(4, 2\)"),
        ({"kind": "measured", "y_err": np.ones((5, 3))}, r"y_err has shape \(5, 3\)"),
    ],
)
def test_what_cannot_be_predicted_is_refused(made, options, words):
    arguments = {"x": np.ones((4, 3)), "x_err": np.ones((4, 3))} | options
    with pytest.raises(ValueError, match=words):
        made.predict(arguments.pop("x"), **arguments)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (SPEC.inputs[::-1], r"'rv', 'km/s'\) where the model has \('teff', 'K'\)"),
        ((SPEC.inputs[0], bt.Input("fe_h", "f", unit="mag"), SPEC.inputs[2]), r"'fe_h', 'mag'"),
        ((SPEC.inputs[0], bt.Input("fe_h", "f"), SPEC.inputs[2]), r"no errors of fe_h"),
    ],
    ids=["order", "unit", "no errors"],
)
def test_stars_of_another_spec_are_refused(made, inputs, words):
    spec = dataclasses.replace(SPEC, inputs=inputs)
    with pytest.raises(ValueError, match=rf"{words}.*read them with the model's own spec"):
        made.predict(stars(3, spec=spec))


# "intrinsic" collides with the others' network, "/" is no name in netCDF, and the arrays of
# "rv.b" look like arrays of "rv".
@pytest.mark.parametrize("name", ["intrinsic", "v/c", "rv.b"])
def test_any_name_of_an_extrinsic_output_is_saved_or_refused_at_once(name, tmp_path):
    other = dataclasses.replace(SPEC.outputs[2], name=name, extrinsic=True)
    try:
        spec = dataclasses.replace(SPEC, outputs=(*SPEC.outputs[:2], other))
    except bt.SpecError:
        return
    made = invented(stars(300, spec=spec))
    made.save(tmp_path / "model.nc")
    loaded = bt.load(tmp_path / "model.nc")
    some = stars(3, seed=1, spec=spec)
    np.testing.assert_array_equal(
        loaded.predict(some, kind="mean"), made.predict(some, kind="mean")
    )


@pytest.mark.parametrize("kind", ["true", "mean"])
def test_a_calibration_stretches_but_keeps_the_ranks_in_each_camp(kind):
    """And so the rank correlations of a star's outputs, of draws that doubt the network or not."""
    pairs = stars(STARS)
    plain = invented(pairs)
    one = np.ones(3)
    learned = Calibration(0.2 * one, 0.1 * one, np.array([1.0, 2.0, 3.0]))
    before = plain.predict(pairs, kind=kind)
    after = dataclasses.replace(plain, calibration=learned).predict(pairs, kind=kind)
    doubters = doubting(len(before))
    for camp in (doubters, ~doubters):
        place = [np.argsort(np.argsort(d[camp], axis=0), axis=0) for d in (before, after)]
        # Numbers that are equal in single precision may change places.
        assert np.abs(place[0] - place[1]).max() <= 2
    assert (after.std(axis=0) > 1.1 * before.std(axis=0)).all()
