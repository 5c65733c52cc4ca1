"""Comma-separated text: read at once or in parts, and written."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from astropy.table import Table

from .arrow import from_arrow, to_arrow
from .layout import COMMON, CatalogueError, Layout, refuse_twice, unpacked

#: Bytes in which the first lines of a file must end.
HEAD = 65_536
#: Smaller files (bytes) are read at once, larger ones in pieces of so many.
SMALL, PIECE = 2**26, 2**21
#: Spellings of "no value" among the identifiers.
NULLS = pa.array(["", "NA", "N/A", "n/a", "NULL", "null", "NaN", "nan", "None"])
#: What identifiers may be; the first that loses no digit serves.
EXACT = (pa.int64(), pa.uint64(), pa.float64())


class _Form(NamedTuple):
    """How the lines of a file are to be understood.

    Attributes
    ----------
    names : list of str
        Of the columns, as they stand in the first line, which has ``begin`` bytes.
    ids : list of str
        Columns whose digits count.
    text : list of str
        Columns that are text although they look like numbers.
    """

    names: list[str]
    ids: list[str]
    text: list[str]
    begin: int
    parse: pa.csv.ParseOptions

    def read(self, source: Any, **options: Any) -> pa.Table:
        """Read lines, of which the first tells the names unless these are given."""
        given: dict[str, Any] = {"column_types": {}} | options.pop("convert", {})
        strings = dict.fromkeys([*self.ids, *self.text], pa.string())
        convert = pa.csv.ConvertOptions(
            timestamp_parsers=["\x01"],  # none that fits: times stay the text that they are
            **given | {"column_types": given["column_types"] | strings},
        )
        return pa.csv.read_csv(source, parse_options=self.parse, convert_options=convert, **options)


def _form(head: bytes, layout: Layout) -> _Form:
    """Return how a file is to be understood by its first lines."""
    first, second, *_ = [*head.splitlines(keepends=True), b"", b""]
    header = first.decode("utf-8-sig").rstrip("\r\n")
    separator = layout.separator if layout.separator in header else ","
    _check_separator(separator, header, second.decode("utf-8", "replace").rstrip("\r\n"))
    names = next(csv.reader([header], delimiter=separator), [])
    text = [name for name in names if name.strip() in layout.text]
    ids = [name for name in names if layout.identifies(name) and name not in text]
    # In a table of one column an empty line is a gap.
    parse = pa.csv.ParseOptions(delimiter=separator, ignore_empty_lines=len(names) > 1)
    return _Form(names, ids, text, len(first), parse)


def _check_separator(separator: str, header: str, row: str) -> None:
    if f'{separator} "' in header:  # the quotes would be read as part of the names
        raise CatalogueError(f"blanks stand between {separator!r} and quotes; remove them")
    if separator in header:
        return
    found = [
        name for sign, name in {"|": "'|'", ";": "';'", "\t": "tabs"}.items() if sign in header
    ]
    if header.startswith("#"):
        raise CatalogueError("the first line is a comment; remove what precedes the columns' names")
    if not found and len(row.split()) == len(header.split()) > 1:
        found = ["blanks"]
    if found:
        raise CatalogueError(f"the columns are separated by {found[0]}; separate them by commas")


def read_csv(path: Path, layout: Layout) -> Table:
    """Read comma-separated text, identifiers to their last digit."""
    with unpacked(path) as stream:
        head = stream.read(HEAD)
    if not head.strip():
        raise CatalogueError("the file holds blanks only; fetch or write it again")
    form = _form(head, layout)
    source: Any = path
    if path.suffix.lower() == ".gz":
        with unpacked(path) as stream:
            source = pa.BufferReader(stream.read())
    elif len(head) < HEAD and b"\n" not in head:  # names alone, which may lack their end
        source = pa.BufferReader(head + b"\n")
    arrow = form.read(source)
    for name in set(form.ids) & set(arrow.column_names):
        position = arrow.column_names.index(name)
        text = _bare(arrow.column(position))
        kind = next(iter(_exact(text)), pa.string())
        arrow = arrow.set_column(position, name, text.cast(kind))
    return from_arrow(arrow)


def _bare(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return identifiers without blanks about them, null where there is no value."""
    text = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.is_in(text, NULLS), None, text)


def _exact(text: pa.ChunkedArray) -> list[pa.DataType]:
    """Return the types of numbers that keep every digit of identifiers, 007 and 2**63 too."""
    if pc.any(pc.match_substring_regex(text, r"^0\d")).as_py():
        return []
    return [kind for kind in EXACT if _fits(text, kind)]


