"""The simulated pair and the real ones of ``examples/``, and how they are split."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import bayestrans as bt

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

#: Half of its stars lack log g, the other half [Mg/Fe] and all quoted errors.
GAPS = "GALAH with gaps"

REAL = {
    "K2 giants": ("galah_dr3_to_apogee_dr17_k2", "galah_dr3_apogee_dr17_k2"),
    "seismic log g": ("apogee_dr17_to_seismic_logg", "apogee_dr17_seismic_logg"),
    "velocity": ("galah_dr3_to_gaia_dr2_rv", "galah_dr3_gaia_dr2_rv"),
    GAPS: ("galah_to_apogee_dr17_gaps", "galah_apogee"),
}
VELOCITY = "simulated velocity"
NAMES = ("simulated", VELOCITY, *REAL)

#: Pairs of fewer stars than this are held out fold by fold, others once.
FOLDS_BELOW = 2000

#: Stars of a pair from which whole regions are held out, at most.
REGION_STARS = 2500

#: Share of the stars that such a region has.
SHARE = 0.15


class Split(NamedTuple):
    """Training and held-out stars.

    Attributes
    ----------
    name : str
        ``fold 1``, or the region that was held out.
    region : bool
        Whether the held-out stars are a region by themselves.
    """

    name: str
    region: bool
    train: bt.Pairs
    test: bt.Pairs


def simulated(*, velocity: bool = False) -> bt.Pairs:
    """Return 6,000 simulated stars without the velocity, which is a network of its own.

    With ``velocity`` that alone: one in twenty is a binary, and tens of km/s off.
    """
    pairs = bt.simulate(6000, 10, seed=5).pairs
    return extrinsic(pairs) if velocity else intrinsic(pairs)


def read(name: str, folder: Path = DATA) -> bt.Pairs | None:
    """Return a pair by name, or nothing where its table is absent."""
    if name in ("simulated", VELOCITY):
        return simulated(velocity=name == VELOCITY)
    spec, table = REAL[name]
    path = folder / f"{table}.csv"
    if not path.is_file():
        print(f"{name}: {path} is absent; left out", file=sys.stderr)
        return None
    return bt.read_pairs(path, bt.Spec.from_toml(EXAMPLES / f"{spec}.toml"))


def intrinsic(pairs: bt.Pairs) -> bt.Pairs:
    """Return pairs without extrinsic quantities, which have a network of their own."""
    outputs = [k for k, o in enumerate(pairs.spec.outputs) if not o.extrinsic]
    return of_quantities(
        pairs, [j for j, i in enumerate(pairs.spec.inputs) if not i.extrinsic], outputs
    )


def extrinsic(pairs: bt.Pairs) -> bt.Pairs:
    """Return pairs with extrinsic outputs alone."""
    outputs = [k for k, o in enumerate(pairs.spec.outputs) if o.extrinsic]
    return of_quantities(pairs, list(range(len(pairs.spec.inputs))), outputs)


def of_quantities(pairs: bt.Pairs, inputs: list[int], outputs: list[int]) -> bt.Pairs:
    """Return the same stars with some of the inputs and outputs."""
    spec = bt.Spec(
        pairs.spec.name,
        tuple(pairs.spec.inputs[j] for j in inputs),
        tuple(pairs.spec.outputs[k] for k in outputs),
        pairs.spec.id,
    )
    columns = (
        pairs.x[:, inputs],
        pairs.x_err[:, inputs],
        pairs.y[:, outputs],
        pairs.y_err[:, outputs],
    )
    return bt.Pairs(spec, *columns, pairs.ids)


def random_splits(pairs: bt.Pairs, share: float = 0.2) -> Iterator[Split]:
    """Yield a share held out at random, or all five folds of a small pair."""
    splits = pairs.folds(5, seed=0) if len(pairs) < FOLDS_BELOW else [pairs.split(share, seed=0)]
    for number, (train, test) in enumerate(splits, 1):
        yield Split(f"fold {number}", False, train, test)


def some(pairs: bt.Pairs, count: int = REGION_STARS) -> bt.Pairs:
    """Return at most ``count`` stars, chosen at random."""
    if len(pairs) <= count:
        return pairs
    chosen = np.random.default_rng(0).choice(len(pairs), count, replace=False)
    return pairs.take(np.sort(chosen))


def tails(pairs: bt.Pairs, inputs: tuple[str, ...]) -> Iterator[Split]:
    """Yield the lowest and the highest part of each input, held out of the training.

    Stars that lack the input stay in the training, and other rows of the held-out stars in neither.
    """
    for name in inputs:
        values = pairs.x[:, pairs.spec.input_names.index(name)]
        low, high = np.nanquantile(values, [SHARE, 1 - SHARE])
        for label, rows in ((f"low {name}", values <= low), (f"high {name}", values >= high)):
            others = ~np.isin(pairs.ids, pairs.ids[rows])
            kept, held = (pairs.take(np.flatnonzero(r)) for r in (others, rows))
            yield Split(label, True, kept, held)
