"""What may become of a predictive away from the stars: ways to stretch it and to move its mean."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from bayestrans import calibration, held_out
from bayestrans.calibrate import LEVEL_PRIOR, Judged
from bayestrans.calibration import ONSET
from bayestrans.held_out import GROWTHS, HeldOut, compare
from bayestrans.regions import Region

#: Level, slope, growth and fade: where the search begins, but for the growth, and its bounds.
START = np.array([0.0, 0.0, 0.1, 0.1])
LOW, HIGH = np.array([-1.0, -1.0, 0.0, 0.0]), np.array([1.0, 1.0, 100.0, 100.0])


class Mechanism(NamedTuple):
    """How it grows, and whether the mean fades to the line.

    Attributes
    ----------
    among : int
        One draw in so many grows.
    fades : bool
    """

    among: int
    fades: bool = False


def moved(
    mechanism: Mechanism, parameters: jax.Array, stars: HeldOut, linear: jax.Array
) -> HeldOut:
    """Return the same stars under a predictive that is changed."""
    stretch, doubt = calibration.stretch_and_doubt(parameters[:3], stars.score, jnp)
    if mechanism.among == 1:
        stretch, doubt = stretch * doubt, jnp.ones_like(doubt)
    location, factor = calibration.stretched(stars.location, stretch, doubt)
    share = 1.0 / (1.0 + parameters[3] * jnp.maximum(stars.score - ONSET, 0.0) ** 2)
    location = location + (1.0 - share) * (linear - stars.location.mean(axis=0))
    return stars._replace(location=location, scale=factor * stars.scale)


@partial(jax.jit, static_argnums=0)
@partial(jax.value_and_grad, argnums=1)
def _objective(
    mechanism: Mechanism,
    parameters: jax.Array,
    stars: HeldOut,
    linear: jax.Array,
    weight: jax.Array,
) -> jax.Array:
    density = held_out._log_density(jnp.zeros(3), moved(mechanism, parameters, stars, linear))
    penalty = 0.5 * jnp.sum((parameters[:2] / LEVEL_PRIOR) ** 2) + parameters[2:].sum()
    return penalty - (weight * density).sum()


def _learn(
    mechanism: Mechanism, stars: HeldOut, linear: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    count = max(1.0, float(weight.sum()))
    high = HIGH * [1.0, 1.0, 1.0, mechanism.fades]

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        with jax.enable_x64(True):
            value, gradient = _objective(mechanism, parameters, stars, linear, weight)
            return float(value) / count, np.asarray(gradient) / count

    options = {"ftol": 1e-9, "gtol": 1e-6}
    bounds = optimize.Bounds(LOW, high)
    starts = [np.minimum([*START[:2], growth, START[3]], high) for growth in GROWTHS]
    start = min(starts, key=lambda values: objective(values)[0])
    return optimize.minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    ).x


def judged(
    mechanism: Mechanism, found: list[HeldOut], linear: list[np.ndarray], parts: list[Region]
) -> Judged:
    """Return one output's stars, of each region judged by what was learned without its stars."""
    every = HeldOut(
        *(np.concatenate(a, axis=-1, dtype=np.float64) for a in zip(*found, strict=True))
    )
    line = np.concatenate(linear).astype(np.float64)
    row = every.row.astype(int)
    of_star = np.repeat(np.arange(len(parts)), [len(stars.delta) for stars in found])
    before = compare(np.zeros(3), every)
    after = [np.empty(len(of_star)) for _ in before]
    for number, part in enumerate(parts):
        here = of_star == number
        # Regions overlap: what another says of the same stars must not judge them.
        learned = _learn(mechanism, every, line, np.where(part.rows[row], 0.0, 1.0))
        with jax.enable_x64(True):
            changed = moved(mechanism, learned, every, line)
        for values, new in zip(after, compare(np.zeros(3), changed), strict=True):
            values[here] = new[here]
    random = np.array([part.kind == "random" for part in parts])[of_star]
    density, pit = ({"before": b, "after": a} for b, a in zip(before, after, strict=True))
    return Judged(every.score, random, density, pit)
