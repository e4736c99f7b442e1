"""Pictures and video clips: read, shrunk as in a lane, varied; and the small network for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from agent.backends.base import Tensor
from agent.data import Array
from agent.packages.manifest import Picture
from agent.prepare.pixels import Pixels
from models.train.data import DataError
from models.train.folder.examples import Examples
from models.train.folder.files import File

STILLS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
CLIPS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".gif", ".m4v")
SIDE = 96  # pixels
MAX_FRAMES = 40  # of one clip, evenly over it: neighbours add little
MAX_READ = 20_000  # frames of a clip that are read: eleven minutes at 30 a second
MAX_PICTURES = 12_000  # in all: 330 MB of memory
MAX_MB = {**dict.fromkeys(STILLS, 50), **dict.fromkeys(CLIPS, 2000)}
PICTURE = {"colour": "rgb", "mean": 0.0, "std": 255.0, "fit": "stretch", "resize": "area"}


def load(
    files: Sequence[File], labels: Sequence[str], labeller: Callable[[Array], Array] | None
) -> tuple[Examples, list[str]]:
    """All frames, and notes on what was left out. inputs: uint8 rgb [n, SIDE, SIDE, 3].

    labeller: whole frame to the teacher's soft labels. Raises DataError.
    """
    from tqdm import tqdm

    shrink, capped = shrinker(), set[str]()
    most = max(1, min(MAX_FRAMES, MAX_PICTURES // len(files)))
    rows: list[tuple[Array, Array, int, int, bool, int]] = []
    for number, file in enumerate(tqdm(files, "read", mininterval=1)):
        for frame in frames(file.path, most, capped):
            soft = labeller(frame) if labeller else np.zeros(len(labels), np.float32)
            rows.append((shrink(frame), soft, file.label, number, file.test, number))
    return Examples(*(np.stack(column) for column in zip(*rows))), sorted(capped)


def shrinker() -> Callable[[Array], Array]:
    """A function: frame to the network's size as in a lane, but in whole pixel values."""
    picture = Picture.model_validate({**PICTURE, "std": 1.0})
    pixels = Pixels(picture, Tensor("", (1, SIDE, SIDE, 3), np.uint8), "bgr")
    small: Array = np.zeros((1, SIDE, SIDE, 3), np.uint8)

    def shrink(frame: Array) -> Array:
        pixels(frame, small)
        return np.array(small[0])

    return shrink


def frames(path: Path, most: int, capped: set[str]) -> Iterator[Array]:
    """uint8 bgr, any size. Raises DataError."""
    suffix = path.suffix.lower()
    if path.stat().st_size > MAX_MB[suffix] * 1e6:
        raise DataError(f"{path}: larger than {MAX_MB[suffix]} MB: shrink or cut it")
    if suffix in CLIPS:
        yield from _clip(path, most, capped)
        return
    try:
        picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, OSError):  # an empty file; a header that announces too many pixels
        picture = None
    if picture is None:
        raise DataError(f"{path}: cannot be read as a picture: repair or remove it")
    yield picture


def _clip(path: Path, most: int, capped: set[str]) -> Iterator[Array]:
    """At most `most` frames, evenly over the clip, as far as MAX_READ."""
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")  # a playlist may name other files
    length = _readable_frames(path)
    if not length:
        raise DataError(f"{path}: cannot be read as a video: repair or remove it")
    if length == MAX_READ:
        capped.add(f"{path.name}: only its first {MAX_READ:,} frames were read")
    if length > most:
        capped.add(f"clips: at most {most} frames of each, evenly over it")
    wanted = {int(number) for number in np.linspace(0, length - 1, min(length, most))}
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    for number in range(max(wanted) + 1):
        good = capture.grab()
        if good and number in wanted:
            good, frame = capture.retrieve()
            if good:
                yield frame


def _readable_frames(path: Path) -> int:
    """Frames that can really be read; the length in the header is often wrong."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = 0
    while count < MAX_READ and capture.grab():
        count += 1
    return count


def normalised(pictures: Array) -> Array:
    """As the network takes them, float32 0..1."""
    return (pictures / 255.0).astype(np.float32)


def vary(picture: Array, random: np.random.Generator) -> Array:
    """Another variant: moved, zoomed, other light. Not mirrored: left and right may differ for the user."""
    zoom = np.exp(random.uniform(-0.2, 0.2, 2))
    matrix = np.diag([*zoom, 1.0])[:2]
    matrix[:, 2] = SIDE / 2 * (1 - zoom) + random.uniform(-0.1, 0.1, 2) * SIDE
    moved = cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    light = moved * random.uniform(0.7, 1.3) * random.uniform(0.9, 1.1, 3) + random.uniform(-20, 20)
    return np.asarray((np.clip(light, 0, 255) / 255.0).astype(np.float32))


def random_squares(count: int) -> Array:
    """Pictures for the golden outputs, 0..1: a package that is passed on must not contain the user's pictures."""
    small = np.random.default_rng(0).random((count, 8, 8, 3), np.float32)
    return np.stack([cv2.resize(colours, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) for colours in small])


def network(labels: int) -> Any:
    """Depthwise-separable down to 6 x 6 cells, then their mean: 2.4 million multiplications before pruning."""
    import tensorflow as tf

    layers = tf.keras.layers

    def normalise(x: Any) -> Any:
        return layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))  # INT8 needs values that are bounded

    def separable(x: Any, channels: int, stride: int) -> Any:
        x = normalise(layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x))
        return normalise(layers.Conv2D(channels, 1, use_bias=False)(x))

    picture = layers.Input((SIDE, SIDE, 3))
    x = normalise(layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(picture))
    for channels, stride in ((32, 2), (64, 2), (64, 1), (128, 2), (128, 1)):
        x = separable(x, channels, stride)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return tf.keras.Model(picture, layers.Dense(labels, activation="softmax")(x))
