"""Several surveys translated onto one base and merged into one catalogue."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .agreement import check_surveys, compare_surveys
from .arguments import check_count
from .combine import Evidence, Population, combine, learned_shared
from .keep import merge_kept, read_kept
from .load import load
from .merge import (
    HALF,
    Answered,
    Stars,
    from_base,
    from_model,
    learned_factor,
    population_of,
    stars_of,
)
from .merge_draws import measured_draws, merged_draws
from .merged import Numbers, merged_table, own_names, provenance
from .moments import QUANTILES
from .plan import Member, Plan, PlanError
from .posterior import Posterior
from .progress import progress_bar
from .spec import Output
from .tables import check_writable, write_table
from .translate import translate

Floats = NDArray[np.float64]

log = logging.getLogger("bayestrans")

#: Stars combined at a time.
GROUP = 8192


def homogenise(
    plan: Plan | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    draws: int = 0,
    seed: int = 0,
    progress: bool = True,
) -> Table:
    """Translate several surveys onto one base and merge them into one catalogue.

    Parameters
    ----------
    plan : Plan or path
        The surveys, or the TOML file that names them.
    out : path, optional
        Where to write the result: ``.parquet``, ``.fits``, ``.ecsv``, ``.vot`` or ``.csv``.
        By default what the plan says; without either nothing is written.
    overwrite : bool
        Replace an existing file.
    draws : int
        Joint draws of B's true parameters to add per star, as ``NAME_draws``. Draw 7 of all
        stars belongs together: of each survey it is by draw 7 of the network. Means and maps
        over many stars need that; error bars of single stars do not tell it.
    seed : int
        Of those draws; all other numbers do not depend on it.
    progress : bool
        Show the stars done and the time left.

    Returns
    -------
    Table
        One row for each star of any survey, in the order of the identifiers: the identifier;
        for each output the columns of `translate`, of B's true parameter given all surveys
        that have the star; correlations; ``support`` and ``support_class`` of the survey that
        covers it best (``measured`` where the base itself has it); ``flags``; ``surveys``
        (``apogee+galah``) and ``n_surveys`` that its numbers rest on; ``agreement``, the
        probability of differences as large as theirs; and for each survey ``row_SURVEY``, the
        row of its catalogue from 0 (-1 where it has none), and ``n_rows_SURVEY``, the number
        of its rows of the star; the draws; last, what the surveys ``keep``: the base's value
        if it has one, else that of the first survey by name that has.

    Raises
    ------
    PlanError
        For a plan that cannot be used, models of different outputs or units, identifiers
        of different kinds, or a catalogue that would count twice.
    CatalogueError
        For an unreadable catalogue, a missing column, or an ``out`` that cannot be written.
    ValueError
        For more draws than a model holds.

    Warns
    -----
    PlanWarning
        Where surveys are not on one scale by the stars that they share, or identifiers are of
        different releases.

    Notes
    -----
    Catalogues are translated in parts, and what is said of their stars is held in memory.
    Nothing but the draws is drawn at random: a star's numbers depend on what the surveys say of
    it, on the models and on ``shared``, not on the order of rows or surveys. How posteriors are
    combined is told in `bayestrans.combine` and in ``docs/homogenise.md``, how draws are in
    `bayestrans.merge_draws`.
    """
    draws, seed = check_count("draws", draws, 0), check_count("seed", seed, 0)
    plan = (plan if isinstance(plan, Plan) else Plan.from_toml(plan)).ordered()
    target = plan.out if out is None else Path(out)
    if target is not None:
        sources = [s for one in plan.surveys for s in (one.catalogue, one.model)]
        check_writable(target, overwrite=overwrite, sources=sources, vectors=draws > 0)
    models = {
        one.name: one.model if isinstance(one.model, Posterior) else load(one.model)
        for one in plan.surveys
        if one.model is not None
    }
    for model in models.values() if draws else ():
        model.check_draws(draws)
    outputs = _outputs(plan, models)
    check_surveys(plan, models)
    names = [one.name for one in plan.surveys]
    taken = own_names(outputs, names, plan.id, draws=draws > 0)
    kept = read_kept(plan.surveys, taken)  # first: it finds faults soonest
    settings = {"draws": draws, "seed": seed} if draws else {}
    surveys = list(_answers(plan, models, outputs, progress=progress, **settings))
    stars = stars_of(surveys, plan.id)
    population = population_of([*models.values()], [output.name for output in outputs])
    used = _used(surveys, stars)
    compare_surveys(surveys, stars, used, outputs)
    shared = _shared(plan, surveys, stars, used, population, outputs)
    parts = _combined(plan, surveys, stars, used, population, shared, progress=progress)
    result = merged_table(outputs, surveys, stars, used, parts, plan.disagree)
    result.add_columns([merge_kept(one, stars) for one in kept])
    result.meta.update(provenance(plan, models, surveys, shared, outputs, settings))
    if target is not None:
        write_table(result, target, overwrite=overwrite)
    return result


def _outputs(plan: Plan, models: dict[str, Posterior]) -> list[Output]:
    """Return all outputs, those of the models first; refuse one name for two things."""
    found: dict[str, tuple[Output, str]] = {}
    for one in plan.surveys:
        if one.name in models:
            items = models[one.name].spec.outputs
        else:
            items = tuple(Output(c.name, c.column, unit=c.unit) for c in one.columns)
        for item in items:
            before, where = found.setdefault(item.name, (item, one.name))
            if before.unit != item.unit:
                raise PlanError(
                    f"{item.name} is in {item.unit!r} in survey {one.name!r} and in "
                    f"{before.unit!r} in {where!r}; all surveys must give it in one unit"
                )
    if isinstance(plan.shared, dict) and (extra := sorted(set(plan.shared) - set(found))):
        raise PlanError(f"[shared] names {extra[0]!r}, which is no output: {', '.join(found)}")
    modelled = [n for m in models.values() for n in m.spec.output_names]
    names = dict.fromkeys([*modelled, *found])
    return [found[name][0] for name in names]


def _answers(
    plan: Plan,
    models: dict[str, Posterior],
    outputs: list[Output],
    *,
    progress: bool,
    draws: int = 0,
    seed: int = 0,
) -> Iterator[Answered]:
    """Yield what each survey says, on the base."""
    for one in plan.surveys:
        if one.name in models:
            model = models[one.name]
            # Its own identifier is kept by name; this one says which rows are one star.
            spec = dataclasses.replace(model.spec, id=one.id)
            keyed = dataclasses.replace(model, spec=spec)
            table = translate(keyed, one.catalogue, draws=draws, seed=seed, progress=progress)
            yield from_model(one, table, outputs)
            continue
        found = from_base(one, outputs)
        _say_factors(one, models)
        yield found._replace(draws=measured_draws(found, draws, seed)) if draws else found


def _say_factors(one: Member, models: dict[str, Posterior]) -> None:
    """Say which errors of the base are used, and what the models would make of them."""
    learned = []
    for name, model in models.items():
        for item in one.columns:
            if item.name in model.spec.output_names and (of := learned_factor(model, item.name)):
                learned.append(f"{item.name} {of[0]:.2f} +- {of[1]:.2f} ({name})")
    told = f"{one.name}: quoted errors are taken times {one.error_factor:g} (error_factor)"
    if learned:
        told += f"; the models' own factors, which mix with their scatter: {', '.join(learned)}"
    log.info(told)


def _used(surveys: Sequence[Answered], stars: Stars) -> NDArray[np.bool_]:
    """Say which surveys (N, S) have an answer for a star."""
    columns = []
    for s, one in enumerate(surveys):
        answers = np.append(np.isfinite(one.mean).any(axis=1), False)
        columns.append(answers[stars.rows[:, s]])
    return np.stack(columns, axis=1)


def _shared(
    plan: Plan,
    surveys: Sequence[Answered],
    stars: Stars,
    used: NDArray[np.bool_],
    population: Population,
    outputs: Sequence[Output],
) -> Floats:
    """Return what translations share (K,): what the plan says, or what the stars tell."""
    places = [s for s, one in enumerate(surveys) if not one.measured]
    if isinstance(plan.shared, float | int) or len(places) < 2:
        return np.full(len(outputs), plan.shared or 0.0, dtype=np.float64)
    chosen = np.flatnonzero(used[:, places].sum(axis=1) > 1)
    size = (len(chosen), len(places), len(outputs))
    mean, core = np.full(size, np.nan), np.full(size, np.nan)
    for place, s in enumerate(places):
        one, rows = surveys[s], stars.rows[chosen, s]
        inside = (rows >= 0) & (one.classes[rows] != "outside")
        mean[inside, place] = one.mean[rows[inside]]
        core[inside, place] = one.core[rows[inside]]
    shared, pairs = learned_shared(mean, core, population)
    given = plan.shared or {}
    for k, output in enumerate(outputs):
        shared[k] = given.get(output.name, shared[k])
        if output.name not in given:
            told = f"{output.name}: {100 * shared[k]:.0f} % of the variance of the narrowest "
            log.info(f"{told}translation is shared ({pairs[k]:.0f} pairs of surveys)")
    return shared


def _combined(
    plan: Plan,
    surveys: Sequence[Answered],
    stars: Stars,
    used: NDArray[np.bool_],
    population: Population,
    shared: Floats,
    *,
    progress: bool,
) -> Numbers:
    """Return the numbers of all stars: a survey's own where it is alone, else combined."""
    n, k = len(stars.rows), len(shared)
    d = 0 if surveys[0].draws is None else surveys[0].draws.shape[2]
    names = ("mean", "sd", "sd_model", *QUANTILES)
    parts = Numbers(
        {name: np.full((n, k), np.nan) for name in names},
        np.full((n, k, k), np.nan),
        np.full(n, np.nan),
        np.full((n, k, d), np.nan, dtype=np.float32),
    )
    patterns, pattern = np.unique(used, axis=0, return_inverse=True)
    with progress_bar("merge", n, "star", progress=progress, leave=True) as bar:
        for p, present in enumerate(patterns):
            members = np.flatnonzero(present).tolist()
            every = np.flatnonzero(pattern.reshape(-1) == p)
            for start in range(0, len(every), GROUP):
                some = every[start : start + GROUP]
                asked = [(surveys[s], stars.rows[some, s]) for s in members]
                if len(members) == 1:
                    _copy(parts, some, *asked[0])
                elif len(members) > 1:
                    _merge(parts, some, asked, population, shared, plan.disagree)
                bar.update(len(some))
    return parts


