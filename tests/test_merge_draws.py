"""Draws of a merged catalogue: their law, what they have in common, and what they depend on."""

from __future__ import annotations

import dataclasses
import json

import linear
import numpy as np
import pytest
from astropy.table import Table
from three_surveys import OWN, plan_of

import bayestrans as bt
from bayestrans.combine import Evidence, combine
from bayestrans.homogenise import homogenise
from bayestrans.merge import population_of

DRAWS = 40
#: What the networks have wrong, the same for all stars, in units of the scatter.
WRONG = 0.5


def model(name: str) -> bt.Posterior:
    """Return an exact translation but for an intercept that is not well known."""
    exact = linear.model(name, own=OWN)
    (block,) = exact.blocks
    rng = np.random.default_rng("abc".index(name))
    draws = {**block.draws, "intercept": WRONG * rng.normal(size=block.draws["intercept"].shape)}
    return dataclasses.replace(exact, blocks=(block._replace(draws=draws),))


@pytest.fixture(scope="module")
def models() -> dict[str, bt.Posterior]:
    return {name: model(name) for name in "ab"}


@pytest.fixture(scope="module")
def given() -> dict[str, Table]:
    stars = linear.sky(1500, 11, OWN)
    parts = {"a": slice(0, 1000), "b": slice(200, 1200), "base": slice(900, 1500)}
    return {name: Table(linear.columns(stars, name))[part] for name, part in parts.items()}


@pytest.fixture(scope="module")
def merged(given, models):
    return homogenise(plan_of(given, models, shared=0.3), draws=DRAWS, seed=4, progress=False)


def drawn(table) -> np.ndarray:
    return np.stack([np.asarray(table[f"{n}_draws"], dtype=float) for n in linear.NAMES], axis=1)


def of(table: Table, surveys: str) -> Table:
    return table[np.array(table["surveys"] == surveys)]


@pytest.mark.parametrize("surveys", ["a", "a+b", "a+b+base", "b+base", "base"])
def test_draws_have_the_law_that_the_numbers_tell(merged, surveys):
    some = of(merged[merged["flags"] == 0], surveys)
    draws = drawn(some)
    assert draws.shape == (len(some), 3, DRAWS)
    mean = np.stack([some[f"{n}_mean"] for n in linear.NAMES], axis=1).astype(float)
    sd = np.stack([some[f"{n}_sd"] for n in linear.NAMES], axis=1).astype(float)
    scaled = (draws - mean[..., None]) / sd[..., None]
    # Forty draws of what all stars have in common say by themselves what their spread is.
    own = scaled - scaled.mean(axis=0)
    common = scaled.mean(axis=0)
    found = np.einsum("nkd,nld->kl", own, own) / own[:, 0].size + common @ common.T / DRAWS
    want = np.eye(3)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        pair = f"corr_{linear.NAMES[i]}_{linear.NAMES[j]}"
        want[i, j] = want[j, i] = np.mean(some[pair])
    np.testing.assert_allclose(found, want, atol=0.15)


def test_a_star_of_one_survey_keeps_its_own_draws(merged, given, models):
    alone = bt.translate(models["a"], given["a"], draws=DRAWS, seed=4, progress=False)
    only = of(merged, "a")
    for name in linear.NAMES:
        want = np.asarray(alone[f"{name}_draws"], dtype=np.float32)[only["row_a"]]
        np.testing.assert_array_equal(only[f"{name}_draws"], want)
        assert only[f"{name}_draws"].unit == alone[f"{name}_draws"].unit


def test_what_a_network_has_wrong_all_its_stars_have_wrong_together(merged, models):
    """The mean over many stars is as uncertain as the networks' intercepts make it."""
    population = population_of([*models.values()], linear.NAMES)
    covariance, unit = {}, {}
    for name, one in models.items():
        _, scatter = linear.regression(name, "base", OWN)
        unit[name] = one.scaler.delta_scale
        covariance[name] = scatter + np.diag((WRONG * unit[name]) ** 2)
    evidence = Evidence(
        np.zeros((1, 2, 3)),
        np.stack([covariance["a"], covariance["b"]])[None],
        np.zeros((1, 0, 3)),
        np.zeros((1, 0, 3)),
    )
    gain = combine(evidence, population, np.full(3, 0.3)).gain[0]
    wanted = sum(
        gain[s] @ np.diag((WRONG * unit[name]) ** 2) @ gain[s].T for s, name in enumerate("ab")
    )
    some = of(merged, "a+b")
    found = np.std(drawn(some).mean(axis=0), axis=1)
    ratio = found / np.sqrt(np.diag(wanted))
    assert ((ratio > 0.7) & (ratio < 1.4)).all()
    alone = np.stack([some[f"{n}_sd"] for n in linear.NAMES]).mean(axis=1) / np.sqrt(len(some))
    assert (found > 4 * alone).all()
    # What the base measured is wrong star by star, and hardly follows the networks.
    base = of(merged, "base")
    found = np.std(drawn(base).mean(axis=0), axis=1)
    want = np.stack([base[f"{n}_sd"] for n in linear.NAMES]).mean(axis=1) / np.sqrt(len(base))
    np.testing.assert_allclose(found / want, 1.0, atol=0.35)


def test_order_changes_no_draw_and_draws_change_nothing_else(merged, given, models):
    rng = np.random.default_rng(9)
    mixed = {n: t[rng.permutation(len(t))] for n, t in reversed(given.items())}
    found = homogenise(plan_of(mixed, models, shared=0.3), draws=DRAWS, seed=4, progress=False)
    plain = homogenise(plan_of(given, models, shared=0.3), progress=False)
    other = homogenise(plan_of(given, models, shared=0.3), draws=DRAWS, seed=5, progress=False)
    for column in merged.colnames:
        if column.endswith("_draws"):
            np.testing.assert_array_equal(found[column], merged[column])
            assert (other[column] != merged[column]).mean() > 0.99
        else:
            np.testing.assert_array_equal(plain[column], merged[column])
    assert not any(name.endswith("_draws") for name in plain.colnames)
    assert json.loads(merged.meta["BTCONF"])["draws"] == DRAWS
    assert "draws" not in json.loads(plain.meta["BTCONF"])


def test_a_star_lacks_draws_of_what_it_lacks(given, models):
    few = {name: table[:4].copy() for name, table in given.items()}
    for name in "ab":
        few[name]["source_id"] = few["base"]["source_id"]
    few["base"]["teff_b0"][0] = np.nan
    for name in linear.NAMES:
        few["base"][f"{name}_b0"][1] = np.nan
        for survey in "ab":
            few[survey][f"{name}_{survey}"][1:3] = np.nan
    found = homogenise(plan_of(few, models, shared=0.3), draws=5, progress=False)
    seen = np.isfinite(drawn(found)).all(axis=2)
    np.testing.assert_array_equal(seen.all(axis=1), [True, False, True, True])
    assert not seen[1].any()
    only = {"base": few["base"]}
    alone = homogenise(plan_of(only, {}), draws=5, progress=False)
    expected = [[False, True, True], [False] * 3, [True] * 3, [True] * 3]
    np.testing.assert_array_equal(np.isfinite(drawn(alone)).all(axis=2), expected)


def test_more_draws_than_a_model_holds_and_vectors_in_csv_are_refused(given, models, tmp_path):
    plan = plan_of(given, models)
    with pytest.raises(ValueError, match="41 draws asked; the model holds 40"):
        homogenise(plan, draws=41, progress=False)
    with pytest.raises(bt.CatalogueError, match="CSV holds no vectors"):
        homogenise(plan, tmp_path / "merged.csv", draws=5, progress=False)
