"""Held-out regions, and what is learned from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from known_regions import NAMES, cloud, held_out

from bayestrans.calibrate import (
    LEVEL_PRIOR,
    Judged,
    _excess_begins,
    _report,
    _thresholds,
    learn_outputs,
)
from bayestrans.calibration import (
    DOUBTING,
    ONSET,
    Calibration,
    Change,
    applied,
    doubting,
    in_fours,
    stretched,
)
from bayestrans.held_out import (
    COMMON_PRIOR,
    PRIOR,
    RATE,
    HeldOut,
    Judges,
    _begin,
    _weighted,
    compare,
    learn,
)
from bayestrans.regions import Region, regions


def test_regions_are_tails_rim_holes_and_random_parts():
    x = cloud()
    found = {region.name: region for region in regions(x, x, NAMES, np.arange(1000))}
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


def test_rows_of_one_star_are_held_out_together_and_values_that_repeat_are():
    x = np.vstack([cloud(), cloud(seed=1)])
    ids = np.concatenate([np.arange(1000), np.arange(1000)])[::-1]
    found = regions(x, x, NAMES, ids)
    assert len(found) == 2 * 2 + 1 + 3 + 4
    for part in found:
        assert not set(ids[part.rows]) & set(ids[~part.rows])
    drawn = [part.rows for part in found if part.kind == "random"]
    assert [rows.sum() for rows in drawn] == [200] * 4
    assert np.sum(drawn, axis=0).max() == 1


def test_a_region_that_would_leave_an_input_constant_is_not_used():
    x = cloud()
    x[:, 1] = np.arange(1000) >= 950  # 50 stars of another kind
    names = {region.name for region in regions(x, x, NAMES, np.arange(1000))}
    assert "highest logg" not in names
    assert "highest teff" in names


def test_what_is_right_is_left_alone():
    level, slope, growth = learn([Judges(held_out(count=20_000))])[0, 0]
    assert abs(level) < 0.03
    assert abs(slope) < 0.03
    assert growth < 0.01


@pytest.mark.parametrize("wrong", [0.7, 1.4])
def test_errors_that_are_wrong_among_the_stars_are_rescaled(wrong):
    stars = held_out(count=20_000, wrong=wrong)
    level, slope, *_ = learn([Judges(stars, (stars.score < 1.2).astype(float))])[0, 0]
    assert level == pytest.approx(math.log(wrong), abs=0.05)
    assert abs(slope) < 0.1  # of stars that hardly tell it


def test_errors_that_are_too_wide_are_not_narrowed_away_from_the_stars():
    calibration = Calibration(np.array([-0.4]), *np.zeros((2, 1)))
    stretch = calibration.at(ONSET + np.array([-0.5, 0.0, 1.0, 19.0])).stretch
    np.testing.assert_allclose(stretch[:, 0], np.exp([-0.4, -0.4, -0.2, -0.4 / 362]), rtol=1e-6)


def test_errors_that_are_too_narrow_are_widened_everywhere():
    level, slope, growth = learn([Judges(held_out(wrong=1.4))])[0, 0]
    assert level == pytest.approx(math.log(1.4), abs=0.04)
    assert abs(slope) < 0.05
    assert growth < 0.03


def test_scatter_that_grows_away_from_the_stars_is_found():
    """That of a fourth of them is taken for what it is."""
    _, _, growth = learn([Judges(held_out(growing=0.6, everywhere=False, count=10_000))])[0, 0]
    assert growth == pytest.approx(0.6, rel=0.25)


def test_few_stars_change_little():
    level, slope, growth = learn([Judges(held_out(count=12, wrong=2.0))])[0, 0]
    assert abs(level) < 0.2
    assert abs(slope) < 0.2
    many = learn([Judges(held_out(wrong=2.0))])[0, 0]
    assert abs(level) < 0.5 * many[0]
    assert growth < 2.0


def test_outputs_that_grow_wide_together_are_believed_sooner():
    """A slope that one output tells too faintly is that of all of them."""
    said = [held_out(count=150, seed=seed) for seed in range(4)]
    outputs = []
    for stars in said:
        mean = stars.location.mean(axis=0)
        wider = stars.score ** (0.3 / math.log(2.0))  # a slope of 0.3
        delta = (mean + wider * (stars.delta - mean)).astype(np.float32)
        outputs.append([Judges(stars._replace(delta=delta), (stars.score < 4.0) * 1.0, 0.03)])
    together = learn(*outputs)[:, 0, 1]
    alone = np.array([learn(judges)[0, 0, 1] for judges in outputs])
    assert np.ptp(together) < 0.5 * np.ptp(alone)
    assert alone.mean() + 0.02 < together.mean() < 0.3
    # Nor does one that is amiss speak for the others against what they say.
    right = [[Judges(held_out(seed=seed), prior=0.03)] for seed in range(3)]
    assert (np.abs(learn(*right, outputs[0])[:3, 0, 1]) < 0.04).all()


def test_learning_raises_the_density_and_mends_the_coverage_of_other_stars():
    found = learn([Judges(held_out(growing=0.5))])[0, 0]
    before, after = (
        compare(parameters, held_out(growing=0.5, seed=2)) for parameters in (np.zeros(3), found)
    )
    assert after[0].mean() > before[0].mean() + 0.1
    inside = [np.mean(np.abs(pit - 0.5) < 0.45) for _, pit in (before, after)]
    assert inside[0] < 0.8
    assert inside[1] == pytest.approx(0.9, abs=0.015)


def test_zero_parameters_are_the_identity():
    for part in Calibration.identity(3).at(np.array([0.2, 1.0, 50.0])):
        np.testing.assert_array_equal(part, np.ones((3, 3)))


def test_doubt_grows_without_bound_away_from_the_stars_and_the_mean_stays():
    calibration = Calibration(np.zeros(1), np.zeros(1), np.array([0.1]))
    share, stretch, doubt = calibration.at(np.array([1.0, 3.0, 10.0, 1000.0]))
    assert doubt[0] == 1.0
    assert (np.diff(doubt[:, 0]) > 0).all()
    assert doubt[-1, 0] == pytest.approx(math.sqrt(0.1) * 1000, rel=1e-2)
    np.testing.assert_array_equal(share, 1.0)
    np.testing.assert_array_equal(stretch, 1.0)


def test_at_the_doubling_the_standard_deviation_is_doubled():
    calibration = Calibration(np.zeros(1), np.zeros(1), np.array([0.1]))
    change = calibration.at(np.array([calibration.doubling]))
    rng = np.random.default_rng(0)
    location, scale = rng.normal(0.0, 2.0, (40_000, 1)), np.full((40_000, 1), 3.0)
    moved, wider = applied(location, scale, 0.0, Change(*(part[0] for part in change)))
    variance = np.var(moved) + np.mean(wider**2)
    assert math.sqrt(variance / (4.0 + 9.0)) == pytest.approx(2.0, rel=0.02)
    assert Calibration.identity(1).doubling == math.inf


def test_beyond_what_was_tested_errors_grow_and_far_beyond_the_line_takes_over():
    """Also where held-out regions gave no reason for it."""
    calibration = Calibration(*np.zeros((3, 2)), tested=5.0)
    share, stretch, doubt = calibration.at(np.array([0.5, 5.0, 10.0, 20.0, 5000.0]))
    np.testing.assert_allclose(stretch[:4, 0], np.sqrt([1.0, 1.0, 2.0, 10.0]))
    np.testing.assert_allclose(share[:4, 1], [1.0, 1.0, 1.0, 0.5])
    assert (share[4] < 1e-3).all()
    assert (stretch[4] > 900.0).all()
    np.testing.assert_array_equal(doubt, 1.0)
    assert not calibration.empty
    assert Calibration.identity(2).empty
    assert Calibration.from_arrays(calibration.to_arrays()).tested == 5.0


def test_what_is_learned_is_a_maximum():
    """Not where the search began: no change of one parameter is better."""
    stars = held_out(count=10_000, growing=0.05)
    ((found,),) = learn([Judges(stars)])

    def penalised(parameters):
        # Of one output alone the common slope is where it serves its own best.
        prior = 0.5 * (parameters[0] / PRIOR) ** 2 + RATE * parameters[2]
        prior += 0.5 * parameters[1] ** 2 / (PRIOR**2 + COMMON_PRIOR**2)
        return compare(parameters, stars)[0].sum() - prior

    best = penalised(found)
    for number in range(3):
        for step in (-0.02, 0.02):
            other = found.copy()
            other[number] = max(other[number] + step, 0.0 if number >= 2 else -1.0)
            assert penalised(other) < best + 0.01


@pytest.mark.parametrize("growing", [0.3, 3.0])
def test_where_the_search_begins_does_not_matter(growing):
    """It begins near the best of several growths, or where it is told to."""
    judges = [Judges(held_out(growing=growing, everywhere=False, count=10_000))]
    found = learn(judges)
    for start in (0.3 * growing, 3.0 * growing):
        again = learn(judges, start=np.array([[[0.05, -0.05, start]]]))
        np.testing.assert_allclose(again, found, rtol=0.03, atol=2e-3)
    assert found[0, 0, 2] == pytest.approx(growing, rel=0.5)


@pytest.mark.parametrize(("growing", "best"), [(0.0, 0.0), (1.0, 1.0)])
def test_the_search_begins_with_the_best_of_several_growths(growing, best):
    """Not with that it is given, if others are better: it may have been another maximum's."""
    judges = (_weighted(Judges(held_out(growing=growing, everywhere=False, count=10_000))),)
    assert _begin(judges, np.array([[0.0, 0.0, 30.0]]))[0, 2] == best


