"""The formats of tables: how each is read from a path and written to one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from astropy.table import Table

from .arrow import mixed, read_parquet, write_parquet
from .delimited import csv_batches, read_csv, write_csv
from .fits_tables import read_fits, write_fits
from .layout import CatalogueError, Layout, plain
from .text_tables import (
    ecsv_batches,
    is_ecsv,
    read_ecsv,
    read_votable,
    write_ecsv_parts,
    write_votable_parts,
)

#: The last character that ASCII has.
MOST_ASCII = 127


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


def refuse_unwritable(table: Table, kind: str) -> None:
    """Refuse columns that a format cannot hold."""
    for name, column in table.columns.items():
        what = None
        if kind != "ECSV" and column.dtype == object and mixed(*plain(column)):
            raise CatalogueError(
                f"{name}: its objects are of several kinds; make them text, or leave it out"
            )
        if kind == "VOTable" and column.dtype == np.uint64:
            what = "VOTables hold no unsigned 64-bit integers"
        if kind == "FITS" and not name.isascii():
            what = "FITS tables hold only ASCII in the names of columns"
        if kind == "FITS" and column.dtype.kind == "U" and plain(column)[0].nbytes:
            letters = np.ascontiguousarray(plain(column)[0]).view(np.uint32)
            rows = (letters.reshape(len(column), -1) > MOST_ASCII).any(axis=1).sum()
            if rows:
                what = f"FITS tables hold only ASCII, and {rows} rows have other letters"
        if what is not None:
            raise CatalogueError(f"{name}: {what}; write .parquet or .csv")


def _read_text(path: Path, layout: Layout) -> Table:
    return read_ecsv(path) if is_ecsv(path) else read_csv(path, layout)


def text_batches(
    path: Path, rows: int, wanted: Callable[[str], bool], layout: Layout
) -> Iterator[Table] | None:
    """Return tables of some rows each of what goes by the name of CSV."""
    if is_ecsv(path):
        return ecsv_batches(path, rows, wanted)
    return csv_batches(path, rows, wanted, layout)


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
