"""Pictures of the training stars, of widths and of the Kiel diagram."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from pictures import evaluation, simple, texts

import bayestrans as bt
from bayestrans import plot
from bayestrans.neighbours import Neighbours
from bayestrans.plot_style import panel_grid
from bayestrans.plot_support import training_inputs

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
    assert texts[5] == "with an input missing, not drawn: 1"
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
    support = np.asarray(catalogue["support"])[~is_outside]
    # Neither dense nor sparse stars lie above the others: the order is none of theirs.
    np.testing.assert_array_equal(np.sort(colours), np.sort(support))
    assert abs(np.corrcoef(np.argsort(np.argsort(colours)), np.arange(len(colours)))[0, 1]) < 0.2
    # What begins where it is written in the colour bar.
    names = {text.get_text(): text.xy[1] for text in bar.texts}
    of = np.asarray(catalogue["support_class"])[~is_outside]
    assert support[of == "dense"].max() <= names["sparse"] <= support[of == "sparse"].min()


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


def test_all_can_be_saved(catalogue, posterior, split, tmp_path):
    score = evaluation(np.random.default_rng(0).random((50, 1)))
    pictures = {
        "residuals.pdf": plot.residuals(posterior, split[1]),
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


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3))])
def test_panels_leave_few_gaps(count, shape):
    _, panels = panel_grid(count, 1.0)
    grid = panels[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == shape
    assert len(panels) == count
