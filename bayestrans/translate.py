"""Translate a catalogue of survey A into survey B's base."""

from __future__ import annotations

import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from astropy.table import Table

from .answers import Answers
from .catalogue import (
    CatalogueError,
    Inputs,
    Source,
    check_writable,
    count_rows,
    digest,
    input_batches,
)
from .files import whole
from .hats import is_hats, translate_hats
from .neighbours import CLASSES
from .parts import Parts, joined
from .posterior import Posterior, check_posterior
from .progress import progress_bar
from .written import Count, Settings, Written, job_of, provenance, refuse_outside


def translate(
    posterior: Posterior,
    catalogue: Source,
    out: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    draws: int = 0,
    seed: int = 0,
    strict: bool | float = False,
    progress: bool = True,
    chunk_size: int | None = None,
) -> Table:
    """Translate every star of a table of survey A.

    Parameters
    ----------
    posterior : Posterior
    catalogue : path, Table or DataFrame
        Stars of survey A with the input columns of the model's spec.
    out : path, optional
        Where to write the result: ``.parquet``, ``.fits``, ``.ecsv``, ``.vot``
        or ``.csv``.
    overwrite : bool
        Replace an existing ``out``, and begin an interrupted one anew.
    resume : bool
        Go on with an ``out`` whose writing was interrupted, to what it would have been.
    draws : int
        Joint posterior draws of B's true parameters to add per star.
    seed : int
        Of those draws; the summaries do not depend on it.
    strict : bool or float
        Refuse the table if any of its stars lies outside the training stars' support, or
        more than this share of them.
    progress : bool
        Show the stars done, their rate and the time left.
    chunk_size : int
        Stars read and written at a time (by default 32,768): memory grows with it, no star's
        numbers depend on it.

    Returns
    -------
    Table
        The identifier columns unchanged, then for each output ``NAME`` the
        mean, standard deviation, 16, 50 and 84 % quantiles and the model's own
        part of the standard deviation of **B's true parameter** (without B's
        measurement error), correlations ``corr_A_B``, ``support``,
        ``support_class`` and ``flags``. Missing inputs are integrated
        over and flagged; a star without any keeps its row, with NaN and a flag.

    See Also
    --------
    translate_file : for catalogues that do not fit into memory.

    Raises
    ------
    CatalogueError
        For an unreadable table, a missing column, or an ``out`` that is unwritable
        or is the catalogue itself, is being written by another process, or was begun
        with another model, catalogue, seed, chunk size or number of draws than it is to be
        resumed with.
    ValueError
        With ``strict``, for (more than that share of) stars outside the support, and for a
        ``chunk_size`` below one.
    """
    check_posterior(posterior)
    settings = Settings(overwrite, resume, draws, seed, strict, progress, chunk_size).checked()
    if out is not None and not is_hats(catalogue):
        tables: list[Table] = []
        _write(posterior, catalogue, Path(out), tables, settings)
        return joined(tables)
    if is_hats(catalogue):
        raise CatalogueError(
            f"{catalogue}: a HATS catalogue is translated into another one; use translate_file"
        )
    batches = _begun(_batches(posterior, catalogue, settings))
    answers = _answers(posterior, settings.draws, settings.seed)
    _check_inside(answers, catalogue, settings)
    job = job_of(answers, digest(catalogue), settings.rows)
    count, parts = Count(), []
    rows = count_rows(catalogue)
    for table in _translated(answers, batches, job, progress=progress, total=rows):
        count.add(table)
        parts.append(table)
    count.say_outside()
    return joined(parts)


def translate_file(
    posterior: Posterior,
    catalogue: Source,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    resume: bool = False,
    draws: int = 0,
    seed: int = 0,
    strict: bool | float = False,
    progress: bool = True,
    chunk_size: int | None = None,
) -> Written:
    """Translate a catalogue into a file without holding either in memory.

    As `translate`, but what is returned are counts. Memory is bounded, but for
    binary VOTables, columns of lists of any length and gzipped FITS, which are read at once. A
    folder that holds a HATS catalogue becomes another one, partition by partition, on the workers
    of the present dask client if there is one (needs LSDB: ``pip install 'bayestrans[hats]'``).

    Returns
    -------
    Written
    """
    check_posterior(posterior)
    if draws:
        posterior.check_draws(draws)
    settings = Settings(overwrite, resume, draws, seed, strict, progress, chunk_size).checked()
    if is_hats(catalogue):
        return translate_hats(posterior, Path(catalogue), Path(out), settings)
    return _write(posterior, catalogue, Path(out), None, settings)


