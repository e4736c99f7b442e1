"""A score per label and cell of a coarse grid: [1, rows, columns, labels]. Touching cells become one box."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from pydantic import Field

from agent.data import Array, Box
from agent.decoders import base
from agent.decoders.base import DecoderError, DecoderOptions, Finding


class Options(DecoderOptions):
    threshold: float = Field(0.5, gt=0, le=1, description="a cell with this score or more belongs to a box")
    min_cells: int = Field(1, ge=1, description="smaller groups of cells are not reported")
    one_label: bool = Field(
        False, description="labels exclude each other: one box a place, of the label that has most there"
    )


class Decoder(base.Decoder):
    Options = Options

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        if len(shapes[0]) != 4 or shapes[0][3] != len(self.labels):
            raise DecoderError(
                f"grid needs [1, rows, columns, {len(self.labels)}] for its labels; the model gives {shapes[0]}"
            )

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        if self.options.one_label:
            return _places(outputs[0][0], self.labels, self.options.threshold, self.options.min_cells)
        found = []
        for number, label in enumerate(self.labels):
            scores = outputs[0][0, :, :, number]
            found += [
                Finding(label, score, box)
                for score, box in boxes(scores, self.options.threshold, self.options.min_cells)
            ]
        return found


def boxes(scores: Array, threshold: float, min_cells: int = 1) -> list[tuple[float, Box]]:
    """Groups of cells that touch by side or corner: the highest score of each and the box around it, best first."""
    found = [(min(float(scores[part].max()), 1.0), box) for part, box in _groups(scores, threshold, min_cells)]
    return sorted(found, reverse=True)


def _places(scores: Array, labels: Sequence[str], threshold: float, min_cells: int) -> list[Finding]:
    """The same for scores [rows, columns, labels] that are shares of one: a cell is hot by what they come to together."""
    found = []
    for part, box in _groups(scores.sum(axis=2), threshold, min_cells):
        inside = scores[part]
        number = int(np.nan_to_num(inside, posinf=1.0).sum(axis=0).argmax())
        found.append(Finding(labels[number], min(float(inside[:, number].max()), 1.0), box))
    return sorted(found, key=lambda finding: -finding.score)


def _groups(scores: Array, threshold: float, min_cells: int) -> Iterator[tuple[Array, Box]]:
    """Which cells, bool [rows, columns], and the box around them."""
    hot = (scores >= threshold).astype(np.uint8)  # NaN is not
    if not hot.any():
        return
    rows, columns = scores.shape
    _, marks, shapes, _ = cv2.connectedComponentsWithStats(hot, connectivity=8)
    every: list[list[int]] = np.asarray(shapes, int).tolist()
    for mark, (x, y, width, height, cells) in enumerate(every):
        if mark and cells >= min_cells:  # mark 0 is the rest of the picture
            yield marks == mark, Box(x / columns, y / rows, (x + width) / columns, (y + height) / rows)
