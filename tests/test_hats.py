"""HATS catalogues on the workers of dask, against the same stars as one table."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

import bayestrans as bt
from bayestrans.cli import main
from bayestrans.hats import translate_partition, workers
from bayestrans.tables import read_table

pytest.importorskip("hats_import", reason="HATS catalogues need bayestrans[hats]")
get_client = pytest.importorskip("dask.distributed").get_client
pytestmark = [
    pytest.mark.slow,
    # LSDB does what will be an error in the next major version of pandas.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


@pytest.fixture(scope="module")
def stars(survey: bt.SurveyPair) -> Table:
    rng = np.random.default_rng(0)
    table = Table(survey.catalogue)
    table["ra"] = rng.uniform(0, 360, len(table))
    table["dec"] = np.degrees(np.arcsin(rng.uniform(-1, 1, len(table))))
    return table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, stars: Table, posterior: bt.Posterior) -> Path:
    """Return a folder with the stars as one table and as a HATS catalogue, and the model."""
    folder = tmp_path_factory.mktemp("hats")
    posterior.save(folder / "model.nc")
    stars.write(folder / "stars.parquet")
    code = (
        "from hats_import import ImportArguments\n"
        "from hats_import.pipeline import pipeline\n"
        "if __name__ == '__main__':\n"
        f"    pipeline(ImportArguments(output_path={str(folder)!r}, progress_bar=False,\n"
        "        output_artifact_name='stars',\n"
        f"        input_file_list=[{str(folder / 'stars.parquet')!r}],\n"
        "        file_reader='parquet', pixel_threshold=200, dask_n_workers=1))\n"
    )
    script = folder / "make.py"
    script.write_text(code)
    subprocess.run([sys.executable, script], check=True, capture_output=True)
    return folder


def read(path: Path) -> Table:
    """Return all stars of a HATS catalogue in the order of their identifiers."""
    files = sorted(f for f in path.rglob("*.parquet") if "Npix=" in str(f))
    assert len(files) > 4
    parts = [read_table(file) for file in files]
    names = [name for name in parts[0].colnames if name != "_healpix_29"]
    table = Table({n: np.concatenate([np.asarray(part[n]) for part in parts]) for n in names})
    table.sort("star_id")
    return table


def test_two_workers_give_the_numbers_of_one_table(
    folder: Path, stars: Table, posterior: bt.Posterior
):
    arguments = ["translate", str(folder / "model.nc"), str(folder / "stars"), "--workers", "2"]
    assert main([*arguments, "--out", str(folder / "out"), "--draws", "2", "--quiet"]) == 0
    expected = bt.translate(posterior, stars, draws=2, progress=False)
    found = read(folder / "out")
    expected.sort("star_id")
    for name in expected.colnames:
        np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(expected[name]), name)
    assert found["star_id"].dtype == np.int64
    np.testing.assert_array_equal(np.sort(found["ra"]), np.sort(stars["ra"]))
    properties = (folder / "out" / "hats.properties").read_text()
    assert f"bayestrans_model={posterior.digest}" in properties
    assert "bayestrans_seed=0" in properties


def test_workers_are_as_many_as_were_asked_for(folder: Path):
    with workers(folder / "stars", 2):
        assert len(get_client().scheduler_info()["workers"]) == 2
    with pytest.raises(ValueError, match="workers are for the folder"), workers("a.parquet", 2):
        pass


def test_what_was_killed_goes_on_to_the_same_bytes(folder: Path, posterior: bt.Posterior):
    code = (
        "import bayestrans as bt\n"
        f"post = bt.load({str(folder / 'model.nc')!r})\n"
        f"bt.translate_file(post, {str(folder / 'stars')!r}, {str(folder / 'killed')!r})\n"
    )
    waiting = folder / ".killed.parts" / "catalogue"
    run = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while run.poll() is None and len(list(waiting.rglob("*_done"))) < 2:
        time.sleep(0.005)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert not (folder / "killed").exists()
    done = len(list(waiting.rglob("*_done")))
    assert done >= 2

    source, out = folder / "stars", folder / "killed"
    with pytest.raises(bt.CatalogueError, match="interrupted"):
        bt.translate_file(posterior, source, out, progress=False)
    with pytest.raises(bt.CatalogueError, match="another seed"):
        bt.translate_file(posterior, source, out, resume=True, seed=1, progress=False)
    whole = bt.translate_file(posterior, source, folder / "whole", progress=False)
    again = bt.translate_file(posterior, source, out, resume=True, progress=False)
    assert again[1:] == whole[1:]
    assert whole.stars == sum(whole.classes.values()) > 0
    files = [f.relative_to(folder / "whole") for f in (folder / "whole").rglob("Npix=*.parquet")]
    assert len(files) > done  # some were left to do
    for file in files:
        assert (out / file).read_bytes() == (folder / "whole" / file).read_bytes()
    assert not waiting.parent.exists()


def test_an_empty_partition_has_the_columns_of_the_others(
    folder: Path, stars: Table, posterior: bt.Posterior
):
    frame = stars.to_pandas()
    model, place = str(folder / "model.nc"), ["ra", "dec"]
    some = translate_partition(frame[:3], model, 2, 0, place)
    none = translate_partition(frame[:0], model, 2, 0, place)
    assert len(none) == 0
    assert none.dtypes.equals(some.dtypes)
    assert {"star_id", "ra", "dec", "teff_mean", "teff_draws"} <= set(none.columns)


def test_what_cannot_be_done_is_said_first(folder: Path, posterior: bt.Posterior):
    source = folder / "stars"
    with pytest.raises(bt.CatalogueError, match="use translate_file"):
        bt.translate(posterior, source, progress=False)
    with pytest.raises(bt.CatalogueError, match="does not exist"):
        bt.translate_file(posterior, source, folder / "none" / "out", progress=False)
    with pytest.raises(bt.CatalogueError, match="also the input"):
        bt.translate_file(posterior, source, source, overwrite=True, progress=False)
    (folder / "precious").mkdir()
    with pytest.raises(bt.CatalogueError, match="not replaced"):
        bt.translate_file(posterior, source, folder / "precious", overwrite=True, progress=False)
    with pytest.raises(ValueError, match="outside"):
        bt.translate_file(posterior, source, folder / "strict", strict=True, progress=False)
    assert not list(folder.glob("*strict*"))


def test_without_the_engine_it_is_said_how_to_get_it(
    folder: Path, posterior: bt.Posterior, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "lsdb", None)
    with pytest.raises(bt.CatalogueError, match=r"bayestrans\[hats\]"):
        bt.translate_file(posterior, folder / "stars", folder / "no", progress=False)
