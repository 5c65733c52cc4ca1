"""Training stars under the draws that leave them out, against what is known in closed form."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from scipy import stats

import bayestrans as bt
from bayestrans import calibrate
from bayestrans import left_out as module
from bayestrans.left_out import KEPT, MOST_STARS, _chosen, _some, left_out
from bayestrans.measured import draw_scatter

DRAWS = 4000


def of_a_mean(y: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return posterior draws of a mean with a flat prior and unit noise, and log densities."""
    rng = np.random.default_rng(seed)
    draws = rng.normal(y.mean(), 1.0 / np.sqrt(len(y)), DRAWS)
    return draws, stats.norm.logpdf(y, draws[:, None])


@pytest.fixture
def many_kept(monkeypatch):
    """Keep so many draws that their own noise does not count."""
    monkeypatch.setattr(module, "KEPT", 2000)


def test_the_chosen_draws_are_of_the_posterior_of_the_other_stars(many_kept):
    y = np.random.default_rng(1).normal(size=40)
    draws, density = of_a_mean(y)
    chosen = draws[_chosen(density, np.arange(40))]
    assert chosen.shape == (40, 2000)
    others = (y.sum() - y) / 39
    np.testing.assert_allclose(chosen.mean(axis=1), others, atol=0.1 / np.sqrt(39))
    assert np.corrcoef(chosen.mean(axis=1), others)[0, 1] > 0.95
    assert chosen.std(axis=1).mean() == pytest.approx(1.0 / np.sqrt(39), rel=0.05)


def test_all_rows_of_a_star_are_left_out_together(many_kept):
    y = np.random.default_rng(1).normal(size=40)
    draws, density = of_a_mean(y)
    star = np.arange(40) // 2
    chosen = draws[_chosen(density, star)].mean(axis=1)
    others = (y.sum() - np.bincount(star, y)[star]) / 38
    np.testing.assert_array_equal(chosen[::2], chosen[1::2])
    np.testing.assert_allclose(chosen, others, atol=0.1 / np.sqrt(38))


def test_draws_that_no_star_can_be_missing_from_tell_nothing():
    """Each star is all that is known of a parameter of its own."""
    rng = np.random.default_rng(0)
    y = 3.0 * rng.normal(size=30)
    draws = y + rng.normal(size=(DRAWS, 30))
    density = stats.norm.logpdf(y, draws, 0.3)
    assert _chosen(density, np.arange(30)) is None
    assert _chosen(np.full((DRAWS, 30), np.nan), np.arange(30)) is None


def test_of_many_stars_some_are_left_out_with_all_their_rows(monkeypatch):
    monkeypatch.setattr(module, "MOST_STARS", 50)
    star = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 3))
    lack = star % 4 == 0
    rows = _some(np.where(lack, -1, star))
    assert len(rows) == 150
    assert len(np.unique(star[rows])) == 50
    assert not lack[rows].any()
    monkeypatch.setattr(module, "MOST_STARS", MOST_STARS)
    np.testing.assert_array_equal(_some(star), np.arange(300))


@pytest.fixture(scope="module")
def fitted() -> tuple[bt.Posterior, bt.Pairs]:
    pairs = bt.simulate(260, 0, seed=4).pairs
    y = pairs.y.copy()
    y[::5, 1] = np.nan
    pairs = dataclasses.replace(pairs, y=y)
    method = bt.MCLMC(chains=2, draws=100, steps=300, warm_steps=300, tune_steps=50)
    options = {"network": bt.Network((4,)), "calibrate": False, "progress": False}
    return bt.fit(pairs, method=method, seed=1, **options), pairs


def test_the_laws_are_those_of_the_chosen_draws(fitted, monkeypatch):
    post, pairs = fitted
    chosen = np.random.default_rng(0).integers(200, size=(len(pairs), KEPT))
    monkeypatch.setattr(module, "_chosen", lambda *_: chosen)
    score = post.neighbours.own_score()
    found = left_out(post, post.blocks[0], pairs, score)
    assert len(found) == 4
    mean, wide = post.predict(pairs, kind="mean"), draw_scatter(post, pairs.x, pairs.x_err)
    for k, stars in enumerate(found):
        rows = np.flatnonzero(pairs.seen[:, k])
        np.testing.assert_array_equal(stars.row, rows)
        np.testing.assert_array_equal(stars.score, score[rows].astype(np.float32))
        scale = post.scaler.delta_scale[k]
        base = pairs.y[rows, k] - scale * stars.delta.astype(float)
        wanted = np.take_along_axis(mean[:, rows, k].T, chosen[rows], axis=1).T
        np.testing.assert_allclose(base + scale * stars.location, wanted, rtol=1e-5, atol=1e-3)
        scatter = np.take_along_axis(wide[:, rows, k].T, chosen[rows], axis=1).T
        np.testing.assert_allclose(scale * stars.scale, scatter, rtol=1e-5)
        quoted = stars.noise * scale / pairs.y_err[rows, k]
        assert ((quoted > 0) & (quoted < 1 + 1e-5)).all()  # B's errors are one at most
        factor, drawn = np.empty(200), chosen[rows].T
        factor[drawn] = quoted
        np.testing.assert_allclose(quoted, factor[drawn], rtol=1e-5)  # one of each draw


@pytest.mark.parametrize("what", ["one chain", "few draws", "gaps"])
def test_draws_that_are_no_posterior_or_too_few_and_stars_with_gaps_tell_nothing(fitted, what):
    post, pairs = fitted
    first = post.blocks[0]
    if what == "gaps":
        x = pairs.x.copy()
        x[: 2 * len(x) // 3, 0] = np.nan
        pairs = dataclasses.replace(pairs, x=x)
    else:
        cut = (slice(1), slice(None)) if what == "one chain" else (slice(None), slice(40))
        first = first._replace(draws={name: v[cut] for name, v in first.draws.items()})
        post = dataclasses.replace(post, blocks=(first, *post.blocks[1:]))
    assert left_out(post, first, pairs, post.neighbours.own_score()) is None


def test_the_calibration_asks_the_fits_own_stars(fitted, monkeypatch):
    post, pairs = fitted
    asked = []

    def learn_block(stars, _refits, own, *_, **__):
        asked.append(own)
        nothing = {name: np.full(len(stars), 0.5) for name in ("before", "after")}
        score, random = np.linspace(0.5, 5.0, len(stars)), np.arange(len(stars)) % 2 == 0
        return [(np.zeros(3), calibrate.Judged(score, random, nothing, nothing))] * len(own)

    monkeypatch.setattr(calibrate, "_learn_block", learn_block)
    calibrate.hold_out_regions(post, pairs, bt.MCLMC().refit(), jax.random.key(0), progress=False)
    score = post.neighbours.own_score().astype(np.float32)
    seen = [pairs.seen[:, [k]].any(axis=1).sum() for k in range(5)]
    assert [len(stars.delta) for own in asked for stars in own] == seen
    for stars in asked[0]:
        np.testing.assert_array_equal(stars.score, score[stars.row.astype(int)])
