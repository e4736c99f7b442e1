"""Rules: thresholds, memory, fusion and what wins; nothing but the evidence decides."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.data import Box, Evidence
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from agent.rules.scene import Scene

MS = 1_000_000
PERSON = {"lane": "cam", "label": "person"}
CRASH = {"lane": "mic", "label": "crash"}
LEFT = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]


def rule(*conditions, verb="stop", actuator="belt", fuse="any", **more):
    return RuleConfig.model_validate(
        {fuse: [PERSON | c for c in conditions], "verb": verb, "actuator": actuator} | more
    )


class RuleScene:
    """A scene with rules in order, named r0, r1 ... Time in ms."""

    def __init__(self, *rules):
        rest = {config.actuator: "run" for config in rules}
        self.scene = Scene(Rules({f"r{number}": config for number, config in enumerate(rules)}, rest))

    def decide(self, at_ms, lane="cam", **scores):
        t = int(at_ms * MS)
        return self.scene.decide(lane, t, [Evidence(lane, label, score, t) for label, score in scores.items()])

    def verbs(self, at_ms, lane="cam", **scores):
        """The verbs of the new decisions."""
        return [decision.verb for decision in self.decide(at_ms, lane, **scores)]


def test_the_score_must_reach_the_threshold():
    rules = RuleScene(rule({"score": 0.5}))
    assert rules.verbs(0, person=0.49) == ["run"]
    assert rules.verbs(10, person=0.5) == ["stop"]
    assert rules.verbs(20, cat=1.0) == ["run"]


def test_a_score_of_nan_is_no_hit():
    assert RuleScene(rule({})).verbs(0, person=math.nan) == ["run"]


def test_the_first_decision_is_made_even_when_it_is_to_rest():
    rules = RuleScene(rule({}))
    assert rules.verbs(0) == ["run"]
    assert rules.verbs(10) == []


def test_only_changes_are_decided():
    rules = RuleScene(rule({}))
    assert [rules.verbs(at, person=0.9) for at in (0, 10, 20)] == [["stop"], [], []]


def test_hits_of_the_last_n():
    rules = RuleScene(rule({"hits": 2, "of": 3}))
    scores = [1, 0, 0, 1, 0, 1, 0, 0]
    assert [rules.verbs(10 * i, person=score) for i, score in enumerate(scores)] == [
        ["run"],
        [],
        [],
        [],
        [],
        ["stop"],
        ["run"],
        [],
    ]


def test_hold_ms_keeps_a_rule_in_force_after_the_last_hit():
    rules = RuleScene(rule({}, hold_ms=100))
    assert rules.verbs(0, person=1) == ["stop"]
    assert rules.verbs(50, person=1) == []
    assert rules.verbs(149.9) == []
    assert rules.verbs(150) == ["run"]


def test_any_needs_one_lane():
    rules = RuleScene(rule({}, CRASH))
    assert rules.verbs(0, person=1) == ["stop"]
    assert rules.verbs(10) == ["run"]
    assert rules.verbs(20, "mic", crash=1) == ["stop"]


def test_all_needs_every_lane_within_time():
    rules = RuleScene(rule({"within_ms": 100}, CRASH | {"within_ms": 100}, fuse="all"))
    assert rules.verbs(0, person=1) == ["run"]
    assert rules.verbs(100, "mic", crash=1) == ["stop"]
    assert rules.verbs(101, "mic", crash=1) == ["run"]  # the camera's evidence is too old
    assert rules.verbs(110, person=1) == ["stop"]


def test_a_lane_that_lags_does_not_turn_time_back():
    rules = RuleScene(rule({}, CRASH, fuse="all", hold_ms=50))
    rules.decide(0, person=1)
    assert rules.verbs(100, "mic", crash=1) == ["stop"]
    assert rules.verbs(90) == []
    assert rules.scene.time == 100 * MS
    assert rules.verbs(149, "mic") == []
    assert rules.verbs(150, "mic") == ["run"]


def test_the_age_of_evidence_is_measured_at_the_newest_time():
    rules = RuleScene(rule({"within_ms": 50}, CRASH, fuse="any"))
    rules.decide(100, "mic")
    assert rules.verbs(49, person=1) == []
    assert rules.verbs(50, person=1) == ["stop"]


def test_absent_counts_inferences_without_the_label():
    rules = RuleScene(rule({"absent": True, "hits": 2, "of": 2}))
    assert rules.verbs(0) == ["run"]
    assert rules.verbs(10) == ["stop"]
    assert rules.verbs(20, person=0.9) == ["run"]
    assert rules.verbs(30, person=0.3) == []
    assert rules.verbs(40) == ["stop"]


def test_absent_needs_an_inference():
    """A lane that does not infer is not an empty picture."""
    rules = RuleScene(rule({"absent": True}, CRASH, fuse="any"))
    assert rules.verbs(0, "mic") == ["run"]


def test_the_first_rule_that_holds_wins_for_its_actuator():
    rules = RuleScene(
        rule({"score": 0.9}, verb="stop"),
        rule({"score": 0.3}, verb="slow"),
        rule({"score": 0.3}, actuator="lamp", verb="red"),
    )
    assert rules.verbs(0, person=0.95) == ["stop", "red"]
    assert rules.verbs(10, person=0.5) == ["slow"]
    assert rules.verbs(20) == ["run", "run"]


def test_a_lane_decides_only_for_actuators_that_it_feeds():
    rules = RuleScene(rule({}), rule(CRASH, actuator="horn", verb="on"))
    assert [decision.actuator for decision in rules.decide(0, person=1)] == ["belt"]
    assert [decision.actuator for decision in rules.decide(1, "mic")] == ["horn"]
    assert rules.decide(2, "thermometer", hot=1) == []


def test_every_sample_makes_a_new_decision_while_the_rule_holds():
    rules = RuleScene(rule({}, every_sample=True, hold_ms=100))
    numbers = [
        [d.number for d in rules.decide(at, **scores)]
        for at, scores in ((0, {"person": 1}), (10, {"person": 1}), (20, {}))
    ]
    assert numbers == [[1], [2], []]


def test_every_sample_counts_only_samples_of_its_lanes():
    rules = RuleScene(rule({}, every_sample=True), rule(CRASH, verb="slow"))
    assert rules.verbs(0, person=1) == ["stop"]
    assert rules.verbs(1, "mic") == []


def test_a_decision_has_its_rule_verb_evidence_and_deadline():
    rules = RuleScene(rule({}, deadline_ms=7.5, arguments={"speed": 0.5}))
    (rest,) = rules.decide(0)
    assert (rest.rule, rest.evidence, rest.arguments, rest.deadline) == ("", (), {}, 0)
    (stop,) = rules.decide(33, person=0.8)
    assert stop.number == rest.number + 1
    assert (stop.rule, stop.actuator, stop.verb, stop.arguments) == ("r0", "belt", "stop", {"speed": 0.5})
    assert stop.t_capture == 33 * MS
    assert stop.deadline == 33 * MS + 7_500_000
    assert stop.evidence == (Evidence("cam", "person", 0.8, 33 * MS),)


def test_only_conditions_that_hold_are_reasons():
    rules = RuleScene(rule({"hits": 2, "of": 2}, CRASH))
    rules.decide(0, person=0.8)
    (stop,) = rules.decide(60_000, "mic", crash=0.7)
    assert [item.label for item in stop.evidence] == ["crash"]


def test_an_absent_label_is_no_reason():
    rules = RuleScene(rule({"absent": True}))
    rules.decide(0, person=0.8)
    (stop,) = rules.decide(10)
    assert stop.evidence == ()


def test_a_held_rule_keeps_its_reasons():
    rules = RuleScene(rule({"label": "fire"}, verb="sink"), rule({}, hold_ms=100))
    rules.decide(0, person=0.8)
    assert rules.verbs(10, fire=1) == ["sink"]
    (stop,) = rules.decide(20)
    assert [item.label for item in stop.evidence] == ["person"]


def test_a_withdrawn_decision_is_made_again():
    rules = RuleScene(rule({}))
    (stop,) = rules.decide(0, person=1)
    assert rules.scene.current("belt") is stop
    rules.scene.withdraw(stop)
    assert rules.scene.current("belt") is None
    (again,) = rules.decide(10, person=1)
    assert (again.verb, again.number) == ("stop", stop.number + 1)


def test_withdrawing_a_decision_no_longer_in_force_changes_nothing():
    rules = RuleScene(rule({}))
    (old,) = rules.decide(0, person=1)
    (new,) = rules.decide(10)
    rules.scene.withdraw(old)
    assert rules.scene.current("belt") is new


def crowd(at_ms, *feet, label="person", score=0.9):
    return [Evidence("cam", label, score, at_ms * MS, Box(x - 0.1, y - 0.2, x + 0.1, y)) for x, y in feet]


def test_count_needs_that_many_in_one_inference():
    rules = RuleScene(rule({"count": 3}))
    verbs = []
    for at, number in enumerate((2, 3, 1, 4)):
        people = crowd(at, *[(0.1 * n, 0.5) for n in range(number)])
        verbs += [[decision.verb for decision in rules.scene.decide("cam", at * MS, people)]]
    assert verbs == [["run"], ["stop"], ["run"], ["stop"]]


def test_count_is_of_the_label_and_the_score():
    rules = RuleScene(rule({"count": 2, "score": 0.5}))
    t = [(0.5, 0.5)]
    people = crowd(0, *t) + crowd(0, *t, score=0.4) + crowd(0, *t, label="cat") + crowd(0, *t, score=math.nan)
    assert [decision.verb for decision in rules.scene.decide("cam", 0, people)] == ["run"]


def test_the_evidence_that_counted_stays_the_reason():
    rules = RuleScene(rule({"count": 2, "hits": 1, "of": 3, "zone": LEFT}))
    people = crowd(0, (0.8, 0.5), (0.1, 0.5), (0.9, 0.5), (0.3, 0.5), (0.2, 0.5))
    (stop,) = rules.scene.decide("cam", 0, people)
    assert stop.evidence == (people[1], people[3])
    rules.scene.withdraw(stop)
    (again,) = rules.scene.decide("cam", MS, crowd(1, (0.1, 0.1)))  # not enough, and no reason
    assert (again.verb, again.evidence) == ("stop", (people[1], people[3]))


def test_fewer_than_count_is_absent():
    rules = RuleScene(rule({"absent": True, "count": 2, "zone": LEFT}))
    assert [decision.verb for decision in rules.scene.decide("cam", 0, crowd(0, (0.1, 0.5), (0.2, 0.5)))] == ["run"]
    (stop,) = rules.scene.decide("cam", MS, crowd(1, (0.1, 0.5), (0.8, 0.5)))
    assert (stop.verb, stop.evidence) == ("stop", ())


def test_evidence_without_a_box_is_in_no_zone():
    rules = RuleScene(rule({"zone": LEFT}))
    assert rules.verbs(0, person=1) == ["run"]
    assert [decision.verb for decision in rules.scene.decide("cam", MS, crowd(1, (0.1, 0.5)))] == ["stop"]


def test_a_zone_name_that_was_not_resolved_is_a_bug():
    with pytest.raises(AssertionError, match="left"):
        RuleScene(rule({"zone": "left"}))


@given(st.integers(0, 2**32))
def test_the_same_evidence_gives_the_same_decisions(seed):
    dice = random.Random(seed)
    evidence = [
        (33 * i + dice.randrange(40), dice.choice(("cam", "mic")), {dice.choice(("person", "crash")): dice.random()})
        for i in range(60)
    ]

    def run():
        conditions = {"hits": 2, "of": 3}, CRASH | {"within_ms": 50}
        rules = RuleScene(
            rule(*conditions, fuse="all", hold_ms=70),
            rule({"absent": True, "hits": 3, "of": 4}, verb="slow", every_sample=True),
        )
        return [rules.decide(at, lane, **scores) for at, lane, scores in evidence]

    first = run()
    assert first == run()
    numbers = [decision.number for decisions in first for decision in decisions]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    "section, message",
    [
        ({"any": [], "all": []}, "one of 'any', 'all', 'some' and 'sum'"),
        ({"any": [PERSON], "all": [CRASH]}, "one of 'any', 'all', 'some' and 'sum'"),
        ({"any": [PERSON | {"hits": 3, "of": 2}]}, "3 of the last 2 can never happen"),
        ({"any": [PERSON | {"score": 0}]}, "greater than 0"),
        ({"any": [PERSON | {"count": 0}]}, "greater than or equal to 1"),
        ({"any": [PERSON | {"zone": [[0, 0], [1, 1]]}]}, "3 to 32 corners"),
        ({"any": [PERSON | {"within_ms": math.inf}]}, "finite"),
        ({"any": [PERSON], "hold_ms": math.inf}, "finite"),
        ({"any": [PERSON], "hold_ms": math.nan}, "finite"),
        ({"any": [PERSON], "deadline_ms": math.inf}, "finite"),
        ({"any": [PERSON], "arguments": {"speed": math.nan}}, "finite"),
        ({"any": [PERSON], "arguments": {"speed": 2**63}}, "speed"),
        ({"any": [PERSON], "arguments": {"": 1}}, "arguments"),
        ({"any": [PERSON], "arguments": {"note": "x" * 65}}, "note"),
        ({"any": [PERSON], "verb": "stop\n"}, "verb"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(section, message):
    with pytest.raises(ValidationError, match=message):
        RuleConfig.model_validate({"actuator": "belt", "verb": "stop"} | section)
