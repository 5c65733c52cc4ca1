"""Which rows of several surveys are one star, and what each survey says of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Column, MaskedColumn, Table
from numpy.typing import NDArray
from scipy import stats

from .catalogue import CatalogueError, read_inputs, say_odd
from .columns import matches
from .combine import Population
from .identifiers import id_column
from .layout import plain
from .moments import QUANTILES
from .neighbours import CLASSES
from .plan import Member, PlanError
from .posterior import Posterior
from .sentinels import without_suspects
from .spec import Output, Spec
from .tables import NULL, named

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

#: The class of a star that the base itself has measured: it needs no training stars.
MEASURED = "measured"
#: Half of what lies between p16 and p84 of a normal law.
HALF = float(stats.norm.ppf(QUANTILES["p84"]))
#: Correlations are held this far from one, which single precision does not do by itself.
ALMOST_ONE = 1.0 - 1e-6
#: The least share of the spread of measured values that is taken to be of true ones.
LEAST_TRUE = 0.05


class Answered(NamedTuple):
    """What one survey says of its R rows, on the base; outputs in the order of all surveys.

    Attributes
    ----------
    name : str
    measured : bool
        The survey is on the base itself.
    keys : (R,) array
        Identifiers of stars, integers or text.
    nameless : (R,) array of bool
        Rows without one.
    mean, sd, sd_model : (R, K) array
        NaN where there is no answer.
    core : (R, K) array
        Half of the width between p16 and p84, in standard deviations of a normal law: what
        is combined, or ``sd_model`` if that is more. Heavy tails make ``sd`` larger.
    quantiles : (R, 3, K) array
    corr : (R, K, K) array
    support : (R,) array
    classes : (R,) array of str
    flags : (R,) array of int
    draws : (R, K, D) array or None
        Draws of B's true values, if they were asked for.
    """

    name: str
    measured: bool
    keys: NDArray[Any]
    nameless: NDArray[np.bool_]
    mean: Floats
    sd: Floats
    sd_model: Floats
    core: Floats
    quantiles: Floats
    corr: NDArray[np.float32]
    support: Floats
    classes: NDArray[np.str_]
    flags: NDArray[np.int32]
    draws: NDArray[np.float32] | None = None

    def covariance(self, rows: Rows) -> Floats:
        """Return the covariance (n, K, K) of the cores of some rows."""
        return self.corr[rows] * self.core[rows][:, :, None] * self.core[rows][:, None]


class Stars(NamedTuple):
    """Which rows of the surveys are one star.

    Attributes
    ----------
    ids : (N,) column
        Identifiers in ascending order, then stars without one.
    rows, counts : (N, S) array of int
        The row of each survey, -1 where it has none, and the number of its rows.
    """

    ids: Column
    rows: Rows
    counts: Rows


def from_model(member: Member, table: Table, outputs: Sequence[Output]) -> Answered:
    """Return what a translated table says, with the columns that `translate` gives."""
    keys, nameless = _keys(member, table)
    shape = (len(table), len(outputs))
    parts = {name: np.full(shape, np.nan) for name in ("mean", "sd", "sd_model", *QUANTILES)}
    corr = np.tile(np.eye(shape[1], dtype=np.float32), (len(table), 1, 1))
    given = [k for k, o in enumerate(outputs) if f"{o.name}_mean" in table.colnames]
    for k in given:
        for name, part in parts.items():
            part[:, k] = table[f"{outputs[k].name}_{name}"]
    for i in given:
        for j in given:
            pair = f"corr_{outputs[i].name}_{outputs[j].name}"
            if pair in table.colnames:
                values = np.nan_to_num(np.asarray(table[pair], dtype=np.float64))
                corr[:, i, j] = corr[:, j, i] = ALMOST_ONE * values
    core = (parts["p84"] - parts["p16"]) / (2.0 * HALF)
    return Answered(
        member.name,
        False,
        keys,
        nameless,
        parts["mean"],
        parts["sd"],
        parts["sd_model"],
        # Where draws doubt the network the core tells little of how far it may be off.
        np.where(core > 0, np.fmax(core, parts["sd_model"]), parts["sd"]),
        np.stack([parts[name] for name in QUANTILES], axis=1),
        corr,
        np.asarray(table["support"], dtype=np.float64),
        np.asarray(table["support_class"]).astype(str),
        np.asarray(table["flags"], dtype=np.int32),
        _draws(table, outputs, given),
    )


def _draws(
    table: Table, outputs: Sequence[Output], given: Sequence[int]
) -> NDArray[np.float32] | None:
    columns = {k: f"{outputs[k].name}_draws" for k in given}
    columns = {k: name for k, name in columns.items() if name in table.colnames}
    if not columns:
        return None
    count = table[next(iter(columns.values()))].shape[1]
    draws = np.full((len(table), len(outputs), count), np.nan, dtype=np.float32)
    for k, name in columns.items():
        draws[:, k] = table[name]
    return draws


def from_base(member: Member, outputs: Sequence[Output]) -> Answered:
    """Return what a survey on the base measured, its quoted errors multiplied by its factor."""
    spec = Spec(
        member.name,
        member.columns,
        tuple(Output(item.name, item.column, unit=item.unit) for item in member.columns),
        id=member.id,
        sentinels=member.sentinels,
    )
    found = read_inputs(member.catalogue, spec)
    x, odd = without_suspects(spec, spec.inputs, found.x, found.factors)
    say_odd(member.catalogue, odd, len(x), spec, f"in [survey.{member.name}]")
    keys, nameless = _keys(member, found.identifiers)
    shape = (len(x), len(outputs))
    mean, sd = np.full(shape, np.nan), np.full(shape, np.nan)
    guessed = np.zeros(shape[0], dtype=bool)
    names = [output.name for output in outputs]
    for j, item in enumerate(member.columns):
        k, errors = names.index(item.name), found.x_err[:, j]
        value = np.isfinite(x[:, j])
        known = np.isfinite(errors)
        if value.any() and not known.any():
            raise PlanError(
                f"survey {member.name!r}: no row has an error of {item.name} "
                f"({item.error}); without one it cannot be weighed"
            )
        usual = np.median(errors[known]) if known.any() else np.nan
        guessed |= value & ~known
        mean[:, k] = x[:, j]
        sd[value, k] = member.error_factor * np.where(known, errors, usual)[value]
    away = HALF * sd
    return Answered(
        member.name,
        True,
        keys,
        nameless,
        mean,
        sd,
        np.where(np.isfinite(sd), 0.0, np.nan),
        sd,
        np.stack([mean - away, mean, mean + away], axis=1),
        np.tile(np.eye(shape[1], dtype=np.float32), (shape[0], 1, 1)),
        np.full(shape[0], np.nan),
        np.full(shape[0], MEASURED),
        np.where(guessed, 2, 0).astype(np.int32),
    )


def _keys(member: Member, table: Table) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the stars' identifiers and which rows have none: 0 and negative ones are none."""
    with named(member.catalogue):
        if not matches(table, member.id):
            raise CatalogueError(
                f"there is no column {member.id!r} with the stars' identifiers; write "
                f'id = "..." in [survey.{member.name}]'
            )
        values, null = plain(id_column(table, member.id))
        if values.dtype.kind == "U":
            return values, null | (values == "")
        null = null | ~np.isfinite(values) | (values == NULL) | (values <= 0)
        if (values[~null] > np.iinfo(np.int64).max).any():
            raise CatalogueError(f"{member.id}: identifiers beyond 2**63; store them as text")
    return np.where(null, np.zeros((), values.dtype), values).astype(np.int64), null


