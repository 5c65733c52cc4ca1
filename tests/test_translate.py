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
from astropy.table import Table
from scipy import stats
from translated import DRAWS, OUTPUTS, PARTS, assert_same, inputs

import bayestrans as bt
from bayestrans import answers as engine
from bayestrans.tables import digest, read_table, write_table

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
    assert result["mg_fe_mean"].meta["ucd"] == "phys.abund;meta.modelled"
    assert "ucd" not in result["corr_teff_logg"].meta


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
    # Binaries are outliers, far wider than the rest: a sample's sd is then useless as an
    # oracle, and the law of total variance serves instead.
    block = posterior.blocks[1]
    _, mixture = next(posterior.mixtures(block, *inputs(posterior, catalogue[:60])))
    location, scale, dof, odds, width = (
        np.asarray(a, dtype=float) for a in (mixture.location, mixture.scale, *mixture.tails)
    )
    variance = stats.t.var(dof) * (1 + odds * width**2) / (1 + odds)
    within = np.mean(variance[:, None] * scale[:, 0, :60] ** 2, axis=0)
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
    # one elliptical law, and near it for the mixture, less so where its draws lie apart.
    apart = [
        result[f"corr_{a}_{b}"][n]
        - np.sin(np.pi / 2 * stats.kendalltau(many[:, n, i], many[:, n, j]).statistic)
        for (i, a), (j, b) in combinations(enumerate(OUTPUTS[:4]), 2)
        for n in range(0, 60, 12)
    ]
    assert np.quantile(np.abs(apart), 0.9) < 0.08
    assert np.max(np.abs(apart)) < 0.12


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
