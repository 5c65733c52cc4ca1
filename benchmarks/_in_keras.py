"""The reference's networks in the framework that its users have: stars translated per second.

``PYTHON _in_keras.py FEATURES OUTPUTS STARS BATCH ...`` runs in an environment of its own with
TensorFlow, whose weight is not ours. Ten networks (Thomas et al. 2024) with random weights,
asked by Keras's ``predict`` for each batch size, which is 32 where none is given. Printed is
one rate per batch size, the best of three runs.
"""

import itertools
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf

WIDTHS = (64, 128, 256, 512, 256, 128, 64)
MEMBERS = 10
DROPPED_FROM = 256


class WeightNormalised(keras.layers.Layer):
    """A dense layer that normalises its weights at each call (Salimans & Kingma 2016)."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.direction = self.add_weight(shape=(shape[-1], self.units))
        self.gain = self.add_weight(shape=(self.units,), initializer="ones")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x @ (self.gain * tf.nn.l2_normalize(self.direction, axis=0)) + self.bias


def block(x: tf.Tensor, width: int) -> tf.Tensor:
    inner = x
    for _ in range(2):
        inner = keras.layers.Activation("relu")(inner)
        if width >= DROPPED_FROM:
            inner = keras.layers.Dropout(0.5)(inner)
        inner = WeightNormalised(width)(inner)
    return keras.layers.Add()([inner, x])


def network(features: int, outputs: int) -> keras.Model:
    first = keras.Input((features,))
    state = block(keras.layers.Dense(WIDTHS[0])(first), WIDTHS[0])
    for _, width in itertools.pairwise(WIDTHS):
        state = block(keras.layers.Dense(width)(state), width)
    last = keras.layers.Dense(outputs)(state)
    return keras.Model(first, keras.layers.Add()([last, first[:, :outputs]]))


def main() -> None:
    features, outputs, stars, *batches = map(int, sys.argv[1:])
    networks = [network(features, outputs) for _ in range(MEMBERS)]
    x = np.random.default_rng(0).normal(size=(stars, features)).astype(np.float32)

    def translate(batch: int) -> float:
        begun = time.perf_counter()
        found = [one.predict(x, batch_size=batch, verbose=0) for one in networks]
        inner = np.sort(found, axis=0)[1:-1]  # the two extremes are left out
        inner.mean(axis=0), inner.std(axis=0)
        return stars / (time.perf_counter() - begun)

    for batch in batches:
        translate(batch)  # traced
        print(max(translate(batch) for _ in range(3)), flush=True)


if __name__ == "__main__":
    main()
