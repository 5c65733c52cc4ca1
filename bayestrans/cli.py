"""The command line: the package's verbs, with files in and files out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import (
    MCLMC,
    NUTS,
    SVI,
    CatalogueError,
    Ensemble,
    ModelFileError,
    Network,
    PairsError,
    Spec,
    SpecError,
    __version__,
    diagnose,
    evaluate,
    fit,
    load,
    read_pairs,
    support,
    translate_file,
)
from .calibration import describe
from .catalogue import check_writable, write_table
from .cli_surveys import add_commands
from .demo import demo
from .files import refuse_inputs, whole, write_text
from .sample import Method
from .store import check_target

#: Faults of what the user gave: one sentence, no traceback, exit 2.
USER_ERRORS = (
    CatalogueError,
    ModelFileError,
    PairsError,
    SpecError,
    OSError,
    FloatingPointError,
    ValueError,
)

METHODS: dict[str, Callable[..., Method]] = {
    "mclmc": MCLMC,
    "nuts": NUTS,
    "svi": SVI,
    "ensemble": Ensemble,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0 for success, 1 where ``--strict`` found fault, 2 for unusable input, 130
    after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
    except USER_ERRORS as error:
        print(f"bayestrans {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nbayestrans {options.command}: stopped; nothing was written", file=sys.stderr)
        return 130
    return int(status)


def _fit(options: argparse.Namespace) -> int:
    refuse_inputs(options.out, options.pairs, options.spec)
    check_target(options.out, overwrite=options.overwrite)
    spec = Spec.from_toml(options.spec)
    pairs = read_pairs(options.pairs, spec)
    test = None
    if options.hold_out:
        pairs, test = pairs.split(options.hold_out, seed=options.seed)
    posterior = fit(
        pairs,
        method=_method(options),
        network=Network(tuple(options.hidden), options.activation),
        calibrate=options.calibrate,
        seed=options.seed,
        progress=not options.quiet,
    )
    posterior.save(options.out, overwrite=options.overwrite)
    diagnosis = diagnose(posterior)
    print(diagnosis)
    report = posterior.record.get("held_out_regions")
    if report:
        print(f"\nRegions held out in turn: {describe(report, posterior.neighbours.thresholds)}")
    if test is not None:
        print(f"\n{len(test)} held-out stars:\n{evaluate(posterior, test)}")
    print(f"\nwrote {options.out}")
    return int(options.strict and bool(diagnosis.warnings))


def _method(options: argparse.Namespace) -> Method:
    chosen: dict[str, object] = {}
    if options.steps is not None:
        if options.method == "ensemble":
            raise ValueError("--steps does not apply to an ensemble; leave it out")
        chosen["draws" if options.method == "nuts" else "steps"] = options.steps
    if options.chains is not None:
        if options.method == "svi":
            raise ValueError("--chains does not apply to SVI; leave it out")
        chosen["members" if options.method == "ensemble" else "chains"] = options.chains
    if options.time_budget is not None:
        if options.method != "mclmc":
            raise ValueError("--time-budget applies to mclmc only; leave it out")
        chosen["time_budget"] = options.time_budget
    return METHODS[options.method](**chosen)


def _translate(options: argparse.Namespace) -> int:
    refuse_inputs(options.out, options.model, options.catalogue)
    posterior = load(options.model)
    found = translate_file(
        posterior,
        options.catalogue,
        options.out,
        overwrite=options.overwrite,
        resume=options.resume,
        draws=options.draws,
        seed=options.seed,
        strict=options.strict,
        progress=not options.quiet,
    )
    print(f"wrote {found.stars} stars to {found.path}")
    for name, count in found.classes.items():
        print(f"  {name:8s}{count:10d}  ({100 * count / max(1, found.stars):.1f} %)")
    for bit, text in ((1, "with an input missing, wider"), (16, "without any input, no answer")):
        print(f"  {text}: {found.flags[bit]}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    posterior = load(options.model)
    evaluation = evaluate(posterior, read_pairs(options.pairs, posterior.spec))
    print(evaluation.to_json() if options.json else evaluation)
    return 0


def _diagnose(options: argparse.Namespace) -> int:
    posterior = load(options.model)
    if options.out is not None:
        folder = Path(options.out)
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(f"{folder} is a file; give a folder to write to")
        tree, text = folder / "diagnosis.nc", folder / "diagnosis.txt"
        folder.mkdir(parents=True, exist_ok=True)
        for target in (tree, text):
            refuse_inputs(target, options.model)
            check_target(target, overwrite=options.overwrite)
    diagnosis = diagnose(posterior)
    if options.out is not None:
        with whole(tree) as partial:
            diagnosis.tree.to_netcdf(partial, engine="h5netcdf")
        write_text(text, f"{diagnosis}\n")
    print(diagnosis)
    return int(options.strict and bool(diagnosis.warnings))


def _support(options: argparse.Namespace) -> int:
    posterior = load(options.model)
    if options.out is not None:
        refuse_inputs(options.out, options.model, options.catalogue)
        check_writable(options.out, overwrite=options.overwrite)
    found = support(posterior, options.catalogue)
    if options.out is not None:
        write_table(found.to_table(), options.out, overwrite=options.overwrite)
    print(found)
    return 0


def _demo(options: argparse.Namespace) -> int:
    found = demo(
        options.out, seed=options.seed, overwrite=options.overwrite, progress=not options.quiet
    )
    print((found.folder / "scores.txt").read_text(encoding="utf-8"))
    print(f"left in {found.folder}: " + ", ".join(sorted(p.name for p in found.folder.iterdir())))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bayestrans",
        description="Translate one spectroscopic survey's parameters into another's base.",
    )
    parser.add_argument("--version", action="version", version=f"bayestrans {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_commands(commands, _command)
    _add_fit(commands)
    _add_translate(commands)

    one = _command(commands, "evaluate", _evaluate, "score a model on stars it has not seen")
    one.add_argument("model", help="model file (.nc)")
    one.add_argument("pairs", help="table of held-out common stars")
    one.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    one = _command(commands, "diagnose", _diagnose, "judge the sampling in function space")
    one.add_argument("model", help="model file (.nc)")
    one.add_argument("--out", help="folder for diagnosis.txt and diagnosis.nc (for ArviZ)")
    one.add_argument("--overwrite", action="store_true", help="replace what is there")
    one.add_argument("--strict", action="store_true", help="exit with 1 if there is a warning")

    one = _command(commands, "support", _support, "say how well the training stars cover a table")
    one.add_argument("model", help="model file (.nc)")
    one.add_argument("catalogue", help="table of stars of survey A")
    one.add_argument("--out", help="table of identifiers, score and class")
    one.add_argument("--overwrite", action="store_true", help="replace an existing output")

    one = _command(commands, "demo", _demo, "do the main job on simulated surveys")
    one.add_argument("--out", default="demo", help="folder (default: demo)")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--overwrite", action="store_true", help="replace an earlier demo")
    one.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser


def _add_fit(commands: argparse._SubParsersAction) -> None:
    one = _command(commands, "fit", _fit, "learn a translation from common stars")
    one.add_argument("pairs", help="table of common stars")
    one.add_argument("--spec", required=True, help="TOML file that names the columns")
    one.add_argument("--out", required=True, help="model file to write (.nc)")
    one.add_argument("--method", choices=METHODS, default="mclmc")
    one.add_argument("--steps", type=int, help="steps of each chain (draws for nuts)")
    one.add_argument("--chains", type=int, help="chains (members of an ensemble)")
    one.add_argument("--time-budget", type=float, metavar="S", help="seconds for each network")
    one.add_argument("--hidden", type=int, nargs="*", default=[32, 32], metavar="WIDTH")
    one.add_argument(
        "--no-calibration",
        dest="calibrate",
        action="store_false",
        help="do not refit without regions of the stars to learn how far to widen errors",
    )
    one.add_argument("--activation", default="tanh", choices=["tanh", "silu", "relu"])
    one.add_argument(
        "--hold-out", type=float, metavar="SHARE", help="keep this share of the stars for scoring"
    )
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--overwrite", action="store_true", help="replace an existing model")
    one.add_argument("--strict", action="store_true", help="exit with 1 if there is a warning")
    one.add_argument("--quiet", action="store_true", help="no progress bars")


def _add_translate(commands: argparse._SubParsersAction) -> None:
    one = _command(commands, "translate", _translate, "translate a catalogue of survey A")
    one.add_argument("model", help="model file (.nc)")
    one.add_argument("catalogue", help="table of stars of survey A")
    one.add_argument("--out", required=True, help=".parquet, .fits, .ecsv, .vot or .csv")
    one.add_argument("--draws", type=int, default=0, help="joint draws to add per star")
    one.add_argument("--seed", type=int, default=0, help="of those draws")
    one.add_argument(
        "--strict", action="store_true", help="refuse a catalogue with stars outside the support"
    )
    one.add_argument("--overwrite", action="store_true", help="replace an existing output")
    one.add_argument(
        "--resume", action="store_true", help="go on with an output whose writing was interrupted"
    )
    one.add_argument("--quiet", action="store_true", help="no progress bars")


def _command(
    commands: argparse._SubParsersAction,
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser
