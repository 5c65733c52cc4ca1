"""How far a star lies from the training stars, in the whitened input space."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]

#: The neighbour whose distance measures how thinly a place is populated.
NEIGHBOUR = 20

#: Weight of the displacement of the neighbours' mean place: beyond an edge the nearest
#: stars may lie as close as anywhere, but on one side (``docs/design.md``).
ONE_SIDED = 2.0

#: Classes of support in the order of growing score.
CLASSES = ("dense", "sparse", "outside")


@dataclass(frozen=True)
class Neighbours:
    """The training stars' places, and distances to them.

    The space is whitened with the covariance of the training inputs, so that
    correlated inputs count once. The reach of a star is the distance to its twentieth
    nearest training star and twice that to the mean place of the twenty, added in
    quadrature. The score is the reach over its median among the training stars: 1 at
    the usual spacing, larger where stars are rarer or lie on one side only.

    Attributes
    ----------
    points : (N, D) array
        Whitened training inputs.
    centre : (D,) array
    whiten : (D, D) array
        ``(x - centre) @ whiten`` is white.
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
    spacing: float
    thresholds: Floats
    inputs: NDArray[np.int64]
    _tree: cKDTree = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tree", cKDTree(self.points))

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
        # The nearest of all is the star itself.
        near, which = cKDTree(points).query(points, k=min(NEIGHBOUR + 1, len(points)))
        spacing = float(np.median(_reach(points, near[:, 1:], points[which[:, 1:]])))
        return cls(points, centre, whiten, spacing, np.array(thresholds), np.array(inputs))

    def score(self, x: Floats) -> Floats:
        """Return the support score (N,) of inputs ``x`` (N, D); NaN where one is missing."""
        # Column by column: BLAS rounds a row differently in other company.
        away = [x[:, j] - c for j, c in zip(self.inputs, self.centre, strict=True)]
        place = sum(a[:, None] * w for a, w in zip(away, self.whiten, strict=True))
        known = np.isfinite(place).all(axis=1)
        score = np.full(len(x), np.nan)
        count = np.arange(1, min(NEIGHBOUR, len(self.points)) + 1)
        near, which = self._tree.query(place[known], k=count)
        score[known] = _reach(place[known], near, self.points[which]) / self.spacing
        return score

    def classify(self, score: Floats) -> NDArray[np.int64]:
        """Return the position in ``CLASSES`` of each score; a missing one is ``outside``."""
        filled = np.where(np.isnan(score), np.inf, score)
        return np.searchsorted(self.thresholds, filled, side="right")

    def to_arrays(self) -> dict[str, NDArray]:
        """Return the fields by name, as they are written to a model file."""
        return {name: np.asarray(value) for name, value in vars(self).items() if name != "_tree"}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Neighbours:
        """Rebuild from what `to_arrays` returned."""
        return cls(**{**arrays, "spacing": float(arrays["spacing"])})


def _reach(places: Floats, near: Floats, neighbours: Floats) -> Floats:
    """Return the reach (n,) of places (n, D) from distances (n, k) to neighbours (n, k, D)."""
    away = neighbours.mean(axis=1) - places
    return np.sqrt(near[:, -1] ** 2 + ONE_SIDED**2 * (away**2).sum(axis=1))
