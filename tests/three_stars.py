"""Three common stars, their spec, and what a table is refused with."""

from __future__ import annotations

import pytest
from astropy.table import Table

from bayestrans.catalogue import CatalogueError
from bayestrans.pairs import PairsError
from bayestrans.spec import Input, Output, Spec

#: Neither survives a float64: the neighbours of 2**53 and of a Gaia identifier.
BIG = [2**53 + 1, 4667213730748377729, 999999]
SPEC = Spec(
    "A to B",
    (
        Input("teff", "teff_a", "e_teff_a", unit="K"),
        Input("rv", "rv_a", "e_rv_a", unit="km/s", extrinsic=True),
    ),
    (
        Output("teff", "teff_b", unit="K", corrects="teff"),
        Output("rv", "rv_b", "e_rv_b", unit="km/s", corrects="rv", extrinsic=True),
    ),
    id="sobject_id",
)


def three_stars() -> Table:
    """Return three common stars that fit SPEC."""
    return Table(
        {
            "sobject_id": BIG,
            "teff_a": [4500.0, 5000.0, 5500.0],
            "e_teff_a": [90.0, 80.0, 70.0],
            "rv_a": [-10.0, 0.5, 250.0],
            "e_rv_a": [0.1, 0.2, 0.3],
            "teff_b": [4510.0, 5020.0, 5530.0],
            "rv_b": [-10.5, 0.4, 251.0],
            "e_rv_b": [0.05, 0.06, 0.07],
        }
    )


def one(column: str, error: str | None = None, **keys) -> Spec:
    """Return a spec with this one input and the output ``y``."""
    return Spec("one", (Input("x", column, error, **keys),), (Output("y", "y"),))


def refusal(call, *arguments, **keywords) -> str:
    with pytest.raises((CatalogueError, PairsError)) as caught:
        call(*arguments, **keywords)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 330
    return message
