"""Held-out regions, and what is learned from them."""

from __future__ import annotations

import dataclasses
import math

import jax
import numpy as np
import pytest
from astropy.table import Table
from scipy.spatial import cKDTree

import bayestrans as bt
from bayestrans import calibrate
from bayestrans.calibrate import (
    Judged,
    _excess_begins,
    _relearn,
    _report,
    _thresholds,
    learn_output,
)
from bayestrans.calibration import (
    ONSET,
    PRIOR,
    RATES,
    Calibration,
    HeldOut,
    applied,
    compare,
    learn,
)
from bayestrans.gaps import Gaps
from bayestrans.neighbours import Neighbours
from bayestrans.refits import about
from bayestrans.regions import Region, regions
from bayestrans.scale import Scaler
from bayestrans.target import of_stars, scaled_data

NAMES = ("teff", "logg")


def cloud(count: int = 1000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 2))


def test_regions_are_tails_rim_holes_and_random_parts():
    x = cloud()
    found = {region.name: region for region in regions(x, x, NAMES)}
    assert len(found) == 2 * 2 + 1 + 3 + 4
    low = found["lowest teff"].rows
    assert low.sum() == 70
    assert x[low, 0].max() <= x[~low, 0].min()
    assert found["highest logg"].rows.sum() == 70
    away = np.linalg.norm(x, axis=1)
    assert away[found["rim"].rows].min() >= away[~found["rim"].rows].max()
    hole = x[found["hole 1"].rows]
    assert np.linalg.norm(hole - hole.mean(axis=0), axis=1).max() < np.linalg.norm(x, axis=1).max()
    parts = [region.rows for region in found.values() if region.kind == "random"]
    assert len(parts) == 4
    assert np.sum(parts, axis=0).max() == 1


def test_a_region_that_would_leave_an_input_constant_is_not_used():
    x = cloud()
    x[:, 1] = np.arange(1000) >= 950  # 50 stars of another kind
    names = {region.name for region in regions(x, x, NAMES)}
    assert "highest logg" not in names
    assert "highest teff" in names


def held_out(
    *,
    count: int = 4000,
    wrong: float = 1.0,
    growing: float = 0.0,
    leaving: float = 0.0,
    seed: int = 1,
) -> HeldOut:
    """Return stars of scores from 0.5 to 5 whose scatter is 1, said by Gaussians of sd 1.

    The true scatter is ``wrong`` times what is said, growing away from the
    training stars; the network's mean leaves the true one, which is linear.
    """
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.5, 5.0, count)
    away = np.maximum(0.0, score - ONSET)
    linear = rng.normal(0.0, 3.0, count)
    scatter = wrong * np.sqrt(1.0 + growing * away**2)
    share = 1.0 / (1.0 + leaving * away**2)
    network = linear + rng.normal(0.0, 3.0 if leaving else 0.0, count)
    truth = linear + share * (network - linear) + scatter * rng.normal(size=count)
    ones = np.ones((2, count))
    arrays = (network * ones, ones, 0 * ones, np.inf * ones, truth, linear, score)
    return HeldOut(*(np.asarray(a, dtype=np.float32) for a in arrays))


def test_what_is_right_is_left_alone():
    level, slope, growth, _ = learn(held_out())
    assert abs(level) < 0.03
    assert abs(slope) < 0.03
    assert growth < 0.01


@pytest.mark.parametrize("wrong", [0.7, 1.4])
def test_errors_that_are_wrong_among_the_stars_are_rescaled(wrong):
    stars = held_out(count=20_000, wrong=wrong)
    level, slope, *_ = learn(stars, weight=(stars.score < 1.2).astype(float))
    assert level == pytest.approx(math.log(wrong), abs=0.05)
    assert abs(slope) < 0.06


def test_errors_that_are_too_wide_are_not_narrowed_away_from_the_stars():
    calibration = Calibration(np.array([-0.4]), *np.zeros((3, 1)))
    _, stretch = calibration.at(ONSET + np.array([-0.5, 0.0, 1.0, 19.0]))
    np.testing.assert_allclose(stretch[:, 0], np.exp([-0.4, -0.4, -0.2, -0.4 / 362]), rtol=1e-6)


