"""Round trips and chains of models whose laws are known, and of models that are wrong."""

from __future__ import annotations

import dataclasses

import linear
import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from scipy import stats

import bayestrans as bt
from bayestrans import cli, plot
from bayestrans.calibration import doubting
from bayestrans.consistency import _followers, chain, round_trip

STARS, DRAWS = 1500, 8


@pytest.fixture(scope="module")
def there() -> bt.Posterior:
    return linear.model("a", "base")


@pytest.fixture(scope="module")
def back() -> bt.Posterior:
    return linear.model("base", "a")


@pytest.fixture(scope="module")
def stars() -> bt.Pairs:
    """Return stars of A; the hand-made model back has all errors of A in its scatter."""
    given = linear.pairs(linear.sky(STARS, 21), "a", "base")
    return dataclasses.replace(given, x_err=np.full(given.x.shape, np.nan))


@pytest.fixture(scope="module")
def trip(there, back, stars) -> bt.Consistency:
    return round_trip(there, back, stars, draws=DRAWS, seed=1)


@pytest.fixture(scope="module")
def chained(there, stars) -> bt.Consistency:
    first, second = linear.model("a", "b"), linear.model("b", "base")
    return chain(first, second, there, stars, draws=DRAWS, seed=1)


def slope_of(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(x - x.mean(axis=0), y - y.mean(axis=0))[0].T


def moved(posterior: bt.Posterior, by: np.ndarray) -> bt.Posterior:
    """Return a model whose outputs are wrong by so much."""
    scaler = posterior.scaler
    scaler = dataclasses.replace(scaler, delta_centre=scaler.delta_centre + by)
    return dataclasses.replace(posterior, scaler=scaler)


def wider(posterior: bt.Posterior, factor: float) -> bt.Posterior:
    """Return a model whose scatter is wrong by a factor."""
    (block,) = posterior.blocks
    draws = {**block.draws, "log_scatter": block.draws["log_scatter"] + np.log(factor)}
    return dataclasses.replace(posterior, blocks=(block._replace(draws=draws),))


# ---- round trips --------------------------------------------------------------------------


def test_scores_of_right_models_are_standard_normal(trip):
    assert trip.z.shape == (DRAWS, STARS, 3)
    for k in range(3):
        # One draw of each star: those of one star are not independent.
        assert stats.kstest(trip.z[0, :, k], "norm").pvalue > 0.01
    table = trip.table()
    every = table[table["class"] == "all"]
    assert every["output"].tolist() == list(linear.NAMES)
    assert np.abs(every["within_68"] - 0.68).max() < 0.025
    assert np.abs(every["within_95"] - 0.95).max() < 0.015
    assert np.abs(every["z_bias"]).max() < 0.06


def test_a_round_trip_regresses_as_the_laws_say(trip, stars):
    """In closed form the way has the slope of both regressions, and twice the last scatter."""
    go, _ = linear.regression("a", "base", 0.0)
    come, scatter = linear.regression("base", "a", 0.0)
    again = trip.difference.mean(axis=0) + stars.x
    unit = np.sqrt(np.diag(linear.law("a", 0.0)[1]))
    found = slope_of(stars.x / unit, again / unit)
    np.testing.assert_allclose(found, come @ go * unit / unit[:, None], atol=0.02)
    assert (np.diag(found) < 0.95).all()  # it is not the identity
    # Both values are draws of one law given B's: they differ by twice its variance.
    np.testing.assert_allclose(
        trip.difference.std(axis=(0, 1)), np.sqrt(2 * scatter.diagonal()), rtol=0.03
    )


def test_nothing_tells_the_value_from_its_way_back(trip):
    """Against the mean of both there is no tilt; against the star's own value there is."""
    for k in range(3):
        away, place = trip.difference[:, :, k].ravel(), trip.place[:, :, k].ravel()
        # 1,500 stars tell a correlation to 0.026.
        assert abs(np.corrcoef(place, away)[0, 1]) < 0.08
        own = place - away / 2
        assert np.corrcoef(own, away)[0, 1] < -0.15


def test_a_bias_of_either_model_shows(there, back, stars, trip):
    by = np.array([80.0, 0.0, 0.0])
    for models in ((moved(there, by), back), (there, moved(back, by))):
        found = round_trip(*models, stars, draws=DRAWS, seed=1).table()
        row = found[(found["output"] == "teff") & (found["class"] == "all")][0]
        assert row["bias"] == pytest.approx(80, abs=15)
        assert row["z_bias"] > 0.5  # of one sign with the bias
        assert row["within_68"] < 0.64


@pytest.mark.parametrize("which", ["there", "back"])
def test_errors_that_are_too_narrow_or_too_wide_show(there, back, stars, which):
    shares = []
    for factor in (0.4, 2.5):
        models = {"there": there, "back": back}
        models[which] = wider(models[which], factor)
        found = round_trip(models["there"], models["back"], stars, draws=DRAWS, seed=1).table()
        shares.append(found["within_68"][found["class"] == "all"])
    if which == "back":
        assert (shares[0] < 0.5).all()
        assert (shares[1] > 0.85).all()
    else:  # of the first model only its draws are seen, through the second
        assert (shares[0] > 0.7).any()
        assert (shares[1] < 0.66).any()


def test_the_same_seed_gives_the_same_way(there, back, stars, trip):
    few = stars.take(np.arange(40))
    one, two, other = (round_trip(there, back, few, draws=DRAWS, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.difference, two.difference)
    assert not np.array_equal(one.difference, other.difference)
    text = str(trip)
    assert text.startswith("round trip: a to base, base to a; 1500 stars, 8 draws")
    assert "fe_h, all" in text


def test_stars_may_be_a_table(there, back):
    """And what A quotes is then what the way back is told, for the width it is compared with."""
    given = linear.sky(30, 5)
    table = Table(linear.columns(given, "a"))
    table["teff_a"].unit = table["e_teff_a"].unit = "K"
    found = round_trip(there, back, table, draws=DRAWS)
    np.testing.assert_array_equal(found.reference[:, 0], 90.0)
    assert found.width.shape == (30, 3)


# ---- chains -------------------------------------------------------------------------------


def test_a_chain_of_right_models_has_the_law_of_both_steps(chained, stars):
    one, first = linear.regression("a", "b", 0.0)
    two, second = linear.regression("b", "base", 0.0)
    three, third = linear.regression("a", "base", 0.0)
    quoted = np.diag(linear.BASE_ERROR**2)
    unit = np.sqrt(np.diag(linear.law("a", 0.0)[1]))
    found = slope_of(stars.x / unit, chained.difference.mean(axis=0) / unit)
    np.testing.assert_allclose(found, (two @ one - three) * unit / unit[:, None], atol=0.03)
    wide, straight = two @ first @ two.T + second + quoted, third + quoted
    # The unbiased standard deviation of few normal draws is short by 1 / (4 (n - 1)).
    short = 1 - 1 / (4 * (DRAWS - 1))
    for width, want in ((chained.width, wide), (chained.reference, straight)):
        np.testing.assert_allclose(width.mean(axis=0), short * np.sqrt(want.diagonal()), rtol=0.02)
    table = chained.table()
    every = table[table["class"] == "all"]
    np.testing.assert_allclose(
        every["widening"], np.sqrt(wide.diagonal() / straight.diagonal()), rtol=0.06
    )
    error = chained.difference.std(axis=(0, 1)) / np.sqrt(STARS)
    assert (np.abs(every["bias"]) < 4 * error).all()


@pytest.mark.parametrize("draws", [2, 3, 8, 16, 200])
def test_draws_that_doubt_meet_draws_that_doubt_by_chance_alone(draws):
    following, doubters = _followers(draws), doubting(draws)
    assert sorted(following) == list(range(draws))
    both = (doubters & doubters[following]).mean()
    assert both <= (0.13 if draws >= 8 else 0.0)


def test_where_b_sees_all_that_a_sees_the_chain_is_the_direct_way(there, stars):
    """A step that hands on what it was given loses nothing."""
    nothing = linear.model("a", "b")
    scaler = dataclasses.replace(nothing.scaler, delta_centre=np.zeros(3))
    (block,) = nothing.blocks
    draws = {
        **block.draws,
        "slope": np.zeros_like(block.draws["slope"]),
        "log_scatter": np.full_like(block.draws["log_scatter"], -12.0),
    }
    nothing = dataclasses.replace(nothing, blocks=(block._replace(draws=draws),), scaler=scaler)
    table = chain(nothing, there, there, stars, draws=DRAWS, seed=2).table()
    every = table[table["class"] == "all"]
    assert np.abs(every["widening"] - 1).max() < 0.03
    assert np.abs(every["within_68"] - 0.68).max() < 0.03
    assert np.abs(every["z_bias"]).max() < 0.05


def test_a_biased_step_shows_in_the_chain(there, stars):
    first = linear.model("a", "b")
    second = moved(linear.model("b", "base"), np.array([0.0, 0.3, 0.0]))
    table = chain(first, second, there, stars, draws=DRAWS, seed=1).table()
    every = table[table["class"] == "all"]
    np.testing.assert_allclose(every["bias"][1], 0.3, atol=0.04)
    assert abs(every["z_bias"][1]) > 10 * abs(every["z_bias"][2])


# ---- what cannot be compared ----------------------------------------------------------------


def renamed(posterior: bt.Posterior, **changed: str) -> bt.Posterior:
    """Return a model with other names, or another unit of its first input."""
    spec = posterior.spec
    inputs = tuple(
        dataclasses.replace(item, name=changed.get(item.name, item.name)) for item in spec.inputs
    )
    outputs = tuple(
        dataclasses.replace(item, corrects=changed.get(item.corrects, item.corrects))
        for item in spec.outputs
    )
    return dataclasses.replace(
        posterior, spec=dataclasses.replace(spec, inputs=inputs, outputs=outputs)
    )


@pytest.mark.slow  # completions are compiled by themselves
def test_what_the_first_model_does_not_give_is_integrated_over_and_said(there, back, stars):
    few = stars.take(np.arange(100))
    found = round_trip(there, renamed(back, fe_h="other"), few, draws=DRAWS)
    assert found.missing == ("other",)
    assert "not handed on, integrated over: other" in str(found)
    whole = round_trip(there, back, few, draws=DRAWS)
    assert found.width[:, 2].mean() > 1.3 * whole.width[:, 2].mean()


def test_models_that_do_not_meet_are_refused(there, back, stars):
    strange = renamed(back, teff="x", logg="y", fe_h="z")
    with pytest.raises(ValueError, match=r"have nothing in common .teff, logg, fe_h; x, y, z."):
        round_trip(there, strange, stars)
    with pytest.raises(ValueError, match="1 draws say nothing of a width"):
        round_trip(there, back, stars, draws=1)
    with pytest.raises(ValueError, match="99 draws asked; the model holds 40"):
        round_trip(there, back, stars, draws=99)
    spec = back.spec
    first = dataclasses.replace(spec.inputs[0], unit="km/s")
    outputs = (dataclasses.replace(spec.outputs[0], unit="km/s"), *spec.outputs[1:])
    spec = dataclasses.replace(spec, inputs=(first, *spec.inputs[1:]), outputs=outputs)
    with pytest.raises(ValueError, match=r"teff is in 'K' for .* and in 'km/s' for"):
        round_trip(there, dataclasses.replace(back, spec=spec), stars)


# ---- pictures -------------------------------------------------------------------------------


@pytest.mark.parametrize(("draw", "which"), [(plot.round_trip, "trip"), (plot.chain, "chained")])
def test_pictures_have_a_row_for_each_quantity_with_its_unit(draw, which, request):
    found = request.getfixturevalue(which)
    figure = draw(found)
    assert isinstance(figure, Figure)
    left, right = figure.axes[::2], figure.axes[1::2]
    assert len(left) == len(right) == 3
    for k, (axis, name, unit) in enumerate(zip(left, found.names, found.units, strict=True)):
        assert axis.get_xlabel().startswith(plot.label(name, unit))
        assert axis.get_ylabel() == plot.label(name, unit, r"$\Delta$")
        low, high = axis.get_xlim()
        assert (low > high) == (name in ("teff", "logg"))
        median = np.median(found.difference[:, :, k])
        assert f"{median:+.2g}" in axis.texts[0].get_text()
    dense = int((found.classes == "dense").sum())
    assert f"median of {dense} dense stars" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_a_quantity_without_values_leaves_its_panel_empty(trip):
    gone = trip.difference.copy()
    gone[:, :, 1] = np.nan
    figure = plot.round_trip(trip._replace(difference=gone, z=gone))
    assert [text.get_text() for text in figure.axes[2].texts] == ["no values"]


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory, there, back, stars):
    """Return a folder with models of two and three surveys, and a catalogue of A."""
    folder = tmp_path_factory.mktemp("files")
    models = {"ab": there, "ba": back}
    models |= {"am": linear.model("a", "b"), "mb": linear.model("b", "base")}
    for name, model in models.items():
        model.save(folder / f"{name}.nc")
    columns = {item.column: x for item, x in zip(there.spec.inputs, stars.x.T, strict=True)}
    columns |= {item.error: np.full(len(stars), np.nan) for item in there.spec.inputs}
    Table(columns).write(folder / "a.csv")
    return folder


def command(folder, *arguments: str) -> int:
    return cli.main([str(folder / a) if "." in a else a for a in arguments])


def test_the_command_says_what_the_function_says(on_disk, there, back, tmp_path, capsys):
    ways = ["--draws", "4", "--stars", "99999", "--seed", "3", "--out", str(tmp_path / "out")]
    assert command(on_disk, "round-trip", "ab.nc", "ba.nc", "a.csv", *ways) == 0
    found = round_trip(there, back, on_disk / "a.csv", draws=4, seed=3)
    assert capsys.readouterr().out == f"{found}\n"
    table = Table.read(tmp_path / "out" / "round_trip.csv")
    np.testing.assert_allclose(table["bias"], found.table()["bias"], rtol=1e-12)
    assert (tmp_path / "out" / "round_trip.png").read_bytes().startswith(b"\x89PNG")
    assert command(on_disk, "round-trip", "ab.nc", "ba.nc", "a.csv", *ways) == 2
    assert "overwrite" in capsys.readouterr().err


def test_the_command_takes_some_of_the_stars(on_disk, capsys):
    arguments = ["chain", "am.nc", "mb.nc", "ab.nc", "a.csv", "--draws", "3", "--stars", "200"]
    assert command(on_disk, *arguments) == 0
    assert "; 200 stars, 3 draws of each" in capsys.readouterr().out
    assert command(on_disk, *arguments[:-1], "0") == 2
    assert "give at least 1" in capsys.readouterr().err


# ---- what does not fit ----------------------------------------------------------------------


def test_right_models_earn_no_warning_and_wrong_ones_do(there, back, stars, trip, chained):
    assert trip.warnings == chained.warnings == ()
    assert "warning" not in str(trip)
    found = round_trip(there, moved(back, np.array([120.0, 0.0, 0.0])), stars, draws=DRAWS)
    (text,) = found.warnings
    assert text.startswith("teff: the round trip does not meet what it should (z bias ")
    assert f"warning: {text}" in str(found)
    narrow = round_trip(there, wider(back, 0.3), stars, draws=DRAWS)
    assert len(narrow.warnings) == 3
    few = round_trip(there, moved(back, np.array([500.0, 0.0, 0.0])), stars.take(np.arange(9)))
    assert few.warnings == ()


def test_one_model_twice_and_a_direct_one_of_another_survey_are_refused(there, back, stars):
    with pytest.raises(ValueError, match="'a to base' is given twice"):
        round_trip(there, there, stars)
    first, second = linear.model("a", "b"), linear.model("b", "base")
    with pytest.raises(ValueError, match="'a to b' is given twice"):
        chain(first, second, first, stars)
    with pytest.raises(ValueError, match="which should lead from the same survey"):
        chain(first, second, linear.model("c", "base"), stars)
