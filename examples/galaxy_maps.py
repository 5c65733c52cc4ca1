"""Map the Galaxy with two surveys on one scale, and compare its north with its south.

``python examples/galaxy_maps.py [FOLDER]`` does it for two simulated surveys and leaves two
pictures and the numbers; ``--asymmetry 0`` makes north and south alike. ``--real DATA`` does it
for GALAH DR3 and APOGEE DR17, with a folder that holds ``galah_dr3_halo.fits``,
``apogee_dr17_halo.fits`` and ``galah_dr3_apogee_dr17_k2.csv``.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Table

import bayestrans as bt
from bayestrans import plot

HERE = Path(__file__).parent
PLACE = ("ra", "dec", "distance", "e_distance")  # degrees and kpc
DRAWS = 200


class Case(NamedTuple):
    """Two surveys, and where to look; lengths in kpc."""

    pairs: bt.Pairs
    a: Table  # with the spec's inputs and identifier, and places
    b: Table  # with the spec's outputs and identifier, and places
    edges: tuple[Any, Any]  # of the map, in R and z
    between: dict[str, Any]  # what `asymmetry` needs
    truth: float | None = None


class Merged(NamedTuple):
    """The stars of both surveys on B's scale, and with A's values as they are."""

    draws: dict[str, Any]  # (draw, star) arrays by output
    as_they_are: dict[str, Any]  # (star,) arrays
    places: bt.Places  # (draw, star) arrays
    told: str


def simulated(stars: int, asymmetry: float, seed: int) -> Case:
    galaxy = bt.simulate_galaxy(max(300, stars // 8), stars, stars, asymmetry=asymmetry, seed=seed)
    both, spec = galaxy.pairs, galaxy.spec
    # Four quantities in, two out: teff, logg, fe_h, mg_fe and fe_h, mg_fe.
    spec = bt.Spec(spec.name, spec.inputs[:4], spec.outputs[2:4], id=spec.id)
    arrays = both.x[:, :4], both.x_err[:, :4], both.y[:, 2:4], both.y_err[:, 2:4]
    edges = (np.arange(3.0, 15.1, 1.0), np.arange(-4.0, 4.1, 0.5))
    between = {"radii": (11.0, 15.0), "height_edges": [0.25, 0.75, 1.25, 1.75, 2.25, 3.0]}
    pairs = bt.Pairs(spec, *arrays, both.ids)
    return Case(pairs, Table(galaxy.a), Table(galaxy.b), edges, between, asymmetry)


def real(folder: Path) -> Case:
    spec = bt.Spec.from_toml(HERE / "galah_dr3_to_apogee_dr17_k2.toml")
    pairs = bt.read_pairs(folder / "galah_dr3_apogee_dr17_k2.csv", spec)
    # Each table gets the spec's columns. The flag of one cut is not in APOGEE's file.
    a = bt.clean(folder / "galah_dr3_halo.fits", "galah-dr3").table
    b = bt.clean(folder / "apogee_dr17_halo.fits", "apogee-dr17", without=["star_bad"]).table
    a.rename_columns(("dr3_source_id", "ra_dr2", "dec_dr2"), ("gaia_source_id", "ra", "dec"))
    for ours, theirs in (("teff", "teff"), ("fe_h", "fe_h"), ("mg_fe", "Mg_fe")):
        a.rename_columns((theirs, f"e_{theirs}"), (f"{ours}_galah", f"e_{ours}_galah"))
    for name in ("teff", "fe_h", "alpha_m"):
        b.rename_columns((name, f"{name}_err"), (f"{name}_apogee", f"e_{name}_apogee"))
    for table in (a, b):
        table["distance"] = table["r_med_photogeo"] / 1000
        table["e_distance"] = (table["r_hi_photogeo"] - table["r_lo_photogeo"]) / 2000
    b.rename_column("dr3_source_id", "gaia_source_id")
    edges = (np.arange(3.0, 13.1, 2.0), np.arange(-6.0, 6.1, 1.5))
    between = {"radii": (5.0, 11.0), "height_edges": [0.0, 1.5, 3.0, 5.0], "match": (2.0, 0.75)}
    return Case(pairs, a, b, edges, between)


def merge(case: Case, posterior: bt.Posterior, seed: int) -> Merged:
    """Make both surveys one catalogue on B's scale, with joint draws, and places from either."""
    spec, plane = posterior.spec, {name: name for name in PLACE}
    outputs = [(o, spec.inputs[c]) for o, c in zip(spec.outputs, spec.corrects, strict=True)]
    on_b = tuple(bt.Input(o.name, o.column, o.error, o.unit) for o in spec.outputs)
    raw_a = {f"{o.name}_raw": corrected.column for o, corrected in outputs}
    raw_b = {f"{o.name}_raw": o.column for o in spec.outputs}
    plan = bt.Plan(
        (
            bt.Member("a", case.a, spec.id, model=posterior, keep=plane | raw_a),
            bt.Member("b", case.b, spec.id, columns=on_b, keep=plane | raw_b),
        ),
        name="both surveys on B's scale",
        id=spec.id,
    )
    merged = bt.homogenise(plan, draws=DRAWS, seed=seed, progress=False)
    outside = np.asarray(merged["support_class"]) == "outside"
    told = [
        f"{np.sum(~outside & (merged['surveys'] == kind))} stars of {text}"
        for kind, text in (("a", "A, translated"), ("b", "B"), ("a+b", "both, combined"))
    ]
    told.append(f"left out: {outside.sum()} of A outside the training stars' support")
    merged = merged[~outside]
    # A temperature is not what the Galaxy is mapped in.
    mapped = [o.name for o in spec.outputs if not o.unit]
    draws = {name: np.asarray(merged[f"{name}_draws"], dtype=float).T for name in mapped}
    as_they_are = {name: np.ma.filled(merged[f"{name}_raw"], np.nan) for name in mapped}
    ra, dec, distance, e_distance = (np.ma.filled(merged[name], np.nan) for name in PLACE)
    distances = bt.draw_distances(distance, e_distance, DRAWS, seed=seed)
    return Merged(draws, as_they_are, bt.galactocentric(ra, dec, distances), "; ".join(told))


