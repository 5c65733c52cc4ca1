"""The command line: the package's verbs, with files in and files out."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .ctrl_c import ctrl_c
from .toml import nearest
from .version import __version__

#: Where each command is, and which of its options are files or folders to read.
COMMANDS = {
    "surveys": ("cli_surveys", ()),
    "clean": ("cli_surveys", ("catalogue",)),
    "pair": ("cli_surveys", ("a", "b")),
    "fetch": ("cli_surveys", ()),
    "fit": ("cli_fit", ("pairs", "spec")),
    "demo": ("cli_fit", ()),
    "translate": ("cli_catalogues", ("model", "catalogue")),
    "homogenise": ("cli_catalogues", ("plan",)),
    "support": ("cli_catalogues", ("model", "catalogue")),
    "evaluate": ("cli_judge", ("model", "pairs")),
    "diagnose": ("cli_judge", ("model", "pairs", "train")),
    "importance": ("cli_judge", ("model", "pairs")),
    "report": ("cli_judge", ("model", "pairs", "catalogue")),
    "round-trip": ("cli_consistency", ("there", "back", "catalogue")),
    "chain": ("cli_consistency", ("first", "second", "direct", "catalogue")),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0 for success, 1 where ``fit`` or ``diagnose --strict`` found fault, 2 for unusable input and
    what ``translate --strict`` refuses, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    begun = time.time()
    try:
        with ctrl_c(), _told(options.command):
            status = _run(options)
    # Faults of what the user gave, among them CatalogueError, PairsError, SpecError and
    # ModelFileError: one sentence, no traceback.
    except (OSError, FloatingPointError, ValueError) as error:
        print(f"bayestrans {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nbayestrans {options.command}: stopped; {_left(options, begun)}", file=sys.stderr)
        return 130
    return int(status)


@contextmanager
def _told(command: str) -> Iterator[None]:
    """Print what the package logs and warns of as its messages, without lines of its source."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"bayestrans {command}: %(message)s"))
    log = logging.getLogger("bayestrans")
    level, others = log.level, warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if category.__module__.startswith("bayestrans."):
            print(f"bayestrans {command}: warning: {message}", file=sys.stderr)
        else:
            others(message, category, *where, **more)

    log.addHandler(handler)
    log.setLevel(logging.INFO)
    with warnings.catch_warnings():
        warnings.showwarning = show
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.setLevel(level)


def _left(options: argparse.Namespace, begun: float) -> str:
    """Say what a command that was stopped has left behind."""
    if options.command == "translate":
        from .parts import interrupted

        if interrupted(options.out):
            return "go on with --resume, or begin anew with --overwrite"
    out = Path(getattr(options, "out", None) or "")
    if out.name and out.exists() and out.stat().st_mtime >= begun:
        # Files come whole: a model that was not judged yet, or some of a folder's.
        return f"not all in {out} is there yet" if out.is_dir() else f"{out} was written"
    return "nothing was written"


def _run(options: argparse.Namespace) -> int:
    home, reads = COMMANDS[options.command]
    for name in reads:
        _check_exists(getattr(options, name))
    # Only now, because the libraries take seconds to import: help and slips must not.
    module = importlib.import_module(f".{home}", __package__)
    status: int = getattr(module, f"run_{options.command.replace('-', '_')}")(options)
    return status


