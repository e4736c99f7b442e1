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
from models.train.engine import KerasModel, make_reproducible, to_float, to_int8
from models.train.network import Network, NetworkFiles
from models.train.pack import GOLDEN, pack
from models.train.pcb_inspect import card, defects
from models.train.pcb_inspect.boards import FOLDS, KINDS, SIDE, TRAINED, Pair, load
from models.train.pcb_inspect.score import Score, judge
from models.train.pcb_inspect.views import STRIDE, varied, view
from models.train.prune import prune

SEED = 7
BATCH = 16
STEPS, RATE = 8000, 4e-3
RETRAIN_STEPS, RETRAIN_RATE = 2000, 2e-3  # after pruning
VIEWS = 200  # of each pair; each is then shown in sixteen variants
KEEP = 0.75  # of the channels, when pruned
OPTIONS = {"threshold": 0.9, "min_cells": 6, "one_label": True}

FACTS = {
    "version": "1.1.0",
    "decoder": "grid",
    "labels": list(KINDS),
    "options": OPTIONS,
    "picture": {"colour": "grey", "mean": 0.0, "std": 255.0, "fit": "letterbox", "resize": "linear", "reference": True},
    "budget_ms": 10.0,
    "data": "DeepPCB (MIT, (c) 2018 tangsanli5201): 51 of its pairs of pictures, six boards; "
    "more defects drawn into them",
}


class Views(NamedTuple):
    """pictures: uint8 [n, CROP, CROP, 2]. cells: int8 [n, rows, columns]. boards: the group of each."""

    pictures: Array
    cells: Array
    boards: Array


def make(place: Path) -> None:
    make_reproducible(SEED)
    cv2.setNumThreads(1)
    pairs = load(SHARED)
    training = [pair for pair in pairs if pair.group in TRAINED]
    held_out = [pair for pair in pairs if pair.group not in TRAINED]
    views = draw_views(training)
    fold_scores = [_cross_validated(training, views, groups) for groups in FOLDS]
    files = _trained_files(views, training)
    golden = golden_inputs(Network(files.int8))
    pack(place, files.int8, FACTS, golden, Network(files.int8).run_all(golden))
    figures = card.Figures(
        folds=fold_scores,
        held_out=[judge(held_out, _inspector(content)) for content in files],
        training=judge(training, _inspector(files.int8)),
    )
    card.write(place, files, figures, board_inputs(held_out))


def _cross_validated(training: Sequence[Pair], views: Views, groups: Sequence[str]) -> list[list[Score]]:
    """Scores of each form on the pairs of `groups`, trained on the others."""
    others = ~np.isin(views.boards, groups)
    rest = [pair for pair in training if pair.group not in groups]
    files = _trained_files(Views(*(column[others] for column in views)), rest)
    left_out = [pair for pair in training if pair.group in groups]
    return [judge(left_out, _inspector(content)) for content in files]


def _trained_files(views: Views, pairs: Sequence[Pair]) -> NetworkFiles:
    model = train(network(), views, STEPS)
    smaller = train(prune(model, KEEP), views, RETRAIN_STEPS, RETRAIN_RATE)
    pruned = for_boards(smaller)
    return NetworkFiles(to_float(for_boards(model)), to_float(pruned), to_int8(pruned, board_inputs(pairs)))


def draw_views(pairs: Sequence[Pair]) -> Views:
    """Drawn once, for all networks: drawing takes as long as training."""
    random = np.random.default_rng(SEED)
    drawn = [(*view(pair, random), pair.group) for pair in tqdm(pairs, "draw", mininterval=5) for _ in range(VIEWS)]
    return Views(*(np.stack(column) for column in zip(*drawn)))