def results(case: Case, merged: Merged, folder: Path, seed: int) -> list[str]:
    """Draw both pictures and return the numbers as lines."""
    radius, height, _ = merged.places
    maps = {
        name: bt.binned_map(radius, height, draws, case.edges, seed=seed)
        for name, draws in merged.draws.items()
    }
    plot.galactic_maps(maps).savefig(folder / "galaxy_maps.png", dpi=200)
    lines = ["", "Maps of the median in R and z, over the cells with at least 10 stars:"]
    for name, found in maps.items():
        sd = found.sd[np.isfinite(found.sd)]
        lines.append(
            f"  {name}: {len(sd)} cells, standard deviation {np.median(sd):.3f} dex in the "
            f"middle, {sd.min():.3f} at least, {sd.max():.3f} at most"
        )
    least, most = case.between["radii"]
    lines += [
        "",
        f"North minus south at R = {least:g} to {most:g} kpc, at equal R and |z|, in dex:",
    ]
    for number, (name, draws) in enumerate(merged.draws.items()):
        kinds = {"translated": draws, "untranslated": merged.as_they_are[name]}
        # As they are, there is one value for each star; only its place and weight are drawn.
        found = {
            kind: bt.asymmetry(radius, height, values, seed=seed, **case.between)
            for kind, values in kinds.items()
        }
        lines += [f"  {name}, {kind}: {value}" for kind, value in found.items()]
        if number == 0:
            figure = plot.north_south(found, name, case.truth)
            figure.savefig(folder / "north_south.png", dpi=200)
    if case.truth is not None:
        lines.append(f"  put in: {case.truth:+.3f} in fe_h, nothing in mg_fe")
    return lines


def main(options: Namespace) -> None:
    folder, seed = Path(options.folder), options.seed
    folder.mkdir(parents=True, exist_ok=True)
    case = real(options.real) if options.real else simulated(options.stars, options.asymmetry, seed)
    # Short, small, and for the simulated stars without held-out regions: leave all out for a paper.
    posterior = bt.fit(
        case.pairs,
        method=bt.MCLMC(chains=2, draws=DRAWS // 2, steps=options.steps, warm_steps=options.steps),
        network=bt.Network((16,)),
        calibrate=options.real is not None,
        seed=seed,
        progress=False,
    )
    merged = merge(case, posterior, seed)
    lines = [merged.told, *results(case, merged, folder, seed)]
    (folder / "galaxy_maps.txt").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=".")
    parser.add_argument("--asymmetry", type=float, default=0.1, help="in [Fe/H], dex")
    parser.add_argument("--stars", type=int, default=8000, help="of each simulated survey")
    parser.add_argument("--steps", type=int, default=1500, help="of each chain")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", type=Path, help="folder of the real tables")
    main(parser.parse_args())
