"""The output catalogue: its schema, its numbers, and stars without an answer."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from itertools import combinations

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from scipy import stats

import bayestrans as bt
from bayestrans import answers as engine
from bayestrans.density import Density
from bayestrans.tables import digest, read_table, write_table

OUTPUTS = ["teff", "logg", "fe_h", "mg_fe", "rv"]
DRAWS = 200  # all that the model holds
PARTS = ["mean", "sd", "p16", "p50", "p84", "sd_model"]
NUMBERS = [
    *(f"{name}_{part}" for name in OUTPUTS for part in PARTS),
    *(f"corr_{a}_{b}" for a, b in combinations(OUTPUTS, 2)),
]
COLUMNS = ["star_id", *NUMBERS, "support", "support_class", "flags"]
UNITS = {"teff": u.K, "rv": u.km / u.s}


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


@pytest.fixture(scope="module")
def many(posterior, catalogue) -> np.ndarray:
    """Return 8 draws of the noise for each posterior draw, (draw, star, output)."""
    x, x_err = inputs(posterior, catalogue[:60])
    return np.concatenate([posterior.predict(x, x_err, seed=seed) for seed in range(8)])


def inputs(posterior: bt.Posterior, table: Table) -> tuple[np.ndarray, np.ndarray]:
    items = posterior.spec.inputs
    return tuple(
        np.column_stack([table[getattr(item, kind)] for item in items])
        for kind in ("column", "error")
    )


def assert_same(first: Table, second: Table) -> None:
    """Hold every column bit for bit, NaN included."""
    assert first.colnames == second.colnames
    assert len(first) == len(second)
    for name in first.colnames:
        a, b = (np.asarray(t[name]) for t in (first, second))
        if a.dtype.kind == "U":
            assert a.tolist() == b.tolist(), name
        else:
            assert a.dtype == b.dtype, name
            assert a.tobytes() == b.tobytes(), name


# ---- the schema ------------------------------------------------------------------------


def test_schema_is_the_agreed_one(result, catalogue):
    assert result.colnames == COLUMNS
    assert result["star_id"].dtype == np.int64
    assert result["star_id"].tolist() == catalogue["star_id"].tolist()
    assert all(result[name].dtype == np.float32 for name in [*NUMBERS, "support"])
    assert result["flags"].dtype == np.int32
    assert result["support_class"].dtype.kind == "U"


def test_all_identifiers_come_first_and_unchanged(posterior, catalogue):
    table = catalogue[:3].copy()
    table["source_id"] = np.array([4667213730748377729, 2**53 + 1, 7])
    table["tmass_id"] = ["2M00", "2M01", "2M02"]
    table.rename_column("star_id", "STAR_ID")
    out = bt.translate(posterior, table, progress=False)
    assert out.colnames == ["STAR_ID", "source_id", "tmass_id", *COLUMNS[1:]]
    for name in out.colnames[:3]:
        assert out[name].tolist() == table[name].tolist()
    assert out["source_id"].dtype == np.int64


def test_units_descriptions_and_descriptors(result):
    for name, part in ((n, p) for n in OUTPUTS for p in PARTS):
        column = result[f"{name}_{part}"]
        assert column.unit == UNITS.get(name)
        assert column.description.startswith(f"{name}: ")
    assert result["teff_mean"].meta["ucd"] == "phys.temperature.effective;meta.modelled"
    assert result["rv_sd"].meta["ucd"] == "stat.error;spect.dopplerVeloc"
    assert result["logg_sd_model"].meta["ucd"] == "stat.error;phys.gravity"
    assert "ucd" not in result["mg_fe_mean"].meta


@pytest.mark.parametrize("suffix", [".fits", ".parquet", ".ecsv", ".vot"])
def test_files_carry_everything(posterior, catalogue, tmp_path, suffix):
    path = tmp_path / f"b{suffix}"
    out = bt.translate(posterior, catalogue[:5], path, progress=False)
    back = read_table(path)
    assert_same(out, back)
    assert back["teff_mean"].unit == u.K
    assert back["rv_p84"].unit == u.km / u.s
    assert back["logg_mean"].unit is None
    if suffix != ".fits":  # there the text is in the header, see below
        assert back["logg_mean"].description == out["logg_mean"].description


def test_fits_header_has_descriptors_and_provenance_in_ascii(posterior, catalogue, tmp_path):
    path = tmp_path / "b.fits"
    out = bt.translate(posterior, catalogue[:5], path, progress=False)
    header = fits.getheader(path, 1)
    position = out.colnames.index("teff_mean") + 1
    assert header[f"TTYPE{position}"] == "teff_mean"
    assert header[f"TUCD{position}"] == "phys.temperature.effective;meta.modelled"
    assert header["BTMODEL"] == posterior.digest
    assert header[f"TCOMM{position}"] == out["teff_mean"].description
    assert "1: an input is missing" in header["BTFLAGS"]
    assert str(header).isascii()


def test_provenance_says_what_was_done_to_what(posterior, catalogue, tmp_path):
    path = tmp_path / "a.csv"
    write_table(catalogue[:5], path)
    before = datetime.now(UTC).replace(microsecond=0)
    out = bt.translate(posterior, path, draws=DRAWS, seed=9, progress=False)
    found = out.meta
    assert found["BTVERS"] == f"bayestrans {bt.__version__}"
    assert found["BTMODEL"] == posterior.digest
    assert found["BTINPUT"] == digest(path)
    assert found["BTSEED"] == "9"
    assert json.loads(found["BTSPEC"]) == posterior.spec.name
    assert json.loads(found["BTCONF"]) == {"summary_draws": [DRAWS, DRAWS], "draws": DRAWS}
    assert before <= datetime.fromisoformat(found["BTUTC"]) <= datetime.now(UTC)
    for key, text in found.items():
        assert key.isascii()
        assert len(key) <= 8
        assert text.isascii()
        assert text.isprintable()


def test_provenance_of_a_name_beyond_ascii_is_ascii(posterior, catalogue):
    spec = dataclasses.replace(posterior.spec, name="Gaïa → Sloan")
    out = bt.translate(dataclasses.replace(posterior, spec=spec), catalogue[:1], progress=False)
    assert out.meta["BTSPEC"].isascii()
    assert json.loads(out.meta["BTSPEC"]) == "Gaïa → Sloan"


# ---- the numbers -----------------------------------------------------------------------


def test_mean_and_model_sd_are_those_of_the_draws_of_the_mean(posterior, catalogue, result):
    x, x_err = inputs(posterior, catalogue)
    mean = posterior.predict(x, x_err, kind="mean")
    for k, name in enumerate(OUTPUTS):
        sd = mean[:, :, k].std(axis=0)
        np.testing.assert_allclose(result[f"{name}_sd_model"], sd, rtol=1e-3)
        away = result[f"{name}_mean"] - mean[:, :, k].mean(axis=0)
        assert np.abs(away / sd).max() < 1e-3


def test_mean_and_sd_agree_with_draws_of_the_true_value(result, many):
    count = len(many)
    for k, name in enumerate(OUTPUTS[:4]):
        draws, part = many[:, :, k], result[:60]
        error = draws.std(axis=0) / np.sqrt(count)
        z = (part[f"{name}_mean"] - draws.mean(axis=0)) / error
        assert np.abs(z).max() < 4.5
        # The kurtosis says how well a sample of this size knows its sd.
        kurtosis = stats.kurtosis(draws, axis=0, fisher=False)
        error = np.sqrt((kurtosis - 1) / count) / 2
        z = (part[f"{name}_sd"] / draws.std(axis=0) - 1) / error
        assert np.median(np.abs(z)) < 1.5
        assert np.abs(z).max() < 6


def test_sd_is_that_of_the_mixture_also_where_tails_are_heavy(posterior, catalogue, result):
    # Binaries leave the velocity barely more than 2 degrees of freedom: a sample's sd is
    # then useless as an oracle, and the law of total variance serves instead.
    block = posterior.blocks[1]
    _, mixture = next(posterior.mixtures(block, *inputs(posterior, catalogue[:60])))
    location, scale, dof = (
        np.asarray(a, dtype=float) for a in (mixture.location, mixture.scale, mixture.dof)
    )
    within = np.mean(stats.t.var(dof)[:, None] * scale[:, 0, :60] ** 2, axis=0)
    sd = posterior.scaler.delta_scale[4] * np.sqrt(within + location[:, 0, :60].var(axis=0))
    np.testing.assert_allclose(result["rv_sd"][:60], sd, rtol=1e-3)


def test_quantiles_have_their_shares_of_the_draws_below(result, many):
    for k, name in enumerate(OUTPUTS):
        for part, level in (("p16", 0.16), ("p50", 0.50), ("p84", 0.84)):
            below = np.mean(many[:, :, k] < np.asarray(result[f"{name}_{part}"][:60]), axis=0)
            error = np.sqrt(level * (1 - level) / len(many))
            assert np.abs(below - level).max() < 4.5 * error
            assert abs(below.mean() - level) < 4.5 * error / np.sqrt(60)


def test_correlations_agree_with_draws(result, many):
    # In ranks, which a Student-t's tails do not sway; Pearson's from Kendall's is exact for
    # one elliptical law, and near it for the mixture.
    for (i, a), (j, b) in combinations(enumerate(OUTPUTS[:4]), 2):
        found = [
            np.sin(np.pi / 2 * stats.kendalltau(many[:, n, i], many[:, n, j]).statistic)
            for n in range(0, 60, 12)
        ]
        np.testing.assert_allclose(result[f"corr_{a}_{b}"][:60:12], found, atol=0.08)


def test_quantiles_are_ordered_and_epistemic_is_part_of_the_sd(result):
    for name in OUTPUTS:
        low, middle, high = (result[f"{name}_{p}"] for p in ("p16", "p50", "p84"))
        assert (low < middle).all()
        assert (middle < high).all()
        assert (result[f"{name}_sd_model"] > 0).all()
        assert (result[f"{name}_sd_model"] < result[f"{name}_sd"]).all()


def test_correlations_lie_in_range_and_are_zero_between_networks(result):
    for a, b in combinations(OUTPUTS, 2):
        corr = np.asarray(result[f"corr_{a}_{b}"])
        if b == "rv":
            assert (corr == 0).all()
        else:
            assert (np.abs(corr) <= 1).all()
            assert (corr != 0).all()


def test_support_is_that_of_the_support_function(posterior, catalogue, result):
    found = bt.support(posterior, catalogue)
    np.testing.assert_array_equal(result["support"], found.score.astype(np.float32))
    assert result["support_class"].tolist() == found.classes.tolist()


def test_true_values_lie_between_the_quantiles_about_as_often_as_promised(result, survey):
    truth = survey.catalogue_truth["y"][:600]
    dense = np.asarray(result["support_class"]) == "dense"
    for k, name in enumerate(OUTPUTS):
        low, high = (np.asarray(result[f"{name}_{p}"]) for p in ("p16", "p84"))
        inside = ((low <= truth[:, k]) & (truth[:, k] <= high))[dense].mean()
        assert 0.55 < inside < 0.80, name


# ---- faults of a star ------------------------------------------------------------------


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
    return {n: np.delete(block.draws[n], feature, axis=-1) for n in ("slope", "weight_0")}


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


def test_an_enormous_error_has_flag_8(posterior, few, result):
    table = few.copy()
    scaler = posterior.scaler
    five = np.exp(scaler.log_err_centre + 5 * scaler.log_err_scale)
    table["e_teff_a"][0], table["e_teff_a"][1] = 1.01 * five[0], 0.99 * five[0]
    table["e_rv_a"][2] = 1e4
    out = bt.translate(posterior, table, progress=False)
    assert (np.asarray(out["flags"][:3]) & 8).tolist() == [8, 0, 8]
    assert np.isfinite(answers(out[:3], OUTPUTS)).all()
    assert_same(out[3:], result[3:40])
    assert not (np.asarray(result["flags"]) & 8).all()


def test_an_ordinary_star_has_no_flag(result):
    dense = np.asarray(result["support_class"]) == "dense"
    assert (np.asarray(result["flags"])[dense] == 0).mean() > 0.95


# ---- the same numbers for a star, whatever its company ------------------------------------


def test_one_row_gives_the_bits_it_has_within_the_table(posterior, catalogue, result):
    for row in (0, 511, 512, 599):
        alone = bt.translate(posterior, catalogue[row : row + 1], progress=False)
        assert_same(alone, result[row : row + 1])


def test_row_order_does_not_matter(posterior, catalogue, result):
    order = np.random.default_rng(0).permutation(len(catalogue))
    shuffled = bt.translate(posterior, catalogue[order], draws=DRAWS, progress=False)
    assert_same(shuffled[COLUMNS], result[order])
    straight = bt.translate(posterior, catalogue, draws=DRAWS, progress=False)
    assert_same(shuffled, straight[order])


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".fits"])
def test_file_format_does_not_matter(posterior, few, result, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_table(few, path)
    assert_same(bt.translate(posterior, path, progress=False), result[:40])


def test_seed_does_not_move_the_summaries(posterior, few, result):
    other = bt.translate(posterior, few, seed=77, progress=False)
    assert_same(other, result[:40])


def test_a_saved_model_gives_the_same_bits(posterior, few, result, tmp_path):
    posterior.save(tmp_path / "m.nc")
    assert_same(bt.translate(bt.load(tmp_path / "m.nc"), few, progress=False), result[:40])


def test_an_empty_table_has_the_full_schema(posterior, catalogue, result, tmp_path):
    path = tmp_path / "none.fits"
    empty = bt.translate(posterior, catalogue[:0], path, draws=DRAWS, progress=False)
    assert empty.colnames == [*COLUMNS, *(f"{name}_draws" for name in OUTPUTS)]
    assert len(empty) == 0
    for name in COLUMNS:
        assert empty[name].dtype.kind == result[name].dtype.kind, name
        assert empty[name].unit == result[name].unit
    assert empty["teff_draws"].shape == (0, DRAWS)
    assert read_table(path).colnames == empty.colnames


@pytest.mark.parametrize(("unit", "factor"), [("m/s", 1000.0), ("km/s", 1.0)])
def test_velocities_may_be_in_another_unit(posterior, few, result, unit, factor):
    table = few.copy()
    for name in ("rv_a", "e_rv_a"):
        table[name] = table[name] * factor
        table[name].unit = unit
    out = bt.translate(posterior, table, progress=False)
    assert out["rv_mean"].unit == u.km / u.s
    for name in NUMBERS:
        np.testing.assert_allclose(out[name], result[name][:40], rtol=1e-5, atol=1e-6)
    assert out["flags"].tolist() == result["flags"][:40].tolist()


# ---- draws ------------------------------------------------------------------------------


def test_draws_are_added_as_vectors_and_are_those_of_predict(posterior, catalogue, result):
    some = catalogue[:40]
    out = bt.translate(posterior, some, draws=DRAWS, seed=5, progress=False)
    assert out.colnames == [*COLUMNS, *(f"{name}_draws" for name in OUTPUTS)]
    assert_same(out[COLUMNS], result[:40])
    sample = posterior.predict(*inputs(posterior, some), kind="true", draws=DRAWS, seed=5)
    for k, name in enumerate(OUTPUTS):
        assert out[f"{name}_draws"].shape == (40, DRAWS)
        assert out[f"{name}_draws"].unit == UNITS.get(name)
        np.testing.assert_array_equal(out[f"{name}_draws"], sample[:, :, k].T)


def test_draws_depend_on_the_seed(posterior, catalogue):
    first, second = (
        bt.translate(posterior, catalogue[:3], draws=DRAWS, seed=seed, progress=False)
        for seed in (1, 2)
    )
    assert (first["teff_draws"] != second["teff_draws"]).all()


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
    with pytest.raises(bt.CatalogueError, match="the file exists; give --overwrite"):
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


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("column", ["fe_h_a", "e_fe_h_a"])
def test_a_missing_column_is_refused_with_the_nearest_name(posterior, catalogue, tmp_path, column):
    table = catalogue.copy()
    table.rename_column(column, f"{column}b")
    with pytest.raises(bt.CatalogueError, match=f"'{column}'; the nearest are {column}b"):
        bt.translate(posterior, table, tmp_path / "b.csv", progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("draws", [201, -1])
def test_draws_that_the_model_does_not_hold_are_refused(posterior, catalogue, draws):
    with pytest.raises(ValueError, match=f"{draws} draws asked; the model holds 200"):
        bt.translate(posterior, catalogue, draws=draws, progress=False)


def test_the_input_table_is_left_alone(posterior, catalogue):
    table = catalogue[:10].copy()
    before = table.copy()
    bt.translate(posterior, table, draws=DRAWS, progress=False)
    assert_same(table, before)
    assert table.meta == before.meta
