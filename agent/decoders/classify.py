"""One score per label, of a picture: [1, labels]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from agent.data import Array
from agent.decoders import base
from agent.decoders.base import DecoderError, DecoderOptions, Finding


class Options(DecoderOptions):
    min_score: float = Field(0.1, ge=0, le=1, description="labels below this are not reported")
    top: int = Field(5, ge=1, description="report at most so many labels")


class Decoder(base.Decoder):
    Options = Options

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        count = shapes[0][-1]
        if count != len(self.labels):
            raise DecoderError(f"the model gives {count} scores and the manifest names {len(self.labels)} labels")

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        scores = outputs[0].reshape(-1).tolist()
        least = self.options.min_score
        found = [Finding(label, min(score, 1.0)) for label, score in zip(self.labels, scores) if score >= least]
        if len(found) > 1:
            found.sort(key=lambda finding: -finding.score)
        return found[: self.options.top]
