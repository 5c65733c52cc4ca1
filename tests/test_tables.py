"""Tables of every format, and files that cannot be read."""

from __future__ import annotations

import gzip

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked
from three_stars import BIG, SPEC, one, refusal, three_stars

from bayestrans.catalogue import (
    read_inputs,
    read_pairs,
    read_table,
    write_table,
)
from bayestrans.spec import Input, Output, Spec

SUFFIXES = [".fits", ".csv", ".ecsv", ".parquet", ".vot"]


@pytest.fixture
def table() -> Table:
    return three_stars()


# ---- formats --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip_keeps_integers_text_and_gaps(tmp_path, suffix):
    table = Table(
        {
            "source_id": MaskedColumn([*BIG, 0], mask=[0, 0, 0, 1]),
            "name": MaskedColumn(["2M00+01", 'ü, "quoted"', "", "x"], mask=[0, 0, 1, 0]),
            "value": MaskedColumn([1 / 3, 1e-300, 2.0, 0.0], mask=[0, 0, 0, 1]),
            "small": np.array([1, -2, 3, 4], dtype="i2"),
        }
    )
    if suffix == ".fits":
        table["name"][1] = "u"  # FITS holds ASCII only
    path = tmp_path / f"t{suffix}"
    write_table(table, path)
    back = read_table(path)
    assert back.colnames == table.colnames
    assert back["source_id"].dtype == np.int64
    for name in table.colnames:
        np.testing.assert_array_equal(
            np.ma.getmaskarray(back[name]), np.ma.getmaskarray(table[name])
        )
        assert back[name].tolist() == table[name].tolist()


@pytest.mark.parametrize("suffix", [".fits", ".ecsv", ".parquet", ".vot"])
def test_round_trip_keeps_units_vectors_and_descriptors(tmp_path, suffix):
    table = Table({"rv": Column([1.0, 2.0], unit="m/s", description="speed")})
    table["rv"].meta["ucd"] = "spect.dopplerVeloc"
    table["logg"] = Column([1.0, 2.0], unit=u.dex(u.cm / u.s**2))
    table["draws"] = np.arange(6.0).reshape(2, 3)
    write_table(table, tmp_path / f"t{suffix}")
    back = read_table(tmp_path / f"t{suffix}")
    assert back["rv"].unit == u.m / u.s
    np.testing.assert_array_equal(back["draws"], table["draws"])
    assert table["logg"].unit == u.dex(u.cm / u.s**2)  # the table given is not changed
    if suffix == ".fits":
        header = fits.getheader(tmp_path / "t.fits", 1)
        assert (header["TCOMM1"], header["TUCD1"]) == ("speed", "spect.dopplerVeloc")
    else:
        assert back["rv"].description == "speed"
        assert back["rv"].meta["ucd"] == "spect.dopplerVeloc"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_table_keeps_its_columns(tmp_path, table, suffix):
    write_table(table[:0], tmp_path / f"t{suffix}")
    inputs = read_inputs(tmp_path / f"t{suffix}", SPEC)
    assert inputs.x.shape == inputs.x_err.shape == (0, 2)
    assert inputs.identifiers.colnames == ["sobject_id"]
    assert "no rows" in refusal(read_pairs, tmp_path / f"t{suffix}", SPEC)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same_pairs(tmp_path, table, suffix):
    write_table(table, tmp_path / f"t{suffix}")
    pairs, expected = read_pairs(tmp_path / f"t{suffix}", SPEC), read_pairs(table, SPEC)
    for name in ("x", "x_err", "y", "y_err", "ids"):
        np.testing.assert_array_equal(getattr(pairs, name), getattr(expected, name))
    assert pairs.ids.tolist() == BIG


