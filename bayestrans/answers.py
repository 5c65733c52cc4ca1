"""What becomes of some stars of a catalogue: their summaries, flags and draws as columns."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Column, Table
from numpy.typing import NDArray

from .calibration import Change
from .catalogue import Inputs
from .model import Shape
from .moments import QUANTILES, Summary, moments
from .neighbours import CLASSES
from .posterior import CHUNK, BlockDraws, Posterior
from .spec import Output
from .summary import Chosen, chosen, exhausted, room, summarise
from .thin import fewest

Floats = NDArray[np.float64]

log = logging.getLogger("bayestrans")

#: Bits of the ``flags`` column.
FLAGS = {
    1: "an input is missing: integrated over",
    2: "a quoted error is missing or not positive: integrated over if the model needs it",
    4: "outside the training stars' support: do not use without checking",
    8: "a quoted error is beyond five sigma of the training stars' errors",
    16: "no input at all: no answer",
    128: "lacks other values than any kind of the training stars: taken as of the nearest kind",
    256: "an extrinsic input (support does not see it) is beyond five sigma of the training stars",
}

#: Unified content descriptors of the IVOA by customary output name.
UCDS = {
    "teff": "phys.temperature.effective",
    "logg": "phys.gravity",
    "fe_h": "phys.abund.Fe",
    **dict.fromkeys(("m_h", "mg_fe", "alpha_fe", "alpha_m"), "phys.abund"),
    "rv": "spect.dopplerVeloc",
}

#: Posterior draws behind the summaries of stars with gaps, and of those whose quantiles
#: they do not tell, evenly spaced over all chains.
MORE_DRAWS = 250

#: Such stars in one call: they are few, and the last call is filled up.
FEW = 128

#: Probe stars at which draws are chosen.
PROBES = 200


class _Network(NamedTuple):
    """One network, ready to summarise complete stars with some of its draws.

    ``draws`` is the number of those for stars that need more, ``table`` the distribution
    functions of their noise.
    """

    block: BlockDraws
    shape: Shape
    scatter: Any
    part: Chosen
    draws: int
    table: Any


class Answers:
    """Translates stars of a catalogue, a batch at a time and several in parallel.

    What a star gets depends on the star and the model alone.

    Parameters
    ----------
    posterior : Posterior
    draws : int
        Joint draws of B's true parameters to add per star.
    seed : int
        Of those draws.
    """

    def __init__(self, posterior: Posterior, draws: int = 0, seed: int = 0) -> None:
        self.posterior, self.draws, self.seed = posterior, draws, seed
        self.networks = [_prepared(posterior, block) for block in posterior.blocks]
        self._group = room()

    @property
    def counts(self) -> list[int]:
        """The number of draws behind the summaries of each network."""
        return [len(network.part.table) for network in self.networks]

    def scores(self, inputs: Inputs) -> Floats:
        """Return the support scores (N,)."""
        filled, _ = self.posterior.gaps.expected(inputs.x, inputs.x_err)
        return self.posterior.neighbours.score(filled)

    def table(self, inputs: Inputs) -> Table:
        """Return the answers to some stars, one row each."""
        posterior = self.posterior
        filled, _ = posterior.gaps.expected(inputs.x, inputs.x_err)
        score = posterior.neighbours.score(filled)
        classes = posterior.neighbours.classify(score)
        result = inputs.identifiers.copy()
        parts = self._summaries(inputs, filled, score)
        result.add_columns(list(output_columns(posterior.spec.outputs, parts)))
        result["support"] = Column(
            score.astype(np.float32), description="reach to the training stars / median"
        )
        result["support_class"] = np.array(CLASSES)[classes]
        result["flags"] = _flags(posterior, inputs, classes)
        if self.draws:
            _add_draws(result, posterior, inputs, self.draws, self.seed)
        return result

    def _summaries(self, inputs: Inputs, filled: Floats, score: Floats) -> dict[str, Floats]:
        posterior = self.posterior
        n, k = len(inputs.x), len(posterior.spec.outputs)
        # Stars run fastest, as in what the programs return and in the columns to be.
        names = ("mean", "sd", "sd_model", *QUANTILES)
        parts: dict[str, Floats] = {name: np.full((k, n), np.nan).T for name in names}
        # Networks have independent posteriors, so pairs between them are uncorrelated.
        parts["corr"] = np.zeros((k, k, n)).T
        for network in self.networks:
            for rows, found in self._of(network, inputs, filled, score):
                _store(parts, rows, list(network.block.block.outputs), found)
        self._correlate_networks(inputs, parts["corr"], parts["sd"])
        base = posterior.scaler.base(filled)
        scale = posterior.scaler.delta_scale
        for name in ("mean", *QUANTILES):
            parts[name] = base + scale * parts[name]
        for name in ("sd", "sd_model"):
            parts[name] *= scale
        unknown = np.isnan(parts["mean"])
        if unknown.any():
            parts["corr"][unknown[:, :, None] | unknown[:, None, :]] = np.nan
        return parts

    def _of(
        self, network: _Network, inputs: Inputs, filled: Floats, score: Floats
    ) -> Iterator[tuple[NDArray[np.int64], Summary]]:
        """Yield rows and their summaries of one network; the last rows of a group may repeat."""
        posterior, block = self.posterior, network.block.block
        z = posterior.gaps.seen(inputs.x, inputs.x_err, block.inputs)
        whole = np.isfinite(z).all(axis=1)
        rows, outputs = np.flatnonzero(whole), list(block.outputs)
        closely = ~whole & np.isfinite(inputs.x).any(axis=1)
        if len(rows):
            linear = posterior.baseline.linear_mean(filled, posterior.scaler, block.inputs)
            line, *change = (
                _some(a, rows)[:, outputs] for a in (linear, *posterior.calibration.at(score))
            )
            found, straight = self._summarised(network, _some(z, rows), line, Change(*change))
            yield rows, found
            closely[rows] = ~straight
        closer = np.flatnonzero(closely)
        if len(closer):
            asked = (inputs.x[closer], inputs.x_err[closer], network.draws, FEW)
            for some, mixture in posterior.mixtures(network.block, *asked):
                yield closer[some], moments(mixture, network.table)

    def _summarised(
        self, network: _Network, z: Floats, linear: Floats, change: Change
    ) -> tuple[Summary, NDArray[np.bool_]]:
        """Summarise complete stars, fewer at a time where the device's memory does not do."""
        while True:
            group = self._group
            try:
                return summarise(
                    network.part, z, network.scatter, linear, change, network.shape, group
                )
            except Exception as error:
                if not exhausted(error) or group == 1:
                    raise
                self._group = min(self._group, group // 2)  # other threads may have done it
                log.warning(
                    f"the device's memory does not hold {group} stars at a time; "
                    f"going on with {self._group}"
                )

    def _correlate_networks(self, inputs: Inputs, corr: Floats, sd: Floats) -> None:
        """Put in the correlations between networks of stars with gaps.

        Their posteriors are independent, but those that see a gap see the same completion.
        """
        posterior = self.posterior
        if len(self.networks) == 1:
            return
        network = np.empty(corr.shape[1], dtype=int)
        gap = np.zeros(corr.shape[:2], dtype=bool)
        for number, (block, _, _, _) in enumerate(posterior.blocks):
            network[list(block.outputs)] = number
            missing = posterior.gaps.missing(inputs.x, inputs.x_err, block.inputs)
            gap[:, list(block.outputs)] = missing[:, None]
        gap &= np.isfinite(inputs.x).any(axis=1)[:, None]
        both = (network[:, None] != network) & gap[:, :, None] & gap[:, None, :]
        rows = np.flatnonzero(both.any(axis=(1, 2)))
        count = min(MORE_DRAWS, posterior.n_draws)
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            mean = posterior.predict(inputs.x[part], inputs.x_err[part], kind="mean", draws=count)
            away = (mean - mean.mean(axis=0)) / posterior.scaler.delta_scale / sd[part]
            found = np.einsum("sni,snj->nij", away, away) / count
            corr[part] = np.where(both[part], found, corr[part])


def _prepared(posterior: Posterior, block: BlockDraws) -> _Network:
    """Choose the draws of one network that are to serve."""
    shape = posterior.shape(block.block)
    step = max(1, len(posterior.probe_x) // PROBES)
    probes = (posterior.probe_x[::step], posterior.probe_x_err[::step])
    rows = np.arange(posterior.n_draws)
    # What the calibration does to a star's draws is the same whichever they are.
    plain = posterior.uncalibrated
    found = [m for _, m in plain.mixtures(block, *probes)] if len(probes[0]) else []
    if found:
        count = min(len(probes[0]), CHUNK)
        first = found[0]._replace(
            location=found[0].location[..., :count], scale=found[0].scale[..., :count]
        )
        rows = fewest(first)
    draws = {name: v.reshape(-1, *v.shape[2:]) for name, v in block.draws.items()}
    more = min(MORE_DRAWS, posterior.n_draws)
    spaced = np.arange(more) * posterior.n_draws // more  # as `Posterior.flat_draws` takes them
    table = chosen(draws, spaced, shape).table
    scatter = posterior.scatter(block.block)
    return _Network(block, shape, scatter, chosen(draws, rows, shape), more, table)


def _store(
    parts: dict[str, Floats], rows: NDArray[np.int64], outputs: list[int], summary: Summary
) -> None:
    mean, sd, sd_model, quantiles, corr = (np.asarray(part) for part in summary)
    found = {"mean": mean, "sd": sd, "sd_model": sd_model}
    found |= zip(QUANTILES, quantiles, strict=True)
    every = slice(None) if len(rows) == len(parts["mean"]) else rows
    for i, k in enumerate(outputs):
        for name, values in found.items():
            parts[name][every, k] = values[i]
        for j, other in enumerate(outputs):
            parts["corr"][every, k, other] = corr[i, j]


def _some(values: Floats, rows: NDArray[np.int64]) -> Floats:
    return values if len(rows) == len(values) else values[rows]


def output_columns(outputs: Sequence[Output], parts: dict[str, Floats]) -> Iterator[Column]:
    """Yield the columns of each output from arrays by name: (N, K), ``corr`` (N, K, K)."""
    texts = {
        "mean": "posterior mean of B's true value",
        "sd": "posterior standard deviation",
        **{name: f"{100 * level:.0f} % quantile" for name, level in QUANTILES.items()},
        "sd_model": "the network's own (epistemic) part of the sd",
    }
    for k, output in enumerate(outputs):
        for name, text in texts.items():
            meta = {"ucd": _ucd(output.name, name)} if output.name in UCDS else {}
            yield Column(
                parts[name][:, k].astype(np.float32),
                name=f"{output.name}_{name}",
                unit=output.unit or None,
                description=f"{output.name}: {text}"
                + ("" if output.unit else " (dex or unitless)"),
                meta=meta,
            )
    names = [output.name for output in outputs]
    for i, j in combinations(range(len(names)), 2):
        yield Column(
            parts["corr"][:, i, j].astype(np.float32),
            name=f"corr_{names[i]}_{names[j]}",
            description=f"posterior correlation of {names[i]} and {names[j]}",
        )


def _ucd(output: str, part: str) -> str:
    return (
        f"stat.error;{UCDS[output]}" if part.startswith("sd") else f"{UCDS[output]};meta.modelled"
    )


def _flags(posterior: Posterior, inputs: Inputs, classes: NDArray[np.int64]) -> Column:
    given = np.array([item.error is not None for item in posterior.spec.inputs])
    unseen = np.array([item.extrinsic for item in posterior.spec.inputs])
    scaler = posterior.scaler
    used = scaler.log_err_scale > 0
    with np.errstate(invalid="ignore"):
        away = np.log(inputs.x_err[:, used]) - scaler.log_err_centre[used]
        odd = (np.abs(away) > 5.0 * scaler.log_err_scale[used]).any(axis=1)
        far = np.abs(inputs.x - scaler.x_centre) > 5.0 * scaler.x_scale
    raised = {
        1: ~np.isfinite(inputs.x).all(axis=1),
        2: ~np.isfinite(inputs.x_err[:, given]).all(axis=1),
        4: classes == CLASSES.index("outside"),
        8: odd,
        16: ~np.isfinite(inputs.x).any(axis=1),
        128: posterior.gaps.unlike(inputs.x, inputs.x_err),
        256: (far & unseen).any(axis=1),
    }
    flags = sum(bit * rows.astype(np.int32) for bit, rows in raised.items())
    text = "; ".join(f"{bit}: {meaning}" for bit, meaning in FLAGS.items())
    return Column(flags, dtype=np.int32, description=f"bitmask; {text}")


def _add_draws(result: Table, posterior: Posterior, inputs: Inputs, draws: int, seed: int) -> None:
    sample = posterior.predict(inputs.x, inputs.x_err, draws=draws, seed=seed)
    for k, output in enumerate(posterior.spec.outputs):
        result[f"{output.name}_draws"] = draws_column(output, sample[:, :, k].T)


def draws_column(output: Output, draws: NDArray[Any]) -> Column:
    """Return the column of an output's draws (N, D)."""
    count = draws.shape[1]
    return Column(
        draws,
        unit=output.unit or None,
        description=f"{output.name}: {count} draws of B's true value, joint over the outputs",
    )
