"""The simulated Galaxy is what its parameters say, and its asymmetry is found again."""

from __future__ import annotations

import re
import runpy
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import bayestrans as bt
from bayestrans.galaxy import BEYOND, METALS, NORTHERN

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

OUTER = {"radii": (11.0, 15.0), "height_edges": [0.25, 1.0, 2.0, 3.0]}


@pytest.fixture(scope="module")
def galaxy() -> bt.Galaxy:
    return bt.simulate_galaxy(1000, 6000, 6000, asymmetry=0.1, distance_error=0.0, seed=1)


@pytest.fixture(scope="module")
def alike() -> bt.Galaxy:
    """Return the same Galaxy without an asymmetry."""
    return bt.simulate_galaxy(1000, 6000, 6000, distance_error=0.0, seed=1)


def test_the_asymmetry_is_put_into_metals_alone(galaxy, alike):
    for name in ("a_truth", "b_truth"):
        with_it, without = getattr(galaxy, name), getattr(alike, name)
        far = without["radius"] > BEYOND
        assert 0.2 < far.mean() < 0.5
        put_in = with_it["star"][:, 2] - without["star"][:, 2]
        np.testing.assert_allclose(put_in, 0.05 * np.sign(without["height"]) * far, atol=1e-12)
        np.testing.assert_array_equal(with_it["star"][:, 3], without["star"][:, 3])
        np.testing.assert_array_equal(with_it["radius"], without["radius"])


def test_places_are_those_of_the_truth(galaxy):
    for stars, truth in ((galaxy.a, galaxy.a_truth), (galaxy.b, galaxy.b_truth)):
        found = bt.galactocentric(stars["ra"], stars["dec"], stars["distance"])
        np.testing.assert_allclose(found.radius, truth["radius"], atol=1e-9)
        np.testing.assert_allclose(found.height, truth["height"], atol=1e-9)


def test_surveys_look_at_different_halves(galaxy):
    north = galaxy.a_truth["height"] > 0.0208
    least, most = stats.binom.ppf([0.001, 0.999], 6000, NORTHERN["A"]) / 6000
    assert least <= north.mean() <= most
    of_b = galaxy.b_truth["height"][1000:] > 0.0208
    least, most = stats.binom.ppf([0.001, 0.999], 6000, NORTHERN["B"]) / 6000
    assert least <= of_b.mean() <= most


def test_common_stars_head_the_table_of_b(galaxy):
    np.testing.assert_array_equal(galaxy.b["star_id"][:1000], galaxy.pairs.ids)
    np.testing.assert_array_equal(galaxy.b["fe_h_b"][:1000], galaxy.pairs.y[:, 2])
    ids = np.concatenate([galaxy.a["star_id"], galaxy.b["star_id"]])
    assert len(np.unique(ids)) == len(ids)
    assert {len(values) for values in galaxy.b.values()} == {7000}
    assert len(galaxy.b_truth["y"]) == 7000


def test_thin_disc_has_its_gradients(alike):
    truth = alike.b_truth
    thin = truth["population"] == "thin"
    off, fe_h = np.abs(truth["height"][thin]), truth["star"][thin, 2]
    columns = np.column_stack([np.ones(thin.sum()), truth["radius"][thin] - 8.122, off])
    found, rest, *_ = np.linalg.lstsq(columns, fe_h)
    local, outwards, upwards, spread = METALS["thin"]
    sd = np.sqrt(rest[0] / thin.sum())
    errors = sd * np.sqrt(np.diag(np.linalg.inv(columns.T @ columns)))
    assert (np.abs(found - [local, outwards, upwards]) < 4 * errors).all()
    assert sd == pytest.approx(spread, rel=0.05)


def test_populations_are_where_they_belong_and_have_their_magnesium(alike):
    truth = alike.b_truth
    off = {name: np.abs(truth["height"])[truth["population"] == name] for name in METALS}
    assert np.median(off["thin"]) < 0.6 * np.median(off["thick"]) < 0.6 * np.median(off["halo"])
    mg_fe = {name: truth["star"][truth["population"] == name, 3] for name in METALS}
    assert np.median(mg_fe["thick"]) > np.median(mg_fe["thin"]) + 0.15


