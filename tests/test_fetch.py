"""Catalogues from VizieR, which is not asked: its answers are replayed at the HTTP layer.

The recorded answer in ``data`` was made for these tests in VizieR's format (FIELD
names with brackets, identifiers as ``long``, empty cells); its stars are invented.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from bayestrans import cli, fetch
from bayestrans.clean import clean
from bayestrans.presets import survey
from bayestrans.tables import CatalogueError, read_table

ANSWER = Path(__file__).with_name("data") / "vizier_apogee_dr17.vot"
EMPTY = (
    b'<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"/>'
)


@pytest.fixture
def vizier(monkeypatch):
    """Answer every request with the recorded file; return the requests that were made."""
    pytest.importorskip("astroquery", reason="needs astroquery: pip install 'bayestrans[fetch]'")
    requests = pytest.importorskip("requests")
    asked: list = []
    reply = {"content": ANSWER.read_bytes()}

    def send(self, request, **keywords):
        asked.append(request)
        if isinstance(reply["content"], Exception):
            raise reply["content"]
        response = requests.Response()
        response.status_code, response.url, response.request = 200, request.url, request
        response._content = reply["content"]
        return response

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    return asked, reply


def refusal(*arguments, **keywords) -> str:
    with pytest.raises(CatalogueError) as caught:
        fetch(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".fits", ".parquet"])
def test_a_catalogue_comes_with_the_names_of_the_survey(vizier, tmp_path, suffix):
    asked, _ = vizier
    path = tmp_path / f"apogee{suffix}"
    found = fetch("apogee-dr17", path)
    (request,) = asked
    body = request.body if isinstance(request.body, str) else request.body.decode()
    assert "vizier" in request.url
    assert "III/286/catalog" in body.replace("%2F", "/")
    assert "-out.max=unlimited" in body  # its own default is fifty rows
    table = read_table(path)
    assert (found.stars, found.complete) == (3, True)
    assert table["GAIAEDR3_SOURCE_ID"].tolist() == [4667213730748377728, 4667213730748377729, None]
    assert table["APOGEE_ID"][0] == "2M00000001+0000001"
    assert table["FE_H"].tolist()[2] is None
    np.testing.assert_allclose(table["TEFF_ERR"], [7.9, 9.1, 6.5], rtol=1e-6)
    assert found.absent == ("EXTRATARG",)
    assert "--without duplicate --without telluric" in str(found)


def test_columns_are_known_by_the_answers_ids_too(vizier, tmp_path):
    """Some releases of astroquery name a column by them."""
    _, reply = vizier
    named = rb'FIELD ID="(\w+)" name="[^"]+"', rb'FIELD name="\1"'
    reply["content"], count = re.subn(*named, reply["content"])
    assert count == 8
    assert fetch("apogee-dr17", tmp_path / "a.parquet").absent == ("EXTRATARG",)
    assert read_table(tmp_path / "a.parquet")["FE_H_FLAG"].tolist()[0] == 0


def test_what_was_fetched_goes_through_the_preset(vizier, tmp_path):
    fetch("apogee-dr17", tmp_path / "a.fits")
    cleaned = clean(tmp_path / "a.fits", "apogee-dr17", without=["duplicate", "telluric"])
    assert cleaned.table["APOGEE_ID"].tolist() == ["2M00000001+0000001"]
    assert [count.alone for count in cleaned.cuts] == [1, 1, 1, 0, 0]  # no flag is a bad one
    assert cleaned.absent == ()


def test_a_limit_is_passed_on_and_said(vizier, tmp_path, capsys):
    asked, _ = vizier
    out = str(tmp_path / "a.parquet")
    assert cli.main(["fetch", "apogee-dr17", "--out", out, "--max-rows", "3"]) == 0
    assert "-out.max=3" in str(asked[0].body)
    assert "wrote 3 stars of APOGEE DR17" in (said := capsys.readouterr().out)
    assert "as many as asked for; the catalogue has more" in said
    assert cli.main(["fetch", "apogee-dr17", "--out", out]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert len(asked) == 1  # refused before anything was fetched


def test_when_vizier_fails_nothing_is_written(vizier, tmp_path):
    _, reply = vizier
    path = tmp_path / "a.fits"
    for content, said in (
        (ConnectionError("no route to host"), "did not answer for III/286/catalog (no route"),
        (ANSWER.read_bytes()[:3000], "did not answer"),
        (EMPTY, "gave no rows of III/286/catalog; try again later"),
        (b"Sorry, down for maintenance", "whether it is at work"),
    ):
        reply["content"] = content
        assert said in refusal("apogee-dr17", path)
        assert list(tmp_path.iterdir()) == []


def test_without_astroquery_one_sentence_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "astroquery", None)
    assert refusal("galah-dr3", tmp_path / "a.fits") == (
        "fetching needs astroquery, which is not installed: pip install 'bayestrans[fetch]'"
    )


def test_requests_that_cannot_be_met_are_refused_before_any_is_made(tmp_path):
    message = refusal("galah-dr4", tmp_path / "a.fits")
    assert "is not on VizieR as one table; get the file yourself: galah_dr4_allstar" in message
    assert "0 rows cannot be fetched" in refusal("galah-dr3", tmp_path / "a.fits", max_rows=0)
    assert "no preset 'apogee'" in refusal("apogee", tmp_path / "a.fits")
    assert "unknown suffix" in refusal("galah-dr3", tmp_path / "a.npz")
    assert survey("galah-dr3").vizier.table == "J/MNRAS/506/150/stars"
