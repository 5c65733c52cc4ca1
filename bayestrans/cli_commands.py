"""What the commands do, apart from those about surveys."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from . import plot
from .calibration import describe
from .catalogue import check_writable, read_pairs, write_table
from .demo import demo
from .diagnose import Diagnosis, diagnose
from .evaluate import evaluate
from .files import refuse_inputs, whole, write_text
from .infer import fit
from .load import load
from .mclmc import MCLMC
from .network import Network
from .pairs import Pairs
from .parts import interrupted
from .posterior import Posterior
from .sample import NUTS, SVI, Ensemble, Method
from .spec import Spec
from .store import check_target
from .support import support
from .translate import translate_file

METHODS: dict[str, Callable[..., Method]] = {
    "mclmc": MCLMC,
    "nuts": NUTS,
    "svi": SVI,
    "ensemble": Ensemble,
}

#: What `diagnose` leaves as pictures, by their names in `plot`.
DIAGNOSIS_PICTURES = ("trace_rank", "loo_pit", "predictive_check")


def run_fit(options: argparse.Namespace) -> int:
    """Learn a translation and write the model."""
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


def run_translate(options: argparse.Namespace) -> int:
    """Translate a catalogue into a file and say how its stars are covered."""
    refuse_inputs(options.out, options.model, options.catalogue)
    posterior = load(options.model)
    try:
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
    except KeyboardInterrupt:
        if not interrupted(options.out):
            raise
        remedy = "go on with --resume, or begin anew with --overwrite"
        print(f"\nbayestrans translate: stopped; {remedy}", file=sys.stderr)
        return 130
    print(f"wrote {found.stars} stars to {found.path}")
    for name, count in found.classes.items():
        print(f"  {name:8s}{count:10d}  ({100 * count / max(1, found.stars):.1f} %)")
    for bit, text in ((1, "with an input missing, wider"), (16, "without any input, no answer")):
        print(f"  {text}: {found.flags[bit]}")
    return 0


def run_evaluate(options: argparse.Namespace) -> int:
    """Score a model on held-out stars."""
    posterior = load(options.model)
    evaluation = evaluate(posterior, read_pairs(options.pairs, posterior.spec))
    print(evaluation.to_json() if options.json else evaluation)
    return 0


def run_diagnose(options: argparse.Namespace) -> int:
    """Judge a model; write the diagnosis and pictures of it if asked to."""
    posterior = load(options.model)
    tables = (options.pairs, options.train)
    if options.out is not None:
        folder = Path(options.out)
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(f"{folder} is a file; give a folder to write to")
        targets = [folder / f"{name}.png" for name in DIAGNOSIS_PICTURES]
        tree, text = folder / "diagnosis.nc", folder / "diagnosis.txt"
        folder.mkdir(parents=True, exist_ok=True)
        for target in (tree, text, *targets):
            refuse_inputs(target, options.model, *(table for table in tables if table))
            check_target(target, overwrite=options.overwrite)
    held_out, train = (_pairs(table, posterior) for table in tables)
    diagnosis = diagnose(posterior, train=train, held_out=held_out)
    if options.out is not None:
        diagnosis.save(tree, overwrite=True)
        write_text(text, f"{diagnosis}\n")
        _draw(diagnosis, folder)
    print(diagnosis)
    return int(options.strict and bool(diagnosis.warnings))


def _pairs(table: str | None, posterior: Posterior) -> Pairs | None:
    return None if table is None else read_pairs(table, posterior.spec)


def _draw(diagnosis: Diagnosis, folder: Path) -> None:
    """Leave each picture that the diagnosis has enough for, and none of an earlier one."""
    for name in DIAGNOSIS_PICTURES:
        path = folder / f"{name}.png"
        try:
            figure = getattr(plot, name)(diagnosis)
        except ValueError:  # one chain, or no stars to compare with
            path.unlink(missing_ok=True)
            continue
        with whole(path) as partial:
            figure.savefig(partial, dpi=200, format="png")


def run_support(options: argparse.Namespace) -> int:
    """Say how well the training stars cover a table."""
    posterior = load(options.model)
    if options.out is not None:
        refuse_inputs(options.out, options.model, options.catalogue)
        check_writable(options.out, overwrite=options.overwrite)
    found = support(posterior, options.catalogue)
    if options.out is not None:
        write_table(found.to_table(), options.out, overwrite=options.overwrite)
    print(found)
    return 0


def run_demo(options: argparse.Namespace) -> int:
    """Do the main job on simulated surveys."""
    found = demo(
        options.out, seed=options.seed, overwrite=options.overwrite, progress=not options.quiet
    )
    print((found.folder / "scores.txt").read_text(encoding="utf-8"))
    print(f"left in {found.folder}: " + ", ".join(sorted(p.name for p in found.folder.iterdir())))
    return 0
