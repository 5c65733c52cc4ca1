"""How far a star lies from the training stars, in the whitened input space."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .bundles import BUNDLE, bundled, unbundled
from .programs import compiled

Floats = NDArray[np.float64]

#: Training stars that a reach must hold.
NEIGHBOURS = 20

#: Places that stand for the training stars, each for those nearest to it, and how many
#: of them a reach must hold at the least: fewer would show where they happen to lie.
PLACES, LEAST_PLACES = 256, 3.0

#: Rounds that move the places to the means of their stars.
ROUNDS = 8

#: Stars scored at once, whose distances to the places stay in the cache, and in one call
#: where they are fewer than a bundle.
GROUP, FEW = 128, 1024

#: The search for a reach: widths of the kernel are tried from twice as dense as the usual
#: one, each twice as wide as the last, then Newton steps follow.
WIDTHS, NEWTON_STEPS = 5, 2

#: A star at a training star's very place, in units of the spread of those, is that star;
#: rounded inputs make a few others fall together.
SAME_PLACE, SAME_SHARE = 1e-8, 0.01

#: Stars at one place, on average, from which the inputs are rounded so coarsely that the
#: score would be that of the rounding.
ROUNDED = 5.0

#: Classes of support in the order of growing score.
CLASSES = ("dense", "sparse", "outside")


class _Kernel(NamedTuple):
    """Places (M, D) with the number of stars (M,) that each stands for, and the search.

    ``held`` is the number of stars that a reach holds, ``narrow`` the inverse square of
    the narrowest width tried.
    """

    places: jax.Array
    weights: jax.Array
    held: float
    narrow: float


@dataclass(frozen=True)
class Neighbours:
    r"""The training stars' places, and distances to them.

    The space is whitened with the covariance of the training inputs, so that correlated
    inputs count once. The width of a star :math:`z` is that :math:`h` for which the
    effective number of training stars around it,
    :math:`\sum_n \exp(-|z - z_n|^2 / 2 h^2)`, is twenty (of many training stars more:
    see `held`). Its reach is the width and, in quadrature, the distance to the mean place
    of those stars: beyond an edge the nearest may be as close as anywhere, but on one
    side. The score is the reach over its median among the training stars: 1 at the usual
    spacing, larger where stars are rarer or lie on one side only.
    More than `PLACES` training stars are taken together in that many places. Where inputs are
    rounded so coarsely that many stars share a place, stars lie anywhere within the steps.

    Attributes
    ----------
    points : (N, D) array
        Whitened training inputs.
    centre : (D,) array
    whiten : (D, D) array
        ``(x - centre) @ whiten`` is white.
    places : (M, D) array
        What stands for the points.
    weights : (M,) array
        The number of points that each place stands for.
    spacing : float
        Median reach of the training stars.
    thresholds : (2,) array
        Scores at which ``sparse`` and ``outside`` begin.
    inputs : (D,) array of int
        The inputs that span the space.
    """

    points: Floats
    centre: Floats
    whiten: Floats
    places: Floats
    weights: Floats
    spacing: float
    thresholds: Floats
    inputs: NDArray[np.int64]

    @classmethod
    def learn(
        cls, x: Floats, inputs: tuple[int, ...], thresholds: tuple[float, float] = (1.5, 2.5)
    ) -> Neighbours:
        """Learn the space from training inputs ``x`` (N, D), of which ``inputs`` span it.

        The default thresholds are where tails of a real pair, held out from
        training, began to be covered less than they should (``docs/design.md``).
        """
        chosen = x[:, list(inputs)]
        centre = chosen.mean(axis=0)
        spread = chosen.std(axis=0)
        correlation = np.corrcoef(chosen, rowvar=False).reshape(len(inputs), -1)
        values, vectors = np.linalg.eigh(correlation)
        # A direction without spread would blow tiny differences up without bound.
        whiten = vectors / np.sqrt(np.maximum(values, 1e-6)) / spread[:, None]
        points = (chosen - centre) @ whiten
        spread_out = (_within_steps(chosen) - centre) @ whiten
        places, weights = _places(spread_out)
        rest = (np.array(thresholds), np.array(inputs))
        rough = cls(points, centre, whiten, places, weights, _rough_spacing(spread_out), *rest)
        # A training star is none of its own neighbours.
        spacing = float(np.median(rough._reach(spread_out, rough.held + 1.0)))
        return cls(points, centre, whiten, places, weights, spacing, *rest)

    @property
    def held(self) -> float:
        """The effective number of training stars within a reach."""
        few = LEAST_PLACES * len(self.points) / PLACES
        return min(max(NEIGHBOURS, few), len(self.points) / 2)

    def score(self, x: Floats) -> Floats:
        """Return the support score (N,) of inputs ``x`` (N, D); NaN where one is missing."""
        # Column by column: BLAS rounds a row differently in other company.
        away = [x[:, j] - c for j, c in zip(self.inputs, self.centre, strict=True)]
        place = sum(a[:, None] * w for a, w in zip(away, self.whiten, strict=True))
        known = np.isfinite(place).all(axis=1)
        score = np.full(len(x), np.nan)
        score[known] = self._reach(place[known], self.held) / self.spacing
        return score

    def own_score(self) -> Floats:
        """Return the support score (N,) of each training star among the others."""
        # A training star is none of its own neighbours.
        return self._reach(self.points, self.held + 1.0) / self.spacing

    def shared(self, x: Floats) -> int:
        """Return how many stars with inputs ``x`` (N, D) are training stars; none if just a few.

        A few may have the very inputs of a training star because inputs are rounded.
        """
        place = (x[:, self.inputs] - self.centre) @ self.whiten
        known = place[np.isfinite(place).all(axis=1)]
        nearest, _ = cKDTree(self.points).query(known)
        same = int(np.sum(np.asarray(nearest) < SAME_PLACE))
        return same if same > max(2, SAME_SHARE * len(x)) else 0

    def _reach(self, place: Floats, held: float) -> Floats:
        """Return the reach (n,) of whitened places (n, D)."""
        kernel = self._kernel(held)
        size = FEW if len(place) <= FEW else BUNDLE
        found = [
            unbundled(_reaches(kernel, bundled(place[start : start + size], GROUP, size)))
            for start in range(0, len(place), size)
        ]
        return np.concatenate([np.zeros(0), *found])[: len(place)]

    def _kernel(self, held: float) -> _Kernel:
        # Places without stars fill up: one program serves training sets of any size.
        extra = PLACES - len(self.places)
        places = np.pad(self.places, ((0, extra), (0, 0)))
        weights = np.pad(self.weights, (0, extra))
        narrow = 4.0 / self.spacing**2
        arrays = (jnp.asarray(a, jnp.float32) for a in (places, weights))
        return _Kernel(next(arrays), next(arrays), held, narrow)

    def classify(self, score: Floats) -> NDArray[np.int64]:
        """Return the position in ``CLASSES`` of each score; a missing one is ``outside``."""
        filled = np.where(np.isnan(score), np.inf, score)
        return np.searchsorted(self.thresholds, filled, side="right")

    def to_arrays(self) -> dict[str, NDArray]:
        """Return the fields by name, as they are written to a model file."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Neighbours:
        """Rebuild from what `to_arrays` returned."""
        return cls(**{**arrays, "spacing": float(arrays["spacing"])})


