"""Three surveys of known truth, and a base, as tables and as a plan."""

from __future__ import annotations

import linear
import numpy as np
from astropy.table import Table

import bayestrans as bt

OWN = 0.2  # the base's own scatter, in units of the population's spread
STARS = 3000
BASE_COLUMNS = tuple(
    bt.Input(n, f"{n}_b0", f"e_{n}_b0", u) for n, u in zip(linear.NAMES, linear.UNITS, strict=True)
)


def tables(stars: linear.Sky) -> dict[str, Table]:
    """Return the tables of the surveys: each has its own part of the stars."""
    rng = np.random.default_rng(8)
    parts = {"a": np.arange(1500), "b": np.arange(500, 2500), "c": np.arange(2600)}
    parts["base"] = np.arange(1000, 1100).tolist() + np.arange(2900, 3000).tolist()
    found = {}
    for name, rows in parts.items():
        table = Table(linear.columns(stars, name))[rng.permutation(rows)]
        for quantity in table.colnames:
            if "teff" in quantity:
                table[quantity].unit = "K"
        found[name] = table
    return found


def plan_of(given: dict[str, Table], models: dict[str, bt.Posterior], **changed) -> bt.Plan:
    members = tuple(
        bt.Member(name, table, "source_id", models[name])
        if name in models
        else bt.Member(name, table, "source_id", columns=BASE_COLUMNS)
        for name, table in given.items()
    )
    return bt.Plan(members, **{"id": "source_id", **changed})


def small(stars: linear.Sky, rows: list[int]) -> dict[str, Table]:
    return {name: Table(linear.columns(stars, name))[rows] for name in ("a", "b", "base")}
