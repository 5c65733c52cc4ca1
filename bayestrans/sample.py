"""What a sampler is, and the simple ones: ensembles, variational inference, NUTS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray
from numpyro.infer import NUTS as NumpyroNUTS

from .arguments import plain_fields
from .chains import PerChain
from .programs import compiled
from .progress import progress_bar
from .target import Target

#: Learning rate of the warm start, decayed to a fiftieth of itself by a cosine.
LEARNING_RATE = 1e-2

#: Compiled programs that are kept for the next run of a target of the same functions.
PROGRAMS = 8


class SamplingWarning(UserWarning):
    """The sampler stopped before its chains agreed."""


class Run(NamedTuple):
    """Draws of one block.

    Attributes
    ----------
    positions : (chain, draw, dim) array
        Unconstrained parameters.
    stats : dict of (chain, draw) arrays
        What the sampler knows of each draw: ``log_density`` always, and its
        own (``energy_error``, ``energy``, ``diverging``).
    tuning : dict of numbers and strings
        Step size, momentum length, steps, and why the run ended.
    """

    positions: NDArray
    stats: dict[str, NDArray]
    tuning: dict[str, Any]


class Method(Protocol):
    """Anything that can be passed to `fit` as its method."""

    def run(self, target: Target, key: jax.Array, *, label: str, progress: bool) -> Run:
        """Return draws from ``target``; ``label`` names it in the progress bar."""
        ...

    def refit(self) -> Method | None:
        """Return a cheaper method of the same kind, for fits to parts of the stars."""
        ...


def check_counts(method: object, **counts: int) -> None:
    """Raise where a method was asked for less than one of something; make its numbers plain."""
    plain_fields(method)
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{type(method).__name__} has {name} = {count}; it must be at least 1")


def warm_starts(
    target: Target, key: jax.Array, *, count: int, steps: int, label: str, progress: bool
) -> jax.Array:
    """Return ``count`` posterior modes (count, dim), found by full-batch Adam."""
    starts = jnp.asarray(0.5 * _numbers(key).standard_normal((count, target.dim)))
    descend = _descent(target.log_density, steps)
    with progress_bar(f"{label}: warm start", count * steps, "step", progress=progress) as bar:
        return descend(starts, target.data, lambda: bar.update(steps))


def _numbers(key: jax.Array) -> np.random.Generator:
    """Return NumPy's random numbers for a key: JAX compiles its own for each shape."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())


# Compiled once for a target's functions: refits change only its data.
@lru_cache(maxsize=PROGRAMS)
def _descent(log_density: Callable[..., jax.Array], steps: int) -> PerChain:
    adam = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps, 0.02))

    def descend(start: jax.Array, data: Any) -> jax.Array:
        def step(carry: Any, _: None) -> tuple[Any, None]:
            position, state = carry
            gradient = jax.grad(lambda p: -log_density(p, data))(position)
            update, state = adam.update(gradient, state)
            return (position + update, state), None

        (position, _), _ = jax.lax.scan(step, (start, adam.init(start)), None, length=steps)
        return position

    return PerChain(descend)


