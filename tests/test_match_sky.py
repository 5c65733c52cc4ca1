"""The common stars of two surveys by their places on the sky, as Astropy finds them."""

from __future__ import annotations

import warnings

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.time import Time
from galah_apogee import apogee, both, galah, refusal
from released import FIRST_ID

from bayestrans.sky import directions, mutual_nearest


def places(table: Table, ra, dec, names=("ra_dr2", "dec_dr2")) -> Table:
    table[names[0]], table[names[1]] = ra, dec
    return table


def test_moved_directions_agree_with_astropy():
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 50), np.r_[rng.uniform(-89.9, 89.9, 48), 89.9999, -89.9999]
    pm_ra, pm_dec = rng.normal(0, 3000, (2, 50))
    start = SkyCoord(
        *(ra * u.deg, dec * u.deg),
        pm_ra_cosdec=pm_ra * u.mas / u.yr,
        pm_dec=pm_dec * u.mas / u.yr,
        distance=np.full(50, 1000) * u.pc,
        obstime=Time(2016.0, format="jyear"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        end = start.apply_space_motion(new_obstime=Time(2000.0, format="jyear"))
    there = directions(np.asarray(end.ra.deg), np.asarray(end.dec.deg))
    moved = directions(ra, dec, pm_ra, pm_dec, -16.0)
    apart = np.degrees(np.linalg.norm(moved - there, axis=1)) * 3600
    assert apart.max() < 1e-3  # arcsec, of up to 150


def test_mutual_nearest_agrees_with_astropy_across_the_pole_and_the_origin():
    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(-0.01, 0.01, 300) % 360, rng.uniform(-0.01, 0.01, 300)
    ra, dec = np.r_[ra, rng.uniform(0, 360, 100)], np.r_[dec, rng.uniform(89.99, 90, 100)]
    one = SkyCoord(ra * u.deg, dec * u.deg)
    two = one.directional_offset_by(
        rng.uniform(0, 360, 400) * u.deg, rng.exponential(3, 400) * u.arcsec
    )
    vectors = [directions(np.asarray(c.ra.deg), np.asarray(c.dec.deg)) for c in (one, two)]
    found = mutual_nearest(*vectors, 5.0)
    nearest, separation, _ = one.match_to_catalog_sky(two)
    back, _, _ = two.match_to_catalog_sky(one)
    mine = np.flatnonzero((back[nearest] == np.arange(400)) & (separation.arcsec <= 5))
    assert found.first.tolist() == mine.tolist()
    assert found.second.tolist() == nearest[mine].tolist()
    np.testing.assert_allclose(found.separation, separation.arcsec[mine], atol=1e-6)
    around = one.search_around_sky(two, 5 * u.arcsec)[1]
    assert found.crowded == (np.bincount(around, minlength=400) > 1).sum()
    assert mutual_nearest(vectors[0][:0], vectors[1], 5.0).first.size == 0


def test_a_fast_star_is_found_by_its_proper_motion():
    n = 5
    a = places(galah(FIRST_ID + np.arange(n)), 10.0 + np.arange(n), np.zeros(n))
    years = 2015.5 - 2000.0
    b = places(apogee(9 * FIRST_ID + np.arange(n)), 10.0 + np.arange(n), np.zeros(n), ("RA", "DEC"))
    b["DEC"][2] -= 1.5 * years / 3600  # 1.5 arcsec a year
    b["GAIAEDR3_PMRA"], b["GAIAEDR3_PMDEC"] = np.zeros(n), np.zeros(n)
    b["GAIAEDR3_PMRA"][0] = b["GAIAEDR3_PMDEC"][0] = np.nan
    b["GAIAEDR3_PMDEC"][2] = 1500.0
    found = both(a, b, radius=1.0)
    assert found.table["sobject_id"].tolist() == [1000, 1001, 1002, 1003, 1004]
    assert found.table["separation"].max() < 1e-6
    assert found.table["separation"].unit == u.arcsec
    a["Separation"] = np.ones(n)  # of something else
    beside = both(a, b, radius=1.0).table
    assert beside["Separation"].tolist() == [1.0] * n
    assert beside["match_separation"].max() < 1e-6
    a.remove_column("Separation")
    assert found.spec.id == "sobject_id"
    assert "moved over 15.5 years by proper motions (1 stars have none and stay)" in str(found)
    b.remove_columns(["GAIAEDR3_PMRA", "GAIAEDR3_PMDEC"])
    found = both(a, b, radius=1.0)
    assert found.table["sobject_id"].tolist() == [1000, 1001, 1003, 1004]
    assert "15.5 years apart and neither table has proper motions" in str(found)


def test_positions_that_are_missing_or_crowded_are_counted():
    a = places(galah(FIRST_ID + np.arange(4)), [10.0, 20.0, np.nan, 400.0], np.zeros(4))
    b = places(apogee(np.arange(1, 4)), [10.0001, 10.0002, 20.0], np.zeros(3), ("RA", "DEC"))
    found = both(a, b, radius=2.0)
    assert found.table["APOGEE_ID_apogee_dr17"].tolist() == ["2M00000", "2M00002"]
    assert found.report.joined.unusable == (2, 0)
    message = refusal(
        a, places(b.copy(), [80.0, 90.0, 95.0], np.zeros(3), ("RA", "DEC")), radius=2.0
    )
    assert message.endswith("of one epoch, or their tables have proper motions")
    assert "2 stars without position left out" in str(found)
    assert "1 stars of A have more than one star of B within the radius" in str(found)
    assert "a radius of 0 arcsec cannot be used; give 0 to 3600, such as 1" in refusal(
        a, b, radius=0
    )
    b.remove_column("RA")
    assert "APOGEE DR17, a table in memory: there is no column 'RA'" in refusal(a, b, radius=1.0)


def test_repeats_of_a_star_on_the_sky_go_by_its_identifier():
    a = places(galah([FIRST_ID, FIRST_ID, 0, 0]), [10.0, 10.0, 20.0, 20.0001], np.zeros(4))
    b = places(apogee([1, 2]), [10.0, 20.0], np.zeros(2), ("RA", "DEC"))
    found = both(a, b, radius=1.0)
    assert found.table["sobject_id"].tolist() == [1001, 1002]
    assert found.report.joined.repeated == (1, 0)
