"""Chains that are known to be good or bad, and what is said about them."""

from __future__ import annotations

import dataclasses
import math

import arviz
import numpy as np
import pytest
import xarray as xr

import bayestrans as bt
from bayestrans.baseline import Baseline
from bayestrans.calibration import Calibration
from bayestrans.gaps import Gaps
from bayestrans.neighbours import Neighbours
from bayestrans.posterior import BlockDraws
from bayestrans.scale import Scaler

SPEC = bt.Spec(
    "chains",
    (bt.Input("teff", "teff_a", unit="K"), bt.Input("logg", "logg_a")),
    (
        bt.Output("teff", "teff_b", unit="K", corrects="teff"),
        bt.Output("rv", "rv_b", unit="km/s", extrinsic=True),
    ),
)
GOOD_TUNING = {"step_size": 0.3, "length": 20.0, "energy_variance": 4e-4, "ended": "converged"}


@pytest.fixture(scope="module")
def train() -> bt.Pairs:
    rng = np.random.default_rng(0)
    x = np.array([5000.0, 3.0]) + np.array([300.0, 0.5]) * rng.normal(size=(100, 2))
    y = np.column_stack([x[:, 0] + rng.normal(10, 40, 100), rng.normal(0, 30, 100)])
    nothing = np.full(x.shape, np.nan)
    return bt.Pairs(SPEC, x, nothing, y, np.full(y.shape, np.nan), np.arange(100))


def drawn(train: bt.Pairs, chains: int = 4, draws: int = 250, **tuning: object) -> bt.Posterior:
    """Return linear networks whose draws are independent and alike in all chains."""
    rng, scaler = np.random.default_rng(1), Scaler.learn(train)
    blocks = tuple(
        BlockDraws(
            block,
            {
                "intercept": rng.normal(0.0, 0.1, (chains, draws, 1)),
                "slope": rng.normal(0.5, 0.1, (chains, draws, 1, 2)),
                "log_scatter": rng.normal(0.0, 0.05, (chains, draws, 1)),
                "error_factor": np.ones((chains, draws, 1)),
            },
            {"log_density": rng.normal(-50.0, 1.0, (chains, draws))},
            {**GOOD_TUNING, **tuning},
        )
        for block in SPEC.blocks
    )
    return bt.Posterior(
        SPEC,
        bt.Network(()),
        bt.Noise(dof=math.inf),
        scaler,
        blocks,
        Gaps.learn(scaler, train).density,
        Neighbours.learn(train.x, (0, 1)),
        Calibration.identity(len(SPEC.outputs)),
        Baseline.learn(train, scaler),
        train.x[::5],
        train.x_err[::5],
        train.y[::5],
        train.y_err[::5],
        {},
    )


def with_intercepts(posterior: bt.Posterior, values: np.ndarray) -> bt.Posterior:
    """Replace the intercepts of the first network."""
    first, *rest = posterior.blocks
    first = first._replace(draws={**first.draws, "intercept": values})
    return dataclasses.replace(posterior, blocks=(first, *rest))


def test_independent_draws_earn_no_warning(train):
    found = bt.diagnose(drawn(train))
    assert found.warnings == ()
    for block in found.blocks.values():
        assert block.rhat["50"] <= block.rhat["90"] < 1.02
        # 1000 independent draws are worth about 1000, and the worst probes a little less.
        assert 850 < block.ess_bulk["90"] <= block.ess_bulk["50"] < 1150
        assert 700 < block.ess_tail["90"] <= block.ess_tail["50"] < 1200
        # Means of 250 draws scatter by 1 / sqrt(250) of the spread.
        assert block.mode_spread == pytest.approx(1 / np.sqrt(250), rel=0.6)


