"""Shapley effects, slopes and error budgets that are known in closed form, and a known truth."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from known_effects import CORRELATION, closed_form

import bayestrans as bt
from bayestrans.baseline import Baseline
from bayestrans.calibration import Calibration
from bayestrans.density import Density
from bayestrans.gaps import Gaps
from bayestrans.importance import _members, _players
from bayestrans.neighbours import Neighbours
from bayestrans.posterior import BlockDraws
from bayestrans.scale import Scaler

SPEC = bt.Spec(
    "lines",
    tuple(
        bt.Input(name, f"{name}_a", f"e_{name}_a", unit)
        for name, unit in (("teff", "K"), ("logg", ""), ("fe_h", ""), ("jk", "mag"))
    ),
    (bt.Output("teff", "teff_b", unit="K", corrects="teff"), bt.Output("age", "age_b", unit="Gyr")),
)
SLOPES = np.array([[0.5, -0.4, 0.2, 0.0], [1.0, 0.0, 0.3, -0.2]])
WIDTH = np.array([[0.05, 0.05, 0.02, 0.01], [0.1, 0.02, 0.05, 0.01]])


def stars(count: int, seed: int = 0) -> bt.Pairs:
    """Return stars whose quoted errors are a tenth of the spread of the inputs."""
    rng = np.random.default_rng(seed)
    sd = np.array([300.0, 0.5, 0.2, 0.1])
    z = rng.normal(size=(count, 4)) @ np.linalg.cholesky(CORRELATION).T
    x = np.array([5000.0, 3.0, 0.0, 0.7]) + sd * z
    y = np.column_stack(
        [x[:, 0] + 20 * z[:, 0] + rng.normal(0, 40, count), rng.normal(5, 2, count)]
    )
    return bt.Pairs(
        SPEC, x, np.tile(0.1 * sd, (count, 1)), y, np.full(y.shape, np.nan), np.arange(count)
    )


def lines(train: bt.Pairs, chains: int = 4, draws: int = 50, level: float = 0.0) -> bt.Posterior:
    """Return a posterior of lines with Gaussian scatter; the inputs' density is one normal."""
    rng, scaler, lead = np.random.default_rng(1), Scaler.learn(train), (chains, draws)
    values = {
        "intercept": rng.normal(0.0, 0.3, (*lead, 2)),
        "slope": SLOPES + WIDTH * rng.normal(size=(*lead, 2, 4)),
        "log_scatter": np.full((*lead, 2), np.log([1.2, 0.5])),
    }
    density = Gaps.learn(scaler, train).density
    covariance = np.eye(6)
    covariance[:4, :4] = CORRELATION
    density = dataclasses.replace(
        density, weight=np.ones(1), mean=np.zeros((1, 6)), covariance=covariance[None]
    )
    calibration = dataclasses.replace(Calibration.identity(2), level=np.array([level, 0.0]))
    return bt.Posterior(
        train.spec,
        bt.Network(()),
        bt.Noise(dof=math.inf, correlated=False, error_factor="one"),
        scaler,
        (BlockDraws(train.spec.blocks[0], {k: v.astype("f4") for k, v in values.items()}, {}, {}),),
        density,
        Neighbours.learn(train.x, (0, 1, 2, 3)),
        calibration,
        Baseline.learn(train, scaler),
        train.x[::5],
        train.x_err[::5],
        train.y[::5],
        train.y_err[::5],
        {},
    )


@pytest.fixture(scope="module")
def line() -> bt.Posterior:
    return lines(stars(200))


@pytest.fixture(scope="module")
def found(line) -> bt.Importance:
    return bt.importance(line, draws=200, progress=False)


