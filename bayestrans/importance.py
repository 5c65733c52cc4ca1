"""Say which inputs a translation rests on, and where its errors come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .arguments import check_count
from .attribution import Importance
from .budget import PARTS, Stars, budget
from .catalogue import Source, pairs_of
from .pairs import Pairs
from .posterior import BlockDraws, Posterior, check_posterior
from .progress import progress_bar
from .sensitivity import TARGETS, Mean
from .shapley import MOST_PLAYERS, REPLICATES, Effects, Population, effects, parts

Floats = NDArray[np.float64]

#: The player that all quoted errors are together, and how one of them is called.
ERRORS, ERROR_OF = "errors", "{} error"


#: Given stars at which the variance over the density is checked, at most: bounds the memory.
CHECKED = 2000


class _Part(NamedTuple):
    """What is found for one network.

    ``features`` and ``players`` are its own among those of all networks. Arrays are named
    as in `Importance`: ``draws`` (S, targets, K, J or players), ``monte_carlo`` the same
    without draws, ``budget`` (N, K, parts).
    """

    outputs: list[int]
    features: list[str]
    players: list[str]
    draws: dict[str, Floats]
    monte_carlo: dict[str, Floats]
    budget: Floats


def importance(
    posterior: Posterior,
    pairs: Pairs | Source | None = None,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    draws: int = 100,
    stars: int = 4096,
    seed: int = 0,
    progress: bool = True,
) -> Importance:
    """Say which inputs each output rests on, and where the errors come from.

    Parameters
    ----------
    posterior : Posterior
    pairs : Pairs, path, Table or DataFrame, optional
        Stars at which derivatives are taken and the errors split; by default the
        training stars that the model keeps as probes.
    groups : mapping of str to sequence of str, optional
        Inputs that are one player: ``{"photometry": ["jk", "bp_rp"]}``. Every other
        input is a player of its own, and so are all quoted errors together (``errors``).
    draws : int
        Posterior draws, evenly spaced over all chains; at most as many as there are.
    stars : int
        Stars behind the Shapley effects, drawn from the density that the model has
        learned of its training stars; rounded up to eight times a power of two.
    seed : int
        Of these stars.
    progress : bool
        Show what is being done and the time left.

    Returns
    -------
    Importance

    Raises
    ------
    ValueError
        For more than ten players, unknown groups, or stars of another spec.

    Notes
    -----
    Sensitivities are averages of squared derivatives (Kucherenko et al. 2009, Math.
    Comput. Simul. 79, 3009), which hold the other inputs fixed although stars never do;
    Shapley effects (Owen 2014; Song, Nelson & Staum 2016; Owen & Prieur 2017) share out
    what inputs that go together explain together. Both are of the networks' own mean:
    how it goes over to a line far beyond the stars is left out. An input that tells of
    others earns a share even where its sensitivity is zero. The density is a coarse one
    (`Density`), of which no interval tells: shares move by some per cent of the variance with a
    finer one (``benchmarks/importance.py``; figures in ``docs/costs.md``), and where it
    does not give the variance of the stars themselves, the text says so.
    What a posterior draw has wrong looks like an effect of every input: small shares tend to
    come out too large.
    """
    check_posterior(posterior)
    check_count("seed", seed, 0)
    check_count("stars", stars, 1)
    if pairs is not None:
        pairs = pairs_of(pairs, posterior.spec)
        posterior.check_spec(pairs.spec)
    draws = min(draws, posterior.n_draws)
    posterior.check_draws(draws)
    x, x_err = (
        (posterior.probe_x, posterior.probe_x_err) if pairs is None else (pairs.x, pairs.x_err)
    )
    if not np.isfinite(x).any():
        raise ValueError("there are no stars with any input; give pairs")
    given = Stars.of(posterior, *posterior.check_inputs(x, x_err))
    members = _members(posterior, groups or {})
    size = 2 ** max(1, math.ceil(math.log2(stars / REPLICATES)))
    tables = [_players(posterior, block, members) for block in posterior.blocks]
    total = REPLICATES * parts(size) * sum(2 ** len(players) - 1 for players in tables)
    found = []
    with progress_bar("importance", total, "part", progress=progress) as bar:
        for block, players in zip(posterior.blocks, tables, strict=True):
            mean = Mean.of(posterior, block, draws)
            population = Population.of(posterior.density, _columns(posterior, block))
            shapley = _shapley(posterior, block, mean, population, players, size, seed, bar.update)
            found.append(_part(posterior, block, mean, given, players, shapley))
    names = np.arange(len(x)) if pairs is None else pairs.ids
    return _assembled(posterior, found, members, names)


def few_players(posterior: Posterior) -> bool:
    """Say whether all coalitions of the inputs can be visited without groups of them."""
    members = _members(posterior, {})
    features = (_feature_names(posterior, block.block.inputs) for block in posterior.blocks)
    return all(
        sum(any(name in seen for name in names) for names in members.values()) <= MOST_PLAYERS
        for seen in features
    )


def _feature_names(posterior: Posterior, inputs: Sequence[int]) -> list[str]:
    """Return the names of the features of a network: inputs, then quoted errors in use."""
    names, used = posterior.spec.input_names, posterior.scaler.log_err_scale > 0
    return [names[j] for j in inputs] + [ERROR_OF.format(names[j]) for j in inputs if used[j]]


def _columns(posterior: Posterior, block: BlockDraws) -> list[int]:
    """Return the positions of a network's features among those of the density."""
    every = _feature_names(posterior, range(len(posterior.spec.inputs)))
    return [every.index(name) for name in _feature_names(posterior, block.block.inputs)]