def _within_steps(x: Floats) -> Floats:
    """Return inputs (N, D), those that are rounded coarsely anywhere within their steps."""
    values = [np.unique(column) for column in x.T]
    # One input with many values tells the stars apart; to compare all of them takes long.
    if max(map(len, values)) * ROUNDED > len(x) or len(np.unique(x, axis=0)) * ROUNDED > len(x):
        return x
    lot = np.random.default_rng(0).uniform(-0.5, 0.5, x.shape)
    return x + np.array([_step(each) for each in values]) * lot


def _step(values: Floats) -> float:
    """Return the usual distance between the distinct values of an input."""
    apart = np.diff(values)
    apart = apart[apart > 1e-9 * np.ptp(values)]  # floating point sees values that are none
    return float(np.median(apart)) if len(apart) else 0.0


def _places(points: Floats) -> tuple[Floats, Floats]:
    """Return places that stand for points (N, D), and how many of them each stands for."""
    if len(points) <= PLACES:
        return points, np.ones(len(points))
    chosen = np.random.default_rng(0).choice(len(points), PLACES, replace=False)
    places = points[np.sort(chosen)]
    for _ in range(ROUNDS):
        _, nearest = cKDTree(places).query(points)
        weights = np.bincount(nearest, minlength=len(places)).astype(float)
        sums = [np.bincount(nearest, column, minlength=len(places)) for column in points.T]
        kept = weights > 0
        places, weights = (np.column_stack(sums)[kept] / weights[kept, None]), weights[kept]
    return places, weights


