"""What `fit` promises about seeds and refuses."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import NAN, SMALL, stars, temperatures, tiny_fit

import bayestrans as bt
from bayestrans.infer import _announced, _say_velocities
from bayestrans.infer import _check_count as check_count
from bayestrans.pairs import PairsError


def test_the_same_seed_gives_the_same_draws_bit_for_bit():
    method = bt.MCLMC(chains=2, draws=10, steps=20, warm_steps=20)
    first, again = (tiny_fit(method, SMALL, seed=1).blocks[0].draws for _ in "12")
    for name, values in first.items():
        assert values.shape[:2] == (2, 10)
        np.testing.assert_array_equal(again[name], values)


@pytest.mark.parametrize(
    "given", [{"method": "mclmc"}, {"method": bt.NUTS}, {"pairs": np.zeros((60, 3))}]
)
def test_the_name_of_a_sampler_or_a_bare_table_is_refused(given):
    with pytest.raises(TypeError, match="give what read_pairs returns, and a sampler"):
        bt.fit(**{"pairs": stars(60), **given})


def test_another_seed_gives_other_draws():
    method = bt.Ensemble(members=2, warm_steps=20)
    first, other = (tiny_fit(method, seed=seed).blocks[0].draws for seed in (1, 2))
    for name, values in first.items():
        assert (other[name] != values).all()


@pytest.mark.parametrize(
    ("method", "draws"),
    [
        (bt.Ensemble(members=3, warm_steps=20), 3),
        (bt.SVI(steps=20, draws=30, warm_steps=20), 30),
    ],
    ids=["Ensemble", "SVI"],
)
def test_the_fast_methods_give_finite_predictions(method, draws):
    fitted = tiny_fit(method)
    found = fitted.predict(temperatures(10), kind="measured")
    assert found.shape == (draws, 10, 1)
    assert np.isfinite(found).all()
    assert len(np.unique(found[:, 0, 0])) == draws
    assert fitted.record["method"] == repr(method)


def test_too_few_stars_are_refused_with_the_number_needed():
    with pytest.raises(PairsError, match=r"39 training stars for the intrinsic .* at least 40 "):
        bt.fit(temperatures(39), calibrate=False, progress=False)


def test_stars_are_counted_per_network():
    pairs = stars(200)
    pairs.y[25:, 0] = NAN
    with pytest.raises(PairsError, match=r"25 training stars for the rv .* at least 40 .*6 feat"):
        bt.fit(pairs, calibrate=False, progress=False)


def test_an_output_that_few_stars_have_is_named_before_the_fit(caplog):
    pairs = bt.simulate(200, 0, seed=1).pairs
    pairs.y[12:, 3] = NAN
    with caplog.at_level("WARNING", "bayestrans"):
        check_count(pairs)
    assert "mg_fe is known of 12 training stars only, of which 50 would be needed" in caplog.text
    assert len(caplog.records) == 1


def test_what_is_to_come_is_said_where_the_bars_are(given, capsys):
    method = bt.Ensemble(members=2, warm_steps=5)
    settings = {"method": method, "network": bt.Network((2,)), "calibrate": False}
    bt.fit(given.train, **settings)
    told = capsys.readouterr()
    assert not told.out
    assert told.err.startswith("learning one network (teff)\n")
    bt.fit(given.train, **settings, progress=False)
    assert "learning" not in capsys.readouterr().err


def test_fit_says_first_what_it_will_do():
    inputs = (bt.Input("teff", "t"), bt.Input("rv", "v", extrinsic=True))
    outputs = (bt.Output("teff", "T"), bt.Output("g", "G"), bt.Output("rv", "V", extrinsic=True))
    spec = bt.Spec("s", inputs, outputs)
    told = _announced(spec, bt.MCLMC(time_budget=60.0), calibrate=True)
    assert told == (
        "learning 2 networks, one after the other (teff, g; rv), each until its chains agree, for "
        "60 s at most; then some twenty short refits of each for the calibration"
    )
    alone = bt.Spec("s", inputs[:1], outputs[:2])
    for method in (bt.MCLMC(steps=900), bt.NUTS(), bt.SVI()):
        told = _announced(alone, method, calibrate=isinstance(method, bt.NUTS))
        assert told == "learning one network (teff, g)"


@pytest.mark.parametrize(("extrinsic", "told"), [(False, True), (True, False)])
def test_a_velocity_that_shares_a_network_is_named(extrinsic, told, caplog):
    inputs = (bt.Input("teff", "t"), bt.Input("RV", "v", unit="km/s", extrinsic=extrinsic))
    outputs = (bt.Output("teff", "T"), bt.Output("vmic", "m", unit="km/s"))
    rv = bt.Output("RV", "V", unit="km/s", extrinsic=extrinsic)
    with caplog.at_level("WARNING", "bayestrans"):
        _say_velocities(bt.Spec("s", inputs, (*outputs, rv)))
    assert [r.message.split(";")[0] for r in caplog.records] == [
        "RV looks like the star's velocity and shares a network with the others"
    ] * told


def test_a_constant_column_is_refused_before_the_fit():
    pairs = temperatures()
    pairs.x[:] = 5000.0
    with pytest.raises(PairsError, match="teff_a is constant"):
        bt.fit(pairs, calibrate=False, progress=False)


@pytest.mark.parametrize("scatter", [(50.0, 1.0), ()])
def test_a_scatter_of_another_length_is_refused(scatter):
    noise = bt.Noise(scatter=scatter)
    with pytest.raises(ValueError, match=f"scatter has {len(scatter)} values for 1 outputs"):
        bt.fit(temperatures(), noise=noise, calibrate=False, progress=False)
