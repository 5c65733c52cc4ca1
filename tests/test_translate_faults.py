"""Stars of a catalogue without a full answer, and catalogues and outputs that are refused."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from translated import DRAWS, OUTPUTS, PARTS, assert_same, inputs

import bayestrans as bt
from bayestrans import answers as engine
from bayestrans.density import Density
from bayestrans.parts import Parts
from bayestrans.tables import read_table, write_table


@pytest.fixture(scope="module", autouse=True)
def all_draws():
    """Summarise with all draws, so that numbers can be held exactly; see test_summary.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "fewest", lambda mixture: np.arange(len(mixture.location)))
        yield


@pytest.fixture(scope="module")
def catalogue(survey) -> Table:
    """Return 600 stars: more than a chunk, with a remainder."""
    return Table(survey.catalogue)[:600]


@pytest.fixture(scope="module")
def few(catalogue) -> Table:
    return catalogue[:40]


@pytest.fixture(scope="module")
def result(posterior, catalogue) -> Table:
    return bt.translate(posterior, catalogue, progress=False)


# ---- faults of a star ------------------------------------------------------------------


def test_a_velocity_unlike_those_in_training_has_flag_256(posterior, few, result):
    table = few.copy()
    table["rv_a"][7] = 2500.0
    out = bt.translate(posterior, table, progress=False)
    raised = np.asarray(out["flags"]) - np.asarray(result["flags"][: len(few)])
    assert raised.tolist() == [256 * (row == 7) for row in range(len(few))]
    assert out["support_class"].tolist() == result["support_class"][: len(few)].tolist()
    table["teff_a"][8] = 40_000.0  # of an intrinsic input the support tells
    out = bt.translate(posterior, table, progress=False)
    assert out["flags"][8] & (4 | 256) == 4


def answers(table: Table, names: list[str]) -> np.ndarray:
    return np.column_stack([table[f"{n}_{p}"] for n in names for p in PARTS])


@pytest.mark.parametrize("kind", ["nan", "inf", "masked"])
def test_a_missing_input_is_integrated_over_and_has_flag_1(posterior, few, result, kind):
    table = few.copy()
    if kind == "masked":
        mask = np.arange(len(table)) == 7
        table["logg_a"] = MaskedColumn(table["logg_a"], mask=mask)
    else:
        table["logg_a"][7] = float(kind)
    out = bt.translate(posterior, table, progress=False)
    assert np.isfinite(answers(out, OUTPUTS)).all()
    assert np.isfinite([out[f"corr_{a}_{b}"][7] for a, b in combinations(OUTPUTS, 2)]).all()
    assert out["logg_sd"][7] > 1.5 * result["logg_sd"][7]
    # Its own measurement lies within what is said without it.
    assert abs(out["logg_mean"][7] - result["logg_mean"][7]) < 4 * out["logg_sd"][7]
    assert out["flags"][7] == 1 | (4 if out["support_class"][7] == "outside" else 0)
    assert np.isfinite(out["support"][7])
    others = np.arange(len(table)) != 7
    assert_same(out[others], result[:40][others])
    assert out["star_id"][7] == few["star_id"][7]
    # How a table says that there is nothing does not matter.
    table = few.copy()
    table["logg_a"][7] = np.nan
    assert_same(out, bt.translate(posterior, table, progress=False))


def test_moments_of_a_star_with_gaps_are_those_of_its_draws(posterior, few):
    table = few.copy()
    table["logg_a"], table["e_jk_a"], table["jk_a"][::2] = np.nan, np.nan, np.nan
    out = bt.translate(posterior, table, progress=False)
    x, x_err = inputs(posterior, table)
    mean = posterior.predict(x, x_err, kind="mean")
    for k, name in enumerate(OUTPUTS):
        sd = mean[:, :, k].std(axis=0)
        np.testing.assert_allclose(out[f"{name}_sd_model"], sd, rtol=1e-3)
        assert np.abs((out[f"{name}_mean"] - mean[:, :, k].mean(axis=0)) / sd).max() < 1e-3
        low, middle, high = (out[f"{name}_{p}"] for p in ("p16", "p50", "p84"))
        assert (low < middle).all()
        assert (middle < high).all()


def test_a_star_without_inputs_has_no_answer_and_flag_16(posterior, few, result):
    table = few.copy()
    for item in posterior.spec.inputs:
        table[item.column][7] = np.nan
    out = bt.translate(posterior, table, progress=False)
    assert np.isnan(answers(out[7:8], OUTPUTS)).all()
    assert all(np.isnan(out[f"corr_{a}_{b}"][7]) for a, b in combinations(OUTPUTS, 2))
    assert out["flags"][7] == 1 | 4 | 16
    assert np.isnan(out["support"][7])
    assert out["support_class"][7] == "outside"
    others = np.arange(len(table)) != 7
    assert_same(out[others], result[:40][others])
    assert out["star_id"][7] == few["star_id"][7]


