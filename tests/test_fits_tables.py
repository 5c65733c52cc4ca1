"""FITS and ECSV written part by part are what is written at once."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table, vstack

from bayestrans import parts
from bayestrans.layout import CatalogueError
from bayestrans.tables import read_table, write_table


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


@pytest.mark.parametrize("suffix", [".fits", ".ecsv"])
def test_what_is_written_in_parts_is_what_is_written_at_once(suffix, tmp_path, monkeypatch):
    write_table(vstack(PARTS), tmp_path / f"whole{suffix}")
    monkeypatch.setattr(parts, "joined", None)  # they are not held together
    monkeypatch.setattr(parts, "WRITERS", {})
    joined(PARTS, tmp_path / f"parts{suffix}")
    found = (tmp_path / f"parts{suffix}").read_bytes()
    assert found == (tmp_path / f"whole{suffix}").read_bytes()
    back = read_table(tmp_path / f"parts{suffix}")
    whole = read_table(vstack(PARTS))
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


def test_one_empty_part_is_an_empty_table(tmp_path):
    joined([PARTS[0][:0]], tmp_path / "t.fits")
    back = read_table(tmp_path / "t.fits")
    assert len(back) == 0
    assert back.colnames == PARTS[0].colnames
