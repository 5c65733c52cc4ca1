"""Boosted trees that give a Gaussian for each star: CatBoost and NGBoost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from _cost import predicting
from _rivals import DRAWS, Floats, Prediction, normal_log_density
from catboost import CatBoostRegressor
from ngboost import NGBRegressor
from sklearn.model_selection import train_test_split

import bayestrans as bt
from bayestrans.scale import Scaler

#: Share of the training stars on which the number of trees is chosen.
VALIDATION = 0.15

#: The most trees, and how many without a gain end the boosting.
TREES, PATIENCE = 2000, 100

Fit = Callable[[Floats, Floats, Floats, int], tuple[Floats, Floats]]


def catboost(train: bt.Pairs, test: bt.Pairs, seed: int) -> Prediction:
    """CatBoost with its data uncertainty and that of up to ten virtual ensembles.

    Prokhorenkova et al. (2018); Malinin, Prokhorenkova & Ustimenko (2021).
    """
    return _each_output(_catboost, train, test, seed)


def ngboost(train: bt.Pairs, test: bt.Pairs, seed: int) -> Prediction:
    """NGBoost with a normal distribution (Duan et al. 2020)."""
    return _each_output(_ngboost, train, test, seed)


def _each_output(fit: Fit, train: bt.Pairs, test: bt.Pairs, seed: int) -> Prediction:
    """Fit each scaled correction by itself: trees have one output."""
    scaler = Scaler.learn(train)
    delta = scaler.delta(train.x, train.y)
    mean, sd = np.empty(test.y.shape), np.empty(test.y.shape)
    for block in train.spec.blocks:
        z, at = (scaler.features(p.x, p.x_err, block.inputs) for p in (train, test))
        for k in block.outputs:
            seen = train.seen[:, k]
            mean[:, k], sd[:, k] = fit(z[seen], delta[seen, k], at, seed)
    mean, sd = scaler.restore(test.x, mean), scaler.delta_scale * sd
    with predicting():
        sample = mean + sd * np.random.default_rng(seed).standard_normal((DRAWS, *mean.shape))
    return Prediction(sample, mean, log_density=normal_log_density(test, mean, sd))


def _catboost(z: Floats, target: Floats, at: Floats, seed: int) -> tuple[Floats, Floats]:
    fit_z, held_z, fit_y, held_y = train_test_split(
        z, target, test_size=VALIDATION, random_state=seed
    )
    model = CatBoostRegressor(
        loss_function="RMSEWithUncertainty",
        iterations=TREES,
        random_seed=seed,
        verbose=False,
        allow_writing_files=False,
    )
    model.fit(fit_z, fit_y, eval_set=(held_z, held_y), early_stopping_rounds=PATIENCE)
    ensembles = min(10, model.tree_count_ // 4)
    with predicting():
        if ensembles < 2:  # too few trees were worth having
            mean, data = model.predict(at).T
            return mean, np.sqrt(data)
        mean, knowledge, data = model.virtual_ensembles_predict(
            at, prediction_type="TotalUncertainty", virtual_ensembles_count=ensembles
        ).T
        return mean, np.sqrt(knowledge + data)


def _ngboost(z: Floats, target: Floats, at: Floats, seed: int) -> tuple[Floats, Floats]:
    fit_z, held_z, fit_y, held_y = train_test_split(
        z, target, test_size=VALIDATION, random_state=seed
    )
    model = NGBRegressor(n_estimators=TREES, random_state=seed, verbose=False)
    model.fit(fit_z, fit_y, X_val=held_z, Y_val=held_y, early_stopping_rounds=PATIENCE)
    with predicting():
        found = model.pred_dist(at, max_iter=model.best_val_loss_itr)
    return found.loc, found.scale
