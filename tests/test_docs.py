"""Every example of every page runs, in the page's order, as a reader would paste it.

With few stars, short chains and small networks in place of the defaults (`quick`): what is
tested is that the pages are right about the package, not that the package is right.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.table import Table, vstack

import bayestrans as bt
from bayestrans import cli_consistency, cli_fit
from bayestrans.cli import main
from bayestrans.simulate import to_columns

ROOT = Path(__file__).resolve().parents[1]

#: Pages that are a story of their own, whose blocks run one after another.
PAGES = (
    *("start", "translate", "judging", "trust", "surveys", "velocity", "gaps", "large", "choose"),
    *("homogenise", "simulated"),
)

#: Pages and README whose blocks are pieces of other stories, or for a shell alone.
OTHERS = ("contributing", "gallery", "pictures")

#: Stars of the simulated surveys; of the common ones as many train as in the fixture `posterior`,
#: so that the programs compiled for it serve here.
COMMON, CATALOGUE = 613, 300

BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+?) -->\n)?"
    r"^```(?P<kind>python|sh|bash|toml)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

#: Reasons why a block may be left out.
WHY = ("needs ", "tests/")


class Block(NamedTuple):
    """A piece of a page: what it is in, where it begins, and whether it is left out."""

    kind: str
    code: str
    line: int
    why: str | None


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page in their order."""
    return [
        Block(m["kind"], m["code"], text[: m.start("code")].count("\n"), m["why"])
        for m in BLOCK.finditer(text)
    ]


def page(name: str) -> str:
    return (ROOT / ("" if name == "README" else "docs") / f"{name}.md").read_text("utf-8")


@pytest.fixture(scope="module")
def models() -> dict[str, bt.Posterior]:
    """Return the models that were fitted so far: pages that ask for the same one share it."""
    return {}


@pytest.fixture
def quick(monkeypatch, models, split):
    """Simulate fewer stars, and fit them with short chains, or none, and small networks."""
    usual = len(split[0].spec.outputs)
    fit, simulate, importance = bt.fit, bt.simulate, bt.importance

    def fit_soon(pairs: bt.Pairs, **settings: object) -> bt.Posterior:
        assert set(settings) <= {"method", "network", "calibrate", "seed", "progress", "noise"}
        plain = isinstance(settings.get("method"), bt.SVI)
        stars = np.sort(pairs.ids).tolist(), np.nansum(pairs.x).round(3)
        key = repr((pairs.spec.to_toml(), *stars, plain))
        if key not in models:
            short = bt.MCLMC(chains=4, draws=50, steps=500, warm_steps=500)
            # Chains for other outputs than the fixture's would have programs of their own.
            if plain or len(pairs.spec.outputs) != usual:
                short = bt.SVI(steps=100, draws=200, warm_steps=500)
            same = {"network": bt.Network((8, 8)), "seed": 4, "calibrate": False}
            models[key] = fit(pairs, method=short, progress=False, **same)
        return models[key]

    def few(n_common: int = 4000, n_catalogue: int = 20_000, **more: int) -> bt.SurveyPair:
        return simulate(min(n_common, COMMON), min(n_catalogue, CATALOGUE), **more)

    monkeypatch.setattr(bt, "fit", fit_soon)
    monkeypatch.setattr(cli_fit, "fit", fit_soon)
    monkeypatch.setattr(bt, "simulate", few)
    monkeypatch.setattr(bt, "importance", partial(importance, draws=10, stars=64))

    def short(way):
        return lambda *models_and_stars, **more: way(*models_and_stars, **more | {"draws": 2})

    for name in ("round_trip", "chain"):
        way = short(getattr(bt, name))
        monkeypatch.setattr(bt, name, way)
        monkeypatch.setattr(cli_consistency, name, way)


def shell(code: str) -> list[list[str]]:
    """Return the arguments of each `bayestrans` line; other programs are the reader's."""
    lines = code.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [found[1:] for found in words if found and found[0] == "bayestrans"]