def test_chains_in_different_places_are_said_to_disagree(train):
    good = drawn(train)
    apart = good.blocks[0].draws["intercept"] + np.array([0, 0, 0, 1.0])[:, None, None]
    found = bt.diagnose(with_intercepts(good, apart))
    (warning,) = [w for w in found.warnings if "R-hat" in w]
    assert warning.startswith("intrinsic: R-hat of predictions is ")
    assert "the chains disagree" in warning
    assert "run longer" in warning
    assert f"{found.blocks['intrinsic'].rhat['90']:.2f}" in warning
    assert found.blocks["intrinsic"].rhat["50"] > 1.2
    assert found.blocks["intrinsic"].mode_spread > 1
    assert found.blocks["rv"].warnings == ()


def test_a_difference_in_weights_that_leaves_the_function_is_no_fault(train):
    # Hidden units in another order: R-hat of the weights is terrible, of predictions perfect.
    network, rng = bt.Network((2,)), np.random.default_rng(2)
    good = drawn(train)
    lead = (4, 250)
    weights = {
        "weight_0": rng.normal([[2.0, 0.0], [0.0, -2.0]], 0.05, (*lead, 2, 2)),
        "bias_0": rng.normal([1.0, -1.0], 0.05, (*lead, 2)),
        "weight_out": rng.normal([[1.0, 3.0], [0.5, 0.2]], 0.05, (*lead, 2, 2)),
        "amplitude": rng.normal(1.0, 0.02, (*lead, 1)),
        "scatter_amplitude": rng.normal(0.1, 0.01, (*lead, 1)),
    }
    for name, size in network.shapes(2, 2).items():  # any other part of the network is alike
        weights.setdefault(name, np.zeros((*lead, *size)))
    swapped = {name: values.copy() for name, values in weights.items()}
    for name in ("weight_0", "bias_0"):
        swapped[name][:2] = weights[name][:2, :, ::-1]
    swapped["weight_out"][:2] = weights["weight_out"][:2, ..., ::-1]
    found = [
        bt.diagnose(
            dataclasses.replace(
                good,
                network=network,
                blocks=tuple(b._replace(draws={**b.draws, **chosen}) for b in good.blocks),
            )
        )
        for chosen in (weights, swapped)
    ]
    assert found[1].warnings == ()
    assert found[1].blocks["intrinsic"].rhat["90"] == pytest.approx(
        found[0].blocks["intrinsic"].rhat["90"], abs=1e-3
    )


def test_few_draws_are_said_to_leave_quantiles_rough(train):
    found = bt.diagnose(drawn(train, draws=10))
    warning = next(w for w in found.warnings if "effective draws" in w)
    assert "quantiles are rough" in warning
    assert found.blocks["intrinsic"].ess_bulk["90"] < 100


def test_slowly_mixing_draws_count_for_few(train):
    good = drawn(train)
    walk = np.zeros((4, 250, 1))
    noise = np.random.default_rng(3).normal(size=walk.shape)
    for step in range(1, 250):  # an AR(1) with correlation 0.9: 19 draws are worth one
        walk[:, step] = 0.9 * walk[:, step - 1] + np.sqrt(1 - 0.9**2) * noise[:, step]
    found = bt.diagnose(with_intercepts(good, walk)).blocks["intrinsic"]
    assert found.ess_bulk["50"] == pytest.approx(1000 / 19, rel=0.6)
    assert any("effective draws" in w for w in found.warnings)


def test_a_collapsed_step_is_called_frozen(train):
    found = bt.diagnose(drawn(train, step_size=1e-7))
    assert [w.split(":")[0] for w in found.warnings] == ["intrinsic", "rv"]
    assert all("1e-07: the chains are frozen" in w for w in found.warnings)


def test_draws_that_never_move_are_not_called_good(train):
    first, *rest = drawn(train).blocks
    draws = {name: np.broadcast_to(v[:1, :1], v.shape) for name, v in first.draws.items()}
    blocks = (first._replace(draws=draws), *rest)
    found = bt.diagnose(dataclasses.replace(drawn(train), blocks=blocks))
    assert found.blocks["intrinsic"].warnings != ()
    assert found.blocks["rv"].warnings == ()