@lru_cache(maxsize=PROGRAMS)
def _over_draws(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    return compiled(lambda chain, data: jax.lax.map(lambda p: function(p, data), chain))


def over_draws(
    function: Callable[..., jax.Array], positions: jax.Array | NDArray, data: Any
) -> NDArray[np.float64]:
    """Return ``function(position, data)`` of each position (chain, draw, dim)."""
    one = _over_draws(function)
    return np.stack([np.asarray(one(chain, data)) for chain in positions])


def log_densities(target: Target, positions: jax.Array | NDArray) -> NDArray:
    """Return the log density of each position (chain, draw, dim)."""
    return over_draws(target.log_density, positions, target.data)


@dataclass(frozen=True)
class Ensemble:
    """Independent posterior modes, one draw each: fast, and a baseline.

    Lakshminarayanan, Pritzel & Blundell (2017), with the prior as the penalty.

    Parameters
    ----------
    members : int
        How many networks are trained.
    warm_steps : int
        Adam steps for each.
    """

    members: int = 8
    warm_steps: int = 1500

    def __post_init__(self) -> None:
        check_counts(self, members=self.members, warm_steps=self.warm_steps)

    def refit(self) -> Ensemble:
        """Return the same with at most four members."""
        return replace(self, members=min(4, self.members))

    def run(self, target: Target, key: jax.Array, *, label: str, progress: bool) -> Run:
        """Return one draw per member, all in one chain."""
        modes = warm_starts(
            target, key, count=self.members, steps=self.warm_steps, label=label, progress=progress
        )
        positions = modes[None]
        stats = {"log_density": log_densities(target, positions)}
        return Run(np.asarray(positions), stats, {"warm_steps": self.warm_steps})


@dataclass(frozen=True)
class SVI:
    """Mean-field Gaussian variational inference about one posterior mode.

    Kucukelbir et al. (2017). Fast; it sees one mode and is too narrow in
    function space, so it serves as a baseline.

    Parameters
    ----------
    steps : int
        Adam steps on the evidence lower bound.
    draws : int
        Draws kept from the fitted Gaussian.
    warm_steps : int
        Adam steps to the mode it starts at.
    """

    steps: int = 4000
    draws: int = 500
    warm_steps: int = 1500

    def __post_init__(self) -> None:
        check_counts(self, steps=self.steps, draws=self.draws, warm_steps=self.warm_steps)

    def refit(self) -> SVI:
        """Return the same with at most 1,000 steps and 50 draws."""
        return replace(
            self,
            steps=min(1000, self.steps),
            draws=min(50, self.draws),
            warm_steps=min(600, self.warm_steps),
        )

    def run(self, target: Target, key: jax.Array, *, label: str, progress: bool) -> Run:
        """Return draws of the fitted Gaussian as one chain."""
        start_key, fit_key, draw_key = jax.random.split(key, 3)
        options: dict[str, Any] = {"label": label, "progress": progress}
        mode = warm_starts(target, start_key, count=1, steps=self.warm_steps, **options)[0]
        mean, log_sd, bound = self._climb(target, mode, fit_key, **options)
        noise = _numbers(draw_key).standard_normal((1, self.draws, target.dim))
        positions = np.asarray(mean + np.exp(log_sd) * noise, mean.dtype)
        stats = {"log_density": log_densities(target, positions)}
        tuning = {"warm_steps": self.warm_steps, "steps": self.steps, "lower_bound": float(bound)}
        return Run(positions, stats, tuning)

    def _climb(
        self, target: Target, mode: jax.Array, key: jax.Array, *, label: str, progress: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        start, climb = _ascent(target.log_density, self.steps)
        carry, losses = start(mode), jnp.zeros(1)
        with progress_bar(f"{label}: SVI", self.steps, "step", progress=progress) as bar:
            for keys in np.array_split(jax.random.split(key, self.steps), 10):
                if len(keys):
                    carry, losses = climb(carry, keys, target.data)
                    bar.update(len(jax.block_until_ready(losses)))
        return *carry[0], -losses.mean()


@lru_cache(maxsize=PROGRAMS)
def _ascent(log_density: Callable[..., jax.Array], steps: int) -> tuple[Any, Any]:
    """Return what a climb to the highest lower bound begins with, and the program of it."""
    adam = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps, 0.02))

    def start(mode: jax.Array) -> Any:
        guide = (mode, jnp.full_like(mode, -4.0))
        return guide, adam.init(guide)

    def negative_bound(guide: Any, data: Any, key: jax.Array) -> jax.Array:
        mean, log_sd = guide
        position = mean + jnp.exp(log_sd) * jax.random.normal(key, mean.shape)
        return -log_density(position, data) - log_sd.sum()

    def climb(carry: Any, keys: jax.Array, data: Any) -> tuple[Any, jax.Array]:
        def step(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            guide, state = carry
            loss, gradient = jax.value_and_grad(negative_bound)(guide, data, key)
            update, state = adam.update(gradient, state)
            return (optax.apply_updates(guide, update), state), loss

        return jax.lax.scan(step, carry, keys)

    return start, compiled(climb)


@dataclass(frozen=True)
class NUTS:
    """The No-U-Turn sampler of NumPyro: the slow reference for the others.

    Hoffman & Gelman (2014).

    Parameters
    ----------
    chains, warmup, draws : int
        Chains, tuning steps and kept draws of each.
    target_accept : float
        Acceptance that the step size is tuned to.
    max_tree_depth : int
        Bound on the doublings of a trajectory.
    adapt_mass_matrix : bool
        Learn a diagonal metric in the warm-up. Off by default: the priors are
        standard normal already, and a short warm-up measures a bad metric.
    warm_steps : int
        Adam steps to the mode that each chain starts at.
    """

    chains: int = 4
    warmup: int = 500
    draws: int = 500
    target_accept: float = 0.8
    max_tree_depth: int = 10
    adapt_mass_matrix: bool = False
    warm_steps: int = 1500

    def __post_init__(self) -> None:
        check_counts(
            self,
            chains=self.chains,
            warmup=self.warmup,
            draws=self.draws,
            depth=self.max_tree_depth,
            warm_steps=self.warm_steps,
        )

    def refit(self) -> None:
        """Return nothing: the reference stays as the model says."""

    def run(self, target: Target, key: jax.Array, *, label: str, progress: bool) -> Run:
        """Return the draws of all chains."""
        start_key, run_key = jax.random.split(key)
        starts = warm_starts(
            target,
            start_key,
            count=self.chains,
            steps=self.warm_steps,
            label=label,
            progress=progress,
        )
        keys = jax.random.split(run_key, self.chains)
        with progress_bar(f"{label}: NUTS", self.chains, "chain", progress=progress) as bar:
            program = _nuts_program(self, target.log_density)
            drawn = program((starts, keys), target.data, bar.update)
        positions, potential, energy, diverging, steps, step_size = drawn
        stats = {
            "log_density": -np.asarray(potential),
            "energy": np.asarray(energy),
            "diverging": np.asarray(diverging),
            "gradients": np.asarray(steps),
        }
        tuning = {
            "step_size": float(step_size.mean()),
            "steps": self.draws,
            "warmup": self.warmup,
            "divergences": int(diverging.sum()),
        }
        return Run(np.asarray(positions), stats, tuning)

    def chain(self, log_density: Callable[..., jax.Array]) -> Any:
        """Return the program that warms one chain up and draws with it."""

        def chain(start_and_key: Any, data: Any) -> Any:
            start, key = start_and_key
            kernel = NumpyroNUTS(
                potential_fn=lambda position: -log_density(position, data),
                target_accept_prob=self.target_accept,
                max_tree_depth=self.max_tree_depth,
                adapt_mass_matrix=self.adapt_mass_matrix,
            )
            state = kernel.init(key, self.warmup, start, (), {})
            advance = lambda state: kernel.sample(state, (), {})  # noqa: E731
            state = jax.lax.fori_loop(0, self.warmup, lambda _, state: advance(state), state)

            def draw(state: Any, _: None) -> Any:
                state = advance(state)
                told = state.potential_energy, state.energy, state.diverging, state.num_steps
                return state, (state.z, *told)

            state, drawn = jax.lax.scan(draw, state, None, length=self.draws)
            return *drawn, state.adapt_state.step_size

        return chain


@lru_cache(maxsize=PROGRAMS)
def _nuts_program(method: NUTS, log_density: Callable[..., jax.Array]) -> PerChain:
    return PerChain(method.chain(log_density))
