"""The formats of tables: how each is read from a path and written to one."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.io import fits, votable
from astropy.table import Column, MaskedColumn, Table, meta

from .arrow import read_parquet, write_parquet
from .delimited import read_csv, write_csv
from .layout import CatalogueError, Layout, refuse_twice, unpacked

#: What FITS writers put for "no value" among 64-bit integers.
NULL = np.iinfo(np.int64).min

#: Bytes that the data of a FITS file are filled up to a multiple of.
FITS_BLOCK = 2880


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


# ---- FITS ---------------------------------------------------------------------------------


def _read_fits(path: Path, layout: Layout) -> Table:
    # Opened here, because astropy leaves a damaged file open.
    with path.open("rb") as stream, fits.open(stream) as hdus:
        found = [hdu for hdu in hdus if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU))]
        if not found:
            raise CatalogueError("the FITS file holds no table, or is cut short; fetch it again")
        if not layout.hdus:
            return _read_hdu(found[0])
        named_hdus = {hdu.name: hdu for hdu in found}
        for name in layout.hdus:
            if name not in named_hdus:
                tables = ", ".join(name or "one without a name" for name in named_hdus)
                raise CatalogueError(f"there is no table {name} among its tables ({tables})")
        return _side_by_side({name: _read_hdu(named_hdus[name]) for name in layout.hdus})


def fits_batches(path: Path, rows: int, wanted: Callable[[str], bool]) -> Iterator[Table] | None:
    """Return tables of some rows each, of the wanted columns; nothing where it must be whole."""
    with path.open("rb") as stream, fits.open(stream) as hdus:
        first = _first_table(hdus)
        # Compressed files must be unpacked whole; lists of any length lie behind the table.
        if not isinstance(first, fits.BinTableHDU) or path.suffix.lower() == ".gz":
            return None
        lists = any(re.match(r"\d*[PQ]", column.format) for column in first.columns)
        if lists or not first.header["NAXIS2"]:
            return None
        refuse_twice(first.columns.names)
    return _fits_parts(path, rows, wanted)


def _first_table(hdus: Any) -> Any:
    return next((hdu for hdu in hdus if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU))), None)


def _fits_parts(path: Path, rows: int, wanted: Callable[[str], bool]) -> Iterator[Table]:
    with path.open("rb") as stream, fits.open(stream, lazy_load_hdus=True) as hdus:
        hdu = _first_table(hdus)
        names = [name for name in hdu.columns.names if wanted(name.strip())]
        header, begins = hdu.header, hdu.fileinfo()["datLoc"]
        width, total = header["NAXIS1"], header["NAXIS2"]
        for start in range(0, total, rows):
            count = min(rows, total - start)
            stream.seek(begins + start * width)
            held = stream.read(count * width)
            if len(held) < count * width:
                raise CatalogueError("the FITS file is cut short; fetch it again")
            # A table of its own, so that each part is read as the whole would be.
            own = header.copy()
            own["NAXIS2"], own["PCOUNT"] = count, 0
            blocks = held + bytes(-len(held) % FITS_BLOCK)
            part = fits.BinTableHDU.fromstring(own.tostring().encode("ascii") + blocks)
            table = _read_hdu(part)
            table.keep_columns(names)  # not table[names]: a table so indexed holds itself
            yield table


def fits_rows(path: Path) -> int | None:
    """Return the number of rows of a file's first table."""
    with path.open("rb") as stream, fits.open(stream) as hdus:
        found = _first_table(hdus)
        return None if found is None else int(found.header["NAXIS2"])


def _read_hdu(hdu: Any) -> Table:
    refuse_twice(hdu.columns.names)
    return _with_scaled_gaps(Table.read(hdu, format="fits"), hdu)


def _side_by_side(parts: dict[str, Table]) -> Table:
    """Join tables of the same stars in the same order; their columns get the table's name."""
    lengths = {name: len(part) for name, part in parts.items()}
    if len(set(lengths.values())) > 1:
        rows = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise CatalogueError(f"its tables differ in their rows ({rows}); fetch the file again")
    return Table(
        {
            f"{name}_{column.name}": column
            for name, part in parts.items()
            for column in part.itercols()
        },
        copy=False,
    )


