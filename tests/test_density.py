"""The density that fills gaps, against closed forms of the multivariate normal."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import special, stats

from bayestrans import density as module
from bayestrans.density import Density

NAN = float("nan")
CHUNK = 512  # the number of stars that a posterior completes at once
MEAN = np.array([0.3, -0.5, 0.1, 0.8])
ROOT = np.array([[1.0, 0, 0, 0], [0.7, 0.6, 0, 0], [-0.4, 0.5, 0.7, 0], [0.2, -0.6, 0.3, 0.5]])
COVARIANCE = ROOT @ ROOT.T
ONE = Density(np.ones(1), MEAN[None], COVARIANCE[None], np.zeros((1, 4), dtype=int))
# Two well separated components of unlike shape.
TWO = Density(
    np.array([0.35, 0.65]),
    np.array([[-1.2, 0.9, 0.0], [0.8, -0.5, 0.2]]),
    np.array(
        [
            [[0.20, 0.15, 0.0], [0.15, 0.30, 0.05], [0.0, 0.05, 0.4]],
            [[0.30, -0.20, 0.1], [-0.20, 0.25, 0.0], [0.1, 0.0, 0.5]],
        ]
    ),
    np.zeros((1, 3), dtype=int),
)


def drawn(density: Density, count: int, seed: int) -> np.ndarray:
    """Draw complete stars (N, F) from a mixture."""
    rng = np.random.default_rng(seed)
    which = rng.choice(len(density.weight), count, p=density.weight)
    root = np.linalg.cholesky(density.covariance)[which]
    noise = rng.normal(size=(count, density.mean.shape[1]))
    return density.mean[which] + np.einsum("nfg,ng->nf", root, noise)


def holed(z: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Blank a share of the numbers, at random."""
    return np.where(np.random.default_rng(seed).random(z.shape) < share, NAN, z)


def words(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**32, (count, 2), dtype=np.uint32)


