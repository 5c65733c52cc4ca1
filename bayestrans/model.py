"""The NumPyro model of the scaled corrections.

A ridge-linear map plus a network gives the mean, the network's second head the
logarithm of the scatter, and the corrections follow a multivariate Student-t
with outliers about it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpy.typing import NDArray
from scipy import stats

from . import student
from .correlations import LKJ, cholesky, drawn
from .network import Network

Draw = Mapping[str, jax.Array]

#: Prior standard deviation of the factor of B's quoted errors: below one, where it is cut, and of
#: its logarithm where it is free.
BELOW_ONE_SD, FREE_SD = 0.2, 0.3
#: Priors of outliers: the mean of their odds, which are exponential, as at odds beyond one the
#: outliers would be the usual stars; and the median, and standard deviation of the logarithm, of
#: the excess of their width over one.
ODDS, WIDTH = 0.02, (4.0, 0.5)
#: The site of the correlations' unknowns: inverse hyperbolic tangents of partial correlations.
PARTIAL = "corr_arctanh"
#: What may be assumed of the factor of B's quoted errors.
ERROR_FACTORS = ("one", "below one", "free")


@dataclass(frozen=True)
class Noise:
    """What is known of the scatter about the mean.

    Parameters
    ----------
    scatter : tuple of float, optional
        Intrinsic scatter of each output, in its unit, if it is known, and
        survey B's quoted errors with it. By default the scatter is learned as a
        function of the inputs.
    dof : float, optional
        Degrees of freedom of the Student-t; by default learned above 2.
        ``math.inf`` gives Gaussian noise.
    correlated : bool
        Learn the correlations between the outputs of one network.
    error_factor : {"below one", "one", "free"}, optional
        What B's quoted errors are to be multiplied by: a factor of each output of at most one,
        learned beside the scatter (the default), which serves a survey B that quotes them too
        large; nothing (the default where the scatter is known); or any factor, which takes for
        errors of B what is Gaussian in the scatter, or goes with B's errors, and B's true values
        are then told too narrowly.
    outliers : bool, optional
        Learn what share of the stars are outliers, and how many times wider their scatter is;
        by default where the degrees of freedom are learned.

    Raises
    ------
    ValueError
        For a scatter that is not positive, degrees of freedom below 2, or a factor of errors
        beside a known scatter.
    """

    scatter: tuple[float, ...] | None = None
    dof: float | None = None
    correlated: bool = True
    error_factor: str | None = None
    outliers: bool | None = None

    def __post_init__(self) -> None:
        if self.outliers is None:
            object.__setattr__(self, "outliers", self.dof is None)
        if self.error_factor is None:
            object.__setattr__(self, "error_factor", "below one" if self.scatter is None else "one")
        if self.error_factor not in ERROR_FACTORS:
            known = ", ".join(map(repr, ERROR_FACTORS))
            raise ValueError(
                f"error_factor {self.error_factor!r} is unknown; choose one of {known}"
            )
        if self.error_factor != "one" and self.scatter is not None:
            raise ValueError("error_factor is learned beside a scatter that is; leave one out")
        if self.scatter is not None:
            object.__setattr__(self, "scatter", tuple(float(s) for s in self.scatter))
            if not all(s > 0 and math.isfinite(s) for s in self.scatter):
                raise ValueError(f"scatter is {self.scatter}; each must be positive and finite")
        if self.dof is not None and not self.dof > 2:
            raise ValueError(f"dof is {self.dof}; it must exceed 2 for the variance to exist")


class Data(NamedTuple):
    """Scaled training stars of one block; they run along the last axis.

    First come the complete stars, then M completions of each of the G with gaps: N
    rows in all.

    Attributes
    ----------
    z : (F, N) array
        Features.
    delta : (K, N) array
        Scaled corrections; NaN where missing.
    err : (K, N) array
        Scaled quoted errors of the outputs; 0 where there are none.
    scatter : (K,) array
        The known scatter in scaled units; used only if it is fixed.
    log_weight : (N,) array
        What is added to the log density of a completion before the mean is taken.
    star : (N,) array of int
        The star that a row is, or completes.
    copies : (G, M) array of int
        Rows of the completions of each star with gaps, which are the last ones.
    """

    z: jax.Array
    delta: jax.Array
    err: jax.Array
    scatter: jax.Array
    log_weight: jax.Array
    star: jax.Array
    copies: jax.Array


class Kinds(NamedTuple):
    """What is known of Q kinds of stars, by what they lack, where the last Q features mark them.

    Attributes
    ----------
    lacks : tuple (Q, J) of bool
        Which of the other features, of which there are J, the stars of a kind lack.
    start : tuple (K, J) of float
        By what the value that an output corrects changes, in units of the scaled
        corrections, where a feature changes by one.
    """

    lacks: tuple[tuple[bool, ...], ...]
    start: tuple[tuple[float, ...], ...]


class Shape(NamedTuple):
    """What must be known before the model can be compiled.

    Attributes
    ----------
    network : Network
    n_outputs : int
        Outputs K of this block.
    fixed_scatter : bool
        The scatter is given rather than learned.
    dof : float or None
        The given degrees of freedom.
    correlated : bool
        The outputs' correlations are learned.
    error_factor : str
        What is assumed of the factor of B's quoted errors.
    kinds : Kinds or None
        If the stars fall into kinds by what they lack.
    outliers : bool
        The share of outliers and their width are learned.
    """

    network: Network
    n_outputs: int
    fixed_scatter: bool
    dof: float | None
    correlated: bool
    error_factor: str = "one"
    kinds: Kinds | None = None
    outliers: bool = False

    @classmethod
    def of(
        cls, network: Network, noise: Noise, n_outputs: int, kinds: Kinds | None = None
    ) -> Shape:
        """Return the shape of a block with ``n_outputs`` outputs."""
        correlated = noise.correlated and n_outputs > 1
        known = noise.scatter is not None
        factor, outliers = noise.error_factor, noise.outliers
        assert factor is not None  # what is left open is decided when it is made
        assert outliers is not None
        return cls(network, n_outputs, known, noise.dof, correlated, factor, kinds, outliers)


def model(data: Data, shape: Shape) -> None:
    """Draw all unknowns from the prior and observe the corrections (a NumPyro model)."""
    draw = prior(shape, len(data.z))
    location, scale = location_and_scale(draw, data.z, data.scatter, shape)
    corr, tails = correlation(draw, shape), tails_of(draw, shape)
    err = error_factor(draw, shape)[:, None] * data.err
    log_density = student.log_density(data.delta - location, scale, corr, err, tails)
    numpyro.factor("stars", per_star(log_density, data).sum())


def per_star(log_density: jax.Array, data: Data) -> jax.Array:
    """Return log densities of stars from those of rows (N,).

    What a star with gaps is worth is the weighted mean density of its completions:
    an integral over what is missing.
    """
    stars, count = data.copies.shape
    if not stars:
        return log_density
    log_density = log_density + data.log_weight
    once, copies = jnp.split(log_density, [len(log_density) - stars * count])
    mean = jax.scipy.special.logsumexp(copies.reshape(stars, count), axis=1) - math.log(count)
    return jnp.concatenate([once, mean])


def prior(shape: Shape, n_features: int) -> dict[str, jax.Array]:
    """Draw all unknowns from the prior (a NumPyro model); return what the model is made of."""
    k = shape.n_outputs
    heads = k if shape.fixed_scatter else 2 * k
    draw = {
        "intercept": _normal("intercept", (k,)),
        "slope": _normal("slope", (k, n_features)),
    }
    weights = shape.network.shapes(n_features, heads)
    draw |= {name: _normal(name, size) for name, size in weights.items()}
    if weights:
        draw["amplitude"] = _sample("amplitude", dist.HalfNormal(1.0).expand([k]))
    if not shape.fixed_scatter:
        draw["log_scatter"] = _normal("log_scatter", (k,))
        if weights:
            draw["scatter_amplitude"] = _sample(
                "scatter_amplitude", dist.HalfNormal(1.0).expand([k])
            )
    if shape.error_factor == "free":
        factor = dist.LogNormal(0.0, FREE_SD).expand([k])
        draw["error_factor"] = _sample("error_factor", factor)
    elif shape.error_factor == "below one":
        cut = dist.TruncatedNormal(1.0, BELOW_ONE_SD, low=0.0, high=1.0).expand([k])
        draw["error_factor"] = _sample("error_factor", cut)
    if shape.kinds:
        draw["kind_log_unit"] = _normal("kind_log_unit", (k, len(shape.kinds.lacks)))
    if shape.correlated:
        draw["corr_cholesky"] = cholesky(jnp.tanh(_sample(PARTIAL, LKJ(k, 2.0))), k, jnp)
    if shape.dof is None:
        draw["dof_above_2"] = _sample("dof_above_2", dist.Gamma(2.0, 0.1))
    if shape.outliers:
        draw["outlier_odds"] = _sample("outlier_odds", dist.Gamma(1.0, 1.0 / ODDS))
        wider = dist.LogNormal(math.log(WIDTH[0]), WIDTH[1])
        draw["outlier_width_above_1"] = _sample("outlier_width_above_1", wider)
    return draw


def _sample(name: str, prior: dist.Distribution) -> jax.Array:
    value = numpyro.sample(name, prior)
    assert isinstance(value, jax.Array)
    return value


def _normal(name: str, shape: tuple[int, ...]) -> jax.Array:
    return _sample(name, dist.Normal(0.0, 1.0).expand(list(shape)).to_event(len(shape)))


def location_and_scale(
    draw: Draw, z: jax.Array, scatter: jax.Array, shape: Shape
) -> tuple[jax.Array, jax.Array]:
    """Return location and intrinsic scale (K, N) of the scaled corrections for one draw."""
    unit = jnp.ones(())
    if shape.kinds:
        marks = (z[-len(shape.kinds.lacks) :] > 0.0).astype(z.dtype)
        unit = jnp.exp(draw["kind_log_unit"] @ marks)
        z, guessed = _without_guesses(z, marks, shape)
    location = draw["intercept"][:, None] + draw["slope"] @ z
    hidden = shape.network(draw, z) if shape.network.hidden else None
    if hidden is not None:
        location = location + draw["amplitude"][:, None] * hidden[: shape.n_outputs]
        # Slopes that kinds have in common a network can make up for, a line cannot.
        location = unit * location
    if shape.kinds:
        location = location - guessed
    if shape.fixed_scatter:
        return location, jnp.broadcast_to(scatter[:, None], location.shape)
    log_scale = jnp.broadcast_to(draw["log_scatter"][:, None], location.shape)
    if hidden is not None:
        log_scale = log_scale + draw["scatter_amplitude"][:, None] * hidden[shape.n_outputs :]
    return location, unit * jnp.exp(log_scale)


def _without_guesses(z: jax.Array, marks: jax.Array, shape: Shape) -> tuple[jax.Array, jax.Array]:
    """Return features without what each star's kind lacks, and what outputs owe to that (K, N).

    In the place of a lacking value stands a guess from the other features, from which an
    output that corrects it would start. It is to start from a constant: the network learns
    from stars of the kind what the other features say, and the guess would stand in its way.
    """
    assert shape.kinds is not None
    if not shape.network.hidden:  # a line could not learn it for one kind alone
        return z, jnp.zeros(())
    lacking = jnp.asarray(shape.kinds.lacks, z.dtype).T @ marks
    guesses = lacking * z[: len(lacking)]
    return z.at[: len(lacking)].add(-guesses), jnp.asarray(shape.kinds.start, z.dtype) @ guesses


def correlation(draw: Draw, shape: Shape) -> jax.Array:
    """Return the correlation matrix (K, K) of the scatter for one draw."""
    if not shape.correlated:
        return jnp.eye(shape.n_outputs)
    cholesky = draw["corr_cholesky"]
    return cholesky @ cholesky.T


def error_factor(draw: Draw, shape: Shape) -> jax.Array:
    """Return what B's quoted errors (K,) are to be multiplied by, for one draw."""
    return jnp.ones(shape.n_outputs) if shape.error_factor == "one" else draw["error_factor"]


