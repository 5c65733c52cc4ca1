"""The model file: believed only when it is intact."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from model_files import refusal

import bayestrans as bt
from bayestrans import store
from bayestrans.posterior import to_tree

WEIGHTS = "/posterior/intrinsic.weight_0"


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    """Return a copy of it that a test may spoil."""
    path = tmp_path / "copy.nc"
    path.write_bytes(saved.read_bytes())
    return path


@contextlib.contextmanager
def changed(path: Path) -> Iterator[h5py.File]:
    """Yield a model file to be changed, and give it the seal of its new bytes."""
    with h5py.File(path, "r+") as file:
        yield file
    content = path.read_bytes()
    if content[-store.SEAL_BYTES :].startswith(store.SEAL):
        path.write_bytes(content[: -store.SEAL_BYTES])
    store.seal(path)


def restamp(path: Path) -> None:
    """Give a changed file the digest of its new content."""
    with xr.open_datatree(path, engine="h5netcdf") as content:
        digest = store.digest(content.load())
    with changed(path) as file:
        file.attrs["digest"] = digest


FOREIGN = {
    "text": b"teff,logg\n4500,2.1\n",
    "empty": b"",
    "pickle": pickle.dumps({"weights": [1.0]}),
    "npy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
    "classic netCDF": b"CDF\x01" + bytes(100),
    "HDF5 signature alone": b"\x89HDF\r\n\x1a\n" + bytes(100),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_what_is_no_model_is_refused(content, tmp_path):
    path = tmp_path / "model.nc"
    path.write_bytes(content)
    message = refusal(path)
    assert "is not a readable model file" in message or "is not a bayestrans model" in message
    assert "use an intact copy" in message


def test_a_pickle_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "model.nc"
    path.write_bytes(pickle.dumps(Trap()))
    refusal(path)
    assert not (tmp_path / "sprung").exists()


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert "does not exist; give the path" in refusal(tmp_path / "none.nc")


def test_a_folder_is_refused(tmp_path):
    refusal(tmp_path)


def test_another_hdf5_file_is_refused(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["weights"] = np.ones(3)
    assert "is not a bayestrans model" in refusal(path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.999])
def test_a_truncated_model_is_refused(copy, share):
    with copy.open("rb+") as stream:
        stream.truncate(int(share * copy.stat().st_size))
    assert "use an intact copy or fit again" in refusal(copy)


def chunks(path: Path) -> dict[str, tuple[int, int]]:
    """Return where in the file the first chunk of each dataset lies."""
    found: dict[str, tuple[int, int]] = {}

    def visit(name: str, item) -> None:
        if isinstance(item, h5py.Dataset) and item.chunks and item.id.get_num_chunks():
            info = item.id.get_chunk_info(0)
            found[name] = (info.byte_offset, info.size)

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def flip(path: Path, place: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("share", [0.0, 0.4, 0.98])
@pytest.mark.parametrize(
    "name", ["posterior/weights", "support/inputs", "probe/x_err"], ids=lambda name: name[:5]
)
def test_one_flipped_bit_in_the_data_is_refused(small, name, share):
    offset, size = chunks(small)[name]
    flip(small, offset + int(share * size), bit=3)
    assert "use an intact copy or fit again" in refusal(small, store.read)


@pytest.mark.parametrize("share", np.linspace(0.01, 0.99, 25))
def test_one_flipped_bit_anywhere_is_refused(small, share):
    flip(small, int(share * small.stat().st_size), bit=0)
    assert "use an intact copy or fit again" in refusal(small, store.read)


def test_bytes_after_the_seal_are_refused(small):
    small.write_bytes(small.read_bytes() + b"x")
    assert "is not a bayestrans model, or was cut short" in refusal(small, store.read)


def replace(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def test_a_damaged_letter_in_an_attribute_is_refused(small):
    replace(small, b'{"name": ', b'\xa8"name": ')
    assert "use an intact copy or fit again" in refusal(small, store.read)


def test_damage_that_would_hang_hdf5_is_refused(small):
    """HDF5 itself never returns from a damaged length of a text attribute."""
    with h5py.File(small) as file:
        digest = file.attrs["digest"].encode()
    flip(small, small.read_bytes().index(digest) - 8, bit=2)  # of the text's length, 64
    code = f"from bayestrans import store; store.read({str(small)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=15)
    assert b"ModelFileError" in done.stderr


def test_one_flipped_bit_in_the_weights_of_a_model_is_refused(copy):
    offset, size = chunks(copy)[WEIGHTS.strip("/")]
    flip(copy, offset + size // 3, bit=0)
    assert "is damaged" in refusal(copy)


@pytest.mark.parametrize(("group", "name"), [("posterior", "weights"), ("support", "spacing")])
def test_a_changed_number_is_refused(small, group, name):
    with changed(small) as file:
        file[group][name][...] = 0.25
    assert "does not match its own digest" in refusal(small, store.read)


def test_a_changed_attribute_is_refused(small):
    with changed(small) as file:
        file.attrs["spec"] = '{"name": "e"}'
    assert "does not match its own digest" in refusal(small, store.read)


def test_a_newer_format_is_refused_with_both_versions(copy):
    with changed(copy) as file:
        file.attrs["format_version"] = store.FORMAT_VERSION + 1
    message = refusal(copy)
    newer, ours = store.FORMAT_VERSION + 1, store.FORMAT_VERSION
    assert f"has model format {newer} and this version reads {ours}; install" in message


@pytest.mark.parametrize(
    "link",
    [h5py.ExternalLink("elsewhere.h5", "/weights"), h5py.SoftLink("/posterior/weights")],
    ids=["external", "soft"],
)
def test_a_link_is_refused_by_its_place(small, link):
    with changed(small) as file:
        file["posterior"]["linked"] = link
    assert "links out of itself at /posterior/linked" in refusal(small, store.read)


def test_data_outside_the_file_are_refused(small):
    (small.parent / "secret.bin").write_bytes(bytes(800))
    with changed(small) as file:
        places = [(str(small.parent / "secret.bin"), 0, 800)]
        file["posterior"].create_dataset("outside", (100,), "f8", external=places)
    assert "foreign kind of data at /posterior/outside" in refusal(small, store.read)


def test_objects_and_text_are_refused(small):
    with changed(small) as file:
        file["posterior"]["words"] = ["os.system"]
    assert "foreign kind of data at /posterior/words" in refusal(small, store.read)


def test_16_gigabytes_are_refused_unread(small, monkeypatch):
    with changed(small) as file:
        file["posterior"].create_dataset("bomb", (2**31,), "f8", chunks=(2**20,))
    assert small.stat().st_size < 2**20
    monkeypatch.setattr(xr, "open_datatree", lambda *a, **k: pytest.fail("it was read"))
    assert "declares 16.0 GiB" in refusal(small, store.read)


def test_many_datasets_below_the_budget_are_added_up(small):
    with changed(small) as file:
        for name in "abc":
            file["support"].create_dataset(name, (2**28,), "f8", chunks=(2**20,))
    assert "declares 6.0 GiB" in refusal(small, store.read)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_whatever_the_digest(copy, value):
    with changed(copy) as file:
        file[WEIGHTS][1, 2, 3, 0] = value
    restamp(copy)
    assert f"1 values that are not finite in {WEIGHTS}" in refusal(copy)


def test_errors_that_a_survey_does_not_give_may_be_missing(small):
    assert np.isnan(store.read(small)["probe"]["x_err"].values).sum() == 1


def test_an_honest_change_with_a_new_digest_is_read(copy):
    with changed(copy) as file:
        file[WEIGHTS][1, 2, 3, 0] = 0.125
    restamp(copy)
    assert bt.load(copy).blocks[0].draws["weight_0"][1, 2, 3, 0] == 0.125


def rewritten(posterior, path: Path, change) -> Path:
    """Write a model whose content was changed, with the digest of that content."""
    content = to_tree(posterior)
    change(content)
    store.write(content, path, overwrite=False)
    return path


def shortened(group: str, name: str, axis: int):
    """Return a change that cuts the last row, column, ... off an array."""

    def change(content: xr.DataTree) -> None:
        data = content[group].to_dataset()
        values = data[name].values
        short = np.take(values, range(values.shape[axis] - 1), axis)
        data = data.drop_vars(name)
        data[name] = (tuple(f"{name}_short_{i}" for i in range(values.ndim)), short)
        content[group] = xr.DataTree(data)

    return change


def test_weights_of_another_shape_are_refused_whatever_the_digest(posterior, tmp_path):
    change = shortened("posterior", "intrinsic.weight_0", -1)
    message = refusal(rewritten(posterior, tmp_path / "m.nc", change))
    assert "the intrinsic network has arrays of another shape" in message
    assert "weight_0" in message


@pytest.mark.parametrize(
    ("group", "name", "axis"),
    [
        ("posterior", "intrinsic.slope", 1),
        ("scaler", "delta_scale", 0),
        ("scaler", "log_err_scale", 0),
        ("support", "points", 1),
        ("support", "thresholds", 0),
        ("baseline", "cross", 1),
        ("probe", "x_err", 1),
        ("probe", "y", 0),
        ("probe", "y_err", 1),
    ],
)
def test_no_array_may_have_another_shape(posterior, tmp_path, group, name, axis):
    refusal(rewritten(posterior, tmp_path / "m.nc", shortened(group, name, axis)))


def lose(group: str):
    return lambda content: content.__delitem__(group)


def lose_array(group: str, name: str):
    def change(content: xr.DataTree) -> None:
        content[group] = xr.DataTree(content[group].to_dataset().drop_vars(name))

    return change


LOSSES = {
    **{group: lose(group) for group in ("posterior", "sample_stats", "scaler", "support")},
    **{group: lose(group) for group in ("baseline", "probe")},
    "a weight": lose_array("posterior", "rv.slope"),
    "a scale": lose_array("scaler", "delta_scale"),
    "the spacing": lose_array("support", "spacing"),
    "the spec": lambda content: content.attrs.pop("spec"),
    "the configuration": lambda content: content.attrs.update(configuration="{"),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_model_without_a_part_is_refused(posterior, tmp_path, loss):
    message = refusal(rewritten(posterior, tmp_path / "m.nc", loss))
    assert "lacks a part of a model" in message