def test_a_missing_score_gives_no_answer():
    calibration = Calibration(*(np.full(2, 0.1) for _ in range(3)), tested=5.0)
    assert np.isnan(np.array(calibration.at(np.array([np.nan])))).all()


def test_one_of_each_four_draws_doubts_and_of_fewer_the_last():
    every = doubting(4000)
    np.testing.assert_array_equal(every.reshape(-1, DOUBTING).sum(axis=1), 1)
    np.testing.assert_array_equal(doubting(100), every[:100])
    assert [np.flatnonzero(doubting(n)).tolist()[-1:] for n in (1, 2)] == [[0], [1]]
    assert all(doubting(n).any() for n in range(1, 20))


@pytest.mark.parametrize("step", [2, 3, 4, 8, 10, 20])
def test_draws_taken_at_even_steps_have_their_share_of_doubters(step):
    for start in range(step):
        assert doubting(4000)[start::step].mean() == pytest.approx(0.25, abs=0.12)


@pytest.mark.parametrize(
    ("count", "most"), [(1000, 100), (4000, 100), (250, 100), (60, 100), (3, 100)]
)
def test_whole_fours_are_taken(count, most):
    rows = in_fours(count, most)
    assert len(rows) == len(set(rows.tolist())) <= most
    assert rows.min() >= 0
    assert rows.max() < count
    if count >= DOUBTING:
        assert doubting(count)[rows].mean() == pytest.approx(0.25, abs=0.01)
        assert len(rows) >= min(count, most) - 2 * DOUBTING


