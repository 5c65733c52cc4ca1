"""Damaged files: refused in one sentence, or read as the table that is left; never more."""

from __future__ import annotations

import faulthandler
import gzip
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, Table

import bayestrans as bt
from bayestrans import store
from bayestrans.catalogue import CatalogueError, digest, read_inputs, read_table, write_table
from bayestrans.spec import Input, Output, Spec
from bayestrans.store import ModelFileError

SUFFIXES = [".fits", ".csv", ".ecsv", ".parquet", ".vot", ".csv.gz", ".fits.gz"]
#: Damaged files of each format; FITS and VOTable are the slow ones to read.
CASES = 100
#: Seconds that reading a small file may take on a machine that is busy.
LIMIT = 10.0
SPEC = Spec(
    "s",
    (Input("teff", "teff", "e_teff", unit="K"), Input("logg", "vector[1]")),
    (Output("teff", "y", unit="K", corrects="teff"),),
    id="source_id",
)


class Hung(BaseException):
    """Reading took too long; no reader catches this by mistake."""


@contextmanager
def limited() -> Iterator[None]:
    """End a block that takes too long: in Python by an exception, in C by the process."""

    def ring(*_: object) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    faulthandler.dump_traceback_later(3 * LIMIT, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- damage ---------------------------------------------------------------------------


def flip(content: bytearray, rng: np.random.Generator) -> None:
    """Flip up to eight bits anywhere."""
    for place in rng.integers(len(content), size=rng.integers(1, 9)):
        content[place] ^= 1 << int(rng.integers(8))


def flip_early(content: bytearray, rng: np.random.Generator) -> None:
    """Flip up to three bits where most formats have their header."""
    for place in rng.integers(min(len(content), 6000), size=rng.integers(1, 4)):
        content[place] ^= 1 << int(rng.integers(8))


def flip_late(content: bytearray, rng: np.random.Generator) -> None:
    """Flip up to three bits at the end, where Parquet has its header."""
    for place in rng.integers(1, min(len(content), 3000), size=rng.integers(1, 4)):
        content[-place] ^= 1 << int(rng.integers(8))


def truncate(content: bytearray, rng: np.random.Generator) -> None:
    """Cut the file short, possibly to nothing."""
    del content[int(rng.integers(len(content))) :]


def overwrite(content: bytearray, rng: np.random.Generator) -> None:
    """Write zeros, blanks or noise over a span."""
    start, size = int(rng.integers(len(content))), int(rng.integers(1, 200))
    size = min(size, len(content) - start)
    filling = [bytes(size), b" " * size, rng.bytes(size)][int(rng.integers(3))]
    content[start : start + size] = filling


def swap(content: bytearray, rng: np.random.Generator) -> None:
    """Exchange two bytes of the header."""
    a, b = rng.integers(min(len(content), 4000), size=2)
    content[a], content[b] = content[b], content[a]


def digits(content: bytearray, rng: np.random.Generator) -> None:
    """Change digits of the header: sizes and types that were never meant."""
    places = [i for i, c in enumerate(content[:6000]) if chr(c).isdigit()]
    for place in rng.choice(places or [0], size=2):
        content[place] = ord(str(rng.integers(10)))


def cut_out(content: bytearray, rng: np.random.Generator) -> None:
    """Lose a span, and what follows moves up."""
    start = int(rng.integers(len(content)))
    del content[start : start + int(rng.integers(1, 100))]


DAMAGE = [flip, flip_early, flip_late, truncate, overwrite, swap, digits, cut_out]


def damaged(
    intact: bytes, rng: np.random.Generator, kinds: list[Callable[..., None]] = DAMAGE
) -> bytes:
    """Return the content with one kind of damage."""
    content = bytearray(intact)
    kinds[int(rng.integers(len(kinds)))](content, rng)
    return bytes(content)


# ---- tables ---------------------------------------------------------------------------


def table(vectors: bool) -> Table:
    """Return a table with each kind of column."""
    made = Table(
        {
            "source_id": MaskedColumn([4667213730748377729, 2**53 + 1, -5, 0], mask=[0, 0, 0, 1]),
            "teff": Column([4500.0, 5000.0, np.nan, 5500.0], unit="K", description="heat"),
            "e_teff": MaskedColumn([50.0, 60.0, 70.0, 80.0], mask=[0, 1, 0, 0], unit="K"),
            "name": ["HD 1", "2M00+01", "x", "y z"],
            "good": [True, False, True, True],
        },
        meta={"BTSEED": "4"},
    )
    if vectors:
        made["vector"] = np.arange(8.0).reshape(4, 2)
    return made


def said(error: Exception, path: Path) -> None:
    """Hold that an error is one sentence that begins with the path."""
    message = str(error)
    assert message.startswith(f"{path}: "), message
    assert "\n" not in message
    assert message.isprintable(), message
    assert len(message) < len(str(path)) + 300, message


def check_table(path: Path) -> bool:
    """Read a damaged table and what the spec wants of it; say whether it could be read."""
    with limited():
        try:
            found = read_table(path)
        except CatalogueError as error:
            said(error, path)
            return False
        assert {len(column) for column in found.itercols()} <= {len(found)}
        digest(found)
        try:
            inputs = read_inputs(path, SPEC)
        except CatalogueError as error:
            said(error, path)
        else:
            assert inputs.x.shape == inputs.x_err.shape == (len(found), 2)
            assert not np.isinf(inputs.x).any()
    return True


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_table_is_refused_or_read(tmp_path, suffix):
    rng = np.random.default_rng(list(suffix.encode()))
    inner, packed = suffix.removesuffix(".gz"), suffix.endswith(".gz")
    write_table(table(vectors=inner != ".csv"), tmp_path / f"intact{inner}")
    intact = (tmp_path / f"intact{inner}").read_bytes()
    intact = gzip.compress(intact, mtime=0) if packed else intact
    path = tmp_path / f"t{suffix}"
    path.write_bytes(intact)
    assert check_table(path)
    read = 0
    for _ in range(CASES):
        path.write_bytes(damaged(intact, rng))
        read += check_table(path)
    assert read < CASES  # the damage does something


def test_a_damaged_gzipped_table_does_not_hang():
    """Astropy looks for this file's next table for ever."""
    path = Path(__file__).parent / "data" / "damaged.fits.gz"
    for work in (read_table, lambda p: read_inputs(p, SPEC)):
        with limited(), pytest.raises(CatalogueError, match="unreadable as FITS"):
            work(path)


# ---- models ---------------------------------------------------------------------------


def refused(path: Path) -> None:
    with limited(), pytest.raises(ModelFileError) as caught:
        bt.load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 250


def test_a_damaged_model_is_refused(posterior, tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "m.nc"
    posterior.save(path)
    intact = path.read_bytes()
    for _ in range(100):
        content = damaged(intact, rng)
        path.write_bytes(content)
        if content == intact:  # two equal bytes exchanged
            bt.load(path)
        else:
            refused(path)


def test_damaged_weights_with_a_new_seal_are_refused(posterior, tmp_path):
    """Whoever seals damage again still meets the checks below the seal.

    Damage to the structure is left out: HDF5 may hang on it, and the seal keeps it away.
    """
    rng = np.random.default_rng(2)
    path = tmp_path / "m.nc"
    posterior.save(path)
    intact = path.read_bytes()[: -store.SEAL_BYTES]
    weights = intact.index(posterior.blocks[0].draws["weight_0"][0, 0].tobytes()[:16])
    for _ in range(6):
        content = bytearray(intact)
        content[weights + int(rng.integers(2000))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        store.seal(path)
        refused(path)
