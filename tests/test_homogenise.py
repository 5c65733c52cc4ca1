"""Merged catalogues: closed forms, known truth, and what surveys do to one another's stars."""

from __future__ import annotations

import dataclasses
import json

import linear
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from scipy import stats

import bayestrans as bt
from bayestrans import cli, files
from bayestrans.combine import Evidence, Population, combine, learned_shared
from bayestrans.homogenise import homogenise
from bayestrans.merge import population_of
from bayestrans.tables import digest, read_table, write_table

OWN = 0.2  # the base's own scatter, in units of the population's spread
STARS = 3000
NUMBERS = [f"{n}_{part}" for n in linear.NAMES for part in ("mean", "sd", "p16", "p50", "p84")]


# ---- the law ---------------------------------------------------------------------------


def conditioned(design: np.ndarray, noise: np.ndarray, seen: np.ndarray) -> tuple:
    """Return mean and covariance of y given ``seen`` = design y + noise, from the joint law."""
    across = linear.POPULATION @ design.T
    slope = across @ np.linalg.inv(design @ across + noise)
    mean = linear.MEAN + (seen - linear.MEAN @ design.T) @ slope.T
    return mean, linear.POPULATION - slope @ across.T


def stacked(*cells: np.ndarray) -> np.ndarray:
    """Return a matrix with these blocks along its diagonal."""
    size = sum(map(len, cells))
    result, at = np.zeros((size, size)), 0
    for cell in cells:
        result[at : at + len(cell), at : at + len(cell)] = cell
        at += len(cell)
    return result


def evidence_of(noises: list[np.ndarray], seen: list[np.ndarray], parts: list[list[int]]) -> tuple:
    """Return posteriors of each survey by itself (N, S, 3) with the outputs that it has."""
    count = len(seen[0])
    mean = np.full((count, len(noises), 3), np.nan)
    covariance = np.tile(np.eye(3), (count, len(noises), 1, 1))
    for s, (noise, values, part) in enumerate(zip(noises, seen, parts, strict=True)):
        found, own = conditioned(np.eye(3)[part], noise, values)
        mean[:, s, part] = found[:, part]
        covariance[:, s, np.array(part)[:, None], part] = own[np.ix_(part, part)]
    return mean, covariance


NOTHING = np.zeros((40, 0, 3))
POPULATION = Population(linear.MEAN, linear.POPULATION)
SHARE_NOTHING = np.zeros(3)


@pytest.mark.parametrize("parts", [[[0, 1, 2], [0, 1, 2]], [[0, 1, 2], [0, 2]], [[1], [0, 2]]])
@pytest.mark.parametrize("with_base", [False, True])
def test_combination_is_the_posterior_given_all_measurements(parts, with_base):
    """The oracle conditions the joint normal law of parameters and all measurements."""
    rng = np.random.default_rng(3)
    truth = rng.multivariate_normal(linear.MEAN, linear.POPULATION, 40)
    noises = [linear.noise_of(n)[np.ix_(p, p)] for n, p in zip("ab", parts, strict=True)]
    seen = [
        truth[:, p] + rng.multivariate_normal(np.zeros(len(p)), noise, 40)
        for p, noise in zip(parts, noises, strict=True)
    ]
    base = truth + linear.BASE_ERROR * rng.normal(size=truth.shape)
    base[:, 1] = np.nan
    measured, error = NOTHING, NOTHING
    design = np.concatenate([np.eye(3)[p] for p in parts])
    cells, values = list(noises), [*seen]
    if with_base:
        measured, error = base[:, None], np.broadcast_to(linear.BASE_ERROR, (40, 1, 3))
        design = np.concatenate([design, np.eye(3)[[0, 2]]])
        cells.append(np.diag(linear.BASE_ERROR[[0, 2]] ** 2))
        values.append(base[:, [0, 2]])
    want, covariance = conditioned(design, stacked(*cells), np.concatenate(values, axis=1))
    given = Evidence(*evidence_of(noises, seen, parts), measured, error)
    found = combine(given, POPULATION, SHARE_NOTHING)
    np.testing.assert_allclose(found.mean, want, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.covariance, np.broadcast_to(covariance, (40, 3, 3)), rtol=1e-8)