def test_errors_that_are_too_narrow_are_widened_everywhere():
    level, slope, growth, _ = learn(held_out(wrong=1.4))
    assert level == pytest.approx(math.log(1.4), abs=0.04)
    assert abs(slope) < 0.05
    assert growth < 0.03


def test_scatter_that_grows_away_from_the_stars_is_found():
    _, _, growth, fade = learn(held_out(growing=0.3))
    assert growth == pytest.approx(0.3, rel=0.2)
    assert fade == pytest.approx(0.1, abs=0.11)  # nothing is to be learned: mean and line agree


def test_a_network_that_goes_astray_fades_to_the_line():
    *_, growth, fade = learn(held_out(leaving=0.5))
    assert fade == pytest.approx(0.5, rel=0.2)
    assert growth < 0.02


def test_few_stars_change_little():
    level, slope, growth, _ = learn(held_out(count=12, wrong=2.0))
    assert abs(level) < 0.2
    assert abs(slope) < 0.2
    many = learn(held_out(wrong=2.0))
    assert abs(level) < 0.5 * many[0]
    assert growth < 2.0


def test_learning_raises_the_density_and_mends_the_coverage_of_other_stars():
    found = learn(held_out(growing=0.5))
    before, after = (
        compare(parameters, held_out(growing=0.5, seed=2)) for parameters in (np.zeros(4), found)
    )
    assert after[0].mean() > before[0].mean() + 0.1
    inside = [np.mean(np.abs(pit - 0.5) < 0.45) for _, pit in (before, after)]
    assert inside[0] < 0.8
    assert inside[1] == pytest.approx(0.9, abs=0.015)


def test_zero_parameters_are_the_identity():
    share, stretch = Calibration.identity(3).at(np.array([0.2, 1.0, 50.0]))
    np.testing.assert_array_equal(share, np.ones((3, 3)))
    np.testing.assert_array_equal(stretch, np.ones((3, 3)))


def test_stretch_and_fade_grow_without_bound_away_from_the_stars():
    calibration = Calibration(np.zeros(1), np.zeros(1), np.array([0.1]), np.array([0.2]))
    share, stretch = calibration.at(np.array([1.0, 3.0, 10.0, 1000.0]))
    assert share[0] == stretch[0] == 1.0
    assert (np.diff(stretch[:, 0]) > 0).all()
    assert (np.diff(share[:, 0]) < 0).all()
    assert stretch[-1, 0] == pytest.approx(math.sqrt(0.1) * 1000, rel=1e-2)
    at_doubling = calibration.at(np.array([calibration.doubling]))[1]
    assert at_doubling[0, 0] == pytest.approx(2.0)


def test_beyond_what_was_tested_the_line_takes_over_and_errors_grow():
    """Also where held-out regions gave no reason for it."""
    learned = np.zeros((4, 2))
    share, stretch = Calibration(*learned, tested=5.0).at(np.array([0.5, 5.0, 10.0, 500.0]))
    np.testing.assert_array_equal(share[:2], 1.0)
    np.testing.assert_array_equal(stretch[:2], 1.0)
    np.testing.assert_allclose(share[2], 0.5)
    np.testing.assert_allclose(stretch[2], math.sqrt(2.0))
    assert (share[3] < 1e-3).all()
    assert (stretch[3] > 90.0).all()
    calibration = Calibration(*learned, tested=5.0)
    assert not calibration.empty
    assert Calibration.identity(2).empty
    assert Calibration.from_arrays(calibration.to_arrays()).tested == 5.0


def test_what_is_learned_is_a_maximum():
    """Not where the search began: no change of one parameter is better."""
    stars = held_out(count=10_000, growing=0.05)
    found = learn(stars)

    def penalised(parameters):
        prior = 0.5 * np.sum((parameters[:2] / PRIOR) ** 2) + np.sum(RATES * parameters[2:])
        return compare(parameters, stars)[0].sum() - prior

    best = penalised(found)
    for number in range(4):
        for step in (-0.02, 0.02):
            other = found.copy()
            other[number] = max(other[number] + step, 0.0 if number >= 2 else -1.0)
            assert penalised(other) < best + 0.01