def test_each_draw_of_a_line_has_the_closed_forms(line, found):
    slope = line.blocks[0].draws["slope"].astype(float) * line.scaler.delta_scale[:, None]
    full = slope.copy()
    full[:, :, 0, 0] += line.scaler.x_scale[0]  # the first output corrects the first input
    assert found.draws.sizes["chain"] == 4
    assert found.draws.sizes["draw"] == 50
    for target, expected in (("correction", slope), ("full", full)):
        draws = found.draws.sel(target=target)
        np.testing.assert_allclose(draws["sensitivity"], expected**2, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(draws["change"], expected, rtol=1e-4, atol=1e-5)
        per_unit = expected / line.scaler.x_scale
        np.testing.assert_allclose(draws["slope"], per_unit, rtol=1e-4, atol=1e-5)
        variance = np.einsum("cdki,ij,cdkj->cdk", expected, CORRELATION, expected)
        np.testing.assert_allclose(draws["explained"], variance, rtol=0.02)
        players = [[0], [1], [2], [3]]
        for draw in (0, 17):
            for k in range(2):
                truth = closed_form(expected[2, draw, k], CORRELATION, players)
                mine = draws["shapley"].values[2, draw, k]
                np.testing.assert_allclose(mine, truth, atol=0.02 * truth.sum())


def test_the_density_is_held_against_the_stars_themselves(line):
    slope = line.blocks[0].draws["slope"].astype(float) * line.scaler.delta_scale[:, None]
    given = stars(800)
    asked = bt.importance(line, given, draws=200, progress=False)
    z = (given.x - line.scaler.x_centre) / line.scaler.x_scale
    expected = np.einsum("cdki,ij,cdkj->cdk", slope, np.cov(z.T, ddof=0), slope)
    mine = asked.draws["among_given"].sel(target="correction")
    np.testing.assert_allclose(mine, expected, rtol=1e-3)
    assert "is coarse" not in str(asked)
    centre = given.x.mean(axis=0)
    alike = dataclasses.replace(given, x=centre + 0.5 * (given.x - centre))
    told = str(bt.importance(line, alike, draws=20, progress=False))
    assert told.count("among the given stars: the density that stars are drawn from is") == 2


def test_shapley_effects_sum_to_the_explained_variance(found):
    total = found.draws["shapley"].sum("player")
    np.testing.assert_allclose(total, found.draws["explained"], rtol=1e-6)
    np.testing.assert_allclose(found.draws["share"].sum("player"), 1.0, rtol=1e-6)
    table = found.table().set_index(["output", "what", "target", "input"]).sort_index()
    row = table.loc[("teff", "explained", "correction", "")]
    shapley = table.loc[("teff", "shapley", "correction")]
    assert row["lower"] < shapley["mean"].sum() < row["upper"]


def test_the_interval_of_a_dead_input_covers_zero_and_that_of_a_live_one_does_not(found):
    table = found.table().set_index(["output", "what", "target", "input"]).sort_index()
    dead = table.loc[("teff", "change", "correction", "jk")]
    assert dead["lower"] < 0 < dead["upper"]
    live = table.loc[("teff", "change", "correction", "logg")]
    assert live["upper"] < 0
    share = table.loc[("teff", "share", "correction", "jk")]
    assert share["upper"] < 0.01
    assert share["lower"] - 2 * share["monte_carlo"] < 1e-3


def test_intervals_hold_the_draws_that_they_should(found):
    share = found.draws["share"].sel(target="correction", output="age", player="teff").values
    for level in (0.68, 0.95):
        table = found.table(level).set_index(["output", "what", "target", "input"]).sort_index()
        row = table.loc[("age", "share", "correction", "teff")]
        inside = ((share > row["lower"]) & (share < row["upper"])).mean()
        assert inside == pytest.approx(level, abs=0.011)
        assert row["mean"] == pytest.approx(share.mean())
    with pytest.raises(ValueError, match=r"level is 1\.0; give a probability"):
        found.table(1.0)


def test_a_posterior_that_knows_less_gives_wider_intervals(line, found):
    first = line.blocks[0]
    sure = {**first.draws, "slope": np.broadcast_to(SLOPES, first.draws["slope"].shape)}
    same = dataclasses.replace(line, blocks=(first._replace(draws=sure),))
    narrow = bt.importance(same, draws=200, progress=False).draws["share"]
    assert float(narrow.std(("chain", "draw")).max()) < 1e-6
    assert float(found.draws["share"].std(("chain", "draw")).max()) > 0.02


def test_the_budget_of_a_line_is_the_closed_form():
    train = stars(200)
    posterior = lines(train, level=0.3)
    found = bt.importance(posterior, train, draws=200, progress=False).budget
    draws, scaler = posterior.blocks[0].draws, posterior.scaler
    z = (train.x - scaler.x_centre) / scaler.x_scale
    flat = {name: v.reshape(-1, *v.shape[2:]).astype(float) for name, v in draws.items()}
    mean = flat["intercept"][:, None] + np.einsum("skj,nj->snk", flat["slope"], z)
    slope = flat["slope"].mean(axis=0) * scaler.delta_scale[:, None] / scaler.x_scale
    slope[0, 0] += 1.0
    scatter = (np.array([1.2, 0.5]) * scaler.delta_scale) ** 2
    inputs = np.minimum(np.square(slope * train.x_err[:, None]).sum(axis=2), scatter)
    model = mean.var(axis=0) * scaler.delta_scale**2
    score = posterior.neighbours.score(train.x)
    widened = posterior.calibration.at(score).stretch ** 2
    assert widened[:, 0].max() > 1.5
    parts = (model, 0 * model, inputs, scatter - inputs, (widened - 1) * (model + scatter))
    for name, expected in zip(
        ("model", "gaps", "inputs", "intrinsic", "calibration"), parts, strict=True
    ):
        np.testing.assert_allclose(found.sel(part=name), expected, rtol=1e-3, atol=1e-3)
    assert 0.2 < float((inputs / scatter)[:, 0].mean()) < 0.9  # neither nothing nor capped


def test_doubt_adds_what_a_quarter_of_the_draws_is_wider_by():
    train = stars(200)
    plain = lines(train)
    growth = np.array([5.0, 0.0])
    doubts = dataclasses.replace(plain.calibration, growth=growth)
    posterior = dataclasses.replace(plain, calibration=doubts)
    found = bt.importance(posterior, train, draws=200, progress=False).budget
    rest = found.sel(part=["model", "gaps", "inputs", "intrinsic"]).sum("part")
    wider = 0.25 * (posterior.calibration.at(posterior.neighbours.score(train.x)).doubt ** 2 - 1)
    assert wider[:, 0].max() > 1.0
    added = found.sel(part="calibration").values
    np.testing.assert_allclose(added[:, 0], (wider * rest.values)[:, 0], rtol=0.2, atol=1e-3)
    np.testing.assert_allclose(added[:, 1], 0.0, atol=1e-6)


def test_quoted_errors_bring_no_more_than_the_scatter(line):
    train = stars(50)
    large = dataclasses.replace(train, x_err=100 * train.x_err)
    found = bt.importance(line, large, draws=200, progress=False).budget
    np.testing.assert_allclose(found.sel(part="intrinsic", output="teff"), 0.0, atol=1e-6)
    none = dataclasses.replace(train, x_err=np.full(train.x.shape, np.nan))
    found = bt.importance(line, none, draws=200, progress=False).budget
    np.testing.assert_array_equal(found.sel(part="inputs"), 0.0)


# ---- groups and faults --------------------------------------------------------------------


def test_a_group_is_one_player(line):
    groups = {"star": ["teff", "fe_h"]}
    found = bt.importance(line, groups=groups, draws=200, progress=False)
    assert found.members == {"star": ("teff", "fe_h"), "logg": ("logg",), "jk": ("jk",)}
    draws = found.draws.sel(target="correction").isel(draw=0, chain=0)
    assert list(draws["player"].values) == ["star", "logg", "jk"]
    slope = line.blocks[0].draws["slope"][0, 0].astype(float) * line.scaler.delta_scale[:, None]
    for k in range(2):
        truth = closed_form(slope[k], CORRELATION, [[0, 2], [1], [3]])
        np.testing.assert_allclose(draws["shapley"][k], truth, atol=0.02 * truth.sum())


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"a": ["teff", "vmic"]}, "'a' names 'vmic', which is no input; inputs: teff, logg"),
        ({"a": ["teff"], "b": ["teff"]}, "'teff' is in group 'a' and in 'b'; name it once"),
        ({"a": []}, r"group 'a' is \[\]; give a list of inputs"),
        ({"a": "teff"}, "group 'a' is 'teff'; give a list"),
        ({"logg": ["teff"]}, "group 'logg' is also the name of an input; rename the group"),
        ({"teff": ["logg"]}, "group 'teff' is also the name of an input; rename the group"),
    ],
)
def test_a_wrong_group_is_refused(line, groups, words):
    with pytest.raises(ValueError, match=words):
        bt.importance(line, groups=groups, progress=False)