def test_what_all_translations_miss_is_not_averaged_away():
    """The oracle is the joint law of y = s + t: surveys see s, the base measures y."""
    rng = np.random.default_rng(4)
    own = 0.1 * linear.POPULATION
    inner = linear.POPULATION - own
    noises = [0.2 * linear.POPULATION, 0.5 * linear.POPULATION]
    star = rng.multivariate_normal(linear.MEAN, inner, 40)
    truth = star + rng.multivariate_normal(np.zeros(3), own, 40)
    seen = [star + rng.multivariate_normal(np.zeros(3), noise, 40) for noise in noises]
    base = truth + linear.BASE_ERROR * rng.normal(size=truth.shape)
    # Of y and both surveys, from which each posterior and the joint one follow.
    quoted = np.diag(linear.BASE_ERROR**2)
    across = np.concatenate([inner, inner, linear.POPULATION], axis=1)
    joint = np.block(
        [
            [inner + noises[0], inner, inner],
            [inner, inner + noises[1], inner],
            [inner, inner, linear.POPULATION + quoted],
        ]
    )
    slope = across @ np.linalg.inv(joint)
    values = np.concatenate([*seen, base], axis=1) - np.tile(linear.MEAN, 3)
    want, covariance = linear.MEAN + values @ slope.T, linear.POPULATION - slope @ across.T
    each = [inner @ np.linalg.inv(inner + noise) for noise in noises]
    mean = np.stack(
        [linear.MEAN + (x - linear.MEAN) @ g.T for x, g in zip(seen, each, strict=True)], axis=1
    )
    single = np.stack([linear.POPULATION - gain @ inner for gain in each])
    given = Evidence(
        mean,
        np.tile(single, (40, 1, 1, 1)),
        base[:, None],
        np.broadcast_to(linear.BASE_ERROR, (40, 1, 3)),
    )
    shared = np.full(3, own[0, 0] / single[0, 0, 0])
    found = combine(given, POPULATION, shared)
    np.testing.assert_allclose(found.mean, want, rtol=1e-9)
    np.testing.assert_allclose(found.covariance, np.broadcast_to(covariance, (40, 3, 3)), rtol=1e-8)
    # Without the base, two surveys that were taken for independent would claim too much.
    given = given._replace(measured=NOTHING, error=NOTHING)
    honest, naive = (combine(given, POPULATION, phi).covariance for phi in (shared, SHARE_NOTHING))
    want = (0.1 + 1 / (1 / 0.9 + 1 / 0.2 + 1 / 0.5)) * linear.POPULATION
    np.testing.assert_allclose(honest, np.broadcast_to(want, honest.shape), rtol=1e-9)
    assert (naive.diagonal(axis1=1, axis2=2) < 0.9 * want.diagonal()).all()


def test_whatever_is_combined_is_never_wider_than_its_narrowest_part():
    """Also where posteriors are wider than the population, as outside the training stars."""
    rng = np.random.default_rng(5)
    root = (
        rng.normal(size=(300, 3, 3, 3)) * linear.SD[:, None] * 10 ** rng.uniform(-2, 1, (3, 1, 1))
    )
    covariance = root @ np.swapaxes(root, 2, 3) + 1e-4 * np.diag(linear.SD**2)
    mean = linear.MEAN + 10 * linear.SD * rng.normal(size=(300, 3, 3))
    nothing = np.zeros((300, 0, 3))
    found = combine(Evidence(mean, covariance, nothing, nothing), POPULATION, SHARE_NOTHING)
    unit = np.outer(linear.SD, linear.SD)
    assert np.linalg.eigvalsh(found.covariance / unit).min() > 0
    narrower = np.linalg.eigvalsh((covariance - found.covariance[:, None]) / unit)
    scale = np.linalg.eigvalsh(covariance / unit).max(axis=-1, keepdims=True)
    assert (narrower / scale).min() > -1e-9
    whatever = combine(Evidence(mean, covariance, nothing, nothing), POPULATION, np.full(3, 0.9))
    assert np.linalg.eigvalsh(whatever.covariance / unit).min() > 0


