"""Tables in and out: the one place where files are opened and written."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.io.votable.exceptions import W46, W51
from astropy.table import Column, MaskedColumn, Table
from astropy.utils.exceptions import AstropyWarning
from astropy.utils.masked import Masked
from numpy.typing import NDArray

from .arrow import from_frame, from_objects, parquet_batches, parquet_rows
from .delimited import csv_rows
from .files import same, whole
from .fits_tables import NULL, fits_batches, fits_rows
from .formats import FORMATS, READERS, WRITERS, format_of, refuse_unwritable, text_batches
from .layout import COMMON, CatalogueError, Layout, Values, plain
from .pairs import PairsError
from .text_tables import ecsv_batches, votable_batches

__all__ = [
    "COMMON",
    "FORMATS",
    "NULL",
    "READERS",
    "WRITERS",
    "CatalogueError",
    "Layout",
    "Source",
    "Values",
    "check_writable",
    "count_rows",
    "digest",
    "named",
    "plain",
    "read_batches",
    "read_table",
    "write_table",
]

#: Under this name a part of a table tells the columns of the whole.
COLUMNS = "columns of the file"

type Source = str | os.PathLike[str] | Table | pd.DataFrame


def read_table(source: Source, layout: Layout = COMMON) -> Table:
    """Read a table: native byte order, exact integers, clean text, masks kept.

    A file is read by its suffix (FITS: the first table in it, unless the layout
    names others). A table in memory stays as it is; columns are copied only where
    they change. Missing integers are masked and never become floats; empty text
    is missing.

    Raises
    ------
    CatalogueError
        For a file that is missing, empty, cut short or not what its suffix says.
    """
    if isinstance(source, Table):
        return _tidy(Table(source, copy=False, copy_indices=False))
    if not isinstance(source, str | os.PathLike | pd.DataFrame):
        found = f"the table is a {type(source).__name__}"
        raise CatalogueError(f"{found}; give a path, an astropy Table or a DataFrame")
    with named(source), _strictly():
        if isinstance(source, pd.DataFrame):
            with _explained("a table", "check the types of its columns"):
                return _tidy(from_frame(source))
        path, kind = Path(source), format_of(Path(source))
        with _explained(kind, "check that it is complete and its suffix right", path):
            return _tidy(READERS[kind](path, layout))


def read_batches(
    source: Source,
    rows: int,
    wanted: Callable[[str], bool] = lambda _: True,
    layout: Layout = COMMON,
) -> Iterator[Table]:
    """Yield a table in parts of ``rows`` rows, at least one.

    In bounded memory, but for binary VOTables, lists of any length and gzipped FITS.
    ``wanted`` says which columns are needed: others may be left out, and their names are told
    in ``meta`` under `COLUMNS` then.
    """
    kind = _kind(source)
    names: dict[str, None] = {}

    def asked(name: str) -> bool:
        names[name] = None
        return wanted(name)

    if kind in BATCHES and isinstance(source, str | os.PathLike):
        path, remedy = Path(source), "check that it is complete and its suffix right"
        with named(source):
            with _explained(kind, remedy, path), _strictly():
                parts = BATCHES[kind](path, rows, asked, *([layout] if kind == "CSV" else []))
            while parts is not None:
                # Not beyond the reading: what is done with a part has filters of its own.
                with _explained(kind, remedy, path), _strictly():
                    part = next(parts, None)
                if part is None:
                    return
                part.meta[COLUMNS] = list(names)
                yield _tidy(part)
    table = read_table(source, layout)
    for start in range(0, max(1, len(table)), rows):
        yield table[start : start + rows]


def count_rows(source: Source) -> int | None:
    """Return the number of rows, of CSV that of lines, if it can be had without reading them."""
    if isinstance(source, Table | pd.DataFrame):
        return len(source)
    kind = _kind(source)
    if kind not in ROWS or not isinstance(source, str | os.PathLike):
        return None
    path = Path(source)
    with named(source), _explained(kind, "check that it is complete", path), _strictly():
        return ROWS[kind](path)


#: How formats are read in parts, and how their rows are counted without reading them.
BATCHES: dict[str, Callable[..., Iterator[Table] | None]] = {
    "Parquet": parquet_batches,
    "FITS": fits_batches,
    "CSV": text_batches,
    "ECSV": ecsv_batches,
    "VOTable": votable_batches,
}
ROWS: dict[str, Callable[[Path], int | None]] = {
    "Parquet": parquet_rows,
    "FITS": fits_rows,
    "CSV": csv_rows,
}


def _kind(source: Source) -> str:
    """Return the format of a file, or nothing for a table in memory."""
    if not isinstance(source, str | os.PathLike):
        return ""
    with named(source):
        return format_of(Path(source))


@contextmanager
def _strictly() -> Iterator[None]:
    """Raise what readers only warn of where values are lost; other warnings are not for users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.filterwarnings("error", message=".*truncated")
        for changed in (W46, W51):  # text cut short, numbers cut to their type
            warnings.simplefilter("error", changed)
        yield


@contextmanager
def _explained(kind: str, remedy: str, path: Path | None = None) -> Iterator[None]:
    """Turn whatever a reader raises into one sentence."""
    try:
        yield
    except CatalogueError:
        raise
    except MemoryError as error:  # damage may declare any number of rows
        reason = "it asks for more memory than there is"
        raise CatalogueError(f"unreadable as {kind} ({reason}); {remedy}") from error
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1} is not of UTF-8"
        remedy = f"{remedy}, and save its text as UTF-8"
        raise CatalogueError(f"unreadable as {kind} ({where}); {remedy}") from error
    except Exception as error:
        reason = _short(error, path)
        raise CatalogueError(f"unreadable as {kind} ({reason}); {remedy}") from error


