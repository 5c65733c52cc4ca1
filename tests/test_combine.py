"""The law by which posteriors of several surveys are combined, against the closed form."""

from __future__ import annotations

import linear
import numpy as np
import pytest
from scipy import stats

from bayestrans.combine import Evidence, Population, combine, learned_shared

# ---- the law ---------------------------------------------------------------------------


def conditioned(design: np.ndarray, noise: np.ndarray, seen: np.ndarray) -> tuple:
    """Return mean and covariance of y given ``seen`` = design y + noise, from the joint law."""
    across = linear.POPULATION @ design.T
    slope = across @ np.linalg.inv(design @ across + noise)
    mean = linear.MEAN + (seen - linear.MEAN @ design.T) @ slope.T
    return mean, linear.POPULATION - slope @ across.T


def stacked(*cells: np.ndarray) -> np.ndarray:
    """Return a matrix with these blocks along its diagonal."""
    size = sum(map(len, cells))
    result, at = np.zeros((size, size)), 0
    for cell in cells:
        result[at : at + len(cell), at : at + len(cell)] = cell
        at += len(cell)
    return result


def evidence_of(noises: list[np.ndarray], seen: list[np.ndarray], parts: list[list[int]]) -> tuple:
    """Return posteriors of each survey by itself (N, S, 3) with the outputs that it has."""
    count = len(seen[0])
    mean = np.full((count, len(noises), 3), np.nan)
    covariance = np.tile(np.eye(3), (count, len(noises), 1, 1))
    for s, (noise, values, part) in enumerate(zip(noises, seen, parts, strict=True)):
        found, own = conditioned(np.eye(3)[part], noise, values)
        mean[:, s, part] = found[:, part]
        covariance[:, s, np.array(part)[:, None], part] = own[np.ix_(part, part)]
    return mean, covariance


NOTHING = np.zeros((40, 0, 3))
POPULATION = Population(linear.MEAN, linear.POPULATION)
SHARE_NOTHING = np.zeros(3)


@pytest.mark.parametrize("parts", [[[0, 1, 2], [0, 1, 2]], [[0, 1, 2], [0, 2]], [[1], [0, 2]]])
@pytest.mark.parametrize("with_base", [False, True])
def test_combination_is_the_posterior_given_all_measurements(parts, with_base):
    """The oracle conditions the joint normal law of parameters and all measurements."""
    rng = np.random.default_rng(3)
    truth = rng.multivariate_normal(linear.MEAN, linear.POPULATION, 40)
    noises = [linear.noise_of(n)[np.ix_(p, p)] for n, p in zip("ab", parts, strict=True)]
    seen = [
        truth[:, p] + rng.multivariate_normal(np.zeros(len(p)), noise, 40)
        for p, noise in zip(parts, noises, strict=True)
    ]
    base = truth + linear.BASE_ERROR * rng.normal(size=truth.shape)
    base[:, 1] = np.nan
    measured, error = NOTHING, NOTHING
    design = np.concatenate([np.eye(3)[p] for p in parts])
    cells, values = list(noises), [*seen]
    if with_base:
        measured, error = base[:, None], np.broadcast_to(linear.BASE_ERROR, (40, 1, 3))
        design = np.concatenate([design, np.eye(3)[[0, 2]]])
        cells.append(np.diag(linear.BASE_ERROR[[0, 2]] ** 2))
        values.append(base[:, [0, 2]])
    want, covariance = conditioned(design, stacked(*cells), np.concatenate(values, axis=1))
    given = Evidence(*evidence_of(noises, seen, parts), measured, error)
    found = combine(given, POPULATION, SHARE_NOTHING)
    np.testing.assert_allclose(found.mean, want, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.covariance, np.broadcast_to(covariance, (40, 3, 3)), rtol=1e-8)


