"""The closed form of Shapley effects of a linear map of normal inputs."""

from __future__ import annotations

import itertools
import math

import numpy as np

CORRELATION = np.array(
    [[1.0, 0.7, -0.3, 0.0], [0.7, 1.0, 0.2, 0.0], [-0.3, 0.2, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)


def closed_form(slope: np.ndarray, covariance: np.ndarray, players: list[list[int]]) -> np.ndarray:
    """Return the Shapley effects of a linear map of normal inputs, by all orders of players."""

    def explained(coalition: tuple[int, ...]) -> float:
        seen = [j for p in coalition for j in players[p]]
        if not seen:
            return 0.0
        cross = slope @ covariance[:, seen]
        return float(cross @ np.linalg.solve(covariance[np.ix_(seen, seen)], cross))

    found = np.zeros(len(players))
    for order in itertools.permutations(range(len(players))):
        for place, player in enumerate(order):
            found[player] += explained(order[: place + 1]) - explained(order[:place])
    return found / math.factorial(len(players))