def test_a_doubter_by_itself_is_stretched_about_the_mean_of_all():
    location = np.array([[0.0], [1.0], [2.0], [5.0]])
    moved, factor = stretched(location, np.ones(1), np.full(1, 3.0))
    here = int(np.flatnonzero(doubting(4))[0])
    want = location.copy()
    want[here] += 2.0 * (location[here] - 2.0)
    np.testing.assert_allclose(moved, want)
    np.testing.assert_allclose(factor[:, 0], np.where(doubting(4), 3.0, 1.0))


def test_the_draws_keep_their_mean_and_in_each_camp_their_ranks_and_correlations():
    rng = np.random.default_rng(3)
    draws = rng.multivariate_normal([1, 2], [[1, 0.7], [0.7, 2]], size=500)[:, :, None]
    scale = np.ones_like(draws)
    linear, *change = (
        np.array(v)[:, None] for v in ([0.0, 5.0], [0.5, 0.2], [2.0, 3.0], [1.0, 4.0])
    )
    share, stretch, doubt = change
    moved, wider = (np.asarray(a) for a in applied(draws, scale, linear, Change(*change)))
    np.testing.assert_allclose(
        moved.mean(axis=0), linear + share * (draws.mean(0) - linear), rtol=1e-5
    )
    doubters = doubting(500)
    for camp, factor in ((doubters, stretch * doubt), (~doubters, stretch)):
        np.testing.assert_array_equal(
            np.argsort(moved[camp], axis=0), np.argsort(draws[camp], axis=0)
        )
        np.testing.assert_allclose(
            np.corrcoef(moved[camp, :, 0].T), np.corrcoef(draws[camp, :, 0].T), atol=1e-5
        )
        np.testing.assert_allclose(moved[camp].std(axis=0), factor * draws[camp].std(0), rtol=1e-5)
        np.testing.assert_allclose(wider[camp], np.broadcast_to(factor, wider[camp].shape))


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


