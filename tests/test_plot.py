"""Pictures: labels with units, directions of axes, and the numbers written on them."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from scipy import stats

import bayestrans as bt
from bayestrans import plot
from bayestrans.baseline import Baseline
from bayestrans.evaluate import Score
from bayestrans.neighbours import Neighbours
from bayestrans.posterior import BlockDraws
from bayestrans.scale import Scaler

OFFSET = 25.0  # K, of the invented surveys below


def texts(axis) -> str:
    return " ".join(text.get_text() for text in axis.texts)


def simple(output: bt.Output) -> tuple[bt.Posterior, bt.Pairs]:
    """Return a linear model of one output, which scatters by 10 about it, and its stars."""
    inputs = (bt.Input("teff", "teff_a", unit="K"), bt.Input("logg", "logg_a"))
    spec = bt.Spec("simple", inputs, (output,))
    rng = np.random.default_rng(1)
    z = rng.normal(size=(200, 2))
    x = np.array([5000.0, 3.0]) + np.array([300.0, 0.5]) * z
    y = OFFSET + 10 * z[:, :1] + rng.normal(0, 10, (200, 1))
    y = y + (x[:, :1] if output.corrects else 0)
    nothing = np.full(x.shape, np.nan)
    pairs = bt.Pairs(spec, x, nothing, y, nothing[:, :1], np.arange(200))
    scaler = dataclasses.replace(
        Scaler.learn(pairs), delta_centre=np.array([OFFSET]), delta_scale=np.array([10.0])
    )
    draws = {
        "intercept": np.zeros((2, 10, 1), np.float32),
        "slope": np.tile(np.float32([1, 0]), (2, 10, 1, 1)),
        "log_scatter": np.zeros((2, 10, 1), np.float32),
        "error_factor": np.ones((2, 10, 1), np.float32),
    }
    posterior = bt.Posterior(
        spec,
        bt.Network(()),
        bt.Noise(dof=math.inf),
        scaler,
        (BlockDraws(spec.blocks[0], draws, {}, {}),),
        Neighbours.learn(x, (0, 1)),
        Baseline.learn(pairs, scaler),
        x[:5],
        nothing[:5],
        {},
    )
    return posterior, pairs


# ---- residuals --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figure(posterior, split) -> Figure:
    return plot.residuals(posterior, split[1])


def test_residuals_have_a_labelled_row_for_each_output(figure, posterior):
    axes = figure.axes
    assert len(axes) == 2 * len(posterior.spec.outputs)
    expected = [("eff", "[K]"), ("log g", "[dex]"), ("[Fe/H]", "[dex]"), ("[Mg/Fe]", "[dex]")]
    expected += [("v_\\mathrm{los}", "[km s$^{-1}$]")]
    for row, (name, unit) in enumerate(expected):
        left, right = axes[2 * row : 2 * row + 2]
        assert left.get_ylabel().startswith(r"$\Delta$")
        for text in (left.get_ylabel(), left.get_xlabel(), right.get_xlabel()):
            assert name in text
            assert text.endswith(unit)
        assert left.get_xlabel().startswith("predicted ")
    assert "before" in axes[0].get_title()
    assert "after" in axes[1].get_title()


def test_residuals_are_of_the_measured_value_against_the_prediction(figure, posterior, split):
    _, test = split
    mean = posterior.predict(test, kind="mean").mean(axis=0)
    for k, column in enumerate(posterior.spec.corrects):
        before, after = (axis.collections[0].get_offsets() for axis in figure.axes[2 * k :][:2])
        np.testing.assert_array_equal(before[:, 0], mean[:, k])
        np.testing.assert_array_equal(before[:, 1], test.y[:, k] - test.x[:, column])
        np.testing.assert_array_equal(after[:, 0], mean[:, k])
        np.testing.assert_array_equal(after[:, 1], test.y[:, k] - mean[:, k])


def test_numbers_on_the_residuals_are_those_of_the_stars(figure, posterior, split):
    _, test = split
    mean = posterior.predict(test, kind="mean").mean(axis=0)
    for k, column in enumerate(posterior.spec.corrects):
        for axis, base in zip(figure.axes[2 * k :], (test.x[:, column], mean[:, k]), strict=False):
            values = test.y[:, k] - base
            median = np.median(values)
            spread = 1.4826 * np.median(np.abs(values - median))
            assert texts(axis).startswith(f"median {median:+.2g}, ")
            assert texts(axis).split("}$ ")[1].split()[0] == f"{spread:.2g}"


def test_stars_beyond_the_frame_are_counted(figure):
    for axis in figure.axes:
        low, high = axis.get_ylim()
        shown = axis.collections[0].get_offsets()[:, 1]
        hidden = int(((shown < low) | (shown > high)).sum())
        found = re.search(r"\((\d+) beyond the frame\)", texts(axis))
        assert (int(found[1]) if found else 0) == hidden
    assert "beyond the frame" in texts(figure.axes[-1])  # the binaries' velocities


def test_both_sides_of_a_row_share_their_axes_and_teff_runs_to_the_left(figure):
    for left, right in zip(figure.axes[::2], figure.axes[1::2], strict=True):
        assert left.get_ylim() == right.get_ylim()
        assert left.get_xlim() == right.get_xlim()
    directions = [np.sign(np.diff(axis.get_xlim())[0]) for axis in figure.axes[::2]]
    assert directions == [-1, 1, 1, 1, 1]


def test_residuals_of_one_output():
    posterior, pairs = simple(bt.Output("teff", "teff_b", unit="K", corrects="teff"))
    left, right = plot.residuals(posterior, pairs).axes
    before = pairs.y[:, 0] - pairs.x[:, 0]
    after = before - OFFSET - 10 * (pairs.x[:, 0] - pairs.x[:, 0].mean()) / pairs.x[:, 0].std()
    assert f"median {np.median(before):+.2g}" in texts(left)
    assert f"median {np.median(after):+.2g}" in texts(right)


def test_residuals_of_an_output_that_corrects_nothing():
    posterior, pairs = simple(bt.Output("age", "age_b", unit="Gyr"))
    left, right = plot.residuals(posterior, pairs).axes
    assert texts(left) == "no value in A"
    assert "median" in texts(right)
    assert right.get_xlabel() == "predicted age [Gyr]"
    assert left.get_ylabel() == r"$\Delta$age [Gyr]"


def test_residuals_leave_out_missing_outputs(posterior, split):
    y = split[1].y.copy()
    y[::2, 0] = np.nan
    figure = plot.residuals(posterior, dataclasses.replace(split[1], y=y))
    seen = y[1::2, 0] - split[1].x[1::2, 0]
    assert len(figure.axes[0].collections[0].get_offsets()) == len(seen)
    assert f"median {np.median(seen):+.2g}" in texts(figure.axes[0])


# FAILS with two: some of the running bins are empty.
@pytest.mark.parametrize("count", [2, 5])
def test_residuals_of_a_handful_of_stars(posterior, split, count):
    figure = plot.residuals(posterior, split[1].take(np.arange(count)))
    assert len(figure.axes[0].collections[0].get_offsets()) == count


def test_residuals_of_an_output_that_no_star_has(posterior, split):
    y = split[1].y.copy()
    y[:, 2] = np.nan
    figure = plot.residuals(posterior, dataclasses.replace(split[1], y=y))
    assert f"median {np.median(y[:, 0] - split[1].x[:, 0]):+.2g}" in texts(figure.axes[0])


# ---- coverage -----------------------------------------------------------------------------


def evaluation(pit: np.ndarray) -> bt.Evaluation:
    return bt.Evaluation(Score(len(pit), 0.0, 0.0, {}), (), {}, pit, {})


def test_coverage_curves_are_the_shares_inside():
    pit = np.random.default_rng(0).beta(2, 2, (400, 2))
    upper, lower = plot.coverage(evaluation(pit), ["teff", "rv"]).axes
    assert "share" in upper.get_ylabel()
    assert "nominal" in lower.get_xlabel()
    assert "nominal" in lower.get_ylabel()
    assert "400 stars" in texts(upper)
    labels = [text.get_text() for text in upper.get_legend().get_texts()]
    assert labels[:2] == [plot.symbol("teff"), plot.symbol("rv")]
    for k in range(2):
        nominal, found = upper.lines[k].get_data()
        at = np.searchsorted(nominal, 0.68 - 1e-9)
        inside = np.mean((pit[:, k] > 0.16) & (pit[:, k] < 0.84))
        assert nominal[at] == pytest.approx(0.68)
        assert found[at] == pytest.approx(inside, abs=1e-9)
        np.testing.assert_allclose(lower.lines[k].get_ydata(), found - nominal, atol=1e-12)


def test_coverage_of_one_output_with_missing_values():
    pit = np.linspace(0, 1, 101)[:, None].copy()
    pit[::4] = np.nan
    upper, _ = plot.coverage(evaluation(pit), ["logg"]).axes
    assert "75 stars" in texts(upper)
    nominal, found = upper.lines[0].get_data()
    np.testing.assert_allclose(found, nominal, atol=0.03)


def test_a_perfect_model_lies_in_the_band_and_a_narrow_one_does_not():
    pit = np.random.default_rng(1).random((500, 1))
    narrow = stats.norm.cdf(2 * stats.norm.ppf(pit))  # errors twice as large as claimed
    shares = []
    for values in (pit, narrow):
        upper, _ = plot.coverage(evaluation(values), ["teff"]).axes
        nominal, found = upper.lines[0].get_data()
        path = upper.collections[0].get_paths()[0]
        points = np.column_stack([nominal, found])
        shares.append(path.contains_points(points).mean())
    assert shares[0] > 0.8 > 0.2 > shares[1]


# ---- the Kiel diagram ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def catalogue(posterior, survey) -> Table:
    return bt.translate(posterior, Table(survey.catalogue)[:500], progress=False)


def test_kiel_diagram_is_the_right_way_round(catalogue):
    axis = plot.kiel(catalogue).axes[0]
    assert axis.get_xlabel() == r"$T_\mathrm{eff}$ [K]"
    assert axis.get_ylabel() == r"$\log g$ [dex]"
    assert axis.get_xlim()[0] > axis.get_xlim()[1]
    assert axis.get_ylim()[0] > axis.get_ylim()[1]


def test_kiel_diagram_shows_every_star_and_counts_those_outside(catalogue):
    figure = plot.kiel(catalogue)
    axis, bar = figure.axes
    inside, outside = (c.get_offsets() for c in axis.collections[:2])
    is_outside = np.asarray(catalogue["support_class"]) == "outside"
    assert len(inside) == (~is_outside).sum()
    assert len(outside) == is_outside.sum() > 0
    expected = np.column_stack([catalogue["teff_mean"], catalogue["logg_mean"]])
    np.testing.assert_array_equal(outside, expected[is_outside])
    legend = axis.get_legend().get_texts()[0].get_text()
    assert legend == f"outside: {is_outside.sum()} of 500 stars"
    assert "support" in bar.get_ylabel()
    colours = axis.collections[0].get_array()
    np.testing.assert_array_equal(np.sort(catalogue["support"][~is_outside]), colours)


def test_kiel_diagram_leaves_out_stars_without_an_answer(catalogue):
    table = catalogue.copy()
    for name in ("teff_mean", "logg_mean", "support"):
        table[name][:3] = np.nan
    table["support_class"][:3] = "outside"
    axis = plot.kiel(table).axes[0]
    assert sum(len(c.get_offsets()) for c in axis.collections[:2]) == 497
    assert np.isfinite([*axis.get_xlim(), *axis.get_ylim()]).all()


def test_kiel_diagram_needs_what_translate_returns(catalogue):
    with pytest.raises(ValueError, match="no column logg_mean; give one that translate returned"):
        plot.kiel(catalogue["star_id", "teff_mean"])


def test_all_can_be_saved(figure, catalogue, tmp_path):
    score = evaluation(np.random.default_rng(0).random((50, 1)))
    pictures = {
        "residuals.pdf": figure,
        "coverage.png": plot.coverage(score, ["teff"]),
        "kiel.png": plot.kiel(catalogue),
    }
    for name, picture in pictures.items():
        picture.savefig(tmp_path / name)
        assert (tmp_path / name).read_bytes()[:4] == (b"%PDF" if "pdf" in name else b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("teff", "K", r"$T_\mathrm{eff}$ [K]"),
        ("rv", "km/s", r"$v_\mathrm{los}$ [km s$^{-1}$]"),
        ("fe_h", "", "[Fe/H] [dex]"),
        ("my_thing", "", "my thing"),
    ],
)
def test_labels_carry_units(name, unit, expected):
    assert plot.label(name, unit) == expected
