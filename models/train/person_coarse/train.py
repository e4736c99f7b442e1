"""From clips to a network: first the new layers on features that stay as they are, then all of it, gently."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from agent.data import Array
from models.train.person_coarse import backdrops, trunk, views
from models.train.person_coarse.clips import INPUT, Clip

SEED = 7
VIEWS = 28_000
TOP, GENTLE = (
    (56_000, 64, 3e-3),
    (25_600, 32, 1e-4),
)  # views seen, batch, learning rate: above the trunk, then everywhere
DECAY = 1e-3
BLANKS = 16  # one picture in so many shows nothing: else a black one has a person in it


class Bank(tf.keras.utils.PyDataset):
    """So many batches of views made beforehand, mirrored every other time; `blanks` of each batch show nothing instead."""

    def __init__(self, pictures: Array, grids: Array, seen: int, batch: int, blanks: int) -> None:
        super().__init__()
        self.pictures, self.grids, self.seen, self.batch, self.blanks = pictures, grids, seen, batch, blanks
        self.random, self.dark = np.random.default_rng(SEED), np.random.default_rng(SEED)

    def __len__(self) -> int:
        return max(1, self.seen // self.batch)

    def __getitem__(self, number: int) -> tuple[Array, Array]:
        rows = self.random.integers(0, len(self.pictures), self.batch)
        way = slice(None, None, -1 if number % 2 else 1)
        pictures, grids = self.pictures[rows], self.grids[rows]
        for at in range(self.blanks):
            pictures[at], grids[at] = backdrops.blank(INPUT, self.dark), 0.0
        return real(pictures[:, :, way]), grids[:, :, way]


def real(pictures: Array) -> Array:
    """Pixels as the network takes them, 0..1."""
    return (pictures / np.float32(255.0)).astype(np.float32)


def train(clips: Sequence[Clip], known: trunk.Weights) -> tuple[tf.keras.Model, Array]:
    """The float network and the pictures it was shown, uint8."""
    tf.keras.backend.clear_session()  # names of layers are in the file: they shall not count what was trained before
    tf.keras.utils.set_random_seed(SEED)
    random = np.random.default_rng(SEED)
    stock = views.stock(clips, random)
    pictures, grids = map(np.stack, zip(*(views.make(stock, random) for _ in range(VIEWS))))
    model = trunk.network(known)
    for frozen, (seen, batch, rate) in ((True, TOP), (False, GENTLE)):
        for name in known:
            model.get_layer(name).trainable = not frozen
        fit(model, Bank(pictures, grids, seen, batch, batch // BLANKS), rate)
    return model, pictures


def fit(model: tf.keras.Model, bank: Bank, rate: float) -> None:
    falling = tf.keras.optimizers.schedules.CosineDecay(rate, len(bank))
    model.compile(tf.keras.optimizers.AdamW(falling, weight_decay=DECAY), _known_cells)
    model.fit(bank, epochs=1, verbose=0, shuffle=False)


def _known_cells(target: tf.Tensor, guess: tf.Tensor) -> tf.Tensor:
    """Cross entropy of the cells that are labelled. A missed person weighs as much as two false cells."""
    known = tf.cast(target >= 0.0, tf.float32)
    weight = known * (1.0 + tf.maximum(target, 0.0))
    right = tf.where(target > 0.5, guess, 1.0 - guess)
    return -tf.reduce_sum(weight * tf.math.log(right + 1e-6)) / (tf.reduce_sum(known) + 1.0)
