"""FITS tables: read whole or in parts, written whole or in parts."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from .layout import CatalogueError, Layout, refuse_twice

#: What FITS writers put for "no value" among 64-bit integers.
NULL = np.iinfo(np.int64).min

#: Bytes that the data of a FITS file are filled up to a multiple of.
BLOCK = 2880

#: What a gzipped file begins with, whatever its suffix.
GZIPPED = b"\x1f\x8b"


def read_fits(path: Path, layout: Layout) -> Table:
    """Read the first table of a file, or those that the layout names side by side."""
    with _opened(path) as hdus:
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
    if _gzipped(path):
        return None
    with _opened(path) as hdus:
        first = _first_table(hdus)
        if not isinstance(first, fits.BinTableHDU):
            return None
        # Lists of any length lie behind the table.
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
            blocks = held + bytes(-len(held) % BLOCK)
            text = own.tostring().encode("ascii")
            part = fits.BinTableHDU.fromstring(text + blocks, uint=True)  # as fits.open does
            table = _read_hdu(part)
            table.keep_columns(names)  # not table[names]: a table so indexed holds itself
            yield table


def fits_rows(path: Path) -> int | None:
    """Return the number of rows of a file's first table; none where it must be unpacked for it."""
    if _gzipped(path):
        return None
    with _opened(path) as hdus:
        found = _first_table(hdus)
        return None if found is None else int(found.header["NAXIS2"])


def _gzipped(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(GZIPPED)) == GZIPPED


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file's tables.

    Opened here, because astropy leaves a damaged file open, and unpacked here, because it looks
    for the next table of a damaged gzipped file for ever.
    """
    with path.open("rb") as stream:
        held = io.BytesIO(gzip.decompress(stream.read())) if _gzipped(path) else stream
        with fits.open(held) as hdus:
            yield hdus


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


class Columns(NamedTuple):
    """What must be known of all parts of a table before the first row is written.

    Attributes
    ----------
    rows : int
    gaps : set of str
        Integers and truth values that are missing somewhere.
    text : dict of str to dtype
        Of the columns of text, as wide as the longest.
    """

    rows: int
    gaps: set[str]
    text: dict[str, Any]

    @classmethod
    def of(cls, tables: Iterable[Table]) -> Columns:
        """Go through all parts."""
        rows, gaps, text = 0, set[str](), dict[str, Any]()
        for table in tables:
            rows += len(table)
            for name, column in table.columns.items():
                kind = column.dtype.kind
                if isinstance(column, MaskedColumn) and kind in "biu":
                    gaps.add(name)
                if kind in "US":
                    text[name] = np.promote_types(text.get(name, column.dtype), column.dtype)
        return cls(rows, gaps, text)

    def same_text(self, table: Table) -> Table:
        """Return a part with text as wide as that of the whole."""
        table = Table(table, copy=False)
        for name, dtype in self.text.items():
            if table[name].dtype != dtype:
                table[name] = table[name].astype(dtype)
        return table

    def for_fits(self, table: Table) -> Table:
        """Return a part with the columns of the whole, as FITS can hold them."""
        table = with_units_of(self.same_text(table), "fits")
        for name in self.gaps:
            column = MaskedColumn(table[name])
            if column.max() > np.iinfo(np.int64).max:
                raise CatalogueError(f"{name}: FITS has no gaps in such integers; write .parquet")
            table[name] = column.astype(np.int64)
            table[name].fill_value = NULL
        return table


def write_fits(table: Table, path: Path) -> None:
    """Write a table with units, descriptions and content descriptors."""
    write_fits_parts(lambda: [table], path)


def write_fits_parts(parts: Callable[[], Iterable[Table]], path: Path) -> None:
    """Write tables of the same columns one below the other.

    They are gone through twice: how wide text is and what has gaps must be known first.
    """
    columns = Columns.of(parts())
    with path.open("wb") as stream:
        written = 0
        for number, table in enumerate(parts()):
            header, data = _encoded(columns.for_fits(table))
            if number == 0:
                header["NAXIS2"] = columns.rows
                fits.PrimaryHDU().writeto(stream)
                stream.write(header.tostring().encode("ascii"))
            stream.write(data)
            written += len(data)
        stream.write(bytes(-written % BLOCK))


def _encoded(table: Table) -> tuple[fits.Header, bytes]:
    """Return the header of a table and its rows as they lie in a file."""
    hdu = fits.table_to_hdu(table)
    for position, column in enumerate(table.itercols(), start=1):
        for key, text in (("TCOMM", column.description), ("TUCD", column.meta.get("ucd"))):
            if text:
                hdu.header[f"{key}{position}"] = text.encode("ascii", "replace").decode()
    held = io.BytesIO()
    hdu.writeto(held)
    size = hdu.header["NAXIS1"] * len(table)
    begins = held.tell() - size - -size % BLOCK
    return hdu.header, held.getvalue()[begins : begins + size]


def with_units_of(table: Table, standard: str) -> Table:
    """Drop the units that a standard does not know, such as dex."""
    for column in table.itercols():
        try:
            if column.unit is not None:
                u.Unit(column.unit.to_string(standard), format=standard)
        except ValueError:
            column.unit = None
    return table
