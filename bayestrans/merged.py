"""What a merged catalogue holds: its columns, its flags, and how it came about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Column, Table
from numpy.typing import NDArray

from .answers import FLAGS, draws_column, output_columns
from .merge import MEASURED, Answered, Stars, best_class
from .moments import QUANTILES
from .plan import Plan
from .posterior import Posterior
from .spec import Output
from .tables import digest
from .version import __version__

Floats = NDArray[np.float64]

#: Bits of the ``flags`` column of a merged catalogue: those of a translation, raised by any
#: survey that the star's numbers rest on, and two more.
MERGED_FLAGS = dict(
    sorted(
        {
            **FLAGS,
            16: "no answer in any survey",
            32: "the surveys disagree: widened by the spread of their means",
            64: "several rows of the star in a survey: one was taken",
        }.items()
    )
)


class Numbers(NamedTuple):
    """The numbers of all stars.

    Attributes
    ----------
    each : dict of (N, K) arrays
        ``mean``, ``sd``, ``sd_model`` and the quantiles.
    corr : (N, K, K) array
    agreement : (N,) array
        NaN where only one survey has a star.
    draws : (N, K, D) array
        D = 0 where none were asked for.
    """

    each: dict[str, Floats]
    corr: Floats
    agreement: Floats
    draws: NDArray[np.float32]


def merged_table(
    outputs: Sequence[Output],
    surveys: Sequence[Answered],
    stars: Stars,
    used: NDArray[np.bool_],
    parts: Numbers,
    disagree: float,
) -> Table:
    """Return the columns of the merged catalogue."""
    result = Table([stars.ids])
    result.add_columns(list(output_columns(outputs, {**parts.each, "corr": parts.corr})))
    _add_support(result, surveys, stars, used)
    result["flags"] = _flags(surveys, stars, used, parts.agreement < disagree)
    names = np.array([one.name for one in surveys])
    patterns, pattern = np.unique(used, axis=0, return_inverse=True)
    texts = np.array(["+".join(names[present]) for present in patterns], dtype=str)
    result["surveys"] = Column(texts[pattern.reshape(-1)], description="what the numbers rest on")
    result["n_surveys"] = used.sum(axis=1).astype(np.int16)
    result["agreement"] = Column(
        parts.agreement.astype(np.float32),
        description="probability of differences between the surveys as large as these",
    )
    for s, name in enumerate(names):
        result[f"row_{name}"] = Column(
            stars.rows[:, s], description=f"row of the catalogue of {name}, from 0; -1: none"
        )
        result[f"n_rows_{name}"] = Column(
            stars.counts[:, s].astype(np.int32), description=f"rows of the star in {name}"
        )
    for k, output in enumerate(outputs if parts.draws.shape[2] else ()):
        result[f"{output.name}_draws"] = draws_column(output, parts.draws[:, k])
    return result


def own_names(
    outputs: Sequence[Output], surveys: Sequence[str], identifier: str, *, draws: bool
) -> set[str]:
    """Return the names of the columns of `merged_table`, before there is one."""
    each, k = np.empty((0, len(outputs))), len(outputs)
    parts = dict.fromkeys(("mean", "sd", "sd_model", *QUANTILES), each)
    found = [
        column.name for column in output_columns(outputs, {**parts, "corr": np.empty((0, k, k))})
    ]
    found += ["support", "support_class", "flags", "surveys", "n_surveys", "agreement"]
    found += [f"{word}_{name}" for name in surveys for word in ("row", "n_rows")]
    found += [f"{output.name}_draws" for output in outputs if draws]
    return {identifier, *found}


def _add_support(
    result: Table, surveys: Sequence[Answered], stars: Stars, used: NDArray[np.bool_]
) -> None:
    support = np.full(used.shape, np.nan)
    classes = np.full(used.shape, "", dtype=f"U{len(MEASURED)}")
    for s, one in enumerate(surveys):
        rows = stars.rows[:, s]
        # A star without any answer keeps what its survey says of it.
        having = (used[:, s] | ~used.any(axis=1)) & (rows >= 0)
        support[having, s] = one.support[rows[having]]
        classes[having, s] = one.classes[rows[having]]
    chosen = best_class(support, classes)
    every = np.arange(len(chosen))
    result["support"] = Column(
        support[every, chosen].astype(np.float32),
        description="reach to the training stars / median, in the survey that covers it best",
    )
    result["support_class"] = classes[every, chosen]


def _flags(
    surveys: Sequence[Answered],
    stars: Stars,
    used: NDArray[np.bool_],
    disagreeing: NDArray[np.bool_],
) -> Column:
    flags = np.zeros(len(used), dtype=np.int32)
    for s, one in enumerate(surveys):
        having = used[:, s]
        flags[having] |= one.flags[stars.rows[having, s]] & ~np.int32(16)
    flags |= 16 * (~used.any(axis=1)).astype(np.int32)
    flags |= 32 * disagreeing.astype(np.int32)
    flags |= 64 * (stars.counts > 1).any(axis=1).astype(np.int32)
    text = "; ".join(f"{bit}: {meaning}" for bit, meaning in MERGED_FLAGS.items())
    return Column(flags, dtype=np.int32, description=f"bitmask; {text}")


def provenance(
    plan: Plan,
    models: dict[str, Posterior],
    surveys: Sequence[Answered],
    shared: Floats,
    outputs: Sequence[Output],
    settings: dict[str, int],
) -> dict[str, str]:
    """Return what the headers say of how the catalogue came about, in ASCII."""
    names = [output.name for output in outputs]
    configuration = {
        **settings,
        "disagree": plan.disagree,
        "shared": dict(zip(names, shared.round(4).tolist(), strict=True)),
    }
    found = {
        "BTVERS": f"bayestrans {__version__}",
        "BTPLAN": json.dumps(plan.name),
        "BTBASE": json.dumps(plan.base),
        "BTCONF": json.dumps(configuration),
        "BTUTC": datetime.now(UTC).isoformat(timespec="seconds"),
        "BTFLAGS": "; ".join(f"{bit}: {meaning}" for bit, meaning in MERGED_FLAGS.items()),
    }
    for s, (one, answered) in enumerate(zip(plan.surveys, surveys, strict=True), start=1):
        said: dict[str, Any] = {
            "survey": one.name,
            "catalogue": digest(one.catalogue),
            "rows": len(answered.keys),
        }
        if one.name in models:
            model = models[one.name]
            said |= {"model": model.digest, "seed": model.record.get("seed")}
        else:
            said |= {"error_factor": one.error_factor}
        found[f"BTSRV{s}"] = json.dumps(said)
    return found


def summary(table: Table) -> str:
    """Return in a few lines how many stars a merged catalogue has, and from where."""
    names, counts = np.unique(np.asarray(table["surveys"]).astype(str), return_counts=True)
    flags = np.asarray(table["flags"])
    lines = [f"{len(table)} stars"]
    for name, count in zip(names, counts, strict=True):
        lines.append(f"  {name or 'without an answer':24s}{count:10d}")
    compared = int(np.isfinite(np.asarray(table["agreement"], dtype=float)).sum())
    lines.append(f"  surveys disagree: {int((flags & 32 > 0).sum())} of {compared} compared")
    lines.append(f"  several rows in a survey: {int((flags & 64 > 0).sum())}")
    return "\n".join(lines)
