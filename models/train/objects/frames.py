"""Frames of clips as the network takes them: calibration sees some clips, comparison only others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from agent.backends.base import Tensor
from agent.data import Array
from agent.errors import DataError
from agent.packages.manifest import Picture
from agent.prepare.pixels import Pixels

NETWORK = "models-public/yolox_nano.onnx"  # beside the clips
PICTURE = {"colour": "bgr", "mean": 0.0, "std": 1.0, "fit": "letterbox", "resize": "linear"}


class Part(NamedTuple):
    """Frames of each clip that matches: every `step`-th from `start` to `end`, shares of its length."""

    pattern: str
    step: int
    start: float = 0.0
    end: float = 1.0


CALIBRATION = (Part("video-fall-gmdcsa24/S1-*.mp4", 16), Part("video-intel/car-detection.mp4", 6, end=1 / 3))
COMPARISON = (
    Part("video-fall-gmdcsa24/S2-*.mp4", 20),
    Part("video-intel/car-detection.mp4", 10, start=1 / 3),
    Part("video-intel/one-by-one-person-detection.mp4", 40),
    Part("video-intel/worker-zone-detection.gif", 4),
)


def read(data: Path, parts: Sequence[Part]) -> dict[str, list[Array]]:
    """uint8 [height, width, 3] in BGR, by the clip's name. Raises DataError."""
    frames = {}
    for part in parts:
        paths = sorted(data.glob(part.pattern))
        if not paths:
            raise DataError(f"{data}: no clip {part.pattern}")
        for path in paths:
            whole = list(_all(path))
            frames[path.stem] = whole[round(part.start * len(whole)) : round(part.end * len(whole)) : part.step]
    return frames


def _all(path: Path) -> Iterator[Array]:
    video = cv2.VideoCapture(str(path))
    while True:
        good, frame = video.read()
        if not good:
            return
        yield frame


def mirrored(frames: Sequence[Array]) -> list[Array]:
    """Every other one, so that left and right of a room are both seen."""
    return [np.ascontiguousarray(frame[:, ::-1]) if number % 2 else frame for number, frame in enumerate(frames)]


class Letterbox:
    """As a lane prepares frames, float32 [height, width, 3] in 0..255."""

    def __init__(self, width: int, height: int) -> None:
        tensor = Tensor("picture", (1, height, width, 3), np.float32)
        self.pixels = Pixels(Picture.model_validate(PICTURE), tensor, "bgr")
        self.shape = tensor.shape

    def __call__(self, frame: Array) -> Array:
        view = np.zeros(self.shape, np.float32)
        self.pixels(frame, view)
        return np.asarray(view[0])
