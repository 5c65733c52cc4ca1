"""What is said of the fit of models known to be right, wide, narrow or shifted."""

from __future__ import annotations

import dataclasses
import math

import arviz
import numpy as np
import pytest
from astropy.table import Table
from scipy import stats
from test_diagnose import SCALE
from test_diagnose import drawn as sampled
from test_diagnose import stars as invented
from test_oracles import SCATTER, linear_pairs

import bayestrans as bt
from bayestrans import cli, plot
from bayestrans.baseline import Baseline
from bayestrans.calibration import Calibration
from bayestrans.gaps import Gaps
from bayestrans.neighbours import Neighbours
from bayestrans.posterior import BlockDraws
from bayestrans.scale import Scaler
from bayestrans.tables import write_table


@pytest.fixture(scope="module")
def train() -> bt.Pairs:
    return invented(400, 0)


@pytest.fixture(scope="module")
def test_stars() -> bt.Pairs:
    return invented(300, 1)


@pytest.fixture(scope="module")
def good(train, test_stars) -> bt.Diagnosis:
    return bt.diagnose(drawn(train), train=train, held_out=test_stars)


def drawn(train: bt.Pairs, chains: int = 4, draws: int = 100) -> bt.Posterior:
    """Return a model that is right, and that knows what B measured of every eighth star."""
    return dataclasses.replace(sampled(train, chains, draws), probe_y=train.y[::8])


def altered(posterior: bt.Posterior, site: str, change: float) -> bt.Posterior:
    """Return the posterior with something added to all draws of a site."""
    blocks = tuple(
        b._replace(draws={**b.draws, site: b.draws[site] + change}) for b in posterior.blocks
    )
    return dataclasses.replace(posterior, blocks=blocks)


# ---- leave-one-out --------------------------------------------------------------------------


def linear_posterior(train: bt.Pairs, chains: int = 4, draws: int = 1000):
    """Return exact draws of Bayesian linear regression, and each star's leave-one-out density.

    Bishop 2006, eqs 3.50-3.51, and 3.58 with one star's term taken out of the sums.
    """
    scaler = Scaler.learn(train)
    z = scaler.features(train.x, train.x_err, (0, 1, 2))
    design = np.column_stack([np.ones(len(train)), z])
    noise = np.hypot(SCATTER, train.y_err[:, 0]) / scaler.delta_scale[0]
    delta = scaler.delta(train.x, train.y)[:, 0]
    weighted = design / noise[:, None] ** 2
    precision = np.eye(design.shape[1]) + design.T @ weighted
    mean = np.linalg.solve(precision, weighted.T @ delta)
    density, below = np.empty(len(train)), np.empty(len(train))
    for i, row in enumerate(design):
        rest = precision - np.outer(row, row) / noise[i] ** 2
        centre = np.linalg.solve(rest, weighted.T @ delta - weighted[i] * delta[i])
        spread = np.sqrt(noise[i] ** 2 + row @ np.linalg.solve(rest, row))
        density[i] = stats.norm.logpdf(delta[i], row @ centre, spread)
        below[i] = stats.norm.cdf(delta[i], row @ centre, spread)
    rng = np.random.default_rng(3)
    weights = rng.multivariate_normal(mean, np.linalg.inv(precision), (chains, draws))
    sites = {"intercept": weights[..., :1], "slope": weights[..., None, 1:]}
    posterior = bt.Posterior(
        train.spec,
        bt.Network(()),
        bt.Noise(scatter=(SCATTER,), dof=math.inf),
        scaler,
        (BlockDraws(train.spec.blocks[0], sites, {}, {}),),
        Gaps.learn(scaler, train).density,
        Neighbours.learn(train.x, (0, 1, 2)),
        Calibration.identity(1),
        Baseline.learn(train, scaler),
        train.x,
        train.x_err,
        train.y,
        train.y_err,
        {"stars": len(train)},
    )
    return posterior, density, below


