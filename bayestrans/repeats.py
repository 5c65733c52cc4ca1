"""Several rows of one star in a survey, and which of them to keep."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .clean import Cleaned
from .columns import find, matches
from .surveys import SurveyError
from .tables import plain

Rows = NDArray[np.intp]

#: What can be done with them.
REPEATS = ("best", "first", "refuse")


def one_row_each(
    one: Cleaned, rows: Rows, stars: NDArray[Any], repeats: str
) -> tuple[NDArray[np.intp], str]:
    """Choose one row of each star.

    Parameters
    ----------
    one : Cleaned
        Gives what the choice is made by.
    rows : (M,) array of int
        Rows of its table.
    stars : (M,) array
        The star of each.
    repeats : str
        One of `REPEATS`.

    Returns
    -------
    kept : array of int
        Positions in ``rows``, ascending.
    policy : str
        The choice in words.
    """
    _, star, count = np.unique(stars, return_inverse=True, return_counts=True)
    if repeats == "refuse" and (count > 1).any():
        again = int((count - 1).sum())
        example = stars[np.flatnonzero(count[star] > 1)[0]]
        raise SurveyError(
            f"{one.survey.title}: {again} rows repeat a star that {one.source} has already "
            f"(such as {example}); keep the best or the first row (repeats, --repeats best)"
        )
    quality, policy = (
        (np.zeros(len(rows)), "the first row") if repeats == "first" else _quality(one, rows)
    )
    order = np.lexsort((np.arange(len(rows)), -quality, star))
    leads = np.r_[True, star[order][1:] != star[order][:-1]] if len(order) else order.astype(bool)
    return np.sort(order[leads]), policy


def _quality(one: Cleaned, rows: Rows) -> tuple[NDArray[np.float64], str]:
    """Return what the best row has most of, and its name; missing is worst."""
    snr = one.survey.snr
    if snr is not None and matches(one.table, snr):
        good, policy = _plain_numbers(one.table, snr), f"the row of the highest {snr}"
    else:
        errors = [error for _, error in one.columns.values() if error is not None]
        if not errors:
            return np.zeros(len(rows)), "the first row (there is no S/N and no quoted error)"
        good, policy = -_plain_numbers(one.table, errors[0]), f"the row of the smallest {errors[0]}"
    return np.where(np.isfinite(good), good, -np.inf)[rows], policy


def _plain_numbers(table: Table, name: str) -> NDArray[np.float64]:
    """Return a column as numbers in its own unit, NaN where missing."""
    values, gap = plain(find(table, name))
    return np.where(gap, np.nan, values.astype(np.float64))
