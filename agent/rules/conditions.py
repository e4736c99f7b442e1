"""Rules and their conditions as the configuration gives them, checked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from agent.commands import wire
from agent.data import Scalar
from agent.rules.zones import ZoneRef
from agent.section import Section

KINDS = ("any", "all", "some", "sum")


class Condition(Section):
    """`label` with at least `score` (or `absent`) in `hits` of the last `of` inferences, the newest within `within_ms`.

    `count`: this many of them in one inference. `zone`: only those inside it.
    """

    lane: str
    label: str
    score: float = Field(0.5, gt=0, le=1)
    hits: int = Field(1, ge=1, le=1000)
    of: int = Field(1, ge=1, le=1000)
    absent: bool = Field(False, description="an inference without that label is the hit")
    count: int = Field(1, ge=1, le=1000, description="at least this many of that label and score in one inference")
    zone: ZoneRef = Field("", description="only what is in this zone of the lane: its name, or corners")
    zone_by: Literal["foot", "middle"] = Field(
        "foot", description="foot: lower edge's middle. middle: for views from above"
    )
    within_ms: float = Field(500.0, gt=0, description="a lane whose newest inference is older than this is missing")
    memory_ms: float = Field(
        0.0, ge=0, le=3.6e6, description="still counts this long after it last held: a scream is short"
    )
    weight: float = Field(1.0, gt=0, le=100, description="in a sum: factor on this source's log-odds")
    absent_penalty: float = Field(
        0.0, ge=0, le=100, description="in a sum: log-odds subtracted while its lane infers without a hit"
    )
    missing_penalty: float = Field(
        0.5, ge=0, le=100, description="in a sum: log-odds subtracted while its lane is missing"
    )

    @model_validator(mode="after")
    def _hits_possible(self) -> Condition:
        if self.hits > self.of:
            raise ValueError(f"hits: {self.hits} of the last {self.of} can never happen")
        return self


class RuleConfig(Section):
    """While its conditions hold, `actuator` must do `verb`, and for `hold_ms` after.

    Exactly one list of conditions. `any`: one of them holds; `all`; `some`: `at_least` of them; `sum`: the evidence of
    all of them together reaches `confidence` (see fusion.py).
    """

    any: list[Condition] = []
    all: list[Condition] = []
    some: list[Condition] = []
    at_least: int = Field(2, ge=1, le=64, description="of the conditions under `some`")
    sum: list[Condition] = []
    confidence: float = Field(0.9, gt=0, lt=1, description="of a sum: probability from which it holds")
    prior: float = Field(0.2, gt=0, lt=1, description="of a sum: probability before any evidence")
    actuator: str
    verb: str
    arguments: dict[str, Scalar] = Field({}, max_length=wire.MAX_ARGUMENTS)
    hold_ms: float = Field(0.0, ge=0, le=1e9, description="stay in force this long after the conditions last held")
    deadline_ms: float = Field(10.0, gt=0, le=1e9, description="from capture to sending")
    late: Literal["send", "drop"] = Field("send", description="past the deadline: send it marked, or drop and count it")
    every_sample: bool = Field(False, description="a new decision on each sample, not only when the outcome changes")

    @field_validator("verb")
    @classmethod
    def _sendable_verb(cls, verb: str) -> str:
        if not wire.is_name(verb):
            raise ValueError("expected 1 to 32 printable characters")
        return verb

    @field_validator("arguments")
    @classmethod
    def _sendable_arguments(cls, arguments: dict[str, Scalar]) -> dict[str, Scalar]:
        for name, value in arguments.items():
            if not wire.is_name(name) or not wire.is_scalar(value):
                raise ValueError(
                    f"argument '{name}': expected a name with a finite number, a truth value or at most 64 characters"
                )
        return arguments

    @model_validator(mode="after")
    def _one_possible_kind(self) -> RuleConfig:
        if len([kind for kind in KINDS if getattr(self, kind)]) != 1:
            raise ValueError("a rule has a list of conditions under one of 'any', 'all', 'some' and 'sum'")
        if self.some and self.at_least > len(self.some):
            raise ValueError(f"at_least: {self.at_least} of {len(self.some)} conditions can never hold")
        if self.sum and _any_absent(self.sum):
            raise ValueError("absent: a missing label is no evidence in a sum: use 'absent_penalty'")
        return self

    @property
    def kind(self) -> str:
        """Under which of KINDS its conditions are."""
        return next(kind for kind in KINDS if getattr(self, kind))

    @property
    def conditions(self) -> list[Condition]:
        conditions: list[Condition] = getattr(self, self.kind)
        return conditions


def _any_absent(conditions: list[Condition]) -> bool:
    return any(condition.absent for condition in conditions)