def _members(
    posterior: Posterior, groups: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Return the features of each player, in the order of the inputs, quoted errors last."""
    names = posterior.spec.input_names
    group_of: dict[str, str] = {}
    for group, inputs in groups.items():
        if isinstance(inputs, str) or not inputs:
            raise ValueError(f"group {group!r} is {inputs!r}; give a list of inputs")
        if group in names and group not in inputs:
            raise ValueError(f"group {group!r} is also the name of an input; rename the group")
        for name in inputs:
            if name not in names:
                raise ValueError(
                    f"group {group!r} names {name!r}, which is no input; inputs: {', '.join(names)}"
                )
            if name in group_of:
                raise ValueError(
                    f"{name!r} is in group {group_of[name]!r} and in {group!r}; name it once"
                )
            group_of[name] = group
    members: dict[str, tuple[str, ...]] = {}
    for name in names:
        player = group_of.get(name, name)
        members[player] = (*members.get(player, ()), name)
    errors = _feature_names(posterior, range(len(names)))[len(names) :]
    if errors and ERRORS in members:
        raise ValueError(f"a player is called {ERRORS!r}, as all quoted errors are; rename it")
    return members | ({ERRORS: tuple(errors)} if errors else {})


def _players(
    posterior: Posterior, block: BlockDraws, members: Mapping[str, Sequence[str]]
) -> dict[str, list[int]]:
    """Return the features of each player of one network by position."""
    seen = _feature_names(posterior, block.block.inputs)
    found = {p: [seen.index(n) for n in names if n in seen] for p, names in members.items()}
    players = {name: columns for name, columns in found.items() if columns}
    if len(players) > MOST_PLAYERS:
        raise ValueError(
            f"the {block.block.name} outputs have {len(players)} players ({', '.join(players)}), "
            f"more than the {MOST_PLAYERS} whose coalitions can all be visited; join inputs, as "
            f'with groups={{"both": ["{posterior.spec.input_names[0]}", '
            f'"{posterior.spec.input_names[1]}"]}}'
        )
    return players


def _shapley(
    posterior: Posterior,
    block: BlockDraws,
    mean: Mean,
    population: Population,
    players: Mapping[str, Sequence[int]],
    size: int,
    seed: int,
    done: Callable[[], object],
) -> Effects:
    """Return the Shapley effects of one network's outputs, of stars that lack nothing."""
    scaler = posterior.scaler
    usual = scaler.x_centre[None], np.exp(scaler.log_err_centre)[None]
    marks = posterior.gaps.seen(*usual, block.block.inputs)[:, population.mean.shape[1] :]

    def function(z: Floats) -> Any:
        return mean.values(np.hstack([z, np.repeat(marks, len(z), axis=0)]))

    return effects(function, population, list(players.values()), size=size, seed=seed, done=done)


def _part(
    posterior: Posterior,
    block: BlockDraws,
    mean: Mean,
    stars: Stars,
    players: Mapping[str, Sequence[int]],
    found: Effects,
) -> _Part:
    """Return all that is asked of one network."""
    (inputs, outputs), draws = block.block[1:], len(mean.draws["intercept"])
    features = _feature_names(posterior, inputs)
    z = stars.features(posterior, block)
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = np.isfinite(posterior.scaler.features(stars.x, stars.x_err, inputs))
    slopes = mean.slopes(np.nan_to_num(z), seen)
    used = [j for j in inputs if posterior.scaler.log_err_scale[j] > 0]
    spread = np.concatenate(
        [posterior.scaler.x_scale[list(inputs)], posterior.scaler.log_err_scale[used]]
    )
    change = np.moveaxis(slopes.mean, (1, 3), (0, 2))  # (S, targets, K, J)
    every = {"sensitivity": np.moveaxis(slopes.square, (1, 3), (0, 2)), "change": change}
    errors = {
        "sensitivity": _standard_error(slopes.star_square, seen),
        "change": _standard_error(slopes.star_mean, seen),
    }
    every["slope"], errors["slope"] = change / spread, errors["change"] / spread
    shared, shared_errors = _shares(found)
    shared["among_given"], shared_errors["among_given"] = _among(mean, z[seen.all(axis=1)])
    variance = budget(posterior, block, stars, slopes, draws)
    every, errors = every | shared, errors | shared_errors
    return _Part(list(outputs), features, list(players), every, errors, variance)


def _standard_error(values: Floats, seen: NDArray[np.bool_]) -> Floats:
    """Return standard errors (targets, K, J) of means over stars (targets, J, K, N)."""
    weight = seen.T[:, None] / np.maximum(seen.sum(axis=0), 1)[:, None, None]
    mean = (weight * values).sum(axis=-1, keepdims=True)
    variance = (weight**2 * (values - mean) ** 2).sum(axis=-1)
    return np.swapaxes(np.sqrt(variance), 1, 2)


def _among(mean: Mean, z: Floats) -> tuple[Floats, Floats]:
    """Return the variance (S, targets, K) over the stars themselves, and its standard error."""
    some = z[np.arange(min(CHECKED, len(z))) * len(z) // max(1, min(CHECKED, len(z)))]
    values = np.asarray(mean.values(some), dtype=np.float64)
    if len(some) < 2:
        nothing = np.full(values.shape[:-1], np.nan)
        return nothing, nothing[0]
    square = (values - values.mean(axis=-1, keepdims=True)) ** 2
    return square.mean(axis=-1), square.mean(axis=0).std(axis=-1) / math.sqrt(len(some))


def _shares(found: Effects) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return draws of the Shapley effects, players last, and their Monte-Carlo errors."""
    each = np.moveaxis(found.shapley, 1, -1)  # (R, S, targets, K, players)
    shapley, explained = each.mean(axis=0), found.variance.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # a map that is constant
        share = shapley / explained[..., None]
        # The ratio's error, to first order: variance and share err together.
        off = (each - share * found.variance[..., None]) / explained[..., None]
    errors = {
        name: part.mean(axis=1).std(axis=0, ddof=1) / math.sqrt(REPLICATES)
        for name, part in {"shapley": each, "share": off, "explained": found.variance}.items()
    }
    return {"shapley": shapley, "share": share, "explained": explained}, errors


def _assembled(
    posterior: Posterior,
    found: Sequence[_Part],
    members: dict[str, tuple[str, ...]],
    names: NDArray,
) -> Importance:
    """Put together what was found for each network."""
    spec, n_draws = posterior.spec, len(found[0].draws["explained"])
    axes = {"feature": _feature_names(posterior, range(len(spec.inputs))), "player": list(members)}
    coords = {"target": list(TARGETS), "output": list(spec.output_names), **axes}
    last = dict.fromkeys(("sensitivity", "change", "slope"), "feature")
    last |= dict.fromkeys(("shapley", "share"), "player")
    chains = next(iter(posterior.blocks[0].draws.values())).shape[0]
    chains = chains if n_draws % chains == 0 else 1  # evenly spaced, so many of each chain
    draws, errors = {}, {}
    for name in found[0].draws:
        dims = ["target", "output", *([last[name]] if name in last else [])]
        shape = [len(coords[d]) for d in dims]
        every, error = np.full((n_draws, *shape), np.nan), np.full(shape, np.nan)
        for part in found:
            place: tuple[Any, ...] = (part.outputs,)
            if name in last:
                own = part.features if last[name] == "feature" else part.players
                place = np.ix_(part.outputs, [axes[last[name]].index(n) for n in own])
            every[:, :, *place] = part.draws[name]
            error[:, *place] = part.monte_carlo[name]
        every = every.reshape(chains, n_draws // chains, *shape)
        draws[name], errors[name] = (("chain", "draw", *dims), every), (dims, error)
    return Importance(
        xr.Dataset(draws, coords),
        xr.Dataset(errors, coords),
        _budgets(posterior, found, names),
        members,
        {
            "inputs": {item.name: item.unit for item in spec.inputs},
            "outputs": {item.name: item.unit for item in spec.outputs},
        },
    )


def _budgets(posterior: Posterior, found: Sequence[_Part], names: NDArray) -> xr.DataArray:
    """Put together the error budgets of all networks, for stars of these names."""
    outputs = list(posterior.spec.output_names)
    variance = np.full((len(names), len(outputs), len(PARTS)), np.nan)
    for part in found:
        variance[:, part.outputs] = part.budget
    coords = {"star": names, "output": outputs, "part": list(PARTS)}
    return xr.DataArray(variance, coords, ("star", "output", "part"))
