"""Merged catalogues: closed forms, known truth, and what surveys do to one another's stars."""

from __future__ import annotations

import dataclasses
import importlib
import json

import linear
import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table
from scipy import stats
from three_surveys import BASE_COLUMNS, OWN, STARS, plan_of, small, tables

import bayestrans as bt
from bayestrans.homogenise import homogenise
from bayestrans.keep import read_kept
from bayestrans.merge import from_model, population_of
from bayestrans.merged import own_names
from bayestrans.plan import Member
from bayestrans.tables import digest, read_table, write_table

NUMBERS = [f"{n}_{part}" for n in linear.NAMES for part in ("mean", "sd", "p16", "p50", "p84")]


# ---- three surveys and the base ---------------------------------------------------------


@pytest.fixture(scope="module")
def models() -> dict[str, bt.Posterior]:
    return {name: linear.model(name, own=OWN) for name in "abc"}


@pytest.fixture(scope="module")
def stars() -> linear.Sky:
    return linear.sky(STARS, 11, OWN)


@pytest.fixture(scope="module")
def merged(stars, models) -> Table:
    return homogenise(plan_of(tables(stars), models), progress=False)


def row_of(table: Table, stars: linear.Sky, number: int) -> Table.Row:
    return table[table["source_id"] == stars.ids[number]][0]


def test_the_population_is_that_of_the_training_stars(models):
    found = population_of([*models.values()], linear.NAMES)
    # 3,000 stars, the same of all models: a standard error of 2 % of a standard deviation.
    assert np.abs((found.mean - linear.MEAN) / linear.SD).max() < 0.06
    ratio = found.covariance / np.outer(linear.SD, linear.SD) - linear.CORR
    assert np.abs(ratio).max() < 0.1


def test_errors_that_were_quoted_too_large_are_taken_out_of_the_population_as_they_are(models):
    """What they add to the spread of the training stars is less by the square of the factor."""
    (block,) = models["a"].blocks
    half = {"error_factor": np.full(block.draws["log_scatter"].shape, 0.5, np.float32)}
    blocks = (block._replace(draws=block.draws | half),)
    spreads = {}
    for factor in ("one", "below one"):
        noise = dataclasses.replace(models["a"].noise, error_factor=factor)
        model = dataclasses.replace(models["a"], blocks=blocks, noise=noise)
        spreads[factor] = np.diag(population_of([model], linear.NAMES).covariance)
    usual = models["a"].scaler.usual_err
    assert (usual > 0).all()
    np.testing.assert_allclose(spreads["below one"] - spreads["one"], 0.75 * usual**2, rtol=1e-6)


def test_every_star_of_any_survey_has_a_row_with_where_it_came_from(merged, stars):
    covered = np.r_[np.arange(2600), np.arange(2900, 3000)]
    assert merged["source_id"].tolist() == stars.ids[covered].tolist()
    assert merged["source_id"].dtype == np.int64
    want = {0: "a+c", 1050: "a+b+base+c", 1499: "a+b+c", 1500: "b+c", 2550: "c", 2950: "base"}
    for number, text in want.items():
        row = row_of(merged, stars, number)
        assert row["surveys"] == text
        assert row["n_surveys"] == text.count("+") + 1
        assert np.isnan(row["agreement"]) == ("+" not in text)
    given = tables(stars)
    for name, table in given.items():
        has = merged[f"row_{name}"] >= 0
        assert (merged[f"n_rows_{name}"][~has] == 0).all()
        assert (table["source_id"][merged[f"row_{name}"][has]] == merged["source_id"][has]).all()
    assert (merged["flags"] & 64 == 0).all()


def test_intervals_of_combined_stars_cover_the_truth(merged, stars):
    several = merged[(merged["n_surveys"] > 1) & (merged["flags"] & 32 == 0)]
    number = np.searchsorted(stars.ids, several["source_id"])
    for k, name in enumerate(linear.NAMES):
        z = (several[f"{name}_mean"] - stars.truth[number, k]) / several[f"{name}_sd"]
        for width, share in ((1.0, 0.6827), (1.96, 0.95)):
            error = np.sqrt(share * (1 - share) / len(z))
            assert abs(np.mean(np.abs(z) < width) - share) < 3.5 * error
        assert abs(z.mean()) < 4 / np.sqrt(len(z))
        inside = (several[f"{name}_p16"] < stars.truth[number, k]) & (
            stars.truth[number, k] < several[f"{name}_p84"]
        )
        assert abs(inside.mean() - 0.68) < 0.035


