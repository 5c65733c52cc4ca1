"""The formats of tables: how each is read from a path and written to one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from astropy.table import Table

from .arrow import read_parquet, write_parquet
from .delimited import csv_batches, read_csv, write_csv
from .fits_tables import read_fits, write_fits
from .layout import CatalogueError, Layout
from .text_tables import (
    ecsv_batches,
    is_ecsv,
    read_ecsv,
    read_votable,
    write_ecsv_parts,
    write_votable_parts,
)


def format_of(path: Path) -> str:
    """Return the format that a suffix promises, of a file that is there."""
    if path.is_dir():
        raise CatalogueError("this is a folder; give the path of one file")
    if not path.exists():
        raise CatalogueError("there is no such file; check the path")
    if path.stat().st_size == 0:
        raise CatalogueError("the file is empty (0 bytes); fetch or write it again")
    suffix = (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()
    if suffix not in FORMATS:
        raise CatalogueError(f"unknown suffix {suffix!r}; use {', '.join(FORMATS)}")
    return FORMATS[suffix]


def _read_text(path: Path, layout: Layout) -> Table:
    return read_ecsv(path) if is_ecsv(path) else read_csv(path, layout)


def text_batches(path: Path, rows: int, wanted: Callable[[str], bool]) -> Iterator[Table] | None:
    """Return tables of some rows each of what goes by the name of CSV."""
    return (ecsv_batches if is_ecsv(path) else csv_batches)(path, rows, wanted)


FORMATS = {
    **{".parquet": "Parquet", ".csv": "CSV", ".ecsv": "ECSV", ".fits": "FITS", ".fit": "FITS"},
    **{".vot": "VOTable", ".votable": "VOTable", ".xml": "VOTable"},
}
READERS: dict[str, Callable[[Path, Layout], Table]] = {
    **{"Parquet": read_parquet, "CSV": _read_text, "FITS": read_fits},
    **{"ECSV": lambda path, _: read_ecsv(path), "VOTable": lambda path, _: read_votable(path)},
}
WRITERS: dict[str, Callable[[Table, Path], None]] = {
    **{"Parquet": write_parquet, "CSV": write_csv, "FITS": write_fits},
    "ECSV": lambda table, path: write_ecsv_parts([table], path),
    "VOTable": lambda table, path: write_votable_parts(lambda: [table], path),
}
