"""Public catalogues by name, from VizieR."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from astropy.table import Table

from .presets import survey as preset
from .surveys import Survey, SurveyError, VizieR
from .tables import check_writable, write_table

#: Seconds that VizieR has for the first byte: whole catalogues take it minutes.
TIMEOUT = 1800


class Fetched(NamedTuple):
    """What `fetch` wrote; printed, a report.

    Attributes
    ----------
    survey : Survey
    path : str
    stars : int
    complete : bool
        False where ``max_rows`` ended it.
    absent : tuple of str
        Columns of the preset that VizieR's table does not have.
    """

    survey: Survey
    path: str
    stars: int
    complete: bool
    absent: tuple[str, ...]

    def __str__(self) -> str:
        ended = "" if self.complete else " (as many as asked for; the catalogue has more)"
        lines = [f"wrote {self.stars} stars of {self.survey.title} to {self.path}{ended}"]
        if self.absent:
            lines.append(f"  VizieR does not have: {', '.join(self.absent)}")
            idle = [cut.name for cut in self.survey.cuts if set(cut.columns) & set(self.absent)]
            if idle:
                switches = " ".join(f"--without {name}" for name in idle)
                lines.append(f"  cuts that cannot be made with this file: {switches}")
        return "\n".join(lines)


def fetch(
    name: str | Survey,
    out: str | os.PathLike[str],
    *,
    max_rows: int | None = None,
    overwrite: bool = False,
) -> Fetched:
    """Download a survey's public catalogue from VizieR, with the survey's own column names.

    Needs astroquery: ``pip install 'bayestrans[fetch]'``.

    Parameters
    ----------
    name : str or Survey
        A preset that VizieR has, such as ``"galah-dr3"`` or ``"apogee-dr17"``.
    out : path-like
        The file to write, by suffix: FITS, Parquet, ECSV, VOTable or CSV.
    max_rows : int, optional
        Stop after so many; default: the whole catalogue, which takes minutes.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Fetched

    Raises
    ------
    SurveyError
        Where astroquery is not installed, VizieR does not have the survey or does
        not answer; nothing is written then.
    CatalogueError
        For a path that cannot be written.
    """
    survey = preset(name)
    check_writable(out, overwrite=overwrite)
    if max_rows is not None and max_rows < 1:
        raise SurveyError(f"{max_rows} rows cannot be fetched; give a positive number, or none")
    if survey.vizier is None:
        raise SurveyError(
            f"{survey.title} is not on VizieR as one table; get the file yourself: {survey.page}"
        )
    table = _query(survey.vizier, max_rows)
    absent = _rename(table, survey, survey.vizier)
    table.meta.clear()  # VizieR's description fits no FITS header
    write_table(table, out, overwrite=overwrite)
    complete = max_rows is None or len(table) < max_rows
    return Fetched(survey, os.fspath(out), len(table), complete, absent)


def _query(source: VizieR, max_rows: int | None) -> Table:
    try:
        from astroquery import cache_conf
        from astroquery.exceptions import RemoteServiceError, TableParseError, TimeoutError
        from astroquery.vizier import VizierClass
    except ImportError:
        raise SurveyError(
            "fetching needs astroquery, which is not installed: pip install 'bayestrans[fetch]'"
        ) from None
    client = VizierClass(columns=["**"], row_limit=max_rows or -1, timeout=TIMEOUT)
    try:
        with cache_conf.set_temp("cache_active", False):  # catalogues would fill the home folder
            found = client.get_catalogs(source.table)
    except (OSError, RemoteServiceError, TableParseError, TimeoutError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:150]
        raise SurveyError(
            f"VizieR did not answer for {source.table} ({first}); try again later"
        ) from error
    if not found:
        raise SurveyError(
            f"VizieR gave no rows of {source.table}; try again later, and if that does not help, "
            "look at vizier.cds.unistra.fr whether it is at work and where the table is now"
        )
    return found[0]


def _rename(table: Table, survey: Survey, source: VizieR) -> tuple[str, ...]:
    """Give the columns the survey's own names; return those of the preset that are not there."""
    wanted = _columns(survey)
    own = {_bare(name): name for name in wanted}
    # Astroquery gives [Fe/H] that name or, in some releases, its ID in the answer: __Fe_H_.
    own |= {_bare(name): new for name, new in source.names.items()}
    for known in list(table.colnames):
        new = own.get(_bare(known), known)
        if new != known and new not in table.colnames:
            table.rename_column(known, new)
    there = {name.lower() for name in table.colnames}
    return tuple(name for name in wanted if name.lower() not in there)


def _columns(survey: Survey) -> tuple[str, ...]:
    """Return every column that a preset asks for, each once."""
    names = [survey.id, survey.gaia.column if survey.gaia else None, survey.snr]
    names += list(survey.sky[:2]) if survey.sky else []
    for item in survey.quantities:
        names += [item.column, *(item.error if isinstance(item.error, tuple) else (item.error,))]
    for cut in survey.cuts:
        names += cut.columns
    return tuple(dict.fromkeys(name for name in names if name))


def _bare(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