def _with_scaled_gaps(table: Table, hdu: Any) -> Table:
    """Mask what TNULL marks in scaled columns, where astropy scales it like a value."""
    for column in hdu.columns:
        scaled = column.bscale not in (None, "", 1) or column.bzero not in (None, "", 0)
        if scaled and isinstance(column.null, int):
            stored = hdu.data.view(np.ndarray)[column.name]
            table[column.name] = MaskedColumn(table[column.name], mask=stored == column.null)
    return table


def _write_fits(table: Table, path: Path) -> None:
    table = _with_units_of(table, "fits")
    for name, column in table.columns.items():
        if isinstance(column, MaskedColumn) and column.dtype.kind in "biu":
            if column.max() > np.iinfo(np.int64).max:
                raise CatalogueError(f"{name}: FITS has no gaps in such integers; write .parquet")
            table[name] = column.astype(np.int64)
            table[name].fill_value = NULL
    hdu = fits.table_to_hdu(table)
    for position, column in enumerate(table.itercols(), start=1):
        for key, text in (("TCOMM", column.description), ("TUCD", column.meta.get("ucd"))):
            if text:
                hdu.header[f"{key}{position}"] = text.encode("ascii", "replace").decode()
    hdu.writeto(path)


def _with_units_of(table: Table, standard: str) -> Table:
    """Drop the units that a standard does not know, such as dex."""
    for column in table.itercols():
        try:
            if column.unit is not None:
                u.Unit(column.unit.to_string(standard), format=standard)
        except ValueError:
            column.unit = None
    return table


# ---- VOTable and ECSV ---------------------------------------------------------------------


def _read_votable(path: Path, _: Layout) -> Table:
    tree = votable.parse(path, verify="warn")  # else it cuts numbers to their type in silence
    for table in tree.iter_tables():
        refuse_twice(field.name for field in table.fields)
        return table.to_table(use_names_over_ids=True)
    told = [info.content for part in tree.resources for info in part.infos if info.content]
    said = f" and says {told[0].strip()[:80]!r}" if told else ""
    raise CatalogueError(f"the VOTable holds no table{said}; fetch it again")


def _read_text(path: Path, layout: Layout) -> Table:
    with unpacked(path) as stream:
        begins = stream.read(7)
    return _read_ecsv(path, layout) if begins == b"# %ECSV" else read_csv(path, layout)


def _read_ecsv(path: Path, _: Layout) -> Table:
    with unpacked(path) as stream:
        lines = list(itertools.takewhile(lambda line: line.startswith(b"#"), stream))
        rows = next(stream, b"")  # after the names
    if not rows and b"subtype" in b"".join(lines):
        return _without_rows(lines)
    table = Table.read(path, format="ascii.ecsv")
    refuse_twice(item["name"] for item in _ecsv_header(lines)["datatype"])
    return table


def _ecsv_header(lines: list[bytes]) -> dict[str, Any]:
    found: dict[str, Any] = meta.get_header_from_yaml(
        [line[2:].decode("utf-8").rstrip() for line in lines]
    )
    return found


def _without_rows(lines: list[bytes]) -> Table:
    """Return an empty table with vectors, which astropy writes and does not read."""
    header = _ecsv_header(lines)
    refuse_twice(item["name"] for item in header["datatype"])
    table = Table(meta=header.get("meta"))
    for item in header["datatype"]:
        kind, _, shape = item.get("subtype", item["datatype"]).partition("[")
        widths = [width or 0 for width in json.loads(f"[{shape}" if shape else "[]")]
        known = {key: item[key] for key in {"unit", "description", "meta"} & item.keys()}
        dtype = "U1" if kind == "string" else kind
        table[item["name"]] = Column(np.zeros((0, *widths), dtype), **known)
    return table


FORMATS = {
    **{".parquet": "Parquet", ".csv": "CSV", ".ecsv": "ECSV", ".fits": "FITS", ".fit": "FITS"},
    **{".vot": "VOTable", ".votable": "VOTable", ".xml": "VOTable"},
}
READERS: dict[str, Callable[[Path, Layout], Table]] = {
    **{"Parquet": read_parquet, "CSV": _read_text, "FITS": _read_fits},
    **{"ECSV": _read_ecsv, "VOTable": _read_votable},
}
WRITERS: dict[str, Callable[[Table, Path], None]] = {
    **{"Parquet": write_parquet, "CSV": write_csv, "FITS": _write_fits},
    "ECSV": lambda table, path: table.write(path, format="ascii.ecsv"),
    "VOTable": lambda table, path: _with_units_of(table, "vounit").write(path, format="votable"),
}
