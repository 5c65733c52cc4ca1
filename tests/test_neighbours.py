"""The support score: what it is among the training stars, beyond them and in a hole."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.spatial.distance import mahalanobis
from scipy.stats import spearmanr

from bayestrans.neighbours import CLASSES, Neighbours


def stars(n: int = 1500, seed: int = 0) -> np.ndarray:
    """Return correlated inputs of very different units."""
    rng = np.random.default_rng(seed)
    mix = np.array([[400, 0.3, -0.05], [0, 0.5, 0.1], [0, 0, 0.2]])
    return rng.normal(size=(n, 3)) @ mix + [5000, 2.5, -0.3]


def wide(seed: int) -> np.ndarray:
    """Return stars spread about the same centre twice as far."""
    return 2 * stars(seed=seed) - [5000, 2.5, -0.3]


@pytest.fixture(scope="module")
def neighbours() -> Neighbours:
    return Neighbours.learn(stars(), (0, 1, 2))


def test_the_score_is_1_at_the_usual_spacing(neighbours):
    assert np.median(neighbours.score(stars(seed=1))) == pytest.approx(1, abs=0.05)


def test_the_score_is_written_out_in_mahalanobis_distances():
    """The width of a kernel that holds twenty, and how far their mean lies, over the median."""
    x, new = stars(200), stars(5, seed=1)
    inverse = np.linalg.inv(np.cov(x, rowvar=False))

    def reach(star, others):
        square = np.array([mahalanobis(star, other, inverse) ** 2 for other in others])
        held = lambda width: np.exp(-0.5 * square / width**2).sum()  # noqa: E731
        width = brentq(lambda width: held(width) - 20, 1e-2, 1e2, xtol=1e-12)
        centre = np.average(others, axis=0, weights=np.exp(-0.5 * square / width**2))
        return np.hypot(width, mahalanobis(star, centre, inverse))

    usual = np.median([reach(x[i], np.delete(x, i, axis=0)) for i in range(len(x))])
    for row, found in zip(new, Neighbours.learn(x, (0, 1, 2)).score(new), strict=True):
        assert found == pytest.approx(reach(row, x) / usual, rel=0.03)


def test_many_stars_are_scored_like_few():
    """Beyond 256 places stand for the stars; each holds more stars, and the order is the same."""
    new = wide(seed=3)
    few, many = (Neighbours.learn(stars(n), (0, 1, 2)).score(new) for n in (256, 5000))
    assert spearmanr(few, many).statistic > 0.95


def test_just_beyond_an_edge_the_score_is_larger_than_as_far_from_stars_on_all_sides():
    """A star in the middle of a gap and one at an edge, each 0.25 from the nearest."""
    x = np.random.default_rng(2).uniform(-3, 3, size=(4000, 2))
    gap = x[np.abs(x[:, 0]) > 0.25]
    found = Neighbours.learn(gap, (0, 1))
    edge, middle = (
        found.score(np.column_stack([np.full(40, at), np.linspace(-2, 2, 40)]))
        for at in (3.25, 0.0)
    )
    assert np.median(edge) > 1.3 * np.median(middle)
    assert np.median(middle) > 1.3


def test_mixing_the_inputs_changes_nothing(neighbours):
    mix = np.array([[1.0, 0.0, 0.0], [300.0, 1.0, 0.4], [-200.0, 0.2, 2.0]])
    mixed = Neighbours.learn(stars() @ mix, (0, 1, 2))
    new = wide(seed=2)
    np.testing.assert_allclose(mixed.score(new @ mix), neighbours.score(new), rtol=1e-4)


# A spread of 0.06 dex must count beside one of 1200 K.
def test_kelvin_or_kilokelvin_changes_nothing():
    wider, kilo = np.array([3.0, 1.0, 0.3]), np.array([1e-3, 1.0, 1.0])
    x, new = stars(seed=3) * wider, wide(seed=4) * wider
    found = Neighbours.learn(x * kilo, (0, 1, 2)).score(new * kilo)
    np.testing.assert_allclose(found, Neighbours.learn(x, (0, 1, 2)).score(new), rtol=1e-4)


def test_an_outlier_has_a_large_score_that_grows_with_its_distance(neighbours):
    centre, step = stars().mean(axis=0), stars().std(axis=0)
    score = neighbours.score(centre + np.outer([0, 4, 8, 16], step))
    assert score[0] < 1
    assert (np.diff(score) > 0).all()
    assert score[-1] > 10


def test_an_unusual_combination_of_usual_values_is_an_outlier():
    """Each value lies within 1.5 standard deviations, their combination far off the sequence."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=1000)
    x = np.column_stack([first, first + 0.05 * rng.normal(size=1000)])
    on, off = Neighbours.learn(x, (0, 1)).score(np.array([[1.5, 1.5], [1.5, -1.5]]))
    assert on < 3
    assert off > 50


