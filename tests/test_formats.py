"""Foreign files as they are met in the wild: read exactly, or refused with the reason."""

from __future__ import annotations

import gzip
import io

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Column, QTable, Table

from bayestrans.catalogue import CatalogueError, read_inputs, read_table, write_table
from bayestrans.spec import Input, Output, Spec

VOTABLE = (
    '<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
    "<RESOURCE><TABLE>{}<DATA><TABLEDATA>{}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
)
ECSV = (
    "# %ECSV 1.0\n# ---\n# datatype:\n# - {{name: {}, datatype: int64}}\n"
    "# - {{name: {}, unit: km/sec, datatype: float64}}\n{} {}\n"
)


def spec(column: str, **keys) -> Spec:
    return Spec("one", (Input("x", column, **keys),), (Output("y", "y"),))


def refusal(source: object) -> str:
    with pytest.raises(CatalogueError) as caught:
        read_table(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def csv(folder, content: str | bytes):
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def votable(folder, fields: str, rows: str):
    path = folder / "t.vot"
    path.write_text(VOTABLE.format(fields, rows))
    return path


# ---- CSV ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values", "kind"),
    [
        ("18446744073709551615\n5", [2**64 - 1, 5], "u"),
        ("007\n12", ["007", "12"], "U"),
        (" 9223372036854775807 \nNULL\nNA", [2**63 - 1, None, None], "i"),
        ("-4667213730748377729\n0", [-4667213730748377729, 0], "i"),
        ("2020-01-01T01:02:03\n2M00", ["2020-01-01T01:02:03", "2M00"], "U"),
        ("4.5e18\n1", [4.5e18, 1.0], "f"),  # whose digits were lost before, and said so later
    ],
)
def test_identifiers_in_csv_keep_what_is_written(tmp_path, text, values, kind):
    rows = "".join(f"{line},1\n" for line in text.split("\n"))
    found = read_table(csv(tmp_path, f"Source_ID ,b\n{rows}"))["Source_ID"]
    assert found.tolist() == values
    assert found.dtype.kind == kind


def test_times_in_csv_stay_the_text_that_they_are(tmp_path):
    text = "when\n2020-01-01T01:02:03\n2020-01-02 01:02:03.5\n"
    found = read_table(csv(tmp_path, text))["when"]
    assert found.tolist() == text.split("\n")[1:3]


def test_an_empty_line_in_a_column_of_its_own_is_a_gap(tmp_path):
    assert read_table(csv(tmp_path, "id\n1\n\n3\n"))["id"].tolist() == [1, None, 3]
    assert len(read_table(csv(tmp_path, "id,b\n1,2\n\n3,4\n\n"))) == 2


@pytest.mark.parametrize("ends", ["", "\n", "\r\n"])
def test_names_alone_are_an_empty_table(tmp_path, ends):
    found = read_table(csv(tmp_path, f"teff,b{ends}"))
    assert found.colnames == ["teff", "b"]
    assert read_inputs(found, spec("teff", unit="K")).x.shape == (0, 1)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_any_way_and_begin_with_a_mark(tmp_path, ends):
    content = b"\xef\xbb\xbf" + ends.join(["teff,b", "1,2", ""]).encode()
    found = read_table(csv(tmp_path, content))
    assert (found["teff"].tolist(), found["b"].tolist()) == ([1], [2])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("obsid teff\n1 5000\n", "separated by blanks; separate them by commas"),
        ("  obsid  teff \n  1   5000\n", "separated by blanks"),
        ("# made by me\nteff,b\n1,2\n", "the first line is a comment; remove what precedes"),
        ('"teff", "b"\n1, "x"\n', "blanks stand between ',' and quotes; remove them"),
        ("\n \n", "the file holds blanks only"),
        ("teff,b\n1,2\n".encode("utf-16"), "byte 1 is not of UTF-8); check that"),
        ("teff,\xe9\n1,2\n".encode("latin-1"), "right, and save its text as UTF-8"),
        ("teff,b\n1,2\n3\n", "Expected 2 columns, got 1"),
    ],
)
def test_text_that_is_no_csv_is_refused_with_the_reason(tmp_path, content, said):
    path = csv(tmp_path, content)
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert said in message


def test_ecsv_by_the_name_of_csv_is_read_with_its_units(tmp_path):
    path = csv(tmp_path, ECSV.format("source_id", "rv", "source_id", "rv") + '5 1.5\n"" 2\n')
    found = read_table(path)
    assert found["source_id"].tolist() == [5, None]
    assert read_inputs(path, spec("rv", unit="km/s")).x[:, 0].tolist() == [1.5, 2.0]


