"""Which preset a survey's table fits, where nobody says."""

from __future__ import annotations

import os

import pandas as pd
from astropy.table import Table

from .columns import matches
from .layout import COMMON, CatalogueError, Layout
from .presets import SURVEYS
from .presets import survey as preset
from .surveys import Survey, SurveyError
from .tables import Source, named, read_batches, read_table

#: Of the columns of a survey's quantities, a table must have at least this share.
QUANTITIES_NEEDED = 0.5


def survey_of(source: Source, named_as: str | os.PathLike[str] | Survey | None) -> Survey:
    """Return the survey that is named, or that the table's columns tell.

    Raises
    ------
    SurveyError
        For a name that is not known, or where no preset fits, or several do.
    CatalogueError
        For a table that cannot be read.
    """
    return recognise(source) if named_as is None else preset(named_as)


def recognise(source: Source) -> Survey:
    """Return the one preset of whose columns a table has what all cuts need, and most values."""
    with named(source):
        tables = _by_layout(source)
        lacks = {
            name: _lacking(tables[survey.layout], survey)
            for name, survey in SURVEYS.items()
            if survey.layout in tables
        }
        fitting = [name for name, lost in lacks.items() if lost == ()]
        if len(fitting) == 1:
            return SURVEYS[fitting[0]]
        remedy = "name the survey: a preset (bayestrans surveys), or a file that describes yours"
        if fitting:
            raise SurveyError(f"the table could be of {' and '.join(fitting)}; {remedy}")
        near = {name: lost for name, lost in lacks.items() if lost}
        if not near:
            raise SurveyError(f"the table has the columns of no survey with a preset; {remedy}")
        nearest = min(near, key=lambda name: len(near[name]))
        raise SurveyError(
            f"the table looks most like {nearest}, but lacks {', '.join(near[nearest])}; {remedy}"
        )


def _by_layout(source: Source) -> dict[Layout, Table]:
    """Return the first rows of a table as each layout reads it, where it can be read so."""
    if isinstance(source, Table | pd.DataFrame):
        return {survey.layout: read_table(source) for survey in SURVEYS.values()}
    tables, faults = {}, []
    for layout in dict.fromkeys(survey.layout for survey in SURVEYS.values()):
        try:
            common = layout == COMMON
            tables[layout] = next(read_batches(source, 1)) if common else read_table(source, layout)
        except CatalogueError as error:
            faults.append(error)
    if not tables:
        raise faults[0]
    return tables


def _lacking(table: Table, survey: Survey) -> tuple[str, ...] | None:
    """Return what a table lacks of a preset; nothing for one that has hardly a quantity of it."""
    columns = [item.column for item in survey.quantities]
    there = [name for name in columns if matches(table, name)]
    if len(there) < QUANTITIES_NEEDED * len(columns):
        return None
    needed = dict.fromkeys(name for cut in survey.cuts for name in cut.missing(table))
    return tuple(needed)