def _write(
    posterior: Posterior,
    catalogue: Source,
    out: Path,
    tables: list[Table] | None,
    settings: Settings,
) -> Written:
    """Translate into a file, and put what is written into ``tables`` too."""
    check_writable(
        out, overwrite=settings.overwrite, sources=[catalogue], vectors=settings.draws > 0
    )
    batches = _begun(_batches(posterior, catalogue, settings))
    answers = _answers(posterior, settings.draws, settings.seed)
    _check_inside(answers, catalogue, settings)
    count = Count()

    def add(table: Table) -> None:
        count.add(table)
        if tables is not None:
            tables.append(table)

    def added(found: Iterator[Table]) -> Iterator[None]:
        for table in found:
            add(table)
            yield

    with Parts(
        out,
        job_of(answers, digest(catalogue), settings.rows),
        resume=settings.resume,
        discard=settings.overwrite,
    ) as parts:
        for table in parts.tables():
            add(table)
        done = parts.done
        found = _translated(
            answers,
            itertools.islice(batches, done, None),
            parts.job,
            progress=settings.progress,
            total=count_rows(catalogue),
            begin=count.stars,
            keep=lambda number, table: parts.add(done + number, table),
        )
        # In the folder of the parts, so that what a kill leaves of it goes with them. Closed
        # within it too: no worker goes on after an error.
        with closing(found), whole(out, parts.folder) as partial:
            parts.join(partial, itertools.chain(range(done), added(found)))
            check_writable(
                out, overwrite=settings.overwrite
            )  # someone may have written it meanwhile
    count.say_outside()
    return count.written(out)


def _batches(posterior: Posterior, catalogue: Source, settings: Settings) -> Iterator[Inputs]:
    return input_batches(catalogue, posterior.spec, posterior.scaler, settings.rows)


def _begun(batches: Iterator[Inputs]) -> Iterator[Inputs]:
    """Read the first batch now: what is wrong with a table is said before long work."""
    return itertools.chain([next(batches)], batches)


def _answers(posterior: Posterior, draws: int, seed: int) -> Answers:
    if draws:
        posterior.check_draws(draws)
    return Answers(posterior, draws, seed)


def _translated(
    answers: Answers,
    batches: Iterator[Inputs],
    job: dict[str, Any],
    *,
    progress: bool,
    total: int | None,
    begin: int = 0,
    keep: Callable[[int, Table], None] = lambda number, table: None,
) -> Generator[Table]:
    """Yield the answers to batches of stars in their order, with what is known of them.

    One batch more at a time than there are cores, as programs and NumPy release the interpreter
    but what lies between does not.
    Each worker keeps its own batch: to wait for the disk is no reason to stand idle.
    """
    waiting: deque[Future[Table]] = deque()
    workers = (os.cpu_count() or 1) + 1

    def one(number: int, inputs: Inputs) -> Table:
        table = answers.table(inputs)
        table.meta.update(provenance(job))
        table.meta["BTUNITS"] = json.dumps(dict(inputs.assumed))  # taken where none was given
        keep(number, table)
        return table

    with (
        progress_bar("translate", total, "star", progress=progress, begin=begin, leave=True) as bar,
        ThreadPoolExecutor(workers) as pool,
    ):
        try:
            for number, inputs in enumerate(batches):
                waiting.append(pool.submit(one, number, inputs))
                if number == 0:  # what it compiles serves all
                    waiting[0].result()
                if len(waiting) > workers:
                    table = waiting.popleft().result()
                    bar.update(len(table))
                    yield table
            while waiting:
                table = waiting.popleft().result()
                bar.update(len(table))
                yield table
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _check_inside(answers: Answers, catalogue: Source, settings: Settings) -> None:
    """Refuse a catalogue with too many stars outside the support, before anything is written."""
    if settings.allowed is None:
        return
    outside, stars, posterior = 0, 0, answers.posterior
    for inputs in _batches(posterior, catalogue, settings):
        classes = posterior.neighbours.classify(answers.scores(inputs))
        outside += int((classes == CLASSES.index("outside")).sum())
        stars += len(classes)
    refuse_outside(outside, stars, settings.allowed)