def test_a_compressed_file_that_was_cut_short_is_refused(tmp_path):
    rows = "".join(f"{i},{i * i}\n" for i in range(5000))
    packed = gzip.compress(f"source_id,b\n{rows}".encode())
    path = tmp_path / "t.csv.gz"
    path.write_bytes(packed)
    assert read_table(path)["b"][-1] == 4999**2
    for kept in (len(packed) // 2, len(packed) - 9):
        path.write_bytes(packed[:kept])
        assert "Compressed file ended" in refusal(path)


# ---- names given twice, in every format ---------------------------------------------------


def twice(folder, suffix: str):
    """Write a file whose two columns are both called a."""
    path = folder / f"t{suffix}"
    arrow = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    if suffix == ".csv":
        path.write_text("a, a\n1,2\n")
    elif suffix == ".parquet":
        pq.write_table(arrow, path)
    elif suffix == ".ecsv":
        path.write_text(ECSV.format("a", "a", "a", "a") + "1 2\n")
    elif suffix == ".vot":
        field = '<FIELD name="a" datatype="long"/>'
        votable(folder, 2 * field, "<TR><TD>1</TD><TD>2</TD></TR>")
    else:
        write_table(Table({"a": [1.0], "b": [2.0]}), path)
        path.write_bytes(path.read_bytes().replace(b"TTYPE2  = 'b ", b"TTYPE2  = 'a "))
    return path


@pytest.mark.parametrize("suffix", [".fits", ".csv", ".ecsv", ".parquet", ".vot"])
def test_two_columns_of_one_name_are_refused_and_not_renamed(tmp_path, suffix):
    path = twice(tmp_path, suffix)
    assert refusal(path) == f"{path}: two columns are called 'a'; rename or remove one"


def test_two_columns_of_one_name_in_a_frame():
    said = "two columns are called 'a'; rename or remove one"
    assert refusal(pd.DataFrame([[1, 2]], columns=["a", "a"])) == said


# ---- FITS -----------------------------------------------------------------------------


def test_null_values_of_scaled_fits_columns_are_missing(tmp_path):
    column = fits.Column("x", "I", array=np.array([1, -99]), null=-99)
    hdu = fits.BinTableHDU.from_columns([column])
    path = tmp_path / "t.fits"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    content = path.read_bytes()
    scaling = "".join(f"{card:<80}" for card in ("TSCAL1  = 0.5", "TZERO1  = 2.0", "END"))
    end = content.index(b"END" + 77 * b" ", 2880)
    path.write_bytes(content[:end] + scaling.encode() + content[end + 240 :])
    assert read_table(path)["x"].tolist() == [2.5, None]


def test_unsigned_integers_and_odd_units_of_fits(tmp_path):
    big = np.array([2**63 + 5, 1], "u8")
    columns = [
        fits.Column("id", "K", array=big, bzero=2**63),
        fits.Column("rv", "D", array=[1.0, 2.0], unit="km/sec"),
        fits.Column("logg", "D", array=[1.0, 2.0], unit="log(cm.s**-2)"),
    ]
    path = tmp_path / "t.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    assert read_table(path)["id"].tolist() == big.tolist()
    assert read_inputs(path, spec("rv", unit="km/s")).x[:, 0].tolist() == [1, 2]
    assert read_inputs(path, spec("logg")).x[:, 0].tolist() == [1, 2]


def test_a_damaged_fits_file_is_not_left_open(tmp_path, recwarn):
    path = tmp_path / "t.fits"
    write_table(Table({"x": [1.0]}), path)
    path.write_bytes(path.read_bytes().replace(b"XTENSION", b"XTENSIOX"))
    refusal(path)
    assert [w for w in recwarn if w.category is ResourceWarning] == []


# ---- VOTable and ECSV -----------------------------------------------------------------


def test_a_number_that_does_not_fit_its_type_is_refused_and_not_cut(tmp_path):
    path = votable(tmp_path, '<FIELD name="a" datatype="int"/>', "<TR><TD>99999999999</TD></TR>")
    assert "'99999999999' is out of range for a 32-bit integer" in refusal(path)


def test_the_errors_of_a_service_are_passed_on(tmp_path):
    path = tmp_path / "t.vot"
    path.write_text(
        '<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        '<RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">no such column</INFO>'
        "</RESOURCE></VOTABLE>"
    )
    assert "holds no table and says 'no such column'" in refusal(path)
    path.write_text("<html><body>404 not found</body></html>")
    assert "does not appear to be a VOTABLE" in refusal(path)
    assert refusal(path).count(str(path)) == 1


def test_empty_cells_of_integers_in_votables_are_missing(tmp_path):
    field = '<FIELD name="id" datatype="long"/>'
    rows = "<TR><TD>4667213730748377729</TD></TR><TR><TD/></TR>"
    found = read_table(votable(tmp_path, field, rows))["id"]
    assert found.tolist() == [4667213730748377729, None]


def test_an_ecsv_file_whose_header_names_no_columns_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "t.ecsv"
    path.write_text("# %ECSV 1.0\n# ---\na b\n1 2\n")
    with pytest.raises(CatalogueError, match="its header names no columns"):
        read_table(path)


def test_an_empty_ecsv_table_with_vectors_keeps_them(tmp_path):
    path = tmp_path / "t.ecsv"
    made = Table({"draws": Column(np.zeros((0, 3)), unit="K", description="three")})
    made["id"] = np.zeros(0, dtype=np.int64)
    made.meta["BTSEED"] = "4"
    write_table(made, path)
    found = read_table(path)
    assert found["draws"].shape == (0, 3)
    assert (found["draws"].unit, found["draws"].description) == (u.K, "three")
    assert found["id"].dtype == np.int64
    assert found.meta["BTSEED"] == "4"


# ---- Parquet --------------------------------------------------------------------------


def test_lists_with_gaps_are_vectors_with_gaps(tmp_path):
    path = tmp_path / "t.parquet"
    lists = pa.array([[1.0, None], None, [5.0, 6.0]])
    cubes = pa.array([[[1, 2], [3, 4]]] * 3)
    pq.write_table(pa.table({"FPARAM": lists, "cube": cubes, "lc": [[1.0], [1.0, 2.0], []]}), path)
    found = read_table(path)
    assert found["FPARAM"].tolist() == [[1.0, None], [None, None], [5.0, 6.0]]
    assert found["cube"].shape == (3, 2, 2)
    np.testing.assert_array_equal(read_inputs(path, spec("fparam[1]")).x[:, 0], [np.nan, np.nan, 6])
    with pytest.raises(CatalogueError, match="lc hold lists of different lengths; name another"):
        read_inputs(path, spec("lc[0]"))


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.float64(), 2)])
def test_vectors_of_a_table_without_rows(tmp_path, kind):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"FPARAM": pa.array([], kind)}), path)
    assert read_inputs(path, spec("FPARAM[1]")).x.shape == (0, 1)


