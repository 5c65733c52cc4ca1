"""Few draws and cheap quantiles against all draws and exact ones."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Table
from scipy import stats

from bayestrans import answers as engine
from bayestrans.answers import Answers
from bayestrans.calibration import Change
from bayestrans.catalogue import Inputs
from bayestrans.model import Shape, location_and_scale, site_shapes
from bayestrans.moments import Summary, moments
from bayestrans.network import Network
from bayestrans.predictive import Mixture, calibrated, mixture
from bayestrans.programs import compiled
from bayestrans.student import Tails, from_polynomial, polynomial
from bayestrans.summary import (
    BUNDLE,
    CACHED,
    chosen,
    room,
    summarise,
)
from bayestrans.thin import COUNTS, _exchanged, _herded, fewest

K, FEATURES = 3, 5
ONES = jnp.ones(K)


def network(draws: int, dof: float | None = None, spread: float = 0.2) -> tuple[dict, Shape]:
    """Return draws about one function, with outliers where ``dof`` is None, and their shape."""
    rng = np.random.default_rng(0)
    shape = Shape(Network((8,)), K, False, dof, True, outliers=dof is None)
    sites = {
        name: rng.normal(size=size) + spread * rng.normal(size=(draws, *size))
        for name, size in site_shapes(shape._replace(outliers=False), FEATURES).items()
    }
    corr = np.linalg.cholesky(np.array([[1, 0.5, -0.2], [0.5, 1, 0.1], [-0.2, 0.1, 1]]))
    sites["corr_cholesky"] = np.broadcast_to(corr, (draws, K, K))
    if dof is None:
        sites["dof_above_2"] = rng.uniform(0.5, 8, draws)
        sites["outlier_odds"] = rng.uniform(0.03, 0.05, draws)
        sites["outlier_width_above_1"] = rng.uniform(4, 5, draws)
    return {n: np.asarray(v, dtype=np.float32) for n, v in sites.items()}, shape


def exactly(draws: dict, shape: Shape, z: np.ndarray) -> Summary:
    """Summarise all draws with quantiles by bisection."""
    found = mixture({n: jnp.asarray(v) for n, v in draws.items()}, jnp.asarray(z.T), ONES, shape)
    return moments(found, chosen(draws, np.arange(len(found.location)), shape).table)


def nothing(count: int) -> tuple[np.ndarray, Change]:
    """Return a linear mean for so many stars, and a calibration that changes nothing."""
    one = np.ones((count, K))
    return np.zeros((count, K)), Change(one, one, one)


@pytest.mark.parametrize("dof", [None, 3.0, np.inf])
@pytest.mark.parametrize(("spread", "share"), [(0.02, 0.98), (0.1, 0.5), (0.2, 0.1)])
def test_summaries_of_the_same_draws_are_the_exact_ones(dof, spread, share):
    """Quantiles to 1 % of the half-width, where they say that they can be trusted."""
    draws, shape = network(40, dof, spread)
    z = np.random.default_rng(1).normal(size=(300, FEATURES))
    exact = exactly(draws, shape, z)
    found, straight = summarise(chosen(draws, np.arange(40), shape), z, ONES, *nothing(300), shape)
    for name in ("mean", "sd", "sd_model", "corr"):
        want = np.asarray(getattr(exact, name))
        np.testing.assert_allclose(getattr(found, name), want, rtol=2e-3, atol=2e-3, err_msg=name)
    low, _, high = np.asarray(exact.quantiles)
    away = np.abs(found.quantiles - exact.quantiles) / (0.5 * (high - low))
    assert straight.mean() >= share
    trusted = away[..., straight]
    assert np.sqrt(np.append(trusted**2, 0.0).mean()) < 0.01 + 0.1 * spread
    assert trusted.max(initial=0.0) < 0.2


def test_calibration_moves_and_stretches_summaries():
    draws, shape = network(20)
    z, part = np.zeros((4, FEATURES)), chosen(draws, np.arange(20), shape)
    plain, _ = summarise(part, z, ONES, *nothing(4), shape)
    linear, *change = (np.full((4, K), v) for v in (5.0, 0.25, 3.0, 1.0))
    found, _ = summarise(part, z, ONES, linear, Change(*change), shape)
    np.testing.assert_allclose(found.mean, 0.25 * plain.mean + 0.75 * 5.0, rtol=1e-5)
    np.testing.assert_allclose(found.sd, 3 * plain.sd, rtol=1e-5)
    width = found.quantiles[2] - found.quantiles[0]
    np.testing.assert_allclose(width, 3 * (plain.quantiles[2] - plain.quantiles[0]), rtol=1e-4)
    np.testing.assert_allclose(found.corr, plain.corr, rtol=1e-5)


@pytest.mark.parametrize("dof", [None, np.inf])
@pytest.mark.parametrize("spread", [0.02, 0.1])
@pytest.mark.parametrize("doubt", [1.2, 3.0, 10.0])
def test_summaries_with_doubt_are_those_of_draws_that_all_stand_for_both_kinds(dof, spread, doubt):
    """Of each four equal draws one doubts: what a catalogue says is no matter of which do."""
    draws, shape = network(40, dof, spread)
    z = np.random.default_rng(1).normal(size=(300, FEATURES))
    factor = np.broadcast_to(np.array([doubt, 0.5 + doubt / 2, 1.0]), (300, K))
    linear, change = np.zeros((300, K)), Change(np.ones((300, K)), np.ones((300, K)), factor)
    found, straight = summarise(chosen(draws, np.arange(40), shape), z, ONES, linear, change, shape)
    fours = {n: np.repeat(v, 4, axis=0) for n, v in draws.items()}
    plain = mixture({n: jnp.asarray(v) for n, v in fours.items()}, jnp.asarray(z.T), ONES, shape)
    moved = calibrated(plain, linear.T, Change(*(jnp.asarray(a.T) for a in change)))
    exact = moments(moved, chosen(fours, np.arange(160), shape).table)
    for name in ("mean", "sd", "sd_model", "corr"):
        want = np.asarray(getattr(exact, name))
        np.testing.assert_allclose(getattr(found, name), want, rtol=3e-3, atol=3e-3, err_msg=name)
    low, _, high = np.asarray(exact.quantiles)
    away = np.abs(found.quantiles - exact.quantiles) / (0.5 * (high - low))
    assert straight.mean() > (0.9 if spread == 0.02 and doubt < 10.0 else 0.1)
    trusted = away[..., straight]
    assert np.sqrt(np.mean(trusted**2)) < 0.02 + 0.1 * spread
    assert trusted.max() < 0.2


def test_more_stars_than_one_call_takes_are_summarised_alike():
    draws, shape = network(16)
    part = chosen(draws, np.arange(16), shape)
    z = np.random.default_rng(2).normal(size=(BUNDLE + 7, FEATURES))
    found, _ = summarise(part, z, ONES, *nothing(len(z)), shape)
    last, _ = summarise(part, z[-7:], ONES, *nothing(7), shape)
    for name in found._fields:
        np.testing.assert_array_equal(getattr(found, name)[..., -7:], getattr(last, name))


@pytest.mark.parametrize("dof", [2.05, 3.0, 8.0, 100.0, np.inf])
def test_the_polynomial_is_the_distribution_function(dof):
    t = np.linspace(-30, 30, 2001)
    table = jnp.asarray(polynomial(Tails(np.array([dof])))[0], jnp.float32)
    exact = stats.t.cdf(t, dof) - 0.5
    away = np.abs(np.asarray(from_polynomial(jnp.asarray(t), table)) - exact)
    assert away.max() < 0.01
    assert away[np.abs(t) < 2.5].max() < 0.002


def full(draws: int, dof: float | None = None) -> Mixture:
    """Return the mixture of many draws at 120 stars."""
    sites, shape = network(draws, dof, spread=0.1)
    z = jnp.asarray(np.random.default_rng(3).normal(size=(FEATURES, 120)))
    return mixture({n: jnp.asarray(v) for n, v in sites.items()}, z, jnp.ones(K), shape)


# With 2.05 the standard deviation is six times the core's width: 2 % of it is much.
@pytest.mark.parametrize("dof", [None, 2.05, np.inf])
def test_the_fewest_draws_summarise_other_stars_as_all_do(dof):
    sites, shape = network(600, dof, spread=0.1)
    rows = fewest(full(600, dof))
    assert len(rows) in COUNTS
    assert len(set(rows.tolist())) == len(rows)
    z = np.random.default_rng(4).normal(size=(200, FEATURES))
    every, some = (
        exactly({n: v[r] for n, v in sites.items()}, shape, z) for r in (np.arange(600), rows)
    )
    low, _, high = np.asarray(every.quantiles)
    for name in ("mean", "sd", "quantiles", "corr"):
        away = np.asarray(getattr(some, name)) - np.asarray(getattr(every, name))
        unit = {"corr": 1.0, "sd": np.asarray(every.sd)}.get(name, 0.5 * (high - low))
        assert np.sqrt(np.mean((away / unit) ** 2)) < 0.02, name


def test_draws_that_are_all_alike_need_no_more_than_the_least():
    one = full(600)
    alike = jax.tree.map(lambda part: jnp.repeat(part[:1], 300, axis=0), one)
    assert len(fewest(alike)) == COUNTS[0]


def test_few_draws_are_all_kept():
    assert fewest(full(12)).tolist() == list(range(12))


def test_herding_takes_the_draw_that_brings_the_mean_nearest():
    away = np.array([[3.0], [-1.0], [0.4], [0.6], [-3.0]])
    assert _herded(away @ away.T, 3).tolist() == [2, 1, 3]


def test_draws_are_exchanged_until_no_other_serves_better():
    away = np.random.default_rng(6).normal(size=(30, 4))
    away -= away.mean(axis=0)
    products = away @ away.T

    def miss(rows) -> float:
        return float(np.sum(away[rows].sum(axis=0) ** 2))

    start = np.arange(6)
    rows = _exchanged(products, start)
    assert len(set(rows.tolist())) == 6
    assert miss(rows) < 0.2 * miss(start)
    assert start.tolist() == list(range(6))
    others = [k for k in range(30) if k not in rows]
    for place, other in itertools.product(range(6), others):
        assert miss(np.where(np.arange(6) == place, other, rows)) > miss(rows) - 1e-3


def test_location_of_one_draw_is_the_models():
    """What the sums are taken relative to is no draw of its own."""
    draws, shape = network(1)
    z = np.random.default_rng(5).normal(size=(10, FEATURES))
    found, _ = summarise(chosen(draws, np.arange(1), shape), z, ONES, *nothing(10), shape)
    one = {n: jnp.asarray(v[0]) for n, v in draws.items()}
    of_one = compiled(location_and_scale, static_argnums=3)
    location, _ = of_one(one, jnp.asarray(z.T), jnp.ones(K), shape)
    np.testing.assert_allclose(found.mean, location, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.sd_model, 0.0, atol=1e-6)


@pytest.mark.parametrize("group", [BUNDLE, CACHED // 4])
def test_the_size_of_groups_does_not_matter(group):
    draws, shape = network(20)
    z = np.random.default_rng(2).normal(size=(CACHED + 7, FEATURES))
    part = chosen(draws, np.arange(20), shape)
    want, _ = summarise(part, z, ONES, *nothing(len(z)), shape)
    found, _ = summarise(part, z, ONES, *nothing(len(z)), shape, group)
    for name, values in want._asdict().items():
        # Between their nodes quantiles enlarge the rounding of the distribution function.
        np.testing.assert_allclose(getattr(found, name), values, rtol=1e-4, atol=3e-4)


def test_a_device_without_room_gets_fewer_stars_at_a_time(posterior, split, monkeypatch, caplog):
    """As an accelerator's memory would say; any other fault of a program is raised."""
    _, test = split
    inputs = Inputs(test.x, test.x_err, Table({"id": test.ids}))
    want = Answers(posterior).table(inputs)
    real, asked, all_at_once = engine.summarise, [], room()

    def small(*arguments):
        asked.append(arguments[-1])
        if asked[-1] > all_at_once // 4:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return real(*arguments)

    monkeypatch.setattr(engine, "summarise", small)
    found = Answers(posterior).table(inputs)
    assert asked[:3] == [all_at_once, all_at_once // 2, all_at_once // 4]
    assert set(asked[3:]) == {all_at_once // 4}  # what was learned is kept
    assert f"going on with {all_at_once // 4}" in caplog.text
    np.testing.assert_allclose(found["teff_mean"], want["teff_mean"], rtol=1e-6)

    def broken(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(engine, "summarise", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        Answers(posterior).table(inputs)
