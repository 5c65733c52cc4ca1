r"""Several surveys' posteriors of the same stars made one, and whether they agree.

Each translated survey :math:`i` gives of a star's parameters :math:`y` (on the base's scale)
a posterior :math:`q_i` with mean :math:`m_i` and covariance :math:`C_i`. Three things keep the
posteriors of several surveys from being independent measurements:

- **Each contains the population.** A translation knows how the training stars are distributed
  (mean :math:`\mu_0`, covariance :math:`C_0`), and every posterior contains that once. Their
  product contains it :math:`n` times, so it is divided out :math:`n - 1` times.
- **Each misses the same thing.** Some of the base's values is its own (the errors that it does
  not quote): no other survey can see it, so that all translations are wrong by it together.
  That shared scatter :math:`T` must not shrink with the number of surveys.
- **The base itself sees it.** What the base measured is a likelihood of :math:`y`, with its
  quoted errors.

With normal laws, :math:`y = s + t`, surveys independent given :math:`s`, and :math:`t` of
covariance :math:`T`,

.. math::

   C^{-1}_s = \sum_i (C_i - T)^{-1} - (n - 1)(C_0 - T)^{-1}, \qquad
   C^{-1} = (C_s + T)^{-1} + \sum_b E_b^{-1},

where :math:`E_b` are the squared errors of what surveys on the base measured. :math:`C_0` is
widened for a star until no survey's posterior is wider in any direction (a star outside the
training stars is not of their population); the sum then is positive definite, and never
wider than the narrowest of its parts. A survey counts with the outputs that it has.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: At most this share of the narrowest survey's variance is shared with the others.
MOST_SHARED = 0.95
#: Fewer common stars say too little about it.
LEAST_COMMON = 50
#: What is taken where nothing says more: between none and all of the error.
UNKNOWN_SHARED = 0.5
#: How much wider than the widest survey the population is taken to be for the comparison of
#: surveys: what two uninformative posteriors have in common must not pass for agreement.
MARGIN = 2.0


class Population(NamedTuple):
    """The base's true parameters over the training stars.

    Attributes
    ----------
    mean : (K,) array
    covariance : (K, K) array
    """

    mean: Floats
    covariance: Floats


class Evidence(NamedTuple):
    """What surveys say of stars, of which all surveys say something.

    Attributes
    ----------
    mean : (N, S, K) array
        Of each translated survey; NaN where it has no answer.
    covariance : (N, S, K, K) array
    measured, error : (N, M, K) array
        What surveys on the base measured, and its one-sigma errors; NaN where missing.
    """

    mean: Floats
    covariance: Floats
    measured: Floats
    error: Floats


class Combination(NamedTuple):
    """One posterior of each star.

    Attributes
    ----------
    mean : (N, K) array
        NaN where no survey has an answer.
    covariance : (N, K, K) array
    gain : (N, S, K, K) array
        By how much the mean follows that of each translated survey.
    chi2, dof, agreement : (N,) array
        Of the surveys' differences, the number of compared values beyond the first of each
        output, and the probability of a larger chi-square; NaN without a comparison.
    spread : (N, K, K) array
        Mean square of the surveys' means about the combined one.
    """

    mean: Floats
    covariance: Floats
    gain: Floats
    chi2: Floats
    dof: NDArray[np.int64]
    agreement: Floats
    spread: Floats


def combine(evidence: Evidence, population: Population, shared: Floats) -> Combination:
    r"""Combine what surveys say of stars; see the module's text for the law.

    Parameters
    ----------
    evidence : Evidence
    population : Population
    shared : (K,) array
        The share, from 0 to `MOST_SHARED`, of the narrowest survey's variance that is common
        to all translations: :math:`T_{kl} = \sqrt{\phi_k \phi_l}\, \sigma_k \sigma_l\, R_{kl}`
        with the smallest standard deviations :math:`\sigma` and the mean correlations.

    Returns
    -------
    Combination
        It depends on the order of the surveys by rounding only.
    """
    unit = np.sqrt(np.diag(population.covariance))
    square = np.outer(unit, unit)
    prior = population.covariance / square
    scaled = Evidence(
        (evidence.mean - population.mean) / unit,
        evidence.covariance / square,
        (evidence.measured - population.mean) / unit,
        evidence.error / unit,
    )
    mean, covariance, gain, common = _translated(scaled, prior, shared)
    mean, covariance, gain = _with_measured(scaled, mean, covariance, gain)
    chi2, dof = _disagreement(scaled, prior, common)
    p = np.where(dof > 0, stats.chi2.sf(chi2, np.maximum(dof, 1)), np.nan)
    return Combination(
        population.mean + unit * mean,
        square * covariance,
        gain * unit[:, None] / unit,
        np.where(dof > 0, chi2, np.nan),
        dof,
        p,
        square * _spread(scaled, mean),
    )


def _translated(
    evidence: Evidence, prior: Floats, shared: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return mean, covariance, gains and the shared scatter of the translated surveys."""
    seen = np.isfinite(evidence.mean)
    common = _common(evidence.covariance, seen, shared)
    own = evidence.covariance - common[:, None]
    wide = _widened(prior, evidence.covariance, seen, 1.0) - common
    whole = np.linalg.inv(wide)
    inverse = masked_inverse(own, seen)
    precision = whole + (inverse - masked_inverse(wide[:, None], seen)).sum(axis=1)
    covariance = np.linalg.inv(precision)
    gain = covariance[:, None] @ inverse
    centred = np.where(seen, evidence.mean, 0.0)
    mean = (gain @ centred[..., None])[..., 0].sum(axis=1)
    return mean, covariance + common, gain, common


