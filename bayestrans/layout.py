"""What the readers of all formats share: how a file is laid out, and the error."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
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
    ids : tuple of str
        Columns of a CSV file that are identifiers although their names do not end with ``id``.
    """

    hdus: tuple[str, ...] = ()
    separator: str = ","
    text: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    def identifies(self, name: str) -> bool:
        """Say whether every digit of a column counts."""
        name = name.strip().lower()
        return name.endswith("id") or name in {known.lower() for known in self.ids}


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


def unpacked(path: Path) -> gzip.GzipFile | BinaryIO:
    """Open a file, which may be gzipped, to read its bytes."""
    # Python's gzip, unlike Arrow's, notices where a file was cut short.
    return gzip.GzipFile(path) if path.suffix.lower() == ".gz" else path.open("rb")
