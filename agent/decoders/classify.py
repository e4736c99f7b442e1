"""One score per label, of a picture or of sound: [1, labels]."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import Field

from agent.data import Array
from agent.decoders import base
from agent.decoders.base import DecoderError, DecoderOptions, Finding


class Options(DecoderOptions):
    min_score: float = Field(0.1, ge=0, le=1, description="labels below this are not reported")
    top: int = Field(5, ge=1, description="report at most so many labels")
    groups: dict[str, list[str]] = Field(
        {},
        max_length=64,
        description="label: the model's own labels that mean it; only these are reported, each as its surest",
    )


class Decoder(base.Decoder):
    Options = Options

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        count = shapes[0][-1]
        if count != len(self.labels):
            raise DecoderError(f"the model gives {count} scores and the manifest names {len(self.labels)} labels")
        self.groups = [(group, [self.place(group, label) for label in own]) for group, own in options.groups.items()]
        if empty := [group for group, own in self.groups if not own]:
            raise DecoderError(f"options.groups.{empty[0]}: name at least one label of the model")

    def place(self, group: str, label: str) -> int:
        """Of a label's score. Raises DecoderError."""
        if label in self.labels:
            return self.labels.index(label)
        close = get_close_matches(label, self.labels, 1, 0.5)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise DecoderError(f"options.groups.{group}: the model has no label '{label}'{hint}")

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        scores = outputs[0].reshape(-1).tolist()
        least = self.options.min_score
        said = [(group, _surest(scores, own)) for group, own in self.groups] or zip(self.labels, scores)
        found = [Finding(label, min(score, 1.0)) for label, score in said if score >= least]
        if len(found) > 1:
            found.sort(key=lambda finding: -finding.score)
        return found[: self.options.top]


def _surest(scores: list[float], places: list[int]) -> float:
    """The highest of those scores; -1 where none is a number."""
    return max((scores[place] for place in places if scores[place] >= 0), default=-1.0)
