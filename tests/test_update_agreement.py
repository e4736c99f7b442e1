"""Whether two versions of a model say the same: labels, boxes, keypoints, as far as rules can tell."""

from __future__ import annotations

import numpy as np
import pytest

from agent.config.models import Config
from agent.data import Array, Box
from agent.decoders.base import Finding
from agent.update.probation.agreement import agree, asked_scores

LEFT, RIGHT = Box(0.0, 0.0, 0.4, 1.0), Box(0.6, 0.0, 1.0, 1.0)
NOBODY = (None, None)


def person(score: float, box: Box | None = None) -> Finding:
    return Finding("person", score, box)


@pytest.mark.parametrize(
    "one, other, same",
    [
        ([person(0.9)], [person(0.8)], True),
        ([person(0.9)], [], False),
        ([], [person(0.9)], False),
        ([person(0.9)], [Finding("dog", 0.9)], False),
        ([person(0.55)], [person(0.45)], True),  # neither is clear
        ([person(0.9)], [person(0.45)], True),  # within the margin
        ([person(0.9)], [person(0.3)], False),
        ([person(0.9, LEFT)], [person(0.9, LEFT)], True),
        ([person(0.9, LEFT)], [person(0.9, RIGHT)], False),
        ([person(0.9, LEFT), person(0.9, LEFT)], [person(0.9, LEFT)], False),  # the number counts
        ([person(1.0)], [person(1.0)], True),
    ],
)
def test_findings_without_a_rule(one: list[Finding], other: list[Finding], same: bool) -> None:
    assert agree((one, other), NOBODY, {}) is same
    assert agree((other, one), NOBODY, {}) is same


def test_only_what_rules_ask_for_counts_and_from_their_score_on() -> None:
    asked = {"person": 0.8}
    assert agree(([person(0.75)], []), NOBODY, asked)
    assert not agree(([person(0.95)], [person(0.6)]), NOBODY, asked)
    assert agree(([person(0.95), Finding("dog", 0.99)], [person(0.95)]), NOBODY, asked)
    assert not agree(([person(1.0)], []), NOBODY, {"person": 1.0})


def points(y: float, seen: int = 17) -> Array:
    values = np.full((17, 3), y, np.float32)
    values[:, 2] = np.arange(17) < seen
    return values


@pytest.mark.parametrize(
    "one, other, same",
    [
        (points(0.5), points(0.52), True),
        (points(0.5), points(0.6), False),
        (points(0.5), points(0.5, seen=2), False),
        (points(0.5, seen=2), points(0.9, seen=3), True),  # nobody
        (points(0.5), None, True),
    ],
)
def test_keypoints(one: Array, other: Array | None, same: bool) -> None:
    assert agree(([], []), (one, other), {}) is same
    assert agree(([], []), (other, one), {}) is same


def test_what_rules_ask_of_a_lane() -> None:
    def condition(lane: str, score: float) -> dict[str, object]:
        return {"lane": lane, "label": "person", "score": score}

    rules = {
        "a": {"any": [condition("door", 0.8), condition("gate", 0.3)], "actuator": "lamp", "verb": "on"},
        "b": {"all": [condition("door", 0.6)], "actuator": "lamp", "verb": "off"},
    }
    config = Config.model_validate({"node": "n", "rules": rules})
    assert asked_scores(config, "door") == {"person": 0.6}
    assert asked_scores(config, "yard") == {}
