"""YOLO: a box, and a score for each label, at thousands of places of a picture; or boxes that are already sorted out.

v5: centre, size, objectness, labels (https://docs.ultralytics.com/yolov5). v8, also 11: centre, size, labels. pose: as
v8, then x, y, score of 17 keypoints in COCO's order (https://docs.ultralytics.com/tasks/pose). yolox: as
v5, but of a cell of the grids of strides 8, 16 and 32: offset from its corner, logarithm of the size in strides
(arXiv:2107.08430). end-to-end: left, top, right, bottom, score, number of the label, after the model's own suppression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from agent.backends.base import Tensor
from agent.data import Array, Box
from agent.decoders import base
from agent.decoders.base import DecoderError, DecoderOptions, Finding
from agent.decoders.boxes import suppress
from agent.decoders.yolo_output import COORDINATES, STRIDES, Part, grid, parts

# Rows: centre x, y, width, height, and where there is one, objectness
BEFORE_LABELS = {"v5": 5, "v8": 4, "pose": 4, "yolox": 5}
ROWS_AT_END = 6
KEYPOINTS = 17
NOBODY = np.zeros((0, KEYPOINTS, 3), np.float32)
OUTSIDE = 1.0  # pictures: keypoints of somebody who is partly outside are at most this far away
REAL = Tensor("", (), np.float32)


class Options(DecoderOptions):
    """What the outputs are, and which detections are reported."""

    layout: Literal["v5", "v8", "pose", "yolox", "end-to-end"] = Field(description="v8 is also that of YOLO11")
    size: tuple[int, int] | None = Field(
        None, description="width and height of the input, where boxes are in its pixels; none: in shares of it"
    )
    min_score: float = Field(0.25, gt=0, le=1, description="detections below this are not reported")
    overlap: float = Field(
        0.45, ge=0, le=1, description="intersection over union from which two boxes of a label are the same object"
    )
    candidates: int = Field(300, ge=1, le=2000, description="compare at most this many places, the best ones")
    top: int = Field(20, ge=1, description="report at most this many detections")
    groups: dict[str, list[str]] = Field(
        {}, max_length=64, description="label: the model's own labels for it; only groups are reported"
    )

    @model_validator(mode="after")
    def _size_of_grid(self) -> Options:
        if self.layout == "yolox" and (self.size is None or any(side % STRIDES[-1] or side <= 0 for side in self.size)):
            raise ValueError("layout yolox needs size: [width, height] of the input, multiples of 32")
        return self


class Decoder(base.Decoder):
    """Output [1, rows, places] or [1, places, rows], as stored: only what passes the threshold is computed.

    Rows: see the top of this file. 84 rows of 8,400 places are 700,000 values, of which a few hundred matter. Boxes and
    the rows after them may be two outputs, each with a scale of its own. With layout pose each finding has its
    keypoints, and `keypoints` those of all, float32 [n, 17, 3].
    """

    Options = Options
    NEEDS = "one output [1, 4 or 5 + labels (+ 51), places], or with both last sizes exchanged, or [1, places, 6]"
    reads_stored: ClassVar[bool] = True

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        self.first = BEFORE_LABELS.get(options.layout, 0)
        self.keypoints = NOBODY if options.layout == "pose" else None
        rows = self.first + len(self.labels) if self.first else ROWS_AT_END
        rows += 3 * KEYPOINTS * (options.layout == "pose")
        tensors = parts(shapes, rows, bool(self.first)) if labels else None
        if not tensors:
            raise DecoderError(
                f"yolo with layout {options.layout} and {len(self.labels)} labels needs one output [1, {rows}, places]"
                f" or [1, places, {rows}], or boxes [1, places, {COORDINATES}] and scores"
                f" [1, places, {rows - COORDINATES}]; the model gives {list(shapes)}"
            )
        self.boxes, self.values = tensors
        self.before = max(self.first - COORDINATES, 0)  # rows of values before those of labels
        self.names, self.numbers = self._reported(options.groups)
        self.divisor = np.asarray(options.size or (1, 1), np.float32).reshape(2, 1)
        self.grid: tuple[Array, Array] | None = grid(*options.size) if options.layout == "yolox" else None
        places = shapes[self.boxes.output][2 if self.boxes.rows_first else 1]
        if self.grid and len(self.grid[1]) != places:
            raise DecoderError(f"an input of {list(options.size)} has {len(self.grid[1])} cells, the model {places}")

    @classmethod
    def finds_keypoints(cls, options: Mapping[str, Any]) -> bool:
        return options.get("layout") == "pose"

    def _reported(self, groups: dict[str, list[str]]) -> tuple[list[str], Array]:
        """(what is reported, for each label of the model the number of that; -1: it is not). Raises DecoderError."""
        if not groups:
            return self.labels, np.arange(len(self.labels))
        numbers = np.full(len(self.labels), -1)
        for number, (group, names) in enumerate(groups.items()):
            members = base.members(group, names, self.labels)
            if (numbers[members] >= 0).any():
                raise DecoderError(f"options.groups.{group}: a label belongs to another group, too")
            numbers[members] = number
        return list(groups), numbers

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        stored = self.values.of(outputs)
        at = self._candidates(stored)
        if self.keypoints is not None:
            self.keypoints = NOBODY
        if not len(at):
            return []
        values = self._real(stored[:, at], self.values)
        scores, kinds = self._best_labels(values)
        boxes = self._corners(self._real(self.boxes.of(outputs)[:, at], self.boxes), at)
        good = np.flatnonzero((scores >= self.options.min_score) & np.isfinite(boxes).all(axis=1))
        good = good[np.argsort(-scores[good], kind="stable")]
        boxes, scores, kinds = boxes[good].clip(0.0, 1.0), scores[good], kinds[good]
        if self.first:
            kept: Sequence[int] = suppress(boxes, kinds, self.options.overlap, self.options.top)
        else:
            kept = [n for n in range(len(good)) if kinds[n] >= 0][: self.options.top]
        findings = [
            Finding(self.names[int(kinds[n])], base.probability(float(scores[n])), Box(*boxes[n].tolist()))
            for n in kept
        ]
        return findings if self.keypoints is None else self._with_keypoints(findings, values[:, good[kept]])

    def _with_keypoints(self, findings: list[Finding], values: Array) -> list[Finding]:
        """values: [labels + 51, findings]. A keypoint that is no number is not detected."""
        points = values[len(self.labels) :].T.reshape(-1, KEYPOINTS, 3)[:, :, (1, 0, 2)]
        with np.errstate(over="ignore"):
            points[:, :, :2] /= self.divisor[::-1, 0]
        points[~np.isfinite(points).all(axis=2)] = 0.0
        points[:, :, :2] = points[:, :, :2].clip(-OUTSIDE, 1.0 + OUTSIDE)
        points[:, :, 2] = points[:, :, 2].clip(0.0, 1.0)
        self.keypoints = points
        return [finding._replace(keypoints=own) for finding, own in zip(findings, points)]

    def scores(self, outputs: Sequence[Array]) -> Array:
        stored = self.values.of(outputs)
        if self.keypoints is not None:
            labels = len(self.labels)
            stored = np.concatenate([stored[:labels], stored[labels + 2 :: 3]])
        return self._real(stored if self.first else stored[:1], self.values)

    def _candidates(self, stored: Array) -> Array:
        """Places whose highest value reaches the threshold, at most as many as are compared. NaN does not."""
        best = self._of_labels(stored).max(axis=0) if self.first == COORDINATES else stored[0]
        at: Array = np.flatnonzero(best >= self._stored_threshold())
        if len(at) > self.options.candidates:
            at = at[np.argpartition(best[at], -self.options.candidates)[-self.options.candidates :]]
        return at

    def _tensor(self, part: Part) -> Tensor:
        return self.tensors[part.output] if self.tensors else REAL

    def _stored_threshold(self) -> float:
        """min_score as the output stores it: the order of stored values is that of the real ones."""
        min_score: float = self.options.min_score
        tensor = self._tensor(self.values)
        return ceil(min_score / tensor.scale) + tensor.zero_point if tensor.scale else min_score

    def _real(self, stored: Array, part: Part) -> Array:
        real: Array = stored.astype(np.float32)
        tensor = self._tensor(part)
        return (real - np.float32(tensor.zero_point)) * np.float32(tensor.scale) if tensor.scale else real

    def _best_labels(self, values: Array) -> tuple[Array, Array]:
        """(score [k], number of what is reported [k]; -1: it is not) of each place."""
        if not self.first:
            score, label = values
            whole = (label == np.rint(label)) & (label >= 0) & (label < len(self.labels))
            return score, np.where(whole, self.numbers[np.where(whole, label, 0).astype(int)], -1)
        of_labels = self._of_labels(values)
        best = of_labels.argmax(axis=0)
        scores = of_labels[best, np.arange(len(best))]
        kinds: Array = self.numbers[self.numbers >= 0][best]
        return (scores if self.first == COORDINATES else scores * values[0]), kinds

    def _of_labels(self, values: Array) -> Array:
        """Those of labels that are reported."""
        of_labels = values[self.before : self.before + len(self.labels)]
        return of_labels[self.numbers >= 0] if self.options.groups else of_labels

    def _corners(self, rows: Array, at: Array) -> Array:
        """Left, top, right, bottom [k, 4] in shares of the input."""
        first, second = rows[:2], rows[2:]
        if self.grid:
            cells, strides = self.grid[0][:, at], self.grid[1][at]
            with np.errstate(over="ignore"):  # such a box is not finite, and left out
                first, second = (first + cells) * strides, np.exp(second) * strides
        if self.first:
            first, second = first - second / 2, first + second / 2
        boxes: Array = np.concatenate([first / self.divisor, second / self.divisor]).T
        return boxes
