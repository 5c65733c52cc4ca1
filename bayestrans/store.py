"""The model file: one netCDF-4 tree that ArviZ opens, checked before it is believed."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .files import whole

FORMAT = "bayestrans model"
FORMAT_VERSION = 7

#: Attributes of the file rather than of the model.
STAMPS = ("format", "format_version", "digest")

#: A file may declare at most this much; the largest models are far below it.
BYTE_BUDGET = 4 * 2**30


class ModelFileError(ValueError):
    """A file that is not a usable model, with the reason and the remedy."""


def digest(tree: xr.DataTree) -> str:
    """Return the SHA-256 of the tree's arrays and attributes, in hexadecimal."""
    sha = hashlib.sha256()
    for name in sorted({str(name) for name in tree.attrs} - set(STAMPS)):
        sha.update(f"{name}={tree.attrs[name]}\n".encode())
    for node in sorted(tree.subtree, key=lambda node: node.path):
        for name in sorted(str(n) for n in node.data_vars):
            values = np.ascontiguousarray(node[name].values)
            sha.update(f"{node.path}/{name} {values.dtype.str} {values.shape}\n".encode())
            sha.update(values.tobytes())
    return sha.hexdigest()


def check_target(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Refuse a path that cannot be written to, before the long work begins."""
    path = Path(path)
    if path.is_dir():
        raise FileExistsError(f"{path} is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name or pass overwrite (--overwrite)")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {path.parent} does not exist; make it first")


def write(tree: xr.DataTree, path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Stamp a tree with format and digest and write it beside ``path``, then rename it."""
    path = Path(path)
    check_target(path, overwrite=overwrite)
    tree.attrs |= {"format": FORMAT, "format_version": FORMAT_VERSION}
    tree.attrs["digest"] = digest(tree)
    encoding = {
        node.path: {str(name): {"fletcher32": True} for name, a in node.data_vars.items() if a.ndim}
        for node in tree.subtree
    }
    with whole(path) as partial:
        tree.to_netcdf(partial, engine="h5netcdf", encoding=encoding)
        seal(partial)


def read(path: str | os.PathLike[str]) -> xr.DataTree:
    """Return the checked tree of a model file, all arrays in memory.

    Raises
    ------
    ModelFileError
        For anything that is not an intact model of a known version.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path} does not exist; give the path of a model written by save")
    _check_seal(path)
    _check_structure(path)
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            tree = tree.load()
        found = digest(tree)
    except Exception as error:  # any of a dozen kinds, all with the same meaning here
        raise ModelFileError(f"{path} is damaged ({type(error).__name__}); {REMEDY}") from None
    if tree.attrs.get("digest") != found:
        raise ModelFileError(f"{path} does not match its own digest, so it was changed; {REMEDY}")
    _check_finite(path, tree)
    return tree


REMEDY = "use an intact copy or fit again"

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: Before the 64 digits of the SHA-256 at the end of a model file.
SEAL = b"bayestrans-sha256:"
SEAL_BYTES = len(SEAL) + 64


def seal(path: Path) -> None:
    """Append the SHA-256 of a file's bytes; readers of HDF5 take no notice of it."""
    with path.open("rb+") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.write(SEAL + found.encode())


def _check_seal(path: Path) -> None:
    """Refuse a file whose bytes have changed, before HDF5 sees it: damage can make it hang."""
    content = path.read_bytes()
    body, mark = content[:-SEAL_BYTES], content[-SEAL_BYTES:]
    if not content.startswith(HDF5_SIGNATURE):
        raise ModelFileError(f"{path} is not a readable model file; {REMEDY}")
    if not mark.startswith(SEAL):
        raise ModelFileError(
            f"{path} is not a bayestrans model, or was cut short: give a file written by save; "
            f"{REMEDY}"
        )
    if mark[len(SEAL) :] != hashlib.sha256(body).hexdigest().encode():
        raise ModelFileError(f"{path} is damaged: its bytes have changed; {REMEDY}")


def _check_structure(path: Path) -> None:
    """Refuse by the declared structure, before any array is read."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise ModelFileError(
                    f"{path} is not a bayestrans model; give a file written by save"
                )
            version = np.asarray(file.attrs.get("format_version", 0)).item()
            if version != FORMAT_VERSION:
                raise ModelFileError(
                    f"{path} has model format {version} and this version reads {FORMAT_VERSION}; "
                    "install the bayestrans that wrote it"
                )
            declared = sum(_declared_bytes(path, file))
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path} is not a readable model file; {REMEDY}") from None
    if declared > BYTE_BUDGET:
        raise ModelFileError(
            f"{path} declares {declared / 2**30:.1f} GiB of arrays, more than any model needs "
            f"({BYTE_BUDGET / 2**30:.0f} GiB); it was refused unread"
        )


def _declared_bytes(path: Path, group: h5py.Group) -> Iterator[int]:
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise ModelFileError(
                f"{path} links out of itself at {group.name}/{name}; it was refused"
            )
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _declared_bytes(path, item)
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual or item.dtype.kind not in "fiu":
                raise ModelFileError(
                    f"{path} holds a foreign kind of data at {item.name}; it was refused"
                )
            yield math.prod(item.shape) * item.dtype.itemsize


def _check_finite(path: Path, tree: xr.DataTree) -> None:
    for node in tree.subtree:
        for name, values in node.data_vars.items():
            finite_or_nan = node.name == "probe"  # what a survey does not give is NaN there
            bad = np.isinf(values.values) if finite_or_nan else ~np.isfinite(values.values)
            if bad.any():
                raise ModelFileError(
                    f"{path} has {int(bad.sum())} values that are not finite in "
                    f"{node.path}/{name}; {REMEDY}"
                )


def check_shapes(
    groups: dict[str, dict[str, NDArray]], expected: dict[str, dict[str, tuple[int | None, ...]]]
) -> None:
    """Raise ValueError where an array is missing or of another shape; None fits any length."""
    for group, shapes in expected.items():
        for name, shape in shapes.items():
            found = groups[group][name].shape
            fits = len(found) == len(shape) and all(
                want in (None, have) for want, have in zip(shape, found, strict=True)
            )
            if not fits:
                raise ValueError(f"{group}/{name} has shape {found} in place of {shape}")


def arrays(node: xr.DataTree) -> dict[str, NDArray]:
    """Return the arrays of one group by name."""
    return {str(name): values.values for name, values in node.data_vars.items()}


@contextlib.contextmanager
def explain(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn a fault in the content of a model into one sentence."""
    try:
        yield
    except ModelFileError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{path} lacks a part of a model ({error}); {REMEDY}") from None
