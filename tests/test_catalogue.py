"""Tables at the door: what is read exactly, what is converted, what is refused and how."""

from __future__ import annotations

import gzip
import hashlib
import os
import warnings

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

from bayestrans import tables
from bayestrans.catalogue import (
    CatalogueError,
    check_writable,
    digest,
    read_inputs,
    read_pairs,
    read_table,
    write_table,
)
from bayestrans.pairs import PairsError
from bayestrans.spec import Input, Output, Spec

SUFFIXES = [".fits", ".csv", ".ecsv", ".parquet", ".vot"]
#: Neither survives a float64: the neighbours of 2**53 and of a Gaia identifier.
BIG = [2**53 + 1, 4667213730748377729, 999999]
SPEC = Spec(
    "A to B",
    (
        Input("teff", "teff_a", "e_teff_a", unit="K"),
        Input("rv", "rv_a", "e_rv_a", unit="km/s", extrinsic=True),
    ),
    (
        Output("teff", "teff_b", unit="K", corrects="teff"),
        Output("rv", "rv_b", "e_rv_b", unit="km/s", corrects="rv", extrinsic=True),
    ),
    id="sobject_id",
)


@pytest.fixture
def table() -> Table:
    """Return three common stars that fit SPEC."""
    return Table(
        {
            "sobject_id": BIG,
            "teff_a": [4500.0, 5000.0, 5500.0],
            "e_teff_a": [90.0, 80.0, 70.0],
            "rv_a": [-10.0, 0.5, 250.0],
            "e_rv_a": [0.1, 0.2, 0.3],
            "teff_b": [4510.0, 5020.0, 5530.0],
            "rv_b": [-10.5, 0.4, 251.0],
            "e_rv_b": [0.05, 0.06, 0.07],
        }
    )


def one(column: str, error: str | None = None, **keys) -> Spec:
    """Return a spec with this one input and the output ``y``."""
    return Spec("one", (Input("x", column, error, **keys),), (Output("y", "y"),))


def refusal(call, *arguments, **keywords) -> str:
    with pytest.raises((CatalogueError, PairsError)) as caught:
        call(*arguments, **keywords)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 330
    return message


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


def test_a_frame_of_mixed_objects_is_refused_by_column():
    assert "odd" in refusal(read_table, pd.DataFrame({"odd": [1, "a"]}))


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


# ---- columns --------------------------------------------------------------------------


def test_pairs_hold_the_columns_in_the_order_of_the_spec(table):
    pairs = read_pairs(table, SPEC)
    np.testing.assert_array_equal(pairs.x.T, [table["teff_a"], table["rv_a"]])
    np.testing.assert_array_equal(pairs.x_err.T, [table["e_teff_a"], table["e_rv_a"]])
    np.testing.assert_array_equal(pairs.y.T, [table["teff_b"], table["rv_b"]])
    assert np.isnan(pairs.y_err[:, 0]).all()  # the spec gives no error column
    np.testing.assert_array_equal(pairs.y_err[:, 1], table["e_rv_b"])
    assert pairs.ids.tolist() == BIG


def test_metres_per_second_are_converted_with_their_errors(table):
    expected = read_pairs(table, SPEC)
    table["rv_a"] = Column(1000 * table["rv_a"], unit="m/s")
    table["e_rv_a"] = 1000 * table["e_rv_a"]  # without a unit: that of its value
    table["rv_b"].unit = table["e_rv_b"].unit = "km/sec"
    pairs = read_pairs(table, SPEC)
    np.testing.assert_allclose(pairs.x, expected.x, rtol=1e-15)
    np.testing.assert_allclose(pairs.x_err, expected.x_err, rtol=1e-15)
    np.testing.assert_array_equal(pairs.y, expected.y)
    table["e_rv_a"].unit = "km/s"  # its own unit has precedence
    np.testing.assert_allclose(read_pairs(table, SPEC).x_err[:, 1], 1000 * expected.x_err[:, 1])


@pytest.mark.parametrize("text", ["K", "'K'", "Kelvin", "kelvin", " K ", "1000 mK"])
def test_spellings_of_kelvin(table, text):
    table["teff_a"].unit = u.Unit(text, parse_strict="silent")
    np.testing.assert_allclose(read_pairs(table, SPEC).x[:, 0], table["teff_a"].data)


