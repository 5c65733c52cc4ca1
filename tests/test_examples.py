"""Every example runs as it stands, and the example specs are readable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bayestrans as bt

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
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
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
