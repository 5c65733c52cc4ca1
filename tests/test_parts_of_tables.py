"""FITS, ECSV and VOTable part by part are what they are at once."""

import re

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table, vstack

from bayestrans import parts
from bayestrans.layout import CatalogueError
from bayestrans.tables import read_batches, read_table, write_table


def part(count: int, seed: int, word: str, *, gaps: bool) -> Table:
    """Return a table with every kind of column; text is as wide as the word makes it."""
    rng = np.random.default_rng(seed)
    table = Table(
        {
            "name": [word * (i % 3 + 1) for i in range(count)],
            "id": 2**62 + rng.integers(0, 99, count),
            "unsigned": rng.integers(0, 2**40, count).astype(np.uint64),
            "good": rng.random(count) > 0.5,
            "teff": rng.normal(5000, 100, count).astype(np.float32),
            "fe_h": rng.normal(size=count),
            "draws": rng.normal(size=(count, 3)).astype(np.float32),
            "visits": rng.integers(0, 9, count).astype(np.int16),
        }
    )
    table["teff"].unit, table["teff"].description = "K", "temperature, in kelvin"
    table["teff"].meta["ucd"] = "phys.temperature.effective"
    table["fe_h"].unit = "dex"
    table.meta["BTDIGEST"] = "0123456789" * 9
    if gaps:
        for number, name in enumerate(("name", "id", "good", "teff")):
            table[name] = MaskedColumn(table[name], mask=np.arange(count) % 4 == number)
    return read_table(table)


PARTS = [
    part(5, 0, "a", gaps=False),
    part(7, 1, "long", gaps=True),
    part(3, 2, "b", gaps=False),
]


def joined(tables: list[Table], path) -> None:
    with parts.Parts(path, {}) as folder:
        for number, table in enumerate(tables):
            folder.add(number, table)
        folder.join(path, range(len(tables)))


@pytest.mark.parametrize("suffix", [".fits", ".ecsv", ".vot"])
def test_what_is_written_in_parts_is_what_is_written_at_once(suffix, tmp_path, monkeypatch):
    tables = [one.copy() for one in PARTS]
    if suffix == ".vot":  # knows no unsigned integers
        for one in tables:
            one.remove_column("unsigned")
    monkeypatch.setattr(parts, "joined", None)  # they are not held together
    joined(tables, tmp_path / f"parts{suffix}")
    write_table(vstack(tables), tmp_path / f"whole{suffix}")
    found = (tmp_path / f"parts{suffix}").read_bytes()
    assert found == (tmp_path / f"whole{suffix}").read_bytes()
    back = read_table(tmp_path / f"parts{suffix}")
    whole = read_table(vstack(tables))
    for name in whole.colnames:
        gap = np.ma.getmaskarray(whole[name])
        np.testing.assert_array_equal(np.ma.getmaskarray(back[name]), gap)
        np.testing.assert_array_equal(np.asarray(back[name])[~gap], np.asarray(whole[name])[~gap])
    assert back["teff"].unit == "K"


def test_integers_that_fits_cannot_mark_as_missing_are_refused_wherever_they_are(tmp_path):
    big = Table({"n": np.array([2**63 + 1, 2], np.uint64)})
    gap = Table({"n": MaskedColumn(np.array([1, 2], np.uint64), mask=[True, False])})
    for tables in ([big, gap], [gap, big]):
        with pytest.raises(CatalogueError, match=r"n: FITS has no gaps in such integers"):
            joined(tables, tmp_path / "t.fits")


@pytest.mark.parametrize("suffix", [".fits", ".vot"])
def test_one_empty_part_is_an_empty_table(suffix, tmp_path):
    table = PARTS[0]["name", "id", "teff"][:0]
    joined([table], tmp_path / f"t{suffix}")
    back = read_table(tmp_path / f"t{suffix}")
    assert len(back) == 0
    assert back.colnames == table.colnames


