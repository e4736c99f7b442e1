"""From clips to a network: first the new layers on a frozen trunk, then fine-tuning of all layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from agent.data import Array
from models.train.engine import KerasModel
from models.train.person_coarse import backdrops, trunk, views
from models.train.person_coarse.clips import INPUT, Clip

SEED = 7
VIEWS = 28_000


class Stage(NamedTuple):
    """views: shown to the network, in batches of `batch`. rate: the learning rate at the start."""

    views: int
    batch: int
    rate: float


HEAD, FINE_TUNING = Stage(56_000, 64, 3e-3), Stage(25_600, 32, 1e-4)  # the layers above the trunk; then all
DECAY = 1e-3
BLANKS = 16  # one picture in 16 shows nothing: else the network finds a person in a black one


class ViewBatches(tf.keras.utils.PyDataset):  # type: ignore[misc]  # TensorFlow has no types
    """Batches of views made beforehand, every other batch mirrored; `blanks` pictures of each show nothing instead."""

    def __init__(self, pictures: Array, grids: Array, stage: Stage, blanks: int) -> None:
        super().__init__()
        self.pictures, self.grids, self.stage, self.blanks = pictures, grids, stage, blanks
        self.random, self.blank_random = np.random.default_rng(SEED), np.random.default_rng(SEED)

    def __len__(self) -> int:
        return max(1, self.stage.views // self.stage.batch)

    def __getitem__(self, number: int) -> tuple[Array, Array]:
        rows = self.random.integers(0, len(self.pictures), self.stage.batch)
        direction = slice(None, None, -1 if number % 2 else 1)
        pictures, grids = self.pictures[rows], self.grids[rows]
        for row in range(self.blanks):
            pictures[row], grids[row] = backdrops.blank(INPUT, self.blank_random), 0.0
        return normalised(pictures[:, :, direction]), grids[:, :, direction]


def normalised(pictures: Array) -> Array:
    """Pixels as the network takes them, 0..1."""
    return np.asarray((pictures / np.float32(255.0)).astype(np.float32))


def train(clips: Sequence[Clip], pretrained: trunk.Weights) -> tuple[KerasModel, Array]:
    """The float network and the pictures it was shown, uint8."""
    tf.keras.backend.clear_session()  # the file has the layers' names: they must not count earlier trainings
    tf.keras.utils.set_random_seed(SEED)
    random = np.random.default_rng(SEED)
    stock = views.stock(clips, random)
    pictures, grids = map(np.stack, zip(*(views.make(stock, random) for _ in range(VIEWS))))
    model = trunk.network(pretrained)
    for stage, frozen in ((HEAD, True), (FINE_TUNING, False)):
        for name in pretrained:
            model.get_layer(name).trainable = not frozen
        _fit(model, ViewBatches(pictures, grids, stage, stage.batch // BLANKS))
    return model, pictures


def _fit(model: KerasModel, batches: ViewBatches) -> None:
    falling_rate = tf.keras.optimizers.schedules.CosineDecay(batches.stage.rate, len(batches))
    model.compile(tf.keras.optimizers.AdamW(falling_rate, weight_decay=DECAY), _loss)
    model.fit(batches, epochs=1, verbose=0, shuffle=False)


def _loss(target: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """Cross entropy of the cells that are labelled. A missed person weighs as much as two false cells."""
    known = tf.cast(target >= 0.0, tf.float32)
    weight = known * (1.0 + tf.maximum(target, 0.0))
    right = tf.where(target > 0.5, output, 1.0 - output)
    return -tf.reduce_sum(weight * tf.math.log(right + 1e-6)) / (tf.reduce_sum(known) + 1.0)
