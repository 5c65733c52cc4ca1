"""Any table comes back as it was written, in every format."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from bayestrans.catalogue import read_inputs
from bayestrans.spec import Input, Output, Spec
from bayestrans.tables import (
    count_rows,
    digest,
    plain,
    read_batches,
    read_table,
    write_table,
)

SUFFIXES = [".fits", ".csv", ".ecsv", ".parquet", ".vot"]
NULL = np.iinfo(np.int64).min
#: Neighbours of the largest whole numbers that floats hold, and identifiers as surveys have them.
EDGES = [2**24 + 1, 2**53, 2**53 + 1, 4667213730748377729, 2**63 - 1, -(2**53) - 1, NULL + 1, -1]
INT64 = st.one_of(st.sampled_from(EDGES), st.integers(NULL + 1, 2**63 - 1))
FLOAT64 = st.floats(allow_nan=True, allow_infinity=True, width=64)
FLOAT32 = st.floats(allow_nan=True, allow_infinity=True, width=32)
UNITS = st.sampled_from([None, "K", "km/s", "m/s", "mas", "cm/s2"])
NAMES = st.text(string.ascii_letters, min_size=1, max_size=8)
#: Text that no reader of CSV takes for a number, a truth value or a gap.
WORDS = (
    st.text(string.ascii_letters + ' +-_.,;|"#é星', max_size=12)
    .map(lambda s: f"*{s}")
    .map(str.strip)
)
ASCII = (
    st.text(string.ascii_letters + ' +-_.,;|"#', max_size=12).map(lambda s: f"*{s}").map(str.strip)
)
BUDGET = settings(max_examples=25)


@st.composite
def columns(draw: st.DrawFn, rows: int, words: st.SearchStrategy[str]) -> Column:
    """Return a column of one of the kinds that catalogues have, perhaps with gaps."""
    kind, values = draw(
        st.sampled_from(
            [
                (np.int64, INT64),
                (np.int32, st.integers(-(2**31) + 1, 2**31 - 1)),
                (np.int16, st.integers(-(2**15) + 1, 2**15 - 1)),
                (np.float64, FLOAT64),
                (np.float32, FLOAT32),
                (np.bool_, st.booleans()),
                (np.str_, words),
            ]
        )
    )
    found = draw(st.lists(values, min_size=rows, max_size=rows))
    array = np.array(found, dtype=kind)
    mask = draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    unit = draw(UNITS) if array.dtype.kind == "f" else None
    text = draw(st.sampled_from([None, "what it is"]))
    if draw(st.booleans()) and any(mask):
        return MaskedColumn(array, mask=mask, unit=unit, description=text)
    return Column(array, unit=unit, description=text)


@st.composite
def tables(draw: st.DrawFn, words: st.SearchStrategy[str] = WORDS, least: int = 0) -> Table:
    """Return a table of up to five columns and six rows."""
    rows = draw(st.integers(least, 6))
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique_by=str.lower))
    return Table([draw(columns(rows, words)) for _ in names], names=names)


def written(table: Table, suffix: str) -> Table:
    """Return a table after a visit to the disk."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t{suffix}"
        write_table(table, path)
        return read_table(path)


def assert_equal(back: Table, table: Table) -> None:
    """Hold names, order, gaps and values; NaN in a column may come back as a gap."""
    assert back.colnames == table.colnames
    assert len(back) == len(table)
    for name in table.colnames:
        was, now = table[name], back[name]
        gaps, found = np.ma.getmaskarray(was), np.ma.getmaskarray(now)
        if was.dtype.kind == "f":
            gaps, found = (m | np.isnan(np.ma.getdata(c)) for m, c in ((gaps, was), (found, now)))
        np.testing.assert_array_equal(found, gaps, err_msg=name)
        a, b = (np.ma.getdata(c)[~gaps] for c in (was, now))
        b = b.astype(was.dtype) if was.dtype.kind == "f" else b  # CSV knows one kind of float
        assert a.tolist() == b.tolist(), name