@pytest.mark.parametrize("energy", [0.2, math.nan])
def test_a_large_energy_error_is_called_a_bias(train, energy):
    found = bt.diagnose(drawn(train, energy_variance=energy))
    assert len(found.warnings) == 2
    assert all(f"varies by {energy:.2g} per dimension" in w for w in found.warnings)
    assert all("lower energy_variance" in w for w in found.warnings)


def test_an_ensemble_says_that_it_cannot_show_convergence(train):
    narrow = dataclasses.replace(SPEC, outputs=SPEC.outputs[:1])
    pairs = bt.Pairs(narrow, train.x, train.x_err, train.y[:, :1], train.y_err[:, :1], train.ids)
    method = bt.Ensemble(members=2, warm_steps=5)
    posterior = bt.fit(
        pairs, method=method, network=bt.Network(()), calibrate=False, progress=False
    )
    found = bt.diagnose(posterior)
    words = "1 chain(s) of 2 draw(s) cannot show convergence; fit with MCLMC()"
    assert found.warnings == (f"intrinsic: {words}",)
    assert math.isnan(found.blocks["intrinsic"].rhat["90"])
    assert str(found).startswith("intrinsic: see the warnings")
    table = arviz.summary(found.tree, kind="stats", var_names=["teff"])
    assert len(table) == len(posterior.probe_x)


@pytest.mark.parametrize(("chains", "draws"), [(1, 500), (2, 3)])
def test_one_chain_or_three_draws_cannot_show_convergence(train, chains, draws):
    found = bt.diagnose(drawn(train, chains, draws))  # one chain: what SVI returns
    assert len(found.warnings) == 2
    start = f"{chains} chain(s) of {draws} draw(s) cannot show convergence"
    assert all(start in w for w in found.warnings)


def test_tree_is_one_that_arviz_summarises(train):
    posterior = drawn(train)
    found = bt.diagnose(posterior)
    assert set(found.tree.children) >= {"posterior", "sample_stats"}
    assert found.tree["posterior"]["teff"].dims == ("chain", "draw", "probe")
    mean = posterior.predict(posterior.probe_x, kind="mean").reshape(4, 250, 20, 2)
    np.testing.assert_array_equal(found.tree["posterior"]["teff"], mean[..., 0])
    np.testing.assert_array_equal(found.tree["posterior"]["rv"], mean[..., 1])
    stats = found.tree["sample_stats"]
    np.testing.assert_array_equal(stats["rv.log_density"], posterior.blocks[1].stats["log_density"])
    table = arviz.summary(found.tree, kind="diagnostics", var_names=["teff"], round_to="none")
    rhat = table["r_hat"].to_numpy(dtype=float)
    assert len(rhat) == 20
    assert found.blocks["intrinsic"].rhat["90"] == pytest.approx(np.percentile(rhat, 90), abs=1e-6)


def test_tree_survives_a_file(train, tmp_path):
    found = bt.diagnose(drawn(train))
    found.tree.to_netcdf(tmp_path / "d.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "d.nc", engine="h5netcdf") as back:
        np.testing.assert_array_equal(back["posterior"]["rv"], found.tree["posterior"]["rv"])


def test_text_gives_the_verdict_and_its_evidence(train):
    good = bt.diagnose(drawn(train))
    lines = str(good).splitlines()
    assert lines[0] == "intrinsic: good"
    assert "rv: good" in lines
    assert any(f"{good.blocks['rv'].rhat['90']:.3f} (90 %)" in line for line in lines)
    assert any("step_size 0.3" in line for line in lines)
    assert "warning" not in str(good)
    bad = str(bt.diagnose(drawn(train, energy_variance=0.2)))
    assert bad.count("  warning: the energy error varies") == 2
    assert bad.startswith("intrinsic: see the warnings")