def _with_measured(
    evidence: Evidence, mean: Floats, covariance: Floats, gain: Floats
) -> tuple[Floats, Floats, Floats]:
    """Multiply by the likelihoods of what the base measured."""
    translated = np.isfinite(evidence.mean).any(axis=1)
    # Where only the base has an output, its population plays no part.
    inverse = masked_inverse(covariance, translated)
    weight = np.where(np.isfinite(evidence.measured), evidence.error**-2.0, 0.0)
    precision = inverse + weight.sum(axis=1)[:, :, None] * np.eye(mean.shape[1])
    seen = translated | (weight > 0).any(axis=1)
    found = masked_inverse(precision, seen)
    towards = (inverse @ np.where(translated, mean, 0.0)[..., None])[..., 0]
    towards += (weight * np.where(weight > 0, evidence.measured, 0.0)).sum(axis=1)
    together = (found @ towards[..., None])[..., 0]
    both = seen[:, :, None] & seen[:, None]
    return (
        np.where(seen, together, np.nan),
        np.where(both, found, np.nan),
        (found @ inverse)[:, None] @ gain,
    )


def masked_inverse(matrix: Floats, seen: Flags) -> Floats:
    """Return inverses (..., K, K) of the parts that are seen (..., K), with zeros elsewhere."""
    both = seen[..., :, None] & seen[..., None, :]
    return np.where(both, np.linalg.inv(np.where(both, matrix, np.eye(seen.shape[-1]))), 0.0)


def _common(covariance: Floats, seen: Flags, shared: Floats) -> Floats:
    """Return the shared scatter (N, K, K) of each star: less than any survey's covariance."""
    stars, surveys, wide = seen.shape
    if not surveys:
        return np.zeros((stars, wide, wide))
    both = seen[..., :, None] & seen[..., None, :]
    sd = np.sqrt(np.einsum("nskk->nsk", covariance))
    corr = np.where(both, covariance / (sd[..., :, None] * sd[..., None, :]), 0.0).sum(axis=1)
    count = np.maximum(np.sqrt(seen.sum(axis=1)), 1.0)
    least = np.where(seen, sd, np.inf).min(axis=1)
    size = np.where(np.isfinite(least), least, 0.0) * np.sqrt(shared) / count
    common = size[:, :, None] * corr * size[:, None]
    # Correlations that differ must not leave a survey without a variance of its own.
    largest = _largest(np.where(both, common[:, None], 0.0), _identity_beyond(covariance, both))
    return common * np.minimum(1.0, MOST_SHARED / np.maximum(largest, 1e-9))[:, None, None]


def _widened(prior: Floats, covariance: Floats, seen: Flags, margin: float) -> Floats:
    """Return the population's covariance (N, K, K), no narrower than any survey's."""
    both = seen[..., :, None] & seen[..., None, :]
    against = _identity_beyond(np.broadcast_to(prior, covariance.shape), both)
    largest = _largest(np.where(both, covariance, 0.0), against)
    return np.maximum(1.0, margin * largest)[:, None, None] * prior


def _identity_beyond(matrix: Floats, both: Flags) -> Floats:
    return np.where(both, matrix, np.eye(matrix.shape[-1]))


def _largest(matrix: Floats, against: Floats) -> Floats:
    """Return the largest variance (N,) relative to another one, over surveys and directions."""
    root = np.linalg.inv(np.linalg.cholesky(against))
    values = np.linalg.eigvalsh(root @ matrix @ np.swapaxes(root, -1, -2))
    return values.max(axis=(1, 2), initial=0.0)