@pytest.mark.parametrize(
    "text",
    [
        *("", "dex", "log(cm.s**-2)", "[cm/s**2]", "[cm/s2]", "dex(cm / s2)", "log(cm/s2)"),
        *("log10(cm / s^2)", "[dex]"),
    ],
)
@pytest.mark.parametrize("wanted", ["", "dex", "log(cm/s2)"])
def test_spellings_of_plain_numbers(text, wanted):
    table = Table({"logg": [1.0, 4.0], "y": [1.0, 2.0]})
    table["logg"].unit = u.Unit(text, parse_strict="silent")
    assert read_inputs(table, one("logg", unit=wanted)).x[:, 0].tolist() == [1.0, 4.0]


@pytest.mark.parametrize(
    ("unit", "wanted", "said"),
    [
        ("K", "km/s", "'K' and 'km / s'"),
        ("log(m/s2)", "", "the unit 'log(m/s2)' cannot be used; write it as"),
        ("log(K)", "K", "'dex' and 'K'"),
        ("furlong", "K", "the unit 'furlong' cannot be used"),
        ("mag", "", "'mag' and 'dex'"),
    ],
)
def test_units_that_do_not_fit_are_refused(unit, wanted, said):
    table = Table({"x": [4000.0, 5000.0], "y": [1.0, 2.0]})
    table["x"].unit = u.Unit(unit, parse_strict="silent")
    message = refusal(read_inputs, table, one("x", unit=wanted))
    assert message.startswith("x: ")
    assert said in message


def test_the_units_of_the_spec_are_checked_too():
    message = refusal(read_inputs, Table({"x": [1.0]}), one("x", unit="Kelwin"))
    assert message.startswith("the spec's x: the unit 'Kelwin'")


def test_a_missing_column_lists_the_nearest(table):
    table.rename_column("teff_a", "Teff_aa")
    message = refusal(read_pairs, table, SPEC)
    assert "there is no column 'teff_a'" in message
    assert "Teff_aa" in message


def test_case_matters_only_where_it_is_ambiguous(table):
    table.rename_column("teff_a", "TEFF_A")
    assert read_pairs(table, SPEC).x[:, 0].tolist() == [4500, 5000, 5500]
    table["teff_a"] = table["TEFF_A"]
    message = refusal(read_pairs, table, SPEC)
    assert message == "teff_a: ambiguous, the table has TEFF_A and teff_a; rename or remove one"


def test_vector_columns_need_an_index():
    table = Table({"FPARAM": [[4000.0, 1.5], [5000.0, 2.5]], "y": [1.0, 2.0]})
    table["cube"] = np.zeros((2, 2, 2))
    assert read_inputs(table, one("FPARAM[1]")).x[:, 0].tolist() == [1.5, 2.5]
    assert read_inputs(table, one("fparam[0]", unit="K")).x[:, 0].tolist() == [4000, 5000]
    assert "holds 2 values; name one of them, as FPARAM[0]" in refusal(
        read_inputs, table, one("FPARAM")
    )
    assert "FPARAM[2]: each row" in refusal(read_inputs, table, one("FPARAM[2]"))
    assert "holds 2 x 2 values" in refusal(read_inputs, table, one("cube[0]"))
    assert "y[0]: y is no vector; name it without [0]" in refusal(read_inputs, table, one("y[0]"))
    table["FPARAM[1]"] = [7.0, 8.0]  # a name of its own comes first
    assert read_inputs(table, one("FPARAM[1]")).x[:, 0].tolist() == [7, 8]


def test_a_column_that_is_not_numeric_is_refused():
    table = Table({"x": ["5000", "--"], "on": [True, False], "y": [1.0, 2.0]})
    table["sky"] = SkyCoord([1, 2], [3, 4], unit="deg")
    assert refusal(read_inputs, table, one("x")) == (
        "x: not numeric (row 1 holds '--'); give a column of numbers"
    )
    assert "on: not numeric" in refusal(read_inputs, table, one("on"))
    assert "sky: not numeric" in refusal(read_inputs, table, one("sky"))


@pytest.mark.parametrize("values", [np.log10([4000.0, 5000.0]), [4e7, 5e7], [4.1, -9999.0]])
def test_a_temperature_beyond_belief_is_refused(values):
    message = refusal(read_inputs, Table({"x": values}), one("x", unit="K"))
    assert message.startswith("x: the median, ")
    assert "logarithm" in message


def test_an_unlabelled_speed_in_metres_is_refused(table):
    table["rv_a"] = [-30_000.0, 20_000.0, 9_000.0]
    assert refusal(read_pairs, table, SPEC) == (
        "rv_a: the median would be 2e+04 km/s; if it is in m/s, give the column that unit"
    )
    table["rv_a"].unit = "km/s"  # a galaxy, then
    assert read_pairs(table, SPEC).x[0, 1] == -30_000