def wide_model(count: int) -> bt.Posterior:
    """Return a line of so many inputs."""
    names = [f"in{j}" for j in range(count)]
    inputs = tuple(bt.Input(name, name) for name in names)
    spec = bt.Spec("wide", inputs, (bt.Output("out", "out"),))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, count)), rng.normal(size=(60, 1))
    nothing = np.full(x.shape, np.nan)
    train = bt.Pairs(spec, x, nothing, y, nothing[:, :1], np.arange(60))
    scaler = Scaler.learn(train)
    draws = {
        "intercept": np.zeros((1, 2, 1), np.float32),
        "slope": np.ones((1, 2, 1, count), np.float32),
        "log_scatter": np.zeros((1, 2, 1), np.float32),
    }
    density = Density(
        np.ones(1), np.zeros((1, count + 1)), np.eye(count + 1)[None], np.zeros((1, count), int)
    )
    return bt.Posterior(
        spec, bt.Network(()), bt.Noise(dof=math.inf, error_factor="one"), scaler,
        (BlockDraws(spec.blocks[0], draws, {}, {}),), density,
        Neighbours.learn(x, tuple(range(count))), Calibration.identity(1),
        Baseline.learn(train, scaler), x[:5], nothing[:5], train.y[:5],
        train.y_err[:5], {},
    )  # fmt: skip


