"""Evidence -> decisions. Rules are data; per actuator the first one that holds wins, else it rests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.data import Decision, Evidence
from agent.rules import fusion
from agent.rules.conditions import Condition, RuleConfig
from agent.rules.zones import Zone

MS = 1_000_000


class ConditionState:
    """A condition with its memory: one bit for each of the last `of` inferences."""

    def __init__(self, condition: Condition) -> None:
        """condition: its zone is a polygon (agent/build.py puts it there for a name); a name would let anything in."""
        assert not condition.zone or not isinstance(condition.zone, str), condition.zone
        self.condition = condition
        corners = () if isinstance(condition.zone, str) else condition.zone
        self.zone = Zone(corners, condition.zone_by == "middle") if corners else None
        self.mask = (1 << condition.of) - 1
        self.history = 0
        self.evidence: list[Evidence] = []  # of the newest inference that had enough
        self._matching: list[Evidence] = []
        self.t_capture = -1  # of the lane's newest inference
        self.t_hit = -(1 << 62)  # of the newest one that made it hold

    def update(self, t_capture: int, evidence: Sequence[Evidence]) -> None:
        label, score, zone, matching = self.condition.label, self.condition.score, self.zone, self._matching
        enough = False
        matching.clear()
        for item in evidence:
            if item.label != label or not item.score >= score:
                continue
            if zone is None or (item.box is not None and zone.contains(item.box)):
                matching.append(item)
                if len(matching) == self.condition.count:
                    enough, self.evidence, self._matching = True, matching, self.evidence
                    break
        self.history = (self.history << 1 | (enough is not self.condition.absent)) & self.mask
        self.t_capture = t_capture
        if self.history.bit_count() >= self.condition.hits:
            self.t_hit = t_capture

    def holds(self, now: int) -> bool:
        """Its newest inference is recent and made it so, or one within memory_ms did."""
        if self.t_hit == self.t_capture and not self.missing(now):
            return True
        return now - self.t_hit <= self.condition.memory_ms * MS

    def missing(self, now: int) -> bool:
        """Its lane has inferred nothing for too long, or never: broken, slow, not there."""
        return self.t_capture < 0 or now - self.t_capture > self.condition.within_ms * MS

    @property
    def score(self) -> float:
        return max((item.score for item in self.evidence), default=0.0)


class Rule:
    def __init__(self, name: str, config: RuleConfig) -> None:
        self.name = name
        self.config = config
        self.states = [ConditionState(condition) for condition in config.conditions]
        self.needed = {"any": 1, "all": len(self.states), "some": config.at_least, "sum": 0}[config.kind]
        self.confidence = 0.0  # of a sum
        self.lacking: tuple[str, ...] = ()  # lanes that were missing
        self.until = -1
        self.triggered = False
        self.reasons: tuple[Evidence, ...] = ()

    def update(self, lane: str, now: int, t_capture: int, evidence: Sequence[Evidence]) -> bool:
        """Give the conditions on this lane its evidence; True while the rule holds."""
        triggering = False
        for state in self.states:
            if state.condition.lane == lane:
                state.update(t_capture, evidence)
                triggering = True
        holding = [state for state in self.states if state.holds(now)]
        holds = self._sum_holds(holding, now) if self.config.sum else len(holding) >= self.needed
        self.triggered = holds and triggering
        if holds:
            self.until = now + int(self.config.hold_ms * MS)
            self.reasons = tuple(item for state in holding if not state.condition.absent for item in state.evidence)
        return holds or now < self.until

    def _sum_holds(self, holding: Sequence[ConditionState], now: int) -> bool:
        """Evidence for, less the penalties of lanes that find nothing or are missing: these never add."""
        odds = fusion.log_odds(self.config.prior)
        lacking = []
        for state in self.states:
            c = state.condition
            if state in holding:
                odds += c.weight * max(0.0, fusion.log_odds(state.score))
            elif state.missing(now):
                odds -= c.missing_penalty
                lacking.append(c.lane)
            else:
                odds -= c.absent_penalty
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

    def carry_over(self, old: Rules) -> None:
        """Continue where another set of rules was: unchanged rules keep their state, and their decisions stay in force."""
        self.number = old.number  # an actuator applies each number once
        known = {rule.name: rule for rule in old.rules}
        self.rules = [
            known[rule.name] if rule.name in known and known[rule.name].config == rule.config else rule
            for rule in self.rules
        ]
        kept = {rule.name for rule in self.rules if known.get(rule.name) is rule}
        for actuator, in_force in old.in_force.items():
            if in_force.rule in kept or (not in_force.rule and in_force.verb == self.rest.get(actuator)):
                self.in_force[actuator] = in_force

    def decide(self, lane: str, now: int, t_capture: int, evidence: Sequence[Evidence]) -> list[Decision]:
        """What changes at the actuators that this lane feeds. evidence: of one inference, possibly none."""
        winners: dict[str, Rule | None] = dict.fromkeys(self.feeds.get(lane, ()))
        for rule in self.rules:
            if rule.config.actuator not in winners:
                continue
            if rule.update(lane, now, t_capture, evidence) and winners[rule.config.actuator] is None:
                winners[rule.config.actuator] = rule
        decisions = []
        for actuator, winner in winners.items():
            in_force = self.in_force.get(actuator)
            same = in_force is not None and in_force.rule == (winner.name if winner else "")
            if not same or (winner is not None and winner.triggered and winner.config.every_sample):
                decisions.append(self._enforce(actuator, winner, now, t_capture))
        return decisions

    def _enforce(self, actuator: str, winner: Rule | None, now: int, t_capture: int) -> Decision:
        self.number += 1
        config = winner.config if winner else None
        decision = Decision(
            number=self.number,
            rule=winner.name if winner else "",
            actuator=actuator,
            verb=config.verb if config else self.rest[actuator],
            arguments=config.arguments if config else {},
            evidence=winner.reasons if winner else (),
            t_capture=t_capture,
            deadline=t_capture + int(config.deadline_ms * MS) if config else 0,
            confidence=winner.confidence if winner else 0.0,
            lacking=winner.lacking if winner else (),
        )
        self.in_force[actuator] = decision
        return decision
