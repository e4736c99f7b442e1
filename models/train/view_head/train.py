"""From what person-trunk gives for a picture to a network that reads it, in INT8 with the scale of that output."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from agent.data import Array
from models.train.engine import KerasModel, to_int8
from models.train.view_head.views import LABELS

SEED, EPOCHS, BATCH, RATE = 11, 10, 64, 3e-3
CALIBRATION = 200  # samples that show the converter the ranges


class Features(tf.keras.utils.PyDataset):  # type: ignore[misc]  # TensorFlow has no types
    """Batches of real values; all of them at once would take gigabytes."""

    def __init__(self, features: Array, labels: Array, scale: float, zero_point: int) -> None:
        """features: int8 [n, 16, 16, channels]."""
        super().__init__()
        self._features, self._labels, self._scale, self._zero_point = features, labels, scale, zero_point
        self._random = np.random.default_rng(SEED)
        self._order = self._random.permutation(len(features))

    def __len__(self) -> int:
        return len(self._features) // BATCH

    def __getitem__(self, number: int) -> tuple[Array, Array]:
        rows = self._order[number * BATCH : (number + 1) * BATCH]
        return real(self._features[rows], self._scale, self._zero_point), self._labels[rows]

    def on_epoch_end(self) -> None:
        self._order = self._random.permutation(len(self._features))


def real(features: Array, scale: float, zero_point: int) -> Array:
    return np.asarray((features.astype(np.float32) - zero_point) * np.float32(scale))


def train(features: Array, labels: Array, scale: float, zero_point: int) -> bytes:
    """The INT8 file. features: int8 [n, 16, 16, channels]; labels: int [n]; scale, zero_point: of the features."""
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(SEED)
    model = _network(features.shape[1:])
    batches = Features(features, labels, scale, zero_point)
    falling_rate = tf.keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * len(batches))
    model.compile(tf.keras.optimizers.Adam(falling_rate), "sparse_categorical_crossentropy")
    model.fit(batches, epochs=EPOCHS, verbose=0, shuffle=False)
    return to_int8(model, _calibration(features, scale, zero_point))


def _network(shape: tuple[int, ...]) -> KerasModel:
    layers = tf.keras.layers
    features = layers.Input(shape)
    x = _normalised(layers.Conv2D(16, 1, use_bias=False)(features))
    for channels in (24, 32):
        x = _normalised(layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(x))
        x = _normalised(layers.Conv2D(channels, 1, use_bias=False)(x))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return tf.keras.Model(features, layers.Dense(len(LABELS), activation="softmax")(x), name="net")


def _normalised(x: tf.Tensor) -> tf.Tensor:
    layers = tf.keras.layers
    return layers.ReLU(6.0)(layers.BatchNormalization()(x))


def _calibration(features: Array, scale: float, zero_point: int) -> Array:
    """With both ends of int8 in it: the converter then chooses the scale and the zero point of the features."""
    some = features[np.linspace(0, len(features) - 1, CALIBRATION - 1).astype(int)]
    ends = np.where(np.arange(features[0].size) % 2, 127, -128).reshape(1, *features.shape[1:])
    return real(np.concatenate([some, ends]), scale, zero_point)
