"""YOLO: a box, and a score for each label, at thousands of places of a picture; or boxes that are already sorted out.

v5: centre, size, objectness, labels (https://docs.ultralytics.com/yolov5). v8, also 11: centre, size, labels. yolox: as
v5, but of a cell of the grids of strides 8, 16 and 32: offset from its corner, logarithm of the size in strides
(arXiv:2107.08430). end-to-end: left, top, right, bottom, score, number of the label, after the model's own suppression.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from agent.backends.base import Tensor
from agent.data import Array, Box
from agent.decoders import base
from agent.decoders.base import DecoderError, DecoderOptions, Finding
from agent.decoders.boxes import suppress

STRIDES = (8, 16, 32)
BEFORE_LABELS = {"v5": 5, "v8": 4, "yolox": 5}  # rows: centre x, y, width, height, and where there is one, objectness
ROWS_AT_END = 6
REAL = Tensor("", (), np.float32)


class Options(DecoderOptions):
    """What the outputs are, and which detections are reported."""

    layout: Literal["v5", "v8", "yolox", "end-to-end"] = Field(description="v8 is also that of YOLO11")
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

    Rows: see the top of this file. 84 rows of 8,400 places are 700,000 values, of which a few hundred matter.
    """

    Options = Options
    NEEDS = "one output [1, 4 or 5 + labels, places], or with both last sizes exchanged, or [1, places, 6]"
    reads_stored: ClassVar[bool] = True

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        self.first = BEFORE_LABELS.get(options.layout, 0)
        rows = self.first + len(self.labels) if self.first else ROWS_AT_END
        shape = shapes[0] if len(shapes) == 1 and len(shapes[0]) == 3 else (0, 0, 0)
        if not labels or shape[0] != 1 or rows not in shape[1:]:
            raise DecoderError(
                f"yolo with layout {options.layout} and {len(self.labels)} labels needs one output [1, {rows}, places]"
                f" or [1, places, {rows}]; the model gives {list(shapes)}"
            )
        self.names, self.numbers = self._reported(options.groups)
        self.rows_first = shape[1] == rows
        self.divisor = np.asarray(options.size or (1, 1), np.float32).reshape(2, 1)
        self.grid: tuple[Array, Array] | None = _grid(*options.size) if options.layout == "yolox" else None
        places = shape[2] if self.rows_first else shape[1]
        if self.grid and len(self.grid[1]) != places:
            raise DecoderError(f"an input of {list(options.size)} has {len(self.grid[1])} cells, the model {places}")

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
        stored = outputs[0][0] if self.rows_first else outputs[0][0].T
        at = self._candidates(stored)
        if not len(at):
            return []
        rows = self._real(stored[:, at])
        scores, kinds = self._best_labels(rows)
        boxes = self._boxes(rows[:4], at)
        good = np.flatnonzero((scores >= self.options.min_score) & np.isfinite(boxes).all(axis=1))
        good = good[np.argsort(-scores[good], kind="stable")]
        boxes, scores, kinds = boxes[good].clip(0.0, 1.0), scores[good], kinds[good]
        if self.first:
            kept: Sequence[int] = suppress(boxes, kinds, self.options.overlap, self.options.top)
        else:
            kept = [n for n in range(len(good)) if kinds[n] >= 0][: self.options.top]
        return [
            Finding(self.names[int(kinds[n])], base.probability(float(scores[n])), Box(*boxes[n].tolist()))
            for n in kept
        ]

    def scores(self, outputs: Sequence[Array]) -> Array:
        stored = outputs[0][0] if self.rows_first else outputs[0][0].T
        return self._real(stored[4:] if self.first else stored[4:5])

    def _candidates(self, stored: Array) -> Array:
        """Places whose highest value reaches the threshold, at most as many as are compared. NaN does not."""
        best = self._of_labels(stored).max(axis=0) if self.first == 4 else stored[4]
        at: Array = np.flatnonzero(best >= self._stored_threshold())
        if len(at) > self.options.candidates:
            at = at[np.argpartition(best[at], -self.options.candidates)[-self.options.candidates :]]
        return at

    @property
    def _tensor(self) -> Tensor:
        return self.tensors[0] if self.tensors else REAL

    def _stored_threshold(self) -> float:
        """min_score as the output stores it: the order of stored values is that of the real ones."""
        min_score: float = self.options.min_score
        tensor = self._tensor
        return ceil(min_score / tensor.scale) + tensor.zero_point if tensor.scale else min_score

    def _real(self, stored: Array) -> Array:
        real: Array = stored.astype(np.float32)
        tensor = self._tensor
        return (real - np.float32(tensor.zero_point)) * np.float32(tensor.scale) if tensor.scale else real

    def _best_labels(self, rows: Array) -> tuple[Array, Array]:
        """(score [k], number of what is reported [k]; -1: it is not) of each place."""
        if not self.first:
            whole = (rows[5] == np.rint(rows[5])) & (rows[5] >= 0) & (rows[5] < len(self.labels))
            return rows[4], np.where(whole, self.numbers[np.where(whole, rows[5], 0).astype(int)], -1)
        of_labels = self._of_labels(rows)
        best = of_labels.argmax(axis=0)
        scores = of_labels[best, np.arange(len(best))]
        return (scores * rows[4] if self.first == 5 else scores), self.numbers[self.numbers >= 0][best]

    def _of_labels(self, rows: Array) -> Array:
        """Those of labels that are reported."""
        of_labels = rows[self.first :]
        return of_labels[self.numbers >= 0] if self.options.groups else of_labels

    def _boxes(self, rows: Array, at: Array) -> Array:
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


def _grid(width: int, height: int) -> tuple[Array, Array]:
    """Cells x, y [2, places] and the stride of each [places], float32: level by level, row by row."""
    cells, strides = [], []
    for stride in STRIDES:
        x, y = np.meshgrid(np.arange(width // stride), np.arange(height // stride))
        cells.append(np.stack([x.reshape(-1), y.reshape(-1)]))
        strides.append(np.full(x.size, stride))
    return np.concatenate(cells, axis=1).astype(np.float32), np.concatenate(strides).astype(np.float32)
