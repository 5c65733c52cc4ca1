"""Bayesian deep ensembles of scikit-learn's contributed project (Sommer et al. 2025)."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from _cost import SPENT, add, predicting
from _ours import PROBES, effective_draws
from _rivals import DRAWS, Floats, Prediction
from scipy import special, stats

import bayestrans as bt
from bayestrans.scale import Scaler

#: The Python of an environment that has the library, which fixes an old version of one of ours.
PYTHON = os.environ.get("BAYESTRANS_BDE_PYTHON", "")

FIT = Path(__file__).with_name("_bde_fit.py")


def bde(train: bt.Pairs, test: bt.Pairs, seed: int) -> Prediction:
    """Networks with a Gaussian for one output each, sampled from eight warm starts."""
    scaler, rng = Scaler.learn(train), np.random.default_rng(seed)
    delta, held = scaler.delta(train.x, train.y), scaler.delta(test.x, test.y)
    mean, log_density = np.empty(test.y.shape), np.zeros(len(test))
    draws = np.empty((DRAWS, *test.y.shape))
    for block in train.spec.blocks:
        z, at = (scaler.features(p.x, p.x_err, block.inputs) for p in (train, test))
        for k in block.outputs:
            seen = train.seen[:, k]
            location, scale = _fit(z[seen], delta[seen, k], at, seed)
            each = stats.norm(location, scale).logpdf(held[:, k])
            density = special.logsumexp(each, axis=0) - np.log(len(location))
            log_density += np.where(test.seen[:, k], density - np.log(scaler.delta_scale[k]), 0.0)
            with predicting():
                rows = rng.integers(len(location), size=DRAWS)
                noise = rng.standard_normal((DRAWS, len(test)))
                draws[..., k] = location[rows] + scale[rows] * noise
            mean[:, k] = location.mean(axis=0)
    sample, centre = scaler.restore(test.x, draws), scaler.restore(test.x, mean)
    return Prediction(sample, centre, log_density=log_density)


def _fit(z: Floats, target: Floats, at: Floats, seed: int) -> tuple[Floats, Floats]:
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(source, z=z, target=target, at=at, seed=seed)
        # Its progress bars go nowhere; what it says of an error is shown.
        done = subprocess.run([PYTHON, FIT, source, result], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"sklearn-contrib-bde failed:\n{done.stderr[-2000:]}")
        found = np.load(result)
        location, scale = (found[name].astype(float) for name in ("location", "scale"))
        _note(location, int(found["chains"]), found["spent"])
        return location, scale


def _note(location: Floats, chains: int, spent: Floats) -> None:
    """Add what the prediction took in its own process, and the effective draws."""
    wall, cpu, fit_peak, peak = map(float, spent)
    add(predict_wall=wall, predict_cpu=cpu)
    for name, value in (("fit_MiB", fit_peak), ("predict_MiB", peak)):
        SPENT[name] = max(SPENT.get(name, 0.0), value)
    whole = len(location) % max(chains, 1) == 0 and chains > 1
    some = location[:, :PROBES]
    found = effective_draws(some.reshape(chains, -1, some.shape[1])) if whole else np.nan
    # Outputs have chains of their own: those with the fewest say what the time was worth.
    # What is not known of one is not known.
    SPENT["effective"] = float(np.minimum(SPENT.get("effective", np.inf), found))
