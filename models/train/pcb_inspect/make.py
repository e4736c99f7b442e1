"""pcb-inspect: what is wrong with a circuit board and where, from its picture and the picture of a good one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from agent.data import Array
from agent.decoders import base as decoders
from agent.decoders.base import Finding
from models.train.data import SHARED
from models.train.engine import make_reproducible, to_float, to_int8
from models.train.network import Network
from models.train.pack import GOLDEN, pack
from models.train.pcb_inspect import card, defects
from models.train.pcb_inspect.boards import FOLDS, KINDS, SIDE, TRAINED, Pair, load
from models.train.pcb_inspect.score import Score, judge
from models.train.pcb_inspect.views import STRIDE, varied, view
from models.train.prune import prune

SEED = 7
BATCH = 16
STEPS, RATE = 8000, 4e-3
AGAIN, AGAIN_RATE = 2000, 2e-3  # after pruning
VIEWS = 200  # of each pair; each is then shown in sixteen looks
KEEP = 0.75  # of the channels, when pruned
OPTIONS = {"threshold": 0.9, "min_cells": 6, "one_label": True}

FACTS = {
    "version": "1.1.0",
    "decoder": "grid",
    "labels": list(KINDS),
    "options": OPTIONS,
    "picture": {"colour": "grey", "mean": 0.0, "std": 255.0, "fit": "letterbox", "resize": "linear", "reference": True},
    "budget_ms": 10.0,
    "data": "DeepPCB (MIT, (c) 2018 tangsanli5201): 51 of its pairs of pictures, six boards; more defects drawn into them",
}


class Views(NamedTuple):
    """uint8 [n, CROP, CROP, 2], int8 [n, cells, cells], and the board of each."""

    pictures: Array
    cells: Array
    boards: Array


class Trained(NamedTuple):
    """One network in its three forms, .tflite: as trained, pruned and trained again, and that in INT8."""

    full: bytes
    pruned: bytes
    int8: bytes


def make(place: Path) -> None:
    make_reproducible(SEED)
    cv2.setNumThreads(1)
    pairs = load(SHARED)
    known, unseen = ([pair for pair in pairs if (pair.group in TRAINED) == side] for side in (True, False))
    views = seen_of(known)
    folds = [_crossed(known, views, groups) for groups in FOLDS]
    files = _trained(views, known)
    golden = golden_inputs(Network(files.int8))
    pack(place, files.int8, FACTS, golden, Network(files.int8).run_all(golden))
    held = [judge(unseen, _looker(content)) for content in files]
    own = judge(known, _looker(files.int8))
    card.write(place, files, folds, held, own, known, unseen, whole(unseen))


def _crossed(known: Sequence[Pair], views: Views, groups: Sequence[str]) -> list[list[Score]]:
    """Scores of each form on the pairs of `groups`, trained on the others."""
    others = ~np.isin(views.boards, groups)
    files = _trained(Views(*(part[others] for part in views)), [pair for pair in known if pair.group not in groups])
    return [judge([pair for pair in known if pair.group in groups], _looker(content)) for content in files]


def _trained(views: Views, pairs: Sequence[Pair]) -> Trained:
    model = train(network(), views, STEPS)
    smaller = train(prune(model, KEEP), views, AGAIN, AGAIN_RATE)
    less = exported(smaller)
    return Trained(to_float(exported(model)), to_float(less), to_int8(less, whole(pairs)))


def seen_of(pairs: Sequence[Pair]) -> Views:
    """Drawn once, for all networks: drawing takes as long as training."""
    random = np.random.default_rng(SEED)
    drawn = [(*view(pair, random), pair.group) for pair in tqdm(pairs, "draw", mininterval=5) for _ in range(VIEWS)]
    return Views(*(np.stack(part) for part in zip(*drawn)))


def _looker(content: bytes) -> Callable[[Pair], Sequence[Finding]]:
    """What a network finds on a pair."""
    run, decoder = (
        Network(content),
        decoders.make("grid", KINDS, OPTIONS, [(1, SIDE // STRIDE, SIDE // STRIDE, len(KINDS))]),
    )
    return lambda pair: decoder([run(whole([pair]))])


def whole(pairs: Sequence[Pair]) -> Array:
    """float32 [n, SIDE, SIDE, 2]: test and template as the network takes them."""
    return _real(np.stack([np.stack([pair.test, pair.template], axis=2) for pair in pairs]))


def _real(pictures: Array) -> Array:
    return pictures.astype(np.float32) / np.float32(255.0)


def network() -> tf.keras.Model:
    """To cells of 4 pixels at once, 8, and on to 16 so that a cell knows 130 pixels around it, as wide as the widest trace.

    Ordinary convolutions: 430 million multiplications take 2.4 ms in INT8; 190 million in depthwise-separable ones took 3.3.
    """
    layers = tf.keras.layers
    pictures = layers.Input((None, None, 2))
    x = _unit(_unit(_unit(pictures, 16, 4, 4), 32, 3, 2), 48, 3)
    around = _unit(_unit(_unit(x, 64, 3, 2), 64, 3), 64, 3)
    around = layers.UpSampling2D(2)(_unit(around, 48, 1))
    x = _unit(layers.Add()([x, around]), 48, 3)
    return _comparing(tf.keras.Model(pictures, layers.Softmax()(layers.Conv2D(1 + len(KINDS), 1)(x))))


def _comparing(model: tf.keras.Model) -> tf.keras.Model:
    """The same with the first layer's first half set to differences of the two pictures, to begin with."""
    first = model.layers[1]
    kernel = first.get_weights()[0]  # [rows, columns, pictures, channels]
    half = kernel.shape[3] // 2
    kernel[:, :, 1, :half] = -kernel[:, :, 0, :half]
    first.set_weights([kernel])
    return model