def tails_of(draw: Mapping[str, Any], shape: Shape) -> student.Tails:
    """Return how the scatter falls off for one draw, or for each of many."""
    dof = draw["dof_above_2"] + 2.0 if shape.dof is None else shape.dof
    if not shape.outliers:
        return student.Tails(dof)
    return student.Tails(dof, draw["outlier_odds"], draw["outlier_width_above_1"] + 1.0)


def prior_draws(
    shape: Shape, n_features: int, count: int, rng: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """Return ``count`` draws of every unknown from the prior, stacked along the first axis."""
    laws: dict[str, dist.Distribution] = {}

    # Nothing is drawn by JAX: to compile that for every shape takes seconds.
    def collect(site: dict[str, Any]) -> jax.Array:
        laws[site["name"]] = site["fn"]
        return jnp.zeros(site["fn"].shape())

    with numpyro.handlers.substitute(substitute_fn=collect):
        prior(shape, n_features)
    found = {name: _drawn(law, count, rng) for name, law in laws.items()}
    if shape.correlated:
        found["corr_cholesky"] = cholesky(np.tanh(found.pop(PARTIAL)), shape.n_outputs, np)
    return found


def _drawn(law: dist.Distribution, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    size, base = (count, *law.shape()), law
    while isinstance(base, dist.Independent | dist.ExpandedDistribution):
        base = base.base_dist
    match base:
        case dist.Normal():
            return rng.normal(base.loc, base.scale, size)
        case dist.HalfNormal():
            return np.abs(rng.normal(0.0, base.scale, size))
        case dist.LogNormal():
            return np.exp(rng.normal(base.loc, base.scale, size))
        case dist.TwoSidedTruncatedDistribution():
            normal = base.base_dist
            ends = [(end - normal.loc) / normal.scale for end in (base.low, base.high)]
            return stats.truncnorm.rvs(*ends, normal.loc, normal.scale, size, random_state=rng)
        case dist.Gamma():
            return rng.gamma(base.concentration, 1.0 / base.rate, size)
        case LKJ():
            return drawn(base, count, rng)
    raise TypeError(f"no draws of {base!r}")  # a prior that was added to the model, not here


def site_shapes(shape: Shape, n_features: int) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every unknown of the model."""
    with numpyro.handlers.seed(rng_seed=0):
        draw = jax.eval_shape(lambda: prior(shape, n_features))
    return {name: value.shape for name, value in draw.items()}
