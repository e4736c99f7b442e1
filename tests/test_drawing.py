"""What a lane detects, drawn: facts about single pixels."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.data import Array, Box, Evidence
from agent.view import drawing
from agent.view.drawing import COUNTED, DETECTED, DIM, LIMBS, ZONE, ActuatorState, FrameView, compose

GREY = 120
HALF = Box(0.25, 0.25, 0.75, 0.75)
PERSON = Evidence("yard", "person", 0.9, 0, HALF)
AT_REST, ON = ActuatorState("siren", "off", "", 1.0), ActuatorState("siren", "on", "somebody", 0.5)


def blank(width: int = 640, height: int = 480) -> Array:
    return np.full((height, width, 3), GREY, np.uint8)


def frame_view(**changes: Any) -> FrameView:
    view = FrameView(time_s=1.0, inferred=True, evidence=[PERSON], actuators=[AT_REST], model="person-coarse")
    return view._replace(**changes)


def covered(picture: Array, height: int = 480) -> Any:
    """bool [height, width]: where the frame was drawn over."""
    return (picture[:height] != GREY).any(axis=2)


def has(picture: Array, colour: tuple[int, int, int], near: int = 0) -> bool:
    return bool((np.abs(picture.astype(int) - colour).max(axis=-1) <= near).any())


def test_a_box_lies_where_it_was_detected_and_covers_nothing_inside() -> None:
    frame = blank()
    picture = compose(frame, frame_view())
    assert (frame == GREY).all()
    left, top, right, bottom = 160, 120, 479, 359
    for x, y in ((left, 240), (right, 240), (320, top), (320, bottom)):
        assert tuple(picture[y, x]) == DETECTED
    assert not covered(picture)[top + 4 : bottom - 3, left + 4 : right - 3].any()
    assert not covered(picture)[:, :150].any() and not covered(picture)[bottom + 4 :].any()


def test_evidence_that_a_rule_counts_is_orange_and_thicker() -> None:
    detected, counted = compose(blank(), frame_view()), compose(blank(), frame_view(counted=frozenset([PERSON])))
    assert not has(detected, COUNTED) and has(counted[:480], COUNTED)
    assert tuple(counted[240, 160]) == COUNTED
    assert covered(counted)[240, 150:170].sum() > covered(detected)[240, 150:170].sum()


def test_a_frame_without_inference_shows_the_newest_evidence_dim() -> None:
    points = np.full((1, 17, 3), 0.5, np.float32)
    picture = compose(blank(), frame_view(inferred=False, points=points, counted=frozenset([PERSON])))
    assert tuple(picture[240, 160]) == DIM
    assert not has(picture, DETECTED) and not has(picture, LIMBS)
    text, colour = drawing.bar_lines(frame_view(inferred=False, age_s=0.3))[0]
    assert (text, colour) == ("1.00 s   no inference (gated); newest 0.30 s old", DIM)


def test_a_bone_joins_two_keypoints_with_enough_score() -> None:
    points = np.zeros((1, 17, 3), np.float32)
    points[0, 5], points[0, 7] = (0.2, 0.2, 0.9), (0.2, 0.8, 0.9)  # left shoulder, left elbow: y, x, score
    points[0, 9], points[0, 11] = (0.9, 0.5, 0.1), (math.nan, 0.5, 0.9)  # too low a score; damaged
    picture = compose(blank(), frame_view(evidence=[], points=points))
    y = round(0.2 * 479)
    assert (picture[y, 140:500] == LIMBS).all()
    assert not covered(picture)[:80].any() and not covered(picture)[120:].any()


def test_a_zone_is_shaded_and_the_rest_is_not() -> None:
    picture = compose(
        blank(), frame_view(evidence=[], zones={"gate": [(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)]})
    )
    expected = np.rint(drawing.SHADE * np.array(ZONE) + (1 - drawing.SHADE) * GREY)
    assert np.abs(picture[240, 480] - expected).max() <= 1
    assert not covered(picture)[:, :310].any()


@pytest.mark.parametrize(
    "width, height, times", [(320, 240, 2), (96, 96, 4), (640, 480, 1), (1920, 1080, 1), (1080, 1920, 1)]
)
def test_letters_are_readable_and_leave_the_picture_uncovered(width: int, height: int, times: int) -> None:
    picture = compose(blank(width, height), frame_view(counted=frozenset([PERSON]), actuators=[ON]))
    assert picture.shape[1] == width * times and picture.shape[0] < height * times * 1.4
    pen = drawing.Pen(width * times, height * times)
    capital = cv2.getTextSize("X", drawing.FONT, pen.scale, pen.weight)[0][1]
    assert 10 <= capital < height * times / 20
    assert covered(picture, height * times).mean() < 0.08


def test_black_letters_stand_out_on_every_plate() -> None:
    def luminance(colour: tuple[int, int, int]) -> float:
        """WCAG 2.1, relative luminance."""
        linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]

    for plate in (DETECTED, COUNTED, ZONE, DIM):
        assert (luminance(plate) + 0.05) / 0.05 >= 4.5


def test_the_bar_shows_the_decision_in_force_and_keeps_its_size() -> None:
    lines = drawing.bar_lines(frame_view(actuators=[ON, AT_REST], prepare_ms=0.25, infer_ms=5.5))
    assert [text for text, _ in lines] == [
        "1.00 s   prepare 0.25 ms   inference 5.50 ms",
        "person-coarse: person 0.90",
        "siren: on, by rule somebody, for 0.5 s",
        "siren: off, at rest, for 1.0 s",
    ]
    many = frame_view(actuators=[AT_REST] * 9)
    assert drawing.bar_lines(many)[-1][0].endswith("; and 5 more")
    views = frame_view(), frame_view(inferred=False), frame_view(evidence=[PERSON] * 90)
    sizes = {compose(blank(), view).shape for view in views}
    assert len(sizes) == 1


shares = st.floats(width=32)


@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.lists(st.tuples(shares, shares, shares, shares), max_size=4),
    st.text(),
)
def test_no_output_of_a_model_breaks_the_drawing(size: tuple[int, int], boxes: list[Any], label: str) -> None:
    evidence = [Evidence("yard", label, box[0], 0, Box(*box)) for box in boxes]
    points = np.array([box[:3] for box in boxes] + [(math.inf, -1e30, 1.0)] * (17 - len(boxes)), np.float32)[None]
    picture = compose(blank(*size), frame_view(evidence=evidence, points=points))
    assert picture.dtype == np.uint8 and picture.shape[0] % 2 == picture.shape[1] % 2 == 0
