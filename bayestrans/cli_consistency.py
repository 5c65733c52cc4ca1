"""What the commands do that ask whether several translations agree."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure

from . import plot
from .catalogue import read_table, write_table
from .consistency import chain, round_trip
from .files import refuse_inputs, whole
from .load import load
from .store import check_target
from .ways import Consistency


def run_round_trip(options: argparse.Namespace) -> int:
    """Translate stars to B and back, and say how that compares with what A measured."""
    targets = _targets(options, "round_trip", options.there, options.back)
    there, back = load(options.there), load(options.back)
    found = round_trip(there, back, _some(options), draws=options.draws, seed=options.seed)
    return _leave(found, plot.round_trip, targets)


def run_chain(options: argparse.Namespace) -> int:
    """Translate stars to B and on to C, and compare with the direct way."""
    files = options.first, options.second, options.direct
    targets = _targets(options, "chain", *files)
    first, second, direct = (load(file) for file in files)
    found = chain(first, second, direct, _some(options), draws=options.draws, seed=options.seed)
    return _leave(found, plot.chain, targets)


def _targets(options: argparse.Namespace, name: str, *models: str) -> tuple[Path, Path] | None:
    """Return the table and the picture to write, which may be."""
    if options.out is None:
        return None
    folder = Path(options.out)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; give a folder to write to")
    targets = folder / f"{name}.csv", folder / f"{name}.png"
    for target in targets:
        refuse_inputs(target, options.catalogue, *models)
        if folder.exists():
            check_target(target, overwrite=options.overwrite)
    return targets


def _some(options: argparse.Namespace) -> Table:
    """Return as many stars of the catalogue as are asked for, drawn at random."""
    if options.stars < 1:
        raise ValueError(f"--stars {options.stars} leaves none; give at least 1")
    table = read_table(options.catalogue)
    if len(table) <= options.stars:
        return table
    rows = np.random.default_rng(options.seed).choice(len(table), options.stars, replace=False)
    return table[np.sort(rows)]


def _leave(
    found: Consistency, picture: Callable[[Consistency], Figure], targets: tuple[Path, Path] | None
) -> int:
    if targets is not None:
        table, drawing = targets
        table.parent.mkdir(parents=True, exist_ok=True)
        write_table(found.table(), table, overwrite=True)
        with whole(drawing) as partial:
            picture(found).savefig(partial, dpi=200, format="png")
    print(found)
    return 0