def test_rows_of_sentinels_alone_do_not_stop_a_catalogue():
    table = Table({"x": [-9999.0, np.nan, 99.0, 0.0]})
    assert read_inputs(table, one("x", unit="K")).x[0, 0] == -9999
    assert read_inputs(table, one("x", unit="km/s")).x[0, 0] == -9999


# ---- rows -----------------------------------------------------------------------------


def test_missing_inputs_of_training_stars_stay_missing(tmp_path, table):
    table["teff_a"] = MaskedColumn([4500.0, 5000.0, 5500.0], mask=[0, 1, 1])
    write_table(table, tmp_path / "t.fits")
    for source in (table, tmp_path / "t.fits"):
        pairs = read_pairs(source, SPEC)
        np.testing.assert_array_equal(np.isnan(pairs.x), [[0, 0], [1, 0], [1, 0]])
        np.testing.assert_array_equal(pairs.x[:, 1], table["rv_a"])


@pytest.mark.parametrize(("name", "columns"), [("input", "a"), ("output", "b")])
def test_a_star_without_any_input_or_output_is_left_out_and_counted(
    tmp_path, table, caplog, name, columns
):
    whole = read_pairs(table, SPEC)
    for column in (f"teff_{columns}", f"rv_{columns}"):
        table[column] = np.where(np.arange(3) == 1, np.nan, table[column])
    write_table(table, tmp_path / "t.csv")
    pairs = read_pairs(tmp_path / "t.csv", SPEC)
    assert pairs.ids.tolist() == whole.ids[[0, 2]].tolist()
    np.testing.assert_array_equal(pairs.y, whole.y[[0, 2]])
    message = f"{tmp_path / 't.csv'}: 1 of 3 stars have no input or no output and are left out"
    assert message in caplog.messages
    for column in (f"teff_{columns}", f"rv_{columns}"):
        table[column] = np.full(3, np.nan)
    assert f"no star has any {name}; are its columns all" in refusal(read_pairs, table, SPEC)


def test_missing_outputs_and_their_errors_stay_missing(table):
    table["teff_b"] = MaskedColumn([4510.0, 0.0, 5530.0], mask=[0, 1, 0])
    table["rv_b"][2] = table["e_rv_b"][2] = np.nan
    table["e_rv_b"][0] = np.nan
    pairs = read_pairs(table, SPEC)
    np.testing.assert_array_equal(pairs.seen, [[1, 1], [0, 1], [1, 0]])
    np.testing.assert_array_equal(np.isfinite(pairs.y_err[:, 1]), [False, True, False])


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_errors_of_training_stars_that_are_none_are_missing(table, bad):
    table["e_rv_a"][1] = bad
    pairs = read_pairs(table, SPEC)
    np.testing.assert_array_equal(np.isnan(pairs.x_err[:, 1]), [False, True, False])
    assert np.isfinite(pairs.x).all()


def test_an_error_floor_raises_zero_but_not_negative_errors():
    table = Table({"x": [1.0, 2.0, 3.0, 4.0], "e": [0.0, 40.0, -1.0, 500.0]})
    table["x"].unit, table["e"].unit = "km/s", "m/s"
    got = read_inputs(table, one("x", "e", unit="km/s", error_floor=0.1)).x_err[:, 0]
    np.testing.assert_allclose(got, [0.1, 0.1, np.nan, 0.5])


def test_faults_of_a_catalogue_row_become_nan_and_keep_the_row(table):
    table["teff_a"] = MaskedColumn([4500.0, np.inf, 5500.0], mask=[1, 0, 0])
    table["e_teff_a"] = [90.0, 0.0, -5.0]
    table["rv_a"] = np.array([np.iinfo(np.int64).min, 3, 4])  # the null of many FITS files
    inputs = read_inputs(table[["sobject_id", "teff_a", "e_teff_a", "rv_a", "e_rv_a"]], SPEC)
    np.testing.assert_array_equal(inputs.x, [[np.nan, np.nan], [np.nan, 3], [5500, 4]])
    np.testing.assert_array_equal(inputs.x_err, [[90, 0.1], [np.nan, 0.2], [np.nan, 0.3]])
    assert np.isnan(read_inputs(table, one("teff_a", unit="K")).x_err).all()


# ---- identifiers ----------------------------------------------------------------------