def _copy(parts: Numbers, some: NDArray[np.int64], one: Answered, rows: NDArray[np.int64]) -> None:
    for name in ("mean", "sd", "sd_model"):
        parts.each[name][some] = getattr(one, name)[rows]
    for q, name in enumerate(QUANTILES):
        parts.each[name][some] = one.quantiles[rows, q]
    gap = np.isnan(one.mean[rows])
    parts.corr[some] = np.where(gap[:, :, None] | gap[:, None], np.nan, one.corr[rows])
    if one.draws is not None:
        parts.draws[some] = one.draws[rows]


def _merge(
    parts: Numbers,
    some: NDArray[np.int64],
    asked: list[tuple[Answered, NDArray[np.int64]]],
    population: Population,
    shared: Floats,
    disagree: float,
) -> None:
    """Combine what several surveys say of some stars."""
    translated = [pair for pair in asked if not pair[0].measured]
    measured = [pair for pair in asked if pair[0].measured]
    found = combine(_evidence(translated, measured, len(some), len(shared)), population, shared)
    parts.each["mean"][some] = found.mean
    parts.agreement[some] = found.agreement
    spread = np.where((found.agreement < disagree)[:, None, None], found.spread, 0.0)
    covariance = found.covariance + spread
    core = np.sqrt(np.einsum("nkk->nk", covariance))
    parts.corr[some] = covariance / (core[:, :, None] * core[:, None])
    if parts.draws.shape[2]:
        parts.draws[some] = merged_draws(asked, found, covariance)
    tails = _tails(asked)
    widened = np.einsum("nkk->nk", found.covariance) * tails**2 + np.einsum("nkk->nk", spread)
    parts.each["sd"][some] = np.sqrt(widened)
    for sign, name in zip((-1, 0, 1), QUANTILES, strict=True):
        parts.each[name][some] = found.mean + sign * HALF * core
    variance = np.zeros(found.mean.shape)
    for s, (one, rows) in enumerate(translated):
        size = np.nan_to_num(one.sd_model[rows])
        own = one.corr[rows] * size[:, :, None] * size[:, None]
        gain = found.gain[:, s]
        variance += np.einsum("nkl,nlm,nkm->nk", gain, own, gain)
    parts.each["sd_model"][some] = np.where(np.isnan(found.mean), np.nan, np.sqrt(variance))