def test_fits_comes_in_native_order_with_clean_text_and_nulls(tmp_path):
    columns = [
        fits.Column("teff", "E", array=np.array([4000, np.nan, 5000], ">f4")),
        fits.Column("count", "K", null=-1, array=np.array([1, -1, 3], ">i8")),
        fits.Column("name", "8A", array=np.array([b"a  ", b"", b" b"])),
    ]
    second = fits.BinTableHDU.from_columns([fits.Column("other", "D", array=[1.0])])
    path = tmp_path / "t.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns), second]).writeto(path)
    back = read_table(path)
    assert all(back[name].dtype.isnative for name in back.colnames)
    assert back["teff"].tolist() == [4000, None, 5000]
    assert back["count"].tolist() == [1, None, 3]
    assert back["name"].tolist() == ["a", None, "b"]
    (tmp_path / "z.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert read_table(tmp_path / "z.fits.gz")["count"].tolist() == [1, None, 3]


def test_a_masked_column_without_gaps_gets_no_null_value_in_fits(tmp_path):
    ids = MaskedColumn(np.array([999999, 5], dtype="i4"))
    write_table(Table({"id": ids}), tmp_path / "t.fits")
    back = read_table(tmp_path / "t.fits")["id"]
    assert back.tolist() == [999999, 5]
    assert back.dtype == np.int32


def test_small_and_unsigned_integers_with_gaps_in_fits(tmp_path):
    flags = MaskedColumn(np.array([255, 0, 7], "u1"), mask=[0, 0, 1])
    write_table(
        Table({"flag": flags, "on": MaskedColumn([True, False, True], mask=[0, 1, 0])}),
        tmp_path / "t.fits",
    )
    back = read_table(tmp_path / "t.fits")
    assert back["flag"].tolist() == [255, 0, None]
    assert back["on"].tolist() == [1, None, 1]
    huge = Table({"id": MaskedColumn(np.array([2**63 + 5, 0], "u8"), mask=[0, 1])})
    assert "write .parquet" in refusal(write_table, huge, tmp_path / "h.fits")


def test_csv_integers_with_nulls_and_late_fractions(tmp_path):
    rows = "\n".join(f"{i},{i}" for i in range(200_000))  # two megabytes of integers first
    (tmp_path / "t.csv").write_text(f"source_id, value\n{rows}\n,0.5\n{BIG[1]},nan\n")
    back = read_table(tmp_path / "t.csv")
    assert back.colnames == ["source_id", "value"]
    assert back["source_id"].dtype == np.int64
    assert back["source_id"][-2:].tolist() == [None, BIG[1]]
    assert back["value"][-2:].tolist() == [0.5, None]


def test_a_frame_keeps_nullable_integers_and_any_byte_order():
    frame = pd.DataFrame(
        {
            "source_id": pd.array([BIG[1], None], dtype="Int64"),
            "teff": np.array([4000.0, np.nan], dtype=">f8"),
            "name": [b"a  ", b"b"],
            "kind": pd.Categorical(["giant", "dwarf"]),
            "field": pd.Categorical([12, 11]),
        },
        index=pd.Index([7, 8], name="star_id"),
    )
    back = read_table(frame)
    assert back["source_id"].dtype == np.int64
    assert back["source_id"].tolist() == [BIG[1], None]
    assert back["teff"].dtype.isnative
    assert back["teff"].tolist() == [4000.0, None]
    assert back["name"].tolist() == ["a", "b"]
    assert back["kind"].tolist() == ["giant", "dwarf"]
    assert back["field"].tolist() == [12, 11]
    assert back["star_id"].tolist() == [7, 8]


def test_a_column_of_mixed_objects_disturbs_only_who_needs_it(tmp_path):
    frame = pd.DataFrame({"teff": [4000.0, 5000.0], " odd": [1, "a"], "both": [[1.0, 2.0]] * 2})
    back = read_table(frame)
    assert back.colnames == ["teff", "odd", "both"]
    assert back["odd"].tolist() == [1, "a"]
    assert back["both"].shape == (2, 2)
    said = refusal(write_table, back, tmp_path / "a.vot")
    assert "odd: its objects are of several kinds; make them text" in said
    spec = Spec("s", (Input("x", "teff"),), (Output("y", "odd"),))
    assert "odd: not numeric (row 1 holds 'a')" in refusal(read_pairs, frame, spec)


def test_quantities_become_plain_columns_and_the_source_stays():
    source = QTable({"rv": Masked([1.0, 2.0] * u.m / u.s, mask=[False, True])})
    source["plain"] = Masked([1.0, 2.0], mask=[True, False])
    source["name"] = np.array([b" a", b"b "])
    back = read_table(source)
    assert back["rv"].tolist() == [1.0, None]
    assert back["rv"].unit == u.m / u.s
    assert back["plain"].tolist() == [None, 2.0]
    assert back["name"].tolist() == ["a", "b"]
    assert source["name"].dtype.kind == "S"
    assert isinstance(source["rv"], u.Quantity)


def test_numbers_in_memory_are_not_copied():
    source = Table({"x": np.arange(3.0)})
    assert np.shares_memory(read_table(source)["x"], source["x"])


def test_parquet_written_by_astropy_keeps_units_and_gaps(tmp_path):
    QTable({"rv": Masked([1.0, 2.0] * u.m / u.s, mask=[False, True])}).write(tmp_path / "t.parquet")
    back = read_table(tmp_path / "t.parquet")
    assert back.colnames == ["rv"]
    assert back["rv"].tolist() == [1.0, None]
    assert back["rv"].unit == u.m / u.s


def test_votable_columns_go_by_name(tmp_path):
    Table({"x": [1.0]}).write(tmp_path / "t.xml", format="votable")
    text = (tmp_path / "t.xml").read_text()
    assert 'ID="x"' in text
    (tmp_path / "t.xml").write_text(text.replace('ID="x"', 'ID="col1"'))
    assert read_table(tmp_path / "t.xml").colnames == ["x"]


def test_foreign_parquet_types_do_not_stop_the_reading(tmp_path):
    arrow = pa.table(
        {
            "source_id": pa.array([BIG[1], None]),
            "day": pa.array([0, 1], pa.date32()),
            "lc": pa.array([[1.0], [1.0, 2.0]]),
            "vector": pa.array([[1.0, 2.0], [3.0, 4.0]]),
            "nothing": pa.nulls(2),
        }
    )
    pq.write_table(arrow, tmp_path / "t.parquet")
    back = read_table(tmp_path / "t.parquet")
    assert back["source_id"].tolist() == [BIG[1], None]
    assert back["day"].tolist() == ["1970-01-01", "1970-01-02"]
    assert back["vector"].shape == (2, 2)
    assert back["nothing"].tolist() == [None, None]
    assert "lc: not numeric" in refusal(read_inputs, tmp_path / "t.parquet", one("lc"))


# ---- files that cannot be read ---------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_junk_is_one_short_error_with_the_path(tmp_path, suffix):
    path = tmp_path / f"junk{suffix}"
    path.write_bytes(np.random.default_rng(0).bytes(20_000))
    message = refusal(read_table, path)
    assert message.startswith(f"{path}: ")
    assert message.count(str(path)) <= 2  # some libraries say it as well
    assert "complete" in message
    path.write_bytes(b"")
    assert (
        refusal(read_table, path) == f"{path}: the file is empty (0 bytes); fetch or write it again"
    )


@pytest.mark.parametrize("kept", [2000, 2880, 5000, -3000, -100])
def test_a_truncated_fits_file_is_refused(tmp_path, table, kept):
    path = tmp_path / "t.fits"
    write_table(Table(dict.fromkeys("abc", np.arange(5000.0))), path)
    path.write_bytes(path.read_bytes()[:kept])
    message = refusal(read_table, path)
    assert message.startswith(f"{path}: ")
    assert "truncated" in message or "cut short" in message or "complete" in message


@pytest.mark.parametrize("suffix", [".parquet", ".vot", ".ecsv"])
def test_other_truncated_files_are_refused(tmp_path, table, suffix):
    path = tmp_path / f"t{suffix}"
    write_table(table, path)
    path.write_bytes(path.read_bytes()[:-10])
    assert "unreadable as" in refusal(read_table, path)


@pytest.mark.parametrize(("sign", "name"), [("|", "'|'"), (";", "';'"), ("\t", "tabs")])
def test_another_delimiter_is_named(tmp_path, sign, name):
    path = tmp_path / "lamost.csv"
    path.write_text(f"obsid{sign}teff\n1{sign}5000,5\n")
    assert f"separated by {name}" in refusal(read_table, path)


def test_no_file_a_folder_and_an_unknown_suffix(tmp_path):
    assert refusal(read_table, tmp_path / "no.csv") == (
        f"{tmp_path / 'no.csv'}: there is no such file; check the path"
    )
    for read in (read_pairs, read_inputs):
        assert refusal(read, tmp_path / "no.csv", SPEC) == refusal(read_table, tmp_path / "no.csv")
    assert "folder" in refusal(read_table, str(tmp_path))
    (tmp_path / "t.npy").write_text("x")
    assert "unknown suffix '.npy'; use .parquet" in refusal(read_table, tmp_path / "t.npy")
    fits.PrimaryHDU(np.ones((3, 3))).writeto(tmp_path / "image.fits")
    assert "no table" in refusal(read_table, tmp_path / "image.fits")


def test_two_columns_of_one_name_and_ragged_rows(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("teff,teff \n1,2\n")
    assert "two columns are called 'teff'" in refusal(read_table, path)
    path.write_text("a,b\n1,2\n3\n")
    assert "Expected 2 columns, got 1" in refusal(read_table, path)
