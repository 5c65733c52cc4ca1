"""Tables at the door: what is read exactly, what is converted, what is refused and how."""

from __future__ import annotations

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, Table
from three_stars import BIG, SPEC, one, refusal, three_stars

from bayestrans.catalogue import (
    CatalogueError,
    input_batches,
    read_inputs,
    read_pairs,
    read_table,
    write_table,
)
from bayestrans.spec import Input, Output, Spec


@pytest.fixture
def table() -> Table:
    return three_stars()


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
    assert message == (
        "teff_a: ambiguous, the table has TEFF_A and teff_a; rename or remove one, of common "
        "stars B's"
    )


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
    table["rv_a"].unit = "km/s"  # wrongly labelled: that is no star
    assert "if it is in m/s" in refusal(read_pairs, table, SPEC)


def test_rows_of_sentinels_alone_do_not_stop_a_catalogue():
    table = Table({"x": [-9999.0, np.nan, 99.0, 0.0]})
    assert np.isnan(read_inputs(table, one("x", unit="K")).x).all()
    found = read_inputs(table, one("x", unit="km/s")).x[:, 0]
    np.testing.assert_array_equal(found, [np.nan, np.nan, 99.0, 0.0])


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


def test_lost_digits_are_refused_beside_another_identifier(table):
    table["gaia_source_id"] = np.array(BIG, dtype=float)
    assert "gaia_source_id: 2 of 3 are numbers beyond" in refusal(read_inputs, table, SPEC)


def test_a_catalogue_that_lacks_the_specs_id_says_so_once(table, tmp_path, caplog):
    table.rename_column("sobject_id", "other_id")
    path = tmp_path / "a.csv"
    write_table(table, path)
    for _ in "12":
        found = list(input_batches(path, SPEC, None, 2))
    assert found[0].identifiers.colnames == ["other_id"]
    said = f"{path}: there is no column 'sobject_id', the spec's id; it has other_id"
    assert caplog.text.count(said) == 1


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


@pytest.mark.parametrize("suffix", [".fits", ".parquet", ".csv"])
def test_the_nearest_name_is_that_of_the_file_however_it_is_read(table, tmp_path, suffix):
    table.rename_column("teff_a", "teff_a_dr3")
    path = tmp_path / f"a{suffix}"
    write_table(table, path)
    with pytest.raises(CatalogueError, match=r"'teff_a'; the nearest are .*teff_a_dr3"):
        list(input_batches(path, SPEC, None, 2))


def test_numbers_that_name_no_star_are_no_identifier():
    count = 60
    ids = np.arange(1, count + 1)
    ids[::4] = -1
    table = Table({"sobject_id": ids, "x": np.arange(60.0), "y": np.arange(60.0) ** 2})
    spec = Spec("s", (Input("x", "x"),), (Output("y", "y"),), id="sobject_id")
    said = "15 of 60 identifiers are missing (-1 name no star) (first in row 0); remove those rows"
    assert said in refusal(read_pairs, table, spec)
    ids, table = ids.copy(), table.copy()
    table["sobject_id"][::4] = 0
    assert "15 of 60 identifiers are missing (0 name no star)" in refusal(read_pairs, table, spec)
    # A star 0 with as many rows as any or a row more, and hashes, of which one has more than any.
    hashes = np.where(ids < 7, -(2**62), ids)
    for good in (np.arange(count) // 3, np.maximum(np.arange(count) - 1, 0), hashes):
        table["sobject_id"] = good
        assert len(read_pairs(table, spec)) == count


@pytest.mark.parametrize("large", [False, True])
def test_every_digit_of_the_specs_identifier_is_kept_whatever_its_name(
    tmp_path, monkeypatch, large
):
    monkeypatch.setattr("bayestrans.delimited.SMALL", 0 if large else 2**26)
    path = tmp_path / "k.csv"
    path.write_text("KIC,x,y\n001430163,1.0,2.0\n001430164,2.0,5.0\n")
    spec = Spec("s", (Input("x", "x"),), (Output("y", "y"),), id="kic")
    (found,) = input_batches(path, spec, None, 9)
    assert found.identifiers["KIC"].tolist() == ["001430163", "001430164"]
    assert read_pairs(path, spec).ids.tolist() == ["001430163", "001430164"]
