"""Every example runs as it stands, and the example specs are readable."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table, vstack

import bayestrans as bt
from bayestrans.tables import read_table

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_spec_is_readable_and_survives_a_round_trip(path, tmp_path):
    spec = bt.Spec.from_toml(path)
    copy = tmp_path / "copy.toml"
    copy.write_text(spec.to_toml())
    assert bt.Spec.from_toml(copy) == spec


#: What each example leaves, beside the text.
LEAVES = {
    "translate_simulated": ("catalogue.parquet", "model.nc"),
    "go_on_with_arviz": ("diagnosis.nc", "replicates.png"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [EXAMPLES / f"{name}.py" for name in LEAVES], ids=lambda path: path.stem
)
def test_example_runs(path, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "R-hat" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == set(LEAVES[path.stem])


def test_tasks_of_a_job_array_do_what_one_run_does(
    tmp_path, posterior: bt.Posterior, survey: bt.SurveyPair, capsys
):
    """Two tasks, the second of them twice."""
    stars = Table(survey.catalogue)
    (tmp_path / "parts").mkdir()
    posterior.save(tmp_path / "model.nc")
    for number in range(3):
        stars[number * 500 : (number + 1) * 500].write(tmp_path / "parts" / f"{number}.parquet")
    task = runpy.run_path(str(EXAMPLES / "job_array.py"))["main"]
    folders = [str(tmp_path / name) for name in ("model.nc", "parts", "out")]
    for number in ("0", "1", "1"):
        task(*folders, number, "2")
    assert capsys.readouterr().out.count("done before") == 1
    parts = [read_table(tmp_path / "out" / f"{number}.parquet") for number in range(3)]
    found = vstack(parts, metadata_conflicts="silent")
    want = bt.translate(posterior, stars, progress=False)
    assert found.colnames == want.colnames
    for name in want.colnames:
        np.testing.assert_array_equal(found[name], want[name], name)
