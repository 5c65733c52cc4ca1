"""Cheap fits that do not see some of the training stars, and what they say of those."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .baseline import Baseline
from .calibration import HeldOut
from .gaps import Gaps
from .model import Noise, Shape
from .neighbours import Neighbours
from .network import Network
from .pairs import Pairs
from .predictive import Mixture, mixture
from .regions import Region
from .sample import Method
from .spec import Block
from .target import Target, build_target, scaled_data

#: So many of a region's stars are enough to judge by.
TEST_STARS = 200


@dataclass(frozen=True)
class Refits:
    """One network, to be fitted without some of its stars.

    Attributes
    ----------
    pairs : Pairs
        The training stars that have an output of the block.
    used : (M,) array of int
        The stars among them that a refit sees, unless they are held out.
    gaps : Gaps
        Learned from all stars.
    block, network, noise
        As in the fit.
    method : Method
        The cheap sampler.
    target : Target
        Of the stars used; compiled once, whatever is held out.
    constrain : callable
        Positions (S, dim) to draws.
    """

    pairs: Pairs
    used: NDArray[np.int64]
    gaps: Gaps
    block: Block
    network: Network
    noise: Noise
    method: Method
    target: Target
    constrain: Callable[[Any], Any]

    @classmethod
    def of(
        cls,
        pairs: Pairs,
        used: NDArray[np.int64],
        gaps: Gaps,
        block: Block,
        network: Network,
        noise: Noise,
        method: Method,
    ) -> Refits:
        """Prepare the target."""
        data = scaled_data(pairs.take(used), gaps.scaler, block, noise, gaps)
        rows = data.z.shape[1]
        probes = np.unique(np.linspace(0, rows - 1, min(50, rows)).astype(int))
        target = build_target(data, network, noise, probes)
        constrain = jax.jit(jax.vmap(target.constrain))
        return cls(pairs, used, gaps, block, network, noise, method, target, constrain)

    def without(self, part: Region, key: jax.Array) -> list[HeldOut]:
        """Return a region's stars under a refit without them, for each output of the block.

        Support and linear regression are those of all other stars, as they will
        be for a star that the whole fit has not seen.
        """
        rest = self.gaps.filled(self.pairs.take(np.flatnonzero(~part.rows)))
        rows = np.flatnonzero(part.rows)
        if len(rows) > TEST_STARS:
            rows = np.sort(np.random.default_rng(0).choice(rows, TEST_STARS, replace=False))
        test = self.pairs.take(rows)
        predictive = self._predict(part, test, key)
        scaler, test = self.gaps.scaler, self.gaps.filled(test)
        score = Neighbours.learn(rest.x, self.pairs.spec.blocks[0].inputs).score(test.x)
        linear = Baseline.learn(rest, scaler).linear_mean(test.x, scaler, self.block.inputs)
        delta, noise = scaler.delta(test.x, test.y), scaler.noise(test.y_err)
        return [
            _held_out(predictive, delta[:, k], noise[:, k], linear[:, k], score, place)
            for place, k in enumerate(self.block.outputs)
        ]

    def _predict(self, part: Region, test: Pairs, key: jax.Array) -> Mixture:
        # A star without outputs adds nothing, and the compiled program stays the same.
        seen = self.target.data
        hidden = jnp.asarray(part.rows[self.used])[seen.star]
        data = seen._replace(delta=jnp.where(hidden, jnp.nan, seen.delta))
        run = self.method.run(
            self.target._replace(data=data), key, label=f"without the {part.name}", progress=False
        )
        draws = self.constrain(run.positions.reshape(-1, self.target.dim))
        shape = Shape.of(self.network, self.noise, len(self.block.outputs))
        if self.gaps.missing(test.x, test.x_err).any():
            return self.gaps.predictive(draws, self.block, test.x, test.x_err, seen.scatter, shape)
        kind = self.gaps.kind(test.x, test.x_err)
        settled = self.gaps.by_kind(test.x, test.x_err)
        z = self.gaps.features(*settled, self.block.inputs, kind)
        return mixture(draws, jnp.asarray(z.T), seen.scatter, shape)


def _held_out(
    predictive: Mixture,
    delta: NDArray,
    noise: NDArray,
    linear: NDArray,
    score: NDArray,
    place: int,
) -> HeldOut:
    """Return one output's stars, those that have it."""
    here = np.isfinite(delta)
    location, scale = (
        np.asarray(part[:, place])[:, here] for part in (predictive.location, predictive.scale)
    )
    err = np.asarray(predictive.error_factor[:, place, None]) * noise[here]
    dof = np.broadcast_to(np.asarray(predictive.dof)[:, None], location.shape)
    arrays = (location, scale, err, dof, delta[here], linear[here], score[here])
    return HeldOut(*(np.asarray(array, dtype=location.dtype) for array in arrays))
