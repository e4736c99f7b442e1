"""Coarse to fine: a second look at one place, what it costs, and whom it follows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import package
from agent.data import Box, Sample
from agent.decoders.base import Finding
from agent.lane import offline_lane
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
    made = Refine(opened, RefineConfig.model_validate({"model": "person-coarse", "label": "person", **section}))
    made.fit("bgr")
    return made


def at(now_ms: float) -> Sample:
    return Sample("cam", int(now_ms), int(now_ms * MS) + 1, FRAME)


FAR = 1 << 62


def test_only_scores_in_doubt_are_looked_at_again(opened: package.Package) -> None:
    look = refine(opened, band=(0.3, 0.7))
    assert not look(at(0), [person(0.5, 0.2)], FAR).looked
    assert look(at(100), [person(0.5, 0.5)], FAR).looked
    assert not look(at(200), [person(0.5, 0.9)], FAR).looked  # sure now
    assert not refine(opened)(at(0), [Finding("dog", 0.5, box(0.4))], FAR).looked


def test_the_fine_word_replaces_the_coarse_one_and_no_other(opened: package.Package) -> None:
    """An empty room: the fine model finds nobody where the coarse one saw somebody."""
    told = refine(opened)(at(0), [person(0.1, 0.5), person(0.6, 0.8), Finding("dog", 0.9, box(0.6))], FAR)
    assert told.looked and not told.refine_skipped
    assert told.findings == [person(0.1, 0.5), Finding("dog", 0.9, box(0.6))]


def test_without_time_the_coarse_answer_stands_and_says_so(opened: package.Package) -> None:
    look = refine(opened)
    look(at(0), [person(0.5)], FAR)  # learns what a look costs
    assert look.cost_ns > 0
    told = look(at(100), [person(0.5)], time.monotonic_ns() + look.cost_ns // 4)
    assert told == ([person(0.5)], False, True)
    assert look(at(200), [person(0.5)], time.monotonic_ns() + 10**9).looked


def test_one_slow_look_does_not_end_looking(opened: package.Package) -> None:
    look = refine(opened)
    look.cost_ns = 10**9
    looked = [look(at(100 * n), [person(0.5)], time.monotonic_ns() + 50 * MS).looked for n in range(120)]
    assert not looked[0] and looked[-1]


def test_it_follows_one_person_and_not_whoever_is_clearer(opened: package.Package) -> None:
    look = refine(opened, pad=0.25)
    look(at(0), [person(0.1, 0.6), person(0.7, 0.5)], FAR)
    first = look.target
    for n in range(1, 10):
        look(at(100 * n), [person(0.1 + 0.01 * n, 0.4), person(0.7, 0.95)], FAR)
        assert look.target == first
    middle = look.pixels.region.left + look.pixels.region.width / 2
    assert middle == pytest.approx((0.1 + 0.09 + 0.05) * 320, abs=12)


def test_a_person_lost_by_the_first_model_is_looked_for_where_it_was(opened: package.Package) -> None:
    look = refine(opened, follow_s=2.0)
    for n in range(5):
        look(at(100 * n), [person(0.5)], FAR)
    looked = [look(at(400 + 100 * n), [], FAR).looked for n in range(1, 40)]
    assert looked[:20] == [True] * 20 and not any(looked[21:])


def test_a_box_from_neck_to_knees_shows_the_whole_body(opened: package.Package) -> None:
    """The usual fault of a coarse box: a fifth of the body is missing above it, a fifth below."""
    look = refine(opened)
    look(at(0), [Finding("person", 0.6, Box(0.45, 0.32, 0.55, 0.68))], FAR)
    region = look.pixels.region
    assert region.top <= 0.2 * 240 and region.top + region.height >= 0.8 * 240
    assert region.width < 320  # and not simply all of the picture


def test_who_is_lost_while_falling_is_looked_for_where_they_were_seen_last(opened: package.Package) -> None:
    look = refine(opened, pad=0.1)
    for n in range(10):
        look(at(100 * n), [person(0.5, top=0.05 + 0.05 * n, height=0.2)], FAR)
    seen = look.pixels.region
    for n in range(10, 25):
        assert look(at(100 * n), [], FAR).looked
    assert look.pixels.region == seen
    assert seen.top + seen.height / 2 == pytest.approx(0.6 * 240, abs=8)


def test_a_person_who_was_clear_until_lost_is_looked_for_where_that_was(opened: package.Package) -> None:
    """Scores above the band are not looked at, and yet they say where somebody is."""
    look = refine(opened, band=(0.3, 0.8), pad=0.1)
    look(at(0), [person(0.1, 0.6)], FAR)
    for n in range(1, 12):
        assert not look(at(100 * n), [person(0.1 + 0.05 * n, 0.9)], FAR).looked
    assert look(at(1200), [], FAR).looked
    assert look.pixels.region.left > 0.5 * 320


@given(st.tuples(*[st.floats(-0.2, 1.2)] * 2), st.floats(0.001, 1.5), st.floats(0.001, 1.5))
def test_what_is_looked_at_lies_in_the_frame(corner: Any, width: float, height: float) -> None:
    look = refine(package_once())
    look.pixels.fit(FRAME.shape)
    left, top, wide, high = look.around(Box(*corner, corner[0] + width, corner[1] + height), FRAME.shape)
    assert 0 <= left <= left + wide <= 320 and 0 <= top <= top + high <= 240
    assert left % 2 == wide % 2 == 0 and wide >= 2 and high >= 1


ONCE: list[package.Package] = []


def package_once() -> package.Package:
    if not ONCE:
        ONCE.append(package.open_package(package.find("person-coarse")))
    return ONCE[0]


@needs_recordings
def test_a_pose_network_finds_in_the_part_the_keypoints_that_it_finds_in_the_whole() -> None:
    """A person who fills a third of the frame: coarse says where, MoveNet looks only there; both name the same joints."""
    import cv2

    from tests.shared import DATA

    squat = cv2.imread(str(DATA / "models-public" / "squat.bmp"))
    assert squat is not None
    scene = np.full((3 * squat.shape[0], 3 * squat.shape[1], 3), 128, np.uint8)
    top, left = squat.shape[0], squat.shape[1]
    scene[top : 2 * top, left : 2 * left] = squat
    opened = package.open_package(MOVENET)
    look = Refine(opened, RefineConfig(model=str(MOVENET), label="person", pad=0.0))
    look.fit("bgr")
    told = look(Sample("cam", 0, 1, scene), [Finding("person", 0.5, Box(1 / 3, 1 / 3, 2 / 3, 2 / 3))], FAR)
    points = look.pixels.unmap_points(opened.decoder.keypoints)
    seen = points[points[:, 2] > 0.4]
    assert told.looked and len(seen) >= 10
    assert ((seen[:, :2] > 1 / 3 - 0.02) & (seen[:, :2] < 2 / 3 + 0.02)).all()
    assert [one.label for one in told.findings if one.box]


@needs_recordings
def test_a_fall_is_called_from_coarse_over_fine_to_pose_and_who_then_is_lost_still_lies() -> None:
    """A real clip, and after its end 20 s of a grey picture: no model sees anybody there."""
    from agent.perception import Perception
    from agent.rules.conditions import RuleConfig
    from agent.rules.engine import Rules
    from agent.rules.scene import Scene
    from agent.vision.poses import SecondModel
    from models.train.pose_fall.clips import RULE
    from tests.shared import DATA

    second = SecondModel(package.open_package(package.find("pose-fall")))
    config = RefineConfig(model=str(MOVENET), label="person")
    coarse = package.open_package(package.find("person-coarse"))
    look = Refine(package.open_package(MOVENET), config)
    clip = DATA / "video-fall-gmdcsa24/S2-Fall-13.mp4"
    lane = offline_lane("room", "camera.file", {"path": clip}, Perception(coarse, refine=look, second=second))
    scene = Scene(Rules({"fall": RuleConfig.model_validate(RULE)}, {"nurse": "quiet"}))
    calls, start, sample = [], 0, None
    for sample, decisions in lane.play(scene):
        start = start or sample.t_capture
        calls += [(sample.t_capture - start) / 1e9 for one in decisions if one.verb == "call"]
    assert len(calls) == 1 and 2.5 < calls[0] < 4.5  # annotated: 2.5 s
    assert sample is not None
    for n in range(1, 301):
        grey = Sample("room", sample.sequence + n, sample.t_capture + n * 67 * MS, np.full_like(sample.payload, 110))
        assert lane.perception.show(grey)
        said = lane.perception.see(grey, FAR)
        assert [one.label for one in said if one.label in ("lying", "falling")][-1:] == ["lying"], n
    assert not lane.perception.looked  # nobody is looked for any more


# -- tracks ---------------------------------------------------------------------------------------------------------------


def test_two_who_cross_keep_their_numbers() -> None:
    tracks = Tracks(10**9)
    for n in range(30):
        tracks(n * 50 * MS, [person(0.1 + 0.02 * n, top=0.2, height=0.2), person(0.7 - 0.02 * n, top=0.55, height=0.2)])
    first, second = tracks.all
    assert (first.number, second.number) == (1, 2)
    assert first.box.left > 0.6 and second.box.left < 0.2


def test_who_walks_behind_a_pillar_comes_out_with_the_same_number() -> None:
    tracks = Tracks(2 * 10**9)
    for n in range(40):
        hidden = 15 <= n < 25
        tracks(n * 50 * MS, [] if hidden else [person(0.05 + 0.02 * n)])
    assert [track.number for track in tracks.all] == [1]
    assert overlap(tracks.all[0].box, box(0.05 + 0.02 * 39)) > 0.7


def test_who_was_not_seen_for_long_is_somebody_new() -> None:
    tracks = Tracks(10**9)
    tracks(0, [person(0.5)])
    assert [track.number for track in tracks(1100 * MS, [person(0.5)])] == [2]


@given(st.lists(st.lists(st.tuples(*[st.floats(-1, 2)] * 2, *[st.floats(0, 1)] * 2), max_size=80), max_size=12))
def test_any_boxes_are_stood(pictures: Any) -> None:
    tracks = Tracks(10**9)
    for n, boxes in enumerate(pictures):
        alive = tracks(n * 100 * MS, [person(x, top=y, width=w, height=h) for x, y, w, h in boxes])
        assert len(alive) <= 64
        numbers = [track.number for track in alive]
        assert len(set(numbers)) == len(numbers)


def test_the_manifest_of_a_tool_is_not_a_picture_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="takes no pictures"):
        Refine(package.open_package(package.find("arm-deviation")), RefineConfig(model="arm-deviation", label="x"))