def test_a_hole_in_the_middle_raises_the_score():
    x = np.random.default_rng(0).normal(size=(3000, 2))
    holed = x[np.linalg.norm(x, axis=1) > 1]
    centre = np.zeros((1, 2))
    assert Neighbours.learn(x, (0, 1)).score(centre) < 1
    assert Neighbours.learn(holed, (0, 1)).score(centre) > 2


def test_a_handful_of_odd_stars_does_not_make_its_place_known():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(500, 2))
    odd = np.array([8.0, 8.0]) + 0.1 * rng.normal(size=(6, 2))
    found = Neighbours.learn(np.vstack([x, odd]), (0, 1))
    assert (found.score(odd) > 5.0).all()
    assert (found.classify(found.score(odd)) == 2).all()


def test_a_sequence_without_width_still_has_a_finite_score():
    first = np.random.default_rng(0).normal(size=300)
    score = Neighbours.learn(np.column_stack([first, 2 * first]), (0, 1)).score(
        np.array([[0.1, 0.2], [5.0, -5.0]])
    )
    assert np.isfinite(score).all()
    assert score[1] > 100 * score[0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_missing_input_has_no_score_and_is_outside(neighbours, value):
    x = stars(4)
    alone = neighbours.score(x)
    x[2, 1] = value
    score = neighbours.score(x)
    np.testing.assert_array_equal(np.isnan(score), [False, False, True, False])
    np.testing.assert_array_equal(score[[0, 1, 3]], alone[[0, 1, 3]])
    assert CLASSES[neighbours.classify(score)[2]] == "outside"


def test_a_stars_score_does_not_depend_on_its_company(neighbours):
    x = wide(seed=6)
    together = neighbours.score(x)
    for rows in ([3], [700, 3], range(1, 1000, 3)):
        np.testing.assert_array_equal(neighbours.score(x[list(rows)]), together[list(rows)])


def test_no_star_has_no_score(neighbours):
    assert neighbours.score(np.empty((0, 3))).shape == (0,)
    assert np.isnan(neighbours.score(np.full((2, 3), np.nan))).all()


def test_inputs_that_do_not_span_the_space_do_not_count():
    x = stars()
    found = Neighbours.learn(x, (0, 2))
    blank = x[:20].copy()
    blank[:, 1] = np.nan
    np.testing.assert_array_equal(found.score(blank), found.score(x[:20]))


def test_one_input_is_enough():
    x = stars()[:, :1]
    assert np.median(Neighbours.learn(x, (0,)).score(x)) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("step", [0.02, 0.1, 0.25])
@pytest.mark.parametrize("width", [1, 2])
def test_rounded_inputs_are_as_good_as_whole_ones(step, width):
    """Though hundreds of stars share a value: between two values there are stars, too."""
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(1000, width)), np.linspace(-4, 4, 41)[:, None] * np.ones(width)
    every = tuple(range(width))
    whole = Neighbours.learn(x, every).score(new)
    rounded = Neighbours.learn(np.round(x / step) * step, every).score(new)
    np.testing.assert_allclose(rounded, whole, rtol=0.6)
    assert rounded[20] < 1.0 < 3.0 < rounded[0]


def test_a_flag_beside_other_inputs_is_left_as_it_is():
    x = stars()
    x[:, 2] = x[:, 2] > -0.3
    again = Neighbours.learn(x, (0, 1, 2))
    between = x[:50].copy()
    between[:, 2] = 0.5
    assert (again.score(between) > 1.5 * again.score(x[:50])).mean() > 0.8


def test_classes_begin_at_their_thresholds():
    found = Neighbours.learn(stars(50), (0, 1, 2), thresholds=(1.2, 3.0))
    score = np.array([0.0, 1.19, 1.2, 2.99, 3.0, 1e9, np.nan])
    names = [CLASSES[i] for i in found.classify(score)]
    assert names == ["dense"] * 2 + ["sparse"] * 2 + ["outside"] * 3


def test_neighbours_survive_their_arrays(neighbours):
    new = stars(20, seed=5)
    again = Neighbours.from_arrays(neighbours.to_arrays())
    np.testing.assert_array_equal(again.score(new), neighbours.score(new))
    np.testing.assert_array_equal(again.thresholds, neighbours.thresholds)


def test_a_training_star_is_none_of_its_own_neighbours():
    x = np.random.default_rng(0).normal(size=(200, 2))
    found = Neighbours.learn(x, (0, 1))
    own = found.own_score()
    assert np.median(own) == pytest.approx(1.0, abs=1e-5)
    assert (own > found.score(x)).mean() > 0.9  # which counts each with itself
    few = np.arange(0, 200, 20)
    others = [Neighbours.learn(np.delete(x, n, axis=0), (0, 1)).score(x[[n]])[0] for n in few]
    np.testing.assert_allclose(own[few], others, rtol=0.1)
