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
    """Which cells form a box."""

    threshold: float = Field(0.5, gt=0, le=1, description="a cell with this score or more belongs to a box")
    min_cells: int = Field(1, ge=1, description="smaller groups of cells are not reported")
    one_label: bool = Field(
        False, description="labels exclude each other: one box per group of cells, of its strongest label"
    )
    wake_up_gate: bool = Field(
        False, description="what is apart may share a box: it says that there is something, not where; check warns"
    )


class Decoder(base.Decoder):
    """Output [1, rows, columns, labels] of scores 0..1."""

    Options = Options
    NEEDS = "one output [1, rows, columns, labels]"

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][3] != len(self.labels):
            raise DecoderError(
                f"grid needs one output [1, rows, columns, {len(self.labels)}] for its labels; the model gives"
                f" {list(shapes)}"
            )

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        if self.options.one_label:
            return _exclusive_findings(outputs[0][0], self.labels, self.options.threshold, self.options.min_cells)
        findings = []
        for number, label in enumerate(self.labels):
            scored = boxes(outputs[0][0, :, :, number], self.options.threshold, self.options.min_cells)
            findings += [Finding(label, score, box) for score, box in scored]
        return findings

    def scores(self, outputs: Sequence[Array]) -> Array:
        return outputs[0]


def boxes(scores: Array, threshold: float, min_cells: int = 1) -> list[tuple[float, Box]]:
    """Groups of cells that touch by side or corner: the highest score of each and the box around it, best first."""
    scored = [(base.probability(float(scores[part].max())), box) for part, box in _groups(scores, threshold, min_cells)]
    return sorted(scored, reverse=True)


def _exclusive_findings(scores: Array, labels: Sequence[str], threshold: float, min_cells: int) -> list[Finding]:
    """For scores [rows, columns, labels] that are shares of one: a cell counts by the sum of its scores."""
    findings = []
    for part, box in _groups(scores.sum(axis=2), threshold, min_cells):
        inside = scores[part]
        number = int(inside.sum(axis=0).argmax())
        findings.append(Finding(labels[number], base.probability(float(inside[:, number].max())), box))
    return sorted(findings, key=lambda finding: -finding.score)


def _groups(scores: Array, threshold: float, min_cells: int) -> Iterator[tuple[Array, Box]]:
    """Which cells, bool [rows, columns], and the box around them."""
    mask = (scores >= threshold).astype(np.uint8)  # NaN is not
    if not mask.any():
        return
    rows, columns = scores.shape
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    groups: list[list[int]] = np.asarray(stats, int).tolist()
    for number, (x, y, width, height, cells) in enumerate(groups):
        if number and cells >= min_cells:  # number 0 is the rest of the picture
            yield numbers == number, Box(x / columns, y / rows, (x + width) / columns, (y + height) / rows)