def in_parts(stars: HeldOut) -> tuple[list[HeldOut], list[Region]]:
    """Return stars as those of a region and of a random part."""
    rows = np.arange(len(stars.delta))
    parts = [Region("rim", "rim", rows % 2 == 0), Region("part", "random", rows % 2 == 1)]
    found = [stars.take(part.rows)._replace(row=np.flatnonzero(part.rows)) for part in parts]
    return found, parts


def learned_of(
    found: list[HeldOut], parts: list[Region], own: HeldOut | None = None
) -> tuple[np.ndarray, Judged]:
    """Return what is learned of a network with one output."""
    star = np.arange(1 + max(int(stars.row.max()) for stars in (*found, own) if stars is not None))
    (learned,) = learn_outputs([found], parts, star, None if own is None else [own])
    return learned


def test_the_level_is_that_of_the_fits_own_stars():
    """And is doubted: a few stars hardly move it, however wrong they find it."""
    narrow = held_out(wrong=1.5, count=40_000)
    own = narrow.take(np.flatnonzero(narrow.score < 1.2))
    found, parts = in_parts(held_out(wrong=0.7, growing=0.5))
    parts = [part._replace(rows=np.zeros(40_000, dtype=bool)) for part in parts]
    parameters, now = learned_of(found, parts, own)
    assert parameters[0] == pytest.approx(math.log(1.5), abs=0.08)
    assert now.random.sum() == len(own.delta)
    assert len(now.score) == len(own.delta) + len(found[0].delta)
    inside = np.abs(now.pit["after"][now.random] - 0.5) < 0.45
    assert inside.mean() == pytest.approx(0.9, abs=0.04)
    few, _ = learned_of(found, parts, own.take(np.arange(100)))
    assert 0 < few[0] < 0.5 * math.log(1.5)


def test_each_half_of_the_fits_own_stars_is_judged_by_the_other():
    found, parts = in_parts(held_out())
    own = held_out(count=8000, seed=3)
    own = own.take(np.flatnonzero(own.score < 1.2))
    odd = own.row % 2 == 1
    mean = own.location.mean(axis=0)
    own = own._replace(delta=np.where(odd, mean + 2 * (own.delta - mean), own.delta))
    parts = [part._replace(rows=np.zeros(8000, dtype=bool)) for part in parts]
    _, judged_ = learned_of(found, parts, own)
    inside = np.abs(judged_.pit["after"][judged_.random] - 0.5) < 0.45
    assert inside[~odd].mean() > 0.95  # widened, as the odd ones ask for
    assert inside[odd].mean() < 0.7  # and these are not


def test_each_output_of_a_network_is_judged_by_itself():
    """Also where one of them is known of fewer stars; stars of one output judge no other's."""
    rows = np.arange(4000)
    parts = [Region("rim", "rim", rows % 4 == 0), Region("part", "random", rows % 4 == 2)]
    known = (rows, np.flatnonzero(rows % 3 > 0))

    def stars_of(wrong: float, which: int, seed: int) -> HeldOut:
        return held_out(wrong=wrong, seed=seed).take(known[which])

    def in_each(stars: HeldOut) -> list[HeldOut]:
        return [stars.take(part.rows[stars.row.astype(int)]) for part in parts]

    own = [stars_of(1.6, 0, 3), stars_of(1.0, 1, 4)]
    found = [in_each(stars_of(1.6, 0, 5)), in_each(stars_of(1.0, 1, 6))]
    narrow, right = learn_outputs(found, parts, rows, own)
    assert narrow[0][0] > 0.2
    assert abs(right[0][0]) < 0.03
    for (_, judged_), stars in zip((narrow, right), own, strict=True):
        assert judged_.random.sum() == len(stars.delta)
        inside = np.abs(judged_.pit["after"] - 0.5) < 0.45
        for which in (judged_.random, ~judged_.random):
            assert inside[which].mean() == pytest.approx(0.9, abs=0.03)
    # The first output of the rim's stars is off: neither is judged by it there.
    far = np.where(parts[0].rows & (own[0].score > 2.0), 30.0, own[0].delta).astype(np.float32)
    misled = learn_outputs(found, parts, rows, [own[0]._replace(delta=far), own[1]])
    assert misled[0][0][2] > narrow[0][2] + 0.1
    for (_, one), (_, other) in zip((narrow, right), misled, strict=True):
        here = ~one.random
        np.testing.assert_allclose(one.pit["after"][here], other.pit["after"][here], atol=2e-3)


