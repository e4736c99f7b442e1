"""MoveNet single pose: 17 keypoints, and from them whether there is a person and whether it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import atan2, isfinite, pi, prod
from typing import Any

import numpy as np
from pydantic import Field

from agent.data import Array, Box
from agent.decoders import base
from agent.decoders.base import DecoderError, DecoderOptions, Finding

LABELS = ("lying", "person")
KEYPOINTS = 17
SHOULDERS, HIPS = (5, 6), (11, 12)


class Options(DecoderOptions):
    """Which keypoints make a person."""

    keypoint_score: float = Field(0.2, ge=0, le=1, description="keypoints below this are not detected")
    min_keypoints: int = Field(5, ge=1, le=KEYPOINTS, description="fewer detected keypoints are no person")


class Decoder(base.Decoder):
    """Output [1, 1, 17, 3]: y, x, score. `keypoints` keeps the newest ones, float32 [17, 3], for later stages."""

    Options = Options
    NEEDS = "one output [1, 1, 17, 3]"

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        if len(shapes) != 1 or shapes[0][-2:] != (KEYPOINTS, 3) or prod(shapes[0]) != KEYPOINTS * 3:
            raise DecoderError(f"movenet needs an output [1, 1, 17, 3], the model gives {', '.join(map(str, shapes))}")
        self.keypoints = np.zeros((KEYPOINTS, 3), np.float32)

    @classmethod
    def finds_keypoints(cls, options: Mapping[str, Any]) -> bool:
        return True

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        points = self.keypoints = outputs[0].reshape(KEYPOINTS, 3)
        # Plain floats: on 17 points they are several times faster than array operations.
        rows = points.tolist()
        detected = [row for row in rows if row[2] >= self.options.keypoint_score]
        if len(detected) < self.options.min_keypoints:
            return []
        ys, xs, scores = zip(*detected)
        box = Box(max(min(xs), 0.0), max(min(ys), 0.0), min(max(xs), 1.0), min(max(ys), 1.0))
        findings = [Finding("person", base.probability(sum(scores) / len(scores)), box)]
        lying = _lying(rows)
        if lying > 0:
            findings.append(Finding("lying", lying, box))
        return findings

    def scores(self, outputs: Sequence[Array]) -> Array:
        return outputs[0].reshape(KEYPOINTS, 3)[:, 2]


def _lying(rows: Sequence[Sequence[float]]) -> float:
    """0 upright .. 1 flat: how far the line from hips to shoulders has left the vertical, as a share of 90 degrees."""
    up = sum(rows[i][0] for i in HIPS) / 2 - sum(rows[i][0] for i in SHOULDERS) / 2
    aside = abs(sum(rows[i][1] for i in HIPS) / 2 - sum(rows[i][1] for i in SHOULDERS) / 2)
    if not (isfinite(up) and isfinite(aside)) or (up == 0 and aside == 0):
        return 0.0
    return min(atan2(aside, up) / (pi / 2), 1.0)
