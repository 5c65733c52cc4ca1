"""A posterior as ArviZ sees it: functions at probe stars, densities and replicates."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .measured import draw_densities, replicates
from .model import prior_draws
from .pairs import Pairs
from .posterior import SEPARATOR, Posterior

Floats = NDArray[np.float64]
Groups = dict[str, xr.Dataset]

#: The variable of the log likelihood that is of all outputs of all networks.
JOINT = "joint"
#: Unknowns of the scatter that mean the same in every chain, unlike a network's weights.
SCATTER_SITES = (
    "log_scatter",
    "error_factor",
    "dof_above_2",
    "outlier_odds",
    "outlier_width_above_1",
)


def as_prior(posterior: Posterior, *, seed: int) -> Posterior:
    """Return the same model with as many draws from its prior, in one chain."""
    blocks, rng = [], np.random.default_rng(seed)
    for block in posterior.blocks:
        shape = posterior.shape(block.block)
        n_features = posterior.gaps.n_features(block.block.inputs)
        drawn = prior_draws(shape, n_features, posterior.n_draws, rng)
        draws = {n: np.asarray(v, block.draws[n].dtype)[None] for n, v in drawn.items()}
        blocks.append(block._replace(draws=draws, stats={}))
    return dataclasses.replace(posterior.uncalibrated, blocks=tuple(blocks))


def probe_pairs(posterior: Posterior) -> tuple[Pairs, NDArray[np.int64]] | None:
    """Return the probe stars that B measured, and their numbers; None if there are none."""
    rows = np.flatnonzero(np.isfinite(posterior.probe_y).any(axis=1))
    if not len(rows):
        return None
    x, x_err = posterior.probe_x[rows], posterior.probe_x_err[rows]
    y, y_err = posterior.probe_y[rows], posterior.probe_y_err[rows]
    return Pairs(posterior.spec, x, x_err, y, y_err, rows), rows


def function_groups(posterior: Posterior, mean: Floats, scatter: Floats) -> Groups:
    """Return ``posterior`` and ``sample_stats``: what chains are judged by.

    The posterior has each output's mean (under its name) and intrinsic scatter
    (``NAME.scatter``, where it is learned) at the probe stars, in the output's unit, and
    those unknowns of each network that mean the same in all chains.

    Parameters
    ----------
    posterior : Posterior
    mean, scatter : (S, P, K) array
        Of every draw at the probe stars.
    """
    values: dict[str, Any] = {}
    for k, output in enumerate(posterior.spec.outputs):
        parts = {output.name: mean, f"{output.name}{SEPARATOR}scatter": scatter}
        for name, part in parts.items():
            if posterior.noise.scatter is None or part is mean:
                values[name] = _per_draw(posterior, part[..., k], "probe", output.unit)
    for block in posterior.blocks:
        for site in SCATTER_SITES:
            if site in block.draws:
                name, draws = f"{block.block.name}{SEPARATOR}{site}", block.draws[site]
                dims = [f"{name}_dim_{i}" for i in range(draws.ndim - 2)]
                values[name] = (("chain", "draw", *dims), draws)
    functions = xr.Dataset(values, {"probe": np.arange(mean.shape[1])})
    return {"posterior": functions, "sample_stats": xr.Dataset(_stats(posterior))}


def _stats(posterior: Posterior) -> dict[str, Any]:
    """Return what the samplers recorded of each network, and of all under ArviZ's names.

    The networks' posteriors are independent: their log densities and energies add up.
    """
    stats = {
        f"{block.block.name}{SEPARATOR}{name}": (("chain", "draw"), values)
        for block in posterior.blocks
        for name, values in block.stats.items()
    }
    together = {"log_density": ("lp", np.sum), "energy": ("energy", np.sum)}
    for name, (usual, joined) in (together | {"diverging": ("diverging", np.any)}).items():
        if all(name in block.stats for block in posterior.blocks):
            every = [block.stats[name] for block in posterior.blocks]
            stats[usual] = (("chain", "draw"), joined(every, axis=0))
    return stats


def star_groups(
    posterior: Posterior, pairs: Pairs, rows: NDArray[np.int64], *, seed: int = 0
) -> Groups:
    """Return ``observed_data``, ``posterior_predictive`` and ``log_likelihood`` of stars.

    ``log_likelihood`` has the joint density of the outputs of each network under the
    network's name, of all networks under ``joint`` where there are several, and
    that of each output by itself under its name. Every variable has only the stars
    that have it, along ``NAME_star``, whose coordinate is the star's number.

    Parameters
    ----------
    posterior : Posterior
    pairs : Pairs
        The predictive is of what survey B measures.
    rows : (N,) array
        Numbers of the stars: their rows in a table, or among the probes.
    seed : int
        Of the replicates' noise.
    """
    groups: dict[str, dict[str, Any]] = {
        "observed_data": {},
        "posterior_predictive": _predictive(posterior, pairs, seed),
        "log_likelihood": {},
    }
    density = draw_densities(posterior, pairs)
    likelihood = groups["log_likelihood"]
    for block in posterior.blocks:
        has = pairs.seen[:, list(block.block.outputs)].any(axis=1)
        name = block.block.name
        likelihood[name] = _of_stars(posterior, density.stars[name], name, has)
    if len(posterior.blocks) > 1:
        total = np.sum(list(density.stars.values()), axis=0)
        likelihood[JOINT] = _of_stars(posterior, total, JOINT, pairs.seen.any(axis=1))
    for k, output in enumerate(posterior.spec.outputs):
        name, has = output.name, pairs.seen[:, k]
        likelihood[name] = _of_stars(posterior, density.outputs[..., k], name, has)
        values = (pairs.y[has, k], {"units": output.unit})
        groups["observed_data"][name] = (f"{name}_star", *values)
    return {name: _dataset(values, pairs, rows) for name, values in groups.items()}


def prior_group(
    prior: Posterior, pairs: Pairs, rows: NDArray[np.int64], *, seed: int = 0
) -> Groups:
    """Return ``prior_predictive``: what B might measure of stars before any was seen."""
    return {"prior_predictive": _dataset(_predictive(prior, pairs, seed), pairs, rows)}


def _predictive(posterior: Posterior, pairs: Pairs, seed: int) -> dict[str, Any]:
    drawn = replicates(posterior, pairs, seed=seed).astype(np.float32)
    return {
        o.name: _of_stars(posterior, drawn[..., k], o.name, pairs.seen[:, k], o.unit)
        for k, o in enumerate(posterior.spec.outputs)
    }


def _of_stars(
    posterior: Posterior, values: NDArray, name: str, has: NDArray[np.bool_], unit: str = ""
) -> Any:
    return _per_draw(posterior, values[:, has], f"{name}_star", unit)


def _per_draw(posterior: Posterior, values: NDArray, dim: str, unit: str = "") -> Any:
    """Return draws over all chains (S, N) as a variable of (chain, draw, ``dim``)."""
    lead = next(iter(posterior.blocks[0].draws.values())).shape[:2]
    shaped = values.reshape(*lead, values.shape[1])
    return ("chain", "draw", dim), shaped, {"units": unit} if unit else {}


def _dataset(values: dict[str, Any], pairs: Pairs, rows: NDArray[np.int64]) -> xr.Dataset:
    found = xr.Dataset(values)
    seen = dict(zip(pairs.spec.output_names, pairs.seen.T, strict=True))
    for block in pairs.spec.blocks:
        seen[block.name] = pairs.seen[:, list(block.outputs)].any(axis=1)
    seen[JOINT] = pairs.seen.any(axis=1)
    numbers = {f"{name}_star": rows[has] for name, has in seen.items()}
    return found.assign_coords({dim: n for dim, n in numbers.items() if dim in found.dims})


def tree(groups: Groups, held_out: Groups | None = None) -> xr.DataTree:
    """Return one tree of all groups; those of held-out stars are in ``held_out``."""
    inside = {f"held_out/{name}": values for name, values in (held_out or {}).items()}
    found = xr.DataTree.from_dict({**groups, **inside})
    for node in found.subtree:
        if "chain" in node.dims:
            numbers = {name: np.arange(node.sizes[name]) for name in ("chain", "draw")}
            node.dataset = node.to_dataset().assign_coords(numbers)
    found.attrs = {"creation_library": "bayestrans"}
    return found