def conditional(row: np.ndarray, mean=MEAN, covariance=COVARIANCE):
    """Return mean and covariance of what is missing of a row, given what is seen."""
    seen = np.isfinite(row)
    gain = covariance[np.ix_(~seen, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    left = covariance[np.ix_(~seen, ~seen)] - gain @ covariance[np.ix_(seen, ~seen)]
    return mean[~seen] + gain @ (row - mean)[seen], left


PATTERNS = [(0,), (3,), (0, 2), (1, 2, 3), (0, 1, 2, 3)]


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Return a star for each pattern of missing features, and one without gaps."""
    z = drawn(ONE, len(PATTERNS) + 1, 1)
    for row, missing in zip(z, PATTERNS, strict=False):
        row[list(missing)] = NAN
    return z


# ---- one component: the closed form -----------------------------------------------------


def test_expected_values_are_the_conditional_means(rows):
    found = ONE.expected(rows)
    for row, values in zip(rows, found, strict=True):
        missing = np.isnan(row)
        np.testing.assert_array_equal(values[~missing], row[~missing])
        if missing.any():
            np.testing.assert_allclose(values[missing], conditional(row)[0], rtol=1e-10)


def test_draws_have_the_conditional_mean_and_covariance(rows):
    count = 8000
    found = ONE.draws(rows, words(len(rows)), count, seed=0)
    assert found.shape == (count, *rows.shape)
    for n, missing in enumerate(PATTERNS):
        mean, covariance = conditional(rows[n])
        part = found[:, n, list(missing)].astype(float)
        sd = np.sqrt(np.diag(covariance))
        assert np.abs((part.mean(axis=0) - mean) / sd).max() < 4.5 / np.sqrt(count)
        scaled = np.cov(part.T).reshape(covariance.shape) / np.outer(sd, sd)
        error = 4.5 * np.sqrt(2 / count)
        np.testing.assert_allclose(scaled, covariance / np.outer(sd, sd), atol=error)
        distance = np.einsum("sf,fg,sg->s", part - mean, np.linalg.inv(covariance), part - mean)
        assert stats.kstest(distance, stats.chi2(len(missing)).cdf).pvalue > 1e-3


def test_log_density_is_that_of_what_is_seen(rows):
    expected = [
        stats.multivariate_normal.logpdf(
            row[np.isfinite(row)],
            MEAN[np.isfinite(row)],
            COVARIANCE[np.ix_(np.isfinite(row), np.isfinite(row))],
        )
        if np.isfinite(row).any()
        else 0.0
        for row in rows
    ]
    np.testing.assert_allclose(ONE.log_density(rows), expected, rtol=1e-9, atol=1e-12)


def test_a_mixture_weighs_its_components_by_what_is_seen():
    z = np.array([[-1.0, NAN, 0.1], [0.0, NAN, NAN], [NAN, NAN, 0.3]])
    log_parts = np.empty((len(z), 2))
    means = np.empty((len(z), 2, 3))
    for c in range(2):
        mean, covariance = TWO.mean[c], TWO.covariance[c]
        for n, row in enumerate(z):
            seen = np.isfinite(row)
            law = stats.multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)])
            log_parts[n, c] = np.log(TWO.weight[c]) + law.logpdf(row[seen])
            means[n, c] = row
            means[n, c, ~seen] = conditional(row, mean, covariance)[0]
    np.testing.assert_allclose(TWO.log_density(z), special.logsumexp(log_parts, axis=1))
    share = special.softmax(log_parts, axis=1)
    expected = (share[:, :, None] * means).sum(axis=1)
    np.testing.assert_allclose(TWO.expected(z), expected, rtol=1e-9)
    count = 8000
    found = TWO.draws(z, words(3), count, seed=0).astype(float)
    spread = found.std(axis=0)
    away = np.abs(found.mean(axis=0) - expected)
    assert (away <= 4.5 * spread / np.sqrt(count) + 1e-6).all()
    # The middle star may be of either kind: its draws of the second feature have two humps.
    upper = np.mean(found[:, 1, 1] > 0.3)
    low = [conditional(z[1], TWO.mean[c], TWO.covariance[c]) for c in range(2)]
    above = [stats.norm.sf(0.3, m[0], np.sqrt(v[0, 0])) for m, v in low]
    assert upper == pytest.approx(share[1] @ above, abs=4.5 * 0.5 / np.sqrt(count))


# ---- learned from stars with gaps -------------------------------------------------------


def test_one_component_is_recovered_from_stars_with_gaps():
    z = holed(drawn(ONE, 2000, 2), 0.3, 3)
    found = Density.learn(z)
    assert len(found.weight) == 1
    sd = np.sqrt(np.diag(COVARIANCE))
    np.testing.assert_allclose((found.mean[0] - MEAN) / sd, 0, atol=0.1)
    scaled = found.covariance[0] / np.outer(sd, sd)
    np.testing.assert_allclose(scaled, COVARIANCE / np.outer(sd, sd), atol=0.12)


def test_a_mixture_is_recovered_from_stars_with_gaps():
    found = Density.learn(holed(drawn(TWO, 2000, 4), 0.3, 5))
    assert 2 <= len(found.weight) <= 4
    assert found.weight.sum() == pytest.approx(1)
    fresh = drawn(TWO, 4000, 6)
    gain = TWO.log_density(fresh).mean() - found.log_density(fresh).mean()
    assert gain < 0.03
    # One normal is much worse, so that the closeness says something.
    plain = Density(np.ones(1), fresh.mean(axis=0)[None], np.cov(fresh.T)[None], TWO.kinds)
    assert TWO.log_density(fresh).mean() - plain.log_density(fresh).mean() > 0.2


def test_what_is_missing_because_of_what_is_seen_does_no_harm():
    z = drawn(ONE, 2000, 7)
    hidden = z.copy()
    hidden[z[:, 0] > MEAN[0], 3] = NAN  # the stars that have it are not like the others
    found = Density.learn(hidden)
    away = np.nanmean(hidden[:, 3]) - MEAN[3]
    sd = np.sqrt(COVARIANCE[3, 3])
    overall = found.weight @ found.mean[:, 3]
    assert abs(overall - MEAN[3]) < 0.12 * sd
    assert abs(away) > 0.12 * sd


def test_learning_is_the_same_every_time():
    z = holed(drawn(TWO, 300, 8), 0.3, 9)
    first, again = Density.learn(z), Density.learn(z.copy())
    for name, values in first.to_arrays().items():
        np.testing.assert_array_equal(values, again.to_arrays()[name])


def test_more_stars_than_needed_are_thinned(monkeypatch):
    monkeypatch.setattr(module, "MOST_STARS", 400)
    found = Density.learn(drawn(ONE, 3000, 10))
    np.testing.assert_allclose(found.weight @ found.mean, MEAN, atol=0.3)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_very_narrow_directions_stay_narrow(share):
    """Two features that differ by 0.005 of their spread: one says what the other is."""
    rng = np.random.default_rng(11)
    z = rng.normal(size=(1500, 3))
    z[:, 1] = z[:, 0] + rng.normal(0, 0.005, 1500)
    found = Density.learn(holed(z, share, 12))
    asked = np.tile([0.7, NAN, -0.2], (CHUNK, 1))
    completed = found.draws(asked, words(CHUNK), 20, seed=0)[:, :, 1].astype(float)
    assert completed.mean() == pytest.approx(0.7, abs=0.003)
    assert 0.004 < completed.std() < 0.01
    np.testing.assert_allclose(found.expected(asked[:1])[0, 1], 0.7, atol=0.003)


def test_features_that_no_star_has_together_do_not_crash():
    rng = np.random.default_rng(13)
    z = drawn(ONE, 600, 14)
    either = rng.random(600) < 0.5
    z[either, 0], z[~either, 1] = NAN, NAN
    z = np.hstack([z, np.full((600, 1), NAN)])  # and one that none has at all
    found = Density.learn(z)
    assert np.isfinite(found.log_density(z)).all()
    asked = found.draws(z, words(600), 4, seed=0)
    assert np.isfinite(asked).all()
    np.linalg.cholesky(found.covariance)
    # The one that none has is anything.
    assert found.expected(z)[:, 4] == pytest.approx(0, abs=0.3)


def test_few_stars_give_one_component():
    found = Density.learn(drawn(TWO, 25, 15))
    assert len(found.weight) == 1
    np.linalg.cholesky(found.covariance)


def test_kinds_are_the_few_sets_of_features_that_groups_of_stars_lack():
    z = drawn(ONE, 400, 19)
    z[:150, 0], z[150:200, 1:3] = NAN, NAN
    z[-3:, 1] = NAN  # too few to be a kind
    expected = [[0, 0, 0, 0], [0, 1, 1, 0], [1, 0, 0, 0]]
    np.testing.assert_array_equal(Density.learn(z).kinds, expected)
    np.testing.assert_array_equal(Density.learn(z, 2).kinds, [[0, 0], [0, 1], [1, 0]])
    # Random gaps make no kinds, nor do stars without any.
    for gaps in (holed(z, 0.3, 20), drawn(ONE, 400, 19)):
        np.testing.assert_array_equal(Density.learn(gaps).kinds, [[0, 0, 0, 0]])


# ---- the same completions, whatever the company -----------------------------------------


@pytest.fixture(scope="module")
def many() -> tuple[np.ndarray, np.ndarray]:
    return holed(drawn(TWO, CHUNK, 16), 0.4, 17), words(CHUNK, 1)


def test_seen_features_are_unchanged_to_the_last_bit(many):
    z, keys = many
    found = TWO.draws(z, keys, 5, seed=0)
    seen = np.isfinite(z)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:, seen], np.tile(z[seen].astype(np.float32), (5, 1)))
    with jax.enable_x64(True):
        precise = TWO.draws(z, keys, 5, seed=0)
    np.testing.assert_array_equal(precise[:, seen], np.tile(z[seen], (5, 1)))
    np.testing.assert_array_equal(TWO.expected(z)[seen], z[seen])
    assert np.isfinite(found).all()


def test_completions_do_not_depend_on_company_or_order(many):
    z, keys = many
    found, expected = TWO.draws(z, keys, 5, seed=0), TWO.expected(z)
    order = np.random.default_rng(18).permutation(CHUNK)
    np.testing.assert_array_equal(TWO.draws(z[order], keys[order], 5, seed=0), found[:, order])
    np.testing.assert_array_equal(TWO.expected(z[order]), expected[order])
    some = np.concatenate([np.arange(3, 10), np.full(CHUNK - 7, 3)])
    np.testing.assert_array_equal(TWO.draws(z[some], keys[some], 5, seed=0), found[:, some])
    for n in (0, 100, CHUNK - 1):
        np.testing.assert_array_equal(TWO.expected(z[n : n + 1]), expected[n : n + 1])


def test_stars_draws_and_seeds_have_noise_of_their_own(many):
    z, keys = many
    z = np.full_like(z, NAN)
    found = TWO.draws(z, keys, 40, seed=0)
    assert len(np.unique(found[:, :, 0])) > 0.99 * 40 * CHUNK
    assert (found != TWO.draws(z, keys, 40, seed=1)).mean() > 0.99
    same = TWO.draws(z, np.tile(keys[:1], (CHUNK, 1)), 40, seed=0)
    np.testing.assert_array_equal(same, np.tile(same[:, :1], (1, CHUNK, 1)))


def test_arrays_round_trip(many):
    again = Density.from_arrays(TWO.to_arrays())
    np.testing.assert_array_equal(again.expected(many[0]), TWO.expected(many[0]))
    assert set(TWO.to_arrays()) == {"weight", "mean", "covariance", "kinds"}