def write_table(table: Table, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a table, whole or not at all, in the format of the suffix.

    A column's ``description`` and ``meta["ucd"]`` go into the headers of FITS
    and VOTable. CSV keeps the values only.

    Raises
    ------
    CatalogueError
        As `check_writable`, or where writing fails; the target is then as before.
    """
    path = Path(path)
    vectors = any(column.ndim > 1 for column in table.itercols())
    check_writable(path, overwrite=overwrite, vectors=vectors)
    with named(path):
        refuse_unwritable(table, FORMATS[path.suffix.lower()])
    try:
        with whole(path) as partial:
            WRITERS[FORMATS[path.suffix.lower()]](read_table(table), partial)
            check_writable(path, overwrite=overwrite)  # someone may have written it meanwhile
    except (CatalogueError, MemoryError):
        raise
    except Exception as error:
        reason = f"writing failed ({_short(error)})"
        raise CatalogueError(f"{path}: {reason}; nothing was changed") from error


def check_writable(
    path: str | os.PathLike[str],
    *,
    overwrite: bool,
    sources: Iterable[object] = (),
    vectors: bool = False,
) -> None:
    """Raise, before any long work, what `write_table` would raise about the path.

    With ``sources``, the files that are read, also where the path is one of them;
    with ``vectors``, columns of several values in each row, also where it is CSV.
    """
    path = Path(path)
    if any(same(path, source) for source in sources):
        raise CatalogueError(f"{path}: the output is also an input; give it another name")
    if path.suffix.lower() not in FORMATS:
        raise CatalogueError(f"{path}: unknown suffix {path.suffix!r}; use {', '.join(FORMATS)}")
    if vectors and FORMATS[path.suffix.lower()] == "CSV":
        raise CatalogueError(
            f"{path}: CSV holds no vectors, such as draws; write .parquet or .fits"
        )
    if not path.parent.is_dir():
        raise CatalogueError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise CatalogueError(f"{path}: this is a folder; give the path of a file")
    if path.exists() and not overwrite:
        raise CatalogueError(f"{path}: the file exists; pass overwrite (--overwrite) to replace it")


def digest(source: Source) -> str:
    """Return the SHA-256, in hexadecimal, of a file's bytes or of a table's columns."""
    if isinstance(source, str | os.PathLike):
        with named(source):
            format_of(Path(source))
            with open(source, "rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
    total = hashlib.sha256()
    for name, column in read_table(source).columns.items():
        values, mask = plain(column)
        values = np.where(mask, np.zeros((), values.dtype), values)
        total.update(f"{name}\0{values.dtype.str}\0{values.shape}\0".encode() + mask.tobytes())
        total.update(repr(values.tolist()).encode() if values.dtype == object else values.tobytes())
    return total.hexdigest()


def _tidy(table: Table) -> Table:
    """Bring the columns to native byte order and their text to clean unicode."""
    for name, column in list(table.columns.items()):
        if isinstance(column, Masked):  # a masked array that is no column
            column = MaskedColumn(column.unmasked, mask=column.mask)
        if not isinstance(column, Column):
            continue
        values, mask = plain(column)
        if values.dtype.names is not None:  # a record in each row
            continue
        if values.dtype.kind == "O" and values.ndim == 1:
            values, mask = from_objects(values, mask)
        if values.dtype.kind in "SUO":
            values, mask = _clean_text(values, mask)
        if not values.dtype.isnative:
            values = values.astype(values.dtype.newbyteorder("="))
        keys = ("unit", "description", "format", "meta")
        kept = {key: getattr(column, key) for key in keys} | {"name": name}
        clean = MaskedColumn(values, mask=mask, **kept) if mask.any() else Column(values, **kept)
        table.replace_column(name, clean, copy=False)
    return table


def _clean_text(values: NDArray[Any], mask: NDArray[np.bool_]) -> Values:
    """Decode and strip text; without a character it is missing. Other objects stay."""
    if values.dtype.kind == "O":
        kinds = {type(value) for value in values[~mask].flat} or {str}
        if kinds not in ({str}, {bytes}):
            return values, mask
        text = kinds.pop()
        values = np.where(mask, text(), values).astype(text)
    if values.dtype.kind == "S":
        try:
            values = np.strings.decode(values, "utf-8")
        except UnicodeDecodeError:
            values = np.strings.decode(values, "latin-1")
    values = np.strings.strip(values)
    return values, mask | (values == "")


@contextmanager
def named(source: Source) -> Iterator[None]:
    """Put the file's path, once, before what is said about its content."""
    try:
        yield
    except (CatalogueError, PairsError) as error:
        prefix = f"{Path(source)}: " if isinstance(source, str | os.PathLike) else ""
        said = _printable(str(error))  # names of columns come from the file too
        if str(error) == said and said.startswith(prefix):
            raise
        raise type(error)(prefix + said.removeprefix(prefix)) from error.__cause__


def _short(error: Exception, path: Path | None = None) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    first = re.sub(r"^(None|\?):(\d+):\d+:", r"line \2:", first)  # as VOTables have it
    first = re.split(r"[.;]\s", first)[0]  # what follows is advice to programmers
    first = first.replace(f"{path}", path.name if path else "")  # the path is said already
    return _printable(first[:150])


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