def _unit(x: tf.Tensor, channels: int, size: int, stride: int = 1) -> tf.Tensor:
    """ReLU6: INT8 needs values that are bounded."""
    layers = tf.keras.layers
    x = layers.Conv2D(channels, size, strides=stride, padding="same", use_bias=False)(x)
    return layers.ReLU(6.0)(layers.BatchNormalization()(x))


def exported(model: tf.keras.Model) -> tf.keras.Model:
    """For whole boards; the share of "nothing here", which is what is left to one, is not handed on."""
    pictures = tf.keras.Input((SIDE, SIDE, 2))
    (cells,) = tf.nest.flatten(model(pictures))
    return tf.keras.Model(pictures, cells[..., 1:])


def train(model: tf.keras.Model, views: Views, steps: int, rate: float = RATE) -> tf.keras.Model:
    """The model itself, trained. Boards with few pairs are shown more often than these."""
    random = np.random.default_rng(SEED)
    _, board, count = np.unique(views.boards, return_inverse=True, return_counts=True)
    share = count[board] ** -0.5
    model.compile(tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(rate, steps)), _known_cells)
    for _ in tqdm(range(steps), "train", mininterval=5):
        picked = random.choice(len(share), BATCH, p=share / share.sum())
        looks = [varied(views.pictures[number], views.cells[number], random) for number in picked]
        pictures, cells = (np.stack(part) for part in zip(*looks))
        model.train_on_batch(_real(pictures), cells)
    return model


def _known_cells(truth: tf.Tensor, guess: tf.Tensor) -> tf.Tensor:
    """Cross entropy of the cells whose kind is known, in a sum: most cells are empty and soon cost nothing."""
    truth = tf.cast(truth, tf.int32)
    weight = tf.cast(truth >= 0, tf.float32) + tf.cast(truth > 0, tf.float32)
    costs = tf.keras.losses.sparse_categorical_crossentropy(tf.maximum(truth, 0), guess)
    return tf.reduce_mean(weight * costs) * 20.0


def golden_inputs(network: Network) -> Array:
    """Straight traces with defects drawn into them, int8 [GOLDEN, SIDE, SIDE, 2]: no picture of the set is handed on."""
    random, made = np.random.default_rng(SEED), []
    for _ in range(GOLDEN):
        copper = np.zeros((SIDE, SIDE), np.uint8)
        for at in range(40, SIDE, 80):
            cv2.line(copper, (at, 0), (at + int(random.integers(-30, 30)), SIDE), 1, int(random.integers(8, 40)))
        good, taken = copper.copy(), np.zeros_like(copper)
        for kind in range(len(KINDS)):
            defects.add(copper, taken, kind, random)
        made.append(255 * (1 - np.stack([copper, good], axis=2)))
    return network.quantised(_real(np.stack(made)))