def _check_exists(given: str | None) -> None:
    """Refuse a path that leads nowhere, with the name beside it that it may stand for."""
    if given is None or (path := Path(given)).exists():
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{given} does not exist, nor does its folder; check the path")
    beside = nearest(path.name, [other.name for other in path.parent.iterdir()])
    raise FileNotFoundError(f"{given} does not exist{beside}; check the path")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bayestrans",
        description="Translate one spectroscopic survey's parameters into another's base.",
    )
    parser.add_argument("--version", action="version", version=f"bayestrans {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_surveys(commands)
    _add_fit(commands)
    _add_translate(commands)
    _add_homogenise(commands)
    _add_consistency(commands)

    one = _command(commands, "evaluate", "score a model on stars it has not seen")
    one.add_argument("model", help="model file (.nc)")
    one.add_argument("pairs", help="table of held-out common stars (fit --held-out)")
    one.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    one = _command(commands, "diagnose", "judge the sampling in function space")
    one.add_argument("model", help="model file (.nc)")
    one.add_argument("--pairs", help="table of held-out common stars (fit --held-out)")
    one.add_argument("--train", metavar="PAIRS", help="table of the training stars (all of them)")
    one.add_argument("--out", help="folder for the text, pictures and diagnosis.nc (for ArviZ)")
    one.add_argument("--overwrite", action="store_true", help="replace what is there")
    one.add_argument("--strict", action="store_true", help="exit with 1 if there is a warning")

    one = _command(commands, "support", "say how well the training stars cover a table")
    one.add_argument("model", help="model file (.nc)")
    one.add_argument("catalogue", help="table of stars of survey A")
    one.add_argument("--out", help="table of identifiers, score and class")
    one.add_argument("--overwrite", action="store_true", help="replace an existing output")

    _add_importance(_command(commands, "importance", "say what a translation rests on"))

    one = _command(commands, "report", "write one page about a model: warnings, scores, pictures")
    one.add_argument("model", help="model file (.nc)")
    one.add_argument("--out", required=True, help="folder for report.html")
    one.add_argument("--pairs", help="table of held-out common stars (fit --held-out)")
    one.add_argument("--catalogue", help="a catalogue that the model has translated")
    one.add_argument("--overwrite", action="store_true", help="replace an earlier report")

    one = _command(commands, "demo", "do the main job on simulated surveys")
    one.add_argument("--out", default="demo", help="folder (default: demo)")
    one.add_argument("--stars", type=int, default=3000, metavar="N", help="common stars (3000)")
    one.add_argument("--steps", type=int, help="steps of each chain (default: what 120 s allow)")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--overwrite", action="store_true", help="replace an earlier demo")
    one.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser


def _add_surveys(commands: argparse._SubParsersAction) -> None:
    one = _command(commands, "surveys", "list the presets of surveys, or print one")
    one.add_argument("name", nargs="?", help="such as galah-dr3, or mine.toml")

    one = _command(commands, "clean", "apply a survey's preset to its table")
    one.add_argument("catalogue", help="the survey's table")
    one.add_argument(
        "--survey", help="preset, such as galah-dr3, or mine.toml (default: told by the columns)"
    )
    _add_without(one, "switch off a cut (repeat for more)")
    one.add_argument("--out", required=True, help=".parquet, .fits, .ecsv, .vot or .csv")
    one.add_argument("--overwrite", action="store_true", help="replace an existing output")

    about = "find the common stars of two surveys, by presets or files that describe them"
    _add_pair(_command(commands, "pair", about))

    one = _command(commands, "fetch", "download a survey's catalogue from VizieR")
    one.add_argument("name", help="preset, such as galah-dr3")
    one.add_argument("--out", required=True, help=".parquet, .fits, .ecsv, .vot or .csv")
    one.add_argument("--max-rows", type=int, metavar="N", help="stop after so many")
    one.add_argument("--overwrite", action="store_true", help="replace an existing output")


def _add_pair(one: argparse.ArgumentParser) -> None:
    one.add_argument("a", help="table of survey A, to be translated")
    one.add_argument("b", help="table of survey B")
    one.add_argument(
        "--survey-a",
        help="preset of A, such as galah-dr3 (see `bayestrans surveys`), or mine.toml "
        "(default: told by the columns)",
    )
    one.add_argument("--survey-b", help="the same of B")
    how = one.add_mutually_exclusive_group()
    how.add_argument("--on", metavar="COLUMN", help="identifier, or A=B (default: gaia_source_id)")
    how.add_argument("--radius", type=float, metavar="ARCSEC", help="match by position instead")
    one.add_argument(
        "--repeats",
        choices=["best", "first", "refuse"],
        default="best",
        help="which row of a star (default: best)",
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
    one.add_argument("--spec", help="spec to write, for fit (default: as --out, .toml)")
    one.add_argument("--overwrite", action="store_true", help="replace existing outputs")


def _add_without(one: argparse.ArgumentParser, text: str) -> None:
    one.add_argument("--without", action="append", default=[], metavar="CUT", help=text)


def _add_fit(commands: argparse._SubParsersAction) -> None:
    one = _command(commands, "fit", "learn a translation from common stars")
    one.add_argument("pairs", help="table of common stars")
    one.add_argument("--spec", required=True, help="TOML file that names the columns")
    one.add_argument("--out", required=True, help="model file to write (.nc)")
    one.add_argument(
        "--method",
        choices=["mclmc", "nuts", "svi", "ensemble"],
        default="mclmc",
        help="how to fit (default: mclmc; the others are for quick looks and checks)",
    )
    one.add_argument(
        "--steps",
        type=int,
        help="steps of each chain, draws for nuts (default: until the chains agree)",
    )
    one.add_argument("--chains", type=int, help="chains, members of an ensemble (default: 4)")
    one.add_argument(
        "--time-budget",
        type=float,
        metavar="S",
        help="seconds for each network's chains (default: 600); the calibration comes on top",
    )
    one.add_argument(
        "--hidden",
        type=int,
        nargs="*",
        default=[32, 32],
        metavar="WIDTH",
        help="widths of the hidden layers (default: 32 32)",
    )
    one.add_argument(
        "--no-calibration",
        dest="calibrate",
        action="store_false",
        help="do not refit without some twenty regions of the stars, from which it learns how "
        "far to widen errors: faster, for a first look only",
    )
    one.add_argument(
        "--activation", default="tanh", choices=["tanh", "silu", "relu"], help="default: tanh"
    )
    one.add_argument(
        "--error-factor",
        choices=["below-one", "one", "free"],
        default="below-one",
        help="multiply B's quoted errors by a learned factor of at most one (default), by "
        "one, or by any learned factor",
    )
    one.add_argument(
        "--hold-out",
        type=float,
        metavar="SHARE",
        help="keep this share of the stars, such as 0.2, out of the fit, and score it on them",
    )
    one.add_argument(
        "--held-out",
        metavar="TABLE",
        help="write the stars that were kept out, for evaluate, diagnose and report",
    )
    one.add_argument("--seed", type=int, default=0, help="of the split and the fit (default: 0)")
    one.add_argument("--overwrite", action="store_true", help="replace an existing model")
    one.add_argument("--strict", action="store_true", help="exit with 1 if there is a warning")
    one.add_argument("--quiet", action="store_true", help="no progress bars")


def _add_translate(commands: argparse._SubParsersAction) -> None:
    one = _command(commands, "translate", "translate a catalogue of survey A")
    one.add_argument("model", help="model file (.nc)")
    one.add_argument("catalogue", help="table of stars of survey A, or a HATS catalogue's folder")
    one.add_argument("--out", required=True, help=".parquet, .fits, .ecsv, .vot, .csv or a folder")
    one.add_argument("--draws", type=int, default=0, help="joint draws to add per star")
    one.add_argument("--seed", type=int, default=0, help="of those draws")
    one.add_argument(
        "--strict", action="store_true", help="refuse a catalogue with stars outside the support"
    )
    one.add_argument(
        "--max-outside",
        type=float,
        metavar="SHARE",
        help="refuse one with more than this share of its stars outside, such as 0.05",
    )
    one.add_argument(
        "--chunk-size", type=int, metavar="N", help="stars read and written at a time (32768)"
    )
    one.add_argument("--overwrite", action="store_true", help="replace an existing output")
    one.add_argument(
        "--resume", action="store_true", help="go on with an output whose writing was interrupted"
    )
    one.add_argument(
        "--workers", type=int, metavar="N", help="processes for a HATS catalogue (default: one)"
    )
    one.add_argument("--quiet", action="store_true", help="no progress bars")


def _add_homogenise(commands: argparse._SubParsersAction) -> None:
    one = _command(commands, "homogenise", "merge several surveys into one catalogue on one base")
    one.add_argument("plan", help="TOML file that names the surveys, their models and the base")
    one.add_argument("--out", help="catalogue to write (default: what the plan says)")
    one.add_argument("--draws", type=int, default=0, help="joint draws to add per star")
    one.add_argument("--seed", type=int, default=0, help="of those draws")
    one.add_argument("--overwrite", action="store_true", help="replace an existing output")
    one.add_argument("--quiet", action="store_true", help="no progress bars")


def _add_consistency(commands: argparse._SubParsersAction) -> None:
    trip = _command(commands, "round-trip", "translate to another survey and back, and compare")
    trip.add_argument("there", help="model from A to B (.nc)")
    trip.add_argument("back", help="model from B to A (.nc)")
    chain = _command(commands, "chain", "translate by way of a third survey, and compare")
    chain.add_argument("first", help="model from A to B (.nc)")
    chain.add_argument("second", help="model from B to C (.nc)")
    chain.add_argument("direct", help="model from A to C (.nc)")
    for one in (trip, chain):
        one.add_argument("catalogue", help="table of stars of survey A")
        one.add_argument("--stars", type=int, default=2000, metavar="N", help="at random (2000)")
        one.add_argument("--draws", type=int, default=16, help="ways of each star (default: 16)")
        one.add_argument("--seed", type=int, default=0)
        one.add_argument("--out", help="folder for the table and the picture")
        one.add_argument("--overwrite", action="store_true", help="replace what is there")


def _add_importance(one: argparse.ArgumentParser) -> None:
    one.add_argument("model", help="model file (.nc)")
    one.add_argument("--pairs", help="table of common stars (default: the model's probe stars)")
    one.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME=INPUT,...",
        help="inputs that share one Shapley effect (repeat for more)",
    )
    one.add_argument("--draws", type=int, default=100, help="posterior draws (default: 100)")
    one.add_argument("--stars", type=int, default=4096, help="behind the Shapley effects")
    one.add_argument("--seed", type=int, default=0, help="of these stars")
    one.add_argument("--out", help="folder for tables, pictures and importance.nc, or a .json file")
    one.add_argument("--overwrite", action="store_true", help="replace what is there")
    one.add_argument("--quiet", action="store_true", help="no progress bars")


def _command(commands: argparse._SubParsersAction, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    return parser
