"""The page about a model: sound HTML, everything in it and nothing from afar."""

from __future__ import annotations

import dataclasses
import html
import importlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from reports import SPEC, model, stars, translated, verdicts

import bayestrans as bt
from bayestrans import cli, report_page
from bayestrans.answers import FLAGS
from bayestrans.report_page import Section, Verdict, page
from bayestrans.tables import read_table, write_table

FINE = report_page.DPI


class Page(HTMLParser):
    """What a page holds: its tags with their attributes, headings, list items and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)
            self.texts.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        # Text belongs to the last tag that began: enough for headings, cells and items.
        if self.texts:
            tag, text = self.texts[-1]
            self.texts[-1] = (tag, text + data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def words(self, tag: str) -> list[str]:
        return [text.strip() for name, text in self.texts if name == tag]


@pytest.fixture(scope="module")
def coarse():
    """Draw coarse pictures, which take less time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_page, "DPI", 50)
        yield


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """Return a folder with a good model, held-out stars and a translated catalogue."""
    folder, posterior = tmp_path_factory.mktemp("given"), model()
    posterior.save(folder / "m.nc")
    held_out = stars(SPEC, 400, seed=3)
    columns = {"star": held_out.ids}
    for values, items in ((held_out.x, SPEC.inputs), (held_out.y, SPEC.outputs)):
        columns |= {item.column: values[:, k] for k, item in enumerate(items)}
    write_table(Table(columns), folder / "pairs.ecsv")
    write_table(
        translated(posterior, stars(SPEC, 900, seed=4, spread=0.6)), folder / "catalogue.parquet"
    )
    return folder