def test_errors_that_all_surveys_share_are_learned_and_matter(merged, stars, models):
    shared = json.loads(merged.meta["BTCONF"])["shared"]
    assert all(0.2 < shared[name] < 0.8 for name in linear.NAMES)
    naive = homogenise(plan_of(tables(stars), models, shared=0.0), progress=False)
    chosen = np.array(naive["surveys"] == "a+b+c")
    truth = stars.truth[np.searchsorted(stars.ids, naive["source_id"][chosen])]
    z = (naive["teff_mean"][chosen] - truth[:, 0]) / naive["teff_sd"][chosen]
    assert np.mean(np.abs(z) < 1) < 0.62


def test_combined_errors_are_below_those_of_each_survey(merged, stars, models):
    for name in "abc":
        alone = bt.translate(models[name], tables(stars)[name], progress=False)
        both = merged[(merged[f"row_{name}"] >= 0) & (merged["n_surveys"] > 1)]
        both = both[both["flags"] & 32 == 0]
        for quantity in linear.NAMES:
            own = alone[f"{quantity}_sd"][both[f"row_{name}"]]
            assert (both[f"{quantity}_sd"] < own).all()


def test_a_star_of_one_survey_keeps_its_own_numbers(merged, stars, models):
    alone = bt.translate(models["c"], tables(stars)["c"], progress=False)
    only = merged[np.array(merged["surveys"] == "c")]
    assert len(only) == 100
    for column in [*NUMBERS, "teff_sd_model", "support", "support_class"]:
        np.testing.assert_array_equal(only[column], alone[column][only["row_c"]])
    np.testing.assert_allclose(
        only["corr_teff_logg"], alone["corr_teff_logg"][only["row_c"]], atol=1e-5
    )
    base = merged[np.array(merged["surveys"] == "base")]
    assert (base["support_class"] == "measured").all()
    assert np.isnan(base["support"]).all()
    measured = tables(stars)["base"][base["row_base"]]
    np.testing.assert_array_equal(base["teff_mean"], measured["teff_b0"].astype(np.float32))
    np.testing.assert_allclose(base["logg_sd"], linear.BASE_ERROR[1], rtol=1e-6)


def test_the_order_of_rows_and_surveys_changes_nothing(merged, stars, models):
    rng = np.random.default_rng(9)
    given = {n: t[rng.permutation(len(t))] for n, t in reversed(tables(stars).items())}
    found = homogenise(plan_of(given, models), progress=False)
    for column in merged.colnames:
        if not column.startswith("row_"):
            np.testing.assert_array_equal(found[column], merged[column], column)


def test_provenance_names_every_catalogue_and_model(merged, stars, models):
    given = tables(stars)
    for s, name in enumerate(("a", "b", "base", "c"), start=1):
        said = json.loads(merged.meta[f"BTSRV{s}"])
        assert said["survey"] == name
        assert said["catalogue"] == digest(given[name])
        assert said["rows"] == len(given[name])
        if name in models:
            assert (said["model"], said["seed"]) == (models[name].digest, 5)
    assert merged["teff_mean"].unit == "K"
    assert all(text.isascii() for text in merged.meta.values())


# ---- disagreement ------------------------------------------------------------------------


def test_stars_shifted_by_hand_are_found_and_widened(stars, models):
    few = {name: table[:] for name, table in tables(stars).items() if name in "abc"}
    bad = few["c"]["source_id"] % 50 == 0
    few["c"]["teff_c"][bad] += 1500.0
    found = homogenise(plan_of(few, models), progress=False)
    several = found[found["n_surveys"] > 1]
    shifted = several["source_id"] % 50 == 0
    flagged = several["flags"] & 32 > 0
    assert shifted.sum() > 40
    assert flagged[shifted].mean() > 0.95
    assert (flagged == (several["agreement"] < 0.001)).all()
    # At most as many of the others as one in a thousand may by chance.
    assert flagged[~shifted].sum() <= stats.binom.ppf(0.9999, (~shifted).sum(), 0.001)
    number = np.searchsorted(stars.ids, several["source_id"])
    z = (several["teff_mean"] - stars.truth[number, 0]) / several["teff_sd"]
    assert np.abs(z[shifted & flagged]).max() < 3
    assert np.median(several["teff_sd"][shifted & flagged]) > 3 * np.median(several["teff_sd"])


