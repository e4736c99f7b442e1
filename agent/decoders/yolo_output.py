"""Where the outputs of a YOLO model have boxes and what follows them; the cells of its grids."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from agent.data import Array

STRIDES = (8, 16, 32)
COORDINATES = 4


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


def parts(shapes: Sequence[tuple[int, ...]], rows: int, may_be_two: bool) -> tuple[Part, Part] | None:
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


def grid(width: int, height: int) -> tuple[Array, Array]:
    """Cells x, y [2, places] and the stride of each [places], float32: level by level, row by row."""
    cells, strides = [], []
    for stride in STRIDES:
        x, y = np.meshgrid(np.arange(width // stride), np.arange(height // stride))
        cells.append(np.stack([x.reshape(-1), y.reshape(-1)]))
        strides.append(np.full(x.size, stride))
    return np.concatenate(cells, axis=1).astype(np.float32), np.concatenate(strides).astype(np.float32)