def test_zero_point_and_distance_error_are_what_was_asked(alike):
    other = bt.simulate_galaxy(1000, 6000, 6000, zero_point=0.0, distance_error=0.1, seed=1)
    np.testing.assert_allclose(alike.a["fe_h_a"] - other.a["fe_h_a"], -0.1, atol=1e-12)
    moved = alike.a_truth["x"] - other.a_truth["x"] - [0, 0, -0.1, 0, 0, 0]
    np.testing.assert_allclose(moved, 0.0, atol=1e-12)
    np.testing.assert_array_equal(alike.pairs.y, other.pairs.y)
    noise = np.log(other.a["distance"] / alike.a["distance"])
    assert noise.std() == pytest.approx(0.1, rel=0.04)
    np.testing.assert_allclose(other.a["e_distance"], 0.1 * other.a["distance"])


def test_numbers_of_stars_do_not_disturb_one_another(alike):
    other = bt.simulate_galaxy(1000, 50, 70, distance_error=0.0, seed=1)
    np.testing.assert_array_equal(alike.pairs.x, other.pairs.x)
    np.testing.assert_array_equal(alike.pairs.ids, other.pairs.ids)
    none = bt.simulate_galaxy(5, 0, 0)
    assert (len(none.a["ra"]), len(none.b["ra"])) == (0, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_common": 0}, "n_common is 0; give a whole number of at least 1"),
        ({"asymmetry": 2.0}, "asymmetry is 2.0; it must lie between -1 and 1 dex"),
        ({"zero_point": float("nan")}, "zero_point is nan"),
        ({"distance_error": 0.6}, "distance_error is 0.6; it must lie between 0 and 0.5"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_cannot_be_used_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        bt.simulate_galaxy(**options)


@pytest.mark.parametrize(("name", "put_in"), [("galaxy", 0.1), ("alike", 0.0)])
def test_the_asymmetry_is_found_where_a_is_on_the_scale_of_b(name, put_in, request):
    """A's zero point fakes an asymmetry; with B's true values the one put in is found."""
    galaxy = request.getfixturevalue(name)
    radius, height = (
        np.concatenate([galaxy.a_truth[which], galaxy.b_truth[which]])
        for which in ("radius", "height")
    )
    true = np.concatenate([galaxy.a_truth["y"][:, 2], galaxy.b_truth["y"][:, 2]])
    mixed = np.concatenate([galaxy.a["fe_h_a"], galaxy.b["fe_h_b"]])
    good, fake = (
        bt.asymmetry(radius, height, np.tile(values, (100, 1)), **OUTER) for values in (true, mixed)
    )
    assert abs(np.median(good.overall) - put_in) < 3 * good.overall.std()
    assert good.overall.std() < 0.02
    assert np.median(fake.overall) - put_in > 5 * fake.overall.std()
    if put_in:
        assert good.overall.min() > 0


@pytest.mark.slow
@pytest.mark.parametrize("put_in", [0.1, 0.0])
def test_example_finds_what_was_put_in(put_in, tmp_path, capsys):
    run = runpy.run_path(str(EXAMPLES / "galaxy_maps.py"))["main"]
    run(Namespace(folder=tmp_path, asymmetry=put_in, stars=1500, steps=400, seed=1, real=None))
    names = {"galaxy_maps.png", "north_south.png", "galaxy_maps.txt"}
    assert {path.name for path in tmp_path.iterdir()} == names
    said = capsys.readouterr().out
    assert "outside the training stars' support" in said
    assert f"put in: {put_in:+.3f} in fe_h" in said
    assert said.strip() == (tmp_path / "galaxy_maps.txt").read_text().strip()
    number = r"([+-]\d\.\d+)"
    found = {}
    for kind in ("translated", "untranslated"):
        line = rf"fe_h, {kind}: {number} \(68 %: .*; 95 %: {number} to {number}\)"
        found[kind] = [float(part) for part in re.search(line, said).groups()]
    middle, low, high = found["translated"]
    assert low < put_in < high
    # A's zero point, 0.1 too low in the south, looks like more asymmetry.
    assert found["untranslated"][0] > middle + 0.04