def test_leaving_stars_out_is_what_fitting_without_them_gives():
    posterior, density, below = linear_posterior(linear_pairs(100, 0))
    found = bt.diagnose(posterior)
    loo = arviz.loo(found.tree, var_name="intrinsic", pointwise=True)
    # Three times what 4,000 draws scatter by at the star with the largest leverage.
    np.testing.assert_allclose(loo.elpd_i, density, atol=0.03)
    # With the stars themselves the densities are another thing: the test would see it.
    together = found.tree["log_likelihood"]["intrinsic"].values.reshape(4000, 100)
    kept = np.log(np.mean(np.exp(together), axis=0))
    assert np.abs(kept - density).max() > 0.1
    figures = found.loo["intrinsic"]
    assert figures.nll == pytest.approx(-density.mean(), abs=0.005)
    assert figures.p == pytest.approx((kept - density).sum(), abs=0.15)
    assert (figures.n, figures.bad) == (100, 0)
    assert "for 100 of 100 stars: reliable" in str(figures)
    # The PIT counts 4,000 replicates: its standard error is 0.008 in the middle.
    np.testing.assert_allclose(found.pit["teff"].values, below, atol=0.025)
    assert found.verdict == "good"


def test_an_outlier_that_moves_the_fit_cannot_be_left_out(train):
    posterior, *_ = linear_posterior(linear_pairs(60, 0))
    far = posterior.probe_y.copy()
    far[::6] += 3000.0  # ten stars a hundred sigma away from a line that does not know them
    found = bt.diagnose(dataclasses.replace(posterior, probe_y=far))
    assert found.loo["intrinsic"].bad >= 10
    (text,) = [w for w in found.warnings if "leave-one-out densities" in w]
    assert "score held-out stars instead" in text
    assert found.verdict == "usable"


def test_networks_add_up_to_the_joint_density(good):
    likelihood = good.tree["log_likelihood"]
    total = likelihood["intrinsic"].values + likelihood["rv"].values
    np.testing.assert_allclose(likelihood["joint"], total)
    # One output a network: the same thing under both names.
    np.testing.assert_allclose(likelihood["teff"], likelihood["intrinsic"], rtol=1e-5)
    both = arviz.loo(good.tree, var_name="joint")
    each = -sum(one.nll * one.n for one in good.loo.values())
    assert both.elpd == pytest.approx(each, abs=0.5)


# ---- PIT and prior --------------------------------------------------------------------------


def test_a_model_that_is_right_is_called_good(good):
    assert good.warnings == ()
    assert good.verdict == "good"
    assert {p.word for p in (*good.pit.values(), *good.held_out.pit.values())} == {"calibrated"}
    assert all(found.within for found in good.prior.values())
    # About 1.42 nats a star and output: a Gaussian of unit scatter, in its own scale.
    gaussian = 0.5 * np.log(2 * np.pi * np.e)
    assert good.held_out.nll == pytest.approx(2 * gaussian, abs=4 * good.held_out.se)


@pytest.mark.parametrize(("factor", "word"), [(1.6, "too wide"), (0.6, "too narrow")])
def test_wide_and_narrow_models_are_called_so(train, test_stars, factor, word):
    wrong = altered(drawn(train), "log_scatter", math.log(factor))
    found = bt.diagnose(wrong, train=train, held_out=test_stars)
    assert {p.word for p in (*found.pit.values(), *found.held_out.pit.values())} == {word}
    assert sum(f"left out in turn is {word}" in w for w in found.warnings) == 2
    assert sum(f"held-out stars is {word}" in w for w in found.warnings) == 2
    assert sum("MAD of the residuals" in w for w in found.warnings) == 2
    assert found.verdict == "usable"


def test_a_shifted_model_is_called_so(train, test_stars):
    found = bt.diagnose(altered(drawn(train), "intercept", 0.5), held_out=test_stars)
    assert {p.word for p in found.held_out.pit.values()} == {"too high"}
    low = bt.diagnose(altered(drawn(train), "intercept", -0.5), held_out=test_stars)
    assert {p.word for p in low.held_out.pit.values()} == {"too low"}


def test_prior_predictive_is_as_wide_as_the_prior_says(good):
    invented_y = good.tree["prior_predictive"]["rv"].values[0]
    spread = np.percentile(invented_y / SCALE[1], [16, 50, 84])
    # Normal(0, 1) intercept and two slopes, log-normal scatter: wider than 1, about zero.
    assert abs(spread[1]) < 0.2
    assert 1.7 < 0.5 * (spread[2] - spread[0]) < 2.6


# ---- the stars that are given -----------------------------------------------------------------


def test_gaps_in_outputs_leave_only_the_stars_that_have_them(train):
    y = train.y.copy()
    y[::3, 1] = np.nan
    torn = dataclasses.replace(train, y=y)
    found = bt.diagnose(drawn(torn), train=torn)
    numbers = found.tree["observed_data"]["rv_star"].values
    np.testing.assert_array_equal(numbers, np.flatnonzero(np.isfinite(y[:, 1])))
    assert found.tree["log_likelihood"]["rv"].sizes["rv_star"] == np.isfinite(y[:, 1]).sum()
    assert np.isfinite(found.tree["log_likelihood"]["joint"]).all()
    assert found.verdict == "good"


