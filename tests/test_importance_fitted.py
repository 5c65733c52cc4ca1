"""Importance in fitted models: budgets, pictures of them, and the truth of simulated surveys."""

from __future__ import annotations

import dataclasses
import itertools
import json

import arviz
import numpy as np
import pytest

import bayestrans as bt
from bayestrans import student
from bayestrans.calibration import Calibration
from bayestrans.moments import moments
from bayestrans.shapley import Population, effects
from bayestrans.simulate import systematics

# ---- a fitted model -----------------------------------------------------------------------


SETTINGS = {"draws": 40, "stars": 256, "progress": False}


@pytest.fixture(scope="module")
def fitted(posterior, split) -> bt.Importance:
    return bt.importance(posterior, split[1], **SETTINGS)


def test_an_output_rests_on_what_its_network_sees(fitted):
    share = fitted.draws["share"].isel(chain=0, draw=0).sel(target="correction")
    assert np.isnan(share.sel(output="teff", player="rv"))
    assert np.isfinite(share.sel(output="rv")).all()
    change = fitted.draws["change"].isel(chain=0, draw=0).sel(target="full")
    assert np.isnan(change.sel(output="logg", feature="rv error"))
    assert np.isfinite(change.sel(output="rv")).all()
    table = fitted.table()
    assert not table.isna().to_numpy().any()
    assert set(table[table["output"] == "teff"]["input"]) & {"rv", "rv error"} == set()
    assert fitted.members["errors"] == tuple(
        f"{name} error" for name in ("teff", "logg", "fe_h", "mg_fe", "jk", "rv")
    )


def test_slopes_are_those_of_finite_differences(posterior, split, fitted):
    test = split[1]
    step = 20.0
    moved = [dataclasses.replace(test, x=test.x + s * np.eye(6)[0]) for s in (-step, step)]
    low, high = (posterior.predict(pairs, kind="mean", draws=40) for pairs in moved)
    expected = ((high - low) / (2 * step)).mean(axis=1)
    slope = fitted.draws["slope"].sel(target="full", feature="teff")
    slope = slope.stack(sample=("chain", "draw")).transpose("sample", "output").values
    largest = np.abs(expected).max(axis=0)
    np.testing.assert_allclose(slope / largest, expected / largest, atol=0.02)


def test_the_same_seed_gives_the_same_numbers(posterior, fitted, split):
    again = bt.importance(posterior, split[1], **SETTINGS)
    assert again.draws.identical(fitted.draws)
    assert again.budget.identical(fitted.budget)
    other = bt.importance(posterior, split[1], seed=1, **SETTINGS)
    assert not other.draws["share"].equals(fitted.draws["share"])
    error = fitted.monte_carlo["share"]
    means = [one.draws["share"].mean(("chain", "draw"), skipna=False) for one in (fitted, other)]
    away = np.abs(means[0] - means[1]) / error
    assert float(away.quantile(0.9)) < 4.0


def test_the_budget_sums_to_the_catalogues_variance(posterior, split):
    test = split[1].take(np.arange(80))
    x, x_err = test.x.copy(), test.x_err.copy()
    x[::4, 2], x_err[::4, 2] = np.nan, np.nan  # no metallicity
    x_err[1::4, 1] = np.nan  # no error
    gaps = dataclasses.replace(test, x=x, x_err=x_err)
    numbers = np.array([[0.1, -0.2, 0.0, 0.1, 0.0], [0.1] * 5, [0.5] * 5])
    wider = dataclasses.replace(posterior, calibration=Calibration(*numbers))
    found = bt.importance(wider, gaps, **SETTINGS).budget
    for block in wider.blocks:
        scale = wider.scaler.delta_scale[list(block.block.outputs)]
        mine = found[:, list(block.block.outputs)]
        for rows, mixture in wider.mixtures(block, x, x_err, SETTINGS["draws"]):
            table = student.polynomial(mixture.tails)
            catalogue = moments(mixture, table)  # what `translate` gives for stars like these
            expected = (np.asarray(catalogue.sd).T * scale) ** 2
            np.testing.assert_allclose(mine[rows].sum("part"), expected, rtol=1e-3)
        for rows, mixture in posterior.uncalibrated.mixtures(block, x, x_err, SETTINGS["draws"]):
            model = mine[rows].sel(part=["model", "gaps"]).sum("part")
            catalogue = moments(mixture, student.polynomial(mixture.tails))
            expected = (np.asarray(catalogue.sd_model).T * scale) ** 2
            np.testing.assert_allclose(model, expected, rtol=1e-3)
    assert (found.sel(part=["model", "gaps", "inputs", "intrinsic"]) >= 0).all()
    assert (found.sel(part="gaps")[2::4] == 0).all()
    without = found.sel(output="fe_h", part="gaps").values[::4]
    assert np.sqrt(without.mean()) > 0.1  # [Fe/H] itself is not known