def test_units_within_parquet_are_seen(tmp_path):
    path = tmp_path / "t.parquet"
    field = pa.field("rv", pa.float64(), metadata={b"unit": b"m/s"})
    pq.write_table(pa.table([pa.array([1000.0])], schema=pa.schema([field])), path)
    assert read_inputs(path, spec("rv", unit="km/s")).x[0, 0] == 1.0
    table = Table({"rv": Column([2000.0], unit="m/s", description="speed")})
    xml = io.BytesIO()
    table.write(xml, format="votable")
    arrow = pa.table({"rv": [2000.0]})
    arrow = arrow.replace_schema_metadata({"IVOA.VOTable-Parquet.content": xml.getvalue()})
    pq.write_table(arrow, path)
    assert read_inputs(path, spec("rv", unit="km/s")).x[0, 0] == 2.0
    assert read_table(path)["rv"].description == "speed"


# ---- tables in memory -----------------------------------------------------------------


def test_objects_become_what_they_all_are():
    made = Table(
        {
            "id": np.array([2**60 + 1, None], dtype=object),
            "x": np.array([1.5, None], dtype=object),
            "name": np.array(["a ", None], dtype=object),
            "mixed": np.array([1, "a"], dtype=object),
        }
    )
    found = read_table(made)
    assert found["id"].tolist() == [2**60 + 1, None]
    assert found["id"].dtype == np.int64
    assert found["x"].tolist() == [1.5, None]
    assert found["name"].tolist() == ["a", None]
    assert found["mixed"].dtype.kind == "O"
    with pytest.raises(CatalogueError, match=r"mixed: not numeric \(row 1 holds 'a'\)"):
        read_inputs(made, spec("mixed"))


def test_a_record_in_each_row_does_not_stop_the_reading():
    made = Table({"record": np.zeros(2, [("a", "f8"), ("b", "i4")]), "x": [1.0, 2.0]})
    assert read_inputs(made, spec("x")).x[:, 0].tolist() == [1, 2]
    with pytest.raises(CatalogueError, match="record: not numeric"):
        read_inputs(made, spec("record"))


@pytest.mark.parametrize("source", [{"a": [1]}, None, [1, 2], np.zeros(3, [("a", "f8")])])
def test_what_is_no_table_is_refused_by_its_type(source):
    kind = type(source).__name__
    said = f"the table is a {kind}; give a path, an astropy Table or a DataFrame"
    assert refusal(source) == said


def test_quantities_in_logarithmic_units():
    table = QTable({"logg": u.Dex([1.0, 2.0], u.dex(u.cm / u.s**2))})
    assert read_inputs(table, spec("logg", unit="dex")).x[:, 0].tolist() == [1, 2]