def test_stars_with_gaps_in_their_inputs_are_not_left_out_and_that_is_said(train):
    x = train.x.copy()
    x[:30, 1] = np.nan
    torn = dataclasses.replace(train, x=x)
    found = bt.diagnose(drawn(train), train=torn)
    assert found.loo["intrinsic"].n == 370
    assert "30 with gaps in their inputs were not asked" in str(found)


def test_at_most_so_many_stars_are_looked_at(train):
    found = bt.diagnose(drawn(train), train=train, stars=50)
    np.testing.assert_array_equal(found.tree["observed_data"]["rv_star"], np.arange(0, 400, 8))


def test_other_stars_than_those_of_the_fit_are_refused(train, test_stars):
    posterior = drawn(train)
    with pytest.raises(ValueError, match=r"300 stars are not the 400 .* as held_out"):
        bt.diagnose(posterior, train=test_stars)
    with pytest.raises(ValueError, match="are not the 400"):
        bt.diagnose(posterior, train=invented(400, 5))
    with pytest.raises(ValueError, match=r"50 of the held-out stars were in the fit; .* as train"):
        bt.diagnose(posterior, held_out=train)
    with pytest.raises(ValueError, match="no held-out stars"):
        bt.diagnose(posterior, held_out=test_stars.take(np.zeros(300, dtype=bool)))


def test_a_model_that_kept_no_outputs_is_judged_by_its_sampling(train):
    blank = np.full(drawn(train).probe_y.shape, np.nan)
    found = bt.diagnose(dataclasses.replace(drawn(train), probe_y=blank))
    assert found.verdict == "good"
    assert (found.loo, found.pit, found.checks, found.training) == ({}, {}, {}, "")
    with pytest.raises(ValueError, match="diagnose with train"):
        plot.predictive_check(found)


# ---- what ArviZ makes of the tree ---------------------------------------------------------------


def test_arviz_goes_on_with_the_saved_tree(good, tmp_path):
    good.save(tmp_path / "d.nc")
    with pytest.raises(FileExistsError, match="exists"):
        good.save(tmp_path / "d.nc")
    tree = arviz.from_netcdf(tmp_path / "d.nc")
    loo = arviz.loo(tree, var_name="intrinsic")
    assert -loo.elpd / loo.n_data_points == pytest.approx(good.loo["intrinsic"].nll, abs=1e-9)
    table = arviz.summary(tree, var_names=["teff"], coords={"probe": [0, 3]}, kind="stats")
    assert len(table) == 2
    # With one output a network, ArviZ's leave-one-out is of the star as well.
    alone = arviz.loo_pit(tree, var_names=["rv"], pareto_pit=True)["rv"]
    np.testing.assert_allclose(alone, good.pit["rv"].values, atol=1e-6)
    assert tree["posterior"]["teff"].attrs["units"] == "K"
    arviz.plot_loo_pit(tree, var_names=["teff"])
    arviz.plot_ppc_pit(tree["held_out"], var_names=["teff"])
    tree.close()


def test_energy_is_where_arviz_looks_for_it(train):
    posterior, rng = drawn(train), np.random.default_rng(6)
    blocks = tuple(
        b._replace(stats={**b.stats, "energy": rng.normal(size=(4, 100))}) for b in posterior.blocks
    )
    found = bt.diagnose(dataclasses.replace(posterior, blocks=blocks))
    energy = found.tree["sample_stats"]["energy"]
    np.testing.assert_allclose(energy, blocks[0].stats["energy"] + blocks[1].stats["energy"])
    # Independent energies: successive ones differ by twice the variance.
    assert all(1.4 < b < 2.6 for b in found.blocks["rv"].bfmi)
    np.testing.assert_allclose(arviz.bfmi(found.tree)["energy"], 2.0, atol=0.5)
    arviz.plot_energy(found.tree)
    slow = np.cumsum(rng.normal(size=(4, 100)), axis=1)
    walks = tuple(b._replace(stats={**b.stats, "energy": slow}) for b in blocks)
    bad = bt.diagnose(dataclasses.replace(posterior, blocks=walks))
    assert [w.split(":")[0] for w in bad.warnings if "BFMI" in w] == ["intrinsic", "rv"]


