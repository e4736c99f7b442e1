"""YOLO: a box, and a score for each label, at thousands of places of a picture; or boxes that are already sorted out.

v5: centre, size, objectness, labels (https://docs.ultralytics.com/yolov5). v8, also 11: centre, size, labels. yolox: as
v5, but of a cell of the grids of strides 8, 16 and 32: offset from its corner, logarithm of the size in strides
(arXiv:2107.08430). end-to-end: left, top, right, bottom, score, number of the label, after the model's own suppression.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import Any, ClassVar, Literal, NamedTuple

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
COORDINATES = 4
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


class Part(NamedTuple):
    """Rows of an output: the boxes, or what follows them. rows_first: the output is [1, rows, places]."""

    output: int
    rows_first: bool
    first: int
    end: int

    def of(self, outputs: Sequence[Array]) -> Array:
        """[rows, places], a view."""
        values = outputs[self.output][0]
        view: Array = (values if self.rows_first else values.T)[self.first : self.end]
        return view


class Decoder(base.Decoder):
    """Output [1, rows, places] or [1, places, rows], as stored: only what passes the threshold is computed.

    Rows: see the top of this file. 84 rows of 8,400 places are 700,000 values, of which a few hundred matter. Boxes and
    the rows after them may be two outputs, each with a scale of its own.
    """

    Options = Options
    NEEDS = "one output [1, 4 or 5 + labels, places], or with both last sizes exchanged, or [1, places, 6]"
    reads_stored: ClassVar[bool] = True

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        self.first = BEFORE_LABELS.get(options.layout, 0)
        rows = self.first + len(self.labels) if self.first else ROWS_AT_END
        parts = _parts(shapes, rows, bool(self.first)) if labels else None
        if not parts:
            raise DecoderError(
                f"yolo with layout {options.layout} and {len(self.labels)} labels needs one output [1, {rows}, places]"
                f" or [1, places, {rows}], or boxes [1, places, {COORDINATES}] and scores"
                f" [1, places, {rows - COORDINATES}]; the model gives {list(shapes)}"
            )
        self.boxes, self.values = parts
        self.names, self.numbers = self._reported(options.groups)
        self.divisor = np.asarray(options.size or (1, 1), np.float32).reshape(2, 1)
        self.grid: tuple[Array, Array] | None = _grid(*options.size) if options.layout == "yolox" else None
        places = shapes[self.boxes.output][2 if self.boxes.rows_first else 1]
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
        stored = self.values.of(outputs)
        at = self._candidates(stored)
        if not len(at):
            return []
        scores, kinds = self._best_labels(self._real(stored[:, at], self.values))
        boxes = self._corners(self._real(self.boxes.of(outputs)[:, at], self.boxes), at)
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
        stored = self.values.of(outputs)
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
        of_labels = values[self.first - COORDINATES :]
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


def _parts(shapes: Sequence[tuple[int, ...]], rows: int, may_be_two: bool) -> tuple[Part, Part] | None:
    """Where boxes, and what follows them, are; None where these are other outputs. rows: of both together."""
    if any(len(shape) != 3 or shape[0] != 1 for shape in shapes):
        return None
    if len(shapes) == 1 and rows in shapes[0][1:]:
        rows_first = shapes[0][1] == rows
        return Part(0, rows_first, 0, COORDINATES), Part(0, rows_first, COORDINATES, rows)
    for boxes, values in ((0, 1), (1, 0)) if len(shapes) == 2 and may_be_two else ():
        pair = _part(shapes, boxes, COORDINATES), _part(shapes, values, rows - COORDINATES)
        if pair[0] and pair[1] and prod(shapes[boxes]) * (rows - COORDINATES) == prod(shapes[values]) * COORDINATES:
            return pair[0], pair[1]
    return None


def _part(shapes: Sequence[tuple[int, ...]], output: int, rows: int) -> Part | None:
    """A whole output of so many rows."""
    shape = shapes[output]
    return Part(output, shape[1] == rows, 0, rows) if rows in shape[1:] else None


def _grid(width: int, height: int) -> tuple[Array, Array]:
    """Cells x, y [2, places] and the stride of each [places], float32: level by level, row by row."""
    cells, strides = [], []
    for stride in STRIDES:
        x, y = np.meshgrid(np.arange(width // stride), np.arange(height // stride))
        cells.append(np.stack([x.reshape(-1), y.reshape(-1)]))
        strides.append(np.full(x.size, stride))
    return np.concatenate(cells, axis=1).astype(np.float32), np.concatenate(strides).astype(np.float32)
