"""`kill -9` at any moment while a catalogue is translated."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table, vstack
from translated import assert_same

from bayestrans.tables import read_table, write_table

#: 20 for as many as are claimed; each costs some seconds.
KILLS = int(os.environ.get("BAYESTRANS_KILLS", "2"))


@pytest.mark.slow
def test_kills_at_any_moment_lose_nothing(posterior, survey, tmp_path):
    """`kill -9` at some moments: either the file is not there, or it is the whole one.

    Each run is killed at some moment after it has written some part more than the last one.
    """
    model, source = tmp_path / "m.nc", tmp_path / "a.parquet"
    posterior.save(model)
    catalogue = Table(survey.catalogue)[:350]
    write_table(vstack([catalogue] * 400, metadata_conflicts="silent"), source)
    out, whole = tmp_path / "b.parquet", tmp_path / "c.parquet"
    folder, size = tmp_path / ".b.parquet.parts", 70_000 // (KILLS + 5)

    def command(target):
        arguments = ["translate", str(model), str(source), "--out", str(target), "--quiet"]
        return [sys.executable, "-m", "bayestrans", *arguments, "--resume", "--chunk-size"]

    def times() -> dict[Path, int]:
        """Return when each part was written; what comes after the first gap is made again."""
        written = {}
        for number in itertools.count():
            part = folder / f"part-{number:06d}.arrow"
            if not part.exists():
                return written
            written[part] = part.stat().st_mtime_ns

    subprocess.run([*command(whole), str(size)], check=True, capture_output=True)
    rng, mended = np.random.default_rng(5), 0
    kept: dict[Path, int] = {}
    for _ in range(KILLS):
        process = subprocess.Popen(
            [*command(out), str(size)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and len(times()) <= len(kept):
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.2))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        found = times()
        assert kept.items() <= found.items()  # what was there has not been made again
        mended += len(kept) < len(found)
        kept = found
        if out.exists():  # it had ended, or was whole when the kill came
            assert_same(read_table(out), read_table(whole))
            out.unlink()
    assert mended > 0
    subprocess.run([*command(out), str(size)], check=True, capture_output=True)
    assert_same(read_table(out), read_table(whole))
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"m.nc", "a.parquet", "b.parquet", "c.parquet"}