def test_a_missing_score_gives_no_answer():
    calibration = Calibration(*(np.full(2, 0.1) for _ in range(4)))
    assert np.isnan(calibration.at(np.array([np.nan]))).all()


def test_the_draws_keep_their_ranks_and_correlations():
    rng = np.random.default_rng(3)
    draws = rng.multivariate_normal([1, 2], [[1, 0.7], [0.7, 2]], size=500)[:, :, None]
    scale = np.ones_like(draws)
    linear, share, stretch = (np.array(v)[:, None] for v in ([0.0, 5.0], [0.5, 0.2], [2.0, 3.0]))
    moved, wider = applied(draws, scale, linear, share, stretch)
    np.testing.assert_array_equal(np.argsort(moved, axis=0), np.argsort(draws, axis=0))
    np.testing.assert_allclose(moved.mean(axis=0), linear + share * (draws.mean(0) - linear))
    np.testing.assert_allclose(
        np.corrcoef(moved[..., 0].T), np.corrcoef(draws[..., 0].T), atol=1e-12
    )
    np.testing.assert_allclose(moved.std(axis=0), stretch * draws.std(axis=0))
    np.testing.assert_array_equal(wider, np.broadcast_to(stretch, wider.shape))


def judged(cover_before, cover_after) -> Judged:
    """Return stars whose intervals cover as functions of the score say."""
    rng = np.random.default_rng(5)
    score = rng.uniform(0.5, 8.0, 20_000)
    pit = {}
    for which, cover in (("before", cover_before), ("after", cover_after)):
        inside = rng.uniform(size=len(score)) < cover(score)
        pit[which] = np.where(inside, 0.5, 0.99)
    nothing = np.zeros(len(score))
    return Judged(score, nothing.astype(bool), {"before": nothing, "after": nothing}, pit)


def test_sparse_begins_with_a_tenth_of_the_excess_misses_and_outside_where_coverage_falls():
    found = judged(lambda s: np.where(s < 2, 0.95, 0.85), lambda s: np.where(s < 4, 0.91, 0.8))
    sparse, outside = _thresholds([found], math.inf)
    assert sparse == pytest.approx(2.0 + 0.1 * 6.0, abs=0.1)
    assert outside == pytest.approx(4.0, abs=0.1)
    assert _thresholds([found], 3.0) == pytest.approx((2.0, 3.0))


def test_what_random_stars_miss_as_well_does_not_make_it_sparse():
    region = judged(lambda s: np.where(s < 4, 0.85, 0.7), lambda s: 0.9 + 0 * s)
    part = judged(lambda s: 0.85 + 0 * s, lambda s: 0.9 + 0 * s)
    part = part._replace(random=np.ones(len(part.score), dtype=bool), score=part.score + 20.0)
    assert _thresholds([region], math.inf)[0] < 3.0
    assert _thresholds([region, part], math.inf)[0] == pytest.approx(4.0 + 0.1 * 4.0, abs=0.2)


def test_the_sparsest_fifth_of_random_stars_is_never_dense():
    region = judged(lambda s: 0.95 + 0 * s, lambda s: 0.95 + 0 * s)
    part = region._replace(random=np.ones(len(region.score), dtype=bool), score=region.score / 4)
    assert _thresholds([region, part], math.inf)[0] == pytest.approx(
        (0.5 + 0.8 * 7.5) / 4, abs=0.02
    )


def test_where_nothing_was_tested_is_outside_and_a_zone_of_warning_remains():
    found = judged(lambda s: 0.95 + 0 * s, lambda s: 0.95 + 0 * s)
    sparse, outside = _thresholds([found], math.inf)
    assert outside == pytest.approx(0.5 + 0.99 * 7.5, abs=0.05)
    assert sparse == pytest.approx(outside * 2 / 3)


def test_errors_that_are_wrong_at_the_usual_spacing_do_not_make_it_sparse():
    found = judged(lambda s: 0.8 + 0 * s, lambda s: 0.8 + 0 * s)
    assert _thresholds([found], math.inf) == pytest.approx((1.25, 1.875))