def test_what_all_translations_miss_is_not_averaged_away():
    """The oracle is the joint law of y = s + t: surveys see s, the base measures y."""
    rng = np.random.default_rng(4)
    own = 0.1 * linear.POPULATION
    inner = linear.POPULATION - own
    noises = [0.2 * linear.POPULATION, 0.5 * linear.POPULATION]
    star = rng.multivariate_normal(linear.MEAN, inner, 40)
    truth = star + rng.multivariate_normal(np.zeros(3), own, 40)
    seen = [star + rng.multivariate_normal(np.zeros(3), noise, 40) for noise in noises]
    base = truth + linear.BASE_ERROR * rng.normal(size=truth.shape)
    # Of y and both surveys, from which each posterior and the joint one follow.
    quoted = np.diag(linear.BASE_ERROR**2)
    across = np.concatenate([inner, inner, linear.POPULATION], axis=1)
    joint = np.block(
        [
            [inner + noises[0], inner, inner],
            [inner, inner + noises[1], inner],
            [inner, inner, linear.POPULATION + quoted],
        ]
    )
    slope = across @ np.linalg.inv(joint)
    values = np.concatenate([*seen, base], axis=1) - np.tile(linear.MEAN, 3)
    want, covariance = linear.MEAN + values @ slope.T, linear.POPULATION - slope @ across.T
    each = [inner @ np.linalg.inv(inner + noise) for noise in noises]
    mean = np.stack(
        [linear.MEAN + (x - linear.MEAN) @ g.T for x, g in zip(seen, each, strict=True)], axis=1
    )
    single = np.stack([linear.POPULATION - gain @ inner for gain in each])
    given = Evidence(
        mean,
        np.tile(single, (40, 1, 1, 1)),
        base[:, None],
        np.broadcast_to(linear.BASE_ERROR, (40, 1, 3)),
    )
    shared = np.full(3, own[0, 0] / single[0, 0, 0])
    found = combine(given, POPULATION, shared)
    np.testing.assert_allclose(found.mean, want, rtol=1e-9)
    np.testing.assert_allclose(found.covariance, np.broadcast_to(covariance, (40, 3, 3)), rtol=1e-8)
    # Without the base, two surveys that were taken for independent would claim too much.
    given = given._replace(measured=NOTHING, error=NOTHING)
    honest, naive = (combine(given, POPULATION, phi).covariance for phi in (shared, SHARE_NOTHING))
    want = (0.1 + 1 / (1 / 0.9 + 1 / 0.2 + 1 / 0.5)) * linear.POPULATION
    np.testing.assert_allclose(honest, np.broadcast_to(want, honest.shape), rtol=1e-9)
    assert (naive.diagonal(axis1=1, axis2=2) < 0.9 * want.diagonal()).all()


def test_whatever_is_combined_is_never_wider_than_its_narrowest_part():
    """Also where posteriors are wider than the population, as outside the training stars."""
    rng = np.random.default_rng(5)
    root = (
        rng.normal(size=(300, 3, 3, 3)) * linear.SD[:, None] * 10 ** rng.uniform(-2, 1, (3, 1, 1))
    )
    covariance = root @ np.swapaxes(root, 2, 3) + 1e-4 * np.diag(linear.SD**2)
    mean = linear.MEAN + 10 * linear.SD * rng.normal(size=(300, 3, 3))
    nothing = np.zeros((300, 0, 3))
    found = combine(Evidence(mean, covariance, nothing, nothing), POPULATION, SHARE_NOTHING)
    unit = np.outer(linear.SD, linear.SD)
    assert np.linalg.eigvalsh(found.covariance / unit).min() > 0
    narrower = np.linalg.eigvalsh((covariance - found.covariance[:, None]) / unit)
    scale = np.linalg.eigvalsh(covariance / unit).max(axis=-1, keepdims=True)
    assert (narrower / scale).min() > -1e-9
    whatever = combine(Evidence(mean, covariance, nothing, nothing), POPULATION, np.full(3, 0.9))
    assert np.linalg.eigvalsh(whatever.covariance / unit).min() > 0


def test_agreement_of_surveys_that_agree_is_uniform():
    rng = np.random.default_rng(6)
    truth = rng.multivariate_normal(linear.MEAN, linear.POPULATION, 3000)
    noises = [linear.noise_of(name) for name in "abc"]
    seen = [truth + rng.multivariate_normal(np.zeros(3), noise, 3000) for noise in noises]
    base = truth + linear.BASE_ERROR * rng.normal(size=truth.shape)
    mean, covariance = evidence_of(noises, seen, [[0, 1, 2]] * 3)
    mean[:500, 2, 1] = np.nan
    error = np.broadcast_to(linear.BASE_ERROR, (3000, 1, 3))
    found = combine(Evidence(mean, covariance, base[:, None], error), POPULATION, SHARE_NOTHING)
    assert (found.dof[:500] == 8).all()
    assert (found.dof[500:] == 9).all()
    assert stats.kstest(found.agreement, "uniform").pvalue > 0.01
    # One survey has nothing to agree with.
    alone = Evidence(mean[:, :1], covariance[:, :1], base[:, None][:, :0], error[:, :0])
    assert np.isnan(combine(alone, POPULATION, SHARE_NOTHING).agreement).all()


@pytest.mark.parametrize("share", [0.0, 0.4, 0.8])
def test_what_is_shared_is_learned_from_how_little_surveys_differ(share):
    rng = np.random.default_rng(7)
    error = rng.uniform(0.1, 0.3, (40_000, 2))
    own = share * error.min(axis=1) ** 2
    # Far below the population's spread: the posterior is the measurement.
    mean = np.sqrt(error**2 - own[:, None]) * rng.normal(size=error.shape)
    mean += np.sqrt(own)[:, None] * rng.normal(size=(40_000, 1))
    mean[::40] += 5 * rng.normal(size=(1000, 2))  # binaries and wrong matches
    found, pairs = learned_shared(
        mean[:, :, None], error[:, :, None], Population(np.zeros(1), np.array([[1e6]]))
    )
    assert pairs == [40_000]
    assert found[0] == pytest.approx(share, abs=0.06)


def test_few_common_stars_do_not_tell_what_is_shared():
    found, pairs = learned_shared(np.zeros((20, 2, 3)), np.ones((20, 2, 3)), POPULATION)
    assert pairs.tolist() == [20] * 3
    assert found.tolist() == [0.5] * 3
