"""The density of stars' features: what missing ones may be, given those that are seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.cluster import vq

from .programs import compiled

Floats = NDArray[np.float64]

#: Numbers of components that are tried; the Bayesian information criterion chooses.
COMPONENTS = (1, 2, 4, 8)
#: Stars fall into kinds by what they lack if so few kinds hold this share of them.
MOST_KINDS, KINDS_HOLD = 6, 0.95
#: A kind is at least this share of the stars.
SMALLEST_KIND = 0.02
#: More stars than this say nothing new about a density this smooth.
MOST_STARS = 2000
ROUNDS = 50
#: Every component's covariance counts so many stars with the covariance of all.
PRIOR_STARS = 2.0
#: Variance that every feature has at least, in units of its own.
FLOOR = 1e-5


@dataclass(frozen=True)
class Density:
    """A mixture of normals over the features of a star.

    It is learned from stars with gaps, by expectation and maximisation over what
    is missing (Ghahramani & Jordan 1994), on the assumption that whether a value is
    missing depends on what is seen alone.

    Attributes
    ----------
    weight : (C,) array
    mean : (C, F) array
    covariance : (C, F, F) array
        In the scaled units of the features.
    kinds : (Q, G) array of 0 and 1
        Which of the first G features the stars of each group lack, where there are a
        few such groups.
    """

    weight: Floats
    mean: Floats
    covariance: Floats
    kinds: NDArray[np.int64]

    @classmethod
    def learn(cls, z: Floats, n_kinds: int | None = None) -> Density:
        """Learn from features (N, F) with NaN where missing.

        Of those the first ``n_kinds`` (by default all) say of which kind a star is.
        """
        kinds = _kinds(~np.isfinite(z[:, :n_kinds]))
        if len(z) > MOST_STARS:
            z = z[np.random.default_rng(0).choice(len(z), MOST_STARS, replace=False)]
        width = z.shape[1]
        nothing = np.zeros(width)
        start = cls(np.ones(1), nothing[None], np.eye(width)[None], kinds)
        best, least = start, np.inf
        for count in COMPONENTS:
            if count > 1 and len(z) < 5 * count * width:
                break
            found, fit = _maximise(z, count, best)
            free = count * (1 + width + width * (width + 1) / 2)
            criterion = free * np.log(len(z)) - 2.0 * fit
            if criterion >= least:
                break
            best, least = found, criterion
        return best

    def draws(self, z: Floats, words: NDArray[np.uint32], count: int, seed: int) -> NDArray:
        """Return completions (count, N, F) of features (N, F); seen ones stay as they are.

        A star's completions depend on the seed and its two ``words`` only.
        """
        key = jax.random.key(seed)
        parts = [jnp.asarray(part) for part in (self.weight, self.mean, self.covariance)]
        return np.asarray(_draws(jnp.asarray(z), jnp.asarray(words), key, *parts, count))

    def expected(self, z: Floats) -> Floats:
        """Return features (N, F) with the missing ones at their conditional means."""
        share, filled, _, _ = _expect(z, self)
        return np.where(np.isfinite(z), z, (share[:, :, None] * filled).sum(axis=1))

    def log_density(self, z: Floats) -> Floats:
        """Return the log density (N,) of what is seen of features (N, F)."""
        return _expect(z, self)[3]

    def to_arrays(self) -> dict[str, NDArray]:
        """Return the fields by name, as they are written to a model file."""
        return dict(vars(self))

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Density:
        """Rebuild from what `to_arrays` returned."""
        return cls(**arrays)


def _kinds(missing: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return what the kinds of stars lack; one kind where stars do not fall into a few.

    Subsets of a survey often lack different columns, and differ in more than that.
    """
    patterns, counts = np.unique(missing, axis=0, return_counts=True)
    large = counts >= SMALLEST_KIND * len(missing)
    if large.sum() <= MOST_KINDS and counts[large].sum() >= KINDS_HOLD * len(missing):
        return patterns[large].astype(np.int64)
    return np.zeros((1, missing.shape[1]), dtype=np.int64)


def _maximise(z: Floats, count: int, start: Density) -> tuple[Density, float]:
    """Return the mixture of so many components, and its log likelihood of what is seen.

    ``start`` is a simpler one, which fills the gaps to begin with.
    """
    filled = start.expected(z)
    usual = np.einsum("c,cfg->fg", start.weight, start.covariance) * (count > 1)
    _, label = vq.kmeans2(filled, count, minit="++", rng=np.random.default_rng(0))
    share = np.eye(count)[label]
    _, _, scatter, _ = _expect(z, start)
    every = np.repeat(filled[:, None], count, axis=1)
    found = _from_shares(start, share, every, scatter.sum(axis=0) / count, usual)
    fit = -np.inf
    for _ in range(ROUNDS):
        before = fit
        share, every, scatter, density = _expect(z, found)
        fit = float(density.sum())
        if fit - before < 1e-4 * len(z):
            break
        found = _from_shares(found, share, every, scatter, usual)
    return found, fit


