"""The common stars of two surveys as checked arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import check_count
from .spec import Spec

Floats = NDArray[np.float64]


class PairsError(ValueError):
    """Training stars that cannot be used, with what to change."""


@dataclass(frozen=True)
class Pairs:
    """Stars seen by both surveys.

    Parameters
    ----------
    spec : Spec
        Names, units and roles of the columns.
    x, x_err : (N, D) array
        Inputs and their quoted one-sigma errors, in the units of ``spec``. What is
        not finite, and an error that is not positive, is missing and becomes NaN;
        an error column that survey A does not give is NaN throughout.
    y, y_err : (N, K) array
        Outputs and their quoted errors, the same. A star counts with the outputs
        that it has.
    ids : (N,) array
        Identifiers (integers or strings); rows with the same one are one star.
    assumed : mapping of str to str
        Columns that came without a unit, and the spec's unit that was taken.

    Raises
    ------
    PairsError
        Where shapes disagree, or a star has no input or no output.
    """

    spec: Spec
    x: Floats
    x_err: Floats
    y: Floats
    y_err: Floats
    ids: NDArray
    assumed: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.x)
        wide, tall = len(self.spec.inputs), len(self.spec.outputs)
        expected = {"x": (n, wide), "x_err": (n, wide), "y": (n, tall), "y_err": (n, tall)}
        for name, shape in expected.items():
            array = plain_numbers(getattr(self, name), name)
            if array.shape != shape:
                raise PairsError(f"{name} has shape {array.shape}; the spec asks for {shape}")
            good = np.isfinite(array) & ((array > 0) | ("err" not in name))
            object.__setattr__(self, name, array if good.all() else np.where(good, array, np.nan))
        if np.ma.getmaskarray(self.ids).any():
            raise PairsError("some ids are masked; give each row one, or remove it")
        object.__setattr__(self, "ids", np.asarray(self.ids))
        if self.ids.shape != (n,):
            raise PairsError(f"ids has shape {self.ids.shape}; give one identifier per row ({n})")
        self._check_values()

    def _check_values(self) -> None:
        for name, values in (("input", self.x), ("output", self.y)):
            _refuse(np.isnan(values).all(axis=1), name)

    def __repr__(self) -> str:
        inputs, outputs = (", ".join(n) for n in (self.spec.input_names, self.spec.output_names))
        return f"<Pairs {self.spec.name!r}: {len(self)} stars, {inputs} to {outputs}>"

    def __len__(self) -> int:
        return len(self.x)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(N, K) array, True where survey B has a value."""
        return np.isfinite(self.y)

    @property
    def star(self) -> NDArray[np.int64]:
        """(N,) array, the number of each row's star, in the order in which they come."""
        _, first, inverse = np.unique(self.ids, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[inverse]

    def take(self, rows: NDArray) -> Pairs:
        """Return the chosen rows (a mask or positions), in that order."""
        return Pairs(
            self.spec,
            self.x[rows],
            self.x_err[rows],
            self.y[rows],
            self.y_err[rows],
            self.ids[rows],
            self.assumed,
        )

    def split(self, fraction: float, *, seed: int = 0) -> tuple[Pairs, Pairs]:
        """Split into training and test, by star and never by row.

        Parameters
        ----------
        fraction : float
            The share of the stars that goes into the test, between 0 and 1.
        seed : int
            The same seed gives the same split.

        Returns
        -------
        train, test : Pairs
        """
        if not 0 < fraction < 1:
            raise PairsError(f"the test fraction is {fraction}; it must lie between 0 and 1")
        order, star = self._shuffled_stars(seed)
        if len(order) < 2:
            raise PairsError(f"{len(order)} star(s) cannot be split; give at least two")
        count = min(max(1, round(fraction * len(order))), len(order) - 1)
        chosen = np.isin(star, order[:count])
        return self.take(~chosen), self.take(chosen)

    def folds(self, count: int, *, seed: int = 0) -> list[tuple[Pairs, Pairs]]:
        """Return ``count`` pairs of training and test in which each star is tested once."""
        order, star = self._shuffled_stars(seed)
        if not 2 <= count <= len(order):
            raise PairsError(f"{count} folds asked of {len(order)} stars; give 2 to {len(order)}")
        fold_of_star = np.empty(len(order), dtype=int)
        fold_of_star[order] = np.arange(len(order)) % count
        fold = fold_of_star[star]
        return [(self.take(fold != f), self.take(fold == f)) for f in range(count)]

    def _shuffled_stars(self, seed: int) -> tuple[NDArray, NDArray]:
        check_count("seed", seed, 0)
        names, star = np.unique(self.ids, return_inverse=True)
        order = np.random.default_rng(seed).permutation(len(names))
        return order, star


def plain_numbers(values: Any, name: str) -> Floats:
    """Return plain numbers with masked ones missing; numpy forgets masks and units."""
    if getattr(values, "unit", None) is not None:
        raise PairsError(
            f"{name} has the unit {values.unit}; give plain numbers in the units of the spec"
        )
    return np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan))


def _refuse(bad: NDArray[np.bool_], what: str) -> None:
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise PairsError(
            f"{int(bad.sum())} of {len(bad)} stars have no {what} (first in row {first}); "
            "remove those rows"
        )
