"""Pictures of importances: what is drawn is what was found, with units."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

import bayestrans as bt
from bayestrans import plot
from bayestrans.plot_style import COLUMN, PAGE, symbol


@pytest.fixture(scope="module")
def found(posterior, split) -> bt.Importance:
    return bt.importance(posterior, split[1], draws=40, stars=256, progress=False)


@pytest.fixture(scope="module")
def figure(found) -> Figure:
    return plot.importance(found)


def points(axis) -> list[np.ndarray]:
    return [np.asarray(line.get_xdata()) for line in axis.lines if line.get_marker() in ("o", "s")]


def test_each_output_has_a_row_with_units(figure, found):
    assert figure.get_size_inches()[0] == PAGE
    assert len(figure.axes) == 2 * 5
    for row, unit in enumerate(("K", "dex", "dex", "dex", r"km s$^{-1}$")):
        left, right = figure.axes[2 * row : 2 * row + 2]
        name = symbol(list(found.units["outputs"])[row])
        assert left.get_xlabel() == rf"share of the variance of $\Delta${name} [%]"
        assert right.get_xlabel() == f"rms change of {name} per sd [{unit}]"


def test_points_are_posterior_means_and_lines_their_intervals(figure, found):
    table = found.table().set_index(["output", "what", "target", "input"]).sort_index()
    narrow = found.table(0.68).set_index(["output", "what", "target", "input"]).sort_index()
    for row, output in enumerate(found.units["outputs"]):
        left, right = figure.axes[2 * row : 2 * row + 2]
        names = [str(n) for n in found.members if (output == "rv") or n != "rv"]
        shares = table.loc[(output, "share", "correction")].loc[names]
        np.testing.assert_allclose(points(left)[0], 100 * shares["mean"])
        assert [t.get_text() for t in left.get_yticklabels()] == [symbol(n) for n in names]
        for lines, rows in zip(left.collections, (narrow, table), strict=True):
            ends = np.array([segment[:, 0] for segment in lines.get_segments()])
            share = rows.loc[(output, "share", "correction")].loc[names, ["lower", "upper"]]
            np.testing.assert_allclose(ends, 100 * share)
        inputs = names[:-1]
        assert [t.get_text() for t in right.get_yticklabels()] == [symbol(n) for n in inputs]
        draws = found.draws["sensitivity"].sel(target="correction", output=output) ** 0.5
        mean = draws.mean(("chain", "draw"), skipna=False)
        values, errors = points(right)[:2]
        np.testing.assert_allclose(values, mean.sel(feature=inputs))
        np.testing.assert_allclose(errors, mean.sel(feature=[f"{n} error" for n in inputs]))


def test_rows_run_from_top_to_bottom_and_do_not_overlap(figure):
    for axis in figure.axes:
        low, high = axis.get_ylim()
        assert low > high
    figure.draw_without_rendering()
    frames = [axis.get_window_extent() for axis in figure.axes]
    for axis in figure.axes:
        written = [axis.xaxis.label, *axis.get_xticklabels(), *axis.get_yticklabels()]
        for text in written:
            box = text.get_window_extent()
            assert not any(box.overlaps(frame.padded(-1)) for frame in frames), text.get_text()
    labels = [axis.xaxis.label.get_window_extent() for axis in figure.axes]
    assert not any(a.overlaps(b) for i, a in enumerate(labels) for b in labels[:i])


def bars(figure: Figure) -> dict[str, list]:
    return {bar.get_label(): list(bar) for bar in figure.axes[0].containers}


def test_the_bars_of_a_budget_are_its_shares(found):
    figure = plot.error_budget(found)
    assert figure.get_size_inches()[0] == COLUMN
    mean = found.mean_budget
    share = 100 * mean / mean.sum("part")
    drawn = bars(figure)
    assert list(drawn) == ["model", "errors of A", "intrinsic scatter"]  # what there is
    for name, part in (("model", "model"), ("intrinsic scatter", "intrinsic")):
        widths = [bar.get_width() for bar in drawn[name]]
        np.testing.assert_allclose(widths, share.sel(part=part))
    ends = [bar.get_x() + bar.get_width() for bar in drawn["intrinsic scatter"]]
    np.testing.assert_allclose(ends, 100)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert f"{np.sqrt(float(mean.sel(output='teff').sum())):.2g} K" in texts


def test_what_calibration_takes_away_lies_left_of_zero(found):
    changed = found.budget.copy()
    changed.loc[{"part": "calibration"}] = -0.1 * changed.sum("part")
    figure = plot.error_budget(found._replace(budget=changed))
    for bar in bars(figure)["calibration"]:
        assert bar.get_x() == 0
        assert bar.get_width() == pytest.approx(-100 / 9)
    assert figure.axes[0].get_xlim()[0] < -100 / 9


def test_pictures_of_groups_and_of_models_without_errors(posterior, split):
    groups = {"parameters": ["teff", "logg", "fe_h", "mg_fe", "rv"]}
    found = bt.importance(posterior, split[1], groups=groups, draws=40, stars=256, progress=False)
    figure = plot.importance(found)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [
        "parameters", symbol("jk"), "errors",
    ]  # fmt: skip
    bare = found._replace(draws=found.draws.sel(feature=list(found.units["inputs"])))
    assert len(points(plot.importance(bare).axes[1])) == 1
