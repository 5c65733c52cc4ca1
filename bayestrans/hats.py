"""HATS catalogues, translated partition by partition on the workers of dask."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd

from .answers import Answers
from .arrow import to_frame
from .catalogue import CatalogueError, input_batches, needed, read_inputs
from .load import load
from .neighbours import CLASSES
from .parts import Unfinished
from .posterior import Posterior
from .spec import Spec
from .tables import read_batches
from .written import BATCH, Count, Settings, Written, job_of, provenance, refuse_outside

#: Files that say of a folder that it is a HATS catalogue.
MARKS = ("hats.properties", "properties", "collection.properties")

#: What the properties of a catalogue say of how it came about, after the package's name.
PROPERTIES = ("version", "model", "input", "spec", "seed", "configuration", "utc", "flags")

#: Stars by which numbers beyond belief are told.
SAMPLE = 10_000


def is_hats(source: object) -> TypeGuard[str | os.PathLike[str]]:
    """Say whether a path leads to a folder that holds a HATS catalogue."""
    return isinstance(source, str | os.PathLike) and any(
        (Path(source) / mark).is_file() for mark in MARKS
    )


def translate_hats(posterior: Posterior, catalogue: Path, out: Path, settings: Settings) -> Written:
    """Translate a HATS catalogue into another, with the same partitions.

    Parameters
    ----------
    posterior : Posterior
    catalogue, out : Path
        Folders. The new catalogue has the identifiers, the coordinates and the spatial index
        of the old one; its properties name the model by its digest.
    settings : Settings

    Returns
    -------
    Written

    Raises
    ------
    CatalogueError
        Where LSDB is not installed, for a missing column, and as `Unfinished` does.
    ValueError
        With ``strict``, for stars outside the support; nothing is left then.

    Notes
    -----
    The engine is LSDB (Caplar et al. 2025, arXiv 2501.02103). What is written waits in a hidden
    folder beside ``out``, which workers on other machines must see too, with the model.
    """
    lsdb = _engine()
    _check_folder(catalogue, out, overwrite=settings.overwrite)
    answers = Answers(posterior, settings.draws, settings.seed)
    job = job_of(answers, _digest(catalogue), settings.rows)
    with _Folder(out, job, resume=settings.resume, discard=settings.overwrite) as folder:
        if not folder.model.exists():
            posterior.save(folder.model)
        _check_head(catalogue, posterior.spec)
        if not is_hats(folder.catalogue):  # else all was done but the last step
            _map(lsdb, catalogue, posterior.spec, folder, settings)
        written = _counted(folder.catalogue, out)
        try:
            refuse_outside(written.classes[CLASSES[-1]], written.stars, settings.allowed)
        except ValueError:
            folder.failed = True
            raise
        if out.exists():
            shutil.rmtree(out)
        folder.catalogue.replace(out)
    return written


def _map(lsdb: Any, catalogue: Path, spec: Spec, folder: _Folder, settings: Settings) -> None:
    """Translate all partitions that are not done."""
    source = lsdb.open_catalog(catalogue, columns=_columns(lsdb, catalogue, spec))
    model = os.fspath(folder.model.absolute())
    found = source.map_partitions(
        translate_partition,
        model,
        settings.draws,
        settings.seed,
        _place(source),
        settings.rows,
    )
    found.write_catalog(
        folder.catalogue,
        catalog_name=folder.out.name,
        as_collection=False,
        resume=folder.catalogue.exists(),
        addl_hats_properties=_properties(folder.job, spec),
        progress_bar=settings.progress,
        error_if_empty=False,
    )


def translate_partition(
    frame: pd.DataFrame,
    model: str,
    draws: int,
    seed: int,
    place: list[str],
    chunk_size: int = BATCH,
) -> pd.DataFrame:
    """Translate one partition of a catalogue: what runs on the workers.

    Parameters
    ----------
    frame : DataFrame
        Stars of survey A, with the columns of the model's spec.
    model : str
        Path of the model's file.
    draws, seed : int
        As `translate` takes them.
    place : list of str
        Further columns to keep, such as coordinates.
    chunk_size : int
        Stars at a time.

    Returns
    -------
    DataFrame
        With the index of ``frame``.
    """
    answers = _answers(model, draws, seed)
    parts, names = [], set()
    stars, posterior = pd.DataFrame(frame).reset_index(drop=True), answers.posterior
    for inputs in input_batches(stars, posterior.spec, posterior.scaler, chunk_size, judge=False):
        table = answers.table(inputs)
        names.update(inputs.identifiers.colnames)
        table.remove_columns(inputs.identifiers.colnames)
        parts.append(to_frame(table))
    result = pd.concat(parts, ignore_index=True)
    result.index = frame.index
    kept = [name for name in frame.columns if name in names or name in place]
    return type(frame)(pd.concat([frame[kept], result], axis=1))


@contextmanager
def workers(source: object, count: int | None) -> Iterator[None]:
    """Have this many processes translate a HATS catalogue; by default threads of this one.

    Raises
    ------
    ValueError
        For a number below one, or workers for a source that is no HATS catalogue.
    """
    if count is None:
        yield
        return
    if count < 1 or not is_hats(source):
        raise ValueError(
            f"{count} workers for {source}: workers are for the folder of a HATS catalogue, one or "
            "more; other tables are translated on all cores"
        )
    _engine()
    from dask.distributed import Client

    with Client(n_workers=count, threads_per_worker=1):
        yield


class _Folder(Unfinished):
    """Where a catalogue waits with its model. Whatever stops it, what is there can be gone on with.

    On many machines a worker that was lost is no fault of the catalogue.
    """

    failed = False

    @property
    def model(self) -> Path:
        return self.folder / "model.nc"

    @property
    def catalogue(self) -> Path:
        return self.folder / "catalogue"

    def _worth_keeping(self, error: BaseException | None) -> bool:
        return error is not None and not self.failed and self.catalogue.exists()


def _engine() -> Any:
    try:
        import lsdb
    except ImportError:
        raise CatalogueError(
            "HATS catalogues need LSDB, which is not installed: pip install 'bayestrans[hats]'"
        ) from None
    return lsdb


@functools.lru_cache(maxsize=2)
def _answers(model: str, draws: int, seed: int) -> Answers:
    """Load a model once in each worker."""
    return Answers(load(model), draws, seed)


def _check_folder(catalogue: Path, out: Path, *, overwrite: bool) -> None:
    if out.exists() and out.samefile(catalogue):
        raise CatalogueError(f"{out}: the output is also the input; give it another name")
    if not out.absolute().parent.is_dir():
        raise CatalogueError(f"{out}: the folder {out.parent} does not exist; create it first")
    if out.exists() and not overwrite:
        raise CatalogueError(f"{out}: it exists; pass overwrite (--overwrite) to replace it")
    if out.exists() and not is_hats(out):
        raise CatalogueError(f"{out}: this is no HATS catalogue and is not replaced")


def _columns(lsdb: Any, catalogue: Path, spec: Spec) -> list[str]:
    """Return the columns that are needed: those of the spec, identifiers and coordinates."""
    whole = lsdb.open_catalog(catalogue, columns="all")
    wanted, place = needed(spec), _place(whole)
    return [name for name in whole.columns if wanted(name) or name in place]


def _place(catalogue: Any) -> list[str]:
    info = catalogue.hc_structure.catalog_info
    return [info.ra_column, info.dec_column]


def _check_head(catalogue: Path, spec: Spec) -> None:
    """Raise now what the first stars would make the workers raise."""
    for path in _partitions(catalogue)[:1]:
        read_inputs(next(read_batches(path, SAMPLE, needed(spec))), spec)


def _partitions(catalogue: Path) -> list[Path]:
    """Return the files of a catalogue's partitions."""
    return sorted(path for path in catalogue.rglob("*.parquet") if "Npix=" in os.fspath(path))


def _properties(job: dict[str, Any], spec: Spec) -> dict[str, str]:
    told = dict(zip(PROPERTIES, provenance(job).values(), strict=True))
    told["units"] = json.dumps({output.name: output.unit for output in spec.outputs})
    return {f"bayestrans_{name}": text for name, text in told.items()}


def _digest(catalogue: Path) -> str:
    """Return the SHA-256 of what describes a catalogue, which need not be read for it.

    That is its small files, with the statistics of each column in each partition, and the
    names and sizes of all files.
    """
    total = hashlib.sha256()
    for path in sorted(catalogue.rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(catalogue)}\0{path.stat().st_size}\0".encode())
            if path.suffix != ".parquet":
                total.update(path.read_bytes())
    return total.hexdigest()


def _counted(catalogue: Path, out: Path) -> Written:
    count = Count()
    for path in _partitions(catalogue):
        for table in read_batches(path, BATCH, lambda name: name in ("support_class", "flags")):
            count.add(table)
    count.say_outside()
    return count.written(out)
