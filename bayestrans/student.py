"""Multivariate Student-t densities with outliers and per-star scales, without LAPACK.

A batched Cholesky of thousands of 3 x 3 matrices costs more than a whole
network, so the factorisation is unrolled over the few outputs and runs on
vectors of stars.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import special

from .programs import computed_once


class Tails(NamedTuple):
    """How the scatter falls off, whatever its scale.

    A star is an outlier at the given odds, and its scatter then ``width`` times wider: a
    Student-t's wings tell how the usual star's errors differ from one to the next, and
    cannot tell as well of a few stars that are something else, such as binaries.

    Attributes
    ----------
    dof : scalar or (S,) array
        Degrees of freedom of the Student-t; infinity gives the Gaussian.
    odds : scalar or (S,) array
        Of being an outlier; 0 where there are none.
    width : scalar or (S,) array
        How many times wider the scatter of outliers is.
    """

    dof: Any
    odds: Any = 0.0
    width: Any = 1.0

    @property
    def share(self) -> Any:
        """The share of outliers."""
        return self.odds / (1.0 + self.odds)


def log_density(
    residual: jax.Array, scale: jax.Array, corr: jax.Array, err: jax.Array, tails: Tails
) -> jax.Array:
    r"""Log density about a location with scale matrix :math:`D R D + \mathrm{diag}(e^2)`.

    Parameters
    ----------
    residual : (K, N) array
        Value minus location; NaN where the value is missing, which leaves the
        marginal density of the others.
    scale : (K, N) array
        Diagonal of :math:`D`.
    corr : (K, K) array
        Correlation matrix :math:`R`.
    err : (K, N) array
        Quoted errors :math:`e`, zero where there are none.
    tails : Tails
        Of scalars. Outliers are so in all of their values, with the errors.

    Returns
    -------
    (N,) array
    """
    seen = ~jnp.isnan(residual)
    residual = jnp.where(seen, residual, 0.0)
    count = seen.sum(axis=0)
    log_det, distance = _factor(
        residual, jnp.where(seen, scale, 0.0), corr, jnp.where(seen, err, 1.0)
    )
    return -0.5 * log_det + log_kernel(distance, count, tails, len(residual))


def _factor(residual, scale, corr, err):  # type: ignore[no-untyped-def]
    """Return log determinant and squared Mahalanobis distance per star."""
    n_outputs = len(residual)
    residual, scale, err = computed_once((residual, scale, err))
    lower: dict[tuple[int, int], jax.Array] = {}
    white: list[jax.Array] = []
    log_det = jnp.zeros(residual.shape[1])
    for i in range(n_outputs):
        for j in range(i):
            dot = sum((lower[i, m] * lower[j, m] for m in range(j)), start=jnp.zeros(()))
            lower[i, j] = computed_once((scale[i] * scale[j] * corr[i, j] - dot) / lower[j, j])
        norm = sum((lower[i, m] ** 2 for m in range(i)), start=jnp.zeros(()))
        lower[i, i] = computed_once(jnp.sqrt(scale[i] ** 2 * corr[i, i] + err[i] ** 2 - norm))
        dot = sum((lower[i, m] * white[m] for m in range(i)), start=jnp.zeros(()))
        white.append(computed_once((residual[i] - dot) / lower[i, i]))
        log_det = log_det + 2.0 * jnp.log(lower[i, i])
    return log_det, sum(w**2 for w in white)


def log_kernel(distance, count, tails, most):  # type: ignore[no-untyped-def]
    """Return the log density at a squared distance in ``count`` dimensions of unit scale.

    There are at most ``most`` dimensions.
    """
    dof, odds, width = tails
    usual = _log_student(distance, count, dof, most)
    if isinstance(odds, float) and odds == 0.0:
        return usual
    wider = _log_student(distance / width**2, count, dof, most) - count * jnp.log(width)
    return jnp.logaddexp(usual, jnp.log(odds) + wider) - jnp.log1p(odds)


def _log_student(distance, count, dof, most):  # type: ignore[no-untyped-def]
    gaussian = -0.5 * (distance + count * jnp.log(2.0 * jnp.pi))
    if isinstance(dof, float) and dof == float("inf"):
        return gaussian
    endless = jnp.isinf(dof)
    dof = jnp.where(endless, 1.0, dof)
    ratios = enumerate(_log_gamma_ratios(0.5 * dof, most), start=1)
    norm = sum(jnp.where(count == dimensions, ratio, 0.0) for dimensions, ratio in ratios)
    norm = norm - 0.5 * count * jnp.log(dof * jnp.pi)
    return jnp.where(endless, gaussian, norm - 0.5 * (dof + count) * jnp.log1p(distance / dof))


def _log_gamma_ratios(x: jax.Array, most: int) -> list[jax.Array]:
    """Return the logarithms of Gamma(x + m / 2) / Gamma(x) for m = 1 to ``most``, for x >= 0.5.

    Not differences of ``gammaln``, which lose their digits where x is large, and take as long to
    compile as the rest of the density. The half step is a series in 1 / (x + 4).
    """
    y = 1.0 / (x + 4.0)
    series = -y / 8.0 + y**3 / 192.0 - y**5 / 640.0 + 17.0 * y**7 / 14336.0
    up = math.prod((x + step + 0.5) / (x + step) for step in range(4))
    ratios = [jnp.zeros_like(x), series - 0.5 * jnp.log(y) - jnp.log(up)]
    for m in range(2, most + 1):
        ratios.append(ratios[m - 2] + jnp.log(x + 0.5 * (m - 2)))
    return ratios[1 : most + 1]


def cumulative(t: Any, tails: Tails) -> NDArray[np.float64]:
    """Return the probability below ``t`` at unit scale, elementwise.

    SciPy's: the one in JAX takes longer to compile than this to run.
    """
    dof, _, width = (np.asarray(part, np.float64) for part in tails)
    share, t = np.asarray(tails.share, np.float64), np.asarray(t, np.float64)
    usual = special.stdtr(dof, t)
    return np.asarray(usual + share * (special.stdtr(dof, t / width) - usual))


#: The table's knots lie evenly in ``arcsinh(t)`` out to this, |t| = 11,000.
TABLE_REACH, TABLE_STEPS = 10.0, 1024


def tabulate(tails: Tails) -> NDArray[np.float64]:
    """Return the probability below the knots for each draw, (S, knots), for `from_table`."""
    return _below(np.sinh(np.linspace(-TABLE_REACH, TABLE_REACH, TABLE_STEPS + 1)), tails)


def _below(t: NDArray[np.float64], tails: Tails) -> NDArray[np.float64]:
    """Return the probability below each ``t`` for each draw (S, T)."""
    return cumulative(t, Tails(*(np.asarray(part)[..., None] for part in tails)))


def quantile(level: float, tails: Tails) -> NDArray[np.float64]:
    """Return below what, at unit scale, a share ``level`` lies for each draw (S,)."""
    table = np.atleast_2d(tabulate(tails))
    place = np.array([np.interp(level, row, np.arange(row.size)) for row in table])
    return np.asarray(np.sinh((2.0 * place / TABLE_STEPS - 1.0) * TABLE_REACH))


def from_table(table: jax.Array, t: jax.Array) -> jax.Array:
    """Return the probability below ``t`` (S, N) from a table (S, knots)."""
    place = (jnp.arcsinh(t) + TABLE_REACH) * (TABLE_STEPS / (2 * TABLE_REACH))
    place = jnp.clip(place, 0.0, TABLE_STEPS - 1e-3)
    left = place.astype(jnp.int32)
    below = jnp.take_along_axis(table, left, axis=1)
    above = jnp.take_along_axis(table, left + 1, axis=1)
    return below + (above - below) * (place - left)


def variance(tails: Tails) -> Any:
    """Return the variance at unit scale for each draw; degrees of freedom must exceed 2."""
    xp = jnp if isinstance(tails.dof, jax.Array) else np
    endless = xp.isinf(tails.dof)
    dof = xp.where(endless, 3.0, tails.dof)
    usual = xp.where(endless, 1.0, dof / (dof - 2.0))
    return usual * (1.0 + tails.share * (tails.width**2 - 1.0))


#: Terms of the polynomial that stands for the distribution function.
TERMS = 9


def polynomial(tails: Tails) -> NDArray[np.float64]:
    """Return coefficients (S, TERMS) for `from_polynomial` of each draw."""
    s = np.linspace(0.0, 0.995, 400)[1:]
    t = 2.0 * s / (1.0 - s)
    powers = s[:, None] ** np.arange(1, TERMS + 1)
    weight = np.where(t < 4.0, 1.0, 0.1)[:, None]
    values = _below(t, tails) - 0.5
    return np.linalg.lstsq(powers * weight, (values * weight[:, 0]).T)[0].T


def from_polynomial(t: jax.Array, table: jax.Array) -> jax.Array:
    """Return the probability between 0 and ``t``, with its sign, for one draw (TERMS,).

    A polynomial in ``|t| / (2 + |t|)``: cheaper than `cumulative`, and right
    to 0.002 out to 2.5, where quantiles of a catalogue lie (0.003 with outliers).
    """
    size = jnp.abs(t)
    s = size / (2.0 + size)
    total = table[-1]
    for power in range(len(table) - 2, -1, -1):
        total = total * s + table[power]
    return jnp.sign(t) * s * total