@pytest.fixture(scope="module")
def whole(given, coarse, tmp_path_factory) -> str:
    """Return the page with everything in it."""
    pairs = bt.read_pairs(given / "pairs.ecsv", SPEC)
    out = tmp_path_factory.mktemp("whole")
    posterior = bt.load(given / "m.nc")
    path = bt.report(posterior, out, pairs=pairs, catalogue=given / "catalogue.parquet")
    assert path == out / "report.html"
    assert [found.name for found in out.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


# ---- the page -------------------------------------------------------------------------------


def test_everything_is_in_the_page(whole):
    found = Page(whole)
    pictures = found.all("img")
    assert (
        len(pictures) == 14
    )  # 3 of residuals, 3 of the diagnosis, 2 each of errors, inputs, support, catalogue
    for picture in pictures:
        assert picture["src"].startswith("data:image/png;base64,")
        assert len(picture["alt"]) > 20
    for tag, attributes in found.tags:
        for name in {"src", "href", "srcset", "data", "poster"} & attributes.keys():
            assert attributes[name].startswith(("data:", "#")), (tag, attributes[name])
    assert not {"script", "iframe", "object"} & {tag for tag, _ in found.tags}
    assert "@import" not in whole
    assert "url(" not in whole
    assert "default-src 'none'" in whole


def test_the_page_can_be_read_by_everyone(whole):
    found = Page(whole)
    assert found.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in found.all(
        "meta"
    )
    assert found.words("title") == ["one survey to another: translation report"]
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1
    tables = len(found.all("table"))
    assert tables == len(found.all("caption")) > 10
    anchors = {attributes["href"] for attributes in found.all("a")}
    assert anchors <= {f"#{section['id']}" for section in found.all("section")}
    assert "@media print" in whole
    assert "prefers-color-scheme: dark" in whole


def test_sections_come_in_order_after_the_verdicts(whole):
    assert Page(whole).words("h2") == [
        "Verdicts",
        "What was trained",
        "Convergence, and the fit to its own stars",
        "How good it is on held-out stars",
        "What was learned where stars are few",
        "What it rests on",
        "Where to trust it",
        "What to do next",
    ]


def test_numbers_are_those_of_the_score_sheet(given, whole):
    found = bt.evaluate(bt.load(given / "m.nc"), bt.read_pairs(given / "pairs.ecsv", SPEC))
    assert f"<td>{found.overall.nll:.3f}</td>" in whole
    for score in (found.overall, *found.baselines.values()):
        for output in score.outputs.values():
            assert f"<td>{output.rmse:.4g}</td><td>{output.mad_sigma:.4g}</td>" in whole
    table = read_table(given / "catalogue.parquet")
    for name in ("dense", "sparse", "outside"):
        count = (table["support_class"] == name).sum()
        assert f'<th scope="row">{name}</th><td>{count}</td><td>{count / 9:.1f} %</td>' in whole
    assert len(re.findall(r'<th scope="row">\d+: ', whole)) == len(FLAGS)


def test_the_same_model_and_stars_give_the_same_page_also_on_the_command_line(
    given, whole, tmp_path, capsys
):
    arguments = ["report", str(given / "m.nc"), "--out", str(tmp_path)]
    settings = {"--pairs": "pairs.ecsv", "--catalogue": "catalogue.parquet"}
    for option, name in settings.items():
        arguments += [option, str(given / name)]
    assert cli.main(arguments) == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == whole
    assert capsys.readouterr().out == f"wrote {tmp_path / 'report.html'}\n"


def test_a_model_alone_says_what_is_lacking(tmp_path):
    text = bt.report(model(), tmp_path).read_text(encoding="utf-8")
    assert len(Page(text).all("img")) == 5  # 3 of the diagnosis, 2 of what it rests on
    assert text.count("This needs stars that were not used in the fit") == 2
    assert text.count("when its translation is given") == 1
    assert ("caution", "not scored on held-out stars; give some as pairs (--pairs)") in verdicts(
        text
    )


def test_a_good_model_earns_no_warning(whole):
    found = verdicts(whole)
    assert {grade for grade, _ in found} == {"good"}
    said = " ".join(text for _, text in found)
    assert "the chains agree" in said
    assert "errors are of the right size" in said
    assert "better than linear regression" in said
    assert "<p>No warnings." in whole


def test_a_large_catalogue_is_counted_whole_and_drawn_in_even_steps(given, monkeypatch):
    report = importlib.import_module("bayestrans.report")  # the package's name is the verb
    monkeypatch.setattr(report, "ROWS", 70)
    monkeypatch.setattr(report, "MOST_DRAWN", 100)
    source = given / "catalogue.parquet"
    found, table = report._translated(source, SPEC), read_table(source)
    assert found.total == sum(found.classes.values()) == 900
    for name, count in found.classes.items():
        assert count == (table["support_class"] == name).sum()
    assert found.flags[4] == found.classes["outside"] == (table["flags"] == 4).sum()
    np.testing.assert_array_equal(found.stars["teff_mean"], table["teff_mean"][::9])


# ---- what users write -----------------------------------------------------------------------


NASTY = "<script>alert(\"1\")</script> & 'Co'"


@pytest.mark.usefixtures("coarse")
def test_names_and_units_are_text_whatever_they_hold(tmp_path):
    inputs = (
        bt.Input("<img>", "<script>1", unit="<i>$"),
        bt.Input("a$b$^", "<b>&amp;", unit="$x^$"),
    )
    outputs = (
        bt.Output('"<u>"', "'>", unit="<i>$", corrects="<img>"),
        bt.Output("$_$<td>", "--></table>", unit="<h1>"),
    )
    spec = bt.Spec(NASTY, inputs, outputs)
    posterior = model(spec, method="<script>", units_assumed={"<script>1": "<i>"})
    text = bt.report(posterior, tmp_path, pairs=stars(spec, 400, seed=3)).read_text("utf-8")
    found = Page(text)
    assert found.words("title") == found.words("h1") == [f"{NASTY}: translation report"]
    known = {tag for tag, _ in Page(page("t", "f", [], [])).tags}
    known |= {"img", "table", "thead", "tbody", "caption", "tr", "th", "td", "figure", "figcaption"}
    known |= {"h3", "div", "span", "a", "li", "strong", "pre", "code"}
    assert {tag for tag, _ in found.tags} <= known
    assert len(found.all("h1")) == 1
    for name in ("<img>", "a$b$^", '"<u>"', "$_$<td>"):
        assert name in found.words("th")
    assert "--></table>" in found.words("td")


def test_every_kind_of_text_is_escaped():
    verdict = Verdict("warning", "<x>", "s")
    text = page("<x>", "<x>", [verdict], [Section("s", "<x>", ("<x>",))])
    assert "<x>" not in text
    assert text.count("&lt;x&gt;") == 7


# ---- files ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_pictures")
def test_a_report_is_replaced_only_when_asked(tmp_path, given, capsys):
    path = bt.report(model(), tmp_path / "new" / "folder")
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match=r"report\.html exists; .*--overwrite"):
        bt.report(model(), path.parent)
    assert cli.main(["report", str(given / "m.nc"), "--out", str(path.parent)]) == 2
    assert "report.html exists" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "mine"
    bt.report(model(), path.parent, overwrite=True)
    assert "one survey to another" in path.read_text(encoding="utf-8")
    assert [found.name for found in path.parent.iterdir()] == ["report.html"]