def test_a_star_without_any_input_has_no_budget(posterior):
    # No such star can be among pairs; the model's probe stars are not checked.
    x, x_err = posterior.probe_x.copy(), posterior.probe_x_err.copy()
    x[3], x_err[3] = np.nan, np.nan
    odd = dataclasses.replace(posterior, probe_x=x, probe_x_err=x_err)
    found = bt.importance(odd, **SETTINGS)
    assert np.isnan(found.budget[3]).all()
    assert np.isfinite(np.delete(found.budget.values, 3, axis=0)).all()
    assert np.isfinite(found.table()["mean"]).all()
    nowhere = dataclasses.replace(odd, probe_x=np.full(x.shape, np.nan))
    with pytest.raises(ValueError, match="no stars with any input; give pairs"):
        bt.importance(nowhere, progress=False)


def test_arviz_summarises_the_draws(fitted, tmp_path):
    summary = arviz.summary(fitted.to_tree(), var_names=["explained"], kind="stats")
    assert len(summary) == 10
    fitted.to_tree().to_netcdf(tmp_path / "i.nc", engine="h5netcdf")


def test_everything_is_ready_for_json(fitted):
    sheet = json.loads(json.dumps(fitted.to_dict(), allow_nan=False))
    assert sheet["units"]["outputs"]["teff"] == "K"
    row = sheet["table"][0]
    assert row["lower_95"] < row["lower_68"] < row["mean"] < row["upper_68"] < row["upper_95"]
    total = sum(sheet["budget"]["logg"].values())
    assert total == pytest.approx(float(fitted.mean_budget.sel(output="logg").sum()))


def test_text_has_the_inputs_of_an_extrinsic_output(fitted):
    assert "\n  rv  " in str(fitted).split("rv [km/s]:")[1]


def test_a_dead_input_and_two_copies_of_one_in_a_fit():
    rng = np.random.default_rng(4)
    z = rng.normal(size=(600, 3))
    copies = 5000.0 + 300.0 * z[:, :1] + [0.0, 0.3] * rng.normal(size=(600, 2))
    x = np.column_stack([copies[:, 0], 3.0 + 0.5 * z[:, 1], z[:, 2], copies[:, 1]])
    noise = rng.normal(size=600)
    noise -= z[:, 2] * (z[:, 2] @ noise) / (z[:, 2] @ z[:, 2])  # dead in these very stars, too
    shift = 40.0 * np.tanh(z[:, 0]) + 20.0 * z[:, 1] + 15.0 * noise
    names = ("teff", "logg", "dead", "copy")
    spec = bt.Spec(
        "copies",
        tuple(bt.Input(name, name) for name in names),
        (bt.Output("teff", "y", corrects="teff"),),
    )
    nothing = np.full(x.shape, np.nan)
    pairs = bt.Pairs(spec, x, nothing, (x[:, 0] + shift)[:, None], nothing[:, :1], np.arange(600))
    posterior = bt.fit(
        pairs,
        method=bt.MCLMC(chains=2, steps=800, draws=100, warm_steps=300),
        network=bt.Network((8,)),
        calibrate=False,
        progress=False,
    )
    table = bt.importance(posterior, stars=1024, progress=False).table()
    rows = table[table["target"] == "correction"].set_index(["what", "input"])
    dead = rows.loc[("change", "dead")]
    assert dead["lower"] < 0 < dead["upper"]
    assert rows.loc[("share", "dead")]["upper"] < 0.02
    shares = rows.loc["share"]["mean"]
    assert shares["teff"] == pytest.approx(shares["copy"], abs=0.02)
    # 1600 <tanh^2> of 1600 <tanh^2> + 400 goes to both copies together.
    part = 1600 * np.mean(np.tanh(rng.normal(size=100_000)) ** 2)
    assert shares["teff"] + shares["copy"] == pytest.approx(part / (part + 400), abs=0.05)


