"""Pictures: labels with units, directions of axes, and the numbers written on them."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from pictures import OFFSET, evaluation, simple, texts
from scipy import stats

import bayestrans as bt
from bayestrans import plot

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


def median_of(axis) -> float:
    """Return the median that is written into a panel."""
    told = texts(axis).replace("\N{MINUS SIGN}", "-")
    return float(told.removeprefix("median ").split(",")[0])


def test_numbers_on_the_residuals_are_those_of_the_stars(figure, posterior, split):
    _, test = split
    mean = posterior.predict(test, kind="mean").mean(axis=0)
    for k, column in enumerate(posterior.spec.corrects):
        for axis, base in zip(figure.axes[2 * k :], (test.x[:, column], mean[:, k]), strict=False):
            values = test.y[:, k] - base
            median = np.median(values)
            spread = 1.4826 * np.median(np.abs(values - median))
            shown = texts(axis).replace("\N{MINUS SIGN}", "-")
            assert "-" not in texts(axis)
            digits = 1 - math.floor(math.log10(spread))  # two, of the spread
            told = float(shown.removeprefix("median ").split(",")[0])
            assert told == pytest.approx(median, abs=0.051 * 10.0**-digits)
            told = float(shown.split("}$ ")[1].split()[0])
            assert told == pytest.approx(spread, abs=0.51 * 10.0**-digits)


def test_stars_beyond_the_frame_are_counted(figure):
    for axis in figure.axes:
        low, high = axis.get_ylim()
        shown = axis.collections[0].get_offsets()[:, 1]
        hidden = int(((shown < low) | (shown > high)).sum())
        found = re.search(r"\((\d+) beyond the frame\)", texts(axis))
        assert (int(found[1]) if found else 0) == hidden
    assert "beyond the frame" in texts(figure.axes[-1])  # the binaries' velocities


def test_both_sides_of_a_row_share_their_axes_and_run_as_in_a_kiel_diagram(figure):
    for left, right in zip(figure.axes[::2], figure.axes[1::2], strict=True):
        assert left.get_ylim() == right.get_ylim()
        assert left.get_xlim() == right.get_xlim()
    directions = [np.sign(np.diff(axis.get_xlim())[0]) for axis in figure.axes[::2]]
    assert directions == [-1, -1, 1, 1, 1]


def test_residuals_of_one_output():
    posterior, pairs = simple(bt.Output("teff", "teff_b", unit="K", corrects="teff"))
    left, right = plot.residuals(posterior, pairs).axes
    before = pairs.y[:, 0] - pairs.x[:, 0]
    after = before - OFFSET - 10 * (pairs.x[:, 0] - pairs.x[:, 0].mean()) / pairs.x[:, 0].std()
    assert median_of(left) == pytest.approx(np.median(before), abs=0.05)
    assert median_of(right) == pytest.approx(np.median(after), abs=0.05)


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
    assert median_of(figure.axes[0]) == pytest.approx(np.median(seen), abs=0.05)


@pytest.mark.parametrize("count", [2, 5])
def test_residuals_of_a_handful_of_stars(posterior, split, count):
    figure = plot.residuals(posterior, split[1].take(np.arange(count)))
    assert len(figure.axes[0].collections[0].get_offsets()) == count


def test_residuals_of_an_output_that_no_star_has(posterior, split):
    y = split[1].y.copy()
    y[:, 2] = np.nan
    figure = plot.residuals(posterior, dataclasses.replace(split[1], y=y))
    seen = y[:, 0] - split[1].x[:, 0]
    assert median_of(figure.axes[0]) == pytest.approx(np.median(seen), abs=0.05)


def test_residuals_by_input_show_each_input_of_the_network(posterior, split):
    _, test = split
    mean = posterior.predict(test, kind="mean").mean(axis=0)
    for k, name in ((0, "teff"), (4, "rv")):
        block = next(b.block for b in posterior.blocks if k in b.block.outputs)
        figure = plot.residuals_by_input(posterior, test, name)
        assert figure.get_supylabel() == plot.label(
            name, posterior.spec.outputs[k].unit, r"$\Delta$"
        )
        labelled = [axis for axis in figure.axes if axis.get_xlabel()]
        assert len(figure.axes) == 2 * len(labelled) == 2 * len(block.inputs)
        drawn = [np.asarray(axis.collections[0].get_offsets()) for axis in figure.axes]
        before, after = (
            test.y[:, k] - test.x[:, posterior.spec.corrects[k]],
            test.y[:, k] - mean[:, k],
        )
        for j in block.inputs:
            item = posterior.spec.inputs[j]
            (below,) = [a for a in labelled if a.get_xlabel() == plot.label(item.name, item.unit)]
            np.testing.assert_array_equal(
                below.collections[0].get_offsets(), np.column_stack([test.x[:, j], after])
            )
            above = np.column_stack([test.x[:, j], before])
            assert any(np.array_equal(above, places) for places in drawn)
            low, high = below.get_xlim()
            assert (low > high) == (item.name in ("teff", "logg"))


def test_residuals_by_input_leave_out_gaps_and_what_a_does_not_have():
    posterior, pairs = simple(bt.Output("age", "age_b", unit="Gyr"))
    x = pairs.x.copy()
    x[::2, 1] = np.nan
    left, right = plot.residuals_by_input(posterior, dataclasses.replace(pairs, x=x), "age").axes
    assert len(left.collections[0].get_offsets()) == 200
    assert len(right.collections[0].get_offsets()) == 100
    assert left.get_ylabel() == "B $-$ translated A"
    with pytest.raises(ValueError, match="no output 'teff'; the model has age"):
        plot.residuals_by_input(posterior, pairs, "teff")


# ---- coverage -----------------------------------------------------------------------------


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


def test_pit_ecdf_is_the_distribution_of_the_pit():
    pit = np.random.default_rng(3).beta(2, 2, (400, 2))
    pit[:100, 1] = np.nan
    figure = plot.pit_ecdf(evaluation(pit), ["teff", "my$x$"])
    assert [axis.get_title() for axis in figure.axes] == [
        plot.symbol("teff") + ": 400 stars",
        r"my\$x\$: 300 stars",
    ]
    assert "PIT" in figure.get_supxlabel()
    for k, axis in enumerate(figure.axes):
        place, found = axis.lines[0].get_data()
        values = pit[np.isfinite(pit[:, k]), k]
        expected = [(values <= level).mean() - level for level in place]
        np.testing.assert_allclose(found, expected, atol=1e-12)


def leaves_the_band(pit: np.ndarray) -> bool:
    axis = plot.pit_ecdf(evaluation(pit[:, None]), ["teff"]).axes[0]
    inside = (
        axis.collections[0]
        .get_paths()[0]
        .contains_points(np.column_stack(axis.lines[0].get_data()), radius=0.01)
    )
    return bool(inside.mean() < 0.95)


def test_errors_of_the_wrong_size_and_biases_leave_the_band_of_the_pit_ecdf():
    pit = np.random.default_rng(4).random(300)
    assert not leaves_the_band(pit)
    for factor, shift in ((0.7, 0.0), (1.4, 0.0), (1.0, 0.25)):
        assert leaves_the_band(stats.norm.cdf(factor * stats.norm.ppf(pit) + shift))


def test_the_band_of_the_pit_ecdf_holds_everywhere_at_once():
    rng, place = np.random.default_rng(5), np.linspace(0, 1, 201)[1:-1]
    low, high = plot._uniform_band(300, place)
    found = [(np.sort(rng.random(300))[:, None] <= place).mean(axis=0) for _ in range(400)]
    left = sum(((one < low) | (one > high)).any() for one in found)
    # 5 % of 400 leave it, 20 +- 4; a band for each place by itself would be left by half.
    assert 6 <= left <= 36


def by_class() -> tuple[np.ndarray, np.ndarray]:
    """Return PITs and classes: dense stars are calibrated, sparse ones too narrow; few outside."""
    rng = np.random.default_rng(2)
    classes = np.repeat(["dense", "sparse", "outside"], [400, 200, 29])
    pit = rng.random((629, 2))
    pit[400:600] = stats.norm.cdf(2 * stats.norm.ppf(pit[400:600]))
    return pit, classes


def test_coverage_by_support_has_a_panel_for_each_output_and_one_for_all():
    pit, classes = by_class()
    figure = plot.coverage_by_support(evaluation(pit, classes, ("teff", "rv")))
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == [plot.symbol("teff"), plot.symbol("rv"), "all outputs jointly"]
    assert "nominal" in figure.get_supxlabel()
    assert "share" in figure.get_supylabel()
    centrals = [*(2 * abs(pit - 0.5)).T, pit[:, 0]]
    for axis, central in zip(figure.axes, centrals, strict=True):
        for line, name in zip(axis.lines, ("dense", "sparse"), strict=False):
            nominal, found = line.get_data()
            inside = central[classes == name]
            np.testing.assert_allclose(found, [(inside <= level).mean() for level in nominal])


def test_coverage_by_support_says_how_many_stars_and_skips_small_classes():
    pit, classes = by_class()
    pit[:100, 1] = np.nan
    figure = plot.coverage_by_support(evaluation(pit, classes, ("teff", "rv")))
    legends = [[t.get_text() for t in a.get_legend().get_texts()] for a in figure.axes]
    assert legends[0] == ["dense: 400 stars", "sparse: 200 stars", "outside: 29, too few"]
    assert legends[1][0] == "dense: 300 stars"
    for axis in figure.axes:
        assert len(axis.collections) == 2  # bands
        assert len([line for line in axis.lines if len(line.get_xdata()) > 2]) == 2
        dense, sparse = axis.lines[:2]
        assert dense.get_color() != sparse.get_color()
        assert dense.get_linestyle() != sparse.get_linestyle()


def test_the_bands_of_coverage_by_support_are_binomial():
    pit, classes = by_class()
    axis = plot.coverage_by_support(evaluation(pit, classes, ("teff", "rv"))).axes[0]
    diagonal = np.column_stack([np.linspace(0.02, 0.98, 97)] * 2)
    bands = [band.get_paths()[0] for band in axis.collections]
    calibrated, narrow = (band.contains_points(diagonal).mean() for band in bands)
    assert calibrated > 0.8 > 0.2 > narrow
    low, high = np.sort(bands[1].vertices[np.isclose(bands[1].vertices[:, 0], 0.5), 1])[[0, -1]]
    hits = np.sum(2 * abs(pit[400:600, 0] - 0.5) <= 0.5)
    interval = stats.binomtest(int(hits), 200).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((interval.low, interval.high), abs=0.01)


def test_coverage_by_support_of_one_output_needs_no_joint_panel():
    pit, classes = by_class()
    (axis,) = plot.coverage_by_support(evaluation(pit[:, :1], classes, ("logg",))).axes
    assert axis.get_title() == plot.symbol("logg")