def test_faults_are_told_and_leave_no_folder(tmp_path, given, capsys):
    with pytest.raises(FileExistsError, match="is a file; give a folder"):
        bt.report(model(), given / "m.nc")
    with pytest.raises(ValueError, match="no column teff_mean; give one that translate returned"):
        bt.report(model(), tmp_path / "a", catalogue=Table({"star": [1]}))
    other = dataclasses.replace(SPEC.inputs[1], unit="K")
    spec = dataclasses.replace(SPEC, inputs=(SPEC.inputs[0], other), outputs=SPEC.outputs[:1])
    nothing, x = np.full((30, 2), np.nan), stars(SPEC, 30, seed=3).x
    wrong = bt.Pairs(spec, x, nothing, x[:, :1], nothing[:, :1], np.arange(30))
    with pytest.raises(ValueError, match="read them with the model's own spec"):
        bt.report(model(), tmp_path / "a", pairs=wrong)
    missing = str(given / "none.csv")
    arguments = ["report", str(given / "m.nc"), "--out", str(tmp_path / "a"), "--pairs", missing]
    assert cli.main(arguments) == 2
    assert "none.csv" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


# ---- a browser ------------------------------------------------------------------------------


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

#: Says in the title what pictures there are, which do not decode, and what was asked of afar.
PROBE = """<script>addEventListener("load", () => {
const pictures = [...document.images];
document.title = "probe" + JSON.stringify({
  pictures: pictures.length,
  broken: pictures.filter(p => !(p.complete && p.naturalWidth > 0)).length,
  wide: document.documentElement.scrollWidth > innerWidth,
  asked: performance.getEntriesByType("resource").map(e => e.name),
}); });</script></body>"""


def browse(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Ask a browser without a window for something."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"needs a browser on the PATH: one of {', '.join(BROWSERS)}")
    usual = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    usual += ["--disable-background-networking", "--disable-dev-shm-usage"]
    usual += [f"--user-data-dir={folder / 'profile'}"]
    return subprocess.run([browser, *usual, *options], capture_output=True, text=True, timeout=120)


def looked_at(text: str, folder: Path) -> tuple[dict, list[str]]:
    """Return what a browser finds in a page, and what it says on its console."""
    path = folder / "page.html"
    allowed = text.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    path.write_text(allowed.replace("</body>", PROBE), encoding="utf-8")
    options = ["--window-size=420,900", "--enable-logging=stderr", "--v=0", "--dump-dom"]
    done = browse(folder, *options, path.as_uri())
    title = re.search(r"<title>probe(.*?)</title>", done.stdout)
    assert title, done.stderr[-2000:]
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(title[1])), said


@pytest.mark.slow
def test_a_browser_shows_every_picture_and_asks_for_nothing(whole, tmp_path):
    found, said = looked_at(whole, tmp_path)
    assert found == {"pictures": 14, "broken": 0, "wide": False, "asked": []}
    assert said == []


@pytest.mark.slow
def test_a_browser_prints_it(whole, tmp_path):
    path, printed = tmp_path / "page.html", tmp_path / "page.pdf"
    path.write_text(whole, encoding="utf-8")
    done = browse(tmp_path, f"--print-to-pdf={printed}", path.as_uri())
    assert printed.exists(), done.stderr[-2000:]
    content = printed.read_bytes()
    assert content.startswith(b"%PDF")
    assert len(content) > 0.3 * len(whole) / 1.37  # the pictures are on its pages
    (pages,) = set(re.findall(rb"/Type /Pages\b.*?/Count (\d+)", content, re.DOTALL)[:1])
    assert 5 < int(pages) < 60


@pytest.mark.slow
def test_a_report_of_many_outputs_is_small(posterior, split, tmp_path, monkeypatch):
    monkeypatch.setattr(report_page, "DPI", FINE)
    path = bt.report(posterior, tmp_path, pairs=split[1])
    assert 1e6 < path.stat().st_size < 5e6
    found, said = looked_at(path.read_text(encoding="utf-8"), tmp_path)
    assert found == {"pictures": 15, "broken": 0, "wide": False, "asked": []}
    assert said == []


@pytest.mark.slow
def test_the_browser_would_tell(tmp_path):
    text = page("t", "f", [], [])
    bad = '<img src="data:image/png;base64,AAAA"><img src="https://example.invalid/x.png">'
    found, said = looked_at(text.replace("</main>", f"{bad}</main>"), tmp_path)
    assert found["broken"] == found["pictures"] == 2
    assert any("example.invalid" in line for line in said)
