"""The common stars: split by star, and refused where they cannot train anything."""

from __future__ import annotations

import numpy as np
import pytest

from bayestrans.pairs import Pairs, PairsError
from bayestrans.spec import Input, Output, Spec

SPEC = Spec(
    "A to B",
    (Input("teff", "teff_a", "e_teff_a"), Input("logg", "logg_a")),
    (Output("teff", "teff_b", "e_teff_b", corrects="teff"), Output("mass", "mass_b")),
)
NAN = float("nan")


def pairs(ids, **changes) -> Pairs:
    """Return stars whose numbers tell their row, with cells changed: ``x=(row, column, value)``."""
    row = np.arange(len(ids), dtype=float)[:, None]
    first = {"x": [4000, 0.1], "x_err": [50, NAN], "y": [4100, 0.2], "y_err": [60, NAN]}
    arrays = {name: row + np.array(values) for name, values in first.items()}
    for name, (row, column, value) in changes.items():
        arrays[name][row, column] = value
    return Pairs(SPEC, **arrays, ids=np.asarray(ids))


def rows(part: Pairs) -> list[int]:
    """Return the rows of the original that a part holds."""
    return (part.x[:, 0] - 4000).astype(int).tolist()


def test_split_keeps_all_rows_of_a_star_together():
    ids = np.random.default_rng(0).integers(0, 40, 200)
    whole = pairs(ids)
    train, test = whole.split(0.25, seed=1)
    assert not set(train.ids) & set(test.ids)
    assert sorted(rows(train) + rows(test)) == list(range(200))
    assert len(set(test.ids)) == round(0.25 * len(set(ids)))


def test_split_takes_whole_rows():
    train, test = pairs(range(30)).split(0.3)
    for part in (train, test):
        row = np.array(rows(part))
        np.testing.assert_array_equal(part.ids, row)
        np.testing.assert_array_equal(part.y[:, 1], row + 0.2)
        np.testing.assert_array_equal(part.x_err[:, 0], row + 50)
        np.testing.assert_array_equal(part.y_err[:, 0], row + 60)


def test_stars_are_numbered_in_the_order_in_which_they_come():
    assert list(pairs(np.array(["c", "a", "c", "b"])).star) == [0, 1, 0, 2]


def test_the_seed_decides_the_split():
    whole = pairs(range(100))
    assert rows(whole.split(0.2, seed=1)[1]) == rows(whole.split(0.2, seed=1)[1])
    assert rows(whole.split(0.2, seed=1)[1]) != rows(whole.split(0.2, seed=2)[1])


def test_the_split_of_a_star_does_not_depend_on_the_order_of_the_rows():
    ids = np.random.default_rng(0).integers(0, 40, 200)
    shuffled = np.random.default_rng(1).permutation(200)
    test = pairs(ids).split(0.25, seed=3)[1]
    again = pairs(ids[shuffled]).split(0.25, seed=3)[1]
    assert set(test.ids) == set(again.ids)


def test_folds_test_each_star_once():
    ids = np.random.default_rng(0).integers(0, 23, 100)
    folds = pairs(ids).folds(5, seed=1)
    assert sorted(row for _, test in folds for row in rows(test)) == list(range(100))
    for train, test in folds:
        assert not set(train.ids) & set(test.ids)
        assert len(train) + len(test) == 100
    sizes = [len(set(test.ids)) for _, test in folds]
    assert max(sizes) - min(sizes) <= 1


def test_the_seed_decides_the_folds():
    tested = [rows(pairs(range(50)).folds(5, seed=seed)[0][1]) for seed in (1, 1, 2)]
    assert tested[0] == tested[1] != tested[2]


def test_identifiers_beyond_float64_survive():
    ids = np.array([2**53, 2**53 + 1, 4667213730748377729, 4667213730748377730])
    folds = pairs(ids).folds(4)
    assert sorted(int(test.ids[0]) for _, test in folds) == ids.tolist()
    assert folds[0][1].ids.dtype == np.int64


def test_names_identify_stars_too():
    folds = pairs(["HD 1", "HD 2", "HD 1"]).folds(2)
    assert sorted(sorted(test.ids.tolist()) for _, test in folds) == [["HD 1", "HD 1"], ["HD 2"]]


def test_take_keeps_the_asked_order():
    assert rows(pairs(range(5)).take(np.array([3, 0, 3]))) == [3, 0, 3]
    assert len(pairs(range(5)).take(np.array([True, False, True, False, False]))) == 2


