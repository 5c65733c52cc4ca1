"""What becomes of each output's predictive as stars become rare.

It is stretched, and most where some of its draws doubt the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Nominal probabilities of the intervals and joint regions whose coverage is counted.
LEVELS = (0.50, 0.68, 0.90, 0.95)
#: Support from which stars count as away from the others: at the usual spacing and
#: closer nothing grows.
ONSET = 1.0
#: One draw in so many doubts the network away from the stars. Whether it fails in a direction
#: where nothing was held out is not known: of the regions that were, it failed in few.
DOUBTING = 4
#: Beyond this many times what was tested the mean goes over to that of linear regression.
UNTRUSTED = 2.0
#: Level, slope, growth: the names of an output's parameters, in order.
N_PARAMETERS = 3
#: The score up to which all was tested where nothing was asked; model files hold finite numbers.
EVERYWHERE = float(np.finfo(np.float64).max)
#: Support from which the slope grows no more: most random stars lie nearer.
FLAT = 4.0
#: What is said of a model whose fit left the calibration out.
UNCALIBRATED = (
    "not calibrated where stars are few: errors there are not to be believed, and the classes "
    "begin at default scores, so that other stars are sparse or outside than after a calibration"
)


class Change(NamedTuple):
    """How predictives change at some stars: arrays of one shape, (N, K) or (K, N).

    Attributes
    ----------
    share : array
        Of the network in the mean; the rest is linear regression's.
    stretch : array
        Factor on the errors of all draws.
    doubt : array
        Factor on those of the draws that doubt the network, beside it.
    """

    share: Any
    stretch: Any
    doubt: Any


@dataclass(frozen=True)
class Calibration:
    r"""Stretch of each output's predictive as a function of the support score.

    With support score :math:`s` and :math:`r = \max(0, s - s_0)`, where
    :math:`s_0` is `ONSET`, the predictive of output :math:`k` is stretched about its mean by

    .. math:: c_k(s) = e^{a_k + b_k \ell(s)},
       \qquad \ell(s) = \log_2 s \text{ clipped to } [0, 2],

    and one draw in four (`DOUBTING`) beside that by :math:`\sqrt{1 + g_k r^2}`. The first
    factor recalibrates among the training stars (a negative exponent is
    divided by :math:`1 + r^2`, so that it narrows nothing away from them). The
    second grows without bound: some regions that were held out were missed by much,
    and most by little, so that a star without neighbours has wide wings about a core that
    is the network's.

    Beyond the scores at which anything was held out nothing is known of the network.
    With :math:`u = \max(0, s / s_\mathrm{tested} - 1)` all draws are stretched by
    :math:`\sqrt{1 + u^2}`, and from twice those scores on (`UNTRUSTED`) the mean goes over to
    that of linear regression in the same manner.

    Attributes
    ----------
    level, slope, growth : (K,) array
        :math:`a`, :math:`b` and :math:`g \ge 0`; all zero is the identity.
    tested : float
        :math:`s_\mathrm{tested}`.
    """

    level: Floats
    slope: Floats
    growth: Floats
    tested: float = EVERYWHERE

    @classmethod
    def identity(cls, n_outputs: int) -> Calibration:
        """Return the calibration that changes nothing."""
        return cls.of(np.zeros((n_outputs, N_PARAMETERS)))

    @classmethod
    def of(cls, parameters: Floats, tested: float = EVERYWHERE) -> Calibration:
        """Return the calibration with these parameters, (K, 3)."""
        level, slope, growth = parameters.T
        return cls(level, slope, growth, tested)

    def at(self, score: Floats) -> Change:
        """Return the change (N, K) at support scores (N,)."""
        values, score = self._learned(), np.asarray(score)[:, None]
        stretch, doubt = stretch_and_doubt(values[:, None, :], score, np)
        stretch = stretch * np.sqrt(1.0 + _beyond(score, self.tested))
        share = 1.0 / (1.0 + _beyond(score, UNTRUSTED * self.tested))
        return Change(np.broadcast_to(share, stretch.shape), stretch, doubt)

    def _learned(self) -> Floats:
        return np.stack([self.level, self.slope, self.growth])

    @property
    def empty(self) -> bool:
        """Whether it changes nothing."""
        return self.tested == EVERYWHERE and not self._learned().any()

    @property
    def doubling(self) -> float:
        """The support score at which the growth doubles some output's standard deviation."""
        growth = float(self.growth.max())
        return ONSET + math.sqrt(3.0 * DOUBTING / growth) if growth > 0 else math.inf

    def to_arrays(self) -> dict[str, NDArray]:
        """Return the fields by name, as they are written to a model file."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Calibration:
        """Rebuild from what `to_arrays` returned."""
        return cls(**{**arrays, "tested": float(arrays["tested"])})


def describe(report: dict[str, Any], thresholds: Floats) -> str:
    """Return the coverage of held-out stars before and after calibration as a table.

    Parameters
    ----------
    report : dict
        ``posterior.record["held_out_regions"]``.
    thresholds : (2,) array
        ``posterior.neighbours.thresholds``.
    """
    levels = [name for name in report["random"]["before"] if name != "nll"]
    head = "".join(f"{f'in {100 * float(name):.0f}%':>8s}" for name in levels)
    lines = [
        f"sparse from a support of {thresholds[0]:.2f}, outside from {thresholds[1]:.2f}",
        f"{'stars held out':16s}{'values':>7s}{'':>9s}{'NLL':>8s}{head}",
    ]
    for name, found in report.items():
        for which in ("before", "after") if found["n"] else ():
            title = f"{name:16s}{found['n']:7d}" if which == "before" else " " * 23
            shares = "".join(f"{100 * found[which][level]:7.1f}%" for level in levels)
            lines.append(f"{title}{which:>9s}{found[which]['nll']:8.3f}{shares}")
    return "\n".join(lines)


def doubting(count: int) -> NDArray[np.bool_]:
    """Say which of so many draws doubt the network: one of each four, of fewer the last.

    Which of the four is drawn by lot, always alike, so that every second or every tenth draw
    has its share of them too.
    """
    fours = -(-count // DOUBTING)
    doubters = np.zeros(fours * DOUBTING, dtype=bool)
    lot = np.random.default_rng(0).integers(DOUBTING, size=fours)
    doubters[np.arange(fours) * DOUBTING + lot] = True
    doubters = doubters[:count]
    if not doubters.any():
        doubters[-1:] = True
    return doubters


def in_fours(count: int, most: int) -> NDArray[np.int64]:
    """Return where some of so many draws stand, evenly spaced: whole fours, with their doubters."""
    fours, wanted = max(1, count // DOUBTING), max(1, most // DOUBTING)
    first = DOUBTING * np.unique(np.arange(wanted) * fours // wanted)
    rows = (first[:, None] + np.arange(DOUBTING)).ravel()
    return rows[rows < count]


def applied(
    location: jax.Array, scale: jax.Array, linear: Any, change: Change
) -> tuple[jax.Array, jax.Array]:
    """Return location and scale (S, ...) of a mixture of draws with its mean moved and stretched.

    ``linear``, the mean of linear regression, and the change have no axis of draws. The
    draws' own spread does not fade, and the mean is not that of the doubting draws.
    """
    moved, factor = stretched(location, change.stretch, change.doubt)
    mean = location.mean(axis=0)
    # Written as an addition, so that nothing at all changes where nothing is to change.
    return moved + (1.0 - change.share) * (linear - mean), factor * scale


def stretched(location: jax.Array, stretch: Any, doubt: Any) -> tuple[jax.Array, jax.Array]:
    """Return locations (S, ...) stretched about their mean, and each draw's factor.

    Doubting draws are stretched about their own mean beside that, so that the mean stays; of
    one alone that would leave its place, and it goes by the mean of all.
    """
    doubters = doubting(len(location))
    lead = (len(location), *(1,) * (location.ndim - 1))
    extra = jnp.where(doubters.reshape(lead), doubt - 1.0, 0.0)
    mean = location.mean(axis=0)
    own = location[doubters].mean(axis=0) if doubters.sum() > 1 else mean
    usual, wider = (stretch - 1.0) * (location - mean), stretch * extra * (location - own)
    return location + usual + wider, stretch * (1.0 + extra)


def _beyond(score: Floats, tested: float) -> Floats:
    return np.maximum(score / tested - 1.0, 0.0) ** 2


def stretch_and_doubt(parameters: Any, score: Any, xp: Any) -> tuple[Any, Any]:
    """Return the factors on all draws, and on those that doubt, by parameters (3, ...)."""
    level, slope, growth = parameters
    position = xp.log2(xp.clip(score, ONSET, FLAT))
    away = xp.maximum(score - ONSET, 0.0) ** 2
    local = level + slope * position
    # Errors found too wide among the stars are not narrowed away from them.
    local = xp.where(local < 0.0, local / (1.0 + away), local)
    return xp.exp(local), xp.sqrt(1.0 + growth * away)
