"""From units to the numbers a network likes, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .pairs import Pairs, PairsError

Floats = NDArray[np.float64]

#: Quoted errors whose logarithm varies less than this are taken as constant.
CONSTANT_LOG_ERROR = 1e-3


@dataclass(frozen=True)
class Scaler:
    """Centres and scales learned from the training stars.

    Attributes
    ----------
    x_centre, x_scale : (D,) array
        Mean and standard deviation of each input, in its unit.
    log_err_centre, log_err_scale : (D,) array
        The same of the natural logarithm of each quoted error; the scale is 0
        where there are no errors or they are constant.
    delta_centre, delta_scale : (K,) array
        Median and robust spread (1.4826 times the median absolute deviation)
        of each correction, in the output's unit.
    corrects : (K,) array of int
        The input that each output corrects, or -1.
    usual_err : (K,) array
        Median of B's quoted errors of each output, in its unit: it stands for
        missing ones. 0 where B quotes none.
    """

    x_centre: Floats
    x_scale: Floats
    log_err_centre: Floats
    log_err_scale: Floats
    delta_centre: Floats
    delta_scale: Floats
    corrects: NDArray[np.int64]
    usual_err: Floats

    @classmethod
    def learn(cls, pairs: Pairs) -> Scaler:
        """Learn the scales from training stars, each from those that have the value.

        Raises
        ------
        PairsError
            Naming the column, where an input, an output or a correction is constant or always
            missing.
        """
        spec = pairs.spec
        corrects = np.asarray(spec.corrects, dtype=np.int64)
        x_centre, x_scale = _input_scales(pairs)
        delta = _correction(pairs.x, pairs.y, corrects)
        for k, output in enumerate(spec.outputs):
            if not np.isfinite(delta[:, k]).any():
                beside = " beside its input" if corrects[k] >= 0 and pairs.seen[:, k].any() else ""
                raise PairsError(
                    f"output column {output.column} has no value{beside} in any of the "
                    f"{len(pairs)} training stars; leave it out of the spec"
                )
            _check_varies(pairs.y[pairs.seen[:, k], k], f"output column {output.column}")
        centre = np.nanmedian(delta, axis=0)
        scale = 1.482602218505602 * np.nanmedian(np.abs(delta - centre), axis=0)
        for k, output in enumerate(spec.outputs):
            if not scale[k] > 0:
                what = "differs from its input by" if corrects[k] >= 0 else "is"
                remedy = "there is nothing to learn"
                if corrects[k] >= 0 and centre[k] == 0:
                    same = spec.inputs[corrects[k]].column
                    remedy = f"is it a column of survey B, and {same} one of A?"
                raise PairsError(
                    f"output column {output.column} {what} the same amount ({centre[k]:g}) "
                    f"in over half of the training stars; {remedy}"
                )
        log_centre, log_scale = _log_error_scales(pairs.x_err)
        return cls(
            x_centre, x_scale, log_centre, log_scale, centre, scale, corrects, _usual(pairs.y_err)
        )

    def features(self, x: Floats, x_err: Floats, inputs: tuple[int, ...]) -> Floats:
        """Return what a network sees: scaled inputs, then scaled log errors.

        Parameters
        ----------
        x, x_err : (N, D) array
            In the units of the spec.
        inputs : tuple of int
            The inputs that this network sees.

        Returns
        -------
        (N, F) array
        """
        chosen = list(inputs)
        with_error = [j for j in chosen if self.log_err_scale[j] > 0]
        values = (x[:, chosen] - self.x_centre[chosen]) / self.x_scale[chosen]
        log_err = np.log(x_err[:, with_error])
        errors = (log_err - self.log_err_centre[with_error]) / self.log_err_scale[with_error]
        return np.concatenate([values, errors], axis=1)

    def n_features(self, inputs: tuple[int, ...]) -> int:
        """Return the number of features F that a network with these inputs sees."""
        return len(inputs) + int((self.log_err_scale[list(inputs)] > 0).sum())

    def delta(self, x: Floats, y: Floats) -> Floats:
        """Return the scaled corrections (N, K) of outputs ``y`` given inputs ``x``."""
        return (_correction(x, y, self.corrects) - self.delta_centre) / self.delta_scale

    def noise(self, y_err: Floats) -> Floats:
        """Return B's quoted errors (N, K) in scaled units; missing ones are the usual ones."""
        return np.where(np.isfinite(y_err), y_err, self.usual_err) / self.delta_scale

    def restore(self, x: Floats, delta: Floats) -> Floats:
        """Return outputs in their units from scaled corrections (..., N, K)."""
        return self.base(x) + delta * self.delta_scale

    def base(self, x: Floats) -> Floats:
        """Return the outputs (N, K), in their units, where the scaled correction is zero."""
        return np.where(self.corrects >= 0, x[:, self.corrects], 0.0) + self.delta_centre

    def to_arrays(self) -> dict[str, NDArray]:
        """Return the fields by name, as they are written to a model file."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Scaler:
        """Rebuild a scaler from what `to_arrays` returned."""
        return cls(**arrays)


def _correction(x: Floats, y: Floats, corrects: NDArray[np.int64]) -> Floats:
    return y - np.where(corrects >= 0, x[:, corrects], 0.0)


def _input_scales(pairs: Pairs) -> tuple[Floats, Floats]:
    centre, scale = (np.zeros(pairs.x.shape[1]) for _ in range(2))
    for j, item in enumerate(pairs.spec.inputs):
        values = pairs.x[np.isfinite(pairs.x[:, j]), j]
        if not len(values):
            raise PairsError(
                f"input column {item.column} has no value in any of the {len(pairs)} training "
                "stars; leave it out of the spec"
            )
        _check_varies(values, f"input column {item.column}")
        centre[j], scale[j] = values.mean(), values.std()
    return centre, scale


def _check_varies(values: Floats, what: str) -> None:
    if not values.std() > 1e-12 * np.abs(values).max():
        raise PairsError(
            f"{what} is constant ({values[0]:g}) in all "
            f"{len(values)} training stars that have it; leave it out of the spec"
        )


def _log_error_scales(x_err: Floats) -> tuple[Floats, Floats]:
    centre, scale = np.zeros(x_err.shape[1]), np.zeros(x_err.shape[1])
    for j, errors in enumerate(x_err.T):
        log_err = np.log(errors[np.isfinite(errors)])
        if len(log_err) and log_err.std() > CONSTANT_LOG_ERROR:
            centre[j], scale[j] = log_err.mean(), log_err.std()
    return centre, scale


def _usual(errors: Floats) -> Floats:
    known = [column[np.isfinite(column)] for column in errors.T]
    return np.array([np.median(column) if len(column) else 0.0 for column in known])