# ---- rows that are not as they should be --------------------------------------------------


@pytest.fixture
def few(stars) -> dict[str, Table]:
    return small(stars, [0, 1, 2, 3])


def merge(given: dict[str, Table], models: dict[str, bt.Posterior], **changed) -> Table:
    return homogenise(plan_of(given, models, **{"shared": 0.3, **changed}), progress=False)


def test_a_survey_counts_by_its_networks_spread_where_that_exceeds_the_core(few, models):
    """There a part of the draws doubts the network, which the quantiles tell little of."""
    member = plan_of(few, models).surveys[0]
    table = bt.translate(models["a"], few["a"], progress=False)
    outputs = models["a"].spec.outputs
    core = from_model(member, table, outputs).core
    wide = np.arange(len(table)) < 2
    table["logg_sd_model"] = np.where(wide, 3.0 * core[:, 1], table["logg_sd_model"])
    found = from_model(member, table, outputs).core
    np.testing.assert_allclose(found[:, 1], np.where(wide, 3.0, 1.0) * core[:, 1], rtol=1e-6)
    np.testing.assert_array_equal(found[:, [0, 2]], core[:, [0, 2]])


def test_identifiers_are_exact_beyond_floats(few, models):
    few["a"]["source_id"] = np.array([2**53, 2**53 + 1, 2**53 + 2, 2**62 + 1])
    few["b"]["source_id"] = np.array([2**53 + 1, 2**53 + 3, 2**53, 2**62 + 3])
    del few["base"]
    found = merge(few, models)
    want = [2**53, 2**53 + 1, 2**53 + 2, 2**53 + 3, 2**62 + 1, 2**62 + 3]
    assert found["source_id"].tolist() == want
    assert found["surveys"].tolist() == ["a+b", "a+b", "a", "b", "a", "b"]


def test_a_row_without_an_identifier_is_a_star_by_itself(few, models):
    few["a"]["source_id"] = np.array([0, 0, -9999, 7])
    few["b"]["source_id"] = MaskedColumn([5, 6, 7, 8], mask=[True, True, False, False])
    del few["base"]
    found = merge(few, models)
    assert found["source_id"].filled(-1).tolist() == [7, 8, -1, -1, -1, -1, -1]
    assert found["surveys"].tolist() == ["a+b", "b", "a", "a", "a", "b", "b"]
    assert (found["flags"] & 64 == 0).all()


def test_text_is_an_identifier_too(few, models, tmp_path):
    for name, words in (("a", ["x", "y", "", "z"]), ("b", ["z", "", "x", "w"])):
        few[name]["source_id"] = words
    found = merge({n: few[n] for n in "ab"}, models, out=tmp_path / "m.parquet")
    assert found["source_id"].filled("-").tolist() == ["w", "x", "y", "z", "-", "-"]
    assert read_table(tmp_path / "m.parquet")["surveys"].tolist() == found["surveys"].tolist()
    with pytest.raises(bt.PlanError, match=r"different kinds .a: text, b: text, base: numbers."):
        merge(few, models)


def test_of_several_rows_of_a_star_the_best_is_taken_and_all_are_counted(few, models):
    few["base"] = few["base"][[0, 1, 1, 2, 3, 3]]
    few["base"]["e_logg_b0"][1] = 0.2  # the second row of the star is narrower
    few["base"]["logg_b0"][5] = np.nan  # the second row of the star has less
    found = merge(few, models)
    assert found["n_rows_base"].tolist() == [1, 2, 1, 2]
    assert found["row_base"].tolist() == [0, 2, 3, 4]
    assert (found["flags"] & 64 > 0).tolist() == [False, True, False, True]
    again = merge({**few, "base": few["base"][[0, 2, 3, 4]]}, models)
    for column in NUMBERS:
        np.testing.assert_array_equal(found[column], again[column])


