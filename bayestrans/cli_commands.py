"""What the commands do, apart from those about surveys."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.table import Table

from . import plot
from .attribution import Importance
from .calibration import describe
from .catalogue import check_writable, read_pairs, read_table, write_table
from .demo import demo
from .diagnose import Diagnosis, diagnose
from .evaluate import evaluate
from .files import refuse_inputs, whole, write_text
from .hats import workers
from .homogenise import homogenise
from .identifiers import star_ids
from .importance import importance
from .infer import fit
from .load import load
from .mclmc import MCLMC
from .merged import summary
from .network import Network
from .pairs import Pairs
from .plan import Plan, PlanError
from .plot_diagnose import pictures
from .posterior import Posterior
from .report import check_report, report
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
    table = _table_to_split(options)
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
    print(f"{_plan_of(pairs)}\n")  # an output that should correct an input and does not shows here
    diagnosis = diagnose(posterior)
    print(diagnosis)
    report = posterior.record.get("held_out_regions")
    if report:
        print(f"\nRegions held out in turn: {describe(report, posterior.neighbours.thresholds)}")
    if test is not None:
        print(f"\n{len(test)} held-out stars:\n{evaluate(posterior, test)}")
    print(f"\nwrote {options.out}")
    if table is not None and test is not None:
        kept_out = table[np.isin(star_ids(table, spec.id), test.ids)]
        write_table(kept_out, options.held_out, overwrite=options.overwrite)
        print(f"wrote {len(kept_out)} rows of held-out stars to {options.held_out}")
    return int(options.strict and bool(diagnosis.warnings))


def _table_to_split(options: argparse.Namespace) -> Table | None:
    """Return the table of which the held-out rows are to be written, if they are."""
    if options.held_out is None:
        return None
    if not options.hold_out:
        raise ValueError("--held-out writes the stars that --hold-out keeps; give --hold-out 0.2")
    refuse_inputs(options.held_out, options.pairs, options.spec, options.out)
    table = read_table(options.pairs)
    vectors = any(column.ndim > 1 for column in table.itercols())
    check_writable(options.held_out, overwrite=options.overwrite, vectors=vectors)
    return table


def _plan_of(pairs: Pairs) -> str:
    """Say what is learned: which outputs correct an input, and which have none to correct."""
    spec = pairs.spec
    corrected = [
        item.name if item.corrects == item.name else f"{item.name} (of {item.corrects})"
        for item in spec.outputs
        if item.corrects is not None
    ]
    alone = [item.name for item in spec.outputs if item.corrects is None]
    parts = [f"{len(pairs)} training stars, {len(spec.inputs)} inputs"]
    parts += [f"corrects {', '.join(corrected)}"] if corrected else []
    parts += [f"predicts {', '.join(alone)} (no input to correct)"] if alone else []
    return "; ".join(parts)


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
    with workers(options.catalogue, options.workers):
        found = translate_file(
            posterior,
            options.catalogue,
            options.out,
            overwrite=options.overwrite,
            resume=options.resume,
            draws=options.draws,
            seed=options.seed,
            strict=options.strict if options.max_outside is None else options.max_outside,
            progress=not options.quiet,
            chunk_size=options.chunk_size,
        )
    print(f"wrote {found.stars} stars to {found.path}")
    for name, count in found.classes.items():
        print(f"  {name:8s}{count:10d}  ({100 * count / max(1, found.stars):.1f} %)")
    for bit, text in ((1, "with an input missing, wider"), (16, "without any input, no answer")):
        print(f"  {text}: {found.flags[bit]}")
    return 0


def run_homogenise(options: argparse.Namespace) -> int:
    """Merge several surveys and say where the stars come from."""
    plan = Plan.from_toml(options.plan)
    out = plan.out if options.out is None else Path(options.out)
    if out is None:
        raise PlanError(f"plan {options.plan} names no output; give --out, or write out = ...")
    refuse_inputs(out, options.plan)
    found = homogenise(
        plan,
        out,
        overwrite=options.overwrite,
        draws=options.draws,
        seed=options.seed,
        progress=not options.quiet,
    )
    print(f"wrote {out}: {summary(found)}")
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
    found = pictures(diagnosis)
    for name in DIAGNOSIS_PICTURES:
        path = folder / f"{name}.png"
        if name not in found:  # one chain, or no stars to compare with
            path.unlink(missing_ok=True)
            continue
        with whole(path) as partial:
            found[name].savefig(partial, dpi=200, format="png")


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


def run_demo(options: argparse.Namespace) -> int:
    """Do the main job on simulated surveys."""
    found = demo(
        options.out,
        n_common=options.stars,
        method=None if options.steps is None else MCLMC(steps=options.steps),
        seed=options.seed,
        overwrite=options.overwrite,
        progress=not options.quiet,
    )
    print((found.folder / "scores.txt").read_text(encoding="utf-8"))
    print(f"left in {found.folder}: " + ", ".join(sorted(p.name for p in found.folder.iterdir())))
    return 0
