"""Tables in and out: the one place where files are opened and written."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table, meta
from astropy.utils.exceptions import AstropyWarning
from astropy.utils.masked import Masked
from numpy.typing import NDArray

from .files import whole
from .pairs import PairsError

#: What FITS writers put for "no value" among 64-bit integers.
NULL = np.iinfo(np.int64).min
type Source = str | os.PathLike[str] | Table | pd.DataFrame
type Values = tuple[NDArray[Any], NDArray[np.bool_]]  # with a mask, True where missing


class CatalogueError(ValueError):
    """A table that cannot be used or written, with what to change."""


def read_table(source: Source) -> Table:
    """Read a table: native byte order, exact integers, clean text, masks kept.

    A file is read by its suffix (FITS: the first table in it). A table in
    memory stays as it is; columns are copied only where they change. Missing
    integers are masked and never become floats; empty text is missing.

    Raises
    ------
    CatalogueError
        For a file that is missing, empty, cut short or not what its suffix says.
    """
    if isinstance(source, Table):
        return _tidy(Table(source, copy=False, copy_indices=False))
    with named(source), warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.filterwarnings("error", message=".*truncated")
        kind = "a table" if isinstance(source, pd.DataFrame) else _format_of(Path(source))
        try:
            if isinstance(source, pd.DataFrame):
                return _tidy(_from_arrow(_frame_to_arrow(source)))
            return _tidy(READERS[kind](Path(source)))
        except (CatalogueError, MemoryError):
            raise
        except Exception as error:
            remedy = "check that it is complete and its suffix right"
            raise CatalogueError(f"unreadable as {kind} ({_short(error)}); {remedy}") from error


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
    check_writable(path, overwrite=overwrite)
    try:
        with whole(path) as partial:
            WRITERS[FORMATS[path.suffix.lower()]](read_table(table), partial)
            check_writable(path, overwrite=overwrite)  # someone may have written it meanwhile
    except (CatalogueError, MemoryError):
        raise
    except Exception as error:
        reason = f"writing failed ({_short(error)})"
        raise CatalogueError(f"{path}: {reason}; nothing was changed") from error


def check_writable(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise, before any long work, what `write_table` would raise about the path."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise CatalogueError(f"{path}: unknown suffix {path.suffix!r}; use {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise CatalogueError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise CatalogueError(f"{path}: this is a folder; give the path of a file")
    if path.exists() and not overwrite:
        raise CatalogueError(f"{path}: the file exists; give --overwrite to replace it")


def digest(source: Source) -> str:
    """Return the SHA-256, in hexadecimal, of a file's bytes or of a table's columns."""
    if isinstance(source, str | os.PathLike):
        with named(source):
            _format_of(Path(source))
            with open(source, "rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
    total = hashlib.sha256()
    for name, column in read_table(source).columns.items():
        values, mask = plain(column)
        values = np.where(mask, np.zeros((), values.dtype), values)
        total.update(f"{name}\0{values.dtype.str}\0{values.shape}\0".encode() + mask.tobytes())
        total.update(repr(values.tolist()).encode() if values.dtype == object else values.tobytes())
    return total.hexdigest()


def plain(column: Any) -> Values:
    """Return the values as they lie under the mask, and the mask."""
    return np.asarray(np.ma.getdata(column)), np.ma.getmaskarray(column)


def _tidy(table: Table) -> Table:
    """Bring the columns to native byte order and their text to clean unicode."""
    for name, column in list(table.columns.items()):
        if isinstance(column, Masked):  # a masked array that is no column
            column = MaskedColumn(column.unmasked, mask=column.mask)
        if not isinstance(column, Column):
            continue
        values, mask = plain(column)
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


def _frame_to_arrow(frame: pd.DataFrame) -> pa.Table:
    frame = frame.reset_index() if any(frame.index.names) else frame
    native = {
        name: kind.newbyteorder("=")
        for name, kind in frame.dtypes.items()
        if isinstance(kind, np.dtype) and not kind.isnative
    }
    return pa.Table.from_pandas(frame.astype(native), preserve_index=False)


def _from_arrow(arrow: pa.Table) -> Table:
    names = [name.strip() for name in arrow.column_names]
    for name in names:
        if names.count(name) > 1:
            raise CatalogueError(f"two columns are called {name!r}; rename or remove one")
    columns = map(_from_arrow_column, arrow.columns)
    return Table(dict(zip(names, columns, strict=True)), copy=False)


def _from_arrow_column(column: pa.ChunkedArray) -> Column:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind, mask = column.type, column.is_null().to_numpy()
    if pa.types.is_null(kind):
        values = np.full(len(column), np.nan)
    elif pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = column.fill_null(False if pa.types.is_boolean(kind) else 0).to_numpy()
    elif pa.types.is_nested(kind):
        rows = column.to_pylist()
        widths = {len(row) if isinstance(row, list) else None for row in rows}
        even = len(widths) == 1 and None not in widths  # else they stay objects
        values = np.array(rows) if even else np.fromiter(rows, object, len(rows))
    else:
        values = (column if pa.types.is_binary(kind) else column.cast("string")).to_numpy()
    return MaskedColumn(values, mask=mask) if mask.any() else Column(values)


def _to_arrow(table: Table) -> pa.Table:
    arrays = {}
    for name, column in table.columns.items():
        values, mask = plain(column)
        arrays[name] = pa.array(values.ravel(), mask=mask.ravel())
        for width in values.shape[:0:-1]:
            arrays[name] = pa.FixedSizeListArray.from_arrays(arrays[name], width)
    return pa.table(arrays)


def _format_of(path: Path) -> str:
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


def _read_fits(path: Path) -> Table:
    with fits.open(path) as hdus:
        for hdu in hdus:
            if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU)):
                return Table.read(hdu, format="fits")
    raise CatalogueError("the FITS file holds no table, or is cut short; fetch it again")


def _read_csv(path: Path) -> Table:
    with pa.input_stream(path) as stream:  # unpacks .gz, as read_csv does
        header = stream.read(65_536).partition(b"\n")[0].decode()
    for sign, name in {"|": "'|'", ";": "';'", "\t": "tabs"}.items():
        if sign in header and "," not in header:
            raise CatalogueError(f"the columns are separated by {name}; separate them by commas")
    return _from_arrow(pa.csv.read_csv(path))


def _read_parquet(path: Path) -> Table:
    arrow = pa.parquet.ParquetFile(path).read()
    header = (arrow.schema.metadata or {}).get(b"table_meta_yaml", b"").decode()
    if "__serialized_columns__" in header:  # quantities and masks as astropy itself writes them
        return Table.read(path, format="parquet")
    table = _from_arrow(arrow)
    if header:
        content = meta.get_header_from_yaml(header.split("\n"))
        table.meta.update(content.get("meta", {}))
        for item in content["datatype"]:
            for key in {"unit", "description", "meta"} & item.keys():
                setattr(table[item["name"]], key, item[key])
    return table


def _write_parquet(table: Table, path: Path) -> None:
    header = {"table_meta_yaml": "\n".join(meta.get_yaml_from_table(table))}
    pa.parquet.write_table(_to_arrow(table).replace_schema_metadata(header), path)


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


def _write_csv(table: Table, path: Path) -> None:
    pa.csv.write_csv(_to_arrow(table), path, pa.csv.WriteOptions(quoting_style="needed"))


FORMATS = {
    **{".parquet": "Parquet", ".csv": "CSV", ".ecsv": "ECSV", ".fits": "FITS", ".fit": "FITS"},
    **{".vot": "VOTable", ".votable": "VOTable", ".xml": "VOTable"},
}
READERS: dict[str, Callable[[Path], Table]] = {
    **{"Parquet": _read_parquet, "CSV": _read_csv, "FITS": _read_fits},
    "ECSV": lambda path: Table.read(path, format="ascii.ecsv"),
    "VOTable": lambda path: Table.read(path, format="votable", table_id=0, use_names_over_ids=True),
}
WRITERS: dict[str, Callable[[Table, Path], None]] = {
    **{"Parquet": _write_parquet, "CSV": _write_csv, "FITS": _write_fits},
    "ECSV": lambda table, path: table.write(path, format="ascii.ecsv"),
    "VOTable": lambda table, path: _with_units_of(table, "vounit").write(path, format="votable"),
}


@contextmanager
def named(source: Source) -> Iterator[None]:
    """Put the file's path, once, before what is said about its content."""
    try:
        yield
    except (CatalogueError, PairsError) as error:
        prefix = f"{Path(source)}: " if isinstance(source, str | os.PathLike) else ""
        if str(error).startswith(prefix):
            raise
        raise type(error)(prefix + str(error)) from error.__cause__


def _short(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return "".join(c if c.isprintable() else "?" for c in first[:150])
