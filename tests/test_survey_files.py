"""Surveys that a TOML file describes: as their like in Python, and refused with what to do."""

from __future__ import annotations

import os

import numpy as np
import pytest
from astropy.table import Table

import bayestrans as bt
from bayestrans.cli import main
from bayestrans.survey_files import WANTED
from bayestrans.surveys import RULES, GaiaId, Sky, SurveyError
from bayestrans.tables import Layout

LEAST = """
name = "mine"
id = "star"

[quantity.teff]
column = "t"
"""

FULL = """
name = "mine-dr1"
title = "My survey DR1"
source = "Me et al. 2026"
verified = true
id = "star"
snr = "snr"
sentinels = [-9999.0, 99]
page = "example.org"
notes = "Giants only."

[quantity.teff]
column = "t"
error = ["t16", "t84"]

[quantity.logg]
column = "g"
error = "e_g"
calibration = [0.1, 1]

[cut.snr]
columns = ["snr"]
rule = "above"
wanted = 20.0
description = "weak ones are biased"

[cut.flag]
columns = ["flag"]
rule = "bits clear"
wanted = [2, 23]

[gaia]
column = "source"
release = "DR3"
also = ["gaia"]

[sky]
ra = "ra"
dec = "dec"
epoch = 2016
pm_ra = "pmra"
pm_dec = "pmdec"

[layout]
hdus = ["ONE", "TWO"]
separator = "|"
text = ["flag"]
"""


def write(folder, text: str):
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_the_survey_that_python_would_describe(tmp_path):
    wanted = bt.Survey(
        name="mine-dr1",
        title="My survey DR1",
        source="Me et al. 2026",
        verified=True,
        id="star",
        quantities=(
            bt.Quantity("teff", "t", ("t16", "t84")),
            bt.Quantity("logg", "g", "e_g", (0.1, 1)),
        ),
        cuts=(
            bt.Cut("snr", ("snr",), "above", 20.0, "weak ones are biased"),
            bt.Cut("flag", ("flag",), "bits clear", (2, 23), ""),
        ),
        gaia=GaiaId("source", "DR3", ("gaia",)),
        sky=Sky("ra", "dec", 2016, "pmra", "pmdec"),
        sentinels=(-9999.0, 99),
        snr="snr",
        layout=Layout(("ONE", "TWO"), "|", ("flag",)),
        page="example.org",
        notes="Giants only.",
    )
    assert bt.survey(write(tmp_path, FULL)) == wanted


def test_name_identifier_and_a_quantity_are_enough(tmp_path):
    found = bt.survey(str(write(tmp_path, LEAST)))
    assert (found.name, found.title, found.id, found.verified) == ("mine", "mine", "star", False)
    assert found.quantities == (bt.Quantity("teff", "t"),)
    assert (found.cuts, found.gaia, found.sky, found.layout) == ((), None, None, Layout())


def cut(rule: str, wanted: str) -> str:
    return f'{LEAST}\n[cut.one]\ncolumns = ["c"]\nrule = "{rule}"\nwanted = {wanted}\n'


@pytest.mark.parametrize(
    ("rule", "wanted", "values", "kept"),
    [
        ("equals", "0", [0, 1], [True, False]),
        ("equals", '"ok"', ["ok", "no"], [True, False]),
        ("differs", "true", [True, False], [False, True]),
        ("above", "2", [1.0, 3.0], [False, True]),
        ("below", "2.5", [1.0, 3.0], [True, False]),
        ("bits clear", "[0]", [1, 2], [False, True]),
        ("starts with", '"00"', ["001", "010"], [True, False]),
        ("zero at", "[3]", ["110", "001"], [True, False]),
        ("blank or", '["NIA"]', ["NIA", "BAD"], [True, False]),
    ],
)
def test_every_rule_can_be_written_and_judges(tmp_path, rule, wanted, values, kept):
    (found,) = bt.survey(write(tmp_path, cut(rule, wanted))).cuts
    assert found.keeps(Table({"c": np.array(values)})).tolist() == kept


def test_every_rule_says_what_it_wants():
    assert WANTED.keys() == RULES.keys()


