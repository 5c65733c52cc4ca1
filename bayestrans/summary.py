"""Mean, spread, quantiles and correlations of complete stars, many at once.

The fast path of `translate`: a few well-chosen posterior draws, and programs whose
arrays stay in the cache. Stars with gaps take the way of `Posterior.mixtures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import combinations_with_replacement, pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from . import student
from .bundles import BUNDLE, bundled, unbundled
from .calibration import DOUBTING, Change
from .model import Shape, location_and_scale, tails_of
from .moments import QUANTILES, Summary
from .programs import compiled

Floats = NDArray[np.float64]

#: Stars whose arrays lie in the cache of a processor together.
CACHED = 512

#: Where the distribution function is computed, in half-widths of the central 68 % about the
#: mean: in normal quantiles it is nearly straight between.
NODES = (-1.05, -0.35, 0.35, 1.05)

#: How far the slopes between the nodes may differ, and a quantile lie from them, where it is
#: straight enough. Elsewhere the modes of the draws show in the predictive.
STRAIGHT, BEYOND = 1.5, 0.35

#: Share of the draws that doubt. Here each stands for both kinds: a quarter of some tens would
#: tell little of how wide the doubting draws lie.
SHARE = 1.0 / DOUBTING

#: Half the central 68 % of a law of which such a share is wider by ``doubt`` is that of the
#: rest times ``WIDEST - (WIDEST - 1) / sqrt(doubt)``, to 3 % for Gaussians.
WIDEST = 1.7


class Chosen(NamedTuple):
    """The draws of one network that stand for all of them.

    Attributes
    ----------
    draws : dict of (S, ...) arrays
    variance : (S, K, K) array
        Covariance of the noise of unit scale.
    table : (S, TERMS) array
        Coefficients of the distribution function of each draw's noise.
    half : scalar
        Half of the central 68 % interval of the usual noise of unit scale.
    """

    draws: Mapping[str, jax.Array]
    variance: jax.Array
    table: jax.Array
    half: jax.Array


def chosen(draws: Mapping[str, NDArray], rows: NDArray[np.int64], shape: Shape) -> Chosen:
    """Return some of the draws (S, ...), ready for `summarise`."""
    some = {name: values[rows] for name, values in draws.items()}
    tails = student.Tails(
        *(np.broadcast_to(np.asarray(a, np.float64), len(rows)) for a in tails_of(some, shape))
    )
    corr = np.broadcast_to(np.eye(shape.n_outputs), (len(rows), shape.n_outputs, shape.n_outputs))
    if shape.correlated:
        corr = np.einsum("sij,skj->sik", some["corr_cholesky"], some["corr_cholesky"])
    variance = student.variance(tails)[:, None, None] * corr
    half = float(np.median(student.quantile(QUANTILES["p84"], tails)))
    arrays = (variance, student.polynomial(tails), half)
    return Chosen(
        {name: jnp.asarray(values) for name, values in some.items()},
        *(jnp.asarray(a, jnp.float32) for a in arrays),
    )


def summarise(
    part: Chosen,
    z: Floats,
    scatter: jax.Array,
    linear: Floats,
    change: Change,
    shape: Shape,
    group: int = CACHED,
) -> tuple[Summary, NDArray[np.bool_]]:
    """Summarise stars of features ``z`` (N, F) in closed form: no noise is drawn.

    Parameters
    ----------
    part : Chosen
    z : (N, F) array
    scatter : (K,) array
        The known scatter in scaled units, or ones.
    linear : (N, K) array
        Mean of linear regression.
    change : Change
        Of the calibration, of (N, K) arrays.
    shape : Shape
    group : int
        Stars that a device works on at a time, a part of a bundle; see `room`.

    Returns
    -------
    Summary
    (N,) array of bool
        Where the quantiles can be trusted; elsewhere `moments` must be asked.
    """
    found = []
    for start in range(0, max(1, len(z)), BUNDLE):
        rows = slice(start, start + BUNDLE)
        arrays = [bundled(a[rows], group) for a in (z, linear, *change)]
        found.append(_summarise(part, scatter, *arrays, shape=shape))
    parts = [
        np.concatenate([unbundled(one[place]) for one in found], axis=-1)[..., : len(z)]
        for place in range(len(found[0]))
    ]
    return Summary(*parts[:-1]), parts[-1]


def room() -> int:
    """Return the stars that this kind of device works on at a time, if its memory has room."""
    return CACHED if jax.default_backend() == "cpu" else BUNDLE


def exhausted(error: Exception) -> bool:
    """Say whether it is for lack of a device's memory that a program stopped."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


@partial(compiled, static_argnames="shape")
def _summarise(
    part: Chosen,
    scatter: jax.Array,
    z: jax.Array,
    linear: jax.Array,
    *change: jax.Array,
    shape: Shape,
) -> tuple[jax.Array, ...]:
    """Summarise groups of stars, one after the other."""
    return jax.lax.map(
        lambda group: _group(part, group[0], scatter, group[1], Change(*group[2:]), shape),
        (z, linear, *change),
    )