def test_agreement_of_surveys_that_agree_is_uniform():
    rng = np.random.default_rng(6)
    truth = rng.multivariate_normal(linear.MEAN, linear.POPULATION, 3000)
    noises = [linear.noise_of(name) for name in "abc"]
    seen = [truth + rng.multivariate_normal(np.zeros(3), noise, 3000) for noise in noises]
    base = truth + linear.BASE_ERROR * rng.normal(size=truth.shape)
    mean, covariance = evidence_of(noises, seen, [[0, 1, 2]] * 3)
    mean[:500, 2, 1] = np.nan
    error = np.broadcast_to(linear.BASE_ERROR, (3000, 1, 3))
    found = combine(Evidence(mean, covariance, base[:, None], error), POPULATION, SHARE_NOTHING)
    assert (found.dof[:500] == 8).all()
    assert (found.dof[500:] == 9).all()
    assert stats.kstest(found.agreement, "uniform").pvalue > 0.01
    # One survey has nothing to agree with.
    alone = Evidence(mean[:, :1], covariance[:, :1], base[:, None][:, :0], error[:, :0])
    assert np.isnan(combine(alone, POPULATION, SHARE_NOTHING).agreement).all()


@pytest.mark.parametrize("share", [0.0, 0.4, 0.8])
def test_what_is_shared_is_learned_from_how_little_surveys_differ(share):
    rng = np.random.default_rng(7)
    error = rng.uniform(0.1, 0.3, (40_000, 2))
    own = share * error.min(axis=1) ** 2
    # Far below the population's spread: the posterior is the measurement.
    mean = np.sqrt(error**2 - own[:, None]) * rng.normal(size=error.shape)
    mean += np.sqrt(own)[:, None] * rng.normal(size=(40_000, 1))
    mean[::40] += 5 * rng.normal(size=(1000, 2))  # binaries and wrong matches
    found, pairs = learned_shared(
        mean[:, :, None], error[:, :, None], Population(np.zeros(1), np.array([[1e6]]))
    )
    assert pairs == [40_000]
    assert found[0] == pytest.approx(share, abs=0.06)


def test_few_common_stars_do_not_tell_what_is_shared():
    found, pairs = learned_shared(np.zeros((20, 2, 3)), np.ones((20, 2, 3)), POPULATION)
    assert pairs.tolist() == [20] * 3
    assert found.tolist() == [0.5] * 3


# ---- three surveys and the base ---------------------------------------------------------


@pytest.fixture(scope="module")
def models() -> dict[str, bt.Posterior]:
    return {name: linear.model(name, own=OWN) for name in "abc"}


@pytest.fixture(scope="module")
def stars() -> linear.Sky:
    return linear.sky(STARS, 11, OWN)


def tables(stars: linear.Sky) -> dict[str, Table]:
    """Return the tables of the surveys: each has its own part of the stars."""
    rng = np.random.default_rng(8)
    parts = {"a": np.arange(1500), "b": np.arange(500, 2500), "c": np.arange(2600)}
    parts["base"] = np.arange(1000, 1100).tolist() + np.arange(2900, 3000).tolist()
    found = {}
    for name, rows in parts.items():
        table = Table(linear.columns(stars, name))[rng.permutation(rows)]
        for quantity in table.colnames:
            if "teff" in quantity:
                table[quantity].unit = "K"
        found[name] = table
    return found


BASE_COLUMNS = tuple(
    bt.Input(n, f"{n}_b0", f"e_{n}_b0", u) for n, u in zip(linear.NAMES, linear.UNITS, strict=True)
)


def plan_of(given: dict[str, Table], models: dict[str, bt.Posterior], **changed) -> bt.Plan:
    members = tuple(
        bt.Member(name, table, "source_id", models[name])
        if name in models
        else bt.Member(name, table, "source_id", columns=BASE_COLUMNS)
        for name, table in given.items()
    )
    return bt.Plan(members, **{"id": "source_id", **changed})


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


def small(stars: linear.Sky, rows: list[int]) -> dict[str, Table]:
    return {name: Table(linear.columns(stars, name))[rows] for name in ("a", "b", "base")}


@pytest.fixture
def few(stars) -> dict[str, Table]:
    return small(stars, [0, 1, 2, 3])


def merge(given: dict[str, Table], models: dict[str, bt.Posterior], **changed) -> Table:
    return homogenise(plan_of(given, models, **{"shared": 0.3, **changed}), progress=False)


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


