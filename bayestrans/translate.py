"""Translate a catalogue of survey A into survey B's base."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import Column, Table
from numpy.typing import NDArray
from tqdm import tqdm

from . import student
from .catalogue import Inputs, Source, check_writable, digest, read_inputs, write_table
from .neighbours import CLASSES
from .posterior import CHUNK, Posterior
from .predictive import Mixture

Floats = NDArray[np.float64]

#: Posterior draws behind the summaries, evenly spaced over all chains.
SUMMARY_DRAWS = 250

QUANTILES = {"p16": 0.16, "p50": 0.50, "p84": 0.84}

#: Halvings of the bracket of a quantile: its width is then 1e-5 of the spread.
BISECTIONS = 24

#: Bits of the ``flags`` column.
FLAGS = {
    1: "an input is missing: integrated over",
    2: "a quoted error is missing or not positive: integrated over if the model needs it",
    4: "outside the training stars' support: do not use without checking",
    8: "a quoted error is beyond five sigma of the training stars' errors",
    16: "no input at all: no answer",
}

#: Unified content descriptors of the IVOA by customary output name.
UCDS = {
    "teff": "phys.temperature.effective",
    "logg": "phys.gravity",
    "fe_h": "phys.abund.Fe",
    "rv": "spect.dopplerVeloc",
}


class _Summary(NamedTuple):
    """Moments (K, N), quantiles (3, K, N) and correlations (K, K, N), scaled."""

    mean: jax.Array
    sd: jax.Array
    sd_model: jax.Array
    quantiles: jax.Array
    corr: jax.Array


def translate(
    posterior: Posterior,
    catalogue: Source,
    out: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    draws: int = 0,
    seed: int = 0,
    strict: bool = False,
    progress: bool = True,
) -> Table:
    """Translate every star of a table of survey A.

    Parameters
    ----------
    posterior : Posterior
    catalogue : path, Table or DataFrame
        Stars of survey A with the input columns of the model's spec.
    out : path, optional
        Where to write the result: ``.parquet``, ``.fits``, ``.ecsv``, ``.vot``
        or ``.csv``.
    overwrite : bool
        Replace an existing ``out``.
    draws : int
        Joint posterior draws of B's true parameters to add per star.
    seed : int
        Of those draws; the summaries do not depend on it.
    strict : bool
        Refuse the table if any of its stars lies outside the training stars' support.
    progress : bool
        Show the stars done and the time left.

    Returns
    -------
    Table
        The identifier columns unchanged, then for each output ``NAME`` the
        mean, standard deviation, 16, 50 and 84 % quantiles and the model's own
        part of the standard deviation of **B's true parameter** (without B's
        measurement error), correlations ``corr_A_B``, ``support``,
        ``support_class`` and ``flags``. Missing inputs are integrated
        over and flagged; a star without any keeps its row, with NaN and a flag.

    Raises
    ------
    CatalogueError
        For an unreadable table, a missing column, or an ``out`` that is unwritable
        or is the catalogue itself.
    ValueError
        With ``strict``, for stars outside the support.
    """
    if draws:
        posterior.check_draws(draws)
    if out is not None:
        check_writable(out, overwrite=overwrite, sources=[catalogue], vectors=draws > 0)
    inputs = read_inputs(catalogue, posterior.spec)
    filled, _ = posterior.gaps.expected(inputs.x, inputs.x_err)
    score = posterior.neighbours.score(filled)
    classes = posterior.neighbours.classify(score)
    if strict:
        _check_inside(classes)
    result = inputs.identifiers.copy()
    summary = _summarise(posterior, inputs, progress=progress)
    result.add_columns(list(_output_columns(posterior, inputs, summary)))
    result["support"] = Column(score, description="reach to the training stars / median")
    result["support_class"] = np.array(CLASSES)[classes]
    result["flags"] = _flags(posterior, inputs, classes)
    if draws:
        _add_draws(result, posterior, inputs, draws, seed)
    result.meta.update(_provenance(posterior, catalogue, draws, seed))
    result.meta["BTUNITS"] = json.dumps(dict(inputs.assumed))  # taken where none was given
    if out is not None:
        write_table(result, out, overwrite=overwrite)
    return result


def _check_inside(classes: NDArray[np.int64]) -> None:
    outside = int((classes == CLASSES.index("outside")).sum())
    if outside:
        raise ValueError(
            f"{outside} of {len(classes)} stars ({100 * outside / len(classes):.1f} %) lie outside "
            "the training stars' support; leave them out, or translate them without strict: "
            "they are then widened and flagged"
        )


def _summarise(posterior: Posterior, inputs: Inputs, *, progress: bool) -> dict[str, Floats]:
    n, k = len(inputs.x), len(posterior.spec.outputs)
    parts = {name: np.full((n, k), np.nan) for name in ("mean", "sd", "sd_model", *QUANTILES)}
    parts["corr"] = np.full((n, k, k), np.nan)
    chunks = -(-n // CHUNK) * len(posterior.blocks)
    with tqdm(total=chunks * CHUNK, desc="translate", unit="star", disable=not progress) as bar:
        for block in posterior.blocks:
            outputs = np.array(block.block.outputs)
            count = min(SUMMARY_DRAWS, posterior.n_draws)
            for rows, mixture in posterior.mixtures(block, inputs.x, inputs.x_err, count):
                _store(parts, rows, outputs, _moments(mixture))
                bar.update(CHUNK)
    _correlate_networks(posterior, inputs, parts["corr"], parts["sd"])
    base = posterior.scaler.base(posterior.gaps.expected(inputs.x, inputs.x_err)[0])
    scale = posterior.scaler.delta_scale
    for name in ("mean", *QUANTILES):
        parts[name] = base + scale * parts[name]
    for name in ("sd", "sd_model"):
        parts[name] *= scale
    unknown = np.isnan(parts["mean"])
    parts["corr"][unknown[:, :, None] | unknown[:, None, :]] = np.nan
    return parts


def _store(
    parts: dict[str, Floats], rows: NDArray[np.int64], outputs: NDArray, summary: _Summary
) -> None:
    place = (rows[:, None], outputs)
    for name in ("mean", "sd", "sd_model"):
        parts[name][place] = np.asarray(getattr(summary, name)).T
    for name, values in zip(QUANTILES, summary.quantiles, strict=True):
        parts[name][place] = np.asarray(values).T
    # Networks have independent posteriors, so other pairs are uncorrelated.
    parts["corr"][rows] = np.where(np.isnan(parts["corr"][rows]), 0.0, parts["corr"][rows])
    parts["corr"][rows[:, None, None], outputs[:, None], outputs] = np.moveaxis(
        np.asarray(summary.corr), -1, 0
    )


def _correlate_networks(posterior: Posterior, inputs: Inputs, corr: Floats, sd: Floats) -> None:
    """Put in the correlations between networks of stars with gaps.

    Their posteriors are independent, but those that see a gap see the same completion.
    """
    network = np.empty(corr.shape[1], dtype=int)
    gap = np.zeros(corr.shape[:2], dtype=bool)
    for number, (block, _, _, _) in enumerate(posterior.blocks):
        network[list(block.outputs)] = number
        missing = posterior.gaps.missing(inputs.x, inputs.x_err, block.inputs)
        gap[:, list(block.outputs)] = missing[:, None]
    gap &= np.isfinite(inputs.x).any(axis=1)[:, None]
    both = (network[:, None] != network) & gap[:, :, None] & gap[:, None, :]
    rows = np.flatnonzero(both.any(axis=(1, 2)))
    count = min(SUMMARY_DRAWS, posterior.n_draws)
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        mean = posterior.predict(inputs.x[part], inputs.x_err[part], kind="mean", draws=count)
        away = (mean - mean.mean(axis=0)) / posterior.scaler.delta_scale / sd[part]
        found = np.einsum("sni,snj->nij", away, away) / count
        corr[part] = np.where(both[part], found, corr[part])


@jax.jit
def _moments(mixture: Mixture) -> _Summary:
    """Summarise the mixture of Student-t's in closed form: no noise is drawn."""
    stretch = jnp.where(jnp.isinf(mixture.dof), 1.0, mixture.dof / (mixture.dof - 2.0))
    mean = mixture.location.mean(axis=0)
    away = mixture.location - mean
    between = jnp.einsum("sin,sjn->ijn", away, away) / len(away)
    within = jnp.einsum(
        "s,sin,sij,sjn->ijn", stretch / len(away), mixture.scale, mixture.corr, mixture.scale
    )
    covariance = between + within
    sd = jnp.sqrt(jnp.einsum("iin->in", covariance))
    quantiles = _quantiles(mixture, mean, sd)
    sd_model = jnp.sqrt(jnp.einsum("iin->in", between))
    return _Summary(mean, sd, sd_model, quantiles, covariance / (sd[:, None] * sd[None]))