def _group(
    part: Chosen,
    z: jax.Array,
    scatter: jax.Array,
    linear: jax.Array,
    change: Change,
    shape: Shape,
) -> tuple[jax.Array, ...]:
    first, apart, scale = _over_draws(part, z, scatter, shape)
    away = apart.mean(axis=0)
    between, total = {}, {}
    for i, j in combinations_with_replacement(range(shape.n_outputs), 2):
        noise = (part.variance[:, i, j, None] * scale[:, i] * scale[:, j]).mean(axis=0)
        between[i, j] = (apart[:, i] * apart[:, j]).mean(axis=0) - away[i] * away[j]
        total[i, j] = total[j, i] = between[i, j] + noise
    each = range(shape.n_outputs)
    model = jnp.maximum(jnp.stack([between[k, k] for k in each]), 0.0)
    variance = jnp.stack([total[k, k] for k in each])
    half = jnp.sqrt(model + part.half**2 * (scale**2).mean(axis=0))
    covariance = jnp.stack([jnp.stack([total[i, j] for j in each]) for i in each])
    wider = 1.0 - SHARE + SHARE * change.doubt[:, None] * change.doubt[None]
    corr = wider * covariance
    sd = jnp.sqrt(jnp.stack([corr[k, k] for k in each]))
    corr = corr / (sd[:, None] * sd[None])
    sd_model = change.stretch * sd * jnp.sqrt(model / variance)
    mean = first + away
    centre = mean + (1.0 - change.share) * (linear - mean)
    quantiles, straight = _quantiles(part, (apart, 1.0 / scale), away, half, change.doubt)
    quantiles = centre + change.stretch * quantiles
    return centre, change.stretch * sd, sd_model, quantiles, corr, straight.all(axis=0)


def _over_draws(
    part: Chosen, z: jax.Array, scatter: jax.Array, shape: Shape
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the first draw's locations (K, N), all others' away from it and scales (S, K, N)."""
    # Relative to one draw: the spread of draws may be small beside what they have in common.
    first, _ = location_and_scale({n: v[0] for n, v in part.draws.items()}, z, scatter, shape)

    def one(_: None, draw: Mapping[str, jax.Array]) -> tuple[None, tuple[jax.Array, jax.Array]]:
        location, scale = location_and_scale(draw, z, scatter, shape)
        return None, (location - first, scale)

    return first, *jax.lax.scan(one, None, dict(part.draws))[1]


def _quantiles(
    part: Chosen,
    kept: tuple[jax.Array, jax.Array],
    away: jax.Array,
    half: jax.Array,
    doubt: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Return quantiles (3, K, N) relative to the mean, and where (K, N) to trust them."""
    half = half * (WIDEST - (WIDEST - 1.0) / jnp.sqrt(doubt))

    def add(sums: tuple[jax.Array, ...], item: tuple[jax.Array, ...]):  # type: ignore[no-untyped-def]
        location, inverse, table = item
        centre, unit = (away - location) * inverse, half * inverse
        return tuple(
            s + student.from_polynomial(centre + node * unit, table)
            for s, node in zip(sums, NODES, strict=True)
        ), None

    sums, _ = jax.lax.scan(add, (jnp.zeros_like(half),) * len(NODES), (*kept, part.table))
    below = [jnp.clip(s / len(part.table) + 0.5, 1e-4, 1.0 - 1e-4) for s in sums]
    normal = _with_doubt([jax.scipy.special.ndtri(b) for b in below], doubt)
    rises = [high - low for low, high in pairwise(normal)]
    found, beyond = [], jnp.zeros_like(half)
    for left, level in enumerate(QUANTILES.values()):
        away = (stats.norm.ppf(level) - normal[left]) / rises[left]
        width = NODES[left + 1] - NODES[left]
        found.append(NODES[left] + width * away)
        beyond = jnp.maximum(beyond, width * jnp.maximum(-away, away - 1.0))
    most, least = jnp.stack(rises).max(axis=0), jnp.stack(rises).min(axis=0)
    # Rather this way round: what is NaN is not to be trusted.
    straight = (most < STRAIGHT * least) & (beyond < BEYOND)
    return jnp.stack(found) * half, straight


def _with_doubt(normal: list[jax.Array], doubt: jax.Array) -> list[jax.Array]:
    """Return the normal quantiles at `NODES` of a law whose doubting share is stretched.

    Those of the share lie between the others', where they are nearly straight.
    """
    rises = [high - low for low, high in pairwise(normal)]
    mixed = []
    for node, usual in zip(NODES, normal, strict=True):
        inner = normal[0]
        for (left, right), rise in zip(pairwise(NODES), rises, strict=True):
            inner = inner + rise * jnp.clip((node / doubt - left) / (right - left), 0.0, 1.0)
        below = (1.0 - SHARE) * jax.scipy.special.ndtr(usual) + SHARE * jax.scipy.special.ndtr(
            inner
        )
        mixed.append(jnp.where(doubt > 1.0, jax.scipy.special.ndtri(below), usual))
    return mixed