def test_with_many_stars_the_level_comes_from_a_refit_to_all():
    """And is doubted: a few stars hardly move it, however wrong they find it."""
    narrow = held_out(wrong=1.5, count=40_000)
    stars = narrow.take(np.flatnonzero(narrow.score < 1.2))
    found = judged(lambda s: 0.9 + 0 * s, lambda s: 0.9 + 0 * s)
    parameters, now = _relearn(np.array([-0.3, 0.1, 0.2, 0.4]), found, stars)
    assert parameters[0] == pytest.approx(math.log(1.5), abs=0.08)
    np.testing.assert_array_equal(parameters[2:], [0.2, 0.4])
    assert now.random.sum() == len(stars.delta)
    inside = np.abs(now.pit["after"][now.random] - 0.5) < 0.45
    assert inside.mean() == pytest.approx(0.9, abs=0.04)
    few, _ = _relearn(np.array([-0.3, 0.1, 0.2, 0.4]), found, stars.take(np.arange(100)))
    assert 0 < few[0] < 0.5 * math.log(1.5)


def test_the_report_counts_by_class():
    found = judged(lambda s: np.where(s < 2, 0.9, 0.5), lambda s: 0.9 + 0 * s)
    report = _report([found], (2.0, 5.0))
    assert report["random"]["n"] == 0
    assert report["dense"]["before"]["0.90"] == pytest.approx(0.9, abs=0.02)
    assert report["outside"]["before"]["0.90"] == pytest.approx(0.5, abs=0.02)
    assert report["outside"]["after"]["0.90"] == pytest.approx(0.9, abs=0.02)
    assert sum(report[name]["n"] for name in ("dense", "sparse", "outside")) == 20_000


def test_the_report_counts_what_central_intervals_hold():
    pit = (np.arange(1000.0) + 0.5) / 1000
    values = {"before": pit, "after": 0.25 + pit / 2}  # right, and twice as wide as it should be
    # A star at a threshold is of the class beyond it, as `Neighbours.classify` says.
    found = Judged(np.full(1000, 2.0), np.zeros(1000, dtype=bool), values, values)
    report = _report([found], (2.0, 5.0))["sparse"]
    assert report["before"]["nll"] == pytest.approx(-0.5)
    for level in ("0.50", "0.68", "0.90", "0.95"):
        assert report["before"][level] == pytest.approx(float(level))
        assert report["after"][level] == 1.0


def excess(*missed: int, random: tuple[int, ...] = ()) -> float:
    """Return where misses of 95 % intervals begin to be too many: one star at each of 1, 2, ...

    ``random`` are those of stars that no region held.
    """
    pit = {"before": np.where((*missed, *random), 0.99, 0.5)}
    score = np.arange(1.0, len(missed) + len(random) + 1.0)
    return _excess_begins([Judged(score, score > len(missed), {}, pit)])


def test_the_excess_is_counted_to_the_last_star():
    assert excess(0, 0, 0, 1) == 4.0
    # Nine have an excess of 0.95 each: a tenth of it lies at the first of them.
    assert excess(*[0] * 10, *[1] * 9) == 11.0
    assert excess(0, 0, 0, 0) == math.inf


@pytest.mark.parametrize("random", [(), (0,) * 40])
def test_one_miss_in_twenty_is_none_too_many(random):
    # Never more than what is usual before the last half, of which 8 % are missed, then 4 %.
    assert excess(*[0] * 50, *[1] * 4, *[0] * 46, random=random) in (55.0, 56.0)
    assert excess(*[0] * 50, *[1] * 2, *[0] * 48, random=random) == math.inf


def test_what_random_stars_miss_is_usual():
    many = (1, 0) * 20
    assert excess(*[0] * 50, *[1] * 4, *[0] * 46, random=many) == math.inf


def region(kind: str) -> Region:
    return Region(kind, kind.split(" of ")[0], np.zeros(0, dtype=bool))