def _inspector(content: bytes) -> Callable[[Pair], Sequence[Finding]]:
    """A function: pair to the findings of a network on it."""
    run = Network(content)
    decode = decoders.make("grid", KINDS, OPTIONS, [(1, SIDE // STRIDE, SIDE // STRIDE, len(KINDS))])
    return lambda pair: decode([run(board_inputs([pair]))])


def board_inputs(pairs: Sequence[Pair]) -> Array:
    """float32 [n, SIDE, SIDE, 2]: test and template as the network takes them."""
    return _normalised(np.stack([np.stack([pair.test, pair.template], axis=2) for pair in pairs]))


def _normalised(pictures: Array) -> Array:
    return np.asarray(pictures.astype(np.float32) / np.float32(255.0))


def network() -> KerasModel:
    """To cells of 4 pixels, 8, and on to 16 so that a cell has 130 pixels around it, as wide as the widest trace.

    Ordinary convolutions: 430 million multiplications take 2.4 ms in INT8; 190 million of depthwise-separable ones 3.3.
    """
    layers = tf.keras.layers
    pictures = layers.Input((None, None, 2))
    x = _convolution(_convolution(_convolution(pictures, 16, 4, 4), 32, 3, 2), 48, 3)
    around = _convolution(_convolution(_convolution(x, 64, 3, 2), 64, 3), 64, 3)
    around = layers.UpSampling2D(2)(_convolution(around, 48, 1))
    x = _convolution(layers.Add()([x, around]), 48, 3)
    return _start_with_differences(tf.keras.Model(pictures, layers.Softmax()(layers.Conv2D(1 + len(KINDS), 1)(x))))


def _start_with_differences(model: KerasModel) -> KerasModel:
    """The same with the first layer's first half set to differences of the two pictures, as initial weights."""
    first = model.layers[1]
    kernel = first.get_weights()[0]  # [rows, columns, pictures, channels]
    half = kernel.shape[3] // 2
    kernel[:, :, 1, :half] = -kernel[:, :, 0, :half]
    first.set_weights([kernel])
    return model


def _convolution(x: tf.Tensor, channels: int, size: int, stride: int = 1) -> tf.Tensor:
    """With batch normalisation and ReLU6: INT8 needs values that are bounded."""
    layers = tf.keras.layers
    x = layers.Conv2D(channels, size, strides=stride, padding="same", use_bias=False)(x)
    return layers.ReLU(6.0)(layers.BatchNormalization()(x))


def for_boards(model: KerasModel) -> KerasModel:
    """For whole boards, without the share of "nothing", which is 1 less the others."""
    pictures = tf.keras.Input((SIDE, SIDE, 2))
    (cells,) = tf.nest.flatten(model(pictures))
    return tf.keras.Model(pictures, cells[..., 1:])


def train(model: KerasModel, views: Views, steps: int, rate: float = RATE) -> KerasModel:
    """The model itself, trained. Views of boards with few pairs are drawn more often than those of others."""
    random = np.random.default_rng(SEED)
    _, board, count = np.unique(views.boards, return_inverse=True, return_counts=True)
    share = count[board] ** -0.5
    model.compile(tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(rate, steps)), _loss)
    for _ in tqdm(range(steps), "train", mininterval=5):
        picked = random.choice(len(share), BATCH, p=share / share.sum())
        batch = [varied(views.pictures[number], views.cells[number], random) for number in picked]
        pictures, cells = (np.stack(column) for column in zip(*batch))
        model.train_on_batch(_normalised(pictures), cells)
    return model


def _loss(truth: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """Cross entropy of the cells whose kind is known, in a sum: most cells are empty and soon cost nothing."""
    truth = tf.cast(truth, tf.int32)
    weight = tf.cast(truth >= 0, tf.float32) + tf.cast(truth > 0, tf.float32)
    costs = tf.keras.losses.sparse_categorical_crossentropy(tf.maximum(truth, 0), output)
    return tf.reduce_mean(weight * costs) * 20.0


def golden_inputs(network: Network) -> Array:
    """Straight traces with drawn defects, int8 [GOLDEN, SIDE, SIDE, 2]: no picture of the set goes into the package."""
    random, boards = np.random.default_rng(SEED), []
    for _ in range(GOLDEN):
        copper = np.zeros((SIDE, SIDE), np.uint8)
        for x in range(40, SIDE, 80):
            cv2.line(copper, (x, 0), (x + int(random.integers(-30, 30)), SIDE), 1, int(random.integers(8, 40)))
        good, occupied = copper.copy(), np.zeros_like(copper)
        for kind in range(len(KINDS)):
            defects.add(copper, occupied, kind, random)
        boards.append(255 * (1 - np.stack([copper, good], axis=2)))
    return network.quantised(_normalised(np.stack(boards)))
