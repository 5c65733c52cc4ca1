"""The network and the probability model against the same written by hand."""

from __future__ import annotations

import math
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import log_density
from scipy import stats

from bayestrans.model import (
    BELOW_ONE_SD,
    FREE_SD,
    PARTIAL,
    Data,
    Kinds,
    Noise,
    Shape,
    correlation,
    location_and_scale,
    model,
    site_shapes,
    tails_of,
)
from bayestrans.network import Network
from bayestrans.programs import compiled
from bayestrans.student import Tails

FUNCTIONS = {
    "tanh": np.tanh,
    "relu": lambda u: np.maximum(u, 0),
    "silu": lambda u: u / (1 + np.exp(-u)),
}
F, N = 3, 8


def draw_weights(shapes: dict, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def as_jax(arrays: dict) -> dict:
    return {name: jnp.asarray(value) for name, value in arrays.items()}


def forward(w: dict, z: np.ndarray, activation) -> np.ndarray:
    """Return a network of hidden widths 4, 4, 2: only the second layer can skip."""
    gain, relevance = np.exp(w["log_gain"]), np.exp(0.5 * w["log_relevance"])
    first = w["weight_0"] @ (relevance[:, None] * z)
    first = activation(gain[0] * first / math.sqrt(3) + w["bias_0"][:, None])
    second = activation(gain[1] * w["weight_1"] @ first / math.sqrt(4) + w["bias_1"][:, None])
    second += first
    third = activation(gain[2] * w["weight_2"] @ second / math.sqrt(4) + w["bias_2"][:, None])
    return w["weight_out"] @ third / math.sqrt(2)


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_the_network_is_the_formula(activation):
    network = Network((4, 4, 2), activation)
    weights = draw_weights(network.shapes(F, 5))
    z = np.random.default_rng(1).normal(size=(F, N))
    found = compiled(network)(as_jax(weights), jnp.asarray(z))
    np.testing.assert_allclose(
        found, forward(weights, z, FUNCTIONS[activation]), rtol=2e-5, atol=1e-5
    )


def test_the_first_layer_has_no_skip():
    network = Network((3,))
    weights = draw_weights(network.shapes(3, 2))
    z = np.random.default_rng(1).normal(size=(3, N))
    gain = math.exp(weights["log_gain"][0])
    seen = np.exp(0.5 * weights["log_relevance"])[:, None] * z
    hidden = np.tanh(gain * weights["weight_0"] @ seen / math.sqrt(3) + weights["bias_0"][:, None])
    expected = weights["weight_out"] @ hidden / math.sqrt(3)
    np.testing.assert_allclose(network(as_jax(weights), jnp.asarray(z)), expected, atol=3e-6)


@pytest.mark.parametrize("width", [4, 256])
def test_fan_in_keeps_the_output_spread_whatever_the_width(width):
    network = Network((width,))
    z = jnp.asarray(np.random.default_rng(1).normal(size=(F, 1)))
    found = [
        float(network(as_jax(draw_weights(network.shapes(F, 1), seed)), z)[0, 0])
        for seed in range(300)
    ]
    assert 0.4 < np.std(found) < 1.0  # a tanh unit's rms under a unit-normal argument: 0.63


def test_shapes_are_those_of_the_weights():
    assert Network((4, 2)).shapes(3, 6) == {
        "weight_0": (4, 3),
        "bias_0": (4,),
        "weight_1": (2, 4),
        "bias_1": (2,),
        "log_gain": (2,),
        "log_relevance": (3,),
        "weight_out": (6, 2),
    }


def test_a_linear_network_has_no_weights():
    assert Network(()).shapes(3, 6) == {}
    shape = Shape.of(Network(()), Noise(), 2)
    assert set(site_shapes(shape, 3)) == {
        "intercept",
        "slope",
        "log_scatter",
        "error_factor",
        "corr_cholesky",
        "dof_above_2",
        "outlier_odds",
        "outlier_width_above_1",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((4, 0),), "at least 1"),
        (((-1,),), "at least 1"),
        (((4,), "gelu"), "'gelu' is unknown; choose one of tanh"),
    ],
)
def test_an_impossible_network_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Network(*arguments)


