"""Recognises a YOLO model: by the shapes of its outputs, which follow from its input's, its labels and its values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from agent.backends.base import Engine, Tensor
from agent.decoders.yolo_output import COORDINATES, STRIDES
from agent.errors import PackageError
from agent.modeltools import guess
from agent.modeltools.labels import COCO

ANCHORS = 3  # boxes at each place of YOLOv5
MAX_AT_END = 1000  # boxes after a model's own suppression: 300 is usual
POSE_ROWS = 56  # centre, size, score, 17 keypoints
BOX = re.compile("box|coord|loc", re.IGNORECASE)
PIXELS = 2.0  # boxes in shares of the input hardly go beyond 1


class Recognised(NamedTuple):
    """options: of decoder yolo, as YAML. labels: how many. picture: the manifest's input section; empty: as guessed.

    reason: what was concluded from what. usual: the labels that so many mostly are; empty where nothing is usual.
    order: names of the outputs, boxes first, where only their names say which they are.
    """

    options: str
    labels: int
    picture: str
    reason: str
    usual: list[str]
    order: list[str]


class _Outputs(NamedTuple):
    """shape: of both as one output. boxes: which one has them, and whether with their rows first. words: what it is.

    order: the names of both, boxes first, where their shapes do not tell; empty where they do.
    """

    shape: tuple[int, ...]
    boxes: int
    rows_first: bool
    words: str
    order: list[str]


def recognise(engine: Engine, labels: int, ordered: bool = False) -> Recognised | None:
    """None for other models. labels: how many are named, 0 for unknown. Raises PackageError in doubt.

    ordered: of two outputs the user has named the boxes first.
    """
    if any(len(each.shape) != 3 or each.shape[0] != 1 for each in engine.outputs) or len(engine.inputs[0].shape) != 4:
        return None
    height, width = engine.inputs[0].sides
    outputs = _outputs(engine.outputs, ordered)
    if any(side % STRIDES[-1] for side in (height, width)) or not outputs:
        return None
    layout, count = _layout(outputs.shape, (width, height), labels, len(engine.outputs) == 2)
    if not layout:
        return None
    in_pixels = layout == "yolox" or _highest_coordinate(engine, outputs, layout) > PIXELS
    size = f", size: [{width}, {height}]" if in_pixels else ""
    where = "cells of its grids" if layout == "yolox" else "pixels" if in_pixels else "shares"
    reason = f"{outputs.words} at {width} x {height}: YOLO, layout {layout}, boxes in {where}"
    # As YOLOX was trained: https://github.com/Megvii-BaseDetection/YOLOX, preproc of its exports
    picture = "picture: {colour: bgr, mean: 0, std: 1, fit: letterbox}" if layout == "yolox" else ""
    usual = COCO[:1] if layout == "pose" else COCO if (count or labels) in (0, len(COCO)) else []
    options = f"{{layout: {layout}{size}}}"
    return Recognised(options, count or labels or len(COCO), picture, reason, usual, outputs.order)


def _outputs(tensors: Sequence[Tensor], ordered: bool) -> _Outputs | None:
    """One output, or boxes [1, places, 4] and the values of the same places, each in either order of its sizes."""
    if len(tensors) == 1:
        shape = tensors[0].shape
        return _Outputs(shape, 0, shape[1] < shape[2], f"output {list(shape)}", [])
    pairs = [(boxes, values) for boxes, values in ((0, 1), (1, 0)) if _fit(tensors, boxes, values)]
    if len(tensors) != 2 or not pairs:
        return None
    alike = len(pairs) == 2
    boxes, values = _by_names(tensors, pairs) if alike and not ordered else pairs[0]
    box_shape, value_shape = tensors[boxes].shape, tensors[values].shape
    rows, places = min(value_shape[1:]) + COORDINATES, max(box_shape[1:])
    words = f"outputs boxes {list(box_shape)} ('{tensors[boxes].name}') and scores {list(value_shape)}"
    return _Outputs(
        shape=(1, rows, places) if value_shape[1] < value_shape[2] else (1, places, rows),
        boxes=boxes,
        rows_first=box_shape[1] < box_shape[2],
        words=f"{words} ('{tensors[values].name}')",
        order=[tensors[boxes].name, tensors[values].name] if alike and boxes else [],
    )


def _fit(tensors: Sequence[Tensor], boxes: int, values: int) -> bool:
    if len(tensors) != 2:
        return False
    box_shape, value_shape = tensors[boxes].shape, tensors[values].shape
    return min(box_shape[1:]) == COORDINATES and max(box_shape[1:]) == max(value_shape[1:])


def _by_names(tensors: Sequence[Tensor], pairs: list[tuple[int, int]]) -> tuple[int, int]:
    """Both have four rows. Raises PackageError where the names do not tell either."""
    named = [pair for pair in pairs if BOX.search(tensors[pair[0]].name) and not BOX.search(tensors[pair[1]].name)]
    if len(named) == 1:
        return named[0]
    raise PackageError(
        f"its outputs {tensors[0]} and {tensors[1]} may both be the boxes of a YOLO: name them as --outputs"
        " BOXES,SCORES"
    )


def _layout(shape: tuple[int, ...], size: tuple[int, int], labels: int, apart: bool) -> tuple[str, int]:
    """(layout, number of labels; 0 where the output does not tell it); ("", 0) for another output.

    apart: boxes and the rest are two outputs.
    """
    places = sum((size[0] // stride) * (size[1] // stride) for stride in STRIDES)
    rows, count = min(shape[1:]), max(shape[1:])
    if shape[2] == 6 and shape[1] <= MAX_AT_END and not apart:
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


def _highest_coordinate(engine: Engine, outputs: _Outputs, layout: str) -> float:
    """Of boxes found in noise."""
    highest = 0.0
    for values in guess.random_inputs(engine.inputs[0]):
        engine.input(0)[...] = values
        engine.invoke()
        real = engine.real(outputs.boxes)[0]
        rows_first = outputs.rows_first and layout != "end-to-end"
        highest = max(highest, float((real[:4] if rows_first else real[:, :4]).max()))
    return highest
