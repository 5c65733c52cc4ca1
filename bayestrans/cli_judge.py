"""What the commands do that judge a model: evaluate, diagnose, importance and report."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from . import plot
from .attribution import Importance
from .catalogue import read_pairs
from .diagnose import Diagnosis, diagnose
from .evaluate import evaluate
from .files import refuse_inputs, whole, write_text
from .importance import importance
from .load import load
from .pairs import Pairs
from .plot_diagnose import pictures
from .posterior import Posterior
from .report import check_report, report
from .store import check_target

#: What `diagnose` leaves as pictures, by their names in `plot`.
DIAGNOSIS_PICTURES = ("trace_rank", "loo_pit", "predictive_check")


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
    found = pictures(diagnosis)
    for name in DIAGNOSIS_PICTURES:
        path = folder / f"{name}.png"
        if name not in found:  # one chain, or no stars to compare with
            path.unlink(missing_ok=True)
            continue
        with whole(path) as partial:
            found[name].savefig(partial, dpi=200, format="png")


def run_importance(options: argparse.Namespace) -> int:
    """Say what a translation rests on; write tables and pictures if asked to."""
    posterior = load(options.model)
    targets = _importance_targets(options)
    pairs = None if options.pairs is None else read_pairs(options.pairs, posterior.spec)
    found = importance(
        posterior,
        pairs,
        groups=_groups(options.group),
        draws=options.draws,
        stars=options.stars,
        seed=options.seed,
        progress=not options.quiet,
    )
    for target in targets:
        if target != Path(options.out):
            target.parent.mkdir(parents=True, exist_ok=True)
        _write_importance(found, target)
    print(found)
    return 0


def _groups(texts: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts:
        name, sign, inputs = text.partition("=")
        if not (name and sign and inputs):
            raise ValueError(f"--group {text!r} is not of the form NAME=INPUT,...")
        if name in found:
            raise ValueError(f"--group names {name!r} twice; name each group once")
        found[name] = [part.strip() for part in inputs.split(",")]
    return found


def _importance_targets(options: argparse.Namespace) -> list[Path]:
    """Return the files to write, all of which may be."""
    if options.out is None:
        return []
    out = Path(options.out)
    targets = [out]
    if out.suffix != ".json":
        if out.exists() and not out.is_dir():
            raise FileExistsError(f"{out} is a file; give a folder to write to, or a .json file")
        names = ("importance.txt", "importance.csv", "importance.json", "importance.nc")
        targets = [out / name for name in (*names, "importance.png", "error_budget.png")]
    for target in targets:
        refuse_inputs(target, options.model, *([options.pairs] if options.pairs else []))
        if out.suffix == ".json" or out.exists():
            check_target(target, overwrite=options.overwrite)
    return targets


def _write_importance(found: Importance, target: Path) -> None:
    if target.suffix == ".json":
        write_text(target, json.dumps(found.to_dict(), indent=1) + "\n")
    elif target.suffix == ".txt":
        write_text(target, f"{found}\n")
    elif target.suffix == ".csv":
        write_text(target, found.table().to_csv(index=False))
    elif target.suffix == ".nc":
        with whole(target) as partial:
            found.to_tree().to_netcdf(partial, engine="h5netcdf")
    else:
        figure = {"importance": plot.importance, "error_budget": plot.error_budget}[target.stem]
        with whole(target) as partial:
            figure(found).savefig(partial, dpi=200, format="png")


def run_report(options: argparse.Namespace) -> int:
    """Write one page about a model."""
    given = [path for path in (options.pairs, options.catalogue) if path is not None]
    path = check_report(options.out, overwrite=options.overwrite)
    refuse_inputs(path, options.model, *given)
    posterior = load(options.model)
    pairs = None if options.pairs is None else read_pairs(options.pairs, posterior.spec)
    written = report(
        posterior,
        options.out,
        pairs=pairs,
        catalogue=options.catalogue,
        overwrite=options.overwrite,
    )
    print(f"wrote {written}")
    return 0
