"""Calibration as `fit` learns it, and the stars that its refits see."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from astropy.table import Table
from known_regions import NAMES, cloud, held_out
from scipy.spatial import cKDTree

import bayestrans as bt
from bayestrans import calibrate, cli, mclmc, sample
from bayestrans.answers import Answers
from bayestrans.calibration import ONSET, Calibration, doubting
from bayestrans.gaps import Gaps
from bayestrans.held_out import HeldOut
from bayestrans.neighbours import Neighbours
from bayestrans.predictive import mixture
from bayestrans.refits import Refits, about
from bayestrans.regions import Region
from bayestrans.scale import Scaler
from bayestrans.target import of_stars, scaled_data

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
    method = bt.Ensemble(members=50, warm_steps=150)
    return bt.fit(curved, method=method, network=bt.Network((8,)), seed=2, progress=False)


@pytest.fixture(scope="module")
def plain(calibrated) -> bt.Posterior:
    """Return the same posterior without its calibration."""
    return calibrated.uncalibrated


def far_and_near() -> np.ndarray:
    return np.array([[4800.0, 2.5], [9000.0, 8.0]])


def test_fit_learns_thresholds_and_reports_both_states(calibrated):
    sparse, outside = calibrated.neighbours.thresholds
    assert 1.25 <= sparse < outside
    assert (sparse, outside) != (1.5, 2.5)  # what they are without the refits
    learned = calibrated.calibration
    assert max(abs(learned.level[0]), abs(learned.slope[0])) > 1e-4
    assert learned.growth[0] > 0.01  # at zero it makes no difference
    assert learned.tested < 100.0
    report = calibrated.record["held_out_regions"]
    assert set(report) == {"random", "dense", "sparse", "outside"}
    assert report["random"]["n"] == 160
    assert set(report["random"]["before"]) == {"nll", "0.50", "0.68", "0.90", "0.95"}


def test_a_far_star_is_outside_not_narrower_and_no_farther_from_the_line(calibrated, plain):
    x = far_and_near()
    assert list(bt.support(calibrated, x).classes) == ["dense", "outside"]
    both = {"after": calibrated, "before": plain}
    width = {n: np.subtract(*np.percentile(p.predict(x)[:, 1], [84, 16])) for n, p in both.items()}
    assert width["after"] > 1.5 * width["before"]
    regression = calibrated.baseline.linear_mean(x, calibrated.scaler, (0, 1))
    line = calibrated.scaler.restore(x, regression)[1, 0]
    # The stretch leaves the mean of the networks' means alone, but not that of drawn scatter.
    mean = {name: p.predict(x, kind="mean")[:, 1, 0].mean() for name, p in both.items()}
    miss = {name: abs(value - line) for name, value in mean.items()}
    assert miss["after"] < 0.5 * miss["before"]


def test_growth_acts_on_the_draws_that_doubt(plain):
    x = far_and_near()
    zero, one = np.zeros(1), np.ones(1)
    post = dataclasses.replace(plain, calibration=Calibration(zero, zero, one))
    before, after = (p.predict(x, kind="mean")[..., 0] for p in (plain, post))
    np.testing.assert_array_equal(before[:, 0], after[:, 0])  # at the usual spacing
    score, doubters = plain.neighbours.score(x)[1], doubting(len(before))
    np.testing.assert_array_equal(before[~doubters, 1], after[~doubters, 1])
    wider = before[doubters, 1].std() * np.hypot(1, score - ONSET)
    assert after[doubters, 1].std() == pytest.approx(wider, rel=1e-3)
    assert after[:, 1].mean() == pytest.approx(before[:, 1].mean(), abs=0.1)


def test_the_draws_of_a_catalogue_are_chosen_without_the_calibration(calibrated, plain):
    """Each stands for both kinds then, those that doubt and those that do not."""
    one, other = (Answers(model).networks[0].part.draws for model in (calibrated, plain))
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])


def test_a_calibrated_model_is_saved_and_loaded_whole(calibrated, tmp_path):
    calibrated.save(tmp_path / "m.nc")
    again = bt.load(tmp_path / "m.nc")
    kept = again.calibration.to_arrays()
    for name, values in calibrated.calibration.to_arrays().items():
        np.testing.assert_array_equal(kept[name], values)
    thresholds = (post.neighbours.thresholds for post in (again, calibrated))
    np.testing.assert_array_equal(*thresholds)
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


def test_a_catalogue_half_outside_is_flagged_and_widened(calibrated, plain, curved, caplog):
    near = curved.x[bt.support(calibrated, curved).classes == "dense"][:40]
    x = np.vstack([near, near + np.array([3000.0, 5.0])])
    stars = Table({"t": x[:, 0], "g": x[:, 1]})
    found = bt.translate(calibrated, stars, progress=False)
    assert "40 of 80 stars (50.0 %) lie outside" in caplog.text
    before = bt.translate(plain, stars, progress=False)
    outside = np.arange(80) >= 40
    np.testing.assert_array_equal(found["support_class"] == "outside", outside)
    np.testing.assert_array_equal(found["flags"] & 4 > 0, outside)
    width, narrow = (np.asarray(t["teff_p84"] - t["teff_p16"]) for t in (found, before))
    assert (width[outside] > 1.5 * narrow[outside]).all()
    assert width[outside].min() > 2.0 * width[~outside].max()


def test_strict_translation_refuses_stars_outside_and_writes_nothing(calibrated, tmp_path):
    stars = Table({"t": [4800.0, 9000.0], "g": [2.5, 8.0]})
    with pytest.raises(ValueError, match=r"1 of 2 stars \(50.0 %\) lie outside"):
        bt.translate(calibrated, stars, tmp_path / "o.csv", strict=True, progress=False)
    assert list(tmp_path.iterdir()) == []
    inside = bt.translate(calibrated, stars[:1], tmp_path / "o.csv", strict=True, progress=False)
    assert len(inside) == 1


def test_strict_translation_may_allow_a_share_of_stars_outside(calibrated, tmp_path):
    stars = Table({"t": [4800.0, 9000.0], "g": [2.5, 8.0]})
    assert len(bt.translate(calibrated, stars, strict=0.5, progress=False)) == 2
    refused = r"1 of 2 stars .* lie outside .* more than the 40 % that strict allows"
    with pytest.raises(ValueError, match=refused):
        bt.translate(calibrated, stars, tmp_path / "o.csv", strict=0.4, progress=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="strict is 1; give True, False, or a share"):
        bt.translate(calibrated, stars, strict=1, progress=False)


def test_the_command_takes_a_share_and_strict_before_its_arguments(calibrated, tmp_path, capsys):
    model, source, out = (str(tmp_path / name) for name in ("m.nc", "a.csv", "b.csv"))
    calibrated.save(model)
    Table({"t": [4800.0, 9000.0], "g": [2.5, 8.0]}).write(source)
    rest = [model, source, "--out", out, "--quiet"]
    assert cli.main(["translate", "--strict", *rest]) == 2
    assert not (tmp_path / "b.csv").exists()
    assert cli.main(["translate", "--max-outside", "0.4", *rest]) == 2
    assert "more than the 40 % that strict allows" in capsys.readouterr().err
    assert cli.main(["translate", "--max-outside", "0.5", *rest, "--chunk-size", "0"]) == 2
    assert "chunk_size is 0; give a whole number of at least 1" in capsys.readouterr().err
    assert cli.main(["translate", "--max-outside", "0.5", *rest, "--chunk-size", "1"]) == 0


@pytest.mark.parametrize("out", [None, "o.csv"])
def test_that_many_stars_lie_outside_is_said(calibrated, tmp_path, caplog, out):
    stars = Table({"t": [4800.0, 9000.0], "g": [2.5, 8.0]})
    target = out and tmp_path / out
    bt.translate(calibrated, stars[:1], progress=False)
    assert "lie outside" not in caplog.text
    bt.translate(calibrated, stars, target, progress=False)
    assert "1 of 2 stars (50.0 %) lie outside the training stars' support" in caplog.text


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


@pytest.mark.parametrize("lacking", [0.2, 0.7])
def test_stars_with_gaps_are_judged_only_where_they_are_most(lacking, curved):
    x = curved.x.copy()
    lacks = np.random.default_rng(0).random(len(x)) < lacking
    x[lacks, 1] = np.nan
    pairs = dataclasses.replace(curved, x=x)
    method = bt.Ensemble(members=2, warm_steps=1)
    gaps = Gaps.learn(Scaler.learn(pairs), pairs)
    refits = Refits.of(pairs, 400, gaps, pairs.spec.blocks[0], bt.Network((2,)), bt.Noise(), method)
    rows = np.arange(400) < 100
    (stars,) = refits.without(Region("some", "random", rows), jax.random.key(0))
    assert rows[np.asarray(stars.row).astype(int)].all()
    assert len(stars.delta) == (rows if lacking > 0.5 else rows & ~lacks).sum()


def test_regions_of_any_size_are_predicted_by_one_program(curved):
    method, block = bt.Ensemble(members=2, warm_steps=1), curved.spec.blocks[0]
    gaps = Gaps.learn(Scaler.learn(curved), curved)
    refits = Refits.of(curved, 300, gaps, block, bt.Network((2,)), bt.Noise(), method)
    compiled = []
    for size in (20, 90, 35, 250):
        part = Region("some", "tail", np.arange(len(curved)) < size)
        refits.without(part, jax.random.key(size))
        compiled.append((mixture._cache_size(), sample._ascent.cache_info().misses))
    assert len(set(compiled)) == 1


def test_nobody_asks_whether_the_chains_of_a_refit_agree(monkeypatch, curved):
    def asked(*_, **__):
        raise AssertionError("R-hat of a refit is computed")

    monkeypatch.setattr(mclmc.array_stats, "rhat", asked)
    method = bt.MCLMC(chains=2, draws=25, steps=50, warm_steps=10, tune_steps=10)
    gaps = Gaps.learn(Scaler.learn(curved), curved)
    block = curved.spec.blocks[0]
    refits = Refits.of(curved, 300, gaps, block, bt.Network((2,)), bt.Noise(), method)
    (stars,) = refits.without(
        Region("some", "tail", np.arange(len(curved)) < 50), jax.random.key(0)
    )
    assert np.isfinite(stars.location).all()


class Seen:
    """Refits that know what they are asked for, and answer with stars of a known law."""

    def __init__(self, log: list, size: int) -> None:
        self.log, self.size = log, size

    def without(self, part: Region, key: jax.Array, most: int = 200) -> list[HeldOut]:
        assert part.kind != "random" or most >= min(200, part.rows.sum())
        self.log.append((self.size, part, jax.random.key_data(key).tolist()))
        stars = held_out(count=100, seed=len(self.log))
        return [stars._replace(row=np.resize(np.flatnonzero(part.rows), 100).astype(np.float32))]


@pytest.mark.parametrize(("count", "known"), [(1000, False), (1200, False), (1200, True)])
def test_refits_see_a_thousand_and_one_sees_all_but_a_fifth_where_the_fits_own_are_not_known(
    count, known, monkeypatch, capsys
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
    key, own = jax.random.key(1), [held_out(count=300)] if known else None
    ((_, found),) = calibrate._learn_block(
        pairs, lambda size: Seen(log, size), own, key, "held out", progress=True
    )
    assert "held out" in capsys.readouterr().err
    one_more = count > 1000 and not known
    assert bars[0].n == bars[0].total == len(log) == 12 + one_more
    assert len({str(key) for *_, key in log}) == len(log)
    for size, part, _ in log[:12]:
        assert part.rows.shape == (count,)
        assert size == 1000
    # Of the parts, of the refit to all but a fifth, or of the fit itself.
    assert found.random.sum() == (300 if known else 100 if one_more else 400)
    if one_more:
        size, part, _ = log[-1]
        assert size == count
        assert part.rows.sum() == count / 5