# ---- the truth ----------------------------------------------------------------------------


def true_correction(star_like: np.ndarray) -> np.ndarray:
    """Return B minus A (N, 5) for what A gives without noise, of stars that are no clump stars."""
    star = star_like.copy()
    for _ in range(30):  # the star whose value A gives
        star = 0.5 * (star + star_like - systematics(star, np.zeros(len(star), dtype=bool)))
    return -systematics(star, np.zeros(len(star), dtype=bool))


def quiet_posterior(outputs: list[int], inputs: int) -> bt.Posterior:
    """Fit the first inputs and some outputs of stars with hardly any noise.

    Without clump stars: A treats their log g differently, and no input names them.
    """
    quiet = dict.fromkeys(("teff", "logg", "fe_h", "mg_fe", "jk", "rv"), 0.02)
    pair = bt.simulate(2000, 0, seed=5, binary_fraction=0.0, error_factors=quiet)
    both = pair.pairs.take(np.flatnonzero(pair.truth["stage"] != "clump"))
    spec = dataclasses.replace(
        both.spec, inputs=both.spec.inputs[:inputs], outputs=[both.spec.outputs[k] for k in outputs]
    )
    x = both.x[:, :inputs], both.x_err[:, :inputs]
    return bt.fit(
        bt.Pairs(spec, *x, both.y[:, outputs], both.y_err[:, outputs], both.ids),
        method=bt.MCLMC(chains=2, steps=1000, warm_steps=600),
        network=bt.Network((16,)),
        calibrate=False,
        progress=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("outputs", "inputs", "least"),
    [([0, 1, 2, 3], 5, 25), ([4], 6, 8)],
    ids=["intrinsic", "velocity"],
)
def test_ranks_are_those_of_the_truth(outputs, inputs, least):
    """Ranks of Shapley effects that the intervals separate, where A has hardly any noise."""
    posterior = quiet_posterior(outputs, inputs)
    found = bt.importance(posterior, stars=2048, draws=40, progress=False)
    names = [o.name for o in posterior.spec.outputs]

    def function(z: np.ndarray) -> np.ndarray:
        x = posterior.scaler.x_centre + z[:, :inputs] * posterior.scaler.x_scale
        # Colour corrects nothing; the velocity, where it is an input, comes after it.
        velocity = x[:, 5] if inputs > 5 else np.zeros(len(x))
        return true_correction(np.column_stack([x[:, :4], velocity]))[:, outputs].T

    players = [*([j] for j in range(inputs)), list(range(inputs, 2 * inputs))]
    population = Population.of(posterior.density, range(2 * inputs))
    truth = effects(function, population, players, size=256)
    share = (truth.shapley.mean(axis=0) / truth.variance.mean(axis=0)).T
    mine = found.draws["share"].sel(target="correction")
    low, high = mine.quantile([0.025, 0.975], ("chain", "draw")).values
    error = 2 * found.monte_carlo["share"].sel(target="correction").values
    separated = 0
    for k, name in enumerate(names):
        print(name, *mine["player"].values, share[k], mine.mean(("chain", "draw")).values[k])
        for i, j in itertools.permutations(range(len(players)), 2):
            # By the posterior's interval, and by the Monte-Carlo errors of both estimates.
            if low[k, i] - high[k, j] > 2 * (error[k, i] + error[k, j]):
                separated += 1
                assert share[k, i] > share[k, j], (name, i, j)
    print(f"{separated} pairs of effects separated")
    assert separated >= least
