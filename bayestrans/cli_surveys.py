"""What the commands about surveys do: presets, clean tables, common stars, downloads."""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

from .clean import clean
from .fetch import fetch
from .files import refuse_inputs, write_text
from .joins import GAIA
from .match import MatchWarning, pair
from .presets import overview, survey
from .store import check_target
from .tables import check_writable, write_table


def run_surveys(options: argparse.Namespace) -> int:
    """List the presets, or print one."""
    print(overview() if options.name is None else survey(options.name))
    return 0


def run_clean(options: argparse.Namespace) -> int:
    """Apply a preset to a table."""
    refuse_inputs(options.out, options.catalogue, options.survey)
    check_writable(options.out, overwrite=options.overwrite)
    found = clean(options.catalogue, options.survey, without=options.without)
    write_table(found.table, options.out, overwrite=options.overwrite)
    print(f"{found}\nwrote {len(found.table)} stars to {options.out}")
    return 0


def run_pair(options: argparse.Namespace) -> int:
    """Find the common stars of two surveys and write their spec."""
    spec = options.spec or os.fspath(Path(options.out).with_suffix(".toml"))
    for target in (options.out, spec):
        refuse_inputs(target, options.a, options.b, options.survey_a, options.survey_b)
    if Path(options.out).resolve() == Path(spec).resolve():
        raise ValueError(f"{options.out}: table and spec cannot be one file; name two")
    check_writable(options.out, overwrite=options.overwrite)
    check_target(spec, overwrite=options.overwrite)
    on = options.on or GAIA
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MatchWarning)  # the report has them
        found = pair(
            options.a,
            options.b,
            survey_a=options.survey_a,
            survey_b=options.survey_b,
            on=_two(on) if "=" in on else on,
            radius=options.radius,
            repeats=options.repeats,
            without=options.without,
            inputs=options.inputs,
            outputs=options.outputs,
            corrects=dict(_two(item) for item in options.corrects),
            suffix=options.suffix,
        )
    write_table(found.table, options.out, overwrite=options.overwrite)
    write_text(spec, found.spec.to_toml())
    print(f"{found}\nwrote {len(found.table)} stars to {options.out}, their spec to {spec}")
    print(f"next: bayestrans fit {options.out} --spec {spec} --out model.nc --hold-out 0.2")
    return 0


def _two(text: str) -> tuple[str, str]:
    first, sign, second = text.partition("=")
    if not (first and sign and second):
        raise ValueError(f"{text!r} is not of the form A=B")
    return first, second


def run_fetch(options: argparse.Namespace) -> int:
    """Download a catalogue."""
    print(fetch(options.name, options.out, max_rows=options.max_rows, overwrite=options.overwrite))
    return 0
