"""Detections after the model's own non-maximum suppression: TFLite_Detection_PostProcess."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from agent.data import Array, Box
from agent.decoders import base
from agent.decoders.base import DecoderError, DecoderOptions, Finding


class Options(DecoderOptions):
    """Which detections are reported."""

    min_score: float = Field(0.3, ge=0, le=1, description="detections below this are not reported")
    top: int = Field(10, ge=1, description="report at most this many detections")


class Decoder(base.Decoder):
    """Outputs: boxes [1, n, 4] as top, left, bottom, right in 0..1; classes [1, n]; scores [1, n]; count [1]."""

    Options = Options
    varying_axis = 1

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        if len(shapes) != 4 or list(map(len, shapes[:3])) != [3, 2, 2] or shapes[0][-1] != 4:
            raise DecoderError(f"ssd needs boxes, classes, scores and count; the model gives {list(shapes)}")

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        boxes, classes, scores, _ = outputs
        if not boxes.shape[1] == classes.shape[1] == scores.shape[1]:
            counts = f"{boxes.shape[1]} boxes, {classes.shape[1]} classes, {scores.shape[1]} scores"
            raise DecoderError(f"the detections do not belong together: {counts}")
        findings = []
        for corners, kind, score in zip(boxes[0].tolist(), classes[0].tolist(), scores[0].tolist()):
            if not score >= self.options.min_score:  # NaN is skipped, too
                continue
            if not 0 <= kind < len(self.labels):
                continue
            top, left, bottom, right = corners
            findings.append(Finding(self.labels[int(kind)], min(score, 1.0), Box(left, top, right, bottom)))
        return findings[: self.options.top]