def _disagreement(
    evidence: Evidence, prior: Floats, common: Floats
) -> tuple[Floats, NDArray[np.int64]]:
    """Return chi-square (N,) and its degrees of freedom of the differences between surveys.

    Their errors' covariance has what translations share: the common scatter, and what both
    have taken from the population. Least squares for a common value leave the chi-square.
    """
    stars, surveys, wide = evidence.mean.shape
    seen = np.isfinite(np.concatenate([evidence.mean, evidence.measured], axis=1))
    count = seen.shape[1]
    cells = np.zeros((stars, count, count, wide, wide))
    given = seen[:, :surveys]
    population = _widened(prior, evidence.covariance, given, MARGIN) - common
    own = np.where(
        given[..., :, None] & given[..., None, :], evidence.covariance - common[:, None], 0.0
    )
    pull = own @ masked_inverse(population[:, None], given)  # towards the population
    for i, j in itertools.combinations(range(surveys), 2):
        cell = common + pull[:, i] @ population @ np.swapaxes(pull[:, j], 1, 2)
        cells[:, i, j], cells[:, j, i] = cell, np.swapaxes(cell, 1, 2)
    for i in range(surveys):
        cells[:, i, i] = evidence.covariance[:, i]
    for b in range(surveys, count):
        cells[:, b, b] = evidence.error[:, b - surveys, :, None] ** 2 * np.eye(wide)
    flat = np.swapaxes(cells, 2, 3).reshape(stars, count * wide, count * wide)
    inverse = masked_inverse(flat, seen.reshape(stars, -1))
    values = np.concatenate([evidence.mean, evidence.measured], axis=1).reshape(stars, -1, 1)
    values = np.where(np.isfinite(values), values, 0.0)
    design = np.tile(np.eye(wide), (count, 1))
    weighted = inverse @ values
    towards = design.T @ weighted
    fitted = masked_inverse(design.T @ inverse @ design, seen.any(axis=1)) @ towards
    chi2 = (values * weighted).sum(axis=(1, 2)) - (towards * fitted).sum(axis=(1, 2))
    return np.maximum(chi2, 0.0), seen.sum(axis=(1, 2)) - seen.any(axis=1).sum(axis=1)


def _spread(evidence: Evidence, mean: Floats) -> Floats:
    """Return the mean square (N, K, K) of the surveys' means about the combined ones."""
    each = np.concatenate([evidence.mean, evidence.measured], axis=1)
    away = np.where(np.isfinite(each), each - mean[:, None], 0.0)
    away /= np.sqrt(np.maximum(np.isfinite(each).sum(axis=1), 1))[:, None]
    return np.einsum("nsk,nsl->nkl", away, away)


def learned_shared(mean: Floats, sd: Floats, population: Population) -> tuple[Floats, Floats]:
    """Learn what translations share from how little they differ.

    Parameters
    ----------
    mean, sd : (N, S, K) array
        Of stars with at least two translated surveys; NaN where there is no answer.
    population : Population

    Returns
    -------
    shared : (K,) array
        The share of the narrower survey's variance for which differences of a pair of
        surveys have (by the median of their sizes) the spread that they should; `UNKNOWN_SHARED`
        with fewer than `LEAST_COMMON` pairs. 0 where they differ by more than they say.
    pairs : (K,) array
        The number of pairs behind it.
    """
    variance = np.diag(population.covariance)
    shared, pairs = np.full(len(variance), UNKNOWN_SHARED), np.zeros(len(variance))
    for k, wide in enumerate(variance):
        found: list[tuple[Floats, Floats, Floats]] = []
        for i, j in itertools.combinations(range(mean.shape[1]), 2):
            rows = np.isfinite(mean[:, i, k] + mean[:, j, k])
            found.append(
                (mean[rows, i, k] - mean[rows, j, k], sd[rows, i, k] ** 2, sd[rows, j, k] ** 2)
            )
        if not found:
            continue
        away, first, second = (np.concatenate(part) for part in zip(*found, strict=True))
        pairs[k] = len(away)
        if len(away) >= LEAST_COMMON:
            shared[k] = _share(away, first, second, float(wide))
    return shared, pairs


def _share(away: Floats, first: Floats, second: Floats, wide: float) -> float:
    least = np.minimum(first, second)
    population = np.maximum(wide, np.maximum(first, second))

    def excess(share: float) -> float:
        common = share * least
        both = (first - common) * (second - common) / (population - common)
        expected = np.maximum(first + second - 2.0 * (common + both), 1e-12 * least)
        return float(np.median(np.abs(away) / np.sqrt(expected)) - stats.norm.ppf(0.75))

    if excess(0.0) >= 0:
        return 0.0
    if excess(MOST_SHARED) <= 0:
        return MOST_SHARED
    return float(optimize.brentq(excess, 0.0, MOST_SHARED, xtol=1e-4))
