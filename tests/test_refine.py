"""The refining model: when it infers, on which part of the frame, whom it follows, what it costs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.data import Box, Sample
from agent.decoders.base import Finding
from agent.offline import offline_lane
from agent.packages import package
from agent.vision.config import RefineConfig
from agent.vision.refine import Refine
from agent.vision.tracks import Tracks, overlap
from tests.shared import MOVENET, needs_recordings

MS = 1_000_000
FRAME = np.full((240, 320, 3), 110, np.uint8)


def box(left: float, top: float = 0.3, width: float = 0.1, height: float = 0.3) -> Box:
    return Box(left, top, left + width, top + height)


def person(left: float, score: float = 0.6, **place: float) -> Finding:
    return Finding("person", score, box(left, **place))


@pytest.fixture(scope="module")
def opened() -> package.Package:
    return package.open_package(package.find("person-coarse"))


def refine(opened: package.Package, **section: Any) -> Refine:
    refining = Refine(opened, RefineConfig.model_validate({"model": "person-coarse", "label": "person", **section}))
    refining.start("bgr")
    return refining


def at(now_ms: float) -> Sample:
    return Sample("cam", int(now_ms), int(now_ms * MS) + 1, FRAME)


NO_DEADLINE = 1 << 62


def test_only_scores_in_doubt_are_refined(opened: package.Package) -> None:
    refining = refine(opened, band=(0.3, 0.7))
    assert not refining(at(0), [person(0.5, 0.2)], NO_DEADLINE).refined
    assert refining(at(100), [person(0.5, 0.5)], NO_DEADLINE).refined
    assert not refining(at(200), [person(0.5, 0.9)], NO_DEADLINE).refined  # sure now
    assert not refine(opened)(at(0), [Finding("dog", 0.5, box(0.4))], NO_DEADLINE).refined


def test_the_refined_findings_replace_the_coarse_one_and_no_other(opened: package.Package) -> None:
    """An empty room: the refining model finds nobody where the coarse one detected a person."""
    result = refine(opened)(at(0), [person(0.1, 0.5), person(0.6, 0.8), Finding("dog", 0.9, box(0.6))], NO_DEADLINE)
    assert result.refined and not result.refine_skipped
    assert result.findings == [person(0.1, 0.5), Finding("dog", 0.9, box(0.6))]


def test_without_time_the_coarse_result_stands_and_is_marked(opened: package.Package) -> None:
    refining = refine(opened)
    refining(at(0), [person(0.5)], NO_DEADLINE)  # measures the cost
    assert refining.cost_ns > 0
    result = refining(at(100), [person(0.5)], time.monotonic_ns() + refining.cost_ns // 4)
    assert result == ([person(0.5)], False, True)
    assert refining(at(200), [person(0.5)], time.monotonic_ns() + 10**9).refined


def test_one_slow_inference_does_not_end_refining(opened: package.Package) -> None:
    refining = refine(opened)
    refining.cost_ns = 10**9
    refined = [refining(at(100 * n), [person(0.5)], time.monotonic_ns() + 50 * MS).refined for n in range(120)]
    assert not refined[0] and refined[-1]


def test_it_follows_one_person_and_not_whoever_is_clearer(opened: package.Package) -> None:
    refining = refine(opened, pad=0.25)
    refining(at(0), [person(0.1, 0.6), person(0.7, 0.5)], NO_DEADLINE)
    first = refining.target
    for n in range(1, 10):
        refining(at(100 * n), [person(0.1 + 0.01 * n, 0.4), person(0.7, 0.95)], NO_DEADLINE)
        assert refining.target == first
    middle = refining.pixels.region.left + refining.pixels.region.width / 2
    assert middle == pytest.approx((0.1 + 0.09 + 0.05) * 320, abs=12)


def test_a_person_lost_by_the_first_model_is_refined_at_the_last_place(opened: package.Package) -> None:
    refining = refine(opened, follow_s=2.0)
    for n in range(5):
        refining(at(100 * n), [person(0.5)], NO_DEADLINE)
    refined = [refining(at(400 + 100 * n), [], NO_DEADLINE).refined for n in range(1, 40)]
    assert refined[:20] == [True] * 20 and not any(refined[21:])


def test_a_box_from_neck_to_knees_becomes_a_region_of_the_whole_body(opened: package.Package) -> None:
    """The usual fault of a coarse box: a fifth of the body is missing above it, a fifth below."""
    refining = refine(opened)
    refining(at(0), [Finding("person", 0.6, Box(0.45, 0.32, 0.55, 0.68))], NO_DEADLINE)
    region = refining.pixels.region
    assert region.top <= 0.2 * 240 and region.top + region.height >= 0.8 * 240
    assert region.width < 320  # and not simply all of the picture


def test_a_person_lost_while_falling_is_refined_where_last_detected(opened: package.Package) -> None:
    refining = refine(opened, pad=0.1)
    for n in range(10):
        refining(at(100 * n), [person(0.5, top=0.05 + 0.05 * n, height=0.2)], NO_DEADLINE)
    region = refining.pixels.region
    for n in range(10, 25):
        assert refining(at(100 * n), [], NO_DEADLINE).refined
    assert refining.pixels.region == region
    assert region.top + region.height / 2 == pytest.approx(0.6 * 240, abs=8)


def test_a_person_above_the_band_until_lost_is_refined_where_last_detected(opened: package.Package) -> None:
    """Scores above the band are not refined, but they update the position."""
    refining = refine(opened, band=(0.3, 0.8), pad=0.1)
    refining(at(0), [person(0.1, 0.6)], NO_DEADLINE)
    for n in range(1, 12):
        assert not refining(at(100 * n), [person(0.1 + 0.05 * n, 0.9)], NO_DEADLINE).refined
    assert refining(at(1200), [], NO_DEADLINE).refined
    assert refining.pixels.region.left > 0.5 * 320


@given(st.tuples(*[st.floats(-0.2, 1.2)] * 2), st.floats(0.001, 1.5), st.floats(0.001, 1.5))
def test_the_region_lies_in_the_frame(corner: Any, width: float, height: float) -> None:
    refining = refine(package_once())
    refining.pixels.allocate(FRAME.shape)
    left, top, wide, high = refining.region(Box(*corner, corner[0] + width, corner[1] + height), FRAME.shape)
    assert 0 <= left <= left + wide <= 320 and 0 <= top <= top + high <= 240
    assert left % 2 == wide % 2 == 0 and wide >= 2 and high >= 1


ONCE: list[package.Package] = []


def package_once() -> package.Package:
    if not ONCE:
        ONCE.append(package.open_package(package.find("person-coarse")))
    return ONCE[0]


@needs_recordings
def test_a_pose_network_finds_in_the_region_the_keypoints_of_the_whole() -> None:
    """A person who fills a third of the frame: MoveNet infers only that part, and the joints lie in it."""
    import cv2

    from tests.shared import DATA

    squat = cv2.imread(str(DATA / "models-public" / "squat.bmp"))
    assert squat is not None
    scene = np.full((3 * squat.shape[0], 3 * squat.shape[1], 3), 128, np.uint8)
    top, left = squat.shape[0], squat.shape[1]
    scene[top : 2 * top, left : 2 * left] = squat
    opened = package.open_package(MOVENET)
    refining = Refine(opened, RefineConfig(model=str(MOVENET), label="person", pad=0.0))
    refining.start("bgr")
    result = refining(
        Sample("cam", 0, 1, scene), [Finding("person", 0.5, Box(1 / 3, 1 / 3, 2 / 3, 2 / 3))], NO_DEADLINE
    )
    points = refining.pixels.unmap_points(opened.decoder.keypoints)
    certain = points[points[:, 2] > 0.4]
    assert result.refined and len(certain) >= 10
    assert ((certain[:, :2] > 1 / 3 - 0.02) & (certain[:, :2] < 2 / 3 + 0.02)).all()
    assert [finding.label for finding in result.findings if finding.box]


@needs_recordings
def test_a_fall_is_called_through_three_models_and_a_person_then_lost_still_lies() -> None:
    """A real clip, and after its end 20 s of a grey picture in which no model detects a person."""
    from agent.benches.falls import RULE
    from agent.perception import Perception
    from agent.rules.conditions import RuleConfig
    from agent.rules.engine import Rules
    from agent.rules.scene import Scene
    from agent.vision.poses import SecondModel
    from tests.shared import DATA

    second = SecondModel(package.open_package(package.find("pose-fall")))
    config = RefineConfig(model=str(MOVENET), label="person")
    coarse = package.open_package(package.find("person-coarse"))
    refining = Refine(package.open_package(MOVENET), config)
    clip = DATA / "video-fall-gmdcsa24/S2-Fall-13.mp4"
    lane = offline_lane("room", "camera.file", {"path": clip}, Perception(coarse, refine=refining, second=second))
    scene = Scene(Rules({"fall": RuleConfig.model_validate(RULE)}, {"nurse": "quiet"}))
    calls, start, sample = [], 0, None
    for sample, decisions in lane.play(scene):
        start = start or sample.t_capture
        calls += [(sample.t_capture - start) / 1e9 for decision in decisions if decision.verb == "call"]
    assert len(calls) == 1 and 2.5 < calls[0] < 4.5  # annotated: 2.5 s
    assert sample is not None
    for n in range(1, 301):
        grey = Sample("room", sample.sequence + n, sample.t_capture + n * 67 * MS, np.full_like(sample.payload, 110))
        assert lane.perception.prepare(grey)
        labels = [finding.label for finding in lane.perception.infer(grey, NO_DEADLINE)]
        assert [label for label in labels if label in ("lying", "falling")][-1:] == ["lying"], n
    assert not lane.perception.refined  # the track has ended


def test_two_persons_who_cross_keep_their_numbers() -> None:
    tracks = Tracks(10**9)
    for n in range(30):
        tracks(n * 50 * MS, [person(0.1 + 0.02 * n, top=0.2, height=0.2), person(0.7 - 0.02 * n, top=0.55, height=0.2)])
    first, second = tracks.all
    assert (first.number, second.number) == (1, 2)
    assert first.box.left > 0.6 and second.box.left < 0.2


def test_a_person_hidden_by_a_pillar_keeps_the_number() -> None:
    tracks = Tracks(2 * 10**9)
    for n in range(40):
        hidden = 15 <= n < 25
        tracks(n * 50 * MS, [] if hidden else [person(0.05 + 0.02 * n)])
    assert [track.number for track in tracks.all] == [1]
    assert overlap(tracks.all[0].box, box(0.05 + 0.02 * 39)) > 0.7


def test_a_person_not_detected_for_long_gets_a_new_number() -> None:
    tracks = Tracks(10**9)
    tracks(0, [person(0.5)])
    assert [track.number for track in tracks(1100 * MS, [person(0.5)])] == [2]


@given(st.lists(st.lists(st.tuples(*[st.floats(-1, 2)] * 2, *[st.floats(0, 1)] * 2), max_size=80), max_size=12))
def test_any_boxes_are_accepted(pictures: Any) -> None:
    tracks = Tracks(10**9)
    for n, boxes in enumerate(pictures):
        alive = tracks(n * 100 * MS, [person(x, top=y, width=w, height=h) for x, y, w, h in boxes])
        assert len(alive) <= 64
        numbers = [track.number for track in alive]
        assert len(set(numbers)) == len(numbers)


def test_a_model_of_readings_cannot_refine(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="takes no pictures"):
        Refine(package.open_package(package.find("arm-deviation")), RefineConfig(model="arm-deviation", label="x"))