def _quantiles(mixture: Mixture, mean: jax.Array, sd: jax.Array) -> jax.Array:
    """Return quantiles (3, K, N) by bisection of the mixture's distribution function."""
    table = student.tabulate(mixture.dof)
    n_draws, n_outputs, n_stars = mixture.location.shape

    def below(value: jax.Array) -> jax.Array:
        t = (value - mixture.location) / mixture.scale
        return (
            student.from_table(table, t.reshape(n_draws, -1))
            .mean(axis=0)
            .reshape(n_outputs, n_stars)
        )

    def one(level: float) -> jax.Array:
        def halve(_: int, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = bracket
            middle = 0.5 * (low + high)
            left = below(middle) > level
            return jnp.where(left, low, middle), jnp.where(left, middle, high)

        # By Cantelli's inequality these quantiles lie within 2.3 sd of the mean.
        low, high = jax.lax.fori_loop(0, BISECTIONS, halve, (mean - 2.5 * sd, mean + 2.5 * sd))
        return 0.5 * (low + high)

    return jnp.stack([one(level) for level in QUANTILES.values()])


def _output_columns(
    posterior: Posterior, inputs: Inputs, parts: dict[str, Floats]
) -> Iterable[Column]:
    texts = {
        "mean": "posterior mean of B's true value",
        "sd": "posterior standard deviation",
        **{name: f"{100 * level:.0f} % quantile" for name, level in QUANTILES.items()},
        "sd_model": "the network's own (epistemic) part of the sd",
    }
    for k, output in enumerate(posterior.spec.outputs):
        for name, text in texts.items():
            meta = {"ucd": _ucd(output.name, name)} if output.name in UCDS else {}
            yield Column(
                parts[name][:, k],
                name=f"{output.name}_{name}",
                unit=output.unit or None,
                description=f"{output.name}: {text}"
                + ("" if output.unit else " (dex or unitless)"),
                meta=meta,
            )
    names = posterior.spec.output_names
    for i, j in combinations(range(len(names)), 2):
        yield Column(
            parts["corr"][:, i, j],
            name=f"corr_{names[i]}_{names[j]}",
            description=f"posterior correlation of {names[i]} and {names[j]}",
        )


def _ucd(output: str, part: str) -> str:
    return (
        f"stat.error;{UCDS[output]}" if part.startswith("sd") else f"{UCDS[output]};meta.modelled"
    )


def _flags(posterior: Posterior, inputs: Inputs, classes: NDArray[np.int64]) -> Column:
    given = np.array([item.error is not None for item in posterior.spec.inputs])
    scaler = posterior.scaler
    used = scaler.log_err_scale > 0
    with np.errstate(invalid="ignore"):
        away = np.log(inputs.x_err[:, used]) - scaler.log_err_centre[used]
        large = (away > 5.0 * scaler.log_err_scale[used]).any(axis=1)
    raised = {
        1: ~np.isfinite(inputs.x).all(axis=1),
        2: ~np.isfinite(inputs.x_err[:, given]).all(axis=1),
        4: classes == CLASSES.index("outside"),
        8: large,
        16: ~np.isfinite(inputs.x).any(axis=1),
    }
    flags = sum(bit * rows.astype(np.int32) for bit, rows in raised.items())
    text = "; ".join(f"{bit}: {meaning}" for bit, meaning in FLAGS.items())
    return Column(flags, dtype=np.int32, description=f"bitmask; {text}")


def _add_draws(result: Table, posterior: Posterior, inputs: Inputs, draws: int, seed: int) -> None:
    sample = posterior.predict(inputs.x, inputs.x_err, draws=draws, seed=seed)
    for k, output in enumerate(posterior.spec.outputs):
        result[f"{output.name}_draws"] = Column(
            sample[:, :, k].T,
            unit=output.unit or None,
            description=f"{output.name}: {draws} draws of B's true value, joint over the outputs",
        )


def _provenance(posterior: Posterior, source: Source, draws: int, seed: int) -> dict[str, str]:
    configuration = {"summary_draws": min(SUMMARY_DRAWS, posterior.n_draws), "draws": draws}
    return {
        "BTVERS": f"bayestrans {version('bayestrans')}",
        "BTMODEL": posterior.digest,
        "BTINPUT": digest(source),
        "BTSPEC": json.dumps(posterior.spec.name),
        "BTSEED": str(seed),
        "BTCONF": json.dumps(configuration),
        "BTUTC": datetime.now(UTC).isoformat(timespec="seconds"),
        "BTFLAGS": "; ".join(f"{bit}: {meaning}" for bit, meaning in FLAGS.items()),
    }
