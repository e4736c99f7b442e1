"""Fusion: k of n, weights of evidence, missing lanes, and the explanation of a decision."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.data import Decision, Evidence
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from agent.rules.fusion import explain, log_odds, probability
from agent.rules.scene import Scene

MS = 1_000_000
FALL = {"lane": "camera", "label": "fall", "memory_ms": 2000}
GROAN = {"lane": "microphone", "label": "groan", "memory_ms": 2000}
JUMP = {"lane": "heart", "label": "heart-rate-jump", "memory_ms": 2000}
SENSES = [FALL, GROAN, JUMP]


def rule(**section: Any) -> RuleConfig:
    return RuleConfig.model_validate({"actuator": "nurse", "verb": "call", **section})


class Room:
    """Three lanes that all infer every 100 ms, except the missing ones."""

    def __init__(self, section: RuleConfig, missing: tuple[str, ...] = ()) -> None:
        self.scene = Scene(Rules({"help": section}, {"nurse": "quiet"}))
        self.missing = missing
        self.decisions: list[Decision] = []

    def play(self, events: dict[tuple[int, str], Evidence], until_ms: int = 3000) -> list[tuple[int, str]]:
        """events: evidence by time and lane. Returns (ms, verb) of all decisions."""
        verbs = []
        for at in range(0, until_ms, 100):
            for lane in ("camera", "microphone", "heart"):
                if lane in self.missing:
                    continue
                item = events.get((at, lane))
                for decision in self.scene.decide(lane, at * MS, [item] if item else []):
                    verbs.append((at, decision.verb))
                    self.decisions.append(decision)
        return verbs


def evidence(at: int, lane: str, label: str, score: float, mark: str = "") -> Evidence:
    return Evidence(lane=lane, label=label, score=score, t_capture=at * MS, mark=mark)


ALL = {
    (1000, "camera"): evidence(1000, "camera", "fall", 0.91),
    (1300, "microphone"): evidence(1300, "microphone", "groan", 0.74),
    (1400, "heart"): evidence(1400, "heart", "heart-rate-jump", 0.8, "+38 bpm"),
}


def test_two_of_three_in_a_window_whatever_their_order() -> None:
    for order in itertools.permutations(ALL.values()):
        events = {
            (1000 + 400 * n, item.lane): item._replace(t_capture=(1000 + 400 * n) * MS) for n, item in enumerate(order)
        }
        assert Room(rule(some=SENSES, at_least=2)).play(events)[:2] == [(0, "quiet"), (1400, "call")]


def test_two_that_are_too_far_apart_are_not_two() -> None:
    events = {(0, "camera"): ALL[1000, "camera"]._replace(t_capture=0), (2500, "heart"): ALL[1400, "heart"]}
    assert Room(rule(some=SENSES, at_least=2)).play(events) == [(0, "quiet")]


def test_memory_ms_ends() -> None:
    assert Room(rule(any=[FALL])).play(ALL, 5000) == [(0, "quiet"), (1000, "call"), (3100, "quiet")]


def test_weights_of_evidence_add_up() -> None:
    room = Room(rule(sum=SENSES, prior=0.2, confidence=0.85))
    assert room.play(ALL)[:2] == [(0, "quiet"), (1300, "call")]
    odds = log_odds(0.2) + log_odds(0.91) + log_odds(0.74)
    assert room.decisions[1].confidence == pytest.approx(probability(odds)) == pytest.approx(0.878, abs=0.001)


def test_the_decision_is_explained() -> None:
    room = Room(rule(sum=SENSES, prior=0.2, confidence=0.95))
    room.play(ALL)
    call = room.decisions[1]
    assert explain(call) == (
        "fall 0.91 at -400 ms, groan 0.74 at -100 ms, heart-rate-jump 0.80 +38 bpm at 0 ms; confidence 0.97"
    )
    assert explain(room.decisions[0]) == "no rule holds"


@pytest.mark.parametrize("missing", ["microphone", "heart", "camera"])
def test_a_missing_source_lowers_the_confidence_by_its_penalty(missing: str) -> None:
    events = {at: item for at, item in ALL.items() if item.lane != missing}
    senses = [condition | {"missing_penalty": 0.7} for condition in SENSES]

    def confidence(room: Room) -> float:
        room.play(events, 1500)
        return room.decisions[-1].confidence

    open_ = rule(sum=senses, prior=0.3, confidence=0.01, every_sample=True)
    complete, partial = Room(open_), Room(open_, (missing,))
    assert log_odds(confidence(partial)) == pytest.approx(log_odds(confidence(complete)) - 0.7, abs=1e-6)
    assert partial.decisions[-1].missing_lanes == (missing,)
    assert f"; without {missing};" in explain(partial.decisions[-1])


def test_a_source_without_a_hit_lowers_the_confidence_by_its_penalty() -> None:
    def odds(penalty: float) -> float:
        room = Room(
            rule(sum=[FALL, GROAN | {"absent_penalty": penalty}], prior=0.3, confidence=0.01, every_sample=True)
        )
        room.play({(1000, "camera"): ALL[1000, "camera"]}, 1200)
        return log_odds(room.decisions[-1].confidence)

    assert odds(0.0) - odds(1.5) == pytest.approx(1.5, abs=1e-6)


def test_a_prior_alone_is_never_enough() -> None:
    assert Room(rule(sum=SENSES, prior=0.99, confidence=0.5)).play({}) == [(0, "quiet")]


SCORES = st.floats(0, 1)
MAYBE = st.one_of(st.none(), SCORES)
PENALTY = st.floats(0, 5)


@given(
    st.tuples(MAYBE, MAYBE, MAYBE),
    st.tuples(PENALTY, PENALTY, PENALTY),
    st.tuples(PENALTY, PENALTY, PENALTY),
    st.floats(0.01, 0.99),
)
def test_a_source_that_goes_missing_never_raises_the_confidence(
    scores: Any, missing: Any, absent: Any, prior: float
) -> None:
    """Whatever a lane reports, where the penalty for missing is no less than that for being absent."""
    lanes = ("camera", "microphone", "heart")
    costs = [{"missing_penalty": max(m, a), "absent_penalty": a, "score": 0.01} for m, a in zip(missing, absent)]
    section = rule(sum=[condition | cost for condition, cost in zip(SENSES, costs)], prior=prior, confidence=0.001)

    def confidence(present: tuple[str, ...]) -> float:
        rules = Rules({"help": section}, {"nurse": "quiet"})
        for lane, label, score in zip(lanes, ("fall", "groan", "heart-rate-jump"), scores):
            if lane in present:
                rules.decide(lane, MS, MS, [Evidence(lane, label, score, MS)] if score is not None else [])
        return rules.rules[0].confidence

    for missing_lane in lanes:
        assert confidence(tuple(lane for lane in lanes if lane != missing_lane)) <= confidence(lanes) + 1e-9


@given(st.floats(allow_nan=False), st.floats(0, 1))
def test_odds_and_probability(odds: float, share: float) -> None:
    assert 0 <= probability(odds) <= 1
    assert probability(log_odds(share)) == pytest.approx(min(max(share, 0.01), 0.99))


@pytest.mark.parametrize(
    "section, message",
    [
        ({"some": [FALL], "at_least": 2}, "2 of 1 conditions can never hold"),
        ({"some": SENSES, "all": SENSES}, "one of 'any', 'all', 'some' and 'sum'"),
        ({"sum": [FALL | {"absent": True}]}, "no evidence in a sum"),
        ({"sum": [FALL | {"missing_penalty": -1}]}, "greater than or equal to 0"),
        ({"sum": [FALL], "confidence": 1}, "less than 1"),
    ],
)
def test_an_impossible_rule_is_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        rule(**section)
