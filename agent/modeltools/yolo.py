"""Recognises a YOLO model: by the shape of its output, which follows from its input's, its labels and its values."""

from __future__ import annotations

from typing import NamedTuple

from agent.backends.base import Engine
from agent.decoders.yolo_output import STRIDES
from agent.errors import PackageError
from agent.modeltools import guess
from agent.modeltools.labels import COCO

ANCHORS = 3  # boxes at each place of YOLOv5
MAX_AT_END = 1000  # boxes after a model's own suppression: 300 is usual
POSE_ROWS = 56  # centre, size, score, 17 keypoints
PIXELS = 2.0  # boxes in shares of the input hardly go beyond 1


class Recognised(NamedTuple):
    """options: of decoder yolo, as YAML. labels: how many. picture: the manifest's input section; empty: as guessed.

    reason: what was concluded from what. usual: the labels that so many mostly are; empty where nothing is usual.
    """

    options: str
    labels: int
    picture: str
    reason: str
    usual: list[str]


def recognise(engine: Engine, labels: int) -> Recognised | None:
    """None for other models. labels: how many are named, 0 for unknown. Raises PackageError in doubt."""
    shape = engine.outputs[0].shape
    if len(engine.outputs) != 1 or len(shape) != 3 or shape[0] != 1 or len(engine.inputs[0].shape) != 4:
        return None
    height, width = engine.inputs[0].sides
    if any(side % STRIDES[-1] for side in (height, width)):
        return None
    layout, count = _layout(shape, (width, height), labels)
    if not layout:
        return None
    rows_first = layout != "end-to-end" and shape[1] < shape[2]
    in_pixels = layout == "yolox" or _highest_coordinate(engine, rows_first) > PIXELS
    size = f", size: [{width}, {height}]" if in_pixels else ""
    where = "cells of its grids" if layout == "yolox" else "pixels" if in_pixels else "shares"
    reason = f"output {list(shape)} at {width} x {height}: YOLO, layout {layout}, boxes in {where}"
    # As YOLOX was trained: https://github.com/Megvii-BaseDetection/YOLOX, preproc of its exports
    picture = "picture: {colour: bgr, mean: 0, std: 1, fit: letterbox}" if layout == "yolox" else ""
    usual = COCO[:1] if layout == "pose" else COCO if (count or labels) in (0, len(COCO)) else []
    return Recognised(f"{{layout: {layout}{size}}}", count or labels or len(COCO), picture, reason, usual)


def _layout(shape: tuple[int, ...], size: tuple[int, int], labels: int) -> tuple[str, int]:
    """(layout, number of labels; 0 where the output does not tell it); ("", 0) for another output."""
    places = sum((size[0] // stride) * (size[1] // stride) for stride in STRIDES)
    rows, count = min(shape[1:]), max(shape[1:])
    if shape[2] == 6 and shape[1] <= MAX_AT_END:
        return "end-to-end", 0
    if count == ANCHORS * places and rows > 5:
        return "v5", rows - 5
    if count != places or rows < 5:
        return "", 0
    if rows == POSE_ROWS and (labels == 1 or labels == 0 and shape[1] == rows):
        return "pose", 1
    if shape[1] == rows:
        return "v8", rows - 4
    return _with_or_without_objectness(shape, rows, labels or len(COCO))


def _with_or_without_objectness(shape: tuple[int, ...], rows: int, labels: int) -> tuple[str, int]:
    """[1, places, rows] is a YOLOX, or a YOLOv8 with its sizes exchanged: the number of labels decides."""
    layout = {5: "yolox", 4: "v8"}.get(rows - labels)
    if layout is None:
        raise PackageError(
            f"its output {list(shape)} is that of a YOLOX with {rows - 5} labels or of a YOLOv8 with {rows - 4}"
            f"{', or of a pose head with 1' if rows == POSE_ROWS else ''}: name them with --labels FILE"
        )
    return layout, labels


def _highest_coordinate(engine: Engine, rows_first: bool) -> float:
    """Of boxes found in noise."""
    highest = 0.0
    for values in guess.random_inputs(engine.inputs[0]):
        engine.input(0)[...] = values
        engine.invoke()
        real = engine.real(0)[0]
        highest = max(highest, float((real[:4] if rows_first else real[:, :4]).max()))
    return highest