def test_rows_of_one_star_are_in_one_half():
    found, parts = in_parts(held_out())
    parts = [part._replace(rows=np.zeros(8000, dtype=bool)) for part in parts]
    own = held_out(count=8000, seed=3)
    star = np.arange(8000) // 2
    mean, odd = own.location.mean(axis=0), star % 2 == 1
    own = own._replace(delta=np.where(odd, mean + 2 * (own.delta - mean), own.delta))
    ((_, judged_),) = learn_outputs([found], parts, star, [own])
    inside = (np.abs(judged_.pit["after"] - 0.5) < 0.45)[judged_.random]
    assert inside[~odd].mean() > 0.95
    assert inside[odd].mean() < 0.7


def test_the_growth_is_that_of_the_regions_and_of_the_fits_own_stars():
    found, parts = in_parts(held_out(growing=0.8, count=10_000))
    parts = [part._replace(rows=np.zeros(10_000, dtype=bool)) for part in parts]
    own = held_out(count=10_000, seed=4)  # which does not grow
    near = own.take(np.flatnonzero(own.score < ONSET))
    alone, between = (learned_of(found, parts, stars)[0][2] for stars in (near, own))
    every = HeldOut(*(np.concatenate(arrays, axis=-1) for arrays in zip(*found, strict=True)))
    regions_alone = learn([Judges(every)])[0, 0, 2]
    assert alone == pytest.approx(regions_alone, rel=0.05)
    assert between < 0.75 * alone


def test_what_the_fits_own_stars_say_of_a_region_does_not_judge_it():
    found, parts = in_parts(held_out(growing=0.5))
    own = held_out(seed=3)
    in_rim = parts[0].rows & (own.score > 2.0)
    missed = own._replace(delta=np.where(in_rim, 30.0, own.delta).astype(np.float32))
    (learned, judged_), (misled, same) = (learned_of(found, parts, o) for o in (own, missed))
    assert misled[2] > 2.0 * learned[2]
    regions_ = ~judged_.random
    for one, other in ((judged_.density, same.density), (judged_.pit, same.pit)):
        # As near as a search that only judges comes; misled, they differ by ten times as much.
        near = {"rtol": 0.005, "atol": 0.01}
        np.testing.assert_allclose(one["after"][regions_], other["after"][regions_], **near)


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


def test_each_region_is_judged_by_what_was_learned_without_its_stars():
    """Without what other regions say of the same stars, too."""
    count = 1600
    names = ("rim", "tail", "random of 1", "random of 2")
    places = [np.arange(400 * n, 400 * n + 400) for n in range(4)]
    places[1][:100] = places[0][:100]  # a hundred stars are in both
    parts = [
        Region(name, name.split(" of ")[0], np.isin(np.arange(count), place))
        for name, place in zip(names, places, strict=True)
    ]
    found = [
        held_out(count=400, wrong=w, seed=s)._replace(row=places[s].astype(np.float32))
        for s, w in enumerate((1.0, 1.8, 1.3, 1.2))
    ]

    def learned(numbers, without=()) -> np.ndarray:
        chosen = [found[n].take(~np.isin(places[n], without)) for n in numbers]
        arrays = (np.concatenate(arrays, axis=-1) for arrays in zip(*chosen, strict=True))
        return learn([Judges(HeldOut(*arrays), prior=LEVEL_PRIOR)], common_prior=0.0)[0, 0]

    parameters, judged_ = learned_of(found, parts)
    np.testing.assert_array_equal(parameters, learned(range(4)))
    assert judged_.random.tolist() == [False] * 800 + [True] * 800
    others = {0: (1, 2, 3), 1: (0, 2, 3), 2: (0, 1, 3), 3: (0, 1, 2)}
    for number, rest in others.items():
        rows = slice(400 * number, 400 * number + 400)
        after = compare(learned(rest, places[number]), found[number])
        before = compare(np.zeros(3), found[number])
        for wanted, values in ((before, "before"), (after, "after")):
            np.testing.assert_allclose(judged_.density[values][rows], wanted[0], atol=5e-3)
            np.testing.assert_allclose(judged_.pit[values][rows], wanted[1], atol=1e-3)
