"""What the commands do with catalogues: translate, homogenise and support."""

from __future__ import annotations

import argparse
from pathlib import Path

from .calibration import UNCALIBRATED
from .catalogue import check_writable, write_table
from .files import refuse_inputs
from .hats import workers
from .homogenise import homogenise
from .load import load
from .merged import summary
from .plan import Plan, PlanError
from .support import support
from .translate import translate_file


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
    if "held_out_regions" not in posterior.record:
        print(UNCALIBRATED)
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