def test_the_bases_errors_are_multiplied_by_what_the_models_found(few, models):
    only = {"base": few["base"], "a": few["a"][:0]}
    np.testing.assert_allclose(merge(only, models)["teff_sd"], 20.0, rtol=1e-6)
    (block,) = models["a"].blocks
    draws = {**block.draws, "error_factor": 1.5 * block.draws["error_factor"]}
    wider = dataclasses.replace(models["a"], blocks=(block._replace(draws=draws),))
    np.testing.assert_allclose(merge(only, {"a": wider})["teff_sd"], 30.0, rtol=1e-6)
    plan = plan_of(only, models)
    surveys = tuple(
        dataclasses.replace(m, error_factor=2.0) if m.columns else m for m in plan.surveys
    )
    found = homogenise(dataclasses.replace(plan, surveys=surveys), progress=False)
    np.testing.assert_allclose(found["teff_sd"], 40.0, rtol=1e-6)


# ---- plans --------------------------------------------------------------------------------

TOML = """
name = "three surveys"
base = "base"
id = "source_id"
out = "merged.fits"
shared = 0.3

[survey.a]
catalogue = "a.parquet"
model = "a.nc"

[survey.base]
catalogue = "base.csv"
error_factor = 1.2
[survey.base.columns.teff]
column = "teff_b0"
error = "e_teff_b0"
unit = "K"
error_floor = 30.0
"""


@pytest.fixture
def folder(few, models, tmp_path):
    """Return a folder with a plan and all that it names."""
    write_table(few["a"], tmp_path / "a.parquet")
    write_table(few["base"], tmp_path / "base.csv")
    models["a"].save(tmp_path / "a.nc")
    (tmp_path / "plan.toml").write_text(TOML)
    return tmp_path


def test_the_command_line_gives_the_numbers_of_the_api(folder, few, models, capsys):
    assert cli.main(["homogenise", str(folder / "plan.toml"), "--quiet"]) == 0
    assert "4 stars" in capsys.readouterr().out
    found = read_table(folder / "merged.fits")
    base = bt.Input("teff", "teff_b0", "e_teff_b0", "K", error_floor=30.0)
    plan = bt.Plan(
        (
            bt.Member("base", few["base"], "source_id", columns=(base,), error_factor=1.2),
            bt.Member("a", few["a"], "source_id", models["a"]),
        ),
        id="source_id",
        shared=0.3,
    )
    want = homogenise(plan, progress=False)
    assert found.colnames == want.colnames
    for name in want.colnames:
        np.testing.assert_array_equal(found[name], want[name], name)
    header = fits.getheader(folder / "merged.fits", 1)
    assert json.loads(header["BTPLAN"]) == "three surveys"
    assert "32: the surveys disagree" in header["BTFLAGS"]
    assert cli.main(["homogenise", str(folder / "plan.toml"), "--quiet"]) == 2
    assert "the file exists" in capsys.readouterr().err
    assert cli.main(["homogenise", str(folder / "plan.toml"), "--quiet", "--overwrite"]) == 0
    out = ["--out", str(folder / "a.parquet"), "--overwrite"]
    assert cli.main(["homogenise", str(folder / "plan.toml"), *out]) == 2
    assert "the output is also an input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("shared = 0.3", "shard = 0.3", "unknown key 'shard' .did you mean 'shared'"),
        ("shared = 0.3", "shared = 1.3", "shared = 1.3 must lie between 0 and 0.95"),
        ("shared = 0.3", 'shared = "much"', "shared = 'much' must be a float"),
        ("shared = 0.3", "[shared]\nvsini = 0.3", r"\[shared\] names 'vsini', which is no output"),
        ("shared = 0.3", "disagree = 0", "disagree = 0 must lie between 0 and 1"),
        ('id = "source_id"', "", r"\[survey.a\] has no id"),
        ('id = "source_id"', 'id = "gaia"', r"a.parquet: there is no column 'gaia'"),
        ('model = "a.nc"', "", "survey 'a' has neither a model nor columns"),
        ("error_factor = 1.2", 'model = "a.nc"', "survey 'base' has a model and columns"),
        ("error_factor = 1.2", "error_factor = -1", "error_factor = -1 must be positive"),
        ('error = "e_teff_b0"', "", r"\[survey.base.columns.teff\] has no error"),
        ("error_floor = 30.0", "floor = 3", "unknown key 'floor' .did you mean 'error_floor'"),
        ("error_floor = 30.0", "error_floor = 0", "error_floor = 0 must be positive"),
        ('unit = "K"', 'unit = "km/s"', "teff is in 'km/s' in survey 'base' and in 'K' in 'a'"),
        ('catalogue = "base.csv"', "catalogue = 3", "catalogue = 3 must be a str"),
        ('catalogue = "base.csv"', "", r"\[survey.base\] has no catalogue"),
        ('"base.csv"', '"none.csv"', "none.csv: there is no such file"),
        ('"a.nc"', '"none.nc"', "none.nc.* does not exist"),
        ("[survey.a]", "[[survey.a]]", r"\[survey\] must hold tables"),
        ("[survey.a]", "[survey.a", "is not valid TOML"),
    ],
)
def test_a_plan_with_a_mistake_is_refused(folder, old, new, words):
    assert old in TOML
    text = TOML.replace(old, new, 1)
    if "[shared]" in new:  # at the end, so that what follows is not taken for a part of it
        text = TOML.replace(old, "", 1) + new
    (folder / "plan.toml").write_text(text)
    with pytest.raises(ValueError, match=words):
        homogenise(folder / "plan.toml", progress=False)
    assert not (folder / "merged.fits").exists()


