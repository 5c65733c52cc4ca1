"""One star's joint posterior: its draws, what is marked beside it, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from scipy import stats

import bayestrans as bt
from bayestrans import plot
from bayestrans.plot_star import MARKS, _limits, _sample

LEVELS = (0.16, 0.5, 0.84)


@pytest.fixture(scope="module")
def one(split) -> bt.Pairs:
    """Return a star, without B's value of its last intrinsic output."""
    star = split[1].take(np.array([3]))
    y = star.y.copy()
    y[0, 3] = np.nan
    return dataclasses.replace(star, y=y)


@pytest.fixture(scope="module")
def figure(posterior, one) -> Figure:
    return plot.star(posterior, one)


def grid_of(figure: Figure, wide: int) -> np.ndarray:
    return np.array(figure.axes).reshape(wide, wide)


def marks(axis, name: str) -> list[np.ndarray]:
    """Return the places of points of one kind in a panel."""
    colour = MARKS[name]["color"]
    lines = [line for line in axis.lines if line.get_color() == colour and len(line.get_xdata())]
    return [np.ravel(line.get_data()) for line in lines]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_axes_have_labels_with_units_and_run_as_in_a_kiel_diagram(figure, posterior):
    outputs = posterior.spec.outputs
    grid = grid_of(figure, len(outputs))
    for k, output in enumerate(outputs):
        assert grid[-1, k].get_xlabel() == plot.label(output.name, output.unit)
        low, high = grid[-1, k].get_xlim()
        assert (low > high) == (output.name in ("teff", "logg"))
        shown = [t for t in grid[-1, k].get_xticks() if min(low, high) < t < max(low, high)]
        assert 2 <= len(shown) <= 5
        assert all(text.get_text() for text in grid[-1, k].get_xticklabels())
        if k:
            assert grid[k, 0].get_ylabel() == plot.label(output.name, output.unit)
            assert grid[k, 0].get_ylim() == grid[-1, k].get_xlim()


def test_values_of_both_surveys_are_marked(figure, posterior, one):
    wide = len(posterior.spec.outputs)
    grid, base = grid_of(figure, wide), one.x[0, list(posterior.spec.corrects)]
    for i in range(wide):
        assert marks(grid[i, i], "survey A")[0][0] == base[i]
        measured = marks(grid[i, i], "survey B, measured")
        assert [values[0] for values in measured] == ([] if i == 3 else [one.y[0, i]])
        for j in range(i):
            places = marks(grid[i, j], "survey A")
            assert any(np.array_equal(p, [base[j], base[i]]) for p in places)
            (bars,) = list(grid[i, j].containers[1:]) or [None]
            assert (bars is None) == (3 in (i, j))
            if bars is not None:
                across = bars[2][0].get_segments()[0][:, 0]
                np.testing.assert_allclose(
                    across, one.y[0, j] + one.y_err[0, j] * np.array([-1, 1])
                )
    score = bt.support(posterior, one)
    assert legend(figure) == [
        "posterior of B's true value",
        "survey A",
        "survey B, measured",
        f"support {score.score[0]:.2g} ({score.classes[0]})",
    ]


def test_the_draws_are_those_of_the_posterior(posterior, one):
    first = _sample(posterior, one.x, one.x_err, seed=1)
    assert len(first) >= 5000
    # Of several seeds: the noise of one is the same at every star, and may be an odd one.
    more = [_sample(posterior, one.x, one.x_err, seed=seed) for seed in range(2, 6)]
    found = np.concatenate([first, *more])
    # A sum of Student-t's at this star, without draws of the noise.
    expected = posterior.gaps.expected(one.x, one.x_err)[0]
    for block in posterior.blocks:
        ((_, mixture),) = posterior.mixtures(block, one.x, one.x_err)
        location, scale = (np.asarray(part)[:, :, 0] for part in mixture[:2])
        for row, k in enumerate(block.block.outputs):
            delta = (found[:, k] - posterior.scaler.base(expected)[0, k]) / (
                posterior.scaler.delta_scale[k]
            )
            for level, place in zip(LEVELS, np.quantile(delta, LEVELS), strict=True):
                away = (place - location[:, row]) / scale[:, row]
                dof, odds, width = (np.asarray(part) for part in mixture.tails)
                wider = stats.t.cdf(away / width, dof)
                below = np.mean((stats.t.cdf(away, dof) + odds * wider) / (1 + odds))
                error = np.sqrt(level * (1 - level) / len(found))
                assert below == pytest.approx(level, abs=4 * error)
    columns = {item.column: one.x[:, j] for j, item in enumerate(posterior.spec.inputs)}
    columns |= {item.error: one.x_err[:, j] for j, item in enumerate(posterior.spec.inputs)}
    (star,) = bt.translate(
        posterior, Table({posterior.spec.id: one.ids, **columns}), progress=False
    )
    together = np.corrcoef(found[:, :2].T)[0, 1]
    assert together == pytest.approx(star["corr_teff_logg"], abs=0.1)
    np.testing.assert_array_equal(first, _sample(posterior, one.x, one.x_err, seed=1))


@pytest.mark.slow  # completions are compiled by themselves
def test_a_star_with_a_gap_given_as_numbers_with_its_truth(posterior, one):
    x = one.x[0].copy()
    x[1] = np.nan
    figure = plot.star(posterior, x, one.x_err[0], truth=one.y[0])
    assert legend(figure)[1:3] == ["survey A", "true"]
    grid = grid_of(figure, 5)
    assert marks(grid[1, 1], "survey A") == []
    assert marks(grid[0, 0], "survey A")[0][0] == x[0]
    wide, narrow = (
        np.std(_sample(posterior, values[None], one.x_err, seed=0)[:, 1])
        for values in (x, one.x[0])
    )
    assert wide > 1.5 * narrow


@pytest.mark.parametrize(
    ("give", "fault"),
    [
        (lambda one: (one.x, one.x_err), "x has shape .*; give the 6 numbers of one star"),
        (lambda one: (np.full(6, np.nan), one.x_err[0]), "the star has no input"),
        (lambda one: (one.x[0], one.x_err[0][:2]), "x_err has shape"),
        (lambda one: (one.take(np.array([0, 0])), None), "2 stars given; choose one"),
    ],
)
def test_what_is_no_star_is_refused(posterior, one, give, fault):
    x, x_err = give(one)
    with pytest.raises(ValueError, match=fault):
        plot.star(posterior, x, x_err)


def test_outliers_do_not_make_a_bin_of_the_rest():
    rng = np.random.default_rng(0)
    sample = rng.normal(5.0, 1.0, (5000, 2))
    sample[::20, 1] += rng.normal(0.0, 50.0, 250)  # one in twenty
    (low, high), (far_low, far_high) = _limits(sample, np.full((1, 2), np.nan))
    assert high - low == pytest.approx(2 * 2.58 * 1.1, rel=0.05)  # 99 % and the edges
    assert 5.0 - 5.0 < far_low < far_high < 5.0 + 5.0
