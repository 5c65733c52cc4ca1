"""Made-up stars of two surveys, GALAH and APOGEE, and their match."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

import bayestrans as bt
from bayestrans.match import pair
from bayestrans.tables import CatalogueError

GALAH = ("teff", "logg", "fe_h", "Mg_fe", "rv_galah")
APOGEE = ("TEFF", "LOGG", "FE_H", "MG_FE", "VHELIO_AVG")
TYPICAL = (4800.0, 2.5, -0.4, 0.2, 30.0)


def galah(ids, seed=1) -> Table:
    """Return made-up stars of GALAH DR3 with these Gaia identifiers."""
    table = Table({"sobject_id": 1000 + np.arange(len(ids)), "dr3_source_id": ids})
    rng = np.random.default_rng(seed)
    for name, typical in zip(GALAH, TYPICAL, strict=True):
        table[name] = typical * (1 + 0.1 * rng.normal(size=len(ids)))
        table[f"e_{name}"] = 0.02 * typical * np.sign(typical)
    for name in ("flag_sp", "flag_fe_h", "flag_Mg_fe"):
        table[name] = 0
    table["snr_c3_iraf"] = 50.0 + np.arange(len(ids))
    return table


def apogee(ids, seed=2) -> Table:
    """Return made-up stars of APOGEE DR17 with these Gaia identifiers."""
    table = Table({"APOGEE_ID": [f"2M{i:05d}" for i in range(len(ids))]})
    table["GAIAEDR3_SOURCE_ID"] = ids
    rng = np.random.default_rng(seed)
    errors = ("TEFF_ERR", "LOGG_ERR", "FE_H_ERR", "MG_FE_ERR", "VERR")
    for name, error, typical in zip(APOGEE, errors, TYPICAL, strict=True):
        table[name] = typical * (1 + 0.1 * rng.normal(size=len(ids)))
        table[error] = 0.005 * typical * np.sign(typical)
    table["M_H"], table["M_H_ERR"] = table["FE_H"] + 0.02, 0.01
    for name in ("ASPCAPFLAG", "FE_H_FLAG", "MG_FE_FLAG", "EXTRATARG"):
        table[name] = 0
    table["SNR"] = 100.0 + np.arange(len(ids))
    return table


def both(a: Table, b: Table, **keywords) -> bt.Match:
    return pair(a, b, survey_a="galah-dr3", survey_b="apogee-dr17", **keywords)


def refusal(*arguments, **keywords) -> str:
    with pytest.raises(CatalogueError) as caught:
        both(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)