def test_each_region_is_judged_by_what_was_learned_without_those_of_its_kind():
    parts = [region(name) for name in ("rim", "tail", "random of 1", "random of 2")]
    found = [held_out(count=400, wrong=w, seed=s) for s, w in enumerate((1.0, 1.8, 1.3, 1.2))]

    def together(numbers) -> HeldOut:
        chosen = zip(*(found[n] for n in numbers), strict=True)
        return HeldOut(*(np.concatenate(arrays, axis=-1) for arrays in chosen))

    parameters, judged_ = learn_output(found, parts)
    np.testing.assert_array_equal(parameters, learn(together(range(4))))
    assert judged_.random.tolist() == [False] * 800 + [True] * 800
    others = {0: (1, 2, 3), 1: (0, 2, 3), 2: range(4), 3: range(4)}  # random parts stay in
    for number, rest in others.items():
        rows = slice(400 * number, 400 * number + 400)
        after = compare(learn(together(rest)), found[number])
        before = compare(np.zeros(4), found[number])
        for wanted, values in ((before, "before"), (after, "after")):
            np.testing.assert_allclose(judged_.density[values][rows], wanted[0], atol=1e-3)
            np.testing.assert_allclose(judged_.pit[values][rows], wanted[1], atol=1e-3)


class Seen:
    """Refits that know what they are asked for, and answer with stars of a known law."""

    def __init__(self, log: list, size: int) -> None:
        self.log, self.size = log, size

    def without(self, part: Region, key: jax.Array, most: int = 200) -> list[HeldOut]:
        assert part.kind != "random" or most >= min(200, part.rows.sum())
        self.log.append((self.size, part, jax.random.key_data(key).tolist()))
        return [held_out(count=100, seed=len(self.log))]


@pytest.mark.parametrize("count", [1000, 1200])
def test_refits_of_many_stars_see_a_thousand_and_one_sees_all_but_a_fifth(
    count, monkeypatch, capsys
):
    log, bars = [], []
    x, nothing = cloud(count), np.full((count, 2), np.nan)
    inputs = tuple(bt.Input(name, name) for name in NAMES)
    spec = bt.Spec("both", inputs, (bt.Output("teff", "teff_b", corrects="teff"),))
    pairs = bt.Pairs(spec, x, nothing, x[:, :1] + 1, nothing[:, :1], np.arange(count))
    real = calibrate.progress_bar

    def bar(*arguments, **options):
        bars.append(real(*arguments, **options))
        return bars[-1]

    monkeypatch.setattr(calibrate, "progress_bar", bar)
    key = jax.random.key(1)
    ((_, found),) = calibrate._learn_block(
        pairs, lambda size: Seen(log, size), key, "held out", progress=True
    )
    assert "held out" in capsys.readouterr().err
    many = count > 1000
    assert bars[0].n == bars[0].total == len(log) == 12 + many
    assert len({str(key) for *_, key in log}) == len(log)
    for size, part, _ in log[:12]:
        assert part.rows.shape == (count,)
        assert size == 1000
    assert found.random.sum() == (100 if many else 400)  # the last stands for the random parts
    if many:
        size, part, _ = log[-1]
        assert size == count
        assert part.rows.sum() == count / 5


# ---- through fit ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def curved() -> bt.Pairs:
    """Return stars whose correction is curved in the second input."""
    rng = np.random.default_rng(7)
    spec = bt.Spec(
        "curved",
        (bt.Input("teff", "t"), bt.Input("logg", "g")),
        (bt.Output("teff", "t_b", "e_b", corrects="teff"),),
    )
    x = rng.normal([4800, 2.5], [300, 0.5], size=(400, 2))
    y = x[:, :1] + 60 * np.tanh(3 * (x[:, 1:] - 2.5)) + rng.normal(0, 10, (400, 1))
    return bt.Pairs(spec, x, np.full((400, 2), np.nan), y, np.full((400, 1), 5.0), np.arange(400))


@pytest.fixture(scope="module")
def calibrated(curved) -> bt.Posterior:
    method = bt.MCLMC(chains=2, draws=50, steps=200, warm_steps=200)
    return bt.fit(curved, method=method, network=bt.Network((8,)), seed=1, progress=False)


