"""How well the training stars cover others, whatever form those come in."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

import bayestrans as bt
from bayestrans.neighbours import Neighbours
from bayestrans.simulate import to_columns
from bayestrans.tables import write_table

CLASSES = ["dense", "sparse", "outside"]


@pytest.fixture(scope="module")
def found(posterior, survey) -> bt.Support:
    return bt.support(posterior, Table(survey.catalogue))


@pytest.mark.parametrize("suffix", [".fits", ".csv", ".parquet"])
def test_a_file_is_scored_as_the_table_in_it(posterior, survey, found, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_table(Table(survey.catalogue), path)
    for source in (path, str(path)):
        from_file = bt.support(posterior, source)
        np.testing.assert_array_equal(from_file.score, found.score)
        np.testing.assert_array_equal(from_file.classes, found.classes)
        assert from_file.identifiers["star_id"].tolist() == survey.catalogue["star_id"].tolist()


def test_pairs_and_their_array_and_their_table_score_alike(posterior, survey):
    pairs = survey.pairs
    table = bt.support(posterior, Table(to_columns(survey)))
    from_pairs, from_array = bt.support(posterior, pairs), bt.support(posterior, pairs.x)
    np.testing.assert_array_equal(from_pairs.score, table.score)
    np.testing.assert_array_equal(from_array.score, table.score)
    assert from_pairs.identifiers["id"].tolist() == pairs.ids.tolist()
    assert from_array.identifiers["row"].tolist() == list(range(len(pairs)))


def test_score_is_one_at_the_usual_spacing_of_the_training_stars(posterior, split):
    train, _ = split
    again = Neighbours.learn(train.x, posterior.spec.blocks[0].inputs)
    score = bt.support(posterior, train).score
    np.testing.assert_array_equal(score, again.score(train.x))
    assert 0.9 < np.median(score) < 1.0  # itself included, unlike in the median that is 1


def test_classes_are_those_of_the_thresholds(found):
    expected = np.select([found.score < 1.5, found.score < 2.5], CLASSES[:2], "outside")
    np.testing.assert_array_equal(found.classes, expected)
    assert set(found.classes) == set(CLASSES)


def test_fractions_sum_to_one_and_count_the_classes(found):
    fractions = found.fractions()
    assert list(fractions) == CLASSES
    assert sum(fractions.values()) == pytest.approx(1.0, abs=1e-12)
    assert fractions["sparse"] == (found.score[(found.score >= 1.5)] < 2.5).sum() / 1500
    assert str(found).startswith("1500 stars: ")
    assert f"{100 * fractions['outside']:.1f} % outside" in str(found)


def test_a_shifted_catalogue_lies_mostly_outside(posterior, found):
    shifted = bt.simulate(10, 400, seed=5, catalogue_shift=3.0)
    away = bt.support(posterior, Table(shifted.catalogue)).fractions()
    assert away["outside"] > 0.6 > 0.15 > found.fractions()["outside"]


def test_the_score_grows_with_the_distance(posterior, survey):
    star = survey.pairs.x.mean(axis=0)
    step = np.zeros(len(star))
    step[0] = 1000.0  # K
    score = bt.support(posterior, star + np.arange(8)[:, None] * step).score
    assert (np.diff(score[2:]) > 0).all()


def test_a_star_with_a_missing_input_is_scored_where_it_is_expected(posterior, survey, found):
    table = Table(survey.catalogue)
    table["jk_a"][3] = np.nan
    one = bt.support(posterior, table)
    # Colour follows from temperature: the star cannot seem far from where it is.
    assert 0.5 * found.score[3] < one.score[3] < 1.5 * found.score[3]
    assert one.classes[3] == CLASSES[np.searchsorted([1.5, 2.5], one.score[3], side="right")]
    np.testing.assert_array_equal(np.delete(one.score, 3), np.delete(found.score, 3))


def test_a_star_without_inputs_has_no_score_and_is_outside(posterior, survey, found):
    table = Table(survey.catalogue)
    for item in posterior.spec.inputs:
        table[item.column][3] = np.nan
    one = bt.support(posterior, table)
    assert np.isnan(one.score[3])
    assert one.classes[3] == "outside"
    np.testing.assert_array_equal(np.delete(one.score, 3), np.delete(found.score, 3))


def test_a_missing_velocity_does_not_count(posterior, survey, found):
    table = Table(survey.catalogue)
    table["rv_a"] = np.nan
    np.testing.assert_array_equal(bt.support(posterior, table).score, found.score)


def test_table_has_the_identifiers_the_score_and_the_class(found, survey):
    table = found.to_table()
    assert table.colnames == ["star_id", "support", "support_class"]
    assert table["star_id"].dtype == np.int64
    assert table["star_id"].tolist() == survey.catalogue["star_id"].tolist()
    np.testing.assert_array_equal(table["support"], found.score)
    assert table["support_class"].tolist() == found.classes.tolist()
    assert "support" not in found.identifiers.colnames


def test_a_catalogue_without_stars_has_none_in_any_class(posterior, survey):
    empty = bt.support(posterior, Table(survey.catalogue)[:0])
    assert len(empty.to_table()) == 0
    assert str(empty).startswith("0 stars")


def test_a_missing_column_is_refused_with_the_nearest_name(posterior, survey):
    table = Table(survey.catalogue)
    table.rename_column("teff_a", "teff_aa")
    with pytest.raises(bt.CatalogueError, match="'teff_a'; the nearest are teff_aa"):
        bt.support(posterior, table)


@pytest.mark.parametrize("shape", [(6,), (4, 5), (4, 7)])
def test_an_array_of_another_shape_is_refused(posterior, shape):
    with pytest.raises(ValueError, match="shape"):
        bt.support(posterior, np.zeros(shape))


def test_pairs_with_inputs_in_another_order_are_refused(posterior, survey):
    pairs, order = survey.pairs, [1, 0, 2, 3, 4, 5]
    inputs = tuple(pairs.spec.inputs[j] for j in order)
    spec = bt.Spec("other order", inputs, pairs.spec.outputs, pairs.spec.id)
    other = bt.Pairs(
        spec, pairs.x[:, order], pairs.x_err[:, order], pairs.y, pairs.y_err, pairs.ids
    )
    with pytest.raises(ValueError, match="logg"):
        bt.support(posterior, other)
