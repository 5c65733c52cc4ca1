"""Microcanonical Langevin sampling from several warm starts, in growing rounds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from blackjax.adaptation.mclmc_adaptation import (
    MCLMCAdaptationState,
    mclmc_find_L_and_step_size,
)
from blackjax.mcmc.integrators import IntegratorState
from blackjax.mcmc.mclmc import init
from numpy.typing import NDArray

from . import langevin
from .chains import PerChain
from .progress import progress_bar
from .sample import (
    PROGRAMS,
    Run,
    check_counts,
    over_draws,
    warm_starts,
)
from .step_size import corrected, error_size, variance_of
from .target import Target

#: A round is cut into this many compiled pieces, after each of which Ctrl-C is heard.
PIECES = 10
#: Momentum length in units of the posterior's root-sum-square spread (docs/design.md).
LENGTH_FACTOR = 8.0
#: While its energy error varies by more than this many times what was asked, a run goes on if it
#: may.
EXCESS = 2.0
#: What refits ask for, whose chains are short.
REFIT_VARIANCE = 1e-4
#: Fewer steps of each chain in a part of the burn-in tell nothing of the posterior's shape.
TELLING = 200
#: Steps of each chain in a part of the burn-in, at most, where the steps of a run are given.
LONGEST_BURN_IN = 4000


LogDensity = Callable[[jax.Array, Any], jax.Array]


class _Chain(NamedTuple):
    state: Any
    key: jax.Array
    length: jax.Array
    step_size: jax.Array
    inverse_mass: jax.Array


class _Drawn(NamedTuple):
    """Positions (chain, draw, dim), their log densities and the last steps' energy errors.

    And of each piece of the round the mean squared gradient (chain, piece, dim), and of all its
    steps the mean `error_size` (chain, piece).
    """

    position: Any
    log_density: Any
    energy: Any
    steepness: Any
    error_size: Any


@dataclass(frozen=True)
class MCLMC:
    """Microcanonical Langevin Monte Carlo from warm starts, pooled.

    Each chain starts at a posterior mode of its own (Adam), is burnt in, which gives all
    of them a momentum length, a diagonal mass and a step, and then runs in rounds, each
    twice as long as the one before. The last round
    is the posterior; the others were its warm-up. The rounds end when the
    chains agree **in function space**: when the rank-normalised split R-hat of
    the location and scatter at the probe stars lies below ``target_rhat`` for
    nine tenths of them.

    Robnik et al. (2023, JMLR 24, 311); Sommer et al. (2025, arXiv 2502.06335).
    The sampler is unadjusted: its bias is held down by ``energy_variance``, to
    which the step is corrected on the way.

    Parameters
    ----------
    chains : int
        Warm starts, each with a chain.
    draws : int
        Draws kept of each chain (evenly thinned).
    steps : int, optional
        Steps of each chain after a burn-in of three eighths as many, 12,000 at
        most (or ``draws`` for each eighth). By default the rounds grow until the chains
        agree.
    max_steps : int
        The longest last round.
    target_rhat : float
        Where the rounds stop.
    time_budget : float
        Seconds that may be planned for one network: no round is begun that
        would exceed them, and the first always runs. Give ``steps`` for a run
        that does not depend on the machine's speed.
    warm_steps : int
        Adam steps to each warm start.
    tune_steps : int
        Steps with which the step size is tuned, at the warm start and again
        after the burn-in.
    energy_variance : float
        Variance of the energy error per dimension that the step size is tuned to. Where
        it comes out as more than twice as much, another round follows if there is room.
    """

    chains: int = 4
    draws: int = 250
    steps: int | None = None
    max_steps: int = 32_000
    target_rhat: float = 1.05
    time_budget: float = 600.0
    warm_steps: int = 1500
    tune_steps: int = 400
    energy_variance: float = 1e-5

    def __post_init__(self) -> None:
        counts = {"chains": self.chains, "draws": self.draws}
        check_counts(self, **counts, warm_steps=self.warm_steps, tune_steps=self.tune_steps)
        if self.steps is not None and self.steps < self.draws:
            raise ValueError(
                f"MCLMC has steps = {self.steps} < draws = {self.draws}; ask for more steps"
            )
        if self.draws < 4 or self.max_steps < self.draws:
            raise ValueError("MCLMC needs at least 4 draws a chain and max_steps of at least draws")
        if not self.energy_variance > 0:
            raise ValueError(f"energy_variance is {self.energy_variance}; give a positive number")

    def refit(self) -> MCLMC:
        """Return two short chains of fixed length.

        So few steps gain more from being long than the bias of long ones costs.
        """
        draws = min(25, self.draws)
        return replace(
            self,
            chains=min(2, self.chains),
            draws=draws,
            steps=max(draws, min(600, self.steps or self.max_steps)),
            warm_steps=min(600, self.warm_steps),
            tune_steps=min(150, self.tune_steps),
            energy_variance=max(REFIT_VARIANCE, self.energy_variance),
        )

    def run(self, target: Target, key: jax.Array, *, label: str, progress: bool) -> Run:
        """Return the draws of the last round."""
        options: dict[str, Any] = {"label": label, "progress": progress}
        start_key, run_key = jax.random.split(key)
        begun = time.perf_counter()
        starts = warm_starts(target, start_key, count=self.chains, steps=self.warm_steps, **options)
        settle, piece = _programs(self, target.log_density)
        burn_in, *thins = self._rounds()
        chains = _at_rest(starts, run_key)
        chains = self._burnt_in(settle, piece, target, chains, burn_in, **options)
        for number, thin in enumerate(thins, start=1):
            round_begun = time.perf_counter()
            chains, drawn = self._round(piece, target, chains, thin, number, **options)
            last = number == len(thins)
            # Rounds of a given number of steps do not ask whether the chains agree.
            rhat = function_rhat(target, drawn.position) if last or not self.steps else math.inf
            variance = variance_of(drawn.error_size)
            now = time.perf_counter()
            planned = now - begun + 2.0 * (now - round_begun)
            ended = self._ended(rhat, variance / self.energy_variance, last, planned)
            if ended:
                break
        stats = {"log_density": drawn.log_density, "energy_error": drawn.energy}
        tuning = {
            "step_size": float(chains.step_size[0]),
            "length": float(chains.length[0]),
            "steps": thin * self.draws,
            "rhat_90": rhat,
            "energy_variance": variance,
            "ended": ended,
            "warm_steps": self.warm_steps,
        }
        return Run(drawn.position, stats, tuning)

    def _burnt_in(
        self,
        settle: PerChain,
        piece: PerChain,
        target: Target,
        chains: _Chain,
        thin: int,
        **options: Any,
    ) -> _Chain:
        """Return chains whose momentum length, mass and step fit where the burn-in brought them.

        The mass is learned from a second part, before which all parameters have the same:
        chains far from the others move slowly in the mass of where they are.
        """
        root = math.sqrt(target.dim)
        chains = _tuned(settle, chains, target, root, 0.25 * root)
        for part in range(2 if thin * self.draws >= TELLING else 1):
            chains, drawn = self._round(piece, target, chains, thin, 0, **options)
            if part:
                chains = _preconditioned(chains, drawn)
            spread = drawn.position.reshape(-1, target.dim).var(axis=0)
            spread = math.sqrt(float(np.sum(spread / chains.inverse_mass[0])))
            step = float(chains.step_size[0])
            chains = _tuned(settle, chains, target, LENGTH_FACTOR * spread, step)
        return chains

    def _rounds(self) -> list[int]:
        """Return the thinning of the burn-in and of each round after it."""
        if self.steps is not None:
            last = self.steps // self.draws
            eighth = max(1, min(last // 8, LONGEST_BURN_IN // self.draws))
            return [eighth, eighth, last]
        first = max(1, 1000 // self.draws)
        rounds = [first, 2 * first]
        while 2 * rounds[-1] * self.draws <= self.max_steps:
            rounds.append(2 * rounds[-1])
        return rounds

    def _ended(self, rhat: float, excess: float, last: bool, planned: float) -> str:
        if self.steps is not None:
            return "steps" if last else ""
        over = planned > self.time_budget
        # A step that is too long is worth another round where there is room for one.
        if rhat <= self.target_rhat and (excess <= EXCESS or last or over):
            return "converged"
        if last:
            return "max_steps"
        return "time_budget" if over else ""

    def settle(self, log_density: LogDensity) -> Any:
        """Return the program that gives a chain momentum and a step size."""

        def settle(chain: _Chain, data: Any) -> _Chain:
            init_key, tune_key, run_key = jax.random.split(chain.key, 3)
            density = lambda p: log_density(p, data)  # noqa: E731
            state, tuned, _ = mclmc_find_L_and_step_size(
                mclmc_kernel=langevin.step,
                num_steps=self.tune_steps,
                state=init(chain.state.position, density, init_key),
                rng_key=tune_key,
                logdensity_fn=density,
                frac_tune1=1.0,
                frac_tune2=0.0,
                frac_tune3=0.0,
                desired_energy_var=self.energy_variance,
                diagonal_preconditioning=False,
                params=MCLMCAdaptationState(chain.length, chain.step_size, chain.inverse_mass),
            )
            return chain._replace(state=state, key=run_key, step_size=tuned.step_size)

        return settle

    def piece(self, log_density: LogDensity) -> Any:
        """Return the program that advances a chain by a tenth of its draws."""
        count = math.ceil(self.draws / PIECES)

        def piece(chain_and_thin: Any, data: Any) -> Any:
            chain, thin = chain_and_thin
            density = lambda p: log_density(p, data)  # noqa: E731
            dim = len(chain.inverse_mass)

            def step(_: Any, carry: Any) -> Any:
                state, key, _, size = carry
                key, step_key = jax.random.split(key)
                state, info = langevin.step(
                    step_key, state, density, chain.inverse_mass, chain.length, chain.step_size
                )
                size = size + error_size(info.energy_change, info.nonans, dim)
                return state, key, info.energy_change, size

            def draw(carry: Any, _: None) -> Any:
                state, key, steepness, size = carry
                nothing = jnp.zeros_like(size)
                state, key, energy, more = jax.lax.fori_loop(
                    0, thin, step, (state, key, nothing, nothing)
                )
                steepness = steepness + state.logdensity_grad**2 / count
                carry = state, key, steepness, size + more / (thin * count)
                return carry, (state.position, state.logdensity, energy)

            nothing = jnp.zeros_like(chain.state.logdensity)
            start = (chain.state, chain.key, jnp.zeros_like(chain.state.position), nothing)
            (state, key, *means), kept = jax.lax.scan(draw, start, None, length=count)
            means = [mean[None] for mean in means]
            return chain._replace(state=state, key=key), _Drawn(*kept, *means)

        return piece

    def _round(
        self,
        piece: PerChain,
        target: Target,
        chains: _Chain,
        thin: int,
        number: int,
        *,
        label: str,
        progress: bool,
    ) -> tuple[_Chain, _Drawn]:
        name = f"{label}: {'burn-in' if number == 0 else f'round {number}'}"
        count = math.ceil(self.draws / PIECES)
        n_pieces = math.ceil(self.draws / count)
        total = n_pieces * count * thin * self.chains
        pieces = []
        with progress_bar(name, total, "step", progress=progress) as bar:
            for i in range(n_pieces):
                thins = jnp.full(self.chains, thin)
                chains, drawn = piece(
                    (chains, thins), target.data, lambda: bar.update(count * thin)
                )
                pieces.append(drawn)
                chains = self._corrected(chains, drawn, number, i)
        parts = zip(*pieces, strict=True)
        whole = (np.concatenate(part, axis=1)[:, -self.draws :] for part in parts)
        return chains, _Drawn(*whole)

    def _corrected(self, chains: _Chain, drawn: _Drawn, number: int, piece: int) -> _Chain:
        """Return chains with the step that the energy errors of a round's piece ask for."""
        excess = variance_of(drawn.error_size) / self.energy_variance
        since_tuned = piece + PIECES * max(0, number - 1)
        step = corrected(float(chains.step_size[0]), excess, since_tuned)
        return chains._replace(step_size=jnp.full_like(chains.step_size, step))


