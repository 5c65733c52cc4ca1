"""The package's own samplers, at fixed lengths so that a run does not depend on the clock."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
from _cost import LATER, predicting, uncounted
from _rivals import DRAWS, Prediction
from arviz_stats.base import array_stats

import bayestrans as bt
from bayestrans.measured import compare

METHODS = {
    "MCLMC": bt.MCLMC(steps=4000),
    "MCLMC, 1,000 steps": bt.MCLMC(steps=1000),
    "MCLMC, 2 x 500 steps": bt.MCLMC(chains=2, steps=500, warm_steps=600),
    "NUTS": bt.NUTS(),
    "SVI": bt.SVI(),
    "Ensemble": bt.Ensemble(),
}

#: Of which also what they say without the held-out stars' errors of B, which no rival is told,
#: and what they said before their calibration.
MORE = ("MCLMC",)

#: Held-out stars at which effective draws are counted.
PROBES = 100


def bayestrans(train: bt.Pairs, test: bt.Pairs, seed: int, *, method: str) -> dict[str, Prediction]:
    """Fit with the package's defaults but for the length of the chains."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bt.SamplingWarning)
        posterior = bt.fit(train, method=METHODS[method], seed=seed, progress=False)
    with predicting():
        found = {"": predicted(posterior, test)}
    LATER.append(lambda: {"effective": effective(posterior, test)})
    if method in MORE:
        with uncounted():
            untold = dataclasses.replace(test, y_err=np.full_like(test.y_err, np.nan))
            found[", errors of B not told"] = predicted(posterior, untold)
            found[", not calibrated"] = predicted(posterior.uncalibrated, test)
    return found


def predicted(posterior: bt.Posterior, test: bt.Pairs) -> Prediction:
    """Return what a fit says survey B would measure."""
    found = compare(posterior, test)
    rounds = -(-DRAWS // posterior.n_draws)
    draws = [posterior.predict(test, kind="measured", seed=r) for r in range(rounds)]
    mean = posterior.scaler.restore(posterior.gaps.filled(test).x, found.mean)
    scale = np.where(test.seen, np.log(posterior.scaler.delta_scale), 0.0).sum(axis=1)
    return Prediction(np.concatenate(draws), mean, log_density=found.log_density - scale)


def effective(posterior: bt.Posterior, test: bt.Pairs) -> float:
    """Return the median bulk effective sample size of predictions; NaN without chains."""
    lead = next(iter(posterior.blocks[0].draws.values())).shape[:2]
    if lead[0] < 2:
        return float("nan")
    few = test.take(np.arange(min(PROBES, len(test))))
    # The sampler's draws: those that doubt, in the calibration, are no part of any chain.
    return effective_draws(posterior.uncalibrated.predict(few, kind="mean").reshape(*lead, -1))


def effective_draws(values: np.ndarray) -> float:
    """Return the median bulk effective sample size of values (chain, draw, ...)."""
    return float(np.median(array_stats.ess(values, method="bulk", chain_axis=0, draw_axis=1)))
