"""Cars of a real clip from above: motion-blobs, zones and counts against what a person sees in it."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest

from agent import package
from agent.backends.motion import Engine, Parameters
from agent.benches.crossing import CARS, CLIP, PASSES, TUNED, hits
from agent.build import rules_of
from agent.config.models import Config
from agent.data import Evidence
from agent.offline import offline_lane
from agent.package import BUNDLED
from agent.perception import Perception
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from tests.shared import DATA, needs_recordings

PACKAGE = BUNDLED / "motion-blobs"

CROSSING = {
    "lanes": {
        "road": {
            "source": {"driver": "camera.file", "path": str(DATA / CLIP), "pace": "fast"},
            "model": "motion-blobs",
            "zones": {"up": [[0.38, 0], [1, 0], [1, 1], [0.38, 1]], "down": [[0, 0], [0.38, 0], [0.38, 1], [0, 1]]},
        }
    },
    "actuators": {"up": {"rest": "people"}, "down": {"rest": "people"}, "board": {"rest": "free"}},
    "rules": {
        "car-up": {
            "any": [{"lane": "road", "label": "vehicle", "zone": "up", "zone_by": "middle"}],
            "actuator": "up",
            "verb": "vehicles",
        },
        "car-down": {
            "any": [{"lane": "road", "label": "vehicle", "zone": "down", "zone_by": "middle"}],
            "actuator": "down",
            "verb": "vehicles",
        },
        "two": {"any": [{"lane": "road", "label": "vehicle", "count": 2}], "actuator": "board", "verb": "busy"},
    },
}


def test_the_package_is_whole() -> None:
    opened = package.open_package(PACKAGE)
    assert opened.engine.inputs[0].shape == (1, 144, 256, 1)
    assert opened.findings() == []
    assert package.labels(PACKAGE) == ["person", "vehicle"]


def watched(rules: Rules) -> tuple[list[list[Evidence]], list[tuple[int, str, str, int]]]:
    """Evidence of every frame of the clip, and (frame, actuator, verb, number of reasons) of every decision."""
    config = Config.model_validate(CROSSING)
    lane = offline_lane(
        "road", "camera.file", config.lanes["road"].source.options, Perception(package.open_package(PACKAGE))
    )
    evidence, decided = [], []
    for number, (_, decisions) in enumerate(lane.play(Scene(rules))):
        evidence.append(list(lane.evidence or ()))
        decided += [(number, one.actuator, one.verb, len(one.evidence)) for one in decisions]
    return evidence, decided


@pytest.fixture(scope="module")
def seen() -> Any:
    return watched(rules_of(Config.model_validate(CROSSING)))


@needs_recordings
def test_boxes_lie_where_cars_are_by_eye(seen: Any) -> None:
    """Those that are missed are slivers of 2 and 5 % at the edge."""
    evidence, _ = seen
    assert hits(evidence, [number for number in CARS if number < TUNED]) == (11, 11, 11)
    assert hits(evidence, [number for number in CARS if number >= TUNED]) == (32, 34, 32)


@needs_recordings
def test_as_many_are_counted_as_pass_by(seen: Any) -> None:
    evidence, _ = seen
    counted = [sum(one.label == "vehicle" for one in frame) for frame in evidence]
    by_eye = [sum(first <= number <= last for first, last in PASSES) for number in range(len(evidence))]
    assert not any(one.label == "person" for frame in evidence for one in frame)
    assert all(found <= there for found, there in zip(counted, by_eye))  # never one too many, in 377 frames
    assert sum(found != there for found, there in zip(counted, by_eye)) <= 8  # cars that come or go
    assert [count for count, _ in groupby(counted)] == [0, 1, 0, 1, 2, 1, 0, 1, 0]


@needs_recordings
def test_zones_and_counts_decide_when_a_person_would(seen: Any) -> None:
    _, decided = seen
    told = {actuator: [one for one in decided if one[1] == actuator] for actuator in ("up", "down", "board")}
    (white, green, red, last) = PASSES
    for actuator, passes in (("up", (white, red)), ("down", (green, last))):
        assert [verb for _, _, verb, _ in told[actuator]] == ["people"] + ["vehicles", "people"] * 2
        for (first, end), (began, *_, reasons), (ended, *_) in zip(passes, told[actuator][1::2], told[actuator][2::2]):
            assert 0 <= began - first <= 3 and -1 <= ended - end <= 1  # a quarter of a second, a tenth
            assert reasons == 1
    assert [(verb, reasons) for _, _, verb, reasons in told["board"]] == [("free", 0), ("busy", 2), ("free", 0)]
    assert abs(told["board"][1][0] - red[0]) <= 2 and abs(told["board"][2][0] - green[1]) <= 2


@needs_recordings
def test_the_clip_gives_the_same_twice(seen: Any) -> None:
    again = watched(rules_of(Config.model_validate(CROSSING)))
    for one, other in zip(again[0], seen[0]):
        assert [evidence[1:3] for evidence in one] == [evidence[1:3] for evidence in other]
    assert again[1] == seen[1]


def test_what_ships_is_what_the_parameters_say() -> None:
    shipped = Engine(PACKAGE / "motion-blobs.yaml", 1).parameters
    assert shipped == Parameters()