def _from_shares(
    old: Density, share: Floats, filled: Floats, scatter: Floats, usual: Floats
) -> Density:
    """Return the components that best explain shares (N, C) of completed stars (N, C, F).

    ``scatter`` (C, F, F) is the conditional covariance of what is missing, summed over
    stars; ``usual`` (F, F) the covariance that each component is drawn to.
    """
    total = share.sum(axis=0)
    mean = (share[:, :, None] * filled).sum(axis=0) / np.maximum(total, 1e-9)[:, None]
    away = np.moveaxis(filled - mean, 0, -1)  # (C, F, N)
    square = (away * share.T[:, None]) @ np.swapaxes(away, 1, 2) + scatter
    covariance = (square + PRIOR_STARS * usual) / (total + PRIOR_STARS)[:, None, None]
    covariance += FLOOR * np.eye(filled.shape[2])
    return replace(
        old, weight=(total + 1.0) / (total + 1.0).sum(), mean=mean, covariance=covariance
    )


def _expect(z: Floats, density: Density) -> tuple[Floats, Floats, Floats, Floats]:
    """Return what the components say of stars (N, F) with gaps.

    That is their shares (N, C), the stars completed with conditional means (N, C, F),
    the conditional covariances of what is missing, summed over stars (C, F, F), and the
    log density (N,) of what is seen. Many stars miss the same: all matrices are by pattern.
    """
    seen = np.isfinite(z)
    patterns, pattern = np.unique(seen, axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)
    both = patterns[:, None, :, None] & patterns[:, None, None, :]
    part = np.where(both, density.covariance, np.eye(z.shape[1]))
    inverse = np.where(both, np.linalg.inv(part), 0.0)
    residual = np.where(seen[:, None], z[:, None] - density.mean, 0.0)[..., None]
    weighted = inverse[pattern] @ residual
    log_density = np.log(density.weight) - 0.5 * (residual * weighted).sum(axis=(2, 3))
    log_density -= 0.5 * np.linalg.slogdet(part)[1][pattern]
    log_density -= 0.5 * np.log(2 * np.pi) * seen.sum(axis=1)[:, None]
    total = special.logsumexp(log_density, axis=1, keepdims=True)
    share = np.exp(log_density - total)
    filled = density.mean + (density.covariance @ weighted)[..., 0]
    filled = np.where(seen[:, None], z[:, None], filled)
    left = density.covariance - density.covariance @ inverse @ density.covariance
    hidden = ~patterns[:, None, :, None] & ~patterns[:, None, None, :]
    counts = np.zeros((len(patterns), share.shape[1]))
    np.add.at(counts, pattern, share)
    scatter = (counts[..., None, None] * np.where(hidden, left, 0.0)).sum(axis=0)
    return share, filled, scatter, total[:, 0]


@partial(compiled, static_argnames="count")
def _draws(
    z: jax.Array,
    words: jax.Array,
    base: jax.Array,
    weight: jax.Array,
    mean: jax.Array,
    covariance: jax.Array,
    count: int,
) -> jax.Array:
    width = z.shape[1]

    def component(
        seen: jax.Array, row: jax.Array, mean: jax.Array, covariance: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return log density of what is seen, conditional mean and root of the covariance."""
        both = seen[:, None] & seen[None]
        root = jnp.linalg.cholesky(jnp.where(both, covariance, jnp.eye(width)))
        residual = jnp.where(seen, row - mean, 0.0)
        across = jnp.where(seen[:, None], covariance, 0.0)
        white = jax.scipy.linalg.solve_triangular(root, residual, lower=True)
        towards = jax.scipy.linalg.solve_triangular(root, across, lower=True)
        log_density = -0.5 * white @ white - jnp.log(jnp.diagonal(root)).sum()
        left = covariance - towards.T @ towards
        hidden = ~seen[:, None] & ~seen[None]
        left = jnp.where(hidden, left, 0.0) + jnp.diag(jnp.where(seen, 1.0, 1e-6))
        return log_density, mean + towards.T @ white, jnp.linalg.cholesky(left)

    def star(row: jax.Array, words: jax.Array) -> jax.Array:
        seen = jnp.isfinite(row)
        key = jax.random.fold_in(jax.random.fold_in(base, words[0]), words[1])
        which, normal = jax.random.split(key)
        parts = jax.vmap(component, (None, None, 0, 0))(seen, row, mean, covariance)
        log_density, centre, root = parts
        chosen = jax.random.categorical(which, jnp.log(weight) + log_density, shape=(count,))
        noise = jax.random.normal(normal, (count, width), dtype=z.dtype)
        drawn = centre[chosen] + jnp.einsum("sfg,sg->sf", root[chosen], noise)
        return jnp.where(seen, row, drawn)

    return jnp.swapaxes(jax.vmap(star)(z, words), 0, 1)