def _fits(text: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        text.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


# ---- in parts -----------------------------------------------------------------------------


def csv_batches(
    path: Path, rows: int, wanted: Callable[[str], bool], layout: Layout = COMMON
) -> Iterator[Table] | None:
    """Return tables of some rows each, of the wanted columns; nothing where it must be whole.

    Read twice: what kind of numbers a column holds is known at the end of the file only.
    """
    with unpacked(path) as stream:
        head = stream.read(HEAD)
    if path.stat().st_size < SMALL or b"\n" not in head:
        return None
    form = _form(head, layout)
    refuse_twice(name.strip() for name in form.names)
    names = [name for name in form.names if wanted(name.strip())]
    kinds = _kinds(path, form, names)
    return None if kinds is None else _tables(path, form, kinds, rows)


def csv_rows(path: Path) -> int | None:
    """Return about how many rows a file has: its lines, which a text within quotes may add to."""
    if path.suffix.lower() == ".gz":  # unpacking it would be half of reading it
        return None
    lines, last = 0, b"\n"
    with path.open("rb") as stream:
        while block := stream.read(PIECE):
            lines, last = lines + block.count(b"\n"), block[-1:]
    return max(0, lines - 1 + (last != b"\n"))


def _pieces(path: Path, form: _Form) -> Iterator[pa.BufferReader]:
    """Yield the lines below the first, many at a time."""
    with unpacked(path) as stream:
        stream.read(form.begin)
        rest = b""
        while block := stream.read(PIECE):
            lines, end, after = (rest + block).rpartition(b"\n")
            rest = after
            if lines:
                yield pa.BufferReader(lines + end)
        if rest.strip():
            yield pa.BufferReader(rest)


def _read_piece(form: _Form, piece: pa.BufferReader, convert: dict[str, Any]) -> pa.Table:
    return form.read(
        piece, convert=convert, read_options=pa.csv.ReadOptions(column_names=form.names)
    )


def _kinds(path: Path, form: _Form, names: list[str]) -> dict[str, pa.DataType] | None:
    """Return the type that holds a whole column, for each; nothing if pieces have no common one."""
    kinds: dict[str, pa.DataType] = {}
    exact = {name: list(EXACT) for name in names if name in form.ids}
    for piece in _pieces(path, form):
        part = _read_piece(form, piece, {"include_columns": names})
        for name, column in zip(names, part.columns, strict=True):
            if name in exact:
                keep = _exact(_bare(column))
                exact[name] = [kind for kind in exact[name] if kind in keep]
            else:
                both = {kinds.get(name, pa.null()), column.type} - {pa.null()}
                if len(both) > 1 and both != {pa.int64(), pa.float64()}:
                    return None
                kinds[name] = max(both, default=pa.null(), key=pa.types.is_floating)
    found = kinds | {name: next(iter(fit), pa.string()) for name, fit in exact.items()}
    return {name: found[name] for name in names} if kinds else None


def _tables(path: Path, form: _Form, kinds: dict[str, pa.DataType], rows: int) -> Iterator[Table]:
    """Yield tables of ``rows`` rows, the last of what is left."""
    convert = {"include_columns": list(kinds), "column_types": kinds}
    waiting = None
    for piece in _pieces(path, form):
        part = _read_piece(form, piece, convert)
        for name in set(form.ids) & kinds.keys():
            position = part.column_names.index(name)
            part = part.set_column(position, name, _bare(part.column(name)).cast(kinds[name]))
        waiting = part if waiting is None else pa.concat_tables([waiting, part])
        while len(waiting) > rows:
            yield from_arrow(waiting.slice(0, rows))
            waiting = waiting.slice(rows)
    if waiting is not None:
        yield from_arrow(waiting)


def write_csv(table: Table, path: Path) -> None:
    """Write the values, without units or descriptions."""
    write_csv_parts([to_arrow(table)], path)


def write_csv_parts(parts: Iterable[pa.Table], path: Path) -> None:
    """Write the values of one or more tables of the same columns one below the other."""
    parts = iter(parts)
    first = next(parts)
    options = pa.csv.WriteOptions(quoting_style="needed")
    with pa.csv.CSVWriter(path, first.schema, write_options=options) as writer:
        for part in itertools.chain([first], parts):
            writer.write_table(part)
