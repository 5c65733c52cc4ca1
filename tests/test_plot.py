"""Pictures: labels with units, directions of axes, and the numbers written on them."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from scipy import stats

import bayestrans as bt
from bayestrans import plot
from bayestrans.baseline import Baseline
from bayestrans.calibration import Calibration
from bayestrans.evaluate import Score
from bayestrans.gaps import Gaps
from bayestrans.neighbours import Neighbours
from bayestrans.plot_support import training_inputs
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
        Gaps.learn(scaler, pairs).density,
        Neighbours.learn(x, (0, 1)),
        Calibration.identity(1),
        Baseline.learn(pairs, scaler),
        x[:5],
        nothing[:5],
        pairs.y[:5],
        pairs.y_err[:5],
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
            assert (low > high) == (item.name == "teff")


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


def evaluation(
    pit: np.ndarray, classes: np.ndarray | None = None, names: tuple[str, ...] = ()
) -> bt.Evaluation:
    """Return scores of stars, ``dense`` by default, whose joint credibility is their first PIT."""
    score = Score(len(pit), 0.0, 0.0, {}, {})
    classes = np.full(len(pit), "dense") if classes is None else classes
    return bt.Evaluation(score, (), {}, pit, pit[:, 0], classes, dict.fromkeys(names, ""))


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


# ---- the training stars -------------------------------------------------------------------


@pytest.fixture(scope="module")
def linear() -> tuple[bt.Posterior, np.ndarray]:
    """Return a model and stars of survey A that spread twice as far as its training stars."""
    posterior, pairs = simple(bt.Output("teff", "teff_b", unit="K", corrects="teff"))
    return posterior, pairs.x.mean(axis=0) + 2 * (pairs.x - pairs.x.mean(axis=0))


def points(axis: Axes) -> list[PathCollection]:
    """Return what was drawn by `scatter`, class by class, and not the contours."""
    return [c for c in axis.collections if isinstance(c, PathCollection)]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_training_inputs_are_recovered_from_the_whitened_ones():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) * [500, 1, 0.3, 20] + [5000, 3, 0, 10]
    found = training_inputs(Neighbours.learn(x, (2, 0, 3)))
    np.testing.assert_allclose(found, x[:, [2, 0, 3]], rtol=1e-9, atol=1e-9)


def test_training_coverage_draws_every_star_in_its_class(linear):
    posterior, x = linear
    figure = plot.training_coverage(posterior, x)
    found = bt.support(posterior, x)
    panel = figure.axes[2]  # the second row's first
    drawn = points(panel)
    for collection, name in zip(drawn, ("dense", "sparse", "outside"), strict=True):
        expected = x[found.classes == name]
        assert len(expected) > 0
        places = np.asarray(collection.get_offsets())
        np.testing.assert_array_equal(np.sort(places, axis=0), np.sort(expected, axis=0))
    colours = {tuple(c.get_facecolor()[0, :3]) for c in drawn}
    shapes = {c.get_paths()[0].vertices.tobytes() for c in drawn}
    assert len(colours) == len(shapes) == 3


def test_training_coverage_counts_all_stars(linear):
    posterior, x = linear
    x = x.copy()
    x[0, 1], x[1] = np.nan, 1e6
    found = bt.support(posterior, x)
    # A star with a gap has no place in the picture, though it has a class.
    counts = {n: int((found.classes[1:] == n).sum()) for n in ("dense", "outside")}
    texts = legend(plot.training_coverage(posterior, x, points=30))
    assert texts[:2] == ["200 training stars", "200 stars of the catalogue:"]
    assert texts[2] == f"dense: {counts['dense']} ({counts['dense'] / 2:.1f} %)"
    assert texts[4] == f"outside: {counts['outside']} ({counts['outside'] / 2:.1f} %)"
    assert texts[5] == "with an input missing: 1"
    assert texts[-1] == "drawn as points: 30"


def test_training_coverage_draws_a_seeded_choice(linear):
    posterior, x = linear

    def drawn(seed: int) -> np.ndarray:
        axis = plot.training_coverage(posterior, x, points=50, seed=seed).axes[2]
        return np.concatenate([collection.get_offsets() for collection in points(axis)])

    assert len(drawn(1)) == 50
    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert (np.sort(drawn(1)) != np.sort(drawn(2))).any()


def test_training_coverage_has_labels_with_units_and_a_kiel_diagram(linear):
    left, _, panel, right = plot.training_coverage(*linear).axes
    assert panel.get_xlabel() == r"$T_\mathrm{eff}$ [K]"
    assert panel.get_ylabel() == right.get_xlabel() == r"$\log g$ [dex]"
    for low, high in (panel.get_xlim(), panel.get_ylim(), left.get_xlim(), right.get_xlim()):
        assert low > high
    assert left.get_xlim() == panel.get_xlim()
    assert right.get_xlim() == panel.get_ylim()


def test_stars_far_away_do_not_shrink_the_others(linear):
    posterior, x = linear
    x = x.copy()
    x[3] = [1e9, -1e9]
    figure = plot.training_coverage(posterior, x)
    high, low = figure.axes[2].get_xlim()
    training = training_inputs(posterior.neighbours)[:, 0]
    assert high - low < 4 * np.ptp(training)
    assert low < training.min() < training.max() < high
    hidden = (x < [low, figure.axes[2].get_ylim()[1]]) | (x > [high, figure.axes[2].get_ylim()[0]])
    assert f"beyond the frames: {hidden.any(axis=1).sum()}" in legend(figure)


def test_training_coverage_takes_what_support_takes(linear):
    posterior, x = linear
    table = Table({"teff_a": x[:, 0], "logg_a": x[:, 1]})
    nothing = np.full(x.shape, np.nan)
    pairs = bt.Pairs(posterior.spec, x, nothing, x[:, :1], nothing[:, :1], np.arange(len(x)))
    expected = legend(plot.training_coverage(posterior, x))
    for stars in (table, table.to_pandas(), pairs):
        assert legend(plot.training_coverage(posterior, stars)) == expected


@pytest.mark.parametrize(("inputs", "training", "count"), [((1,), 200, 200), ((0, 1), 12, 1)])
def test_training_coverage_of_one_input_or_few_stars(linear, inputs, training, count):
    posterior, x = linear
    few = Neighbours.learn(training_inputs(posterior.neighbours)[:training], inputs)
    figure = plot.training_coverage(dataclasses.replace(posterior, neighbours=few), x[:count])
    assert len(figure.axes) == len(inputs) ** 2
    assert legend(figure)[:2] == [f"{training} training stars", f"{count} stars of the catalogue:"]


def test_training_coverage_without_a_complete_star_is_refused(linear):
    posterior, x = linear
    with pytest.raises(ValueError, match="no star has all inputs"):
        plot.training_coverage(posterior, np.full_like(x, np.nan))


# ---- widths -------------------------------------------------------------------------------


@pytest.fixture
def widths() -> Table:
    """Return what `translate` returns of stars whose widths grow with the support score."""
    rng = np.random.default_rng(6)
    score = rng.lognormal(0.2, 0.5, 3000)
    half = np.column_stack([30 * score, 0.2 * score**2]) * rng.lognormal(0, 0.1, (3000, 2))
    middle = rng.normal(5000, 300, 3000)
    table = Table({"teff_p16": middle - half[:, 0], "teff_p84": middle + half[:, 0]})
    table["rv_p16"], table["rv_p84"] = -half[:, 1], half[:, 1]
    for name in table.colnames:
        table[name].unit = "K" if name.startswith("teff") else "km/s"
    table["support"] = score
    classes = np.array(["dense", "sparse", "outside"])
    table["support_class"] = classes[np.searchsorted([1.4, 2.6], score, side="right")]
    return table


def half_width(table: Table, name: str) -> np.ndarray:
    return np.asarray(table[f"{name}_p84"] - table[f"{name}_p16"]) / 2


def test_widths_are_drawn_against_the_support_score(widths):
    figure = plot.width_by_support(widths)
    assert [a.get_ylabel() for a in figure.axes] == [
        r"$T_\mathrm{eff}$ [K]",
        r"$v_\mathrm{los}$ [km s$^{-1}$]",
    ]
    assert "support" in figure.get_supxlabel()
    assert "68 %" in figure.get_supylabel()
    for axis, name in zip(figure.axes, ("teff", "rv"), strict=True):
        assert axis.get_xscale() == axis.get_yscale() == "log"
        (drawn,) = points(axis)
        expected = np.column_stack([widths["support"], half_width(widths, name)])
        places = np.asarray(drawn.get_offsets())
        np.testing.assert_array_equal(np.sort(places, axis=0), np.sort(expected, axis=0))


def test_running_median_and_band_follow_the_widths(widths):
    axis = plot.width_by_support(widths).axes[0]
    score, median = axis.lines[0].get_data()
    np.testing.assert_allclose(median, 30 * np.asarray(score), rtol=0.12)
    band = axis.collections[1].get_paths()[0]
    ratio = half_width(widths, "teff") / 30 / widths["support"]
    inside = band.contains_points(np.column_stack([widths["support"], half_width(widths, "teff")]))
    assert inside.mean() == pytest.approx(0.68, abs=0.04)
    assert ratio[inside].std() < ratio.std()


def test_classes_begin_at_labelled_lines(widths):
    for axis in plot.width_by_support(widths).axes:
        lines = [line for line in axis.lines if len(line.get_xdata()) == 2]
        starts = [line.get_xdata()[0] for line in lines]
        np.testing.assert_allclose(starts, [1.4, 2.6], rtol=0.01)
        assert [text.get_text() for text in axis.texts] == ["sparse", "outside"]
        assert [text.xy[0] for text in axis.texts] == starts


def test_a_class_without_stars_has_no_line(widths):
    axis = plot.width_by_support(widths[widths["support_class"] != "outside"]).axes[0]
    assert texts(axis) == "sparse"


def test_widths_leave_out_stars_without_an_answer_and_draw_a_choice(widths):
    for name in ("teff_p16", "rv_p16", "support"):
        widths[name][:5] = np.nan
    axis = plot.width_by_support(widths).axes[0]
    assert len(points(axis)[0].get_offsets()) == 2995
    few, same, other = (
        points(plot.width_by_support(widths, points=100, seed=seed).axes[0])[0].get_offsets()
        for seed in (1, 1, 2)
    )
    assert len(few) == 100
    np.testing.assert_array_equal(few, same)
    assert (few != other).any()


def test_widths_of_a_table_as_files_give_it(widths):
    plain = plot.width_by_support(widths).axes[0]
    widths["support_class"] = np.asarray(widths["support_class"]).astype("S7")
    masked = Table(widths, masked=True)
    masked["rv_p84"].mask[:10] = True
    axis = plot.width_by_support(masked).axes[0]
    assert len(points(axis)[0].get_offsets()) == 2990
    assert texts(axis) == texts(plain) == "sparse outside"


def test_widths_of_a_handful_of_stars(widths):
    axis = plot.width_by_support(widths[:3]).axes[0]
    assert len(points(axis)[0].get_offsets()) == 3


@pytest.mark.parametrize(
    ("gone", "missing"), [("support", "support"), ("rv_p84", "rv_p84"), ("*", "NAME_p84")]
)
def test_widths_need_what_translate_returns(widths, gone, missing):
    names = [n for n in widths.colnames if n.endswith(("_p16", "_p84"))] if gone == "*" else [gone]
    widths.remove_columns(names)
    with pytest.raises(ValueError, match=f"no column {missing}; give one that translate returned"):
        plot.width_by_support(widths)


def test_widths_without_an_answer_are_refused(widths):
    widths["teff_p16"] = np.nan
    with pytest.raises(ValueError, match="no star of the catalogue has an answer"):
        plot.width_by_support(widths)


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


@pytest.mark.parametrize(("factor", "ticks"), [(0.2, "0.5 1 2"), (8.0, "0.5 1 2 3 5 10")])
def test_the_colours_of_the_kiel_diagram_reach_the_scores_shown(catalogue, factor, ticks):
    table = catalogue[np.asarray(catalogue["support_class"]) != "outside"]
    table["support"] = factor * np.linspace(0.4, 1.6, len(table))
    table["support"][7] = 1e4  # one odd star
    axis, bar = plot.kiel(table).axes
    low, high = axis.collections[0].get_clim()
    assert low == 0.5
    assert high == pytest.approx(max(2.0, factor * 1.59), rel=0.01)
    assert " ".join(text.get_text() for text in bar.get_yticklabels()) == ticks


def test_kiel_diagram_needs_what_translate_returns(catalogue):
    with pytest.raises(ValueError, match="no column logg_mean; give one that translate returned"):
        plot.kiel(catalogue["star_id", "teff_mean"])


def test_all_can_be_saved(figure, catalogue, posterior, split, tmp_path):
    score = evaluation(np.random.default_rng(0).random((50, 1)))
    pictures = {
        "residuals.pdf": figure,
        "coverage.png": plot.coverage(score, ["teff"]),
        "kiel.png": plot.kiel(catalogue),
        "by_support.png": plot.coverage_by_support(evaluation(score.pit, None, ("teff",))),
        "width.pdf": plot.width_by_support(catalogue),
        "training.pdf": plot.training_coverage(posterior, split[1]),
        "pit.pdf": plot.pit_ecdf(score, ["teff"]),
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
        ("$x^$", "$", r"\$x^\$ [\$]"),
    ],
)
def test_labels_carry_units(name, unit, expected):
    assert plot.label(name, unit) == expected
