"""From evidence to decisions: for each actuator the first rule that holds decides; while none holds, it rests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.data import Decision, Evidence
from agent.rules import fusion
from agent.rules.conditions import Condition, RuleConfig
from agent.rules.zones import Zone

MS = 1_000_000  # ns
LONG_AGO = -(1 << 62)


class ConditionState:
    """A condition with its memory: one bit for each of the last `of` inferences, 1 for a hit."""

    def __init__(self, condition: Condition) -> None:
        """condition: its zone is empty or a polygon; agent/build.py resolves names, which would match anywhere here."""
        assert not condition.zone or not isinstance(condition.zone, str), condition.zone
        self.condition = condition
        self.within_ns, self.memory_ns = int(condition.within_ms * MS), int(condition.memory_ms * MS)
        corners = () if isinstance(condition.zone, str) else condition.zone
        self.zone = Zone(corners, condition.zone_by == "middle") if corners else None
        self.mask = (1 << condition.of) - 1
        self.history = 0
        self.evidence: list[Evidence] = []  # of the newest inference with at least `count` matches
        self._matches: list[Evidence] = []  # the other of two lists that take turns: an update allocates none
        self.t_capture = -1  # of the lane's newest inference
        self.t_hit = LONG_AGO  # of the newest inference at which the hits were enough

    def update(self, t_capture: int, evidence: Sequence[Evidence]) -> None:
        """Add one inference of the condition's lane."""
        label, score, zone, matches = self.condition.label, self.condition.score, self.zone, self._matches
        enough = False
        matches.clear()
        for item in evidence:
            if item.label != label or not item.score >= score:  # NaN does not reach it
                continue
            if zone is None or (item.box is not None and zone.contains(item.box)):
                matches.append(item)
                if len(matches) == self.condition.count:
                    enough, self.evidence, self._matches = True, matches, self.evidence
                    break
        self.history = (self.history << 1 | (enough is not self.condition.absent)) & self.mask
        self.t_capture = t_capture
        if self.history.bit_count() >= self.condition.hits:
            self.t_hit = t_capture

    def holds(self, now: int) -> bool:
        """The hits are enough at the lane's newest inference, or were at one within memory_ms."""
        if self.t_hit == self.t_capture and not self.missing(now):
            return True
        return now - self.t_hit <= self.memory_ns

    def missing(self, now: int) -> bool:
        """Its lane has not inferred within within_ms, or never."""
        return self.t_capture < 0 or now - self.t_capture > self.within_ns

    @property
    def score(self) -> float:
        return max((item.score for item in self.evidence), default=0.0)


class Rule:
    """A rule with the state of its conditions and the reasons of its last decision."""

    def __init__(self, name: str, config: RuleConfig) -> None:
        self.name = name
        self.config = config
        self.states = [ConditionState(condition) for condition in config.conditions]
        self.needed = {"any": 1, "all": len(self.states), "some": config.at_least, "sum": 0}[config.kind]
        self.confidence = 0.0  # of a sum
        self.missing_lanes: tuple[str, ...] = ()  # of a sum: lanes that are missing
        self.hold_until = -1
        self.triggered = False  # the newest evidence was of one of its lanes, and the conditions hold
        self.reasons: tuple[Evidence, ...] = ()

    def update(self, lane: str, now: int, t_capture: int, evidence: Sequence[Evidence]) -> bool:
        """Add one inference of a lane; True while the rule is in force: its conditions hold, or did within hold_ms."""
        concerned = False
        for state in self.states:
            if state.condition.lane == lane:
                state.update(t_capture, evidence)
                concerned = True
        holding = [state for state in self.states if state.holds(now)]
        holds = self._sum_holds(holding, now) if self.config.sum else len(holding) >= self.needed
        self.triggered = holds and concerned
        if holds:
            self.hold_until = now + int(self.config.hold_ms * MS)
            self.reasons = tuple(item for state in holding if not state.condition.absent for item in state.evidence)
        return holds or now < self.hold_until

    def _sum_holds(self, holding: Sequence[ConditionState], now: int) -> bool:
        """Prior plus weighted evidence less penalties, so that a lane that is missing never raises the confidence."""
        odds = fusion.log_odds(self.config.prior)
        missing_lanes = []
        for state in self.states:
            condition = state.condition
            if state in holding:
                odds += condition.weight * max(0.0, fusion.log_odds(state.score))
            elif state.missing(now):
                odds -= condition.missing_penalty
                missing_lanes.append(condition.lane)
            else:
                odds -= condition.absent_penalty
        self.confidence, self.missing_lanes = fusion.probability(odds), tuple(missing_lanes)
        return bool(holding) and self.confidence >= self.config.confidence


class Rules:
    """All rules of a box, in order of precedence, and the decision in force at each actuator.

    Pure: time comes with the evidence.
    """

    def __init__(self, rules: Mapping[str, RuleConfig], rest: Mapping[str, str]) -> None:
        """rest: the verb of each actuator while none of its rules holds."""
        self.rules = [Rule(name, config) for name, config in rules.items()]
        self.rest = dict(rest)
        self.feeds: dict[str, list[str]] = {}  # lane -> actuators with a rule over it
        for config in rules.values():
            for condition in config.conditions:
                actuators = self.feeds.setdefault(condition.lane, [])
                if config.actuator not in actuators:
                    actuators.append(config.actuator)
        self._set_concerned()
        self.in_force: dict[str, Decision] = {}
        self.number = 0  # of the newest decision

    def _set_concerned(self) -> None:
        """Of each lane the rules of the actuators that it feeds, in order of precedence."""
        self._concerned = {
            lane: [rule for rule in self.rules if rule.config.actuator in actuators]
            for lane, actuators in self.feeds.items()
        }

    def carry_over(self, old: Rules) -> None:
        """Continue where `old` ends: unchanged rules keep their state, and their decisions stay in force."""
        self.number = old.number  # an actuator applies each number once
        previous = {rule.name: rule for rule in old.rules}
        self.rules = [
            previous[rule.name] if rule.name in previous and previous[rule.name].config == rule.config else rule
            for rule in self.rules
        ]
        self._set_concerned()
        unchanged = {rule.name for rule in self.rules if previous.get(rule.name) is rule}
        for actuator, decision in old.in_force.items():
            rests = not decision.rule and decision.verb == self.rest.get(actuator)
            if decision.rule in unchanged or rests:
                self.in_force[actuator] = decision

    def decide(self, lane: str, now: int, t_capture: int, evidence: Sequence[Evidence]) -> list[Decision]:
        """The new decisions for the actuators that this lane feeds. evidence: of one inference, possibly none."""
        winners: dict[str, Rule | None] = dict.fromkeys(self.feeds.get(lane, ()))
        for rule in self._concerned.get(lane, ()):
            if rule.update(lane, now, t_capture, evidence) and winners[rule.config.actuator] is None:
                winners[rule.config.actuator] = rule
        decisions = []
        for actuator, winner in winners.items():
            in_force = self.in_force.get(actuator)
            same = in_force is not None and in_force.rule == (winner.name if winner else "")
            if not same or (winner is not None and winner.triggered and winner.config.every_sample):
                decisions.append(self._enforce(actuator, winner, t_capture))
        return decisions

    def _enforce(self, actuator: str, winner: Rule | None, t_capture: int) -> Decision:
        """Make the next decision, of the winner or to rest, and put it in force."""
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
            missing_lanes=winner.missing_lanes if winner else (),
        )
        self.in_force[actuator] = decision
        return decision
