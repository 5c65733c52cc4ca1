"""What the readers of all formats share: how a file is laid out, and the error."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

type Values = tuple[NDArray[Any], NDArray[np.bool_]]  # with a mask, True where missing


class CatalogueError(ValueError):
    """A table that cannot be used or written, with what to change."""


class Layout(NamedTuple):
    """How a survey lays out its file, where that is not the common way.

    Attributes
    ----------
    hdus : tuple of str
        Tables of a FITS file that hold the same stars row by row; read side by
        side, their columns are called ``HDU_COLUMN``. Empty: the first table.
    separator : str
        What separates the columns of a CSV file; commas are read as well.
    text : tuple of str
        Columns of a CSV file that are text although they look like numbers.
    """

    hdus: tuple[str, ...] = ()
    separator: str = ","
    text: tuple[str, ...] = ()


#: The last character that ASCII has.
MOST_ASCII = 127

#: One table in a file, comma-separated if it is text.
COMMON = Layout()


def plain(column: Any) -> Values:
    """Return the values as they lie under the mask, and the mask."""
    return np.asarray(np.ma.getdata(column)), np.ma.getmaskarray(column)


def refuse_twice(names: Iterable[str]) -> None:
    """Refuse names that readers would make unique on their own."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise CatalogueError(f"two columns are called {name!r}; rename or remove one")
        seen.add(name)


def refuse_unwritable(table: Table, kind: str) -> None:
    """Refuse columns that a format cannot hold."""
    for name, column in table.columns.items():
        what = None
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


def unpacked(path: Path) -> gzip.GzipFile | BinaryIO:
    """Open a file, which may be gzipped, to read its bytes."""
    # Python's gzip, unlike Arrow's, notices where a file was cut short.
    return gzip.GzipFile(path) if path.suffix.lower() == ".gz" else path.open("rb")