@pytest.mark.parametrize("suffix", [".ecsv", ".parquet", ".vot"])
@given(table=tables())
@BUDGET
def test_any_table_survives(suffix, table):
    back = written(table, suffix)
    assert_equal(back, table)
    for name in table.colnames:
        assert back[name].dtype.kind == table[name].dtype.kind
        assert back[name].unit == table[name].unit
        assert back[name].description == table[name].description


@given(table=tables(words=ASCII))
@BUDGET
def test_any_table_survives_fits(table):
    back = written(table, ".fits")
    assert_equal(back, table)
    for name in table.colnames:
        assert back[name].unit == table[name].unit
        if table[name].dtype.kind == "i":
            assert back[name].dtype.kind == "i"


@given(table=tables(least=1))
@BUDGET
def test_the_values_of_any_table_survive_csv(table):
    assert_equal(written(table, ".csv"), table)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(values=st.lists(st.one_of(st.none(), INT64), min_size=1, max_size=8))
@BUDGET
def test_identifiers_keep_every_digit(suffix, values):
    mask = [value is None for value in values]
    filled = np.array([0 if value is None else value for value in values], dtype=np.int64)
    table = Table({"source_id": MaskedColumn(filled, mask=mask)})
    back = written(table, suffix)["source_id"]
    assert back.tolist() == values
    assert back.dtype == np.int64


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(
    words=st.lists(ASCII, min_size=1, max_size=5), left=st.integers(0, 3), right=st.integers(0, 3)
)
@BUDGET
def test_padding_is_no_part_of_text(suffix, words, left, right):
    padded = [" " * left + word + " " * right for word in words]
    assert written(Table({"name": padded}), suffix)["name"].tolist() == words


@given(table=tables())
@BUDGET
def test_byte_order_and_masks_of_a_table_in_memory_change_nothing(table):
    swapped = Table(table, copy=True)
    for name, column in table.columns.items():
        if column.dtype.kind in "if":
            swapped[name] = column.astype(column.dtype.newbyteorder())
    assert digest(swapped) == digest(table)
    assert_equal(read_table(swapped), table)
    masked = Table(table, masked=True)
    assert_equal(read_table(masked), table)


@st.composite
def catalogues(draw: st.DrawFn) -> Table:
    """Return a table with the schema that translate writes."""
    rows = draw(st.integers(0, 4))

    def numbers(unit: str | None, text: str, shape: tuple[int, ...] = ()) -> Column:
        size = rows * int(np.prod(shape))
        found = draw(st.lists(FLOAT64, min_size=size, max_size=size))
        values = np.array(found, dtype=float).reshape(rows, *shape)
        return Column(values, unit=unit, description=text, meta={"ucd": "phys.gravity"})

    ids = draw(st.lists(INT64, min_size=rows, max_size=rows))
    classes = st.sampled_from(["dense", "sparse", "outside"])
    made = Table({"source_id": np.array(ids, dtype=np.int64)})
    for output, unit in (("teff", "K"), ("logg", None), ("rv", "km/s")):
        for part in ("mean", "sd", "p16"):
            made[f"{output}_{part}"] = numbers(unit, f"{output}: {part}")
    made["corr_teff_logg"] = numbers(None, "posterior correlation")
    made["support_class"] = np.array(draw(st.lists(classes, min_size=rows, max_size=rows)), "U7")
    flags = draw(st.lists(st.integers(0, 31), min_size=rows, max_size=rows))
    made["flags"] = Column(np.array(flags, dtype=np.int32), description="bitmask; 1: missing")
    made["teff_draws"] = numbers("K", "teff: 3 draws", (3,))
    made.meta.update({"BTVERS": "bayestrans 0", "BTUTC": "2026-01-01T00:00:00+00:00"})
    return made


@pytest.mark.parametrize("suffix", [".fits", ".ecsv", ".parquet", ".vot"])
@given(table=catalogues())
@BUDGET
def test_a_translated_catalogue_survives(suffix, table):
    back = written(table, suffix)
    assert_equal(back, table)
    for name, column in table.columns.items():
        assert back[name].dtype.kind == column.dtype.kind
        assert back[name].shape == column.shape
        assert back[name].unit == column.unit
        if suffix != ".fits":
            assert back[name].description == column.description
    assert back["flags"].dtype == np.int32
    if suffix in (".fits", ".ecsv", ".parquet"):
        assert back.meta["BTVERS"] == "bayestrans 0"


