"""Evidence -> decisions. Rules are data; per actuator the first one that holds wins, else it rests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent import fusion
from agent.conditions import Condition, RuleConfig
from agent.data import Decision, Evidence
from agent.zones import Zone

MS = 1_000_000


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
        self.t_capture = -1  # of the lane's newest inference
        self.t_hit = -(1 << 62)  # of the newest one that made it hold

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
        if self.history.bit_count() >= self.condition.hits:
            self.t_hit = t_capture

    def holds(self, now: int) -> bool:
        """Its newest inference is recent and made it so, or one did that is to be kept."""
        if self.t_hit == self.t_capture and not self.missing(now):
            return True
        return now - self.t_hit <= self.condition.keep_ms * MS

    def missing(self, now: int) -> bool:
        """Its lane has said nothing for too long, or never: broken, slow, not there."""
        return self.t_capture < 0 or now - self.t_capture > self.condition.within_ms * MS

    @property
    def score(self) -> float:
        return max((one.score for one in self.seen), default=0.0)


class Rule:
    def __init__(self, name: str, config: RuleConfig) -> None:
        self.name = name
        self.config = config
        self.watches = [Watch(condition) for condition in config.conditions]
        self.needed = {"any": 1, "all": len(self.watches), "some": config.at_least, "sum": 0}[config.kind]
        self.confidence = 0.0  # of a sum
        self.lacking: tuple[str, ...] = ()  # lanes that were missing
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
        holds = self.adds_up(holding, now) if self.config.sum else len(holding) >= self.needed
        self.triggered = holds and mine
        if holds:
            self.until = now + int(self.config.hold_ms * MS)
            self.reasons = tuple(one for watch in holding if not watch.condition.absent for one in watch.seen)
        return holds or now < self.until

    def adds_up(self, holding: Sequence[Watch], now: int) -> bool:
        """Evidence for, less what quiet and missing sources take off: these never add."""
        odds = fusion.log_odds(self.config.prior)
        lacking = []
        for watch in self.watches:
            c = watch.condition
            if watch in holding:
                odds += c.weight * max(0.0, fusion.log_odds(watch.score))
            elif watch.missing(now):
                odds -= c.missing
                lacking.append(c.lane)
            else:
                odds -= c.quiet
        self.confidence, self.lacking = fusion.probability(odds), tuple(lacking)
        return bool(holding) and self.confidence >= self.config.confidence


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
            decision = Decision(
                self.number, winner.name, actuator, c.verb, c.arguments, winner.reasons, t_capture, deadline,
                winner.confidence, winner.lacking,
            )  # fmt: skip
        self.in_force[actuator] = decision
        return decision
