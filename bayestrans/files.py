"""Write files whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: str | os.PathLike[str], folder: Path | None = None) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to, and rename it when the block ends.

    A reader sees the old file or the new one. Whatever interrupts the block
    (an error, Ctrl-C) leaves the old one, and nothing beside it; a ``kill -9`` leaves
    the unfinished file. With ``folder``, on the same device, it lies in there.
    """
    path = Path(path)
    name = f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial"
    partial = (folder or path.parent) / name
    try:
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def same(path: str | os.PathLike[str], other: object) -> bool:
    """Say whether two paths lead to one file; what is no path is no file."""
    if not isinstance(other, str | os.PathLike):
        return False
    return Path(path).exists() and Path(other).exists() and Path(path).samefile(other)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file whole, replacing what was there."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def refuse_inputs(out: str | Path, *inputs: str | None) -> None:
    """Raise ValueError for an output that is an input too, which would be destroyed."""
    if any(same(out, path) for path in inputs if path is not None):
        raise ValueError(f"{out}: the output is also an input; give it another name")