@given(table=catalogues())
@BUDGET
def test_a_translated_catalogue_without_draws_survives_csv(table):
    table.remove_column("teff_draws")
    back = written(table, ".csv")
    assert back.colnames == table.colnames
    if len(table):
        assert_equal(back, table)


@given(value=st.floats(0.1, 1000.0), unit=st.sampled_from(["m/s", "km/s", "cm/s", "pc/Myr"]))
@BUDGET
def test_any_unit_of_speed_becomes_that_of_the_spec(value, unit):
    spec = Spec("s", (Input("rv", "rv", "e", unit="km/s"),), (Output("y", "y"),))
    table = Table({"rv": Column([value], unit=unit), "e": Column([value], unit=unit)})
    expected = (value * u.Unit(unit)).to_value("km/s")
    found = read_inputs(table, spec)
    np.testing.assert_allclose([found.x[0, 0], found.x_err[0, 0]], expected, rtol=1e-12)


@pytest.mark.parametrize("suffix", [".fits", ".parquet", ".ecsv", ".vot"])
@BUDGET
@given(st.data())
def test_parts_of_any_table_are_the_table(suffix, data):
    table = data.draw(tables(ASCII if suffix == ".fits" else WORDS, least=1))
    rows = data.draw(st.integers(1, 5))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{suffix}"
        write_table(table, path)
        whole, parts = read_table(path), list(read_batches(path, rows))
        assert count_rows(path) == (None if suffix in (".ecsv", ".vot") else len(whole))
        one = list(read_batches(path, rows, lambda name: name == whole.colnames[0]))
    assert [len(part) for part in parts[:-1]] == [rows] * (len(parts) - 1)
    for name in whole.colnames:
        back, mask = (np.concatenate(v) for v in zip(*(plain(p[name]) for p in parts), strict=True))
        values, gaps = plain(whole[name])
        np.testing.assert_array_equal(mask, gaps)
        np.testing.assert_array_equal(back[~gaps], values[~gaps])
        assert all(str(part[name].unit) == str(whole[name].unit) for part in parts)
    assert whole.colnames[0] in one[0].colnames


def test_scaled_columns_and_their_gaps_are_the_same_in_parts(tmp_path):
    """Unsigned and scaled integers, with TNULL; text of one width; a vector."""
    columns = [
        fits.Column("big", "K", bzero=2**63, array=np.arange(7, dtype=np.uint64) + 2**63),
        fits.Column("scaled", "I", null=-99, array=np.array([0, 1, -99, 3, -99, 5, 6])),
        fits.Column("word", "5A", array=np.array(["a", "bb", "", "d", "e", "f", "ggggg"])),
        fits.Column("pair", "2E", array=np.arange(14.0).reshape(7, 2)),
    ]
    path = tmp_path / "t.fits"
    fits.BinTableHDU.from_columns(columns).writeto(path)
    for key, value in {"TSCAL2": 0.5, "TZERO2": 10.0}.items():
        fits.setval(path, key, value=value, ext=1)
    whole, parts = read_table(path), list(read_batches(path, 3))
    assert [len(part) for part in parts] == [3, 3, 1]
    assert plain(whole["scaled"])[1].tolist() == [False, False, True, False, True, False, False]
    for name in whole.colnames:
        back, mask = (np.concatenate(v) for v in zip(*(plain(p[name]) for p in parts), strict=True))
        values, gaps = plain(whole[name])
        np.testing.assert_array_equal(mask, gaps)
        np.testing.assert_array_equal(back[~gaps], values[~gaps])


def test_lists_of_different_lengths_are_read_whole(tmp_path):
    lists = np.array([np.arange(n, dtype=float) for n in (1, 3, 2)], dtype=object)
    columns = [fits.Column("id", "K", array=np.arange(3)), fits.Column("l", "PD()", array=lists)]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "t.fits")
    parts = list(read_batches(tmp_path / "t.fits", 2))
    assert [list(part["id"]) for part in parts] == [[0, 1], [2]]
