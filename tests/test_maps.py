"""Maps and asymmetries against closed forms, and against draws that are known to be too narrow."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import Galactocentric, SkyCoord, galactocentric_frame_defaults
from astropy.table import Column, MaskedColumn
from scipy import stats

import bayestrans as bt
from bayestrans import plot
from bayestrans.baseline import Baseline
from bayestrans.calibration import Calibration
from bayestrans.gaps import Gaps
from bayestrans.neighbours import Neighbours
from bayestrans.posterior import BlockDraws
from bayestrans.scale import Scaler

SPEC = bt.Spec(
    "offset", (bt.Input("fe_h", "fe_h_a"),), (bt.Output("fe_h", "fe_h_b", corrects="fe_h"),)
)
SCATTER = 0.05  # of B's true value about A's value plus the offset, in dex


@cache
def model(count: int) -> bt.Posterior:
    """Return a model of ``count`` draws that adds nothing, with a Gaussian scatter."""
    rng = np.random.default_rng(0)
    x = rng.normal(-0.4, 0.2, (60, 1))
    nothing = np.full(x.shape, np.nan)
    train = bt.Pairs(SPEC, x, nothing, x + rng.normal(0, SCATTER, x.shape), nothing, np.arange(60))
    scaler = dataclasses.replace(
        Scaler.learn(train), delta_centre=np.zeros(1), delta_scale=np.ones(1)
    )
    draws = {
        "intercept": np.zeros((1, count, 1)),
        "slope": np.zeros((1, count, 1, 1)),
        "log_scatter": np.full((1, count, 1), np.log(SCATTER)),
    }
    return bt.Posterior(
        SPEC,
        bt.Network(()),
        bt.Noise(dof=math.inf, error_factor="one"),
        scaler,
        (BlockDraws(SPEC.blocks[0], draws, {}, {}),),
        Gaps.learn(scaler, train).density,
        Neighbours.learn(train.x, (0,)),
        Calibration.identity(1),
        Baseline.learn(train, scaler),
        *(np.full((1, 1), np.nan) for _ in range(4)),
        {},
    )


def offset_posterior(offsets: np.ndarray) -> bt.Posterior:
    """Return a model whose draws add these offsets, with a Gaussian scatter."""
    none = model(len(offsets))
    (block,) = none.blocks
    block = block._replace(draws={**block.draws, "intercept": offsets.reshape(1, -1, 1)})
    return dataclasses.replace(none, blocks=(block,))


def shuffled(values: np.ndarray) -> np.ndarray:
    """Give each star another draw of the network than the others."""
    return np.random.default_rng(5).permuted(values, axis=0)


ONE_CELL = ((7.0, 9.0), (-1.0, 1.0))


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_an_error_that_stars_have_in_common_does_not_average_out(statistic):
    offsets = np.random.default_rng(1).normal(0.0, 0.04, 100)
    x = np.random.default_rng(2).normal(-0.4, 0.1, (2000, 1))

    def of_cell(values: np.ndarray) -> bt.GalacticMap:
        place = np.full(values.shape[1], 8.0), np.zeros(values.shape[1])
        return bt.binned_map(*place, values, ONE_CELL, statistic=statistic, seed=3)

    posterior = offset_posterior(offsets)
    found, alone = (of_cell(v(posterior.predict(x)[:, :, 0])) for v in (np.asarray, shuffled))
    # What is drawn for 2000 stars, a tenth of it, is by chance correlated by 0.1 with 100 offsets.
    assert found.sd[0, 0] == pytest.approx(offsets.std(), rel=0.03)
    assert alone.sd[0, 0] < 0.15 * offsets.std()  # 0.12 in the mean over seeds
    # What is drawn for 100 is less of it, and correlated by chance as much: several times, hence.
    few = [of_cell(posterior.predict(x[:100], seed=s)[:, :, 0]).sd[0, 0] for s in range(8)]
    assert np.mean(few) > 1.03 * found.sd[0, 0]
    np.testing.assert_allclose(found.stars, 2000)
    assert found.low < found.median < found.high


def test_predict_gives_all_stars_of_a_draw_the_same_network():
    """However the stars are divided, and in ``translate`` as well."""
    offsets = np.linspace(-1.0, 1.0, 100)  # shapes that are compiled already
    x = np.random.default_rng(2).normal(-0.4, 0.1, (700, 1))  # more than one chunk
    posterior = offset_posterior(offsets)
    mean = posterior.predict(x, kind="mean")[:, :, 0]
    np.testing.assert_allclose(mean, x[:, 0] + offsets[:, None], atol=1e-6)
    parts = [posterior.predict(part)[:, :, 0] for part in (x[:10], x[10:])]
    np.testing.assert_array_equal(np.hstack(parts), posterior.predict(x)[:, :, 0])


def test_bootstrap_gives_the_sampling_error_of_the_population():
    """Of a median of N normal numbers: 1.2533 sigma / sqrt(N)."""
    n, draws = 1000, 400
    values = np.random.default_rng(0).normal(0.0, 0.2, n)
    place = np.full((draws, n), 8.0), np.zeros(n)
    found = bt.binned_map(*place, values, ONE_CELL)
    assert found.draws.shape == (draws, 1, 1)
    assert found.sd[0, 0] == pytest.approx(1.2533 * 0.2 / np.sqrt(n), rel=0.2)
    assert found.median[0, 0] == pytest.approx(np.median(values), abs=0.005)
    fixed = bt.binned_map(*place, values, ONE_CELL, bootstrap=False)
    np.testing.assert_allclose(fixed.draws, np.median(values), rtol=1e-12)


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_cells_agree_with_scipy(statistic):
    rng = np.random.default_rng(4)
    radius, height, values = rng.uniform(3, 15, 900), rng.normal(0, 2, 900), rng.normal(size=900)
    edges = np.arange(4.0, 14.1, 2.0), np.arange(-9.0, 9.1, 1.5)
    want = stats.binned_statistic_2d(radius, height, values, statistic, edges).statistic
    counts = np.histogram2d(radius, height, edges)[0]
    found = bt.binned_map(
        radius, height, values, edges, statistic=statistic, min_stars=3, bootstrap=False
    )
    assert (counts == 0).any()
    np.testing.assert_array_equal(found.stars, counts)
    np.testing.assert_allclose(found.median, np.where(counts >= 3, want, np.nan), atol=1e-12)
    np.testing.assert_array_equal(np.isnan(found.draws[0]), counts < 3)


def test_stars_without_place_or_value_are_left_out():
    radius = np.array([8.0, 8.0, np.nan, 8.0, 8.0, 30.0])
    values = np.array([[1.0, 2.0, 50.0, np.nan, 3.0, 70.0], [1.0, 2.0, 50.0, 4.0, np.inf, 70.0]])
    found = bt.binned_map(radius, np.zeros(6), values, ONE_CELL, min_stars=1, bootstrap=False)
    np.testing.assert_allclose(found.draws[:, 0, 0], [2.0, 2.0])
    np.testing.assert_allclose(found.stars, 3.0)
    none = bt.binned_map(np.full(6, np.nan), np.zeros(6), values, ONE_CELL, min_stars=1)
    assert np.isnan(none.draws).all()
    assert np.isnan(none.sd).all()


def world(seed: int, offset_sd: float, truth: float) -> tuple[np.ndarray, ...]:
    """Return R, z and draws: south of the plane survey A, whose offset is known to ``offset_sd``.

    The offset is drawn from what the posterior says of it, so that the posterior is right.
    """
    rng = np.random.default_rng(seed)
    n, draws = 300, 100
    offset = rng.normal(0.0, offset_sd)
    south = rng.normal(-0.4, 0.1, (n, 1)) - offset  # as A gives it
    model = offset_posterior(rng.normal(0.0, offset_sd, draws))
    # The scatter of single stars by NumPy: forty times what `predict` draws takes long.
    values = model.predict(south, kind="mean")[:, :, 0] + rng.normal(0, SCATTER, (draws, n))
    north = truth + rng.normal(-0.4, np.hypot(0.1, SCATTER), n)
    radius, height = rng.uniform(11, 13, 2 * n), rng.uniform(0.1, 0.6, 2 * n)
    height[:n] *= -1
    return radius, height, np.hstack([values, np.broadcast_to(north, (draws, n))])


def test_the_interval_of_the_asymmetry_holds_the_truth_as_often_as_it_says():
    truth, worlds = 0.1, 40
    options = {"radii": (11.0, 13.0), "height_edges": [0.1, 0.6]}
    inside, alone, chi_square = 0, 0, 0.0
    for seed in range(worlds):
        radius, height, values = world(seed, 0.03, truth)
        found = bt.asymmetry(radius, height, values, **options, seed=seed)
        low, high = found.overall_interval(0.68)
        inside += low < truth < high
        chi_square += ((found.overall.mean() - truth) / found.overall.std()) ** 2
        values[:, :300] = shuffled(values[:, :300])
        low, high = bt.asymmetry(radius, height, values, **options, seed=seed).overall_interval()
        alone += low < truth < high
    # 99.8 % of what chance does with 40 worlds.
    least, most = stats.binom.ppf([0.001, 0.999], worlds, 0.68)
    assert least <= inside <= most
    assert stats.chi2.ppf(0.001, worlds) < chi_square < stats.chi2.ppf(0.999, worlds)
    # What it would be if every star had a draw of its own: known to be too narrow.
    assert alone < least


def test_another_footprint_is_no_asymmetry():
    """A gradient, stars nearer the plane in the north and nearer the centre, no noise."""
    rng = np.random.default_rng(0)
    n = 6000
    north = rng.random(n) < 0.5
    off = np.where(north, rng.triangular(0, 0, 2, n), rng.triangular(0, 2, 2, n))
    radius = np.where(north, rng.triangular(10, 10, 14, n), rng.triangular(10, 14, 14, n))
    values = -0.3 * off - 0.06 * (radius - 10)
    height = np.where(north, off, -off)
    options = {"radii": (10.0, 14.0), "height_edges": [0.0, 1.0, 2.0], "bootstrap": False}
    naive = np.median(values[north]) - np.median(values[~north])
    found = bt.asymmetry(radius, height, values, **options, match=(0.5, 0.125))
    assert naive > 0.25
    # Less than gradient times half a cell.
    assert np.abs(found.draws).max() < 0.3 * 0.0625 + 0.06 * 0.25
    assert abs(found.overall[0]) < 0.05 * naive
    wide = bt.asymmetry(radius, height, values, **options, match=(4.0, 2.0))
    assert wide.overall[0] > 3 * abs(found.overall[0])


def test_asymmetry_is_blank_where_one_side_has_no_stars():
    rng = np.random.default_rng(0)
    radius, off = np.full(400, 12.0), rng.uniform(0, 2, 400)
    height = np.where((rng.random(400) < 0.5) & (off < 1), -off, off)  # none south beyond 1
    values = np.where(height > 0, 0.2, 0.0)
    options = {"radii": (11.0, 13.0), "bootstrap": False}
    found = bt.asymmetry(radius, height, values, height_edges=[0, 1, 2], **options)
    np.testing.assert_allclose(found.draws, [[0.2, np.nan]])
    np.testing.assert_allclose(found.overall, [0.2])
    assert found.stars[0].sum() == (off < 1).sum()
    np.testing.assert_array_equal(found.stars[1], [0, 0])
    assert "+0.200" in str(found)
    none = bt.asymmetry(radius, np.abs(height), values, height_edges=[0, 1, 2], **options)
    assert np.isnan(none.overall).all()


def test_positions_of_the_sun_the_centre_and_the_pole():
    sun = bt.galactocentric([0.0], [0.0], [1e-9])
    assert sun.radius[0] == pytest.approx(np.sqrt(8.122**2 - 0.0208**2), abs=1e-7)
    assert sun.height[0] == pytest.approx(0.0208, abs=1e-7)
    assert abs(sun.azimuth[0]) == pytest.approx(180.0, abs=1e-6)
    centre = bt.galactocentric([266.4051], [-28.936175], [8.122])
    np.testing.assert_allclose([centre.radius[0], centre.height[0]], 0.0, atol=1e-9)
    pole = bt.galactocentric([192.85948], [27.12825], [3.0])
    # The plane of the frame passes through the centre, the Sun lies above it: tilted by 0.15 deg.
    assert pole.height[0] == pytest.approx(3.0208, abs=1e-3)
    turned = SkyCoord(90.0, 0.0, unit="deg", frame="galactic").icrs
    ahead = bt.galactocentric([turned.ra.deg], [turned.dec.deg], [2.0])
    assert ahead.azimuth[0] == pytest.approx(180.0 - np.degrees(np.arctan2(2.0, 8.122)), abs=0.02)


def test_positions_agree_with_the_whole_transformation():
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 50), rng.uniform(-90, 90, 50)
    far = rng.uniform(0.1, 15, (4, 50))
    found = bt.galactocentric(ra, dec, far)
    with galactocentric_frame_defaults.set("v4.0"):
        for k in range(4):
            want = SkyCoord(ra, dec, distance=far[k], unit=("deg", "deg", "kpc")).transform_to(
                Galactocentric()
            )
            radius = np.hypot(want.x, want.y).to_value("kpc")
            np.testing.assert_allclose(found.radius[k], radius, atol=1e-9)
            np.testing.assert_allclose(found.height[k], want.z.to_value("kpc"), atol=1e-9)


def test_no_distance_is_no_place():
    far = bt.draw_distances([4.0, 4.0, np.nan, -1.0, 2.0], [0.4, np.nan, 0.1, 0.1, -9.0], 4000)
    np.testing.assert_allclose(np.log(far[:, 0]).std(), 0.1, rtol=0.05)
    np.testing.assert_allclose(np.median(far[:, 0]), 4.0, rtol=0.01)
    np.testing.assert_array_equal(far[:, [1, 4]], np.broadcast_to([4.0, 2.0], (4000, 2)))
    assert np.isnan(far[:, [2, 3]]).all()
    places = bt.galactocentric(np.zeros(5), np.zeros(5), far)
    np.testing.assert_array_equal(np.isnan(places.radius[0]), [0, 0, 1, 1, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bt.galactocentric([1.0], [1.0, 2.0], [1.0]), "shapes"),
        (lambda: bt.galactocentric([1.0], [1.0], [[[1.0]]]), "give \\(N,\\), \\(N,\\)"),
        (lambda: bt.binned_map([8.0, 8], [0.0], [1.0, 2], ONE_CELL), "one number of stars"),
        (lambda: bt.binned_map([8.0], [[0.0]] * 3, [[1.0]] * 2, ONE_CELL), "one of draws"),
        (lambda: bt.binned_map([8.0], [0.0], [1.0], ((9, 7), (0, 1))), "edges in R"),
        (lambda: bt.binned_map([8.0], [0.0], [1.0], ((7, 9), (0,))), "edges in z"),
        (lambda: bt.binned_map([8.0], [0.0], [1.0], ONE_CELL, statistic="mode"), "'median'"),
        (
            lambda: bt.asymmetry([8.0], [0.0], [1.0], radii=(7, 9), height_edges=[-1, 1]),
            "from 0 on",
        ),
        (
            lambda: bt.asymmetry(
                [8.0], [0.0], [1.0], radii=(7, 9), height_edges=[0, 1], match=(1.0, 0.0)
            ),
            "positive extent",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_pictures_show_the_numbers():
    rng = np.random.default_rng(0)
    radius, height = rng.uniform(5, 11, 600), rng.uniform(-2, 2, 600)
    values = rng.normal(-0.1 * np.abs(height), 0.1, (20, 600))
    edges = np.arange(4.0, 12.1, 2.0), np.arange(-2.0, 2.1, 1.0)
    found = bt.binned_map(radius, height, values, edges)
    figure = plot.galactic_maps({"fe_h": found, "mg_fe": found})
    panels = [axis for axis in figure.axes if axis.get_xlim() == (4.0, 12.0)]
    assert len(panels) == 4
    for axis, want in zip(panels, [found.median, found.sd] * 2, strict=True):
        shown = axis.collections[0].get_array()
        np.testing.assert_array_equal(np.ma.filled(shown, np.nan), want.T)
    texts = {axis.get_ylabel() for axis in figure.axes}
    assert {"$z$ [kpc]", "[Fe/H] [dex]", r"$\sigma$ of [Mg/Fe] [dex]"} <= texts
    options = {"radii": (5.0, 11.0), "height_edges": [0.0, 1.0, 2.0]}
    two = {name: bt.asymmetry(radius, height, values, **options) for name in ("one", "two")}
    (axis,) = plot.north_south(two, "fe_h", 0.0).axes
    assert axis.get_ylabel() == "north $-$ south, [Fe/H] [dex]"
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["put in", "one", "68 and 95 %", "two"]


def test_pictures_of_nothing_are_refused():
    blank = bt.binned_map([8.0], [0.0], [[1.0]], ONE_CELL)
    with pytest.raises(ValueError, match="no cell of the map of fe_h"):
        plot.galactic_maps({"fe_h": blank})
    with pytest.raises(ValueError, match="no map"):
        plot.galactic_maps({})
    none = bt.asymmetry([8.0], [0.0], [[1.0]], radii=(7, 9), height_edges=[0, 1])
    with pytest.raises(ValueError, match="no bin"):
        plot.north_south({"one": none}, "fe_h")


def test_units_and_masks_of_places_count():
    plain = bt.galactocentric([10.0, 20.0], [10.0, -20.0], [1.0, 2.0])
    given = [10.0, 20.0] * u.deg, np.radians([10.0, -20.0]) * u.rad, [1000.0, 2000.0] * u.pc
    for found in (bt.galactocentric(*given), bt.galactocentric(*map(Column, given))):
        np.testing.assert_allclose(found.radius, plain.radius, rtol=1e-12)
    masked = bt.galactocentric([10.0, 20.0], [10.0, -20.0], MaskedColumn([1.0, 0.5], mask=[0, 1]))
    np.testing.assert_array_equal(np.isnan(masked.radius), [False, True])
    for distance, error in (
        ([1.0] * u.kpc, [100.0] * u.pc),
        (Column([1000.0], unit="pc"), Column([100.0], unit="pc")),
        ([1000.0] * u.pc, [100.0]),
        ([1.0], [100.0] * u.pc),
    ):
        far = bt.draw_distances(distance, error, 4000)
        np.testing.assert_allclose(np.log(far).std(), 0.1, rtol=0.05)
        np.testing.assert_allclose(np.median(far), 1.0, rtol=0.02)  # in kpc, as plain ones were
    with pytest.raises(u.UnitConversionError):
        bt.galactocentric([10.0], [10.0], [1.0] * u.mas)


def test_masked_values_are_no_zeros_of_a_map():
    values = np.ma.array(np.full(40, -0.2), mask=np.arange(40) % 2 == 0)
    values.data[::2] = 0.0
    where = np.full(40, 8.5), np.full(40, 0.5)
    edges = np.array([8.0, 9.0]), np.array([0.0, 1.0])
    found = bt.binned_map(*where, values, edges, statistic="mean", bootstrap=False)
    np.testing.assert_allclose(found.draws, -0.2)
    assert found.stars.sum() == 20
    units = (where[0] * u.kpc, 1e3 * where[1] * u.pc, values, (1e3 * edges[0] * u.pc, edges[1]))
    again = bt.binned_map(*units, statistic="mean", bootstrap=False)
    np.testing.assert_allclose(again.draws, found.draws)
