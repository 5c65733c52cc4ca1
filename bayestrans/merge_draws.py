r"""Draws of stars that several surveys have: what a map or a mean of a merged catalogue needs.

Error bars of single stars do not say what many stars have wrong together. In draw :math:`d` all
stars of one survey are translated by the same draw of its network, and that must outlast the
merging. With the gains :math:`G_i` by which the combined mean :math:`m` follows the surveys' means
:math:`m_i` (and :math:`H_b` those of what the base measured), the combined draw is

.. math::

   y_d = m + A \Big[\sum_i G_i (y_{id} - m_i) + \sum_b H_b\, e_{bd}\Big],

where :math:`e_{bd}` is noise of the base's errors and the matrix :math:`A` of the star gives the
draws the covariance of the combination: surveys that each contain the population, or share a
part of their errors, are not independent, as the sum takes them to be.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .combine import Combination
from .merge import Answered, Rows
from .programs import compiled

Floats = NDArray[np.float64]
Draws = NDArray[np.float32]

#: Rows whose noise is drawn in one call of one compiled program.
PART = 4096
#: Added to a correlation matrix of errors that have one.
RIDGE = 1e-9


def measured_draws(one: Answered, count: int, seed: int) -> Draws:
    """Return draws (R, K, count) of true values, given what the base measured.

    A row's noise depends on the seed, its identifier and its own numbers alone.
    """
    numbers = pd.DataFrame(np.hstack([one.mean, one.sd])).assign(key=one.keys)
    hashed = pd.util.hash_pandas_object(numbers, index=False).to_numpy(dtype=np.uint64)
    words = hashed.view(np.uint32).reshape(-1, 2)
    noise = np.empty((*one.mean.shape, count), dtype=np.float32)
    for start in range(0, len(words), PART):
        some = words[start : start + PART]
        padded = np.resize(some, (PART, 2))
        drawn = _normals(padded, jax.random.key(seed), one.mean.shape[1], count)
        noise[start : start + PART] = np.asarray(drawn)[: len(some)]
    return (one.mean[..., None] + one.sd[..., None] * noise).astype(np.float32)


@partial(compiled, static_argnames=("wide", "count"))
def _normals(words: jax.Array, base: jax.Array, wide: int, count: int) -> jax.Array:
    def row(words: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(base, words[0]), words[1])
        return jax.random.normal(key, (wide, count))

    return jax.vmap(row)(words)


def merged_draws(
    asked: list[tuple[Answered, Rows]], found: Combination, covariance: Floats
) -> Draws:
    """Return draws (n, K, D) of some stars that several surveys have.

    Parameters
    ----------
    asked : list of (Answered, rows)
        Of each survey that has them, and the rows (n,) where.
    found : Combination
    covariance : (n, K, K) array
        That of the draws to be: that of the combination, wider where surveys disagree.
    """
    away: Any = 0.0
    spread = np.zeros(covariance.shape)
    translated = [pair for pair in asked if not pair[0].measured]
    for s, (one, rows) in enumerate(translated):
        away, spread = _add(one, rows, found.gain[:, s], away, spread)
    for one, rows in (pair for pair in asked if pair[0].measured):
        weight = np.nan_to_num(one.core[rows] ** -2.0)
        gain = np.nan_to_num(found.covariance) * weight[:, None]
        away, spread = _add(one, rows, gain, away, spread)
    seen = np.isfinite(found.mean)
    towards = _root(covariance, seen) @ np.linalg.inv(_root(spread, seen))
    return (found.mean[..., None] + towards @ away).astype(np.float32)


def _add(one: Answered, rows: Rows, gain: Floats, away: Any, spread: Floats) -> tuple[Any, Floats]:
    """Add a survey's draws about its mean, and their covariance, each seen through its gain."""
    assert one.draws is not None
    apart = np.nan_to_num(one.draws[rows] - one.mean[rows][..., None])
    own = np.nan_to_num(one.covariance(rows))
    return away + gain @ apart, spread + gain @ own @ np.swapaxes(gain, 1, 2)


def _root(covariance: Floats, seen: NDArray[np.bool_]) -> Floats:
    """Return Cholesky factors of the parts that are seen, with ones elsewhere."""
    both = seen[:, :, None] & seen[:, None]
    whole = np.where(both, covariance, np.eye(seen.shape[1]))
    size = np.sqrt(np.einsum("nkk->nk", whole))
    corr = whole / (size[:, :, None] * size[:, None]) + RIDGE * np.eye(seen.shape[1])
    return size[..., None] * np.linalg.cholesky(corr)