def test_every_identifier_is_carried_and_the_one_of_the_spec_leads(tmp_path):
    table = Table(
        {
            "TARGETID": np.array(BIG),
            "teff_a": [4500.0, 5000.0, 5500.0],
            "apogee_id": ["2M1 ", "2M2", ""],
            "gaia_source_id": MaskedColumn([1, 2, 3], mask=[0, 1, 0]),
            "grid": [1.5, 2.5, 3.5],
            "idx": [1, 2, 3],
            "bits_id": np.zeros((3, 2), int),
            "Sobject_ID": np.array([7, 8, 9], "i4"),
        },
        meta={"stale": "keyword"},
    )
    spec = Spec("s", (Input("x", "teff_a"),), (Output("y", "y"),), id="sobject_id")
    for source in (table, tmp_path / "t.fits"):
        if source is not table:
            write_table(table, source)
        got = read_inputs(source, spec).identifiers
        assert got.colnames == ["Sobject_ID", "TARGETID", "apogee_id", "gaia_source_id"]
        assert got["TARGETID"].tolist() == BIG
        assert got["apogee_id"].tolist() == ["2M1", "2M2", None]
        assert got["gaia_source_id"].tolist() == [1, None, 3]
        assert got["Sobject_ID"].dtype == np.int32
        assert got.meta == {}
    table.remove_column("Sobject_ID")
    assert read_inputs(table, spec).identifiers.colnames[0] == "TARGETID"


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (
            MaskedColumn([1, 2, 3], mask=[0, 1, 1]),
            "2 of 3 identifiers are missing (first in row 1)",
        ),
        ([np.iinfo(np.int64).min, 2, 3], "1 of 3 identifiers are missing (first in row 0)"),
        (["a", "b", " "], "1 of 3 identifiers are missing (first in row 2)"),
        ([1.0, np.nan, 3.0], "1 of 3 identifiers are missing (first in row 1)"),
        ([1.0, 2.0**53, 3.0], "numbers beyond 9007199254740992 in float64, which loses digits"),
        (np.array([1, 2**24, 3], "f4"), "numbers beyond 16777216 in float32"),
        ([1.0, 2.5, 3.0], "store the ids as 64-bit integers or text"),
        ([True, False, True], "not integers or text"),
    ],
)
def test_identifiers_that_cannot_be_trusted_are_refused(table, ids, said):
    table["sobject_id"] = ids
    message = refusal(read_pairs, table, SPEC)
    assert message.startswith("sobject_id: ")
    assert said in message


def test_lost_digits_are_a_fault_of_a_catalogue_as_well(table):
    table["sobject_id"] = np.array(BIG, dtype=float)
    assert "loses digits" in refusal(read_inputs, table, SPEC)


def test_whole_floats_are_integers_and_text_is_text(table):
    table["sobject_id"] = [1.0, 2.0, 3.0]
    assert read_pairs(table, SPEC).ids.dtype == np.int64
    table["sobject_id"] = np.array([b"a ", b"b", b"c"])
    assert read_pairs(table, SPEC).ids.tolist() == ["a", "b", "c"]
    table.remove_column("sobject_id")
    assert "there is no column 'sobject_id'" in refusal(read_pairs, table, SPEC)


def test_without_an_id_in_the_spec_rows_are_numbered(table):
    spec = Spec("s", SPEC.inputs, SPEC.outputs)
    assert read_pairs(table, spec).ids.tolist() == [0, 1, 2]


# ---- writing --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("failure", [OSError("No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("when", ["writing", "renaming"])
def test_a_failure_in_the_middle_leaves_the_old_file_and_nothing_else(
    tmp_path, table, monkeypatch, suffix, failure, when
):
    path = tmp_path / f"t{suffix}"
    path.write_text("precious")
    begun = []

    def fail(*arguments):
        begun.extend(file.name for file in tmp_path.iterdir() if file != path)
        raise failure

    kind = tables.FORMATS[suffix]
    write = tables.WRITERS[kind]
    if when == "renaming":
        monkeypatch.setattr(os, "replace", fail)
    else:
        monkeypatch.setitem(tables.WRITERS, kind, lambda *both: fail(write(*both)))
    with pytest.raises((CatalogueError, KeyboardInterrupt)) as caught:
        write_table(table, path, overwrite=True)
    if isinstance(failure, OSError):
        assert caught.type is CatalogueError
        assert f"{path}: writing failed (No space left" in str(caught.value)
    else:
        assert caught.value is failure
    assert [name for name in begun if path.name in name and ".partial" in name]
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, table, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        act = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, f=act: (calls.append(n), f(*a)))
    write_table(table, tmp_path / "t.fits")
    assert calls == ["fsync", "replace"]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path, table, monkeypatch):
    path = tmp_path / "t.csv"
    write = tables.WRITERS["CSV"]
    monkeypatch.setitem(
        tables.WRITERS, "CSV", lambda *both: (write(*both), path.write_text("theirs"))
    )
    assert "--overwrite" in refusal(write_table, table, path)
    assert path.read_text() == "theirs"


