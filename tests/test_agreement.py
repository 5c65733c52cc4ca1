"""Surveys of a plan that do not fit together are refused, or told."""

from __future__ import annotations

import dataclasses
import logging

import linear
import numpy as np
import pytest
from three_surveys import BASE_COLUMNS, OWN, STARS, plan_of, tables

import bayestrans as bt
from bayestrans.homogenise import homogenise


@pytest.fixture(scope="module")
def stars() -> linear.Sky:
    return linear.sky(STARS, 11, OWN)


@pytest.fixture(scope="module")
def models() -> dict[str, bt.Posterior]:
    return {name: linear.model(name, own=OWN) for name in "abc"}


def test_surveys_on_one_scale_are_told_so(stars, models, caplog):
    with caplog.at_level(logging.INFO, logger="bayestrans"):
        homogenise(plan_of(tables(stars), models), progress=False)
    (line,) = [r.getMessage() for r in caplog.records if "b - base" in r.getMessage()]
    assert line.startswith("b - base, median of 100 stars: teff ")
    assert "sigma), logg" in line


def test_a_survey_of_another_scale_is_told(stars, models):
    given = tables(stars)
    given["base"]["logg_b0"] += 0.3
    with pytest.warns(bt.PlanWarning, match=r"not on one scale: a - base, logg -0\.[23]\d+ \(-"):
        homogenise(plan_of(given, models), progress=False)


def test_one_catalogue_cannot_count_twice(stars, models):
    given = tables(stars)
    plan = plan_of(given, models)
    again = bt.Member("zz", given["base"].copy(), "source_id", columns=BASE_COLUMNS)
    with pytest.raises(bt.PlanError, match="'base' and 'zz' are one catalogue with one meaning"):
        homogenise(dataclasses.replace(plan, surveys=(*plan.surveys, again)), progress=False)
    again = bt.Member("zz", given["a"], "source_id", models["a"])
    with pytest.raises(bt.PlanError, match="'a' and 'zz' are one catalogue"):
        homogenise(dataclasses.replace(plan, surveys=(*plan.surveys, again)), progress=False)


def test_identifiers_of_other_stars_or_releases_are_told(stars, models, caplog):
    given = {name: tables(stars)[name][:200] for name in ("a", "base")}
    given["base"]["source_id"] = np.arange(1, 201)
    homogenise(plan_of(given, models), progress=False)
    assert "a, base: no star is in another survey too" in caplog.text
    of = {"a": "Gaia DR2", "b": "Gaia DR3"}
    dated = {
        name: dataclasses.replace(
            models[name],
            spec=dataclasses.replace(models[name].spec, id="source_id", id_release=release),
        )
        for name, release in of.items()
    }
    given = {name: tables(stars)[name][:200] for name in "ab"}
    with pytest.warns(bt.PlanWarning, match="a: Gaia DR2, b: Gaia DR3"):
        homogenise(plan_of(given, dated), progress=False)


def test_sentinels_of_a_survey_on_the_base_are_missing(stars, models):
    given = tables(stars)
    given["base"]["teff_b0"][:3] = -5555.0
    plan = plan_of(given, models)
    named = tuple(
        dataclasses.replace(one, sentinels=(-5555.0,)) if one.name == "base" else one
        for one in plan.surveys
    )
    merged = homogenise(dataclasses.replace(plan, surveys=named), progress=False)
    first = np.isin(merged["row_base"], [0, 1, 2])
    alone = first & np.array(merged["surveys"] == "base")
    assert np.isnan(np.asarray(merged["teff_mean"])[alone]).all()
    assert (np.asarray(merged["teff_mean"])[first & ~alone] > 1000).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sentinels": [1.0], "model": "m.nc"}, "has a model, which needs no sentinels"),
        ({"sentinels": "x"}, "sentinels = 'x' must be a list of numbers"),
        ({"columns": {"teff": {"column": "t", "error": "t"}}}, "teff and its error are one column"),
    ],
)
def test_faults_of_the_plan_are_refused(change, said):
    columns = {"columns": {"teff": {"column": "t", "error": "e"}}}
    one = {"catalogue": "a.csv", "id": "i", **({} if "model" in change else columns), **change}
    with pytest.raises(bt.PlanError, match=said):
        bt.Plan.from_dict({"survey": {"a": one}})


def test_a_catalogue_that_is_not_there_is_said_before_another_is_read(stars, models, tmp_path):
    plan = plan_of(tables(stars), models)
    last = bt.Member("zz", tmp_path / "none.csv", "source_id", models["a"])
    with pytest.raises(bt.CatalogueError, match="there is no such file"):
        homogenise(dataclasses.replace(plan, surveys=(*plan.surveys, last)), progress=False)
