"""Packs Google's MoveNet Lightning as it is; its golden pictures are views of the picture that it comes with."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from agent.data import Array
from models.train.public import pack, public_file

SIDE = 192
# Scale, shift to the right and down in shares of the input, mirrored, brightness: in all, the whole body is visible.
VIEWS = (
    *((1.0, 0.0, 0.0, False, 1.0), (1.0, 0.0, 0.0, True, 1.0), (0.9, 0.05, 0.05, False, 1.0)),
    *((0.85, -0.05, 0.0, True, 0.9), (0.95, 0.0, 0.02, False, 1.1), (0.8, 0.1, 0.0, True, 1.0)),
)
# INT8 kernels of one version of LiteRT differ by 0.44 in a score, and by 0.03 in a place. Another model would differ by
# more in the place of some keypoint.
TOLERANCE = [0.04, 0.04, 0.6]


def make(place: Path) -> None:
    facts = {
        "version": "1.0.0",
        "licence": "Apache-2.0",
        "budget_ms": 20,
        "data": "COCO and Active, by Google; google-coral/test_data",
        "tolerance": TOLERANCE,
    }
    picture = cv2.imread(str(public_file("squat.bmp")))
    assert picture is not None
    pack(place, public_file("movenet_single_pose_lightning_ptq.tflite"), "movenet", facts, pictures(picture))
    print(f"wrote {place}")


def pictures(picture: Array) -> Array:
    """uint8 rgb [views, 192, 192, 3]."""
    return np.stack([_view(picture, *view) for view in VIEWS])[..., ::-1]


def _view(picture: Array, scale: float, right: float, down: float, mirrored: bool, brightness: float) -> Array:
    height, width = picture.shape[:2]
    factor = SIDE * scale / max(height, width)
    left, top = (SIDE - width * factor) / 2 + right * SIDE, (SIDE - height * factor) / 2 + down * SIDE
    matrix = np.array([[factor, 0, left], [0, factor, top]])
    view = cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA)
    view = cv2.convertScaleAbs(view, alpha=brightness)
    return view[:, ::-1] if mirrored else view
