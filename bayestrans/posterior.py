"""The fitted translation: draws of all networks, and what they predict."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from . import store
from .baseline import Baseline
from .calibration import Calibration, Change
from .density import Density
from .gaps import Gaps
from .model import Noise, Shape
from .neighbours import Neighbours
from .network import Network
from .pairs import Pairs, plain_numbers
from .predictive import Mixture, calibrated, draw_noise, mixture, star_keys
from .scale import Scaler
from .spec import Block, Input, Output, Spec

Floats = NDArray[np.float64]
Kind = Literal["mean", "true", "measured"]

#: Stars are predicted in groups of this many, the last one padded, so that a
#: program is compiled once and a star's numbers do not depend on its company.
CHUNK = 512


#: Between a network's name and a site's name in the model file.
SEPARATOR = "."


class BlockDraws(NamedTuple):
    """Posterior draws of one network.

    Attributes
    ----------
    block : Block
        Its inputs and outputs.
    draws : dict of (chain, draw, ...) arrays
        Parameters of the model by site name, in scaled units.
    stats : dict of (chain, draw) arrays
        What the sampler recorded of each draw.
    tuning : dict
        Step size, steps, how the run ended.
    """

    block: Block
    draws: dict[str, NDArray]
    stats: dict[str, NDArray]
    tuning: dict[str, Any]

    def __repr__(self) -> str:
        chains, draws = next(iter(self.draws.values())).shape[:2]
        told = f"{chains} x {draws} draws of {len(self.draws)} sites"
        return f"<BlockDraws {self.block.name!r}: {told}>"


@dataclass(frozen=True)
class Posterior:
    """What `fit` returns, `save` writes and every reader takes.

    Attributes
    ----------
    spec : Spec
    network : Network
    noise : Noise
    scaler : Scaler
    blocks : tuple of BlockDraws
        The intrinsic outputs, then each extrinsic one.
    density : Density
        Of the training stars' features: it fills gaps.
    neighbours : Neighbours
        Where the training stars lie.
    calibration : Calibration
        How far predictives are stretched as a function of the support score.
    baseline : Baseline
        Moments for the identity and linear baselines.
    probe_x, probe_x_err : (P, D) array
        Training stars at which convergence is judged, gaps filled.
    probe_y, probe_y_err : (P, K) array
        What survey B measured of them; NaN where it did not, and for a star whose
        gaps the fit integrated over: filled, it is not the star of the likelihood.
    record : dict
        Provenance: versions, seed, method, number of stars, time.
    """

    spec: Spec
    network: Network
    noise: Noise
    scaler: Scaler
    blocks: tuple[BlockDraws, ...]
    density: Density
    neighbours: Neighbours
    calibration: Calibration
    baseline: Baseline
    probe_x: Floats
    probe_x_err: Floats
    probe_y: Floats
    probe_y_err: Floats
    record: dict[str, Any]

    def __repr__(self) -> str:
        outputs, draws = ", ".join(self.spec.output_names), self.n_draws
        stars = self.record.get("stars", "?")
        return f"<Posterior {self.spec.name!r}: {outputs}; {draws} draws, {stars} training stars>"

    @property
    def gaps(self) -> Gaps:
        """What fills gaps in inputs and quoted errors."""
        return Gaps(self.scaler, self.density)

    @property
    def uncalibrated(self) -> Posterior:
        """The model as the sampler saw it, without the calibration that came after."""
        return replace(self, calibration=Calibration.identity(len(self.spec.outputs)))

    @property
    def n_draws(self) -> int:
        """Posterior draws, over all chains."""
        chains, draws = next(iter(self.blocks[0].draws.values())).shape[:2]
        return chains * draws

    @property
    def digest(self) -> str:
        """SHA-256 of the model's content: the same in memory and in its file."""
        return store.digest(to_tree(self))

    def predict(
        self,
        x: Pairs | Floats,
        x_err: Floats | None = None,
        *,
        kind: Kind = "true",
        y_err: Floats | None = None,
        draws: int | None = None,
        seed: int = 0,
    ) -> Floats:
        """Draw outputs of survey B for stars of survey A.

        Parameters
        ----------
        x : (N, D) array or Pairs
            Inputs in the units of the spec. `Pairs` bring their own errors.
        x_err : (N, D) array, optional
            Their quoted errors; needed where the training stars had them.
        kind : {"true", "measured", "mean"}
            B's true parameters, what B would measure (with its quoted errors
            ``y_err``), or the mean alone (the network's own uncertainty).
        y_err : (N, K) array, optional
            Needed for ``kind="measured"`` with arrays; the usual one where not positive.
        draws : int, optional
            How many posterior draws, evenly spaced; all by default. One of each four is
            wider where training stars are few, of fewer than four the last.
        seed : int
            Of the noise. A star's noise depends on the seed and its own
            numbers, never on the other stars.

        Returns
        -------
        (draw, star, output) array
            In the units of the spec. Missing inputs and errors are integrated
            over, with another completion for each posterior draw; NaN for a star
            without any input.

        Raises
        ------
        ValueError
            For arrays of the wrong shape or an unknown kind.
        """
        if isinstance(x, Pairs):
            self.check_spec(x.spec)
            x_err, y_err = x.x_err, x.y_err if y_err is None else y_err
            x = x.x
        x, x_err = self.check_inputs(x, x_err)
        if kind not in ("mean", "true", "measured"):
            raise ValueError(f"kind is {kind!r}; choose 'true', 'measured' or 'mean'")
        if kind == "measured" and y_err is None:
            raise ValueError("kind='measured' needs y_err, the quoted errors of survey B")
        extra = np.zeros((len(x), len(self.spec.outputs)))
        if kind == "measured":
            y_err = plain_numbers(y_err, "y_err")
            if y_err.shape != extra.shape:
                raise ValueError(f"y_err has shape {y_err.shape}; give {extra.shape}")
            extra = self.scaler.noise(np.where(y_err > 0, y_err, np.nan))
        keys = star_keys(x, x_err)
        result = np.full((self._count(draws), len(x), len(self.spec.outputs)), np.nan)
        for block in self.blocks:
            for rows, predictive in self.mixtures(block, x, x_err, draws):
                delta = np.asarray(predictive.location)
                if kind != "mean":
                    err = extra[np.ix_(rows, block.block.outputs)].T
                    base = (seed, block.block.outputs[0])
                    delta = draw_noise(predictive, err, keys[rows], base)
                result[:, rows[:, None], block.block.outputs] = np.swapaxes(delta, 1, 2)
        return self.scaler.restore(self.gaps.expected(x, x_err)[0], result)

    def mixtures(
        self,
        block: BlockDraws,
        x: Floats,
        x_err: Floats,
        draws: int | None = None,
        chunk: int = CHUNK,
    ) -> Iterator[tuple[NDArray[np.int64], Mixture]]:
        """Yield row numbers and the calibrated mixture of each chunk of stars.

        Every chunk has ``chunk`` stars; the last repeats its first row to fill up.
        Locations are relative to ``gaps.expected(x, x_err)``. Left out are stars
        without any input.
        """
        shape = self.shape(block.block)
        flat, scatter = self.flat_draws(block, draws), self.scatter(block.block)
        z = self.gaps.seen(x, x_err, block.block.inputs)
        whole = np.isfinite(z).all(axis=1)
        partly = ~whole & np.isfinite(x).any(axis=1)
        filled, _ = self.gaps.expected(x, x_err)
        change = self.calibration.at(self.neighbours.score(filled))
        linear = self.baseline.linear_mean(filled, self.scaler, block.block.inputs)
        for stars, complete in ((whole, True), (partly, False)):
            for rows in groups(np.flatnonzero(stars), chunk):
                if complete:
                    found = mixture(flat, jnp.asarray(z[rows].T), scatter, shape)
                else:
                    asked = (x[rows], x_err[rows])
                    found = self.gaps.predictive(flat, block.block, *asked, scatter, shape)
                place = np.ix_(rows, block.block.outputs)
                moved = (jnp.asarray(part[place].T) for part in (linear, *change))
                yield rows, calibrated(found, next(moved), Change(*moved))

    def check_spec(self, spec: Spec) -> None:
        """Refuse stars whose columns are not the model's, in names, order and units.

        Raises
        ------
        ValueError
            Naming the first difference.
        """
        ours, theirs = (
            [(i.name, i.unit) for i in s.inputs] + [(o.name, o.unit) for o in s.outputs]
            for s in (self.spec, spec)
        )
        for mine, other in itertools.zip_longest(ours, theirs):
            if mine != other:
                raise ValueError(
                    f"the stars have {other} where the model has {mine} (name, unit); "
                    "read them with the model's own spec"
                )
        for j, item in enumerate(self.spec.inputs):
            if self.scaler.log_err_scale[j] > 0 and spec.inputs[j].error is None:
                raise ValueError(
                    f"the stars have no errors of {item.name}, which the model uses; "
                    "read them with the model's own spec"
                )

    def check_draws(self, draws: int) -> None:
        """Refuse a number of draws that the model does not hold."""
        if not 1 <= draws <= self.n_draws:
            raise ValueError(f"{draws} draws asked; the model holds {self.n_draws}")

    def check_shape(self, x: Floats) -> Floats:
        """Return inputs as an (N, D) array, or refuse them."""
        wide = len(self.spec.inputs)
        x = plain_numbers(x, "x")
        if x.ndim != 2 or x.shape[1] != wide:
            names = ", ".join(self.spec.input_names)
            raise ValueError(f"x has shape {x.shape}; give (N, {wide}) with columns {names}")
        return x

    def check_inputs(self, x: Floats, x_err: Floats | None) -> tuple[Floats, Floats]:
        """Return inputs and errors as checked (N, D) arrays, with NaN for what is no value."""
        x = self.check_shape(x)
        if x_err is None:
            needed = [
                n
                for n, s in zip(self.spec.input_names, self.scaler.log_err_scale, strict=True)
                if s > 0
            ]
            if needed:
                raise ValueError(
                    f"x_err is missing; the model uses the errors of {', '.join(needed)}: give "
                    "them, NaN where they are not known"
                )
            x_err = np.full(x.shape, np.nan)
        x_err = plain_numbers(x_err, "x_err")
        if x_err.shape != x.shape:
            raise ValueError(f"x_err has shape {x_err.shape}; x has {x.shape}")
        good = np.isfinite(x_err) & (x_err > 0)
        return np.where(np.isfinite(x), x, np.nan), np.where(good, x_err, np.nan)

    def _count(self, draws: int | None) -> int:
        if draws is None:
            return self.n_draws
        self.check_draws(draws)
        return draws

    def flat_draws(self, block: BlockDraws, draws: int | None = None) -> dict[str, jax.Array]:
        """Return draws of one network by site name, evenly spaced over all chains."""
        total, count = self.n_draws, self._count(draws)
        chosen = np.arange(count) * total // count
        return {
            name: jnp.asarray(values.reshape(total, *values.shape[2:])[chosen])
            for name, values in block.draws.items()
        }

    def shape(self, block: Block) -> Shape:
        """Return the shape of one network's model."""
        return Shape.of(self.network, self.noise, len(block.outputs), self.gaps.kinds(block))

    def scatter(self, block: Block) -> jax.Array:
        """Return the known scatter of a network's outputs (K,) in scaled units, or ones."""
        outputs = list(block.outputs)
        known = self.noise.scatter
        scatter = np.ones(len(outputs)) if known is None else np.array(known)[outputs]
        return jnp.asarray(scatter / self.scaler.delta_scale[outputs])

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model as one netCDF file that ArviZ opens, atomically.

        Raises
        ------
        FileExistsError
            Unless ``overwrite``.
        """
        store.write(to_tree(self), path, overwrite=overwrite)


def check_posterior(given: object) -> None:
    """Raise TypeError for what is no model, such as the path of one."""
    if not isinstance(given, Posterior):
        what = f"a model is needed, not a {type(given).__name__}"
        raise TypeError(f"{what}; give what fit returns, or bayestrans.load('model.nc')")


def groups(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Yield rows in groups of one size; the last repeats its first row to fill up."""
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield np.concatenate([part, np.repeat(part[:1], size - len(part))])


