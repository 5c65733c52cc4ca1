"""The commands about surveys: presets, clean tables, common stars, downloads."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

from .clean import clean
from .fetch import fetch
from .files import refuse_inputs, write_text
from .joins import GAIA
from .match import MatchWarning, pair
from .presets import overview, survey
from .repeats import REPEATS
from .store import check_target
from .tables import check_writable, write_table

type Command = Callable[..., argparse.ArgumentParser]


def add_commands(commands: argparse._SubParsersAction, command: Command) -> None:
    """Add these commands to the command line; ``command`` makes one's parser."""
    one = command(commands, "surveys", _surveys, "list the presets of surveys, or print one")
    one.add_argument("name", nargs="?", help="such as galah-dr3")

    one = command(commands, "clean", _clean, "apply a survey's preset to its table")
    one.add_argument("catalogue", help="the survey's table")
    one.add_argument("--survey", required=True, help="preset, such as galah-dr3")
    _add_without(one, "switch off a cut (repeat for more)")
    one.add_argument("--out", required=True, help=".parquet, .fits, .ecsv, .vot or .csv")
    one.add_argument("--overwrite", action="store_true", help="replace an existing output")

    _add_pair(command(commands, "pair", _pair, "find the common stars of two surveys"))

    one = command(commands, "fetch", _fetch, "download a survey's catalogue from VizieR")
    one.add_argument("name", help="preset, such as galah-dr3")
    one.add_argument("--out", required=True, help=".parquet, .fits, .ecsv, .vot or .csv")
    one.add_argument("--max-rows", type=int, metavar="N", help="stop after so many")
    one.add_argument("--overwrite", action="store_true", help="replace an existing output")


def _add_pair(one: argparse.ArgumentParser) -> None:
    one.add_argument("a", help="table of survey A, to be translated")
    one.add_argument("b", help="table of survey B")
    one.add_argument("--survey-a", required=True, help="preset of A, such as galah-dr3")
    one.add_argument("--survey-b", required=True, help="preset of B, such as apogee-dr17")
    how = one.add_mutually_exclusive_group()
    how.add_argument(
        "--on", default=GAIA, metavar="COLUMN", help=f"identifier, or A=B (default: {GAIA})"
    )
    how.add_argument("--radius", type=float, metavar="ARCSEC", help="match by position instead")
    one.add_argument(
        "--repeats", choices=REPEATS, default="best", help="which row of a star (default: best)"
    )
    _add_without(one, "switch off a cut, of one survey as a:CUT or b:CUT (repeat for more)")
    one.add_argument("--inputs", nargs="+", metavar="NAME", help="quantities of A (default: all)")
    one.add_argument("--outputs", nargs="+", metavar="NAME", help="of B (default: what A has too)")
    one.add_argument(
        "--corrects",
        action="append",
        default=[],
        metavar="OUTPUT=INPUT",
        help="correct an input of another name, such as fe_h=m_h (repeat for more)",
    )
    one.add_argument("--suffix", help="ends the names of B's columns (default: its preset)")
    one.add_argument("--out", required=True, help="table of common stars to write")
    one.add_argument("--spec", required=True, help="spec to write (.toml), for fit")
    one.add_argument("--overwrite", action="store_true", help="replace existing outputs")


def _add_without(one: argparse.ArgumentParser, text: str) -> None:
    one.add_argument("--without", action="append", default=[], metavar="CUT", help=text)


def _surveys(options: argparse.Namespace) -> int:
    print(overview() if options.name is None else survey(options.name))
    return 0


def _clean(options: argparse.Namespace) -> int:
    refuse_inputs(options.out, options.catalogue)
    check_writable(options.out, overwrite=options.overwrite)
    found = clean(options.catalogue, options.survey, without=options.without)
    write_table(found.table, options.out, overwrite=options.overwrite)
    print(f"{found}\nwrote {len(found.table)} stars to {options.out}")
    return 0


def _pair(options: argparse.Namespace) -> int:
    for target in (options.out, options.spec):
        refuse_inputs(target, options.a, options.b)
    if Path(options.out).resolve() == Path(options.spec).resolve():
        raise ValueError(f"{options.out}: table and spec cannot be one file; name two")
    check_writable(options.out, overwrite=options.overwrite)
    check_target(options.spec, overwrite=options.overwrite)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MatchWarning)  # the report has them
        found = pair(
            options.a,
            options.b,
            survey_a=options.survey_a,
            survey_b=options.survey_b,
            on=_two(options.on) if "=" in options.on else options.on,
            radius=options.radius,
            repeats=options.repeats,
            without=options.without,
            inputs=options.inputs,
            outputs=options.outputs,
            corrects=dict(_two(item) for item in options.corrects),
            suffix=options.suffix,
        )
    write_table(found.table, options.out, overwrite=options.overwrite)
    write_text(options.spec, found.spec.to_toml())
    print(f"{found}\nwrote {len(found.table)} stars to {options.out}, their spec to {options.spec}")
    print(f"next: bayestrans fit {options.out} --spec {options.spec} --out model.nc --hold-out 0.2")
    return 0


def _two(text: str) -> tuple[str, str]:
    first, sign, second = text.partition("=")
    if not (first and sign and second):
        raise ValueError(f"{text!r} is not of the form A=B")
    return first, second


def _fetch(options: argparse.Namespace) -> int:
    print(fetch(options.name, options.out, max_rows=options.max_rows, overwrite=options.overwrite))
    return 0
