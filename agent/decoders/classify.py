"""One score per label, of a picture or of sound: [1, labels]."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Literal

from pydantic import Field

from agent.data import Array
from agent.decoders import base
from agent.decoders.base import DecoderError, DecoderOptions, Finding


class Options(DecoderOptions):
    """Which labels are reported."""

    min_score: float = Field(0.1, ge=0, le=1, description="labels below this are not reported")
    top: int = Field(5, ge=1, description="report at most this many labels")
    activation: Literal["none", "softmax", "sigmoid"] = Field(
        "none", description="of a model that ends in logits: softmax where labels exclude each other, else sigmoid"
    )
    groups: dict[str, list[str]] = Field(
        {},
        max_length=64,
        description="label: the model's own labels for it; only groups are reported, each with its highest score",
    )


class Decoder(base.Decoder):
    """Output [1, labels] of scores 0..1, or of logits with an activation."""

    Options = Options
    NEEDS = "one output [1, labels]"

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        count = prod(shapes[0])
        if len(shapes) != 1 or count not in (*shapes[0], 1):
            raise DecoderError(f"one score per label is one output [1, labels]; the model gives {list(shapes)}")
        if count != len(self.labels):
            raise DecoderError(f"the model gives {count} scores and the manifest names {len(self.labels)} labels")
        self.groups = [(group, base.members(group, names, self.labels)) for group, names in options.groups.items()]

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        scores = self.scores(outputs).tolist()
        min_score = self.options.min_score
        labelled = [(group, _highest(scores, members)) for group, members in self.groups] or zip(self.labels, scores)
        findings = [Finding(label, base.probability(score)) for label, score in labelled if score >= min_score]
        if len(findings) > 1:
            findings.sort(key=lambda finding: -finding.score)
        return findings[: self.options.top]

    def scores(self, outputs: Sequence[Array]) -> Array:
        values = outputs[0].reshape(-1)
        if self.options.activation == "none":
            return values
        return base.softmax(values) if self.options.activation == "softmax" else base.sigmoid(values)

    def mistake(self, outputs: Sequence[Array]) -> str:
        reason = super().mistake(outputs)
        advice = (
            "if they are logits, set 'options: {activation: softmax}' (model init --activation softmax), or sigmoid"
            " where labels do not exclude each other"
        )
        return f"{reason}: {advice}" if reason else ""


def _highest(scores: list[float], indices: list[int]) -> float:
    """The highest of these scores; -1 where all are NaN."""
    return max((scores[index] for index in indices if scores[index] >= 0), default=-1.0)
