"""Made-up stars of the surveys with presets, in files as they are released."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from bayestrans.surveys import Cut, Survey
from bayestrans.tables import CatalogueError, write_table

TYPICAL = {
    **{"teff": 4800.0, "logg": 2.5, "fe_h": -0.4, "m_h": -0.35},
    **{"mg_fe": 0.2, "alpha_fe": 0.15, "rv": 30.0},
}
#: Neighbours of 2**53, which a float64 would merge, and on from there.
FIRST_ID = 2**53 + 1


def passing(cut: Cut):
    """Return a value that passes a cut."""
    known = {"above": 1000.0, "below": 0.01, "bits clear": 0, "differs": "good", "blank or": ""}
    return known.get(cut.rule, "0" * 41 if cut.rule in ("starts with", "zero at") else cut.wanted)


def stars(item: Survey, count: int = 6) -> Table:
    """Return made-up stars as the survey's table has them, all of which pass every cut."""
    table = Table({item.id: FIRST_ID + np.arange(count)})
    if item.gaia:
        table[item.gaia.column] = FIRST_ID + np.arange(count)
    if item.sky:
        table[item.sky.ra] = 10.0 + np.arange(count)
        table[item.sky.dec] = -20.0 + np.arange(count)
        for name in filter(None, item.sky[3:]):
            table[name] = np.full(count, 5.0)
    for quantity in item.quantities:
        value = TYPICAL[quantity.name] * (1 + 0.01 * np.arange(count))
        table[quantity.column] = value
        if isinstance(quantity.error, tuple):
            for name, sign in zip(quantity.error, (-1, 1), strict=True):
                table[name] = value + sign * 0.05
        elif quantity.error:
            table[quantity.error] = np.full(count, 0.05)
    for cut in item.cuts:
        for name in cut.columns:
            if name not in table.colnames:
                table[name] = [passing(cut)] * count
    if item.snr and item.snr not in table.colnames:
        table[item.snr] = np.full(count, 100.0)
    return table


def write_as_released(item: Survey, table: Table, folder) -> str:
    """Write a table as the survey lays out its file."""
    if item.layout.hdus:
        path = folder / "t.fits"
        parts = [fits.PrimaryHDU()]
        for name in item.layout.hdus:
            columns = [c for c in table.colnames if c.startswith(f"{name}_")]
            part = Table({c.removeprefix(f"{name}_"): table[c] for c in columns})
            parts.append(fits.table_to_hdu(part))
            parts[-1].name = name
        fits.HDUList(parts).writeto(path)
    elif item.layout.separator != ",":
        path = folder / "t.csv"
        table.write(path, format="ascii.csv", delimiter=item.layout.separator)
    else:
        path = folder / ("t.csv" if item.layout.text else "t.fits")
        write_table(table, path)
    return str(path)


def refusal(call, *arguments, **keywords) -> str:
    with pytest.raises(CatalogueError) as caught:
        call(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)
