"""ECSV and VOTable: text that tells of its columns first, read and written whole or in parts.

Any rows of such a file, with what stands before and after all rows, are such a file again: so
parts are read and written by what reads and writes the whole.
"""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from gzip import GzipFile
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat

import numpy as np
from astropy.io import votable
from astropy.table import Column, Table, meta

from .fits_tables import Columns, with_units_of
from .layout import CatalogueError, refuse_twice, unpacked

#: Bytes of a VOTable that are read at a time, and in which its rows must begin.
PIECE = 2**20

#: Where the rows of a VOTable begin, with the name space that its elements may have.
ROWS = re.compile(rb"<(\w+:)?TABLEDATA\s*>")

# ---- ECSV ---------------------------------------------------------------------------------


def is_ecsv(path: Path) -> bool:
    """Say whether a file begins as ECSV, whatever its suffix."""
    with unpacked(path) as stream:
        return stream.read(7) == b"# %ECSV"


def read_ecsv(path: Path) -> Table:
    """Read a table with all that its header tells."""
    with unpacked(path) as stream:
        lines = _ecsv_head(stream)
        rows = stream.readline()
    header = _ecsv_header(lines)
    if not rows and b"subtype" in b"".join(lines):
        return _without_rows(header)
    table = Table.read(path, format="ascii.ecsv")
    refuse_twice(item["name"] for item in header["datatype"])
    return table


def ecsv_batches(path: Path, rows: int, wanted: Callable[[str], bool]) -> Iterator[Table] | None:
    """Return tables of some rows each, of the wanted columns."""
    with unpacked(path) as stream:
        lines = _ecsv_head(stream)
        if not stream.readline():  # no row
            return None
    refuse_twice(item["name"] for item in _ecsv_header(lines)["datatype"])
    return _ecsv_parts(path, rows, wanted)


def _ecsv_parts(path: Path, rows: int, wanted: Callable[[str], bool]) -> Iterator[Table]:
    with unpacked(path) as stream:
        head = b"".join(_ecsv_head(stream))
        for some in itertools.batched(_ecsv_rows(stream), rows):
            text = (head + b"".join(some)).decode("utf-8")
            yield _of_wanted(Table.read(text, format="ascii.ecsv"), wanted)


def _of_wanted(table: Table, wanted: Callable[[str], bool]) -> Table:
    table.keep_columns([name for name in table.colnames if wanted(name.strip())])
    return table


def _ecsv_head(stream: Iterable[bytes]) -> list[bytes]:
    """Return the lines before the first row, the last of which has the names."""
    lines: list[bytes] = []
    for line in stream:
        lines.append(line)
        if not line.startswith(b"#"):
            break
    return lines


def _ecsv_rows(stream: Iterable[bytes]) -> Iterator[bytes]:
    """Yield rows, each with its line ends: text within quotes may have some."""
    row = b""
    for line in stream:
        row += line
        if row.count(b'"') % 2 == 0:
            if row.strip():
                yield row
            row = b""
    if row.strip():
        yield row


def _ecsv_header(lines: list[bytes]) -> dict[str, Any]:
    comments = (line for line in lines if line.startswith(b"#"))
    found: dict[str, Any] | None = meta.get_header_from_yaml(
        [line[2:].decode("utf-8").rstrip() for line in comments]
    )
    if not found or "datatype" not in found:
        raise ValueError("its header names no columns")
    return found


def _without_rows(header: dict[str, Any]) -> Table:
    """Return an empty table with vectors, which astropy writes and does not read."""
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


# ---- VOTable ------------------------------------------------------------------------------


def read_votable(source: Path | BinaryIO) -> Table:
    """Read the first table of a file."""
    tree = votable.parse(source, verify="warn")  # else it cuts numbers to their type in silence
    for table in tree.iter_tables():
        refuse_twice(field.name for field in table.fields)
        return table.to_table(use_names_over_ids=True)
    told = [info.content for part in tree.resources for info in part.infos if info.content]
    said = f" and says {told[0].strip()[:80]!r}" if told else ""
    raise CatalogueError(f"the VOTable holds no table{said}; fetch it again")


def votable_batches(path: Path, rows: int, wanted: Callable[[str], bool]) -> Iterator[Table] | None:
    """Return tables of some rows each, of the wanted columns; nothing where rows are binary."""
    with unpacked(path) as stream:
        held = stream.read(PIECE)
    begins = ROWS.search(held)
    if begins is None or not re.search(rb"<(\w+:)?TR\b", held[begins.end() :]):
        return None
    if len(re.findall(rb"<(?:\w+:)?TABLE\b", held[: begins.end()])) > 1:
        return None  # the first table has no such rows
    return _votable_parts(path, rows, wanted)


def _votable_parts(path: Path, rows: int, wanted: Callable[[str], bool]) -> Iterator[Table]:
    with unpacked(path) as stream:
        held = stream.read(PIECE)
        begins = ROWS.search(held)
        assert begins is not None
        # A part has not as many rows as the whole is said to have.
        head = re.sub(rb"\snrows\s*=\s*(\"\d+\"|'\d+')", b"", held[: begins.end()])
        space, tail = begins[1] or b"", _closing(head)
        found = _votable_rows(stream, held[begins.end() :], space)
        for some in itertools.batched(found, rows):
            part = io.BytesIO(b"".join((head, *some, tail)))
            yield _of_wanted(read_votable(part), wanted)


def _votable_rows(stream: BinaryIO | GzipFile, held: bytes, space: bytes) -> Iterator[bytes]:
    """Yield the rows of the first table, and see that the file goes on to its end."""
    row_ends, table_ends = b"</" + space + b"TR>", b"</" + space + b"TABLEDATA"
    while True:
        *whole, held = held.split(row_ends)
        yield from (row + row_ends for row in whole)
        if table_ends in held:
            break
        more = stream.read(PIECE)
        if not more:
            raise CatalogueError("the VOTable is cut short; fetch it again")
        held += more
    for more in iter(lambda: stream.read(PIECE), b""):
        held = held[-PIECE:] + more
    if b"</" + space + b"VOTABLE" not in held:
        raise CatalogueError("the VOTable is cut short; fetch it again")


def _closing(head: bytes) -> bytes:
    """Return what closes the elements that are open."""
    opened: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, _: opened.append(name)
    parser.EndElementHandler = lambda _: opened.pop()
    parser.Parse(head, False)
    return b"".join(f"</{name}>".encode() for name in reversed(opened))


def write_votable_parts(parts: Callable[[], Iterable[Table]], path: Path) -> None:
    """Write tables of the same columns one below the other.

    They are gone through twice: how wide text is must be known first.
    """
    columns, after = Columns.of(parts()), ""
    with path.open("w", encoding="utf-8", newline="") as stream:
        for number, table in enumerate(parts()):
            held = io.BytesIO()
            with_units_of(columns.same_text(table), "vounit").write(held, format="votable")
            text = held.getvalue().decode("utf-8")
            if not len(table):
                stream.write(text)
                return
            begin = text.index("<TABLEDATA>") + len("<TABLEDATA>\n")
            end = text.rindex("\n", begin - 1, text.rindex("</TABLEDATA>")) + 1
            stream.write(text[:end] if number == 0 else text[begin:end])
            after = text[end:]
        stream.write(after)
