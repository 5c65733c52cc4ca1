"""Gaps filled in, for methods that know none."""

from __future__ import annotations

import dataclasses

import numpy as np

import bayestrans as bt
from bayestrans.gaps import Gaps
from bayestrans.scale import Scaler


def completed(train: bt.Pairs, test: bt.Pairs) -> tuple[bt.Pairs, bt.Pairs]:
    """Return both with missing inputs and quoted errors at what the training stars expect.

    That is their conditional mean in the mixture of Gaussians that the package learns from
    the training stars; another input tells to which of the common kinds of gaps a star
    belongs. Stars without gaps come back as they are.
    """
    scaler, every = Scaler.learn(train), tuple(range(train.x.shape[1]))
    if all(np.isfinite(scaler.features(p.x, p.x_err, every)).all() for p in (train, test)):
        return train, test
    gaps = Gaps.learn(scaler, train)
    kinds = np.unique(gaps.kind(train.x, train.x_err))
    marks = tuple(bt.Input(f"gaps_{kind}", f"gaps_{kind}") for kind in kinds[1:])
    spec = dataclasses.replace(train.spec, inputs=(*train.spec.inputs, *marks))

    def filled(pairs: bt.Pairs) -> bt.Pairs:
        x, x_err = gaps.expected(pairs.x, pairs.x_err)
        kind = gaps.kind(pairs.x, pairs.x_err)[:, None] == kinds[1:]
        nothing = np.full(kind.shape, np.nan)
        columns = np.hstack([x, kind]), np.hstack([x_err, nothing]), pairs.y, pairs.y_err
        return bt.Pairs(spec, *columns, pairs.ids)

    return filled(train), filled(test)
