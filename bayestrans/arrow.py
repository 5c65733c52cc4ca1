"""What comes by way of Arrow: Parquet and data frames."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from astropy.io import votable
from astropy.table import Column, MaskedColumn, Table, meta
from numpy.typing import NDArray

from .layout import Layout, Values, plain, refuse_twice

#: Where the standard for VOTable in Parquet keeps the description of the columns.
VOPARQUET = b"IVOA.VOTable-Parquet.content"


def from_frame(frame: pd.DataFrame) -> Table:
    """Return a data frame, with its index if that has a name, as a table.

    Columns of objects of several kinds stay such: whoever needs one says what is wrong with it.
    """
    frame = frame.reset_index() if any(frame.index.names) else frame
    refuse_twice(map(str, frame.columns))
    native = {
        name: kind.newbyteorder("=")
        for name, kind in frame.dtypes.items()
        if isinstance(kind, np.dtype) and not kind.isnative
    }
    frame = frame.astype(native)
    try:
        return _from_arrow(pa.Table.from_pandas(frame, preserve_index=False))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        odd = [n for n in frame if frame[n].dtype == object and mixed(frame[n].to_numpy())]
        if not odd:
            raise
    rest = _from_arrow(pa.Table.from_pandas(frame.drop(columns=odd), preserve_index=False))
    rest.add_columns([frame[name].to_numpy() for name in odd], names=[str(n).strip() for n in odd])
    return rest[[str(name).strip() for name in frame]]


def from_objects(values: NDArray[Any], mask: NDArray[np.bool_]) -> Values:
    """Return objects as what they all are (integers, text, ...), or as they came."""
    arrow = _of_one_kind(values, mask)
    tests = ("boolean", "integer", "floating", "string", "binary")
    if arrow is None or not any(getattr(pa.types, f"is_{test}")(arrow.type) for test in tests):
        return values, mask
    return plain(_from_arrow_column(pa.chunked_array([arrow])))


def mixed(values: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> bool:
    """Say whether objects are of no one kind that tables hold."""
    return _of_one_kind(values, mask) is None


def _of_one_kind(values: NDArray[Any], mask: NDArray[np.bool_] | None) -> pa.Array | None:
    try:
        return pa.array(values, mask=mask, from_pandas=True)  # None and NaN are missing
    except (pa.ArrowException, ValueError, TypeError, NotImplementedError, OverflowError):
        return None


def _from_arrow(arrow: pa.Table) -> Table:
    names = [name.strip() for name in arrow.column_names]
    refuse_twice(names)
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
    elif (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        values, mask = _from_lists(column, mask)
    elif pa.types.is_nested(kind):
        values = np.fromiter(column.to_pylist(), object, len(column))
    else:
        values = (column if pa.types.is_binary(kind) else column.cast("string")).to_numpy()
    return MaskedColumn(values, mask=mask) if mask.any() else Column(values)


def _from_lists(column: pa.ChunkedArray, mask: NDArray[np.bool_]) -> Values:
    """Return lists of one length as the rows of a matrix, others as objects."""
    widths = set(pc.unique(pc.list_value_length(column).drop_null()).to_pylist())
    if pa.types.is_fixed_size_list(column.type):
        widths.add(column.type.list_size)
    if len(widths) > 1:
        return np.fromiter(column.to_pylist(), object, len(column)), mask
    flat = _from_arrow_column(pa.chunked_array([pc.list_flatten(column.combine_chunks())]))
    width = widths.pop() if widths else 0
    shape = (len(column), width, *flat.shape[1:])
    values, gaps = np.zeros(shape, flat.dtype), np.ones(shape, bool)
    within = (int((~mask).sum()), *shape[1:])
    values[~mask], gaps[~mask] = (part.reshape(within) for part in plain(flat))
    return values, gaps


def _to_arrow(table: Table) -> pa.Table:
    arrays = {}
    for name, column in table.columns.items():
        values, mask = plain(column)
        # A mask without gaps would make Parquet look at every value twice.
        arrays[name] = pa.array(values.ravel(), mask=mask.ravel() if mask.any() else None)
        for width in values.shape[:0:-1]:
            arrays[name] = pa.FixedSizeListArray.from_arrays(arrays[name], width)
    return pa.table(arrays)


def read_parquet(path: Path, _: Layout) -> Table:
    """Read Parquet with the units that astropy, VOTable or Arrow keep in it."""
    file = pa.parquet.ParquetFile(path)
    if _of_astropy(file.schema_arrow):
        return Table.read(path, format="parquet")
    return from_arrow(file.read())


def parquet_batches(path: Path, rows: int, wanted: Callable[[str], bool]) -> Iterator[Table] | None:
    """Return tables of some rows each, of the wanted columns; nothing where it must be whole."""
    file = pa.parquet.ParquetFile(path, pre_buffer=False)  # a buffer keeps all that was read
    if _of_astropy(file.schema_arrow) or not file.metadata.num_rows:
        return None
    names = [name for name in file.schema_arrow.names if wanted(name.strip())]
    refuse_twice(name.strip() for name in file.schema_arrow.names)
    return (
        from_arrow(
            pa.Table.from_batches([batch]).replace_schema_metadata(file.schema_arrow.metadata)
        )
        for batch in file.iter_batches(rows, columns=names)
    )


def parquet_rows(path: Path) -> int:
    """Return the number of rows of a file."""
    return int(pa.parquet.read_metadata(path).num_rows)


def _of_astropy(schema: pa.Schema) -> bool:
    """Say whether there are quantities and masks as astropy itself writes them."""
    known = schema.metadata or {}
    return b"__serialized_columns__" in known.get(b"table_meta_yaml", b"")


def from_arrow(arrow: pa.Table) -> Table:
    """Return a table with the units and descriptions that its schema tells of."""
    table, known = _from_arrow(arrow), arrow.schema.metadata or {}
    for name, field in zip(table.colnames, arrow.schema, strict=True):
        if unit := (field.metadata or {}).get(b"unit"):
            table[name].unit = u.Unit(unit.decode(), parse_strict="silent")
    if VOPARQUET in known:
        _describe(table, known[VOPARQUET])
    if described := known.get(b"table_meta_yaml", b"").decode():
        content = meta.get_header_from_yaml(described.split("\n"))
        table.meta.update(content.get("meta", {}))
        for item in content["datatype"]:
            if item["name"] in table.colnames:
                for key in {"unit", "description", "meta"} & item.keys():
                    setattr(table[item["name"]], key, item[key])
    return table


def _describe(table: Table, xml: bytes) -> None:
    """Take the units of the columns from the VOTable within a Parquet file."""
    for field in votable.parse(io.BytesIO(xml)).get_first_table().fields:
        if field.name in table.colnames:
            table[field.name].unit = field.unit
            table[field.name].description = field.description


def header(table: Table) -> str:
    """Return units and descriptions as astropy keeps them in a schema."""
    return "\n".join(meta.get_yaml_from_table(table))


def to_arrow(table: Table, described: str | None = None) -> pa.Table:
    """Return a table with its `header` in the schema, or with one that is at hand."""
    known = {"table_meta_yaml": header(table) if described is None else described}
    return _to_arrow(table).replace_schema_metadata(known)


def to_frame(table: Table) -> pd.DataFrame:
    """Return a table as a data frame of Arrow's types, which know missing values and lists."""
    return to_arrow(table).replace_schema_metadata(None).to_pandas(types_mapper=pd.ArrowDtype)


def write_parquet(table: Table, path: Path) -> None:
    """Write Parquet with units and descriptions as astropy keeps them."""
    write_parquet_parts([to_arrow(table)], path)


def write_parquet_parts(parts: Iterable[pa.Table], path: Path) -> None:
    """Write tables of the same columns one after another, with what the first tells of them."""
    writer = None
    try:
        for part in parts:
            if writer is None:
                floats = [f.name for f in part.schema if pa.types.is_floating(f.type)]
                # Numbers of a continuum never repeat: a dictionary costs most of the time.
                others = [f.name for f in part.schema if f.name not in floats]
                writer = pa.parquet.ParquetWriter(path, part.schema, use_dictionary=others)
            writer.write_table(part.cast(writer.schema))
    finally:
        if writer is not None:
            writer.close()
