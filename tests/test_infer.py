"""What `fit` does before and after its sampler, with one whose draws are known."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from tiny import stars, temperatures

import bayestrans as bt
from bayestrans.pairs import PairsError
from bayestrans.sample import Run


class Given:
    """A method that draws ``value`` everywhere, ends as it is told, and keeps what it was asked."""

    def __init__(self, value: float = 0.0, **tuning: object) -> None:
        self.value, self.tuning, self.keys = value, tuning, []
        self.asked: list[tuple[str, bool]] = []

    def run(self, target, key, *, label, progress) -> Run:
        self.asked.append((label, progress))
        self.keys.append(jax.random.key_data(key).tolist())
        positions = np.full((2, 3, target.dim), self.value, dtype=np.float32)
        return Run(positions, {"log_density": np.zeros((2, 3))}, self.tuning)

    def refit(self) -> None:
        return None


def quick(pairs: bt.Pairs, method: Given, **options) -> bt.Posterior:
    return bt.fit(pairs, method=method, network=bt.Network(()), **{"progress": False, **options})


@pytest.mark.parametrize("ended", ["max_steps", "time_budget"])
def test_a_run_that_was_cut_short_is_told_to_who_called_fit(ended):
    method = Given(ended=ended, rhat_90=1.234)
    words = rf"the intrinsic network stopped by its {ended} with R-hat 1\.23; see diagnose"
    with pytest.warns(bt.SamplingWarning, match=words) as told:
        bt.fit(temperatures(60), method=method, network=bt.Network(()), progress=False)
    assert [warning.filename for warning in told] == [__file__]


def test_a_run_that_ended_well_says_nothing():
    quick(temperatures(60), Given(ended="rhat", rhat_90=1.04))  # a warning would be an error


def test_draws_that_are_not_finite_are_refused():
    with pytest.raises(FloatingPointError, match=r"intrinsic network has draws of \w+ that are no"):
        quick(temperatures(60), Given(np.nan))


@pytest.mark.parametrize("count", [60, 450])
def test_convergence_is_judged_over_the_whole_table(count):
    pairs = temperatures(count)
    found = quick(pairs, Given()).probe_x[:, 0]
    rows = [pairs.x[:, 0].tolist().index(value) for value in found]
    assert len(rows) == min(count, 200)
    assert (rows[0], rows[-1]) == (0, count - 1)
    assert 1 <= min(np.diff(rows)) <= max(np.diff(rows)) <= min(np.diff(rows)) + 1


def test_many_features_need_more_stars():
    inputs = tuple(bt.Input(name, name, f"e_{name}") for name in "abcde")
    spec = bt.Spec("wide", inputs, (bt.Output("a", "a_b", "e_a_b", corrects="a"),))
    rng = np.random.default_rng(0)
    x, x_err = rng.normal(size=(50, 5)), rng.lognormal(size=(50, 5))
    pairs = bt.Pairs(spec, x, x_err, x[:, :1] + 1, np.ones((50, 1)), np.arange(50))
    pairs.y[:] += 0.1 * rng.normal(size=(50, 1))
    with pytest.raises(PairsError, match=r"49 training .* at least 50 .*5 for each of its 10 feat"):
        quick(pairs.take(np.arange(49)), Given())
    assert quick(pairs, Given()).record["stars"] == 50


def test_the_network_and_the_noise_that_are_given_are_fitted():
    noise = bt.Noise(scatter=(50.0,), dof=5.0)
    found = quick(temperatures(60), Given(), noise=noise)
    assert (found.network, found.noise) == (bt.Network(()), noise)
    assert set(found.blocks[0].draws) == {"intercept", "slope"}


def test_each_network_has_its_own_key_and_the_seed_decides_them():
    pairs, first, again, other = stars(80), Given(), Given(), Given()
    for method, seed in ((first, 1), (again, 1), (other, 2)):
        quick(pairs, method, seed=seed)
    assert first.asked == [("intrinsic", False), ("rv", False)]
    assert first.keys == again.keys
    assert len({tuple(key) for key in first.keys + other.keys}) == 4


def test_progress_is_shown_unless_it_is_not_wanted():
    method = Given()
    bt.fit(temperatures(60), method=method, network=bt.Network(()))
    assert method.asked == [("intrinsic", True)]