def test_a_plan_needs_a_survey_and_names_without_the_signs_used(few, models):
    with pytest.raises(bt.PlanError, match="no survey"):
        bt.Plan(())
    with pytest.raises(bt.PlanError, match="use a name without"):
        bt.Member("a+b", few["a"], "source_id", models["a"])
    one = bt.Member("a", few["a"], "source_id", models["a"])
    with pytest.raises(bt.PlanError, match="two surveys are called 'a'"):
        bt.Plan((one, one))
    with pytest.raises(bt.PlanError, match=r"no plan.toml does not exist"):
        bt.Plan.from_toml("no plan.toml")


def test_nothing_is_left_where_writing_is_stopped(folder, monkeypatch):
    before = sorted(folder.iterdir())

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", stop)
    out = str(folder / "merged.parquet")
    assert cli.main(["homogenise", str(folder / "plan.toml"), "--out", out, "--quiet"]) == 130
    assert sorted(folder.iterdir()) == before


def test_surveys_on_the_base_alone_are_weighted_by_their_errors(few):
    other = few["base"].copy()
    for name, error in zip(linear.NAMES, linear.BASE_ERROR, strict=True):
        other[f"e_{name}_b0"] *= 2.0
        other[f"{name}_b0"] += error
    members = [
        bt.Member(name, table, "source_id", columns=BASE_COLUMNS)
        for name, table in (("one", few["base"]), ("two", other))
    ]
    found = homogenise(bt.Plan(tuple(members)), progress=False)
    # Weights of 4 to 1; the difference of one sigma is 1 / (1 + 4) of a chi-square, in 3 outputs.
    np.testing.assert_allclose(found["teff_mean"], few["base"]["teff_b0"] + 4.0, rtol=1e-6)
    np.testing.assert_allclose(found["teff_sd"], 20.0 * np.sqrt(0.8), rtol=1e-6)
    np.testing.assert_allclose(found["agreement"], stats.chi2.sf(0.6, 3), rtol=1e-5)


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
        ({"a": {"flags": "visits"}}, "the merged catalogue has a column of that name itself"),
        ({"a": {"v": "visits"}, "b": {"v": "field"}}, "keep v: .* different kinds of values"),
        ({"a": {"v": "ra_a"}, "b": {"v": "exposure"}}, "keep v: 's' and 'deg' do not convert"),
    ],
)
def test_what_cannot_be_kept_is_refused(few, models, keep, words):
    with pytest.raises(ValueError, match=words):
        homogenise(keeping(with_places(few), models, **keep), progress=False)


def test_a_plan_file_says_what_is_kept(folder):
    text = TOML + '[survey.a.keep]\nteff_of_a = "TEFF_A"\n'
    (folder / "plan.toml").write_text(text)
    found = homogenise(folder / "plan.toml", folder / "merged.fits", progress=False)
    again = Table.read(folder / "merged.fits")
    here = found["row_a"] >= 0
    assert here.any()
    assert np.isfinite(np.asarray(again["teff_of_a"])[here]).all()
    (folder / "plan.toml").write_text(text.replace('"TEFF_A"', "3"))
    with pytest.raises(bt.PlanError, match=r"\[survey.a.keep\]: teff_of_a = 3 must be a str"):
        homogenise(folder / "plan.toml", progress=False)
