"""Imports go downward only: a module may use what lies below it, never what lies above."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import bayestrans

PACKAGE = Path(__file__).resolve().parents[1] / "bayestrans"
LEVELS = (
    "arguments toml ctrl_c sentinels spec pairs scale network student populations simulate galaxy "
    "version programs progress correlations files sky places maps",
    "chains bundles regions calibration held_out layout units arrow delimited fits_tables "
    "text_tables formats tables columns identifiers plausible catalogue surveys model density "
    "neighbours baseline target predictive moments tarp gaps survey_files presets recognise clean "
    "repeats langevin step_size joins match fetch parts scores thin summary shapley attribution "
    "combine",
    "posterior answers load store sample mclmc refits calibrate written hats sensitivity budget "
    "measured left_out convergence checks trees plan merge merge_draws merged keep "
    "agreement ways",
    "infer support diagnose evaluate importance translate consistency",
    "homogenise plot plot_consistency plot_diagnose plot_importance plot_kiel plot_maps "
    "plot_residuals plot_star plot_style plot_support report report_page report_scores "
    "report_sections report_verdicts cli cli_catalogues cli_consistency cli_fit cli_judge "
    "cli_surveys demo __main__ "
    "__init__",
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names.split()}
SIBLINGS = 3  # modules of this level never import one another
TABLES = ("astropy.io", "pyarrow")  # only the reader opens tables
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(source: str) -> set[str]:
    """Return the dotted names that a module of the package imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, ["bayestrans" if node.level else "", node.module]))
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def ours(source: str) -> set[str]:
    """Return the modules of this package that a module imports."""
    parts = [name.split(".") for name in imported(source)]
    own = {(*part[1:], "__init__")[0] for part in parts if part[0] == "bayestrans"}
    return {name if name in LEVEL else "__init__" for name in own}


def faults(sources: dict[str, str]) -> list[str]:
    """Return what is wrong with the imports of these modules, given by name."""
    uses = {name: ours(source) for name, source in sources.items()}
    found = [
        f"{name} (level {LEVEL[name]}) imports {other} (level {LEVEL[other]})"
        for name, others in sorted(uses.items())
        for other in sorted(others)
        if LEVEL[other] > LEVEL[name] or (LEVEL[other] == LEVEL[name] == SIBLINGS)
    ]
    try:
        TopologicalSorter(uses).prepare()
    except CycleError as error:
        found.append(f"cycle: {' -> '.join(error.args[1])}")
    return found


def test_every_module_has_a_level():
    assert [str(path) for path in FILES if path.parent != PACKAGE or path.stem not in LEVEL] == []


def test_imports_go_downward():
    assert faults({path.stem: path.read_text() for path in FILES}) == []


@pytest.mark.parametrize(
    ("sources", "fault"),
    [
        ({"spec": "from .infer import fit"}, "spec (level 0) imports infer (level 3)"),
        ({"model": "def f():\n import bayestrans.cli"}, "model (level 1) imports cli (level 4)"),
        ({"pairs": "from bayestrans import plot"}, "pairs (level 0) imports plot (level 4)"),
        ({"store": "from . import __version__"}, "store (level 2) imports __init__ (level 4)"),
        ({"infer": "from .support import f"}, "infer (level 3) imports support (level 3)"),
        ({"spec": "from . import pairs", "pairs": "from .spec import Spec"}, "cycle: "),
    ],
)
def test_a_wrong_import_is_caught(sources, fault):
    (found,) = faults(sources)
    assert found.startswith(fault)


def test_right_imports_pass():
    assert faults({"infer": "from .model import f", "model": "from . import spec"}) == []


def test_files_are_short_and_named_for_what_they_hold():
    assert {path.name: n for path in FILES if (n := len(path.read_text().splitlines())) > 400} == {}
    assert not {"utils", "helpers"} & {path.stem for path in FILES}


def opens_tables(source: str) -> bool:
    return any(f"{name}.".startswith(f"{t}.") for name in imported(source) for t in TABLES)


def test_only_catalogue_opens_tables():
    assert opens_tables("from astropy.io import fits")
    assert opens_tables("import pyarrow.parquet as pq")
    assert not opens_tables("import astropy.units as u")
    assert {p.stem for p in FILES if opens_tables(p.read_text())} <= {
        "arrow",
        "delimited",
        "fits_tables",
        "text_tables",
        "formats",
        "parts",
        "tables",
    }


def test_the_package_and_help_do_not_load_the_libraries():
    """They take seconds; a verb that is called like its module stays the verb."""
    code = (
        "import sys, bayestrans; from bayestrans import cli; cli._parser()\n"
        "assert not {'jax', 'numpy', 'astropy', 'arviz'} & sys.modules.keys()\n"
        "import bayestrans.translate, bayestrans.support\n"
        "assert callable(bayestrans.translate) and callable(bayestrans.support)\n"
        "assert all(getattr(bayestrans, name) is not None for name in bayestrans.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_module_asks_an_installer_for_the_package_s_version():
    """Sources that are on the path only must not fail at the end of a fit."""
    asking = re.compile(r"""version\(["']bayestrans["']\)""")
    assert [path.name for path in FILES if asking.search(path.read_text(encoding="utf-8"))] == []
    assert asking.search("version('bayestrans')")


def test_the_citation_is_of_this_version():
    text = (PACKAGE.parent / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {bayestrans.__version__}\n" in text


def test_the_page_on_the_design_names_every_module():
    page = (PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8")
    table = page.split("| level | files |")[1].split("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", table))
    assert {path.stem for path in FILES if not path.stem.startswith("__")} == named