def test_an_existing_file_is_replaced_only_on_request(tmp_path, table):
    path = tmp_path / "t.parquet"
    path.write_text("old")
    assert refusal(write_table, table, path) == (
        f"{path}: the file exists; give --overwrite to replace it"
    )
    assert path.read_text() == "old"
    write_table(table, path, overwrite=True)
    assert len(read_table(path)) == 3
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_said_before_any_work(tmp_path):
    assert "unknown suffix '.npz'; use .parquet" in refusal(
        check_writable, tmp_path / "t.npz", overwrite=False
    )
    assert "does not exist; create it first" in refusal(
        check_writable, tmp_path / "no" / "t.csv", overwrite=True
    )
    (tmp_path / "d.csv").mkdir()
    assert "folder" in refusal(check_writable, tmp_path / "d.csv", overwrite=True)
    check_writable(tmp_path / "t.csv", overwrite=False)
    assert not (tmp_path / "t.csv").exists()


def test_a_vector_does_not_fit_csv(tmp_path):
    message = refusal(write_table, Table({"draws": [[1.0, 2.0]]}), tmp_path / "t.csv")
    assert "CSV holds no vectors, such as draws; write .parquet or .fits" in message
    assert list(tmp_path.iterdir()) == []


# ---- digests --------------------------------------------------------------------------


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a\n1\n")
    assert digest(tmp_path / "t.csv") == hashlib.sha256(b"a\n1\n").hexdigest()
    assert "no such file" in refusal(digest, tmp_path / "no.csv")


def test_the_digest_of_a_table_sees_every_change(table):
    first = digest(table)
    assert digest(table.copy()) == first
    swapped = table.copy()
    swapped["rv_a"] = swapped["rv_a"].astype(">f8")
    assert digest(swapped) == first
    other = [table[::-1], table[:2], Table(table, names=[f"{n}_" for n in table.colnames])]
    other.append(Table(table, masked=True))
    other[-1]["rv_a"].mask[0] = True
    other.append(table.to_pandas().assign(rv_a=[0.0, 0.0, 1.0]))
    assert len({first, *map(digest, other)}) == 6


def test_the_digest_sees_gaps_but_not_what_lies_under_them():
    zero, gap, same = (MaskedColumn([v, 1.0], mask=[m, 0]) for v, m in ((0, 0), (0, 1), (5, 1)))
    assert digest(Table({"x": zero})) != digest(Table({"x": gap}))
    assert digest(Table({"x": gap})) == digest(Table({"x": same}))


# ---- real catalogues ------------------------------------------------------------------


@pytest.mark.realdata
def test_the_k2_giants_come_as_pairs_with_exact_identifiers(real_data):
    path = real_data / "galah_dr3_apogee_dr17_k2.csv"
    names = ("teff", "fe_h")
    units = {"teff": "K", "fe_h": "dex"}
    spec = Spec(
        "K2",
        tuple(Input(n, f"{n}_galah", f"e_{n}_galah", units[n]) for n in names),
        tuple(Output(n, f"{n}_apogee", f"e_{n}_apogee", units[n], n) for n in names),
        id="gaia_source_id",
    )
    pairs = read_pairs(path, spec)
    lines = path.read_text().splitlines()
    assert [str(number) for number in pairs.ids] == [line.split(",")[0] for line in lines[1:]]
    assert pairs.ids.dtype == np.int64
    assert max(pairs.ids) > 2**53
    assert pairs.x[0].tolist() == [4691, -0.18]
    assert pairs.y_err[1].tolist() == [20.1, 0.0164]
    assert len(pairs) == 580


@pytest.mark.realdata
def test_the_galah_fits_file_is_read_without_a_warning(real_data):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = read_table(real_data / "galah_dr3_halo.fits")
    assert caught == []
    assert (len(table), len(table.colnames)) == (1061, 215)
    assert all(table[name].dtype.isnative for name in table.colnames)
    assert not any(str(name).endswith(" ") for name in table["survey_name"])
    spec = Spec(
        "s",
        (Input("teff", "teff", unit="K"), Input("li", "nr_Li_fe")),
        (Output("y", "y"),),
        id="sobject_id",
    )
    inputs = read_inputs(real_data / "galah_dr3_halo.fits", spec)
    assert inputs.identifiers["sobject_id"][0] == 131116000501116
    assert {"dr3_source_id", "star_id"} < set(inputs.identifiers.colnames)
    assert np.isfinite(inputs.x[:, 0]).all()
    assert 0 < np.isnan(inputs.x[:, 1]).sum() < 1061
    assert np.nanmin(inputs.x[:, 1]) >= 0
