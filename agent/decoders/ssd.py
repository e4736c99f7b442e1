"""Detections after the model's own non-maximum suppression: TFLite_Detection_PostProcess."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, prod
from typing import Any

import numpy as np
from pydantic import Field

from agent.data import Array, Box
from agent.decoders import base
from agent.decoders.base import DecoderError, DecoderOptions, Finding

MAX_COORDINATE = 4.0  # of a corner, in pictures: a box may reach beyond the picture a little
OTHER_ORDER = "are the outputs in another order? 'outputs' names them as boxes, classes, scores, count"


class Options(DecoderOptions):
    """Which detections are reported."""

    min_score: float = Field(0.3, ge=0, le=1, description="detections below this are not reported")
    top: int = Field(10, ge=1, description="report at most this many detections")


class Decoder(base.Decoder):
    """Outputs: boxes [1, n, 4] as top, left, bottom, right in 0..1; classes [1, n]; scores [1, n]; count [1]."""

    Options = Options
    NEEDS = "boxes [1, n, 4], classes [1, n], scores [1, n] and count [1]"
    varying_axis = 1

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        fits = len(shapes) == 4 and list(map(len, shapes[:3])) == [3, 2, 2] and shapes[0][-1] == 4
        if not fits or prod(shapes[3]) != 1:
            raise DecoderError(
                f"ssd needs boxes, classes, scores and count: {self.NEEDS}; the model gives {list(shapes)}: where the"
                " order differs, 'outputs' has their names in this one"
            )
        if not labels:
            raise DecoderError("ssd: the manifest names no labels: no detection would be reported")

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        boxes, classes, scores, count = outputs
        if not boxes.shape[1] == classes.shape[1] == scores.shape[1]:
            counts = f"{boxes.shape[1]} boxes, {classes.shape[1]} classes, {scores.shape[1]} scores"
            raise DecoderError(f"the detections do not belong together: {counts}")
        if not _possible(float(count.reshape(-1)[0])):
            return []
        findings = []
        for corners, kind, score in zip(boxes[0].tolist(), classes[0].tolist(), scores[0].tolist()):
            if not score >= self.options.min_score:  # NaN is skipped, too
                continue
            if not kind.is_integer():
                raise DecoderError(f"a class of {kind:g} is no number of a label: {OTHER_ORDER}")
            if not 0 <= kind < len(self.labels):
                continue
            top, left, bottom, right = corners
            findings.append(Finding(self.labels[int(kind)], base.probability(score), Box(left, top, right, bottom)))
        return findings[: self.options.top]

    def scores(self, outputs: Sequence[Array]) -> Array:
        return outputs[2]

    def mistake(self, outputs: Sequence[Array]) -> str:
        boxes, classes, scores, _ = outputs
        if (classes != np.rint(classes)).any() or (classes < 0).any():
            odd = classes[(classes != np.rint(classes)) | (classes < 0)][0]
            return f"the second output has {odd:g}, which is no number of a label: {OTHER_ORDER}"
        if reason := super().mistake(outputs):
            return f"{reason}: {OTHER_ORDER}"
        reported = boxes[scores >= self.options.min_score]
        if reported.size and np.abs(reported).max() > MAX_COORDINATE:
            return f"its boxes go to {np.abs(reported).max():.4g}: they must be shares of the picture, not pixels"
        return ""


def _possible(count: float) -> bool:
    """False where it is not finite, as of scores that are NaN. Raises DecoderError where it is no count.

    More than there are places is one: some exports state the most there can be.
    """
    if isfinite(count) and not (count >= 0 and count.is_integer()):
        raise DecoderError(f"a count of {count:g} is no number of detections: {OTHER_ORDER}")
    return isfinite(count)