def test_a_row_without_an_answer_leaves_the_star_to_the_others(few, models):
    for name in linear.NAMES:
        few["a"][f"{name}_a"][1] = np.nan
        for survey, end in (("a", "a"), ("b", "b"), ("base", "b0")):
            few[survey][f"{name}_{end}"][2] = np.nan
    few["base"]["teff_b0"][3] = np.nan
    few["base"]["e_logg_b0"][3] = np.nan
    found = merge(few, models)
    assert found["surveys"].tolist() == ["a+b+base", "b+base", "", "a+b+base"]
    assert found["flags"].tolist() == [0, 0, 16, 2]
    assert np.isnan(found["teff_mean"][2])
    assert found["row_a"][1] == 1  # where the star is, also without an answer
    whole = merge({n: t for n, t in few.items() if n != "base"}, models)
    assert found["teff_sd"][0] < found["teff_sd"][3] <= whole["teff_sd"][3]


@pytest.mark.slow  # completions are compiled by themselves
def test_a_gap_is_integrated_over_and_flagged(few, models):
    few["a"]["teff_a"][0] = np.nan
    given = {n: few[n] for n in "ab"}
    found, whole = merge(given, models), merge(small_without_gap(few), models)
    assert found["flags"].tolist() == [1, 0, 0, 0]
    assert whole["teff_sd"][0] < found["teff_sd"][0]
    assert found["surveys"].tolist() == ["a+b"] * 4


def small_without_gap(few: dict[str, Table]) -> dict[str, Table]:
    whole = few["a"].copy()
    whole["teff_a"][0] = whole["teff_a"][1]
    return {"a": whole, "b": few["b"]}


def test_an_output_that_one_survey_lacks_comes_from_the_others(few, models):
    columns = BASE_COLUMNS[:1]
    plan = plan_of(few, models, shared=0.3)
    members = [dataclasses.replace(m, columns=columns) if m.columns else m for m in plan.surveys]
    found = homogenise(dataclasses.replace(plan, surveys=tuple(members)), progress=False)
    every = merge(few, models)
    assert (found["logg_sd"] > 2 * every["logg_sd"]).all()
    np.testing.assert_allclose(found["teff_sd"], every["teff_sd"], rtol=0.02)


def test_the_bases_errors_are_taken_as_quoted_whatever_the_models_made_of_them(few, models, caplog):
    only = {"base": few["base"], "a": few["a"][:0]}
    (block,) = models["a"].blocks
    lead = block.draws["log_scatter"].shape
    draws = {**block.draws, "error_factor": np.full(lead, 1.5, np.float32)}
    noise = dataclasses.replace(models["a"].noise, error_factor="free")
    wider = dataclasses.replace(models["a"], blocks=(block._replace(draws=draws),), noise=noise)
    with caplog.at_level("INFO", "bayestrans"):
        np.testing.assert_allclose(merge(only, {"a": wider})["teff_sd"], 20.0, rtol=1e-6)
    assert "base: quoted errors are taken times 1 (error_factor)" in caplog.text
    assert "teff 1.50 +- 0.00 (a)" in caplog.text
    plan = plan_of(only, models)
    surveys = tuple(
        dataclasses.replace(m, error_factor=2.0) if m.columns else m for m in plan.surveys
    )
    found = homogenise(dataclasses.replace(plan, surveys=surveys), progress=False)
    np.testing.assert_allclose(found["teff_sd"], 40.0, rtol=1e-6)


# ---- columns that are kept --------------------------------------------------------------


def with_places(few: dict[str, Table]) -> dict[str, Table]:
    """Return the surveys with a place, a field's name and a count that tell the survey."""
    found = {}
    for number, (name, table) in enumerate(few.items()):
        place = (np.asarray(table["source_id"]) % 360).astype(float) + number * 1e-3
        found[name] = table.copy()
        found[name][f"ra_{name}"] = u.Quantity(place, "deg")
        found[name]["field"] = [f"{name}-{i}" for i in range(len(table))]
        found[name]["visits"] = np.arange(len(table)) + 2**60
        found[name]["exposure"] = u.Quantity(np.ones(len(table)), "s")
    return found