# ---- ECSV and VOTable read in parts -------------------------------------------------------


@pytest.mark.parametrize("suffix", [".ecsv", ".vot"])
@pytest.mark.parametrize("rows", [1, 4, 99])
def test_what_is_read_in_parts_is_what_is_read_at_once(suffix, rows, tmp_path):
    table = vstack(PARTS)
    table.remove_column("unsigned")
    table["name"] = table["name"].astype("U30")
    table["name"][3] = 'two\nlines, "quoted" </TR>'
    path = tmp_path / f"t{suffix}"
    write_table(table, path)
    whole = read_table(path)
    found = list(read_batches(path, rows))
    assert [len(one) for one in found[:-1]] == [rows] * (len(found) - 1)
    assert sum(map(len, found)) == len(whole)
    start = 0
    for one in found:
        assert one.colnames == whole.colnames
        for name in whole.colnames:
            expected = whole[name][start : start + len(one)]
            gap = np.ma.getmaskarray(expected)
            np.testing.assert_array_equal(np.ma.getmaskarray(one[name]), gap)
            assert np.asarray(one[name])[~gap].tolist() == np.asarray(expected)[~gap].tolist()
            assert one[name].unit == whole[name].unit
        start += len(one)
    some = next(read_batches(path, rows, lambda name: name in ("id", "teff")))
    assert some.colnames == ["id", "teff"]


def test_a_votable_with_a_name_space_and_a_count_of_rows_is_read_in_parts(tmp_path):
    path = tmp_path / "t.vot"
    write_table(PARTS[0]["id", "teff"], path)
    text = path.read_text()
    text = re.sub(r"<(/?)([A-Z])", r"<\1v:\2", text.partition("<VOTABLE")[2])
    text = text.replace("xmlns=", "xmlns:v=", 1).replace("<v:TABLE>", '<v:TABLE nrows="5">')
    path.write_text('<?xml version="1.0"?>\n<v:VOTABLE' + text)
    assert len(read_table(path)) == 5
    assert [len(one) for one in read_batches(path, 2)] == [2, 2, 1]


@pytest.mark.parametrize("kept", [0.5, 0.97])
def test_a_votable_that_is_cut_short_is_refused(kept, tmp_path):
    path = tmp_path / "t.vot"
    write_table(PARTS[0]["id", "teff"], path)
    text = path.read_text()
    path.write_text(text[: int(kept * len(text))])
    with pytest.raises(CatalogueError, match=r"complete|cut short"):
        list(read_batches(path, 2))


def test_only_the_first_votable_of_a_file_is_read(tmp_path):
    """A table without rows before the one with rows."""
    path = tmp_path / "t.vot"
    write_table(PARTS[0]["id", "teff"], path)
    empty = '<TABLE><FIELD ID="x" datatype="int" name="x"/></TABLE>'
    path.write_text(path.read_text().replace("<TABLE>", f"{empty}<TABLE>"))
    assert read_table(path).colnames == ["x"]
    assert [one.colnames for one in read_batches(path, 2)] == [["x"]]


def test_binary_votables_are_read_at_once(tmp_path):
    path = tmp_path / "t.vot"
    PARTS[0]["id", "teff"].write(path, format="votable", tabledata_format="binary2")
    assert [len(one) for one in read_batches(path, 2)] == [2, 2, 1]


@pytest.mark.parametrize("kind", ["u2", "u4", "u8"])
def test_unsigned_integers_of_fits_are_so_in_parts(kind, tmp_path):
    numbers = np.array([1, 2**15 + 1, np.iinfo(kind).max], kind)  # the last, in FITS, is negative
    Table({"uid": numbers}).write(tmp_path / "u.fits")
    found = np.concatenate([one["uid"] for one in read_batches(tmp_path / "u.fits", 2)])
    assert found.dtype.kind == "u"
    np.testing.assert_array_equal(found, numbers)
