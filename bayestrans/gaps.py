"""Stars with gaps, completed from the density of the training stars."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .density import Density
from .model import Kinds, Shape
from .pairs import Pairs
from .predictive import Mixture, mixture_of_each, star_keys
from .scale import Scaler
from .spec import Block

Floats = NDArray[np.float64]

#: Stars completed at once: bounds the memory.
PART = 4096


class Completions(NamedTuple):
    """Several completions of some stars, as draws from an importance distribution.

    Attributes
    ----------
    x, x_err : (M, N, D) array
        In the units of the spec.
    log_weight : (M, N) array
        Logarithm of what the density of the outputs is to be multiplied by before
        it is averaged over the completions.
    """

    x: Floats
    x_err: Floats
    log_weight: Floats


class Gaps(NamedTuple):
    """What fills gaps in inputs and quoted errors, in the units of the spec.

    Attributes
    ----------
    scaler : Scaler
    density : Density
        Of all features (every input, then the logarithm of every quoted error in
        use), then of B's values, which tell what A's may have been.
    """

    scaler: Scaler
    density: Density

    @classmethod
    def learn(cls, scaler: Scaler, pairs: Pairs) -> Gaps:
        """Learn the density from training stars."""
        z = _features(scaler, pairs.x, pairs.x_err)
        return cls(scaler, Density.learn(np.hstack([z, _outputs(scaler, pairs.y)]), z.shape[1]))

    def features(
        self, x: Floats, x_err: Floats, inputs: tuple[int, ...], kind: NDArray[np.int64]
    ) -> Floats:
        """Return what a network sees (..., N, F) of completed stars (..., N, D).

        Beside their scaled numbers that is their kind, by what they lacked (N,).
        """
        lead, wide = x.shape[:-1], x.shape[-1]
        z = self.scaler.features(x.reshape(-1, wide), x_err.reshape(-1, wide), inputs)
        marks = np.broadcast_to(self._marks(kind), (*lead, self.n_kinds))
        return np.concatenate([z.reshape(*lead, z.shape[1]), marks], axis=-1)

    def seen(self, x: Floats, x_err: Floats, inputs: tuple[int, ...]) -> Floats:
        """Return what a network sees (N, F) of stars (N, D) as they are, NaN for what is not."""
        with np.errstate(invalid="ignore", divide="ignore"):
            z = self.scaler.features(x, x_err, inputs)
            if not self.n_kinds and np.isfinite(z).all():
                return z
            settled = self.by_kind(x, x_err)
            return self.features(*settled, inputs, self.kind(x, x_err))

    def n_features(self, inputs: tuple[int, ...]) -> int:
        """Return the number of features F that a network with these inputs sees."""
        return self.scaler.n_features(inputs) + self.n_kinds

    def kinds(self, block: Block) -> Kinds | None:
        """Return what a network is to know of the kinds, if it is told of them."""
        if not self.n_kinds:
            return None
        inputs, scaler = block.inputs, self.scaler
        used = np.flatnonzero(scaler.log_err_scale > 0)
        errors = [
            len(scaler.x_scale) + int(np.flatnonzero(used == j)[0]) for j in inputs if j in used
        ]
        lacks = self.density.kinds[:, [*inputs, *errors]].astype(bool)
        start = np.zeros((len(block.outputs), lacks.shape[1]))
        for k, output in enumerate(block.outputs):
            corrected = int(scaler.corrects[output])
            if corrected >= 0:
                ratio = scaler.x_scale[corrected] / scaler.delta_scale[output]
                start[k, inputs.index(corrected)] = ratio
        return Kinds(tuple(map(tuple, lacks.tolist())), tuple(map(tuple, start.tolist())))

    def kind(self, x: Floats, x_err: Floats) -> NDArray[np.int64]:
        """Return the kind of each star (N,) by the inputs and errors that it lacks."""
        return np.argmin(self._differences(x, x_err), axis=0)

    def unlike(self, x: Floats, x_err: Floats) -> NDArray[np.bool_]:
        """Say which stars (N,) lack other values than any kind does, where there are kinds."""
        if not self.n_kinds:
            return np.zeros(len(x), dtype=bool)
        return self._differences(x, x_err).min(axis=0) > 0

    def _differences(self, x: Floats, x_err: Floats) -> NDArray[np.int64]:
        """Return how many values (Q, N) each kind has and a star lacks, or the reverse."""
        missing = ~np.isfinite(_features(self.scaler, x, x_err))
        return np.array([(missing != one).sum(axis=1) for one in self.density.kinds])

    @property
    def n_kinds(self) -> int:
        """Number of kinds of stars that the networks are told of; 0 where there is one."""
        return len(self.density.kinds) if len(self.density.kinds) > 1 else 0

    def _marks(self, kind: NDArray[np.int64]) -> Floats:
        """Return 1 for the kind of each star and -1 for the others (N, Q)."""
        return np.where(kind[:, None] == np.arange(self.n_kinds), 1.0, -1.0)

    def by_kind(self, x: Floats, x_err: Floats) -> tuple[Floats, Floats]:
        """Return stars (N, D) with what their kind lacks at its conditional mean.

        The network learns what stars of this kind are worth without it, better than
        any completion drawn from the density could say.
        """
        z = _features(self.scaler, x, x_err)
        lacks = self.density.kinds[self.kind(x, x_err)].astype(bool) & ~np.isfinite(z)
        rows = np.flatnonzero(lacks.any(axis=1) & np.isfinite(x).any(axis=1))
        if not len(rows):
            return x, x_err
        settled, settled_err = x.copy(), x_err.copy()
        for part in np.array_split(rows, -(-len(rows) // PART)):
            expected = self.density.expected(self._seen(x[part], x_err[part]))
            new = np.where(lacks[part], expected[:, : z.shape[1]], z[part])
            settled[part], settled_err[part] = self._restored(new, x[part], x_err[part])
        return settled, settled_err

    def missing(
        self, x: Floats, x_err: Floats, inputs: tuple[int, ...] | None = None
    ) -> NDArray[np.bool_]:
        """Say which stars (N,) lack an input or a quoted error in use that their kind has.

        Of these ``inputs``, by default of all.
        """
        if np.isfinite(_features(self.scaler, x, x_err)).all():
            return np.zeros(len(x), dtype=bool)
        x, x_err = self.by_kind(x, x_err)
        chosen = tuple(range(x.shape[1])) if inputs is None else inputs
        with np.errstate(invalid="ignore"):
            return ~np.isfinite(self.scaler.features(x, x_err, chosen)).all(axis=1)

    def expected(self, x: Floats, x_err: Floats) -> tuple[Floats, Floats]:
        """Return inputs and errors (N, D) with gaps at their conditional means.

        A star without any input stays without.
        """
        if not self.n_kinds and np.isfinite(_features(self.scaler, x, x_err)).all():
            return x, x_err
        rows = np.flatnonzero(self.missing(x, x_err) & np.isfinite(x).any(axis=1))
        x, x_err = self.by_kind(x, x_err)
        if not len(rows):
            return x, x_err
        filled, filled_err = x.copy(), x_err.copy()
        for part in np.array_split(rows, -(-len(rows) // PART)):
            z = self.density.expected(self._seen(x[part], x_err[part]))
            filled[part], filled_err[part] = self._restored(z, x[part], x_err[part])
        return filled, filled_err

    def filled(self, pairs: Pairs) -> Pairs:
        """Return stars with gaps at their conditional means."""
        x, x_err = self.expected(pairs.x, pairs.x_err)
        return pairs if x is pairs.x else dataclasses.replace(pairs, x=x, x_err=x_err)

    def draws(self, x: Floats, x_err: Floats, count: int) -> tuple[Floats, Floats]:
        """Return completed inputs and errors (count, N, D); what is seen stays as it is.

        A star's completions depend on its own numbers only.
        """
        words = star_keys(x, x_err)
        x, x_err = self.by_kind(x, x_err)
        drawn = self.density.draws(self._seen(x, x_err), words, count, seed=0)
        return self._restored(drawn.astype(np.float64), x, x_err)

    def predictive(
        self,
        draws: Mapping[str, jax.Array],
        block: Block,
        x: Floats,
        x_err: Floats,
        scatter: jax.Array,
        shape: Shape,
    ) -> Mixture:
        """Return the predictive of stars with gaps: a completion of its own for each draw.

        Locations are relative to the stars of `expected`: an output that corrects a
        missing input starts from another value in each draw.
        """
        count = len(next(iter(draws.values())))
        drawn, drawn_err = self.draws(x, x_err, count)
        z = self.features(drawn, drawn_err, block.inputs, self.kind(x, x_err))
        base = self.scaler.base(drawn.reshape(-1, x.shape[1])).reshape(*drawn.shape[:2], -1)
        away = (base - self.scaler.base(self.expected(x, x_err)[0])) / self.scaler.delta_scale
        asked = (z, away[:, :, list(block.outputs)])
        features, moved = (jnp.asarray(np.swapaxes(part, 1, 2)) for part in asked)
        found = mixture_of_each(draws, features, scatter, shape)
        return found._replace(location=found.location + moved)

    def imputations(self, pairs: Pairs, outputs: tuple[int, ...], count: int) -> Completions:
        r"""Return completions of training stars, drawn with some outputs seen.

        Where the outputs say more of what is missing than the other inputs do, a
        mean over completions without them would be of a few large and many
        vanishing densities. With :math:`z_m \sim q(z | z_\mathrm{seen}, y)`,
        :math:`p(y | z_\mathrm{seen}) = q(y | z_\mathrm{seen})\,
        \langle p(y | z_m) / q(y | z_m) \rangle`, where the first factor is a constant.
        """
        x, x_err = self.by_kind(pairs.x, pairs.x_err)
        z = self._seen(x, x_err)
        wide = z.shape[1] - pairs.y.shape[1]
        chosen = wide + np.array(outputs)
        z[:, chosen] = _outputs(self.scaler, pairs.y)[:, list(outputs)]
        with jax.enable_x64(True):
            drawn = self.density.draws(z, star_keys(pairs.x, pairs.x_err), count, seed=1)
        flat = drawn.reshape(-1, z.shape[1]).copy()
        flat[:, wide:] = np.nan
        inputs_only = self.density.log_density(flat)
        flat[:, chosen] = np.tile(z[:, chosen], (count, 1))
        log_weight = inputs_only - self.density.log_density(flat)
        return Completions(*self._restored(drawn, x, x_err), log_weight.reshape(count, -1))

    def _seen(self, x: Floats, x_err: Floats) -> Floats:
        """Return features and outputs (N, F + K), those without values."""
        z = _features(self.scaler, x, x_err)
        return np.hstack([z, np.full((len(x), len(self.scaler.corrects)), np.nan)])

    def _restored(self, z: Floats, x: Floats, x_err: Floats) -> tuple[Floats, Floats]:
        """Return inputs and errors (..., N, D) from features and outputs (..., N, F + K)."""
        scaler, wide = self.scaler, x.shape[1]
        used = scaler.log_err_scale > 0
        values = scaler.x_centre + scaler.x_scale * z[..., :wide]
        log_err = z[..., wide : wide + used.sum()] * scaler.log_err_scale[used]
        new = np.exp(scaler.log_err_centre[used] + log_err)
        errors = np.broadcast_to(x_err, values.shape).copy()
        errors[..., used] = np.where(np.isfinite(x_err[:, used]), x_err[:, used], new)
        return np.where(np.isfinite(x), x, values), errors


def _features(scaler: Scaler, x: Floats, x_err: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return scaler.features(x, x_err, tuple(range(x.shape[1])))


def _outputs(scaler: Scaler, y: Floats) -> Floats:
    """Return B's values (N, K) on the scale of the inputs that they correct."""
    corrects = scaler.corrects
    centre = np.where(corrects >= 0, scaler.x_centre[corrects], scaler.delta_centre)
    scale = np.where(corrects >= 0, scaler.x_scale[corrects], scaler.delta_scale)
    return (y - centre) / scale
