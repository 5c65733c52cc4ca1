"""The formats of tables: how each is read from a path and written to one."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import votable
from astropy.table import Column, Table, meta

from .arrow import read_parquet, write_parquet
from .delimited import read_csv, write_csv
from .fits_tables import read_fits, with_units_of, write_fits
from .layout import CatalogueError, Layout, refuse_twice, unpacked


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


def write_ecsv_parts(parts: Iterable[Table], path: Path) -> None:
    """Write tables of the same columns one below the other, with what the first tells of them."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        for number, table in enumerate(parts):
            text = io.StringIO()
            table.write(text, format="ascii.ecsv")
            text.seek(0)
            if number > 0:
                next(line for line in text if not line.startswith("#"))  # the names
            stream.writelines(text)


FORMATS = {
    **{".parquet": "Parquet", ".csv": "CSV", ".ecsv": "ECSV", ".fits": "FITS", ".fit": "FITS"},
    **{".vot": "VOTable", ".votable": "VOTable", ".xml": "VOTable"},
}
READERS: dict[str, Callable[[Path, Layout], Table]] = {
    **{"Parquet": read_parquet, "CSV": _read_text, "FITS": read_fits},
    **{"ECSV": _read_ecsv, "VOTable": _read_votable},
}
WRITERS: dict[str, Callable[[Table, Path], None]] = {
    **{"Parquet": write_parquet, "CSV": write_csv, "FITS": write_fits},
    "ECSV": lambda table, path: write_ecsv_parts([table], path),
    "VOTable": lambda table, path: with_units_of(table, "vounit").write(path, format="votable"),
}
