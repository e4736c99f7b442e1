"""NanoDet-Plus: per pyramid level a score for each label and cell, and the distances of the box's four sides.

Each distance is the mean of a distribution over whole cells (generalized focal loss, arXiv:2006.04388).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any

import numpy as np
from pydantic import Field

from agent.data import Array, Box
from agent.decoders import base
from agent.decoders.base import DecoderError, DecoderOptions, Finding
from agent.decoders.boxes import suppress

SIDES = 4  # left, top, right, bottom


class Options(DecoderOptions):
    """Which detections are reported."""

    min_score: float = Field(0.35, gt=0, le=1, description="cells below this are no detections")
    overlap: float = Field(
        0.6, ge=0, le=1, description="intersection over union from which two boxes of a label are the same object"
    )
    candidates: int = Field(200, ge=1, le=2000, description="compare at most this many cells, the best ones")
    top: int = Field(10, ge=1, description="report at most this many detections")


class Decoder(base.Decoder):
    """Outputs: scores [1, n * n, labels] of each level, then distances [1, n * n, 4 * bins] in the same order.

    A level is n by n cells of a square input, so its stride in pixels need not be known.
    """

    Options = Options
    NEEDS = "of each level scores [1, n * n, labels], then of each level distances [1, n * n, 4 * bins]"

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        self.levels = len(shapes) // 2
        scores, sides = shapes[: self.levels], shapes[self.levels :]
        if not self.levels or len(scores) != len(sides) or not all(map(self._fits, scores, sides)):
            raise DecoderError(
                f"nanodet needs scores [1, n * n, {len(self.labels)}] per level and then as many distances"
                f" [1, n * n, 4 * bins]; the model gives {list(shapes)}"
            )
        grids = [_grid(isqrt(shape[1])) for shape in scores]
        self.centres = np.concatenate([centres for centres, _ in grids])
        self.cell_sizes = np.concatenate([sizes for _, sizes in grids])

    def _fits(self, scores: tuple[int, ...], sides: tuple[int, ...]) -> bool:
        return (
            len(scores) == len(sides) == 3
            and scores[:2] == sides[:2] == (1, isqrt(scores[1]) ** 2)
            and scores[2] == len(self.labels)
            and sides[2] % SIDES == 0
            and sides[2] == self.shapes[-1][2] > SIDES
        )

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        scores = self.scores(outputs)
        best = scores.max(axis=1)  # NaN where any score is
        at = np.flatnonzero(best >= self.options.min_score)
        at = at[np.argsort(-best[at], kind="stable")][: self.options.candidates]
        if not len(at):
            return []
        sides = np.concatenate([output[0] for output in outputs[self.levels :]])[at]
        boxes = _boxes(self.centres[at], distances(sides) * self.cell_sizes[at])
        finite = np.isfinite(boxes).all(axis=1)
        at, boxes = at[finite], boxes[finite]
        kinds = scores[at].argmax(axis=1)
        kept = suppress(boxes, kinds, self.options.overlap, self.options.top)
        return [
            Finding(self.labels[kinds[n]], base.probability(float(best[at[n]])), Box(*boxes[n].tolist())) for n in kept
        ]

    def scores(self, outputs: Sequence[Array]) -> Array:
        scores: Array = np.concatenate([output[0] for output in outputs[: self.levels]])
        return scores


def _grid(n: int) -> tuple[Array, Array]:
    """Middles x, y of n by n cells, row by row, and their sizes: float32 [n * n, 2] and [n * n, 1], shares."""
    middles = (np.arange(n, dtype=np.float32) + np.float32(0.5)) / np.float32(n)
    x, y = np.meshgrid(middles, middles)
    return np.stack([x.reshape(-1), y.reshape(-1)], axis=1), np.full((n * n, 1), 1.0 / n, np.float32)


def distances(sides: Array) -> Array:
    """Logits [k, 4 * bins] to cells [k, 4]: the mean of bin 0, 1, 2 ... under the softmax; NaN where undefined."""
    bins = sides.shape[1] // SIDES
    with np.errstate(invalid="ignore"):  # infinity less infinity
        logits = sides.reshape(-1, SIDES, bins).astype(np.float32)
        weights = np.exp(logits - logits.max(axis=2, keepdims=True))
        means: Array = weights @ np.arange(bins, dtype=np.float32) / weights.sum(axis=2)
    return means


def _boxes(centres: Array, sides: Array) -> Array:
    """Boxes left, top, right, bottom [k, 4] within the picture, of middles [k, 2] and distances [k, 4]."""
    boxes: Array = np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], axis=1).clip(0.0, 1.0)
    return boxes
