"""Where the variance of each star's answer comes from."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from . import student
from .posterior import CHUNK, BlockDraws, Posterior, groups
from .predictive import Mixture, mixture
from .sensitivity import Slopes

Floats = NDArray[np.float64]

#: Parts of the variance, in the order of `Budget.variance`.
PARTS = ("model", "gaps", "inputs", "intrinsic", "calibration")


class Stars(NamedTuple):
    """Stars of survey A, as given and with gaps at their conditional means.

    Attributes
    ----------
    x, x_err : (N, D) array
        In the units of the spec, NaN where missing.
    filled, filled_err : (N, D) array
    """

    x: Floats
    x_err: Floats
    filled: Floats
    filled_err: Floats

    @classmethod
    def of(cls, posterior: Posterior, x: Floats, x_err: Floats) -> Stars:
        """Return stars with their gaps filled."""
        return cls(x, x_err, *posterior.gaps.expected(x, x_err))

    def features(self, posterior: Posterior, block: BlockDraws) -> Floats:
        """Return what a network sees (N, F), gaps filled; NaN for a star without any input."""
        kind = posterior.gaps.kind(self.x, self.x_err)
        with np.errstate(invalid="ignore"):
            return posterior.gaps.features(self.filled, self.filled_err, block.block.inputs, kind)


def budget(
    posterior: Posterior, block: BlockDraws, stars: Stars, slopes: Slopes, draws: int
) -> Floats:
    """Split the variance of B's true parameters among `PARTS`.

    Parameters
    ----------
    posterior : Posterior
    block : BlockDraws
        The network whose outputs are asked for.
    stars : Stars
    slopes : Slopes
        Of the same network at the same stars.
    draws : int
        How many posterior draws the variance is of.

    Returns
    -------
    (N, K, 5) array
        In the squared units of the outputs; NaN for stars without any input. They sum to
        the variance of the calibrated predictive, of which ``model`` is the spread of the
        means over the draws, ``gaps`` what it grows by because inputs are missing,
        ``inputs`` what the quoted errors of survey A bring through the slope of the mean
        (at most all of the scatter, which already contains them), ``intrinsic`` the rest
        of the scatter, and ``calibration`` what the stretch adds (negative where it
        narrows).
    """
    outputs = list(block.block.outputs)
    unit = posterior.scaler.delta_scale[outputs] ** 2
    change = posterior.calibration.at(posterior.neighbours.score(stars.filled))
    brought = _from_inputs(posterior, block, stars, slopes, change.share[:, outputs]) / unit
    alone = _spread_without_gaps(posterior, block, stars, draws)
    result = np.full((len(stars.x), len(outputs), len(PARTS)), np.nan)
    models = posterior.uncalibrated, posterior
    both = (model.mixtures(block, stars.x, stars.x_err, draws) for model in models)
    for (rows, found), (_, calibrated) in zip(*both, strict=True):
        spread, scatter = _spread_and_scatter(found)
        model = np.fmin(spread, alone[rows])
        inputs = np.minimum(scatter, brought[rows])
        added = sum(_spread_and_scatter(calibrated)) - spread - scatter
        parts = (model, spread - model, inputs, scatter - inputs, added)
        result[rows] = np.stack(parts, axis=-1) * unit[:, None]
    return result


def _spread_and_scatter(found: Mixture) -> tuple[Floats, Floats]:
    """Return the variance of the means and the mean variance (N, K), in scaled units."""
    factor = np.asarray(student.variance(found.tails), dtype=np.float64)
    location, scale = (np.asarray(a, dtype=np.float64) for a in (found.location, found.scale))
    return location.var(axis=0).T, (factor[:, None, None] * scale**2).mean(axis=0).T


def _spread_without_gaps(
    posterior: Posterior, block: BlockDraws, stars: Stars, draws: int
) -> Floats:
    """Return the variance (N, K) of the means with gaps filled; NaN for stars without gaps."""
    z = stars.features(posterior, block)
    with np.errstate(invalid="ignore"):
        given = posterior.gaps.seen(stars.x, stars.x_err, block.block.inputs)
    gap = ~np.isfinite(given).all(axis=1) & np.isfinite(z).all(axis=1)
    result = np.full((len(z), len(block.block.outputs)), np.nan)
    shape = posterior.shape(block.block)
    flat, scatter = posterior.flat_draws(block, draws), posterior.scatter(block.block)
    for rows in groups(np.flatnonzero(gap), CHUNK):
        found = mixture(flat, jnp.asarray(z[rows].T), scatter, shape)
        result[rows] = _spread_and_scatter(found)[0]
    return result


def _from_inputs(
    posterior: Posterior, block: BlockDraws, stars: Stars, slopes: Slopes, share: Floats
) -> Floats:
    """Return the variance (N, K) that quoted errors bring to first order, in the outputs' units."""
    inputs, outputs = list(block.block.inputs), list(block.block.outputs)
    scaler = posterior.scaler
    full, correction = (part[: len(inputs)].transpose(2, 1, 0) for part in slopes.star_mean)
    # Far beyond what was tested the mean goes over to that of linear regression.
    steps = scaler.x_centre + np.diag(scaler.x_scale)[inputs]
    asked = (scaler, block.block.inputs)
    line = posterior.baseline.linear_mean(steps, *asked)
    line = (line - posterior.baseline.linear_mean(scaler.x_centre[None], *asked)).T
    line = line[outputs] * scaler.delta_scale[outputs, None]
    slope = full + (1.0 - share)[:, :, None] * (line - correction)
    measured = np.isfinite(stars.x) & np.isfinite(stars.filled_err)
    error = np.where(measured, stars.filled_err, 0.0)[:, inputs] / scaler.x_scale[inputs]
    return np.square(slope * error[:, None]).sum(axis=2)
