"""Read a model file back, and refuse what is not a model."""

from __future__ import annotations

import json
import os

import xarray as xr
from numpy.typing import NDArray

from . import store
from .baseline import Baseline
from .calibration import Calibration
from .density import Density
from .model import Noise, site_shapes
from .neighbours import Neighbours
from .network import Network
from .posterior import SEPARATOR, BlockDraws, Posterior
from .scale import Scaler
from .spec import Spec

Shapes = dict[str, tuple[int | None, ...]]


def load(path: str | os.PathLike[str]) -> Posterior:
    """Read a model written by `Posterior.save`.

    Raises
    ------
    ModelFileError
        For a file that is no model, is damaged, was changed, or was written by
        another version of the format.
    """
    tree = store.read(path)
    with store.explain(path):
        return from_tree(tree)


def from_tree(tree: xr.DataTree) -> Posterior:
    """Rebuild a posterior from the tree that `to_tree` returned."""
    spec = Spec.from_dict(json.loads(tree.attrs["spec"]))
    configuration = json.loads(tree.attrs["configuration"])
    groups = {name: store.arrays(node) for name, node in tree.children.items()}
    network = Network(**configuration["network"])
    noise = Noise(**configuration["noise"])
    _check_arrays(groups, spec)
    blocks = []
    for block in spec.blocks:
        draws, stats = (
            {
                name[len(block.name) + 1 :]: values
                for name, values in groups[group].items()
                if name.startswith(block.name + SEPARATOR)
            }
            for group in ("posterior", "sample_stats")
        )
        blocks.append(BlockDraws(block, draws, stats, configuration["tuning"][block.name]))
    posterior = Posterior(
        spec,
        network,
        noise,
        Scaler.from_arrays(groups["scaler"]),
        tuple(blocks),
        Density.from_arrays(groups["density"]),
        Neighbours.from_arrays(groups["support"]),
        Calibration.from_arrays(groups["calibration"]),
        Baseline.from_arrays(groups["baseline"]),
        groups["probe"]["x"],
        groups["probe"]["x_err"],
        groups["probe"]["y"],
        groups["probe"]["y_err"],
        json.loads(tree.attrs["provenance"]),
    )
    _check_draws(posterior)
    return posterior


def _check_arrays(groups: dict[str, dict[str, NDArray]], spec: Spec) -> None:
    """Refuse arrays that are not for this spec."""
    d, k, m = len(spec.inputs), len(spec.outputs), len(spec.blocks[0].inputs)
    scaler: Shapes = dict.fromkeys(("x_centre", "x_scale", "log_err_centre", "log_err_scale"), (d,))
    scaler |= dict.fromkeys(("delta_centre", "delta_scale", "corrects", "usual_err"), (k,))
    support: Shapes = {
        "points": (None, m),
        "centre": (m,),
        "whiten": (m, m),
        "spacing": (),
        "thresholds": (2,),
        "inputs": (m,),
    }
    used = d + int((groups["scaler"]["log_err_scale"] > 0).sum()) + k
    count = len(groups["density"]["weight"])
    density: Shapes = {
        "weight": (count,),
        "mean": (count, used),
        "covariance": (count, used, used),
        "kinds": (None, used - k),
    }
    baseline: Shapes = {"gram": (d + 1, d + 1), "cross": (d + 1, k), "square": (k, k)}
    if "each_gram" in groups["baseline"]:
        baseline |= {"each_gram": (k, d + 1, d + 1), "each_cross": (d + 1, k), "each_square": (k,)}
    probes = len(groups["probe"]["x"])
    probe: Shapes = {n: (probes, d if n[0] == "x" else k) for n in ("x", "x_err", "y", "y_err")}
    expected = {"scaler": scaler, "support": support, "baseline": baseline, "probe": probe}
    expected["density"] = density
    calibration: Shapes = dict.fromkeys(("level", "slope", "growth"), (k,))
    expected["calibration"] = {**calibration, "tested": ()}
    store.check_shapes(groups, expected)
    arrays = groups["scaler"]
    if tuple(arrays["corrects"]) != spec.corrects or not (arrays["delta_scale"] > 0).all():
        raise ValueError("the scaler is not that of the spec")


def _check_draws(posterior: Posterior) -> None:
    """Refuse draws that are not of these networks, or not equally many."""
    lead = next(iter(posterior.blocks[0].draws.values())).shape[:2]
    for block in posterior.blocks:
        n_features = posterior.gaps.n_features(block.block.inputs)
        shape = posterior.shape(block.block)
        expected = {n: lead + s for n, s in site_shapes(shape, n_features).items()}
        found = {name: values.shape for name, values in block.draws.items()}
        if found != expected:
            wrong = sorted(set(found.items()) ^ set(expected.items()))
            raise ValueError(f"the {block.block.name} network has arrays of another shape: {wrong}")