def test_more_than_ten_players_are_refused_and_groups_help():
    model = wide_model(11)
    with pytest.raises(
        ValueError, match=r"11 players .* more than the 10 .* join inputs, as with groups="
    ):
        bt.importance(model, progress=False)
    members = _members(model, {"many": [f"in{j}" for j in range(8)]})
    players = _players(model, model.blocks[0], members)
    assert players == {"many": list(range(8)), "in8": [8], "in9": [9], "in10": [10]}


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"draws": 0}, "0 draws asked"), ({"stars": 0}, "stars is 0; give a whole number")],
)
def test_wrong_numbers_are_refused(line, settings, words):
    with pytest.raises(ValueError, match=words):
        bt.importance(line, progress=False, **settings)


def test_stars_of_another_spec_are_refused(line, split):
    with pytest.raises(ValueError, match="read them with the model's own spec"):
        bt.importance(line, split[1], progress=False)


def test_text_ranks_the_players_and_splits_the_errors(found):
    lines = str(found).splitlines()
    assert lines[0].startswith("teff [K]: the correction varies by ")
    assert lines[1].split()[:3] == ["player", "share", "95"]
    order = [line.split()[0] for line in lines[2:6]]
    share = found.draws["share"].sel(target="correction", output="teff").mean(("chain", "draw"))
    assert order == [str(name) for name in share.sortby(-share)["player"].values]
    assert lines[2].split()[1] == f"{100 * float(share.max()):.1f}%"
    assert lines[-3].split() == [
        "error", "budget", "sd", "model", "gaps", "inputs", "intrinsic", "calibration",
    ]  # fmt: skip