@pytest.mark.parametrize("scatter", [(0.0,), (-1.0,), (1.0, math.nan), (math.inf,)])
def test_an_impossible_scatter_is_refused(scatter):
    with pytest.raises(ValueError, match="positive and finite"):
        Noise(scatter=scatter)


@pytest.mark.parametrize("dof", [2.0, 0.5, -math.inf, math.nan])
def test_noise_without_a_variance_is_refused(dof):
    with pytest.raises(ValueError, match="must exceed 2"):
        Noise(dof=dof)


def test_a_factor_of_errors_is_learned_unless_the_scatter_is_known():
    assert Noise().error_factor == Noise(error_factor="below one").error_factor
    assert Noise(scatter=(1.0,)).error_factor == "one"


def test_a_factor_of_errors_beside_a_known_scatter_is_refused():
    with pytest.raises(ValueError, match="leave one out"):
        Noise(scatter=(1.0,), error_factor="free")


def test_an_unknown_kind_of_factor_is_refused_with_those_there_are():
    with pytest.raises(
        ValueError, match="'two' is unknown; choose one of 'one', 'below one', 'free'"
    ):
        Noise(error_factor="two")


K = 2


@pytest.fixture
def data() -> Data:
    rng = np.random.default_rng(2)
    delta = rng.normal(size=(K, N))
    delta[0, 3] = np.nan
    err = rng.uniform(0.1, 0.5, (K, N))
    err[:, 0] = 0
    z, whole = rng.normal(size=(F, N)), (np.zeros(N), np.arange(N), np.empty((0, 3), dtype=int))
    z[-2:] = np.where(np.arange(N) % 3 == 0, 1.0, -1.0) * [[1.0], [-1.0]]  # may mark two kinds
    arrays = (z, delta, err, np.array([0.4, 0.9]), *whole)
    return Data(*(jnp.asarray(array) for array in arrays))


@pytest.fixture
def gappy(data) -> Data:
    """Return the same rows, of which the last six complete two stars."""
    log_weight = np.where(np.arange(N) < 2, 0.0, np.random.default_rng(4).normal(0, 2, N))
    star = np.array([0, 1, 2, 2, 2, 3, 3, 3])
    return data._replace(
        log_weight=jnp.asarray(log_weight),
        star=jnp.asarray(star),
        copies=jnp.asarray(np.arange(2, 8).reshape(2, 3)),
    )


def point(shape: Shape) -> dict[str, np.ndarray]:
    """Return some values of the unknowns that the prior allows."""
    values = draw_weights(site_shapes(shape, F), seed=3)
    positive = {"amplitude", "scatter_amplitude", "error_factor", "dof_above_2"}
    for name in positive | {"outlier_odds", "outlier_width_above_1"}:
        if name in values:
            values[name] = np.abs(values[name]) + 0.3
    if shape.error_factor == "below one":
        values["error_factor"] = np.linspace(0.4, 0.9, len(values["error_factor"]))
    if shape.correlated:
        rho = -0.6
        values["corr_cholesky"] = np.array([[1, 0], [rho, math.sqrt(1 - rho**2)]])
    return values


def sites(values: dict) -> dict:
    """Return the values as the model draws them: of a correlation, what has no bounds."""
    found = {name: value for name, value in values.items() if name != "corr_cholesky"}
    if "corr_cholesky" in values:
        found[PARTIAL] = np.arctanh(values["corr_cholesky"][1:, 0])
    return as_jax(found)


