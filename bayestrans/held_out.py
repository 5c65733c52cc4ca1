"""Held-out stars: how well a calibration serves them, and what they teach it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from . import student
from .calibration import N_PARAMETERS, stretch_and_doubt, stretched
from .programs import compiled, round_up

Floats = NDArray[np.float64]

#: Prior standard deviation of level and slope: with few stars the map stays the identity.
PRIOR = 0.1
#: That of the slope which the outputs of a network have in common, each its own about it: where
#: stars become rare, they do so for all outputs, and one tells it too faintly.
COMMON_PRIOR = 0.1
#: Rate of the exponential prior of growth.
RATE = 1.0
#: Between which values level, slope and growth are sought.
LOWEST, HIGHEST = (-1.0, -1.0, 0.0), (1.0, 1.0, 100.0)
#: The search begins with the best of these growths, or with that it is given: there can be
#: several maxima, which differ in it most.
GROWTHS = (0.0, 0.01, 0.1, 1.0)
#: Where the search ends: how little a step gains, of the mean, and how steep it is there.
ENDS: Any = {"ftol": 1e-8, "gtol": 1e-6}
#: And where it only judges some stars by the others: what is left then is little beside what
#: those stars do not tell, and half of the steps do.
ENDS_SOON: Any = {"ftol": 1e-6, "gtol": 1e-4}


class HeldOut(NamedTuple):
    """Held-out stars of one output under refits that did not see them.

    Attributes
    ----------
    location, scale, noise : (S, n) array
        One law for each draw; ``noise`` is B's quoted error times its factor.
    dof, odds, width : (S, n) array
        Of its `Tails`.
    delta : (n,) array
        What B measured.
        All in units of the scaled corrections.
    score : (n,) array
        Support scores with respect to all other stars.
    row : (n,) array
        Where the stars stand among the training stars.
    """

    location: Any
    scale: Any
    noise: Any
    dof: Any
    odds: Any
    width: Any
    delta: Any
    score: Any
    row: Any

    @property
    def tails(self) -> student.Tails:
        """How the scatter falls off."""
        return student.Tails(self.dof, self.odds, self.width)

    def take(self, rows: NDArray) -> HeldOut:
        """Return some of the stars."""
        return HeldOut(*(part[..., rows] for part in self))


class Judges(NamedTuple):
    """Held-out stars of one output from which its parameters are learned.

    Attributes
    ----------
    stars : HeldOut
    weight : (n,) array, optional
        Of each star; one by default. Stars are left out by a weight of zero, so
        that one program serves all subsets.
    prior : float
        Standard deviation of their level and slope.
    """

    stars: HeldOut
    weight: Any = None
    prior: float = PRIOR


def learn(
    *outputs: Sequence[Judges],
    start: Floats | None = None,
    common_prior: float = COMMON_PRIOR,
    ends: Any = ENDS,
) -> Floats:
    """Return the parameters (K, J, 3) of a network's outputs, each by several sets of stars.

    Each set of an output has a level and a slope; the growth is common to its sets. The slopes
    of the last sets lie about one that is common to all outputs, whose prior standard deviation
    is ``common_prior`` (zero: there is none). What is returned is the
    maximum of the weighted log density of all stars plus the log prior. ``start``, what was
    learned of nearly the same stars, saves steps of the search, and rougher ``ends`` more.
    """
    # The first step of a line search is as long as the gradient: hence the mean.
    every = [tuple(_weighted(one) for one in judges) for judges in outputs]
    count = max(1.0, sum(float(one.weight.sum()) for judges in every for one in judges))

    def objective(parameters: Floats) -> tuple[float, Floats]:
        common, own = parameters[0], parameters[1:].reshape(len(every), -1)
        with jax.enable_x64(True):
            found = [
                _objective(np.append(common, place), judges)
                for place, judges in zip(own, every, strict=True)
            ]
        precision = common_prior**-2 if common_prior else 0.0
        value = 0.5 * precision * common**2 + sum(float(value) for value, _ in found)
        gradients = np.array([gradient for _, gradient in found])
        of_common = precision * common + gradients[:, 0].sum()
        return value / count, np.append(of_common, gradients[:, 1:]) / count

    shape = (len(every), len(every[0]), N_PARAMETERS)
    low, high = (_flat(np.full(shape, ends)) for ends in (LOWEST, HIGHEST))
    usual = np.zeros(shape) if start is None else start
    begun = np.array([_begin(*about) for about in zip(every, usual, strict=True)])
    flat = _flat(begun)
    if not common_prior:
        low[0] = flat[0] = high[0] = 0.0
    best = optimize.minimize(
        objective,
        flat,
        jac=True,
        method="L-BFGS-B",
        bounds=optimize.Bounds(low, high),
        options=ends,
    ).x[1:]
    of_outputs = best.reshape(len(every), -1)
    local = of_outputs[:, :-1].reshape(*shape[:2], 2)
    growth = np.repeat(of_outputs[:, -1:], shape[1], axis=1)
    return np.concatenate([local, growth[:, :, None]], axis=2)


def _begin(judges: tuple[Judges, ...], about: Floats) -> Floats:
    """Return one output's parameters (J, 3) with the best growth: its own or a usual one."""
    growths = (about[-1, 2], *GROWTHS)
    common_and_local = np.append(about[-1, 1], about[:, :2])
    with jax.enable_x64(True):
        values = [_objective(np.append(common_and_local, g), judges)[0] for g in growths]
    begun = about.copy()
    begun[:, 2] = growths[int(np.argmin(values))]
    return begun


