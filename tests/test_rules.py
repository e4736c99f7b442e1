"""Rules: thresholds, memory, fusion and what wins; nothing but the evidence decides."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.data import Box as Place
from agent.data import Evidence
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


class Box:
    """A scene with rules in order, named r0, r1 ... Time in ms."""

    def __init__(self, *rules):
        rest = {one.actuator: "run" for one in rules}
        self.scene = Scene(Rules({f"r{number}": one for number, one in enumerate(rules)}, rest))

    def decide(self, at_ms, lane="cam", **scores):
        t = int(at_ms * MS)
        return self.scene.decide(lane, t, [Evidence(lane, label, score, t) for label, score in scores.items()])

    def told(self, at_ms, lane="cam", **scores):
        """The verbs that change because of this evidence."""
        return [decision.verb for decision in self.decide(at_ms, lane, **scores)]


def test_the_score_must_reach_the_threshold():
    box = Box(rule({"score": 0.5}))
    assert box.told(0, person=0.49) == ["run"]
    assert box.told(10, person=0.5) == ["stop"]
    assert box.told(20, cat=1.0) == ["run"]


def test_a_score_that_is_no_number_is_no_hit():
    assert Box(rule({})).told(0, person=math.nan) == ["run"]


def test_the_first_decision_is_told_even_when_it_is_to_rest():
    box = Box(rule({}))
    assert box.told(0) == ["run"]
    assert box.told(10) == []


def test_only_changes_are_told():
    box = Box(rule({}))
    assert [box.told(at, person=0.9) for at in (0, 10, 20)] == [["stop"], [], []]


def test_hits_of_the_last_n():
    box = Box(rule({"hits": 2, "of": 3}))
    seen = [1, 0, 0, 1, 0, 1, 0, 0]
    assert [box.told(10 * i, person=score) for i, score in enumerate(seen)] == [
        ["run"],
        [],
        [],
        [],
        [],
        ["stop"],
        ["run"],
        [],
    ]


def test_hold_keeps_to_it_after_the_last_hit():
    box = Box(rule({}, hold_ms=100))
    assert box.told(0, person=1) == ["stop"]
    assert box.told(50, person=1) == []
    assert box.told(149.9) == []
    assert box.told(150) == ["run"]


def test_any_needs_one_lane():
    box = Box(rule({}, CRASH))
    assert box.told(0, person=1) == ["stop"]
    assert box.told(10) == ["run"]
    assert box.told(20, "mic", crash=1) == ["stop"]


def test_all_needs_every_lane_within_time():
    box = Box(rule({"within_ms": 100}, CRASH | {"within_ms": 100}, fuse="all"))
    assert box.told(0, person=1) == ["run"]
    assert box.told(100, "mic", crash=1) == ["stop"]
    assert box.told(101, "mic", crash=1) == ["run"]  # what the camera saw is too old
    assert box.told(110, person=1) == ["stop"]


def test_a_lane_that_lags_does_not_turn_time_back():
    box = Box(rule({}, CRASH, fuse="all", hold_ms=50))
    box.decide(0, person=1)
    assert box.told(100, "mic", crash=1) == ["stop"]
    assert box.told(90) == []
    assert box.scene.time == 100 * MS
    assert box.told(149, "mic") == []
    assert box.told(150, "mic") == ["run"]


def test_a_lane_that_lags_is_judged_by_the_newest_time():
    box = Box(rule({"within_ms": 50}, CRASH, fuse="any"))
    box.decide(100, "mic")
    assert box.told(49, person=1) == []
    assert box.told(50, person=1) == ["stop"]


def test_absent_counts_inferences_without_the_label():
    box = Box(rule({"absent": True, "hits": 2, "of": 2}))
    assert box.told(0) == ["run"]
    assert box.told(10) == ["stop"]
    assert box.told(20, person=0.9) == ["run"]
    assert box.told(30, person=0.3) == []
    assert box.told(40) == ["stop"]


def test_absent_needs_an_inference():
    """A lane that says nothing at all is not an empty picture."""
    box = Box(rule({"absent": True}, CRASH, fuse="any"))
    assert box.told(0, "mic") == ["run"]


def test_the_first_rule_that_holds_wins_for_its_actuator():
    box = Box(
        rule({"score": 0.9}, verb="stop"),
        rule({"score": 0.3}, verb="slow"),
        rule({"score": 0.3}, actuator="lamp", verb="red"),
    )
    assert box.told(0, person=0.95) == ["stop", "red"]
    assert box.told(10, person=0.5) == ["slow"]
    assert box.told(20) == ["run", "run"]


def test_a_lane_decides_only_for_actuators_that_it_feeds():
    box = Box(rule({}), rule(CRASH, actuator="horn", verb="on"))
    assert [decision.actuator for decision in box.decide(0, person=1)] == ["belt"]
    assert [decision.actuator for decision in box.decide(1, "mic")] == ["horn"]
    assert box.decide(2, "thermometer", hot=1) == []


def test_every_sample_decides_anew_while_it_holds():
    box = Box(rule({}, every_sample=True, hold_ms=100))
    numbers = [
        [d.number for d in box.decide(at, **seen)] for at, seen in ((0, {"person": 1}), (10, {"person": 1}), (20, {}))
    ]
    assert numbers == [[1], [2], []]


def test_every_sample_is_of_its_own_lanes():
    box = Box(rule({}, every_sample=True), rule(CRASH, verb="slow"))
    assert box.told(0, person=1) == ["stop"]
    assert box.told(1, "mic") == []


def test_a_decision_says_what_why_and_until_when():
    box = Box(rule({}, deadline_ms=7.5, arguments={"speed": 0.5}))
    (rest,) = box.decide(0)
    assert (rest.rule, rest.evidence, rest.arguments, rest.deadline) == ("", (), {}, 0)
    (stop,) = box.decide(33, person=0.8)
    assert stop.number == rest.number + 1
    assert (stop.rule, stop.actuator, stop.verb, stop.arguments) == ("r0", "belt", "stop", {"speed": 0.5})
    assert stop.t_capture == 33 * MS
    assert stop.deadline == 33 * MS + 7_500_000
    assert stop.evidence == (Evidence("cam", "person", 0.8, 33 * MS),)


def test_only_conditions_that_hold_are_reasons():
    box = Box(rule({"hits": 2, "of": 2}, CRASH))
    box.decide(0, person=0.8)
    (stop,) = box.decide(60_000, "mic", crash=0.7)
    assert [one.label for one in stop.evidence] == ["crash"]


def test_what_is_absent_is_no_reason():
    box = Box(rule({"absent": True}))
    box.decide(0, person=0.8)
    (stop,) = box.decide(10)
    assert stop.evidence == ()


def test_a_held_rule_keeps_its_reasons():
    box = Box(rule({"label": "fire"}, verb="sink"), rule({}, hold_ms=100))
    box.decide(0, person=0.8)
    assert box.told(10, fire=1) == ["sink"]
    (stop,) = box.decide(20)
    assert [one.label for one in stop.evidence] == ["person"]


def test_what_was_not_sent_is_decided_anew():
    box = Box(rule({}))
    (stop,) = box.decide(0, person=1)
    assert box.scene.current("belt") is stop
    box.scene.forget(stop)
    assert box.scene.current("belt") is None
    (again,) = box.decide(10, person=1)
    assert (again.verb, again.number) == ("stop", stop.number + 1)


def test_forgetting_what_is_no_longer_in_force_changes_nothing():
    box = Box(rule({}))
    (old,) = box.decide(0, person=1)
    (new,) = box.decide(10)
    box.scene.forget(old)
    assert box.scene.current("belt") is new


def crowd(at_ms, *feet, label="person", score=0.9):
    return [Evidence("cam", label, score, at_ms * MS, Place(x - 0.1, y - 0.2, x + 0.1, y)) for x, y in feet]


def test_so_many_at_a_time():
    box = Box(rule({"count": 3}))
    verbs = []
    for at, number in enumerate((2, 3, 1, 4)):
        seen = crowd(at, *[(0.1 * n, 0.5) for n in range(number)])
        verbs += [[one.verb for one in box.scene.decide("cam", at * MS, seen)]]
    assert verbs == [["run"], ["stop"], ["run"], ["stop"]]


def test_only_those_that_are_sure_enough_and_of_that_label_count():
    box = Box(rule({"count": 2, "score": 0.5}))
    t = [(0.5, 0.5)]
    seen = crowd(0, *t) + crowd(0, *t, score=0.4) + crowd(0, *t, label="cat") + crowd(0, *t, score=math.nan)
    assert [one.verb for one in box.scene.decide("cam", 0, seen)] == ["run"]


def test_those_that_counted_are_the_reasons_also_later():
    box = Box(rule({"count": 2, "hits": 1, "of": 3, "zone": LEFT}))
    seen = crowd(0, (0.8, 0.5), (0.1, 0.5), (0.9, 0.5), (0.3, 0.5), (0.2, 0.5))
    (stop,) = box.scene.decide("cam", 0, seen)
    assert stop.evidence == (seen[1], seen[3])
    box.scene.forget(stop)
    (again,) = box.scene.decide("cam", MS, crowd(1, (0.1, 0.1)))  # one is not enough, and no reason
    assert (again.verb, again.evidence) == ("stop", (seen[1], seen[3]))


def test_fewer_than_so_many_is_absent():
    box = Box(rule({"absent": True, "count": 2, "zone": LEFT}))
    assert [one.verb for one in box.scene.decide("cam", 0, crowd(0, (0.1, 0.5), (0.2, 0.5)))] == ["run"]
    (stop,) = box.scene.decide("cam", MS, crowd(1, (0.1, 0.5), (0.8, 0.5)))
    assert (stop.verb, stop.evidence) == ("stop", ())


def test_evidence_without_a_place_is_in_no_zone():
    box = Box(rule({"zone": LEFT}))
    assert box.told(0, person=1) == ["run"]
    assert [one.verb for one in box.scene.decide("cam", MS, crowd(1, (0.1, 0.5)))] == ["stop"]


def test_a_zone_by_its_name_alone_is_a_bug_and_not_everywhere():
    with pytest.raises(AssertionError, match="left"):
        Box(rule({"zone": "left"}))


@given(st.integers(0, 2**32))
def test_the_same_evidence_gives_the_same_decisions(seed):
    dice = random.Random(seed)
    evidence = [
        (33 * i + dice.randrange(40), dice.choice(("cam", "mic")), {dice.choice(("person", "crash")): dice.random()})
        for i in range(60)
    ]

    def run():
        conditions = {"hits": 2, "of": 3}, CRASH | {"within_ms": 50}
        box = Box(
            rule(*conditions, fuse="all", hold_ms=70),
            rule({"absent": True, "hits": 3, "of": 4}, verb="slow", every_sample=True),
        )
        return [box.decide(at, lane, **scores) for at, lane, scores in evidence]

    first = run()
    assert first == run()
    numbers = [decision.number for decisions in first for decision in decisions]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    "wrong, said",
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
def test_a_rule_that_cannot_work_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        RuleConfig.model_validate({"actuator": "belt", "verb": "stop"} | wrong)