def test_a_missing_velocity_leaves_the_intrinsic_answers(posterior, few, result):
    table = few.copy()
    table["rv_a"][3] = np.nan
    out = bt.translate(posterior, table, progress=False)
    same, whole = (answers(t[:40], OUTPUTS[:4]) for t in (out, result))
    np.testing.assert_array_equal(same, whole)
    # Nothing is left of the velocity but what all stars have.
    assert 0.5 < out["rv_sd"][3] / posterior.scaler.x_scale[5] < 2
    assert np.isfinite(answers(out[3:4], ["rv"])).all()
    assert all(out[f"corr_{name}_rv"][3] == 0 for name in OUTPUTS[:4])
    assert out["flags"][3] == result["flags"][3] | 1
    assert out["support"][3] == result["support"][3]


@pytest.mark.parametrize(
    ("column", "value", "moved"),
    [
        ("e_teff_a", np.nan, OUTPUTS),
        ("e_mg_fe_a", 0.0, OUTPUTS),
        ("e_jk_a", -30.0, OUTPUTS),
        ("e_rv_a", 0.0, ["rv"]),
    ],
)
def test_an_error_that_is_none_is_integrated_over_and_has_flag_2(
    posterior, few, result, column, value, moved
):
    table = few.copy()
    table[column][11] = value
    out = bt.translate(posterior, table, progress=False)
    assert out["flags"][11] == result["flags"][11] | 2
    assert out["support"][11] == result["support"][11]
    assert np.isfinite(answers(out, OUTPUTS)).all()
    one, whole = out[11:12], result[11:12]
    found = [n for n in OUTPUTS if (answers(one, [n]) != answers(whole, [n])).all()]
    same = [n for n in OUTPUTS if (answers(one, [n]) == answers(whole, [n])).all()]
    assert (found, same) == (moved, [n for n in OUTPUTS if n not in moved])
    # An error says little about a star beside its values.
    for name in OUTPUTS:
        assert abs(one[f"{name}_mean"][0] - whole[f"{name}_mean"][0]) < whole[f"{name}_sd"][0]
    others = np.arange(len(table)) != 11
    assert_same(out[others], result[:40][others])


def test_an_error_column_that_the_model_does_not_use_is_flagged_only(posterior, few):
    scaler = posterior.scaler
    used = scaler.log_err_scale.copy()
    used[0] = 0.0  # as if all of survey A's Teff errors had been the same
    blocks = tuple(
        b._replace(draws={**b.draws, **without_feature(b, len(b.block.inputs))})
        for b in posterior.blocks
    )
    model = dataclasses.replace(
        posterior,
        scaler=dataclasses.replace(scaler, log_err_scale=used),
        blocks=blocks,
        density=without_feature_6(posterior.density),
    )
    table = few.copy()
    table["e_teff_a"][2] = np.nan
    out = bt.translate(model, table, progress=False)
    assert out["flags"][2] & 2
    assert np.isfinite(answers(out, OUTPUTS)).all()


def without_feature(block, feature: int) -> dict[str, np.ndarray]:
    sites = "slope", "weight_0", "log_relevance"
    return {n: np.delete(block.draws[n], feature, axis=-1) for n in sites}


def without_feature_6(density: Density) -> Density:
    """Return the density of all features but the first error, after six inputs."""
    arrays = density.to_arrays()
    arrays |= {n: np.delete(arrays[n], 6, axis=1) for n in ("mean", "kinds")}
    covariance = np.delete(arrays["covariance"], 6, axis=1)
    return Density.from_arrays({**arrays, "covariance": np.delete(covariance, 6, axis=2)})


def test_a_star_outside_has_flag_4_and_keeps_its_answer(result):
    outside = np.asarray(result["support_class"]) == "outside"
    assert outside.any()
    np.testing.assert_array_equal(np.asarray(result["flags"]) & 4 > 0, outside)
    assert np.isfinite(answers(result, OUTPUTS)).all()


