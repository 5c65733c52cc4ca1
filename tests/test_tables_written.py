"""Tables are written whole or not at all; digests tell them apart."""

from __future__ import annotations

import hashlib
import os

import pytest
from astropy.table import MaskedColumn, Table
from three_stars import refusal, three_stars

from bayestrans import tables
from bayestrans.catalogue import (
    CatalogueError,
    check_writable,
    digest,
    read_table,
    write_table,
)

SUFFIXES = [".fits", ".csv", ".ecsv", ".parquet", ".vot"]


@pytest.fixture
def table() -> Table:
    return three_stars()


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
        f"{path}: the file exists; pass overwrite (--overwrite) to replace it"
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