@lru_cache(maxsize=PROGRAMS)
def _programs(method: MCLMC, log_density: LogDensity) -> tuple[PerChain, PerChain]:
    return PerChain(method.settle(log_density)), PerChain(method.piece(log_density))


def _at_rest(starts: jax.Array, key: jax.Array) -> _Chain:
    """Return chains at the warm starts, to be given momentum, length and step by tuning."""
    count = len(starts)
    nothing = jnp.zeros(count, starts.dtype)
    state = IntegratorState(starts, jnp.zeros_like(starts), nothing, jnp.zeros_like(starts))
    return _Chain(state, jax.random.split(key, count), nothing, nothing, jnp.ones_like(starts))


def _tuned(
    settle: PerChain, chains: _Chain, target: Target, length: float, step_size: float
) -> _Chain:
    """Tune the step size where the chains are, and give all of them the median.

    One chain's tuning is noisy, and a chain in a bad place must not crawl.
    """
    dtype = chains.step_size.dtype
    count = len(chains.key)
    chains = chains._replace(
        length=jnp.full(count, length, dtype), step_size=jnp.full(count, step_size, dtype)
    )
    chains = settle(chains, target.data)
    return chains._replace(step_size=jnp.full(count, jnp.median(chains.step_size), dtype))


def _preconditioned(chains: _Chain, drawn: _Drawn) -> _Chain:
    """Return chains with a diagonal mass: the variances over the mean squared gradients, rooted.

    That is the diagonal of the smallest Fisher divergence (Seyboldt, Carlson & Carpenter 2026,
    arXiv 2603.18845). It is scaled so that the steepness of the density, and with it the step,
    stays what it was.
    """
    steepness = np.median(drawn.steepness.mean(axis=1), axis=0)
    variance = np.median(drawn.position.var(axis=1), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.sqrt(variance / steepness)
    good = np.isfinite(scale) & (scale > 0)
    if not good.all():  # chains that do not move
        return chains
    inverse_mass = np.asarray(chains.inverse_mass)
    inverse_mass = scale * (steepness @ inverse_mass.T)[:, None] / (steepness @ scale)
    return chains._replace(inverse_mass=jnp.asarray(inverse_mass, chains.inverse_mass.dtype))


def function_rhat(target: Target, positions: NDArray) -> float:
    """Return the 90th percentile over probes of the split R-hat in function space.

    NaN where there are no probes.
    """
    if not target.probed[0].shape[-1]:
        return math.nan
    values = over_draws(target.probe, positions, target.probed)
    values = values.reshape(*values.shape[:2], -1)
    with np.errstate(invalid="ignore", divide="ignore"):  # chains that do not move
        rhats = array_stats.rhat(values, chain_axis=0, draw_axis=1)
        return float(np.percentile(rhats, 90))