def log_prior(values: dict, shape: Shape) -> float:
    """Return the log density of the prior, site by site, by scipy."""
    total = 0.0
    for name, value in values.items():
        if name.endswith("amplitude"):
            total += stats.halfnorm.logpdf(value).sum()
        elif name == "dof_above_2":
            total += stats.gamma.logpdf(value, 2, scale=10)
        elif name == "outlier_odds":
            total += stats.expon.logpdf(value, scale=0.02)
        elif name == "outlier_width_above_1":
            total += stats.lognorm.logpdf(value, 0.5, scale=4.0)
        elif name == "error_factor":
            law = stats.lognorm(FREE_SD)
            if shape.error_factor == "below one":
                law = stats.truncnorm(-1 / BELOW_ONE_SD, 0, 1, BELOW_ONE_SD)
            total += law.logpdf(value).sum()
        elif name == "corr_cholesky":  # LKJ(2) of a 2 x 2 matrix: rho from -1 to 1, Beta(2, 2)
            total += stats.beta.logpdf(value[1, 0], 2, 2, loc=-1, scale=2)
            total += np.log(1 - value[1, 0] ** 2)  # of arctanh(rho)
        else:
            total += stats.norm.logpdf(value).sum()
    return float(total)


def moments(values: dict, data: Data, shape: Shape):
    """Return location and scale (K, N) by numpy."""
    z = np.asarray(data.z, dtype=float)
    unit, guess = np.ones((K, N)), np.zeros(N)
    if shape.kinds:
        first = z[-2] > 0
        unit = np.exp(values["kind_log_unit"][:, np.where(first, 0, 1)])
        if shape.network.hidden:
            guess = np.where(first, z[0], 0.0)
            z = np.vstack([z[0] - guess, z[1:]])
    location = values["intercept"][:, None] + values["slope"] @ z
    if shape.fixed_scatter:
        log_scale = np.log(np.asarray(data.scatter))[:, None] * np.ones((K, N))
    else:
        log_scale = values["log_scatter"][:, None] * np.ones((K, N))
    if shape.network.hidden:
        heads = forward(values, z, np.tanh)
        location = unit * (location + values["amplitude"][:, None] * heads[:K])
        location[0] -= 0.7 * guess
        if not shape.fixed_scatter:
            log_scale = log_scale + values["scatter_amplitude"][:, None] * heads[K:]
    return location, np.exp(log_scale) * (1.0 if shape.fixed_scatter else unit)


def log_likelihoods(values: dict, data: Data, shape: Shape) -> np.ndarray:
    """Return the log density of each row, by scipy."""
    location, scale = moments(values, data, shape)
    root = values.get("corr_cholesky", np.eye(K))
    dof = values["dof_above_2"] + 2 if shape.dof is None else shape.dof
    each = []
    for n in range(N):
        residual = np.asarray(data.delta, dtype=float)[:, n] - location[:, n]
        seen = ~np.isnan(residual)
        d = np.diag(scale[:, n])
        factor = values.get("error_factor", np.ones(K))
        noise = factor * np.asarray(data.err, dtype=float)[:, n]
        matrix = d @ root @ root.T @ d + np.diag(noise**2)
        matrix = matrix[np.ix_(seen, seen)]
        if math.isinf(dof):
            law = partial(stats.multivariate_normal.logpdf, residual[seen])
        else:
            law = partial(stats.multivariate_t.logpdf, residual[seen], df=dof)
        odds, width = (values.get(f"outlier_{w}", 0.0) for w in ("odds", "width_above_1"))
        usual, wider = law(None, matrix), law(None, (1 + width) ** 2 * matrix)
        each.append(np.log((np.exp(usual) + odds * np.exp(wider)) / (1 + odds)))
    return np.array(each)


