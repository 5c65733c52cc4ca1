"""One page that says what was trained, how good it is, and what to trust."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from .answers import FLAGS
from .catalogue import Source, pairs_of
from .diagnose import diagnose
from .evaluate import TrainingStarsWarning, evaluate
from .files import write_text
from .importance import few_players, importance
from .neighbours import CLASSES
from .pairs import Pairs
from .parts import joined
from .plot_style import check_columns, class_names
from .posterior import Posterior, check_posterior
from .report_page import page
from .report_sections import sections
from .report_verdicts import Material, Translated, judge
from .spec import Spec
from .store import check_target
from .tables import count_rows, read_batches

#: The page's name in its folder.
NAME = "report.html"

#: Rows of a translated catalogue read at once, and at most drawn from.
ROWS, MOST_DRAWN = 262_144, 100_000


def report(
    posterior: Posterior,
    out: str | os.PathLike[str],
    *,
    pairs: Pairs | Source | None = None,
    catalogue: Source | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one self-contained page about a model: warnings first, then their evidence.

    Pictures are inside the page; it needs no network and can be printed. The
    same model and stars give the same page.

    Parameters
    ----------
    posterior : Posterior
    out : path
        A folder, made where it does not exist, for ``report.html``.
    pairs : Pairs, path, Table or DataFrame, optional
        Stars that were not used in the fit. Without them nothing is scored, and
        the page says so.
    catalogue : path, Table or DataFrame, optional
        What `translate` returned or wrote.
    overwrite : bool
        Replace an earlier report.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    FileExistsError
        If the report exists, unless ``overwrite``, or ``out`` is a file.
    CatalogueError
        For an unreadable catalogue.
    ValueError
        For pairs of another spec, or a catalogue that lacks columns of a translation.
    """
    check_posterior(posterior)
    path = check_report(out, overwrite=overwrite)
    pairs = None if pairs is None else pairs_of(pairs, posterior.spec)
    translated = None if catalogue is None else _translated(catalogue, posterior.spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingStarsWarning)  # a verdict says it
        evaluation = None if pairs is None else evaluate(posterior, pairs)
    rests_on = importance(posterior, pairs, progress=False) if few_players(posterior) else None
    material = Material(posterior, diagnose(posterior), pairs, evaluation, translated, rests_on)
    text = page(
        f"{posterior.spec.name}: translation report",
        _facts(posterior),
        judge(material),
        sections(material),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path


def check_report(out: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return the path of the page in the folder ``out``, or refuse it."""
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; give a folder to write to")
    path = folder / NAME
    if path.exists():
        check_target(path, overwrite=overwrite)
    return path


def _facts(posterior: Posterior) -> str:
    stars = posterior.record.get("stars", len(posterior.neighbours.points))
    date = str(posterior.record.get("utc", "at a time not recorded"))[:10]
    return f"{stars} training stars, fitted {date}, model {posterior.digest[:12]}"


def _translated(source: Source, spec: Spec) -> Translated:
    """Read what is drawn and counted of a translated catalogue, in parts."""
    outputs = [f"{name}_{part}" for name in spec.output_names for part in ("mean", "p16", "p84")]
    needed = [*outputs, "support", "support_class", "flags"]
    step = -(-(count_rows(source) or 1) // MOST_DRAWN)
    tables, classes, flags, start = [], Counter[str](), Counter[int](), 0
    for table in read_batches(source, ROWS, lambda name: name in needed):
        check_columns(table, needed)
        classes.update(class_names(table).tolist())
        raised = np.asarray(np.ma.filled(np.ma.asarray(table["flags"]), 0), dtype=np.int64)
        flags.update({bit: int((raised & bit > 0).sum()) for bit in FLAGS})
        rows = np.arange(-start % step, len(table), step)
        tables.append(table[needed][rows])
        start += len(table)
    return Translated(
        joined(tables),
        {name: classes[name] for name in CLASSES},
        {bit: flags[bit] for bit in FLAGS},
    )