def stars_of(surveys: Sequence[Answered], name: str) -> Stars:
    """Find the rows of each star; a row without an identifier is a star by itself.

    Of several rows of a star in a survey the one with the most outputs is taken, then that
    with the smallest errors.

    Raises
    ------
    PlanError
        If identifiers are numbers in one survey and text in another.
    """
    text = {one.name: one.keys.dtype.kind == "U" for one in surveys}
    if len(set(text.values())) > 1:
        kinds = ", ".join(f"{n}: {'text' if t else 'numbers'}" for n, t in text.items())
        raise PlanError(f"the identifiers are of different kinds ({kinds}); name others as id")
    known = [one.keys[~one.nameless] for one in surveys]
    ids, inverse = np.unique(np.concatenate(known), return_inverse=True)
    own = sum(int(one.nameless.sum()) for one in surveys)
    rows = np.full((len(ids) + own, len(surveys)), -1, dtype=np.int64)
    counts = np.zeros_like(rows)
    begin, first = 0, len(ids)
    for s, one in enumerate(surveys):
        star = np.empty(len(one.keys), dtype=np.int64)
        star[~one.nameless] = inverse[begin : begin + len(known[s])]
        star[one.nameless] = first + np.arange(one.nameless.sum())
        begin, first = begin + len(known[s]), first + int(one.nameless.sum())
        counts[:, s] = np.bincount(star, minlength=len(rows))
        answers = np.isfinite(one.mean).sum(axis=1)
        size = np.nansum(np.log(one.core), axis=1)
        order = np.lexsort((np.arange(len(star)), size, -answers, star))
        leads = np.r_[True, star[order][1:] != star[order][:-1]][: len(order)]
        rows[star[order][leads], s] = order[leads]
    values = np.concatenate([ids, np.zeros(own, dtype=ids.dtype)])
    column = MaskedColumn(values, name=name) if own else Column(values, name=name)
    if own:
        column.mask = np.arange(len(values)) >= len(ids)
    return Stars(column, rows, counts)


