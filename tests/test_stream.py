"""Catalogues in parts: what interrupts them, and what a part's size must not change."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table, vstack
from filelock import FileLock
from translated import assert_same

import bayestrans as bt
from bayestrans import answers as engine
from bayestrans import cli, parts, written
from bayestrans.arrow import to_arrow, write_parquet_parts
from bayestrans.tables import read_table, write_table

stream = importlib.import_module("bayestrans.translate")


@pytest.fixture
def small_parts(monkeypatch) -> None:
    """Take 100 stars at a time."""
    monkeypatch.setattr(written, "BATCH", 100)


@pytest.fixture(scope="module")
def catalogue(survey) -> Table:
    return Table(survey.catalogue)[:350]


@pytest.fixture(scope="module")
def path(catalogue, tmp_path_factory) -> str:
    place = tmp_path_factory.mktemp("stream") / "a.parquet"
    write_table(catalogue, place)
    return str(place)


def stop_after(monkeypatch, count: int, error: type[BaseException]) -> None:
    """Let the writing of the part after so many fail."""
    real = stream.Parts.add

    def add(self, number, table):
        if number == count:
            raise error
        real(self, number, table)

    monkeypatch.setattr(stream.Parts, "add", add)


@pytest.mark.parametrize("size", [1, 100, 1000])
def test_the_size_of_the_parts_does_not_matter(posterior, catalogue, path, monkeypatch, size):
    whole = bt.translate(posterior, catalogue[:350:50], progress=False)
    monkeypatch.setattr(written, "BATCH", size)
    rows = catalogue[:350:50] if size == 1 else path
    found = bt.translate(posterior, rows, progress=False)
    assert_same(whole, found if size == 1 else found[::50])


def test_the_size_of_the_parts_can_be_given(posterior, catalogue, path, tmp_path):
    sizes, out = [], tmp_path / "b.parquet"
    add = parts.Parts.add

    def counted(self, number, table):
        sizes.append(len(table))
        add(self, number, table)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts.Parts, "add", counted)
        bt.translate_file(posterior, path, out, chunk_size=100, progress=False)
    assert sorted(sizes) == [50, 100, 100, 100]
    assert_same(bt.translate(posterior, catalogue, progress=False), read_table(out))
    with pytest.raises(ValueError, match="chunk_size is 0; give a whole number of at least 1"):
        bt.translate(posterior, catalogue, chunk_size=0)


@pytest.mark.parametrize("suffix", [".fits", ".csv", ".ecsv", ".vot"])
def test_files_hold_what_is_returned(posterior, catalogue, path, small_parts, tmp_path, suffix):
    out = tmp_path / f"b{suffix}"
    returned = bt.translate(posterior, path, out, progress=False)
    back = read_table(out)
    assert_same(bt.translate(posterior, catalogue, progress=False), returned)
    assert len(back) == 350
    np.testing.assert_allclose(back["teff_mean"], returned["teff_mean"], rtol=1e-6)
    assert back["star_id"].tolist() == catalogue["star_id"].tolist()
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name]


def test_counts_are_those_of_the_catalogue(posterior, path, small_parts, tmp_path):
    out = tmp_path / "b.parquet"
    found = bt.translate_file(posterior, path, out, progress=False)
    table = read_table(out)
    assert found.stars == len(table) == 350
    assert found.classes == {n: int((table["support_class"] == n).sum()) for n in found.classes}
    assert found.flags[4] == int((table["flags"] & 4 > 0).sum()) == found.classes["outside"]


@pytest.mark.parametrize("count", [2])
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".fits"])
def test_what_was_interrupted_goes_on_to_the_same_file(
    posterior, path, small_parts, tmp_path, monkeypatch, count, suffix
):
    out, other = tmp_path / f"b{suffix}", tmp_path / f"c{suffix}"
    with monkeypatch.context() as patch:
        stop_after(patch, count, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            bt.translate_file(posterior, path, out, progress=False)
    assert not out.exists()
    job = json.loads((tmp_path / f".{out.name}.parts" / "job.json").read_text())
    bt.translate_file(posterior, path, out, resume=True, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(stream, "job_of", lambda *_: job)  # begun at the same time
        bt.translate_file(posterior, path, other, progress=False)
    assert out.read_bytes() == other.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, other.name]


def test_an_interrupted_run_is_not_begun_anew_by_mistake(
    posterior, path, small_parts, tmp_path, monkeypatch
):
    out = tmp_path / "b.parquet"
    with monkeypatch.context() as patch:
        stop_after(patch, 2, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            bt.translate_file(posterior, path, out, progress=False)
    with pytest.raises(bt.CatalogueError, match=r"interrupted; go on with it \(resume\)"):
        bt.translate_file(posterior, path, out, progress=False)
    found = bt.translate_file(posterior, path, out, overwrite=True, progress=False)
    assert found.stars == 350


@pytest.mark.parametrize("what", ["seed", "draws", "input", "model", "spec", "batch", "version"])
def test_another_job_is_not_gone_on_with(
    posterior, catalogue, path, small_parts, tmp_path, monkeypatch, what
):
    out, settings, source, model = tmp_path / "b.parquet", {"draws": 3}, path, posterior
    with monkeypatch.context() as patch:
        stop_after(patch, 2, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            bt.translate_file(posterior, path, out, progress=False, **settings)
    if what in ("seed", "draws"):
        settings = settings | {what: 5}
    elif what == "input":
        source = str(tmp_path / "other.parquet")
        write_table(catalogue[:349], source)
    elif what == "batch":
        settings = settings | {"chunk_size": 99}
    elif what == "version":
        monkeypatch.setattr(written, "__version__", "0.0.1")
    elif what == "spec":  # one of another name, in the same model
        monkeypatch.setattr(bt.Posterior, "digest", posterior.digest)
        model = dataclasses.replace(posterior, spec=dataclasses.replace(posterior.spec, name="x"))
    else:
        model = bt.Posterior(**{**vars(posterior), "record": {"another": "model"}})
    with pytest.raises(bt.CatalogueError, match=f"begun with another {what} "):
        bt.translate_file(model, source, out, resume=True, progress=False, **settings)


def test_a_failure_leaves_nothing(posterior, path, small_parts, tmp_path, monkeypatch):
    stop_after(monkeypatch, 2, OSError)
    with pytest.raises(OSError):  # noqa: PT011
        bt.translate_file(posterior, path, tmp_path / "b.parquet", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_second_writer_is_refused(posterior, path, tmp_path):
    out = tmp_path / "b.parquet"
    with (
        FileLock(tmp_path / ".b.parquet.lock"),
        pytest.raises(bt.CatalogueError, match="another process is writing it"),
    ):
        bt.translate_file(posterior, path, out, progress=False)
    assert not out.exists()


def test_quantiles_that_cannot_be_trusted_are_asked_of_more_draws(
    posterior, catalogue, monkeypatch
):
    plain, real = bt.translate(posterior, catalogue[:60], progress=False), engine.summarise

    def doubtful(*arguments):
        found, straight = real(*arguments)
        return found._replace(quantiles=found.quantiles + 1e6), np.zeros_like(straight)

    monkeypatch.setattr(engine, "summarise", doubtful)
    found = bt.translate(posterior, catalogue[:60], progress=False)
    for part in ("p16", "p50", "p84"):
        away = (found[f"teff_{part}"] - plain[f"teff_{part}"]) / plain["teff_sd"]
        assert np.abs(away).max() < 0.3


def test_resume_of_nothing_begins(posterior, path, tmp_path):
    out = tmp_path / "b.parquet"
    assert bt.translate_file(posterior, path, out, resume=True, progress=False).stars == 350


def test_strict_counts_over_all_parts_and_writes_nothing(posterior, path, small_parts, tmp_path):
    outside = bt.translate(posterior, path, progress=False)["support_class"] == "outside"
    with pytest.raises(ValueError, match=f"{int(outside.sum())} of 350 stars"):
        bt.translate_file(posterior, path, tmp_path / "b.parquet", strict=True, progress=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=f"{int(outside.sum())} of 350 stars"):
        bt.translate(posterior, path, strict=True, progress=False)


def test_the_bar_counts_all_stars_and_those_of_before(
    posterior, catalogue, path, small_parts, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "b.parquet"
    with monkeypatch.context() as patch:
        stop_after(patch, 2, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            bt.translate_file(posterior, path, out, progress=False)
    assert capsys.readouterr().err == ""
    assert bt.translate_file(posterior, path, out, resume=True).stars == 350
    assert re.search(r"translate: 100%.* 350/350 .*star", capsys.readouterr().err)
    bt.translate(posterior, catalogue[:30])
    assert re.search(r"translate: 100%.* 30/30 .*star", capsys.readouterr().err)
    bt.translate(posterior, catalogue, chunk_size=20)  # more parts than wait at a time
    assert re.search(r"translate: 100%.* 350/350 .*star", capsys.readouterr().err)


def test_a_folder_that_is_a_hats_catalogue_is_left_to_its_engine(posterior, tmp_path, monkeypatch):
    """What the engine makes of it is tested in test_hats.py, which is slow."""
    (tmp_path / "hats.properties").touch()
    with pytest.raises(bt.CatalogueError, match=r"a HATS catalogue .* use translate_file"):
        bt.translate(posterior, tmp_path, progress=False)
    monkeypatch.setitem(sys.modules, "lsdb", None)
    with pytest.raises(bt.CatalogueError, match=r"bayestrans\[hats\]"):
        bt.translate_file(posterior, tmp_path, tmp_path / "out", progress=False)


def test_after_the_first_batch_two_cores_work_on_three_and_read_no_further(monkeypatch):
    monkeypatch.setattr(stream, "provenance", lambda job: {})
    monkeypatch.setattr(stream.os, "cpu_count", lambda: 2)
    every, log = threading.Barrier(3, timeout=20), []

    class Watched:
        def table(self, inputs: SimpleNamespace) -> Table:
            if inputs.number == 0:  # the others wait for what it compiles
                time.sleep(0.2)
            else:
                every.wait()  # alone it would wait in vain
            log.append(f"answered {inputs.number}")
            return Table({"number": [inputs.number]})

    def batches():
        for number in range(7):
            log.append(f"read {number}")
            yield SimpleNamespace(number=number, assumed={})

    found = []
    for table in stream._translated(Watched(), batches(), {}, progress=False, total=7):
        found.append(table["number"][0])
        assert sum(line.startswith("read") for line in log) <= len(found) + 3
    assert found == list(range(7))
    assert log[:3] == ["read 0", "answered 0", "read 1"]


def test_a_disk_that_is_full_while_parts_are_joined_ends_the_work_which_can_be_gone_on_with(
    posterior, path, small_parts, tmp_path, monkeypatch
):
    began: list[int] = []
    answer = engine.Answers.table

    def counted(self, inputs):
        began.append(len(inputs.x))
        return answer(self, inputs)

    def full(arrows, partial):
        partial.write_bytes(next(arrows).column_names[0].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine.Answers, "table", counted)
    monkeypatch.setattr(stream.os, "cpu_count", lambda: 1)
    before, out = set(tmp_path.iterdir()), tmp_path / "b.parquet"
    with monkeypatch.context() as patch:
        patch.setitem(parts.OF_ARROW, "Parquet", full)
        with pytest.raises(bt.CatalogueError, match="no space left; make some, then go on with it"):
            bt.translate_file(posterior, path, out, progress=False)
    assert set(tmp_path.iterdir()) - before == {tmp_path / ".b.parquet.parts"}
    done = len(began)
    assert done < 4  # of four parts
    bt.translate_file(posterior, path, out, resume=True, progress=False)
    assert set(tmp_path.iterdir()) - before == {out}
    assert len(read_table(out)) == 350
    assert len(began) < done + 4


def test_a_column_with_gaps_in_some_parts_only(posterior, catalogue, small_parts, tmp_path):
    table = catalogue[:250].copy()
    table["gaia_id"] = np.ma.MaskedArray(np.arange(250), mask=np.arange(250) == 240)
    write_table(table, tmp_path / "a.parquet")
    out = tmp_path / "b.parquet"
    found = bt.translate(posterior, tmp_path / "a.parquet", out, progress=False)
    back = read_table(out)
    for result in (found, back):
        assert np.flatnonzero(np.ma.getmaskarray(result["gaia_id"])).tolist() == [240]
        assert result["gaia_id"].dtype == np.int64


def test_the_command_resumes(posterior, path, tmp_path, capsys):
    model, out = tmp_path / "m.nc", tmp_path / "b.parquet"
    posterior.save(model)
    assert cli.main(["translate", str(model), path, "--out", str(out), "--resume"]) == 0
    assert "wrote 350 stars" in capsys.readouterr().out


def test_the_command_says_how_to_go_on(posterior, path, small_parts, tmp_path, monkeypatch, capsys):
    model, out = tmp_path / "m.nc", tmp_path / "b.parquet"
    posterior.save(model)
    with monkeypatch.context() as patch:
        stop_after(patch, 2, KeyboardInterrupt)
        assert cli.main(["translate", str(model), path, "--out", str(out)]) == 130
    assert "stopped; go on with --resume" in capsys.readouterr().err
    assert cli.main(["translate", str(model), path, "--out", str(out)]) == 2
    assert "interrupted" in capsys.readouterr().err
    assert cli.main(["translate", str(model), path, "--out", str(out), "--resume"]) == 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs the signals of POSIX")
def test_a_kill_while_the_parts_are_joined_leaves_nothing_that_stays(
    posterior, path, small_parts, tmp_path
):
    model, out = tmp_path / "m.nc", tmp_path / "b.parquet"
    posterior.save(model)
    code = (
        "import os, signal, sys; from bayestrans import cli; from bayestrans.parts import Parts\n"
        "def join(self, partial, coming):\n"
        "    list(coming)\n"
        "    partial.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Parts.join = join\n"
        "cli.main(sys.argv[1:])"
    )
    command = ["translate", str(model), str(path), "--out", str(out), "--quiet"]
    before = set(tmp_path.iterdir())
    run = subprocess.run([sys.executable, "-c", code, *command], capture_output=True)
    assert run.returncode == -signal.SIGKILL
    assert not out.exists()
    assert cli.main([*command, "--overwrite"]) == 0
    assert set(tmp_path.iterdir()) == before | {out}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("suffix", [".parquet", ".fits", ".csv"])
def test_reading_in_parts_takes_no_more_memory_for_more_rows(suffix, tmp_path):
    """Peak memory of a process of its own: 160 MB of numbers, read 2 MB at a time."""
    rng = np.random.default_rng(0)
    block = Table({f"column{i}": rng.normal(size=50_000) for i in range(10)})
    for name, count in (("few", 1), ("many", 40)):
        path = tmp_path / f"{name}{suffix}"
        if suffix == ".parquet":  # as files come, in row groups
            write_parquet_parts([to_arrow(block)] * count, path)
        else:
            write_table(vstack([block] * count), path)
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from bayestrans.tables import read_batches\n"
        "for path in sys.argv[1:]:\n"
        "    rows = sum(len(part) for part in read_batches(path, 25_000))\n"
        "    told = Path('/proc/self/status').read_text()\n"
        "    print(rows, int(re.search(r'VmHWM:\\s+(\\d+)', told)[1]) / 1024)\n"
    )
    files = [tmp_path / f"{name}{suffix}" for name in ("few", "many")]
    run = subprocess.run(
        [sys.executable, "-c", code, *files], check=True, capture_output=True, text=True
    )
    (few, before), (many, after) = (map(float, line.split()) for line in run.stdout.splitlines())
    assert (few, many) == (50_000, 2_000_000)
    assert after - before < 40  # MiB
