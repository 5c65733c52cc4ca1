"""The model file: written whole or not at all, and read as it was written."""

from __future__ import annotations

import os
from pathlib import Path

import arviz
import h5py
import numpy as np
import pytest
import xarray as xr
from model_files import refusal, tree

import bayestrans as bt
from bayestrans import store


def test_a_loaded_model_predicts_the_same_bits(posterior, saved, split):
    _, test = split
    some = test.take(np.arange(20))
    np.testing.assert_array_equal(
        bt.load(saved).predict(some, draws=20, seed=3), posterior.predict(some, draws=20, seed=3)
    )


def test_a_model_that_was_just_fitted_comes_back_from_its_file(split, tmp_path):
    """The model of the other tests may come from a file itself."""
    train, test = split
    method, network = bt.Ensemble(members=2, warm_steps=20), bt.Network((3,))
    fitted = bt.fit(train, method=method, network=network, calibrate=False, progress=False)
    fitted.save(tmp_path / "m.nc")
    found, some = bt.load(tmp_path / "m.nc"), test.take(np.arange(20))
    assert (found.spec, found.network, found.noise) == (train.spec, network, fitted.noise)
    assert found.noise.error_factor == "below one"
    np.testing.assert_array_equal(found.predict(some), fitted.predict(some))


def test_a_loaded_model_holds_the_same(posterior, saved):
    loaded = bt.load(saved)
    assert loaded.spec == posterior.spec
    assert loaded.network == posterior.network
    assert loaded.noise == posterior.noise
    assert loaded.record == posterior.record
    assert [b.block for b in loaded.blocks] == [b.block for b in posterior.blocks]
    assert [b.tuning for b in loaded.blocks] == [b.tuning for b in posterior.blocks]
    for found, wanted in zip(loaded.blocks, posterior.blocks, strict=True):
        for part in ("draws", "stats"):
            ours, theirs = getattr(wanted, part), getattr(found, part)
            assert set(theirs) == set(ours)
            for name, values in ours.items():
                assert theirs[name].dtype == values.dtype
                np.testing.assert_array_equal(theirs[name], values)
    x = posterior.probe_x
    np.testing.assert_array_equal(loaded.neighbours.score(x), posterior.neighbours.score(x))
    for name in ("probe_x_err", "probe_y", "probe_y_err"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(posterior, name))


def test_the_digest_is_the_same_in_memory_and_after_loading(posterior, saved):
    assert bt.load(saved).digest == posterior.digest
    assert len(posterior.digest) == 64


def test_the_digest_in_the_file_is_the_models(posterior, saved):
    with h5py.File(saved) as file:
        assert file.attrs["digest"] == posterior.digest


def test_saving_a_loaded_model_changes_nothing(saved, tmp_path):
    again = tmp_path / "again.nc"
    bt.load(saved).save(again)
    with h5py.File(saved) as one, h5py.File(again) as two:
        assert one.attrs["digest"] == two.attrs["digest"]


def test_arviz_opens_the_file(posterior, saved):
    opened = arviz.from_netcdf(saved)
    assert {"posterior", "sample_stats"} <= set(opened.children)
    draws = posterior.blocks[0].draws["slope"]
    np.testing.assert_array_equal(opened["posterior"]["intrinsic.slope"].values, draws)
    assert dict(opened["posterior"].sizes)["chain"] == len(draws)
    rhat = arviz.rhat(opened, var_names=["rv.intercept"])
    assert np.isfinite(rhat["rv.intercept"]).all()


def test_another_content_has_another_digest():
    def changed(change) -> str:
        content = tree()
        change(content)
        return store.digest(content)

    changes = [
        lambda t: None,
        lambda t: t["support"]["inputs"].values.__setitem__(0, 7),
        lambda t: t.attrs.update(spec="{}"),
        lambda t: t.attrs.update(more=1),
        lambda t: t["posterior"].update({"weights": t["posterior"]["weights"].astype(float)}),
        lambda t: t["posterior"].update({"other": t["posterior"]["weights"]}),
        lambda t: t.update({"moved": t["support"]}),
    ]
    assert len({changed(change) for change in changes}) == len(changes)
    assert changed(changes[0]) == store.digest(tree())


def test_overwriting_must_be_asked_for(small):
    before = small.read_bytes()
    with pytest.raises(FileExistsError, match=r"small\.nc exists; .*overwrite"):
        store.write(tree(), small, overwrite=False)
    assert small.read_bytes() == before
    other = tree()
    other.attrs["spec"] = "other"
    store.write(other, small, overwrite=True)
    assert store.read(small).attrs["spec"] == "other"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none does not exist; make it first"):
        store.write(tree(), tmp_path / "none" / "model.nc", overwrite=False)


FAILURES = [(os, "fsync"), (Path, "replace"), (xr.DataTree, "to_netcdf")]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("place", FAILURES, ids=lambda place: place[1])
def test_a_failed_write_leaves_nothing_behind(place, error, tmp_path, monkeypatch):
    def fail(*arguments, **keywords):
        raise error("no space left")

    monkeypatch.setattr(*place, fail)
    with pytest.raises(error, match="no space left"):
        store.write(tree(), tmp_path / "model.nc", overwrite=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", FAILURES, ids=lambda place: place[1])
def test_a_failed_overwrite_keeps_the_old_model(place, small, monkeypatch):
    before = small.read_bytes()

    def fail(*arguments, **keywords):
        raise OSError("no space left")

    monkeypatch.setattr(*place, fail)
    with pytest.raises(OSError, match="no space left"):
        store.write(tree(), small, overwrite=True)
    assert list(small.parent.iterdir()) == [small]
    assert small.read_bytes() == before


def test_a_killed_write_leaves_no_model_at_the_final_name(small, tmp_path, monkeypatch):
    """Killed halfway: part of the bytes lie on the disk and nothing is tidied up."""
    half = small.read_bytes()[: small.stat().st_size // 2]

    def killed(self, path, **keywords):
        Path(path).write_bytes(half)
        raise SystemExit(137)

    monkeypatch.setattr(xr.DataTree, "to_netcdf", killed)
    monkeypatch.setattr(Path, "unlink", lambda self, **keywords: None)
    final = tmp_path / "folder" / "model.nc"
    final.parent.mkdir()
    with pytest.raises(SystemExit):
        store.write(tree(), final, overwrite=False)
    assert not final.exists()
    (left,) = final.parent.iterdir()
    assert left.name.startswith(".")
    assert left.name.endswith(".partial")
    refusal(left)


def test_a_model_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    events = []
    final = tmp_path / "model.nc"
    sync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append(final.exists()), sync(fd)))
    monkeypatch.setattr(Path, "replace", lambda a, b: (events.append("renamed"), rename(a, b)))
    store.write(tree(), final, overwrite=False)
    assert events[:2] == [False, "renamed"]
