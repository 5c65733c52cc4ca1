"""Bayesian polynomials in the scaled inputs and log errors: closed forms."""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from _cost import predicting
from _rivals import DRAWS, Floats, Prediction
from sklearn.preprocessing import PolynomialFeatures

import bayestrans as bt
from bayestrans import student
from bayestrans.scale import Scaler

#: Precisions of the slopes' prior, relative to the scatter, among which the evidence chooses.
PRECISIONS = 10.0 ** np.arange(-2, 5)


def polynomial(train: bt.Pairs, test: bt.Pairs, seed: int, *, degree: int) -> Prediction:
    """Conjugate regression of the corrections on all terms up to a degree.

    Normal slopes and an inverse-Wishart scatter, so that the predictive is a
    multivariate Student-t (Minka 2000). The prior width of the slopes has the highest
    evidence. Degree 0 is A's value plus a constant.
    """
    scaler, rng = Scaler.learn(train), np.random.default_rng(seed)
    delta, held = scaler.delta(train.x, train.y), scaler.delta(test.x, test.y)
    draws, mean = np.empty((DRAWS, *test.y.shape)), np.empty(test.y.shape)
    log_density = np.zeros(len(test))
    for inputs, outputs in _together(train):
        z, at = (scaler.features(p.x, p.x_err, inputs) for p in (train, test))
        rows = train.seen[:, outputs].all(axis=1)
        design, design_at = _terms(z[rows], at, degree)
        location, scale, corr, dof = _regress(design, delta[np.ix_(rows, outputs)], design_at)
        residual = np.where(test.seen, held, np.nan)[:, outputs] - location
        arrays = map(jnp.asarray, (residual.T, scale.T, corr))
        density = student.log_density(*arrays, 0.0, student.Tails(dof))
        unit = np.where(test.seen[:, outputs], np.log(scaler.delta_scale[outputs]), 0.0)
        log_density += np.asarray(density) - unit.sum(axis=1)
        with predicting():
            noise = rng.standard_normal((DRAWS, *location.shape)) @ np.linalg.cholesky(corr).T
            noise /= np.sqrt(rng.chisquare(dof, (DRAWS, len(test), 1)) / dof)
            draws[..., outputs], mean[:, outputs] = location + scale * noise, location
    sample, centre = scaler.restore(test.x, draws), scaler.restore(test.x, mean)
    return Prediction(sample, centre, log_density=log_density)


def _together(train: bt.Pairs) -> Iterator[tuple[tuple[int, ...], list[int]]]:
    """Yield the inputs of outputs that are regressed together: those that all stars have."""
    whole = train.seen.all(axis=0)
    for block in train.spec.blocks:
        yield from (
            (block.inputs, outputs)
            for outputs in (
                [k for k in block.outputs if whole[k]],
                *([k] for k in block.outputs if not whole[k]),
            )
            if outputs
        )


def _terms(z: Floats, at: Floats, degree: int) -> tuple[Floats, Floats]:
    """Return the design matrices, each column but the first of unit spread in the training."""
    if degree == 0:
        return np.ones((len(z), 1)), np.ones((len(at), 1))
    maker = PolynomialFeatures(degree).fit(z)
    design, design_at = maker.transform(z), maker.transform(at)
    centre, spread = design[:, 1:].mean(axis=0), design[:, 1:].std(axis=0)
    for matrix in (design, design_at):
        matrix[:, 1:] = (matrix[:, 1:] - centre) / spread
    return design, design_at


def _regress(design: Floats, delta: Floats, at: Floats) -> tuple[Floats, Floats, Floats, float]:
    """Return location (N, K), scale (N, K), correlation and degrees of freedom at new rows."""
    n, k = delta.shape
    gram, cross, square = design.T @ design, design.T @ delta, delta.T @ delta
    prior_dof = k + 2.0
    best = (-np.inf,)
    for precision in PRECISIONS:
        prior = np.full(len(gram), precision)
        prior[0] = 1e-3  # the constant is free
        whole = gram + np.diag(prior)
        weights = np.linalg.solve(whole, cross)
        scatter = 1e-3 * np.eye(k) + square - cross.T @ weights
        evidence = -0.5 * (n + prior_dof) * np.linalg.slogdet(scatter)[1] - 0.5 * k * (
            np.linalg.slogdet(whole)[1] - np.log(prior).sum()
        )
        best = max(best, (evidence, precision, whole, weights, scatter), key=lambda b: b[0])
    _, _, whole, weights, scatter = best
    dof = n + prior_dof - k + 1.0
    leverage = np.einsum("nd,dn->n", at, np.linalg.solve(whole, at.T))
    spread = np.sqrt(np.diag(scatter) / dof)
    corr = scatter / dof / np.outer(spread, spread)
    return at @ weights, np.sqrt(1 + leverage)[:, None] * spread, corr, dof
