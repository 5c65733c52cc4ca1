"""What the commands do that make a model: fit and demo."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.table import Table

from .calibration import UNCALIBRATED, describe
from .catalogue import check_writable, layout_of, read_pairs, read_table, write_table
from .columns import matches
from .demo import demo
from .diagnose import Diagnosis, diagnose
from .evaluate import evaluate
from .files import refuse_inputs
from .formats import FORMATS, refuse_unwritable
from .identifiers import star_ids
from .infer import fit
from .mclmc import MCLMC
from .model import Noise
from .network import Network
from .pairs import Pairs
from .posterior import Posterior
from .sample import NUTS, SVI, Ensemble, Method
from .scores import Evaluation
from .spec import Input, Output, Spec
from .store import check_target

METHODS: dict[str, Callable[..., Method]] = {
    "mclmc": MCLMC,
    "nuts": NUTS,
    "svi": SVI,
    "ensemble": Ensemble,
}


def run_fit(options: argparse.Namespace) -> int:
    """Learn a translation and write the model."""
    refuse_inputs(options.out, options.pairs, options.spec)
    check_target(options.out, overwrite=options.overwrite)
    spec = Spec.from_toml(options.spec)
    table = _table_to_split(options, spec)
    pairs = read_pairs(options.pairs, spec)
    test = None
    if options.hold_out:
        pairs, test = pairs.split(options.hold_out, seed=options.seed)
    posterior = fit(
        pairs,
        method=_method(options),
        network=Network(tuple(options.hidden), options.activation),
        noise=Noise(error_factor=options.error_factor.replace("-", " ")),
        calibrate=options.calibrate,
        seed=options.seed,
        progress=not options.quiet,
    )
    posterior.save(options.out, overwrite=options.overwrite)
    diagnosis = _judged(posterior, pairs, test)
    print(f"\nwrote {options.out}")
    if table is not None and test is not None:
        kept_out = table[np.isin(star_ids(table, spec.id), test.ids)]
        _give_units(kept_out, spec)
        write_table(kept_out, options.held_out, overwrite=options.overwrite)
        print(f"wrote {len(kept_out)} rows of held-out stars to {options.held_out}")
    return int(options.strict and bool(diagnosis.warnings))


def _judged(posterior: Posterior, pairs: Pairs, test: Pairs | None) -> Diagnosis:
    """Print what was learned, whether it can be believed, and how it does on held-out stars."""
    print(f"{_plan_of(pairs)}\n")  # an output that should correct an input and does not shows here
    diagnosis = diagnose(posterior)
    print(diagnosis)
    report = posterior.record.get("held_out_regions")
    if report:
        print(f"\nRegions held out in turn: {describe(report, posterior.neighbours.thresholds)}")
    else:
        print(f"\n{UNCALIBRATED}")
    if test is not None:
        found = evaluate(posterior, test)
        print(f"\n{len(test)} held-out stars:\n{found}\n\n{_in_short(found, diagnosis)}")
    return diagnosis


def _table_to_split(options: argparse.Namespace, spec: Spec) -> Table | None:
    """Return the table of which the held-out rows are to be written, if they are."""
    if options.held_out is None:
        return None
    if not options.hold_out:
        raise ValueError("--held-out writes the stars that --hold-out keeps; give --hold-out 0.2")
    refuse_inputs(options.held_out, options.pairs, options.spec, options.out)
    table = read_table(options.pairs, layout_of(spec))
    vectors = any(column.ndim > 1 for column in table.itercols())
    check_writable(options.held_out, overwrite=options.overwrite, vectors=vectors)
    refuse_unwritable(table, FORMATS[Path(options.held_out).suffix.lower()])  # before the work
    return table


def _give_units(table: Table, spec: Spec) -> None:
    """Write down the units that were taken: whoever reads the stars again is not told once more."""
    items: tuple[Input | Output, ...] = (*spec.inputs, *spec.outputs)
    for item in items:
        unit = item.unit
        for name in (item.column, item.error):  # an error is in the unit of its value
            found = [] if name is None else matches(table, name)
            if unit and len(found) == 1:
                table[found[0]].unit = unit = table[found[0]].unit or unit


def _in_short(found: Evaluation, diagnosis: Diagnosis) -> str:
    """Say in a few lines what the tables above amount to."""
    nll = {"identity": "A's value plus a constant", "linear": "linear regression"}
    rivals = [f"{text} {found.baselines[name].nll:.2f}" for name, text in nll.items()]
    inside = np.mean([score.coverage["0.68"] for score in found.overall.outputs.values()])
    count = len(diagnosis.warnings)
    warned = f"; {count} warning{'s' * (count > 1)} above" if count else ""
    return (
        f"In short: NLL {found.overall.nll:.2f} ({'; '.join(rivals)}; lower is better); "
        f"68 % intervals hold {100 * inside:.0f} % of the values; sampling: {diagnosis.verdict}"
        f"{warned}"
    )


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
