"""Stars of a small spec, and fits of them that take a moment."""

from __future__ import annotations

import numpy as np

import bayestrans as bt
from bayestrans.posterior import Posterior

NAN = float("nan")
SPEC = bt.Spec(
    "A to B",
    (
        bt.Input("teff", "teff_a", "e_teff_a", "K"),
        bt.Input("fe_h", "fe_h_a", "e_fe_h_a"),
        bt.Input("rv", "rv_a", "e_rv_a", "km/s", extrinsic=True),
    ),
    (
        bt.Output("rv", "rv_b", "e_rv_b", "km/s", "rv", extrinsic=True),
        bt.Output("teff", "teff_b", "e_teff_b", "K", "teff"),
        bt.Output("mass", "mass_b", "e_mass_b", "Msun"),
    ),
)
LINEAR, SMALL = bt.Network(()), bt.Network((4,))


def stars(count: int, seed: int = 0, spec: bt.Spec = SPEC) -> bt.Pairs:
    """Return common stars with varied errors."""
    rng = np.random.default_rng(seed)
    x = rng.normal([5000, -0.3, 100], [400, 0.3, 40], (count, 3))
    x_err = rng.lognormal([4, -3, -1], 0.4, (count, 3))
    y_err = rng.lognormal([-1, 4, -2], 0.4, (count, 3))
    y = x[:, [2, 0, 1]] + rng.normal(size=(count, 3)) * [0.5, 60, 0.2]
    y[:, 2] += 1.5
    return bt.Pairs(spec, x, x_err, y, y_err, np.arange(count))


TEFF = bt.Spec("Teff", SPEC.inputs[:1], SPEC.outputs[1:2])


def temperatures(count: int = 200) -> bt.Pairs:
    s = stars(count)
    return bt.Pairs(TEFF, s.x[:, :1], s.x_err[:, :1], s.y[:, 1:2], s.y_err[:, 1:2], s.ids)


def tiny_fit(method, network=LINEAR, seed: int = 0) -> Posterior:
    return bt.fit(
        temperatures(), method=method, network=network, seed=seed, calibrate=False, progress=False
    )
