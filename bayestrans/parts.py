"""What is written in parts, which survive what interrupts the writing."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from astropy.table import Table, vstack
from filelock import FileLock, Timeout

from .arrow import from_arrow, header, to_arrow, write_parquet_parts
from .delimited import write_csv_parts
from .files import whole, write_text
from .fits_tables import write_fits_parts
from .formats import FORMATS, refuse_unwritable
from .layout import CatalogueError
from .tables import named, read_table
from .text_tables import write_ecsv_parts, write_votable_parts

#: What writes a format part by part, as they come from the disk.
OF_ARROW = {"Parquet": write_parquet_parts, "CSV": write_csv_parts}

#: What goes through all parts twice.
TWICE = {"FITS": write_fits_parts, "VOTable": write_votable_parts}

#: What belongs to the moment at which the writing began, not to what is written.
CLOCK = "utc"


#: What a system says where a disk, or a user's share of it, is full.
FULL = (errno.ENOSPC, errno.EDQUOT)


class Unfinished:
    """A folder beside an output in which what is done of it waits until all is there.

    Only one process at a time holds the folder. What was interrupted stays, to be gone on with.

    Parameters
    ----------
    out : Path
        The output to be.
    job : dict
        What determines the output. A folder left by another job is not gone on with.
    resume : bool
        Go on from what is there.
    discard : bool
        Begin anew if there is anything.

    Raises
    ------
    CatalogueError
        If another process writes the output, if there is a folder and neither ``resume`` nor
        ``discard``, and on ``resume`` if it is of another job, saying what differs.
    """

    def __init__(
        self, out: Path, job: dict[str, Any], *, resume: bool = False, discard: bool = False
    ) -> None:
        self.out = out
        self.folder = _folder(out)
        self.job = job
        self._resume, self._discard = resume, discard
        self._lock = FileLock(out.with_name(f".{out.name}.lock"))

    def __enter__(self) -> Self:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise CatalogueError(f"{self.out}: another process is writing it") from None
        try:
            self._begin()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        keep = self._worth_keeping(error)
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._release()
        if keep and _is_full(error):
            what = f"{self.out}: no space left; make some, then go on with it (resume)"
            raise CatalogueError(what) from error

    def _worth_keeping(self, error: BaseException | None) -> bool:
        """Say whether to go on later: what was interrupted can, what failed would fail again."""
        return error is not None and (_is_full(error) or not isinstance(error, Exception))

    def _release(self) -> None:
        # Removed while it is held: whoever opens it later makes a new one.
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()

    def _begin(self) -> None:
        record = self.folder / "job.json"
        if record.exists() and self._resume:
            found = json.loads(record.read_text(encoding="utf-8"))
            for key, value in self.job.items():
                if key != CLOCK and found.get(key) != value:
                    raise CatalogueError(
                        f"{self.out}: it was begun with another {key} ({found.get(key)}, now "
                        f"{value}); give that again, or overwrite to begin anew"
                    )
            self.job = found
            return
        if record.exists() and not self._discard:
            raise CatalogueError(
                f"{self.out}: an earlier run was interrupted; go on with it (resume) or begin "
                "anew (overwrite)"
            )
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        write_text(record, json.dumps(self.job))


class Parts(Unfinished):
    """Parts of a table, each written whole, so that after a kill those that are there are good."""

    _header: str | None = None

    def _worth_keeping(self, error: BaseException | None) -> bool:
        return super()._worth_keeping(error) and self.done > 0

    @property
    def done(self) -> int:
        """The number of parts that are there, from the first on."""
        count = 0
        while self._path(count).exists():
            count += 1
        return count

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.arrow"

    def add(self, number: int, table: Table) -> None:
        """Write one part, whole. All have the units and descriptions of the first one.

        Raises
        ------
        CatalogueError
            For what the table's format cannot hold: now, and not after the last part.
        """
        with named(self.out):
            refuse_unwritable(table, FORMATS[self.out.suffix.lower()])
        if self._header is None:  # to write them takes longer than the part
            self._header = header(table)
        arrow = to_arrow(table, self._header)
        with (
            whole(self._path(number)) as partial,
            pa.OSFile(os.fspath(partial), "wb") as stream,
            pa.ipc.new_file(stream, arrow.schema) as writer,
        ):
            writer.write_table(arrow)

    def _arrow(self, number: int) -> pa.Table:
        with pa.OSFile(os.fspath(self._path(number)), "rb") as stream:
            return pa.ipc.open_file(stream).read_all()

    def _table(self, number: int) -> Table:
        return read_table(from_arrow(self._arrow(number)))

    def tables(self) -> Iterator[Table]:
        """Yield the parts."""
        return map(self._table, range(self.done))

    def join(self, partial: Path, coming: Iterable[object]) -> None:
        """Write all parts as one table to a path, in the format of the table's suffix.

        Part n is taken when the n-th of ``coming`` has come, so that parts can be joined while
        later ones are at work, and are not held together.
        """
        kind = FORMATS[self.out.suffix.lower()]
        numbers = (number for number, _ in enumerate(coming))
        # As they lie on the disk, so that it does not matter who wrote them.
        if kind in OF_ARROW:
            OF_ARROW[kind](map(self._arrow, numbers), partial)
        elif kind == "ECSV":
            write_ecsv_parts(map(self._table, numbers), partial)
        else:  # what stands before the first row rests on all parts
            there = list(numbers)
            TWICE[kind](lambda: map(self._table, there), partial)


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in FULL


def interrupted(out: str | os.PathLike[str]) -> bool:
    """Say whether there are parts of a table that were never joined."""
    return _folder(Path(out)).is_dir()


def _folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.parts")


def joined(tables: list[Table]) -> Table:
    """Return tables of the same columns one below the other."""
    if len(tables) == 1:
        return tables[0]
    return vstack(tables, join_type="exact", metadata_conflicts="silent")
