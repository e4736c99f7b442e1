"""Evidence -> decisions. Rules are data; per actuator the first one that holds wins, else it rests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agent import wire
from agent.data import Decision, Evidence, Scalar
from agent.zones import Place, Zone

MS = 1_000_000


class Condition(BaseModel):
    """`label` with at least `score` (or `absent`) in `hits` of the last `of` inferences, the newest within `within_ms`.

    With `count` at least so many of them at a time, with `zone` only those there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    lane: str
    label: str
    score: float = Field(0.5, gt=0, le=1)
    hits: int = Field(1, ge=1, le=1000)
    of: int = Field(1, ge=1, le=1000)
    absent: bool = Field(False, description="an inference without that label is the hit")
    count: int = Field(1, ge=1, le=1000, description="so many of that label and score in one inference, at least")
    zone: Place = Field("", description="only what stands in this zone of the lane: its name, or corners")
    zone_by: Literal["foot", "middle"] = Field("foot", description="foot: lower edge's middle. middle: for views from above")
    within_ms: float = Field(500.0, gt=0, description="older evidence of this lane does not count")

    @model_validator(mode="after")
    def possible(self) -> Condition:
        if self.hits > self.of:
            raise ValueError(f"hits: {self.hits} of the last {self.of} can never happen")
        return self