def population_of(posteriors: Sequence[Posterior], names: Sequence[str]) -> Population:
    """Return the base's true parameters over the training stars of all models together.

    From moments that the models keep of training stars with all outputs; what the base's
    errors add is taken away. Outputs that no model has get a unit of their own.
    """
    total, sums = np.zeros(len(names)), np.zeros(len(names))
    pairs, products = (np.zeros((len(names), len(names))) for _ in range(2))
    parts = []
    for posterior in posteriors:
        place = [names.index(name) for name in posterior.spec.output_names]
        count = posterior.baseline.gram[0, 0]
        if count > 2 * len(place) + 2:
            parts.append((place, count, *_moments(posterior)))
    for place, count, mean, _ in parts:
        total[place] += count
        sums[place] += count * mean
    mean = np.divide(sums, total, out=np.zeros(len(names)), where=total > 0)
    for place, count, own, covariance in parts:
        away = own - mean[place]
        pairs[np.ix_(place, place)] += count
        products[np.ix_(place, place)] += count * (covariance + np.outer(away, away))
    covariance = np.divide(products, pairs, out=np.zeros_like(products), where=pairs > 0)
    unit = np.where(np.diag(covariance) > 0, np.sqrt(np.diag(covariance)), 1.0)
    corr = covariance / np.outer(unit, unit)
    np.fill_diagonal(corr, 1.0)
    # Pairs of outputs from different models need not fit together.
    values, vectors = np.linalg.eigh(corr)
    corr = (vectors * np.maximum(values, 1e-4)) @ vectors.T
    return Population(mean, corr * np.outer(unit, unit))


def _moments(posterior: Posterior) -> tuple[Floats, Floats]:
    """Return mean (K,) and covariance (K, K) of the base's true parameters of training stars."""
    scaler, kept = posterior.scaler, posterior.baseline
    n, wide = kept.gram[0, 0], len(kept.cross[0])
    first = np.concatenate([kept.gram[0, 1:], kept.cross[0]]) / n
    second = np.block([[kept.gram[1:, 1:], kept.cross[1:]], [kept.cross[1:].T, kept.square]]) / n
    unit = np.concatenate([scaler.x_scale, scaler.delta_scale])
    turn = np.zeros((wide, len(unit)))
    for k, j in enumerate(scaler.corrects):
        if j >= 0:
            turn[k, j] = unit[j]
        turn[k, len(scaler.x_scale) + k] = unit[len(scaler.x_scale) + k]
    base = np.where(scaler.corrects >= 0, scaler.x_centre[scaler.corrects], 0.0)
    covariance = turn @ (second - np.outer(first, first)) @ turn.T
    spread = np.diag(covariance)
    usual = scaler.usual_err
    if posterior.noise.error_factor == "below one":  # a free factor is not one of B's errors alone
        told = [learned_factor(posterior, name) for name in posterior.spec.output_names]
        usual = usual * [one[0] if one else 1.0 for one in told]
    noise = np.minimum(usual**2, (1 - LEAST_TRUE) * spread)
    return base + scaler.delta_centre + turn @ first, covariance - np.diag(noise)


def learned_factor(posterior: Posterior, name: str) -> tuple[float, float] | None:
    """Return mean and sd of what the model would multiply the base's quoted errors by."""
    place = posterior.spec.output_names.index(name)
    for block in posterior.blocks:
        if place in block.block.outputs and "error_factor" in block.draws:
            draws = block.draws["error_factor"][..., block.block.outputs.index(place)]
            return float(draws.mean(dtype=np.float64)), float(draws.std(dtype=np.float64))
    return None


def best_class(support: Floats, classes: NDArray[np.str_]) -> NDArray[np.intp]:
    """Return the survey (N,) that the support (N, S) is told of: measured, else least sparse."""
    rank = np.where(classes == MEASURED, -1.0, np.where(np.isfinite(support), support, np.inf))
    return np.argmin(np.where(np.isin(classes, (*CLASSES, MEASURED)), rank, np.inf), axis=1)