@pytest.fixture(scope="module")
def plain(calibrated) -> bt.Posterior:
    """Return the same posterior without its calibration."""
    return dataclasses.replace(calibrated, calibration=Calibration.identity(1))


def far_and_near() -> np.ndarray:
    return np.array([[4800.0, 2.5], [9000.0, 8.0]])


def test_fit_learns_thresholds_and_reports_both_states(calibrated):
    sparse, outside = calibrated.neighbours.thresholds
    assert 1.25 <= sparse < outside
    assert (sparse, outside) != (1.5, 2.5)  # what they are without the refits
    assert not calibrated.calibration.empty
    report = calibrated.record["held_out_regions"]
    assert set(report) == {"random", "dense", "sparse", "outside"}
    assert report["random"]["n"] == 160
    assert set(report["random"]["before"]) == {"nll", "0.50", "0.68", "0.90", "0.95"}


def test_a_far_star_is_outside_not_narrower_and_no_farther_from_the_line(calibrated, plain):
    x = far_and_near()
    assert list(bt.support(calibrated, x).classes) == ["dense", "outside"]
    far = {name: p.predict(x)[:, 1, 0] for name, p in (("after", calibrated), ("before", plain))}
    width = {name: np.subtract(*np.percentile(d, [84, 16])) for name, d in far.items()}
    assert width["after"] > 0.99 * width["before"]
    regression = calibrated.baseline.linear_mean(x, calibrated.scaler, (0, 1))
    line = calibrated.scaler.restore(x, regression)[1, 0]
    miss = {name: abs(d.mean() - line) for name, d in far.items()}
    assert miss["after"] <= miss["before"] + 0.05 * width["before"]


def test_growth_and_fade_act_on_predictions(plain):
    x = far_and_near()
    zero, one = np.zeros(1), np.ones(1)
    post = dataclasses.replace(plain, calibration=Calibration(zero, zero, one, 100 * one))
    before, after = (p.predict(x, kind="mean")[..., 0] for p in (plain, post))
    np.testing.assert_array_equal(before[:, 0], after[:, 0])  # at the usual spacing
    score = plain.neighbours.score(x)[1]
    assert after[:, 1].std() == pytest.approx(
        before[:, 1].std() * np.hypot(1, score - ONSET), rel=1e-3
    )
    line = plain.scaler.restore(x, plain.baseline.linear_mean(x, plain.scaler, (0, 1)))[1, 0]
    assert after[:, 1].mean() == pytest.approx(line, abs=1.0)


def test_a_calibrated_model_is_saved_and_loaded_whole(calibrated, tmp_path):
    calibrated.save(tmp_path / "m.nc")
    again = bt.load(tmp_path / "m.nc")
    assert again.calibration.to_arrays().keys() == calibrated.calibration.to_arrays().keys()
    np.testing.assert_array_equal(again.predict(far_and_near()), calibrated.predict(far_and_near()))
    assert again.record["held_out_regions"] == calibrated.record["held_out_regions"]


def test_a_stars_numbers_do_not_depend_on_its_company(calibrated, curved):
    x = np.vstack([curved.x[:50], far_and_near()])
    together = calibrated.predict(x)
    np.testing.assert_array_equal(together[:, -1:], calibrated.predict(x[-1:]))


def test_the_catalogue_says_what_predict_says(calibrated):
    x = far_and_near()
    stars = Table({"t": x[:, 0], "g": x[:, 1]})
    result = bt.translate(calibrated, stars, progress=False)
    draws = calibrated.predict(x, seed=1)
    for name, level in (("p16", 16), ("p50", 50), ("p84", 84)):
        expected = np.percentile(draws[:, :, 0], level, axis=0)
        spread = draws[:, :, 0].std(axis=0)
        assert (np.abs(result[f"teff_{name}"] - expected) < 0.5 * spread).all()
    assert result["flags"][1] & 4


def test_strict_translation_refuses_stars_outside_and_writes_nothing(calibrated, tmp_path):
    stars = Table({"t": [4800.0, 9000.0], "g": [2.5, 8.0]})
    with pytest.raises(ValueError, match=r"1 of 2 stars \(50.0 %\) lie outside"):
        bt.translate(calibrated, stars, tmp_path / "o.csv", strict=True, progress=False)
    assert list(tmp_path.iterdir()) == []
    inside = bt.translate(calibrated, stars[:1], tmp_path / "o.csv", strict=True, progress=False)
    assert len(inside) == 1