class RuleConfig(BaseModel):
    """When `any` or `all` conditions hold, `actuator` shall do `verb`, and keep to it for `hold_ms`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    any: list[Condition] = []
    all: list[Condition] = []
    actuator: str
    verb: str
    arguments: dict[str, Scalar] = Field({}, max_length=wire.MAX_ARGUMENTS)
    hold_ms: float = Field(0.0, ge=0, le=1e9, description="stay with it for so long after the conditions last held")
    deadline_ms: float = Field(10.0, gt=0, le=1e9, description="from capture to sending")
    late: Literal["send", "drop"] = Field("send", description="past the deadline: send it marked, or drop it and count")
    every_sample: bool = Field(False, description="a new decision on each sample, not only when the outcome changes")

    @field_validator("verb")
    @classmethod
    def sendable_verb(cls, verb: str) -> str:
        if not wire.is_name(verb):
            raise ValueError("expected 1 to 32 printable characters")
        return verb

    @field_validator("arguments")
    @classmethod
    def sendable_arguments(cls, arguments: dict[str, Scalar]) -> dict[str, Scalar]:
        for name, value in arguments.items():
            if not wire.is_name(name) or not wire.is_scalar(value):
                raise ValueError(
                    f"argument '{name}': expected a name with a finite number, a truth value or at most 64 characters"
                )
        return arguments

    @model_validator(mode="after")
    def one_way(self) -> RuleConfig:
        if bool(self.any) == bool(self.all):
            raise ValueError("a rule has a list of conditions under either 'any' or 'all'")
        return self

    @property
    def conditions(self) -> list[Condition]:
        return self.any or self.all


class Watch:
    """A condition with its memory: one bit for each of the last `of` inferences."""

    def __init__(self, condition: Condition) -> None:
        """condition: its zone is a polygon (`with_zones` in runner.py puts it there); a mere name would let anything in."""
        assert not condition.zone or not isinstance(condition.zone, str), condition.zone
        self.condition = condition
        corners = () if isinstance(condition.zone, str) else condition.zone
        self.zone = Zone(corners, condition.zone_by == "middle") if corners else None
        self.mask = (1 << condition.of) - 1
        self.history = 0
        self.seen: list[Evidence] = []  # of the newest inference that had enough
        self.fresh: list[Evidence] = []
        self.t_capture = -1

    def take(self, t_capture: int, evidence: Sequence[Evidence]) -> None:
        label, score, zone, fresh = self.condition.label, self.condition.score, self.zone, self.fresh
        found = False
        fresh.clear()
        for one in evidence:
            if one.label == label and one.score >= score and (zone is None or (one.box is not None and zone.holds(one.box))):
                fresh.append(one)
                if len(fresh) == self.condition.count:
                    found, self.seen, self.fresh = True, fresh, self.seen
                    break
        self.history = (self.history << 1 | (found is not self.condition.absent)) & self.mask
        self.t_capture = t_capture

    def holds(self, now: int) -> bool:
        if self.history.bit_count() < self.condition.hits:
            return False
        return now - self.t_capture <= self.condition.within_ms * MS


class Rule:
    def __init__(self, name: str, config: RuleConfig) -> None:
        self.name = name
        self.config = config
        self.watches = [Watch(condition) for condition in config.conditions]
        self.needed = 1 if config.any else len(self.watches)
        self.until = -1
        self.triggered = False
        self.reasons: tuple[Evidence, ...] = ()

    def take(self, lane: str, now: int, t_capture: int, evidence: Sequence[Evidence]) -> bool:
        """Let the conditions on this lane see its evidence; True while the rule holds."""
        mine = False
        for watch in self.watches:
            if watch.condition.lane == lane:
                watch.take(t_capture, evidence)
                mine = True
        holding = [watch for watch in self.watches if watch.holds(now)]
        holds = len(holding) >= self.needed
        self.triggered = holds and mine
        if holds:
            self.until = now + int(self.config.hold_ms * MS)
            self.reasons = tuple(one for watch in holding if not watch.condition.absent for one in watch.seen)
        return holds or now < self.until


class Rules:
    """All rules of a box with what is in force at each actuator. Pure: time comes with the evidence."""

    def __init__(self, rules: Mapping[str, RuleConfig], rest: Mapping[str, str]) -> None:
        """rest: the verb of each actuator while none of its rules holds."""
        self.rules = [Rule(name, config) for name, config in rules.items()]
        self.rest = dict(rest)
        self.feeds: dict[str, list[str]] = {}
        for config in rules.values():
            for condition in config.conditions:
                fed = self.feeds.setdefault(condition.lane, [])
                if config.actuator not in fed:
                    fed.append(config.actuator)
        self.in_force: dict[str, Decision] = {}
        self.number = 0

    def adopt(self, old: Rules) -> None:
        """Go on where another set of rules was: same rules keep what they saw, and what they ordered stays in force."""
        self.number = old.number  # an actuator applies each number once
        known = {rule.name: rule for rule in old.rules}
        self.rules = [
            known[rule.name] if rule.name in known and known[rule.name].config == rule.config else rule for rule in self.rules
        ]
        kept = {rule.name for rule in self.rules if known.get(rule.name) is rule}
        for actuator, standing in old.in_force.items():
            if standing.rule in kept or (not standing.rule and standing.verb == self.rest.get(actuator)):
                self.in_force[actuator] = standing

    def decide(self, lane: str, now: int, t_capture: int, evidence: Sequence[Evidence]) -> list[Decision]:
        """What changes at the actuators that this lane feeds. evidence: of one inference, possibly none."""
        winners: dict[str, Rule | None] = dict.fromkeys(self.feeds.get(lane, ()))
        for rule in self.rules:
            if rule.config.actuator not in winners:
                continue
            if rule.take(lane, now, t_capture, evidence) and winners[rule.config.actuator] is None:
                winners[rule.config.actuator] = rule
        decisions = []
        for actuator, winner in winners.items():
            standing = self.in_force.get(actuator)
            same = standing is not None and standing.rule == (winner.name if winner else "")
            if not same or (winner is not None and winner.triggered and winner.config.every_sample):
                decisions.append(self.enforce(actuator, winner, now, t_capture))
        return decisions

    def enforce(self, actuator: str, winner: Rule | None, now: int, t_capture: int) -> Decision:
        self.number += 1
        if winner is None:
            decision = Decision(self.number, "", actuator, self.rest[actuator], {}, (), t_capture, 0)
        else:
            c = winner.config
            deadline = t_capture + int(c.deadline_ms * MS)
            decision = Decision(self.number, winner.name, actuator, c.verb, c.arguments, winner.reasons, t_capture, deadline)
        self.in_force[actuator] = decision
        return decision