FAULTS = {
    'nam = "mine"\n': r"unknown key 'nam' \(did you mean 'name'\?\)",
    LEAST.replace("name", "title"): r"the top level has no name; give text",
    LEAST.replace('"star"', "3"): r"the top level: id = 3 must be text",
    LEAST.replace('id = "star"', 'id = ""'): r"id = '' must be text",
    LEAST + 'verified = "yes"': r"\[quantity.teff\] has an unknown key 'verified'",
    'verified = "yes"' + LEAST: r"verified = 'yes' must be true or false",
    'sentinels = ["-9999"]' + LEAST: r"sentinels = \['-9999'\] must be a list of numbers",
    "sentinels = [true]" + LEAST: r"sentinels = \[True\] must be a list of numbers",
    'name = "a"\nid = "b"\n': r"there is no quantity; write \[quantity.teff\] with a column",
    'name = "a"\nid = "b"\nquantity = "teff"': r"\[quantity\] must be a table, not 'teff'",
    'name = "a"\nid = "b"\nquantity.teff = "t"': r"\[quantity.teff\] must be a table, not 't'",
    LEAST.replace("quantity.teff", "quantity.Teff"): r"the quantity 'Teff' is not known",
    LEAST.replace('"t"', "5"): r"\[quantity.teff\]: column = 5 must be text",
    LEAST + 'error = ["a"]': r"error = \['a'\] must be text, or a list of two columns",
    cut("over", "2"): r"unknown rule 'over'.*; rules: equals, differs, above",
    cut("above", '"2"'): r"\[cut.one\]: wanted = '2' must be a number for 'above'",
    cut("bits clear", "3"): r"wanted = 3 must be a list of whole numbers for 'bits clear'",
    cut("bits clear", "[70]"): r"the cut 'one': bits clear 70 must be 0 to 62",
    cut("bits clear", "[3, -1]"): r"the cut 'one': bits clear -1 must be 0 to 62",
    cut("zero at", "[0]"): r"the cut 'one': zero at 0 must be 1 to 1000",
    cut("zero at", "[1.5]"): r"wanted = \[1.5\] must be a list of whole numbers",
    LEAST + "[cut.one]\nrule = 'above'": r"\[cut.one\] has no columns; give a list of texts",
    LEAST + "[gaia]\ncolumn = 's'": r"\[gaia\] has no release; give text",
    LEAST + "[sky]\nra = 'r'\ndec = 'd'\nepoch = '2016'": r"epoch = '2016' must be a number",
    LEAST + "[layout]\nhdu = ['A']": r"\[layout\] has an unknown key 'hdu' \(did you mean 'hdus'",
    "name = ": r"is not valid TOML",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_is_named_with_its_place(tmp_path, text):
    path = write(tmp_path, text)
    with pytest.raises(SurveyError, match=FAULTS[text]) as told:
        bt.survey(path)
    assert str(told.value).startswith(f"survey {path}")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SurveyError, match=r"no.toml does not exist; give the path of a TOML file"):
        bt.survey(tmp_path / "no.toml")


def test_commands_take_files_where_they_take_presets(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    a = LEAST + 'error = "e"\n[cut.snr]\ncolumns = ["snr"]\nrule = "above"\nwanted = 20.0\n'
    write(tmp_path, a)
    (tmp_path / "other.toml").write_text(LEAST.replace('"mine"', '"other"'), encoding="utf-8")
    count = np.arange(60)
    table = {"star": count, "t": 5000.0 + count, "e": 50.0 + 0 * count, "snr": 15.0 + count}
    Table(table).write("a.csv")
    Table({"star": count[::-1], "t": 5100.0 + count[::-1]}).write("b.csv")
    assert main(["surveys", "mine.toml"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == ["  cuts (keep a star where)", "  snr             snr is above 20.0"]
    assert main(["clean", "a.csv", "--survey", "mine.toml", "--out", "clean.parquet"]) == 0
    assert len(Table.read("clean.parquet")) == 54
    command = "pair a.csv b.csv --survey-a mine.toml --survey-b other.toml --on star"
    assert main([*command.split(), "--out", "p.parquet", "--spec", "s.toml"]) == 0
    assert "matched 54 stars" in capsys.readouterr().out
    pairs = bt.read_pairs("p.parquet", bt.Spec.from_toml("s.toml"))
    np.testing.assert_array_equal(pairs.y - pairs.x, 100.0)
    text = (tmp_path / "mine.toml").read_text()
    assert main([*command.split(), "--out", "q.parquet", "--spec", "mine.toml", "--overwrite"]) == 2
    assert "the output is also an input" in capsys.readouterr().err
    assert (tmp_path / "mine.toml").read_text() == text
    assert not os.path.exists("q.parquet")