def predict(
    posterior: Posterior, x: Pairs | Floats, x_err: Floats | None = None, **options: Any
) -> Floats:
    """Draw outputs for stars: `Posterior.predict` as a function."""
    check_posterior(posterior)
    return posterior.predict(x, x_err, **options)


def to_tree(posterior: Posterior) -> xr.DataTree:
    """Return the model as the tree that is written, in the layout of ArviZ."""
    groups: dict[str, xr.Dataset] = {"posterior": xr.Dataset(), "sample_stats": xr.Dataset()}
    for block in posterior.blocks:
        for group, arrays in (("posterior", block.draws), ("sample_stats", block.stats)):
            for site, values in arrays.items():
                name = f"{block.block.name}{SEPARATOR}{site}"
                dims = ("chain", "draw", *_dims(name, values.ndim - 2))
                groups[group][name] = (dims, values)
    parts = {
        "scaler": posterior.scaler.to_arrays(),
        "density": posterior.density.to_arrays(),
        "support": posterior.neighbours.to_arrays(),
        "calibration": posterior.calibration.to_arrays(),
        "baseline": posterior.baseline.to_arrays(),
        "probe": {n: getattr(posterior, f"probe_{n}") for n in ("x", "x_err", "y", "y_err")},
    }
    for group, arrays in parts.items():
        groups[group] = xr.Dataset({n: (_dims(n, a.ndim), a) for n, a in arrays.items()})
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = _attributes(posterior)
    return tree


def _attributes(posterior: Posterior) -> dict[str, Any]:
    items: list[Input | Output] = [*posterior.spec.inputs, *posterior.spec.outputs]
    attributes = {
        "spec": posterior.spec.to_dict(),
        "configuration": {
            "network": asdict(posterior.network),
            "noise": asdict(posterior.noise),
            "tuning": {block.block.name: block.tuning for block in posterior.blocks},
        },
        "columns": {item.column: {"name": item.name, "unit": item.unit} for item in items},
        "provenance": posterior.record,
    }
    return {name: json.dumps(value, ensure_ascii=True) for name, value in attributes.items()}


def _dims(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}_dim_{i}" for i in range(count))