def test_missing_outputs_are_allowed_and_marked():
    whole = pairs(range(3), y=(1, 0, NAN), y_err=(1, 0, NAN))
    np.testing.assert_array_equal(whole.seen, [[True, True], [False, True], [True, True]])


def test_lists_become_arrays():
    whole = Pairs(SPEC, [[1, 2]], [[1, NAN]], [[3, 4]], [[1, NAN]], np.array([7]))
    assert whole.x.dtype == whole.y_err.dtype == np.float64


@pytest.mark.parametrize(
    ("name", "row", "column", "value"),
    [
        ("x", 2, 1, NAN),
        ("x", 0, 0, np.inf),
        ("y", slice(1, 3), 1, -np.inf),
        ("x_err", 3, 0, 0.0),
        ("x_err", 1, 0, NAN),
        ("y_err", slice(2, 4), 0, -1.0),
        ("y_err", 0, 0, np.inf),
        ("x_err", 1, 0, -np.inf),
    ],
)
def test_what_is_no_value_becomes_missing_and_the_rest_stays(name, row, column, value):
    whole, found = pairs(range(4)), pairs(range(4), **{name: (row, column, value)})
    for array in ("x", "x_err", "y", "y_err"):
        expected = getattr(whole, array).copy()
        if array == name:
            expected[row, column] = NAN
        np.testing.assert_array_equal(getattr(found, array), expected)
    np.testing.assert_array_equal(found.seen, np.isfinite(found.y))


def test_the_callers_arrays_are_left_alone():
    arrays = vars(pairs(range(3)))
    arrays["x_err"][1, 0] = -7.0
    Pairs(**arrays)
    assert arrays["x_err"][1, 0] == -7.0


@pytest.mark.parametrize("value", [0.0, -12.5])
def test_zero_and_negative_values_are_values(value):
    found = pairs(range(3), x=(1, 0, value), y=(1, 0, value))
    assert found.x[1, 0] == found.y[1, 0] == value


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": (2, slice(None), NAN)}, r"1 of 4 stars have no input \(first in row 2\)"),
        ({"x": (slice(1, 3), slice(None), np.inf)}, r"2 of 4 .* no input \(first in row 1\)"),
        ({"y": (3, slice(None), NAN)}, r"1 of 4 stars have no output \(first in row 3\)"),
        ({"y": (slice(0, 4, 2), slice(None), -np.inf)}, r"2 of 4 .* no output .*row 0\)"),
    ],
)
def test_a_star_without_any_input_or_output_is_refused_with_count_row_and_remedy(changes, words):
    with pytest.raises(PairsError, match=f"{words}; remove those rows"):
        pairs(range(4), **changes)


@pytest.mark.parametrize(
    ("name", "shape", "asked"),
    [
        ("x", (4, 3), r"\(4, 2\)"),
        ("x_err", (3, 2), r"\(4, 2\)"),
        ("y", (4,), r"\(4, 2\)"),
        ("y_err", (4, 1), r"\(4, 2\)"),
        ("ids", (3,), r"\(4\)"),
    ],
)
def test_a_wrong_shape_is_refused_with_both_shapes(name, shape, asked):
    arrays = vars(pairs(range(4))) | {name: np.ones(shape)}
    with pytest.raises(PairsError, match=rf"{name} has shape \({shape[0]},.*{asked}"):
        Pairs(**arrays)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, NAN])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(PairsError, match=r"fraction is .* between 0 and 1"):
        pairs(range(4)).split(fraction)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_count_of_folds_that_cannot_be_is_refused(count):
    with pytest.raises(PairsError, match=rf"{count} folds asked of 3 stars; give 2 to 3"):
        pairs([1, 2, 3, 3]).folds(count)


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_neither_part_of_a_split_is_empty(fraction):
    assert [len(part) for part in pairs([1, 2, 2]).split(fraction)] in ([1, 2], [2, 1])


def test_one_star_cannot_be_split():
    with pytest.raises(PairsError, match="star"):
        pairs([5, 5]).split(0.5)


def test_a_masked_identifier_names_no_star():
    values = np.arange(3.0)[:, None]
    spec = Spec("s", (Input("x", "x"),), (Output("y", "y"),))
    ids = np.ma.array([7, 0, 8], mask=[False, True, False])
    with pytest.raises(PairsError, match="ids are masked"):
        Pairs(spec, values, values, values, values, ids)
