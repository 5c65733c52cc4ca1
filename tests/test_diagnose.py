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
GOOD_TUNING = {"step_size": 0.3, "length": 20.0, "energy_variance": 1e-5, "ended": "converged"}


#: Of the corrections; their scatter about a plane of slope 0.5 is of unit size.
CENTRE, SCALE = np.array([10.0, 0.0]), np.array([40.0, 30.0])


def stars(count: int, seed: int) -> bt.Pairs:
    """Return stars whose scaled corrections are 0.5 (z1 + z2) and noise."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(count, 2))
    x = np.array([5000.0, 3.0]) + np.array([300.0, 0.5]) * z
    delta = 0.5 * z.sum(axis=1, keepdims=True) + rng.normal(size=(count, 2))
    y = np.column_stack([x[:, 0], np.zeros(count)]) + CENTRE + SCALE * delta
    nothing = np.full(x.shape, np.nan)
    return bt.Pairs(SPEC, x, nothing, y, nothing, np.arange(count))


@pytest.fixture(scope="module")
def train() -> bt.Pairs:
    return stars(400, 0)


def drawn(train: bt.Pairs, chains: int = 4, draws: int = 250, **tuning: object) -> bt.Posterior:
    """Return linear networks whose draws are those of the posterior, in all chains.

    What B measured of the probe stars is left out: only the sampling is to be judged.
    """
    rng = np.random.default_rng(1)
    scaler = dataclasses.replace(
        Scaler.learn(train),
        x_centre=np.array([5000.0, 3.0]),
        x_scale=np.array([300.0, 0.5]),
        delta_centre=CENTRE,
        delta_scale=SCALE,
    )
    blocks = tuple(
        BlockDraws(
            block,
            {
                "intercept": rng.normal(0.0, 0.05, (chains, draws, 1)),
                "slope": rng.normal(0.5, 0.05, (chains, draws, 1, 2)),
                "log_scatter": rng.normal(0.0, 0.04, (chains, draws, 1)),
            },
            {"log_density": rng.normal(-50.0, 1.0, (chains, draws))},
            {**GOOD_TUNING, **tuning},
        )
        for block in SPEC.blocks
    )
    return bt.Posterior(
        SPEC,
        bt.Network(()),
        bt.Noise(dof=math.inf, error_factor="one"),
        scaler,
        blocks,
        Gaps.learn(scaler, train).density,
        Neighbours.learn(train.x, (0, 1)),
        Calibration.identity(len(SPEC.outputs)),
        Baseline.learn(train, scaler),
        train.x[::8],
        train.x_err[::8],
        np.full((len(train.x[::8]), 2), np.nan),
        train.y_err[::8],
        {"stars": len(train)},
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


def test_one_chain_that_does_not_move_is_named_and_the_others_judged_by_themselves(train):
    good = drawn(train)
    first, *rest = good.blocks
    draws = {name: v.copy() for name, v in first.draws.items()}
    for values in draws.values():
        values[2] = values[2, :1]
    found = bt.diagnose(dataclasses.replace(good, blocks=(first._replace(draws=draws), *rest)))
    (warning,) = found.warnings
    assert "of the 4 chains (from 0) frozen: 2;" in warning
    assert found.blocks["intrinsic"].frozen == (2,)
    assert found.blocks["intrinsic"].rhat["90"] > 1.1  # of all four, as it is
    assert found.verdict == "do not use"


@pytest.mark.parametrize(
    ("step", "kinds", "verdict"),
    [
        (0.0, set(), "good"),
        (0.15, {"modes"}, "usable"),  # it shows, and costs little
        (3.0, {"modes", "few draws"}, "do not use"),
    ],
)
def test_what_chains_apart_cost_decides(train, step, kinds, verdict):
    good = drawn(train)
    place = good.blocks[0].draws["intercept"] + step * np.array([0, 0, 0, 1.0])[:, None, None]
    found = bt.diagnose(with_intercepts(good, place))
    assert {fault.kind for _, fault in found.faults} - {"few draws"} == kinds - {"few draws"}
    assert found.verdict == verdict
    # Three chains at 0 and one at the step have a variance of a quarter of its square.
    share = (0.5 * step) ** 2 / (1 + 3 / 16 * step**2 + 0.01)
    assert found.blocks["intrinsic"].mode_share["50"] == pytest.approx(share, rel=0.15, abs=2e-4)


FAULTS = {  # what each kind of broken run is called, and by no other name
    "frozen": "frozen",
    "step": "the step is too long",
    "modes": "they sit in different modes",
}


def bumpy(count: int) -> bt.Pairs:
    """Return stars whose correction jumps in two places; one hidden unit can follow one."""
    rng = np.random.default_rng(0)
    z = rng.uniform(-1.7, 1.7, (count, 2))
    jumps = np.tanh(8 * (z[:, 0] + 1)) + np.tanh(8 * (z[:, 0] - 1))
    x = np.array([5000.0, 3.0]) + np.array([300.0, 0.5]) * z
    y = x[:, :1] + 40 * (jumps + 0.3 * rng.normal(size=count))[:, None]
    spec, nothing = dataclasses.replace(SPEC, outputs=SPEC.outputs[:1]), np.full(x.shape, np.nan)
    return bt.Pairs(spec, x, nothing, y, nothing[:, :1], np.arange(count))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "network", "options"),
    [
        ("", (), {"steps": 2000}),
        ("frozen", (), {"steps": 400, "energy_variance": 1e-18}),
        ("step", (), {"steps": 400, "energy_variance": 50.0}),
        # Of four chains all would find the same jump once in eight times; of eight it is
        # chance how many do, and with that what it costs.
        ("modes", (1,), {"chains": 8, "steps": 1000, "warm_steps": 500}),
    ],
    ids=["good", "frozen", "step", "modes"],
)
def test_real_runs_that_went_wrong_are_called_by_their_fault(fault, network, options):
    method = bt.MCLMC(**{"draws": 100, "warm_steps": 300, **options})
    posterior = bt.fit(
        bumpy(300),
        method=method,
        network=bt.Network(network),
        noise=bt.Noise(dof=math.inf),
        calibrate=False,
        seed=1,
        progress=False,
    )
    blank = np.full(posterior.probe_y.shape, np.nan)  # a line through jumps fits badly anyway
    found = bt.diagnose(dataclasses.replace(posterior, probe_y=blank))
    print(f"\n{found}")
    said = {name for name, words in FAULTS.items() if words in str(found)}
    assert said == ({fault} if fault else set())
    assert (found.verdict == "good") == (not fault)
    assert found.verdict != "usable" or fault == "modes"


@pytest.mark.parametrize("energy", [0.01, math.nan])
def test_a_large_energy_error_is_called_a_bias(train, energy):
    found = bt.diagnose(drawn(train, energy_variance=energy))
    assert len(found.warnings) == 2
    assert all(f"varies by {energy:.2g} per dimension" in w for w in found.warnings)
    assert all("lower energy_variance" in w for w in found.warnings)
    assert all("the draws biased;" in w for w in found.warnings)
    slightly = bt.diagnose(drawn(train, energy_variance=5e-4)).warnings
    assert all("the draws slightly biased, which matters from 0.002 on;" in w for w in slightly)
    assert len(slightly) == 2


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
    assert found.verdict == "usable"
    assert found.loo == found.checks == {}  # two members are no draws to weight
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
    mean = posterior.predict(posterior.probe_x, kind="mean").reshape(4, 250, 50, 2)
    np.testing.assert_array_equal(found.tree["posterior"]["teff"], mean[..., 0])
    np.testing.assert_array_equal(found.tree["posterior"]["rv"], mean[..., 1])
    stats = found.tree["sample_stats"]
    np.testing.assert_array_equal(stats["rv.log_density"], posterior.blocks[1].stats["log_density"])
    table = arviz.summary(found.tree, kind="diagnostics", var_names=["teff"], round_to="none")
    rhat = table["r_hat"].to_numpy(dtype=float)
    assert len(rhat) == 50
    assert found.blocks["intrinsic"].rhat["90"] == pytest.approx(np.percentile(rhat, 90), abs=1e-6)


def test_tree_survives_a_file(train, tmp_path):
    found = bt.diagnose(drawn(train))
    found.tree.to_netcdf(tmp_path / "d.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "d.nc", engine="h5netcdf") as back:
        np.testing.assert_array_equal(back["posterior"]["rv"], found.tree["posterior"]["rv"])


def test_text_gives_the_verdict_and_its_evidence(train):
    good = bt.diagnose(drawn(train))
    lines = str(good).splitlines()
    assert lines[0] == "verdict: good"
    assert "intrinsic: good" in lines
    assert "rv: good" in lines
    assert any(f"{good.blocks['rv'].rhat['90']:.3f} (90 %)" in line for line in lines)
    assert any("step_size 0.3" in line for line in lines)
    assert "warning" not in str(good)
    bad = str(bt.diagnose(drawn(train, energy_variance=0.001)))
    assert bad.count(": the energy error varies") == 2
    assert bad.startswith("verdict: usable, for 2 reasons:")
    worse = bt.diagnose(drawn(train, energy_variance=0.01))
    assert worse.verdict == "do not use"
    assert "intrinsic: see the warnings" in bad