def _rough_spacing(points: Floats) -> float:
    """Return where to begin the search: the typical distance to the twentieth neighbour."""
    some = points[:: max(1, len(points) // 500)]
    near, _ = cKDTree(points).query(some, k=[min(NEIGHBOURS, len(points))])
    return max(float(np.median(near)), 1e-6)


@compiled
def _reaches(kernel: _Kernel, z: jax.Array) -> jax.Array:
    """Return the reach (G, n) of groups of stars at ``z`` (G, D, n), one after the other."""
    return jax.lax.map(partial(_group_reach, kernel), z)


def _group_reach(kernel: _Kernel, z: jax.Array) -> jax.Array:
    """Return the reach (n,) of stars at ``z`` (D, n)."""
    lengths = (kernel.places**2).sum(axis=1)[:, None] + (z**2).sum(axis=0)
    square = jnp.maximum(lengths - 2.0 * kernel.places @ z, 0.0)
    log_u, mean = _first_guess(kernel, square), z
    for _ in range(NEWTON_STEPS):
        log_u, mean = _newton(kernel, square, log_u)
    return jnp.sqrt(jnp.exp(-log_u) + ((mean - z) ** 2).sum(axis=0))


def _first_guess(kernel: _Kernel, square: jax.Array) -> jax.Array:
    """Return the logarithm of u = 1 / h^2 (n,) between widths that hold too few and enough.

    From squared distances (M, n), which are counted from that of the nearest place, lest
    all terms vanish.
    """
    u = kernel.narrow * 4.0 ** -np.arange(WIDTHS)[::-1]
    nearest = square.min(axis=0)
    near, held = jnp.exp(-0.5 * u[0] * (square - nearest)), []
    for width in u:
        held.append(jnp.log(kernel.weights @ near / kernel.held) - 0.5 * width * nearest)
        near = (near * near) ** 2  # half the width: the fourth power
    # Beyond the widest the logarithm of the number falls from that of all nearly in line with u.
    full = jnp.log(kernel.weights.sum() / kernel.held)
    log_u = jnp.log(u[0] * full / jnp.maximum(full - held[0], 1e-6))
    for step, (more, fewer) in enumerate(itertools.pairwise(held)):
        part = jnp.minimum(more / jnp.maximum(more - fewer, 1e-6), 2.0)
        log_u = jnp.where(more > 0.0, jnp.log(u[step]) + part * math.log(4.0), log_u)
    return log_u


def _newton(kernel: _Kernel, square: jax.Array, log_u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return a better ``log_u`` (n,), and the mean place (D, n) of the stars held before."""
    u, nearest = jnp.exp(log_u), square.min(axis=0)
    near = jnp.exp(-0.5 * u * (square - nearest))
    count, squares = kernel.weights @ near, kernel.weights @ (near * square)
    excess = jnp.log(count / kernel.held) - 0.5 * u * nearest
    step = jnp.clip(2.0 * excess * count / (u * squares), -1.0, 1.0)
    return log_u + step, (kernel.places.T * kernel.weights) @ near / count