#: The first of three features is lacking in stars that the second marks; the first output
#: corrects it.
KINDS = Kinds(((True,), (False,)), ((0.7,), (0.0,)))
SHAPES = {
    "all learned": Shape.of(Network((4, 4, 2)), Noise(), K),
    "linear": Shape.of(Network(()), Noise(), K),
    "factor of errors": Shape.of(Network((4, 4, 2)), Noise(error_factor="free"), K),
    "errors as quoted": Shape.of(Network((4, 4, 2)), Noise(error_factor="one"), K),
    "Gaussian with outliers": Shape.of(Network(()), Noise(dof=math.inf, outliers=True), K),
    "without outliers": Shape.of(Network(()), Noise(outliers=False), K),
    "known noise": Shape.of(Network((4, 4, 2)), Noise(scatter=(0.4, 0.9), dof=math.inf), K),
    "uncorrelated": Shape.of(Network(()), Noise(dof=5.0, correlated=False), K),
    "two kinds": Shape.of(Network((4, 4, 2)), Noise(), K, kinds=KINDS),
    "two kinds, known noise": Shape.of(Network(()), Noise(scatter=(0.4, 0.9)), K, kinds=KINDS),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_models_log_density_is_prior_plus_likelihood(shape, data):
    values = point(shape)
    found, _ = log_density(model, (data, shape), {}, sites(values))
    expected = log_prior(values, shape) + log_likelihoods(values, data, shape).sum()
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_star_with_gaps_counts_with_the_weighted_mean_density_of_its_completions(shape, gappy):
    values = point(shape)
    found, _ = log_density(model, (gappy, shape), {}, sites(values))
    rows = log_likelihoods(values, gappy, shape)
    once, copies = rows[:2], (rows + np.asarray(gappy.log_weight, dtype=float))[2:].reshape(2, 3)
    stars = np.log(np.exp(copies).mean(axis=1))
    expected = log_prior(values, shape) + once.sum() + stars.sum()
    assert float(found) == pytest.approx(expected, rel=1e-5)
    assert abs(float(found) - log_prior(values, shape) - rows.sum()) > 0.1


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_location_and_scale_are_the_formula(shape, data):
    values = point(shape)
    found = location_and_scale(as_jax(values), data.z, data.scatter, shape)
    for array, expected in zip(found, moments(values, data, shape), strict=True):
        np.testing.assert_allclose(array, expected, rtol=2e-5, atol=1e-5)


def test_outliers_are_learned_where_the_degrees_of_freedom_are():
    assert Noise().outliers
    assert not Noise(dof=5.0).outliers
    assert Noise(dof=5.0, outliers=True).outliers


def test_no_correlation_is_the_identity_and_given_dof_are_kept():
    shape = SHAPES["uncorrelated"]
    np.testing.assert_array_equal(correlation({}, shape), np.eye(K))
    assert tails_of({}, shape) == Tails(5.0, 0.0, 1.0)


def test_site_shapes_are_what_the_likelihood_needs():
    assert site_shapes(SHAPES["all learned"], F) == {
        "intercept": (2,),
        "slope": (2, 3),
        "weight_0": (4, 3),
        "bias_0": (4,),
        "weight_1": (4, 4),
        "bias_1": (4,),
        "weight_2": (2, 4),
        "bias_2": (2,),
        "log_gain": (3,),
        "log_relevance": (3,),
        "weight_out": (4, 2),
        "amplitude": (2,),
        "log_scatter": (2,),
        "scatter_amplitude": (2,),
        "error_factor": (2,),
        "corr_cholesky": (2, 2),
        "dof_above_2": (),
        "outlier_odds": (),
        "outlier_width_above_1": (),
    }


def test_what_is_given_is_not_learned():
    found = site_shapes(SHAPES["known noise"], F)
    assert not {"log_scatter", "scatter_amplitude", "dof_above_2", "outlier_odds"} & set(found)
    assert "outlier_odds" not in site_shapes(SHAPES["without outliers"], F)
    assert "error_factor" not in site_shapes(SHAPES["errors as quoted"], F)
    assert found["weight_out"] == (2, 2)  # no head for the scatter
    assert "corr_cholesky" not in site_shapes(SHAPES["uncorrelated"], F)
    assert "corr_cholesky" not in site_shapes(Shape.of(Network(()), Noise(), 1), F)
