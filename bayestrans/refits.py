"""Cheap fits that do not see some of the training stars, and what they say of those."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .gaps import Gaps
from .held_out import HeldOut
from .model import Data, Noise, Shape
from .neighbours import Neighbours
from .network import Network
from .pairs import Pairs
from .predictive import Mixture, mixture
from .regions import Region
from .sample import Method
from .spec import Block
from .target import Target, build_target, of_stars, scaled_data

Floats = NDArray[np.float64]

#: So many of a region's stars are enough to judge by.
TEST_STARS = 200

#: Share of the stars that a refit to some of them takes from those nearest to the region:
#: what is said of a region rests on the stars about it, and all of them are there in the fit.
NEAR = 0.6


@dataclass(frozen=True)
class Refits:
    """One network, to be fitted without some of its stars.

    Attributes
    ----------
    pairs : Pairs
        The training stars that have an output of the block.
    points : (N, D) array
        Their whitened inputs.
    data : Data
        The same stars in the model's scaled numbers.
    size : int
        The number of stars that a refit sees.
    gaps : Gaps
        Learned from all stars.
    block, network, noise
        As in the fit.
    method : Method
        The cheap sampler.
    target : Target
        Of so many stars; compiled once, whatever is held out.
    """

    pairs: Pairs
    points: Floats
    data: Data
    size: int
    gaps: Gaps
    block: Block
    network: Network
    noise: Noise
    method: Method
    target: Target

    @classmethod
    def of(
        cls,
        pairs: Pairs,
        size: int,
        gaps: Gaps,
        block: Block,
        network: Network,
        noise: Noise,
        method: Method,
    ) -> Refits:
        """Prepare the target."""
        size = min(size, len(pairs))
        points = Neighbours.learn(gaps.filled(pairs).x, pairs.spec.blocks[0].inputs).points
        data = scaled_data(pairs, gaps.scaler, block, noise, gaps)
        some = of_stars(data, about(np.zeros(len(pairs), bool), data, points, size, near=0.0))
        # Whether the chains of a refit agree nobody asks: it has no probes.
        nowhere = np.empty(0, dtype=np.int64)
        target = build_target(some, network, noise, nowhere, gaps.kinds(block))
        rest = (gaps, block, network, noise, method, target)
        return cls(pairs, points, data, size, *rest)

    def without(self, part: Region, key: jax.Array, most: int = TEST_STARS) -> list[HeldOut]:
        """Return a region's stars under a refit without them, for each output of the block.

        The support is that with respect to all other stars, as it will
        be for a star that the whole fit has not seen. Of more than ``most`` stars
        that many are drawn. Stars with gaps are left out unless they are most.
        """
        rest = self.gaps.filled(self.pairs.take(np.flatnonzero(~part.rows)))
        rows = np.flatnonzero(part.rows & self._judged)
        if not len(rows):
            rows = np.flatnonzero(part.rows)
        if len(rows) > most:
            rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
        test = self.pairs.take(rows)
        predictive = self._predict(part, test, key, most)
        scaler, test = self.gaps.scaler, self.gaps.filled(test)
        score = Neighbours.learn(rest.x, self.pairs.spec.blocks[0].inputs).score(test.x)
        delta, noise = scaler.delta(test.x, test.y), scaler.noise(test.y_err)
        return [
            _held_out(predictive, place, delta[:, k], noise[:, k], score, rows)
            for place, k in enumerate(self.block.outputs)
        ]

    @property
    def _judged(self) -> NDArray[np.bool_]:
        # What is filled in lies among the other stars, so that those with gaps have a low support
        # and wide predictives for another reason. Only where they are most is all learned of them.
        whole = np.isfinite(self.pairs.x[:, list(self.block.inputs)]).all(axis=1)
        return whole if whole.mean() >= 0.5 else np.ones(len(whole), dtype=bool)

    def _predict(self, part: Region, test: Pairs, key: jax.Array, most: int) -> Mixture:
        near = 0.0 if part.kind == "random" else NEAR  # a random part is everywhere
        chosen = about(part.rows, self.data, self.points, self.size, near=near)
        seen = of_stars(self.data, chosen)
        # A star without outputs adds nothing, and the compiled program stays the same.
        hidden = part.rows[np.asarray(seen.star)]
        delta = jnp.asarray(np.where(hidden, np.nan, seen.delta), seen.delta.dtype)
        target = self.target.with_stars(seen._replace(delta=delta))
        run = self.method.run(target, key, label=f"without the {part.name}", progress=False)
        draws = target.draws(run.positions.reshape(-1, target.dim))
        shape = Shape.of(
            self.network, self.noise, len(self.block.outputs), self.gaps.kinds(self.block)
        )
        if self.gaps.missing(test.x, test.x_err).any():
            return self.gaps.predictive(draws, self.block, test.x, test.x_err, seen.scatter, shape)
        kind = self.gaps.kind(test.x, test.x_err)
        settled = self.gaps.by_kind(test.x, test.x_err)
        z = self.gaps.features(*settled, self.block.inputs, kind)
        # As many as there can be, so that one program serves: the last star again and again.
        rows = np.minimum(np.arange(most), len(z) - 1)
        return mixture(draws, jnp.asarray(z[rows].T), seen.scatter, shape)


def about(
    held: NDArray[np.bool_], data: Data, points: Floats, size: int, *, near: float
) -> NDArray[np.bool_]:
    """Say which stars (N,) a refit without the held-out ones sees, a share of them ``near`` by.

    As many of those with gaps whatever is held out, so that one program serves.
    """
    if size >= len(points):
        return np.ones(len(points), dtype=bool)
    whole = np.ones(len(points), dtype=bool)
    whole[np.asarray(data.star)[len(data.star) - data.copies.size :]] = False
    away = np.zeros(len(points))
    if near > 0.0:
        distance, _ = cKDTree(points[held]).query(points)
        away = np.where(held, np.inf, distance)
    lot = np.random.default_rng(0).random(len(points))
    lot[held] = np.inf  # only where no others are left
    chosen = np.zeros(len(points), dtype=bool)
    gaps = round(size * float(np.mean(~whole)))
    for group, count in ((whole, size - gaps), (~whole, gaps)):
        members = np.flatnonzero(group)
        order = np.argsort(away[members], kind="stable")
        chosen[members[order][: round(near * count)]] = True
        rest = members[~chosen[members]]
        rest = rest[np.argsort(lot[rest], kind="stable")]
        chosen[rest[: count - int(chosen[members].sum())]] = True
    return chosen


def _held_out(predictive: Mixture, place: int, delta: NDArray, *rest: NDArray) -> HeldOut:
    """Return one output's stars, those that have it; ``rest`` in the order of `HeldOut`."""
    here = np.isfinite(delta)
    noise, *others = (values[here] for values in rest)
    location, scale = (
        np.asarray(part)[:, place, : len(here)][:, here]
        for part in (predictive.location, predictive.scale)
    )
    err = np.asarray(predictive.error_factor[:, place, None]) * noise
    tails = (np.broadcast_to(np.asarray(a)[:, None], location.shape) for a in predictive.tails)
    arrays = (location, scale, err, *tails, delta[here], *others)
    return HeldOut(*(np.asarray(array, dtype=location.dtype) for array in arrays))