def run_shell(code: str) -> None:
    for arguments in shell(code):
        with contextlib.suppress(SystemExit):  # --version
            assert main(arguments) == 0, arguments


def run_blocks(name: str, found: list[Block]) -> int:
    """Run the blocks of a page one after another; return how many were Python."""
    names: dict[str, object] = {"__name__": "__main__"}
    ran = 0
    for block in found:
        if block.why:
            assert block.why.startswith(WHY), f"{name}.md:{block.line}: no reason: {block.why}"
        elif block.kind == "toml":
            target = re.match(r"# (\w+\.toml)\n", block.code)
            assert target, f"{name}.md:{block.line}: begin the block with '# NAME.toml'"
            Path(target[1]).write_text(block.code, "utf-8")
            readers = {"[quantity.": bt.survey, "[survey.": bt.Plan.from_toml}
            of = [read for mark, read in readers.items() if mark in block.code]
            (of or [bt.Spec.from_toml])[0](target[1])
        elif block.kind == "python":
            # As if on the same line of a file, so that a traceback shows the page's line.
            code = compile("\n" * block.line + block.code, f"docs/{name}.md", "exec")
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, names)
            ran += 1
        else:
            run_shell(block.code)
    plt.close("all")
    return ran


@pytest.mark.parametrize("name", PAGES)
def test_blocks_of_a_page_run(name, tmp_path, monkeypatch, quick):
    monkeypatch.chdir(tmp_path)
    assert run_blocks(name, blocks(page(name))) > 0


def test_blocks_of_the_readme_run(tmp_path, monkeypatch, quick):
    """Its first lines show what the files of the later ones are for."""
    monkeypatch.chdir(tmp_path)
    two = bt.simulate(4000, 300, seed=1)
    common, of_a = Table(to_columns(two)), list(two.catalogue)
    vstack([common[of_a], Table(two.catalogue)]).write("survey_a.fits")
    of_b = common["star_id", *[n for n in common.colnames if n.endswith("_b")]]
    of_b.rename_columns(of_b.colnames, [name.removesuffix("_b") for name in of_b.colnames])
    of_b.write("survey_b.fits")
    show, *rest = blocks(page("README"))
    rest.sort(key=lambda block: ["toml", "python", "sh"].index(block.kind))
    assert [b.kind for b in rest if b.kind != "sh"] == ["toml", "python"]
    joined = rest.index(next(b for b in rest if b.kind == "python")) + 1
    assert run_blocks("README", [*rest[:joined], show]) == 2
    run_blocks("README", rest[joined:])
    assert {path.name for path in tmp_path.glob("*")} >= {"a_on_b.parquet", "report", "a_to_b.nc"}


@pytest.mark.parametrize("name", OTHERS)
def test_other_blocks_are_at_least_valid(name):
    for block in blocks(page(name)):
        if block.kind == "python":
            compile(block.code, name, "exec")


def test_every_page_is_listed_and_the_code_of_every_other_page_is_not_python():
    found = {path.stem for path in (ROOT / "docs").glob("*.md")}
    for name in found - {*PAGES, *OTHERS}:
        assert not [b for b in blocks(page(name)) if b.kind == "python" and not b.why], name


def test_a_wrong_example_fails_with_its_line():
    text = "one\n\n```python\nx = 1\nassert x == 2\n```\n\n"
    text += "<!-- not run: needs a star -->\n```sh\nls\n```\n"
    python, left_out = blocks(text)
    assert (python.kind, python.line, python.why) == ("python", 3, None)
    assert left_out.why == "needs a star"
    code = compile("\n" * python.line + python.code, "page.md", "exec")
    with pytest.raises(AssertionError) as error:
        exec(code, {})
    assert error.traceback[-1].lineno + 1 == 5


def test_shell_blocks_are_read_as_a_shell_would():
    text = "pip install .\nbayestrans fit a.csv \\\n    --out b.nc  # soon\nbayestrans --version\n"
    assert shell(text) == [["fit", "a.csv", "--out", "b.nc"], ["--version"]]
