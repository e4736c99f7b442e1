"""person-coarse: where in the picture is a person, on a grid of 12 x 12 cells; taught by two larger public networks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from agent.data import Array
from models.train.person_coarse import card
from models.train.person_coarse.clips import DATA, INPUT, TEST, TRAIN, Clip, load, require_data
from models.train.engine import steady, to_float, to_int8
from models.train.network import Network
from models.train.pack import GOLDEN, pack
from models.train.person_coarse.views import mapped, vary

SEED = 7
EPOCHS, BATCH, PER_EPOCH = 50, 32, 1600

FACTS = {
    "version": "1.0.0",
    "decoder": "grid",
    "labels": ["person"],
    "options": {"threshold": card.THRESHOLD, "min_cells": card.MIN_CELLS},
    "picture": {"colour": "rgb", "mean": 0.0, "std": 255.0, "fit": "stretch", "resize": "linear"},
    "budget_ms": 2.0,
    "data": "GMDCSA24 clips (MIT, (c) 2024 Ekram Alam) and Intel IoT DevKit sample-videos (CC BY 4.0), labelled by "
    "SSD-MobileNet-v1 and MoveNet (Apache-2.0)",
}


def make(place: Path) -> None:
    require_data()
    steady(SEED)
    known, unseen = ([load(DATA / path, every) for path, every in tqdm(part.items(), "teach")] for part in (TRAIN, TEST))
    model = train(known)
    samples = real(np.concatenate([clip.inputs for clip in known]))
    files = to_float(model), to_int8(model, samples)
    networks = Network(files[0]), Network(files[1])
    golden = networks[1].quantised(blots(networks[1]))
    pack(place, files[1], FACTS, golden, np.stack([networks[1].raw(sample) for sample in golden]))
    card.write(place, files, networks, known, unseen)


def real(pictures: Array) -> Array:
    """Pixels as the network takes them, 0..1."""
    return (pictures / 255.0).astype(np.float32)


def blots(network: Network) -> Array:
    """Pictures for the golden outputs: of 400 random ones those with most to say. No frame of a clip is handed on."""
    random = np.random.default_rng(SEED)
    pictures = np.stack([squares(random.random((8, 8, 3), np.float32)) for _ in range(400)])
    says = network(pictures).max(axis=(1, 2, 3))
    return np.asarray(pictures[np.argsort(says)[-GOLDEN:]])


def squares(colours: Array) -> Array:
    """Each value as a square of pixels: a file of them packs well."""
    return np.asarray(cv2.resize(colours, (INPUT, INPUT), interpolation=cv2.INTER_NEAREST))


class Views(tf.keras.utils.PyDataset):
    """Endless new views of the clips' pictures, as many of each clip whatever its length."""

    def __init__(self, clips: list[Clip]) -> None:
        super().__init__()
        self.random = np.random.default_rng(SEED)
        self.clips = [(clip.pictures, [mapped(boxes) for boxes in clip.boxes]) for clip in clips]

    def __len__(self) -> int:
        return PER_EPOCH // BATCH

    def __getitem__(self, number: int) -> tuple[Array, Array]:
        pictures, targets = zip(*(self.view() for _ in range(BATCH)))
        return real(np.stack(pictures)), np.stack(targets)

    def view(self) -> tuple[Array, Array]:
        pictures, maps = self.clips[self.random.integers(len(self.clips))]
        number = self.random.integers(len(pictures))
        return vary(pictures[number], maps[number], self.random)


def network() -> tf.keras.Model:
    """Depthwise-separable down to 12 x 12 cells, and on to 6 x 6 and back so that a cell knows what surrounds it."""
    layers = tf.keras.layers
    picture = layers.Input((INPUT, INPUT, 3))
    x = unit(layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(picture))
    x = separable(separable(x, 32, 2), 48, 1)
    x = separable(separable(x, 96, 2), 96, 1)
    around = separable(separable(separable(x, 128, 2), 128, 1), 128, 1)
    around = layers.UpSampling2D(2)(unit(layers.Conv2D(96, 1, use_bias=False)(around)))
    x = separable(layers.Add()([x, around]), 96, 1)
    x = layers.Dropout(0.2)(x)
    return tf.keras.Model(picture, layers.Conv2D(1, 1, activation="sigmoid")(x))


def separable(x: tf.Tensor, channels: int, stride: int) -> tf.Tensor:
    layers = tf.keras.layers
    x = unit(layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x))
    return unit(layers.Conv2D(channels, 1, use_bias=False)(x))


def unit(x: tf.Tensor) -> tf.Tensor:
    """ReLU6: INT8 needs values that are bounded."""
    layers = tf.keras.layers
    return layers.ReLU(6.0)(layers.BatchNormalization()(x))


def known_cells(target: tf.Tensor, guess: tf.Tensor) -> tf.Tensor:
    """Cross entropy of the cells that are labelled. A missed person weighs as much as two false cells."""
    known = tf.cast(target >= 0.0, tf.float32)
    weight = known * (1.0 + tf.maximum(target, 0.0))
    right = tf.where(target > 0.5, guess, 1.0 - guess)
    return -tf.reduce_sum(weight * tf.math.log(right + 1e-6)) / (tf.reduce_sum(known) + 1.0)


def train(clips: list[Clip], epochs: int = EPOCHS) -> tf.keras.Model:
    model, views = network(), Views(clips)
    rate = tf.keras.optimizers.schedules.CosineDecay(3e-3, epochs * len(views))
    model.compile(tf.keras.optimizers.Adam(rate), known_cells)
    model.fit(views, epochs=epochs, verbose=2, shuffle=False)
    return model