def _flat(parameters: Floats) -> Floats:
    """Return the common slope, then of each output its levels and slopes and the growth."""
    local = parameters[:, :, :2].reshape(len(parameters), -1)
    common = parameters[:, -1, 1].mean()
    return np.append(common, np.column_stack([local, parameters[:, -1, 2]]))


def _weighted(judges: Judges) -> Judges:
    stars = _filled_up(judges.stars)
    count = len(judges.stars.delta)
    weight = np.ones(count) if judges.weight is None else judges.weight
    return Judges(stars, np.append(weight, np.zeros(len(stars.delta) - count)), judges.prior)


def compare(
    parameters: Floats, stars: HeldOut, rows: NDArray | None = None
) -> tuple[Floats, Floats]:
    """Return log density and PIT (n,) of held-out stars under one output's parameters.

    With ``rows`` of those stars only.
    """
    rows = np.arange(len(stars.delta)) if rows is None else np.flatnonzero(rows)
    density, t = (
        np.asarray(part)[..., rows] for part in _compare(jnp.asarray(parameters), _filled_up(stars))
    )
    pit = student.cumulative(t, stars.take(rows).tails).mean(axis=0)
    return density.astype(np.float64), pit


def _filled_up(stars: HeldOut) -> HeldOut:
    """Return so many stars that others are as many, the last one again and again.

    What is compiled for them serves others then.
    """
    count = len(stars.delta)
    return stars.take(np.minimum(np.arange(round_up(count)), count - 1))


def _standardised(parameters: jax.Array, stars: HeldOut) -> tuple[jax.Array, jax.Array]:
    """Return each draw's residual over its scale, and the scale."""
    change = stretch_and_doubt(parameters, stars.score, jnp)
    location, factor = stretched(stars.location, *change)
    total = jnp.sqrt((factor * stars.scale) ** 2 + stars.noise**2)
    return (stars.delta - location) / total, total


def _log_density(parameters: jax.Array, stars: HeldOut) -> jax.Array:
    t, total = _standardised(parameters, stars)
    density = student.log_kernel(t**2, 1, stars.tails, 1) - jnp.log(total)
    return jax.scipy.special.logsumexp(density, axis=0) - jnp.log(len(density))


@compiled
@jax.value_and_grad
def _objective(parameters: jax.Array, judges: tuple[Judges, ...]) -> jax.Array:
    """Return one output's part: of the common slope, level and slope by each set, and growth."""
    common, growth = parameters[0], parameters[-1]
    total = RATE * growth
    last = len(judges) - 1
    for number, (local, one) in enumerate(
        zip(parameters[1:-1].reshape(-1, 2), judges, strict=True)
    ):
        about = local - jnp.array([0.0, common]) * (number == last)
        # In single precision sums over thousands of stars are too rough for a line search, and
        # in double each star takes several times as long.
        of_stars = jnp.append(local, growth)[:, None] * jnp.ones_like(one.weight)
        single = of_stars.astype(one.stars.location.dtype)
        density = _log_density(single, one.stars).astype(total.dtype)
        total += 0.5 * jnp.sum((about / one.prior) ** 2) - (one.weight * density).sum()
    return total


@compiled
def _compare(parameters: jax.Array, stars: HeldOut) -> tuple[jax.Array, jax.Array]:
    return _log_density(parameters, stars), _standardised(parameters, stars)[0]