# ---- pictures -----------------------------------------------------------------------------------


def test_traces_and_ranks_have_a_row_for_each_output(good):
    figure = plot.trace_rank(good)
    assert len(figure.axes) == 4
    assert figure.axes[0].get_ylabel() == r"$T_\mathrm{eff}$ [K]"
    assert figure.axes[2].get_ylabel() == r"$v_\mathrm{los}$ [km s$^{-1}$]"
    assert len(figure.axes[0].lines) == 4
    fixed = plot.trace_rank(good, probe=3)
    drawn_y = fixed.axes[0].lines[1].get_ydata()
    np.testing.assert_array_equal(drawn_y, good.tree["posterior"]["teff"].values[1, :, 3])


def test_ranks_of_chains_apart_leave_the_band(good, train):
    apart = drawn(train)
    moved = apart.blocks[0].draws["intercept"] + np.array([0, 0, 0, 1.0])[:, None, None]
    first, *rest = apart.blocks
    first = first._replace(draws={**first.draws, "intercept": moved})
    wrong = bt.diagnose(dataclasses.replace(apart, blocks=(first, *rest)))

    def outside(found: bt.Diagnosis) -> float:
        axis = plot.trace_rank(found).axes[1]
        band = axis.collections[0].get_paths()[0].get_extents()
        return max(np.abs(line.get_ydata()).max() for line in axis.lines) - band.y1

    assert outside(good) <= 0.02
    assert outside(wrong) > 0.2


def test_pit_of_both_kinds_of_stars_is_drawn_with_its_p_value(good):
    figure = plot.loo_pit(good)
    legend = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    assert legend == [
        f"400 left out in turn, p {good.pit['teff'].p_value:.2g}",
        f"300 held out, p {good.held_out.pit['teff'].p_value:.2g}",
    ]


def test_replicates_are_drawn_beside_what_was_observed(good):
    figure = plot.predictive_check(good)
    assert len(figure.axes) == 8
    mad = figure.axes[1]
    assert mad.get_xlabel() == "MAD [K]"
    (line,) = mad.lines
    assert line.get_xdata()[0] == good.checks["teff"][1].observed
    assert f"p = {good.checks['teff'][1].p_value:.2g}" in mad.texts[0].get_text()


# ---- the command --------------------------------------------------------------------------------


def test_the_command_compares_with_the_tables_that_are_given(train, test_stars, tmp_path, capsys):
    model, out = str(tmp_path / "m.nc"), tmp_path / "d"
    posterior = drawn(train)
    posterior.save(model)
    tables = {"--train": train, "--pairs": test_stars}
    for option, pairs in tables.items():
        columns = [item.column for item in (*pairs.spec.inputs, *pairs.spec.outputs)]
        table = Table(np.hstack([pairs.x, pairs.y]), names=columns)
        write_table(table, tmp_path / f"{option[2:]}.ecsv")
    given = {option: str(tmp_path / f"{option[2:]}.ecsv") for option in tables}
    arguments = ["diagnose", model, "--out", str(out), "--overwrite"]
    assert cli.main([*arguments, *np.ravel(list(given.items())).tolist()]) == 0
    direct = bt.diagnose(posterior, train=train, held_out=test_stars)
    assert capsys.readouterr().out == f"{direct}\n"
    assert (out / "diagnosis.txt").read_text() == f"{direct}\n"
    pictures = ["loo_pit.png", "predictive_check.png", "trace_rank.png"]
    left = ["diagnosis.nc", "diagnosis.txt", *pictures]
    assert sorted(path.name for path in out.iterdir()) == left
    tree = arviz.from_netcdf(out / "diagnosis.nc")
    np.testing.assert_array_equal(
        tree["held_out/observed_data/rv"], direct.tree["held_out/observed_data/rv"]
    )
    tree.close()
    assert cli.main(["diagnose", model, "--pairs", given["--train"]]) == 2
    assert "were in the fit; give stars that were not" in capsys.readouterr().err


def test_other_stars_with_the_same_answers_are_no_stars_of_the_fit(train, test_stars):
    same = test_stars.y.copy(), test_stars.y_err.copy()
    same[0][:100], same[1][:100] = train.y[:100], train.y_err[:100]
    others = dataclasses.replace(test_stars, y=same[0], y_err=same[1])
    assert bt.diagnose(drawn(train), held_out=others).held_out is not None