def test_an_error_unlike_those_in_training_has_flag_8(posterior, few, result):
    table = few.copy()
    scaler = posterior.scaler
    five = np.exp(scaler.log_err_centre + 5 * scaler.log_err_scale)
    table["e_teff_a"][0], table["e_teff_a"][1] = 1.01 * five[0], 0.99 * five[0]
    table["e_rv_a"][2], table["e_teff_a"][3] = 1e4, 1e-20
    out = bt.translate(posterior, table, progress=False)
    assert (np.asarray(out["flags"][:4]) & 8).tolist() == [8, 0, 8, 8]
    assert np.isfinite(answers(out[:4], OUTPUTS)).all()
    assert_same(out[4:], result[4:40])
    assert not (np.asarray(result["flags"]) & 8).all()


def test_an_ordinary_star_has_no_flag(result):
    dense = np.asarray(result["support_class"]) == "dense"
    assert (np.asarray(result["flags"])[dense] == 0).mean() > 0.95


# ---- refusals, before any work ----------------------------------------------------------


@pytest.fixture
def no_work(monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the networks were run")

    monkeypatch.setattr(bt.Posterior, "mixtures", fail)


@pytest.mark.usefixtures("no_work")
def test_an_existing_output_is_refused_and_kept(posterior, catalogue, tmp_path):
    path = tmp_path / "b.parquet"
    path.write_text("precious")
    with pytest.raises(bt.CatalogueError, match=r"the file exists; pass overwrite \(--overwrite\)"):
        bt.translate(posterior, catalogue, path, progress=False)
    assert path.read_text() == "precious"


def test_an_existing_output_is_replaced_on_request(posterior, few, result, tmp_path):
    path = tmp_path / "b.parquet"
    path.write_text("old")
    bt.translate(posterior, few, path, overwrite=True, progress=False)
    assert_same(read_table(path), result[:40])
    assert [p.name for p in tmp_path.iterdir()] == ["b.parquet"]


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(("name", "words"), [("b.txt", "unknown suffix"), ("no/b.csv", "folder")])
def test_an_output_that_cannot_be_written_is_refused(posterior, catalogue, tmp_path, name, words):
    with pytest.raises(bt.CatalogueError, match=words):
        bt.translate(posterior, catalogue, tmp_path / name, progress=False)


def of_text(table: Table) -> Table:
    table["object_id"] = [f"\N{LATIN SMALL LETTER E WITH ACUTE} {n}" for n in range(len(table))]
    return table


def of_large_numbers(table: Table) -> Table:
    table["object_id"] = np.arange(len(table)).astype(np.uint64) + np.uint64(2**63)
    return table


@pytest.mark.parametrize(
    ("name", "ids", "words"),
    [
        ("b.fits", of_text, "object_id: FITS tables hold only ASCII, and 40 rows have other"),
        ("b.vot", of_large_numbers, "object_id: VOTables hold no unsigned 64-bit integers"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_with_the_first_part(
    posterior, few, tmp_path, monkeypatch, name, ids, words
):
    def fail(*_: object) -> None:
        raise AssertionError("the parts were joined")

    monkeypatch.setattr(Parts, "join", lambda self, partial, coming: (list(coming), fail()))
    table, path = ids(few.copy()), tmp_path / name
    with pytest.raises(bt.CatalogueError, match=words) as told:
        bt.translate(posterior, table, path, progress=False)
    assert str(told.value).startswith(f"{path}: ")
    assert str(told.value).endswith("write .parquet or .csv")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(bt.CatalogueError, match=words):
        write_table(table, path)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("column", ["fe_h_a", "e_fe_h_a"])
def test_a_missing_column_is_refused_with_the_nearest_name(posterior, catalogue, tmp_path, column):
    table = catalogue.copy()
    table.rename_column(column, f"{column}b")
    with pytest.raises(bt.CatalogueError, match=f"'{column}'; the nearest are {column}b"):
        bt.translate(posterior, table, tmp_path / "b.csv", progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("draws", "said"),
    [
        (201, "201 draws asked; the model holds 200"),
        (-1, "draws is -1; give a whole number of at least 0"),
        (2.5, "draws is 2.5; give a whole number of at least 0"),
    ],
)
def test_draws_that_the_model_does_not_hold_are_refused(posterior, catalogue, draws, said):
    with pytest.raises(ValueError, match=said):
        bt.translate(posterior, catalogue, draws=draws, progress=False)


def test_the_input_table_is_left_alone(posterior, catalogue):
    table = catalogue[:10].copy()
    before = table.copy()
    bt.translate(posterior, table, draws=DRAWS, progress=False)
    assert_same(table, before)
    assert table.meta == before.meta


def test_a_table_of_another_survey_is_told_so(posterior):
    other = Table({name: [1.0] for name in ("teff_b", "logg_b", "fe_h_b")})
    with pytest.raises(bt.CatalogueError, match=r"none of the columns that .* is translated from"):
        bt.translate(posterior, other, progress=False)
