"""Writes outputs of YOLO pose heads from known persons, apart from the decoder. Not run on a real export.

Layout of Ultralytics' v8 and 11: https://docs.ultralytics.com/tasks/pose: centre x, y, width, height, score, then x, y,
score of each keypoint; rows before places.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.data import Array
from tests import onnx_models

ROWS = 56
SIDE = 96  # of a square input: 12 + 6 + 3 cells a side
PLACES = 144 + 36 + 9


class Known(NamedTuple):
    """A person in shares of the input. keypoints: float32 [17, 3]: y, x, score."""

    place: int
    score: float
    box: tuple[float, float, float, float]
    keypoints: Array


def person(left: float, top: float, right: float, bottom: float, seed: int = 0, place: int = 0) -> Known:
    """Keypoints at random within the box."""
    random = np.random.default_rng(seed)
    points = random.uniform(0, 1, (17, 3)).astype(np.float32)
    points[:, 0] = top + points[:, 0] * (bottom - top)
    points[:, 1] = left + points[:, 1] * (right - left)
    points[:, 2] = 0.3 + 0.6 * points[:, 2]
    return Known(place, float(round(random.uniform(0.5, 0.9), 2)), (left, top, right, bottom), points)


def written(people: Sequence[Known], places: int = PLACES, pixels: float = 1.0) -> Array:
    """float32 [56, places]. pixels: of the input's sides; 1 where positions are in shares."""
    rows = np.zeros((ROWS, places), np.float32)
    for known in people:
        left, top, right, bottom = (pixels * edge for edge in known.box)
        column = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top, known.score]
        for y, x, score in known.keypoints.tolist():
            column += [pixels * x, pixels * y, score]
        rows[:, known.place] = column
    return rows


def network(people: Sequence[Known], moves: float = 0.0, exchanged: bool = False) -> bytes:
    """A model that reports these persons, each moved to the right by `moves` times the brightness of the picture."""
    rows = written(people, pixels=SIDE)
    gain = np.zeros_like(rows)
    occupied = [known.place for known in people]
    gain[0, occupied] = moves * SIDE
    for keypoint in range(17):
        gain[5 + 3 * keypoint, occupied] = moves * SIDE
    gain[4, occupied] = 0.05  # an answer that never changes would be taken for a damaged model
    if exchanged:
        rows, gain = rows.T, gain.T
    shape = (1, *rows.shape)
    nodes: list[onnx_models.Node] = [
        ("ReduceMean", ["x"], "mean", {"keepdims": 0}),
        ("Mul", ["mean", "gain"], "more", {}),
        ("Add", ["base", "more"], "y", {}),
    ]
    constants: list[onnx_models.Value] = [
        ("base", rows.ravel().tolist(), shape, onnx_models.FLOAT),
        ("gain", gain.ravel().tolist(), shape, onnx_models.FLOAT),
    ]
    return onnx_models.model(nodes, constants, (1, 3, SIDE, SIDE), {"y": shape})


def package(folder: Path, content: bytes, letterbox: bool = True) -> Path:
    """The folder of a package with this network."""
    fit = "letterbox" if letterbox else "stretch"
    section = f"picture: {{colour: rgb, mean: 0, std: 255, fit: {fit}}}"
    return onnx_models.package(folder, content, "yolo", f"options: {{layout: pose, size: [{SIDE}, {SIDE}]}}\n{section}")