def keeping(given, models, **keep) -> bt.Plan:
    plan = plan_of(given, models)
    members = (dataclasses.replace(one, keep=keep.get(one.name, {})) for one in plan.surveys)
    return dataclasses.replace(plan, surveys=tuple(members))


@pytest.mark.parametrize("suffix", [".fits", ".parquet"])
def test_an_element_of_a_vector_is_kept_from_a_file_and_a_slip_told_with_its_names(
    suffix, tmp_path
):
    write_table(Table({"ID": [1, 2], "FPARAM": [[1.0, 2.0], [3.0, 4.0]]}), tmp_path / f"a{suffix}")
    column = bt.Input("teff", "teff", "e_teff", "K")
    one = Member("a", tmp_path / f"a{suffix}", "ID", columns=(column,), keep={"t": "fparam[1]"})
    (kept,) = read_kept([one], ())
    assert kept.parts[0][0].tolist() == [2.0, 4.0]
    write_table(Table({"ID": [1, 2], "FPARAM[1]": [5.0, 6.0]}), tmp_path / f"b{suffix}")
    (kept,) = read_kept([dataclasses.replace(one, catalogue=tmp_path / f"b{suffix}")], ())
    assert kept.parts[0][0].tolist() == [5.0, 6.0]
    slip = dataclasses.replace(one, keep={"t": "FPARM"})
    with pytest.raises(bt.CatalogueError, match="no column 'FPARM'; the nearest are FPARAM"):
        read_kept([slip], ())


@pytest.mark.parametrize("draws", [0, 2])
def test_names_of_the_columns_are_known_before_there_are_any(few, models, draws):
    plan = plan_of(few, models)
    found = homogenise(plan, draws=draws, progress=False)
    outputs = models["a"].spec.outputs
    names = [one.name for one in plan.surveys]
    assert set(found.colnames) == own_names(outputs, names, plan.id, draws=draws > 0)


def test_kept_columns_come_from_the_base_else_by_name(merged, stars, models):
    given = with_places(tables(stars))
    given["base"]["ra_base"] = given["base"]["ra_base"].quantity.to("rad")
    given["base"]["ra_base"][3] = np.nan
    keep = {name: {"ra": f"ra_{name}"} for name in given}
    keep["a"] |= {"field": "field", "n": "visits"}
    found = homogenise(keeping(given, models, **keep), progress=False)
    assert found.colnames == [*merged.colnames, "ra", "field", "n"]
    assert all(np.array_equal(found[c], merged[c]) for c in ("teff_mean", "surveys"))
    assert found["ra"].unit == u.rad  # that of the base, which comes first
    names = ["base", *sorted(models)]
    sources = set()
    for row in found[::10]:
        having = [n for n in names if row[f"row_{n}"] >= 0]
        having = [n for n in having if not (n == "base" and row["row_base"] == 3)]
        if having:
            sources.add(having[0])
            want = given[having[0]][f"ra_{having[0]}"].quantity[row[f"row_{having[0]}"]]
            assert row["ra"] == pytest.approx(want.to_value("rad"), rel=1e-12)
        else:
            assert np.isnan(row["ra"])
        if row["row_a"] >= 0:
            assert (row["field"], row["n"]) == (f"a-{row['row_a']}", row["row_a"] + 2**60)
        else:
            assert row["field"] is np.ma.masked
            assert row["n"] is np.ma.masked
    assert {"base", "a", "b"} <= sources


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        ({"a": {"ra": "right"}}, "there is no column 'right'"),
        (
            {"a": {"flags": "visits"}},
            "keep flags: the merged catalogue has a column of that name itself",
        ),
        ({"b": {"row_a": "visits"}}, "keep row_a: the merged catalogue has a column of that name"),
        ({"a": {"v": "visits"}, "b": {"v": "field"}}, "keep v: .* different kinds of values"),
        ({"a": {"v": "ra_a"}, "b": {"v": "exposure"}}, "keep v: 's' and 'deg' do not convert"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_long_work(few, models, keep, words, monkeypatch):
    monkeypatch.setattr(importlib.import_module("bayestrans.homogenise"), "translate", None)
    with pytest.raises(ValueError, match=words):
        homogenise(keeping(with_places(few), models, **keep), progress=False)