def _evidence(
    translated: list[tuple[Answered, NDArray[np.int64]]],
    measured: list[tuple[Answered, NDArray[np.int64]]],
    stars: int,
    wide: int,
) -> Evidence:
    """Return the numbers of some stars, surveys along the second axis."""

    def stack(arrays: list[Floats], shape: tuple[int, ...]) -> Floats:
        return np.stack(arrays, axis=1) if arrays else np.zeros((stars, 0, *shape))

    return Evidence(
        stack([one.mean[rows] for one, rows in translated], (wide,)),
        stack([one.covariance(rows) for one, rows in translated], (wide, wide)),
        stack([one.mean[rows] for one, rows in measured], (wide,)),
        stack([one.core[rows] for one, rows in measured], (wide,)),
    )


def _tails(asked: list[tuple[Answered, NDArray[np.int64]]]) -> Floats:
    """Return sd over core (N, K), the surveys weighted by their precisions."""
    weight = np.stack([np.nan_to_num(one.core[rows] ** -2.0) for one, rows in asked])
    ratio = np.stack([np.nan_to_num(one.sd[rows] / one.core[rows]) for one, rows in asked])
    total = weight.sum(axis=0)
    return np.divide((weight * ratio).sum(axis=0), total, out=np.ones(total.shape), where=total > 0)
