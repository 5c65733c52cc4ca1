"""A model of two surveys whose law is known, what it would translate, and what its page says."""

from __future__ import annotations

import dataclasses
import html
import math
import re

import numpy as np
from astropy.table import Table

import bayestrans as bt
from bayestrans.baseline import Baseline
from bayestrans.calibration import Calibration
from bayestrans.gaps import Gaps
from bayestrans.neighbours import Neighbours
from bayestrans.posterior import BlockDraws
from bayestrans.scale import Scaler

SPEC = bt.Spec(
    "one survey to another",
    (bt.Input("teff", "teff_a", unit="K"), bt.Input("logg", "logg_a")),
    (
        bt.Output("teff", "teff_b", unit="K", corrects="teff"),
        bt.Output("logg", "logg_b", corrects="logg"),
    ),
    id="star",
)
SCATTER = np.array([60.0, 0.1])
#: Coverage of regions held out, as `fit` records it.
SHARES = {"nll": 1.2, "0.50": 0.5, "0.68": 0.68, "0.90": 0.9, "0.95": 0.95}
REGIONS = {
    name: {"n": n, "before": SHARES, "after": SHARES}
    for name, n in (("random", 400), ("dense", 300), ("sparse", 200), ("outside", 0))
}


def stars(spec: bt.Spec, count: int, seed: int, spread: float = 1.0) -> bt.Pairs:
    """Return stars that survey B measures with a Gaussian scatter about A's values."""
    rng = np.random.default_rng(seed)
    x = np.array([5000.0, 3.0]) + spread * np.array([400.0, 0.6]) * rng.normal(size=(count, 2))
    y = x + SCATTER * rng.normal(size=x.shape)
    nothing = np.full(x.shape, np.nan)
    return bt.Pairs(spec, x, nothing, y, nothing, np.arange(count) + 1000 * seed)


def model(
    spec: bt.Spec = SPEC, *, log_scatter: float = 0.0, apart: float = 0.0, **record: object
) -> bt.Posterior:
    """Return the law of `stars` as a posterior, with other errors or chains apart if asked.

    Learned from few training stars, so that it is better than any regression on them.
    """
    train, rng, lead = stars(spec, 60, seed=1), np.random.default_rng(2), (4, 100)
    scaler = dataclasses.replace(
        Scaler.learn(train), delta_centre=np.zeros(2), delta_scale=SCATTER.copy()
    )
    shift = apart * np.arange(4)[:, None, None]
    draws = {
        "intercept": rng.normal(0, 0.02, (*lead, 2)) + shift,
        "slope": rng.normal(0, 0.02, (*lead, 2, 2)),
        "log_scatter": rng.normal(log_scatter, 0.02, (*lead, 2)),
    }
    draws = {name: values.astype(np.float32) for name, values in draws.items()}
    return bt.Posterior(
        spec,
        bt.Network(()),
        bt.Noise(dof=math.inf, correlated=False, error_factor="one"),
        scaler,
        (BlockDraws(spec.blocks[0], draws, {}, {"step_size": 0.3, "length": 9.0}),),
        Gaps.learn(scaler, train).density,
        Neighbours.learn(train.x, (0, 1)),
        Calibration.identity(2),
        Baseline.learn(train, scaler),
        train.x[::3],
        train.x_err[::3],
        train.y[::3],
        train.y_err[::3],
        {"stars": 60, "utc": "2026-01-02T03:04:05+00:00", "held_out_regions": REGIONS, **record},
    )


def translated(posterior: bt.Posterior, pairs: bt.Pairs) -> Table:
    """Return what `translate` would of the law of `stars`."""
    found = bt.support(posterior, pairs)
    table = Table({"star": pairs.ids, "support": found.score, "support_class": found.classes})
    for k, output in enumerate(posterior.spec.outputs):
        table[f"{output.name}_mean"] = pairs.x[:, k]
        half = SCATTER[k] * (1 + 0.1 * found.score)
        for name, sign in (("p16", -1), ("p84", 1)):
            table[f"{output.name}_{name}"] = pairs.x[:, k] + sign * half
            table[f"{output.name}_{name}"].unit = output.unit or None
    table["flags"] = np.where(found.classes == "outside", 4, 0).astype(np.int32)
    return table


def verdicts(text: str) -> list[tuple[str, str]]:
    """Return grade and words of each verdict of a page, in order."""
    found = re.findall(r'<li class="(\w+)"><strong>.*?</strong> (.*?) <a', text)
    return [(grade, html.unescape(said)) for grade, said in found]
