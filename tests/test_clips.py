"""Real recordings through source, model and rules give the decisions that a person expects from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.offline import offline_lane
from agent.packages import package
from agent.perception import Perception
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from tests.shared import DATA, SSD, needs_recordings, stretched_movenet

pytestmark = needs_recordings

# One second of a body on its side; a bend to the floor is shorter.
LYING = {
    "any": [{"lane": "camera", "label": "lying", "score": 0.7, "hits": 30, "of": 36}],
    "actuator": "nurse",
    "verb": "call",
}
PERSON = {
    "any": [{"lane": "camera", "label": "person", "score": 0.5, "hits": 3, "of": 5}],
    "actuator": "nurse",
    "verb": "call",
    "hold_ms": 1000,
}


@pytest.fixture
def movenet(tmp_path: Path) -> Path:
    return stretched_movenet(tmp_path)


def decisions(clip: Path, model: Path, rule: dict[str, Any]) -> list[tuple[float, str]]:
    """(seconds into the clip, verb) of every decision; every frame is inferred."""
    lane = offline_lane("camera", "camera.file", {"path": clip}, Perception(package.open_package(model)))
    scene = Scene(Rules({"rule": RuleConfig.model_validate(rule)}, {"nurse": "quiet"}))
    verbs, start = [], 0
    for sample, changes in lane.play(scene):
        start = start or sample.t_capture
        verbs += [(round((sample.t_capture - start) / 1e9, 2), decision.verb) for decision in changes]
    return verbs


@pytest.mark.parametrize("clip, fallen_s", [("S1-Fall-15", 1.8), ("S2-Fall-12", 6.9), ("S2-Fall-13", 2.5)])
@pytest.mark.slow
def test_a_person_who_lies_after_a_fall_leads_to_a_call(clip: str, fallen_s: float, movenet: Path) -> None:
    verbs = decisions(DATA / f"video-fall-gmdcsa24/{clip}.mp4", movenet, LYING)
    assert [verb for _, verb in verbs] == ["quiet", "call"]
    assert fallen_s < verbs[1][0] < fallen_s + 5


@pytest.mark.parametrize("clip", ["S1-ADL-16", "S2-ADL-23"])
@pytest.mark.slow
def test_daily_activity_leads_to_no_call(clip: str, movenet: Path) -> None:
    assert [verb for _, verb in decisions(DATA / f"video-fall-gmdcsa24/{clip}.mp4", movenet, LYING)] == ["quiet"]


@pytest.mark.slow
@pytest.mark.timeout(600)  # a clip of 136 s, every frame inferred
def test_six_persons_appear_and_leave() -> None:
    """Times read off the clip by eye: in the picture from .. until, seconds."""
    visible = [(6.4, 20), (23.1, 45), (50.6, 70), (74.8, 87), (92.7, 120), (123.9, 136)]
    verbs = decisions(DATA / "video-intel/one-by-one-person-detection.mp4", SSD, PERSON)
    assert [verb for _, verb in verbs] == ["quiet"] + ["call", "quiet"] * 6
    for (appears, leaves), (called, _), (quiet, _) in zip(visible, verbs[1::2], verbs[2::2]):
        assert called == pytest.approx(appears, abs=0.7)
        assert leaves < quiet < leaves + 2.0  # held for one second


@pytest.mark.slow
def test_a_recording_gives_the_same_decisions_twice(movenet: Path) -> None:
    clip = DATA / "video-fall-gmdcsa24/S1-Fall-15.mp4"
    assert decisions(clip, movenet, LYING) == decisions(clip, movenet, LYING)
