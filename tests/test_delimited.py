"""Comma-separated text in parts: the same as read, or written, at once."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table, vstack

from bayestrans import delimited, parts
from bayestrans.arrow import to_arrow
from bayestrans.tables import CatalogueError, plain, read_batches, read_table, write_table


@pytest.fixture(autouse=True)
def _pieces(monkeypatch):
    """Pieces of some lines."""
    monkeypatch.setattr(delimited, "SMALL", 0)
    monkeypatch.setattr(delimited, "PIECE", 40)


ROWS = {
    "numbers": [f"{i},{i + 0.5},x{i}" for i in range(40)],
    "whole numbers, then fractions": [*(f"{i},{i},a" for i in range(30)), "9,0.25,b"],
    "nothing, then numbers": [*(f"{i},,a" for i in range(20)), "9,0.25,b"],
    "gaps of all kinds": ["1,nan,", "NULL,NA,b", ",,", "4,1e3,d"] * 5,
    "identifiers beyond 63 bits at the end": [*(f"{i},1,a" for i in range(20)), f"{2**64 - 1},1,b"],
    "a zero before an identifier at the end": [*(f"{i},1,a" for i in range(20)), "007,1,b"],
    "identifiers with a fraction": [*(f"{i},1,a" for i in range(20)), "1.0,1,b"],
    "identifiers that are text": [*(f"{i},1,a" for i in range(20)), "2M0421-67,1,b"],
    "quotes": ['1,2,"a, b"', '2,"3","c"'] * 10,
    "what is neither": [*(f"{i},{i},a" for i in range(20)), "9,unknown,b"],
    "truth": [f"{i},{i % 2 == 0},a" for i in range(20)],
    "times": [f"{i},2024-01-{i + 10},a" for i in range(20)],
    "none": [],
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_parts_are_those_of_the_whole(name, end, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(end.join(["\ufeffstar_id,value,name", *ROWS[name]]), "utf-8", newline="")
    whole = read_table(path)
    parts = list(read_batches(path, 7))
    assert [len(part) for part in parts[:-1]] == [7] * (len(parts) - 1)
    assert sum(map(len, parts)) == len(ROWS[name])
    if len(whole):
        for part, start in zip(parts, range(0, len(whole), 7), strict=True):
            for column in part.colnames:
                (values, mask), (wanted, gaps) = plain(part[column]), plain(whole[column])
                wanted, gaps = wanted[start : start + 7], gaps[start : start + 7]
                assert values.dtype.kind == wanted.dtype.kind, column
                np.testing.assert_array_equal(mask, gaps)
                np.testing.assert_array_equal(values[~mask], wanted[~gaps])


def test_wanted_columns_alone_are_read_from_a_packed_file(tmp_path):
    path = tmp_path / "t.csv.gz"
    lines = [
        "source_id,odd,value",
        *(f"{10**18 + i},{'?' if i > 15 else i},{i}" for i in range(20)),
    ]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    parts = list(read_batches(path, 6, lambda name: name != "odd"))
    assert [len(part) for part in parts] == [6, 6, 6, 2]
    found = vstack(parts)
    assert found.colnames == ["source_id", "value"]
    assert found["source_id"].tolist() == [10**18 + i for i in range(20)]


def test_it_is_read_in_pieces(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 100)
    sizes = []
    read = delimited._read_piece

    def count(form, piece, convert):
        sizes.append(piece.size())
        return read(form, piece, convert)

    monkeypatch.setattr(delimited, "_read_piece", count)
    assert sum(map(len, read_batches(path, 30))) == 100
    assert max(sizes) <= 40
    assert sum(sizes) == 2 * 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n" + "1,2\n" * 50 + "1,2,3\n", "Expected 2 columns, got 3: 1,2,3"),
        ("a,a\n" + "1,2\n" * 50, "two columns are called 'a'"),
    ],
)
def test_a_fault_is_told_as_of_the_whole(text, said, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=said):
        list(read_batches(path, 7))


def test_a_packed_file_that_was_cut_short_is_refused(tmp_path):
    path = tmp_path / "t.csv.gz"
    whole = gzip.compress(("a,b\n" + "".join(f"{i},{i**3}\n" for i in range(500))).encode())
    path.write_bytes(whole[:-30])
    with pytest.raises(CatalogueError, match="complete"):
        list(read_batches(path, 7))


def test_what_is_written_in_parts_is_what_is_written_at_once(tmp_path):
    text = MaskedColumn(["a", 'b "c"', "", "d, e", "f"], mask=[0, 0, 0, 0, 1])
    ids = MaskedColumn(2**62 + np.arange(5), mask=[0, 1, 0, 0, 0])
    table = Table({"id": ids, "x": np.array([1.5, np.nan, 3, 4, 5], np.float32), "name": text})
    write_table(table, tmp_path / "whole.csv")
    parts = (to_arrow(read_table(table[rows])) for rows in (slice(0, 2), slice(2, 5)))
    delimited.write_csv_parts(parts, tmp_path / "parts.csv")
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_parts_are_joined_to_text_without_being_held_together(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "joined", None)
    out = tmp_path / "whole.csv"
    with parts.Parts(out, {}) as folder:
        for number in range(3):
            folder.add(number, Table({"x": np.arange(2) + 2 * number}))
        folder.join(out, range(3))
    assert out.read_text() == '"x"\n0\n1\n2\n3\n4\n5\n'