def test_the_reference_is_not_calibrated(curved):
    method = bt.NUTS(chains=1, warmup=5, draws=5, max_tree_depth=3, warm_steps=20)
    post = bt.fit(curved, method=method, network=bt.Network(()), progress=False)
    assert "held_out_regions" not in post.record
    assert post.calibration.empty


@pytest.mark.parametrize(
    "method", [bt.MCLMC(), bt.MCLMC(chains=1, draws=20, steps=30), bt.SVI(), bt.Ensemble()]
)
def test_a_refit_is_cheaper_and_of_the_same_kind(method):
    refit = method.refit()
    assert type(refit) is type(method)
    assert refit.refit() == refit
    assert getattr(refit, "warm_steps", 0) <= method.warm_steps


# ---- which stars a refit sees -----------------------------------------------------------


def with_gaps(count: int = 600) -> bt.Pairs:
    """Return pairs of which every sixth star lacks an input."""
    pairs = bt.simulate(count, 0, seed=3).pairs
    x = pairs.x.copy()
    x[::6, 0] = np.nan
    return bt.Pairs(pairs.spec, x, pairs.x_err, pairs.y, pairs.y_err, pairs.ids)


def test_some_stars_are_what_they_would_be_without_the_others():
    pairs = with_gaps()
    gaps, block = Gaps.learn(Scaler.learn(pairs), pairs), pairs.spec.blocks[0]
    every = scaled_data(pairs, gaps.scaler, block, bt.Noise(), gaps)
    chosen = np.random.default_rng(0).random(len(pairs)) < 0.4
    some = of_stars(every, chosen)
    rows = np.flatnonzero(chosen)
    alone = scaled_data(pairs.take(rows), gaps.scaler, block, bt.Noise(), gaps)
    np.testing.assert_array_equal(some.copies, alone.copies)
    np.testing.assert_array_equal(some.star, rows[np.asarray(alone.star)])
    once = len(alone.star) - alone.copies.size
    for name in ("z", "delta", "err", "log_weight"):
        ours, theirs = (np.asarray(getattr(data, name))[..., :once] for data in (some, alone))
        np.testing.assert_array_equal(ours, theirs)
    # What completes a star stands where its copies say.
    of_copy = np.asarray(some.star)[np.asarray(some.copies)]
    assert (of_copy == of_copy[:, :1]).all()
    incomplete = np.isnan(pairs.x).any(axis=1) | np.isnan(pairs.x_err).any(axis=1)
    assert incomplete[of_copy[:, 0]].all()


def test_a_refit_to_some_stars_sees_those_about_its_region_and_none_of_it():
    pairs = with_gaps()
    gaps, block = Gaps.learn(Scaler.learn(pairs), pairs), pairs.spec.blocks[0]
    data = scaled_data(pairs, gaps.scaler, block, bt.Noise(), gaps)
    lack = np.isin(np.arange(len(pairs)), np.asarray(data.star)[np.asarray(data.copies)])
    points = Neighbours.learn(gaps.filled(pairs).x, block.inputs).points
    held = points[:, 0] > np.quantile(points[:, 0], 0.9)
    chosen = about(held, data, points, 200, near=0.6)
    anywhere = about(held, data, points, 200, near=0.0)
    for found in (chosen, anywhere):
        assert found.sum() == 200
        assert not (found & held).any()
        assert (found & lack).sum() == round(200 * lack.mean())  # one compiled program serves
    away = cKDTree(points[held]).query(points)[0]
    nearest = np.flatnonzero(~held & ~lack)
    nearest = nearest[np.argsort(away[nearest])][:100]
    assert chosen[nearest].all()
    assert not anywhere[nearest].all()
    assert np.quantile(away[chosen & ~lack], 0.9) > 2.0 * away[nearest].max()  # not only those
    assert about(held, data, points, 600, near=0.6).all()  # those held out are hidden later
