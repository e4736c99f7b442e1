"""Gates: what is dropped before it costs an inference, and what never is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.backends.base import Tensor
from agent.benches import gating
from agent.data import Array, Box, Sample
from agent.decoders.base import Finding
from agent.gates.config import GateConfig
from agent.gates.make import make_gate
from agent.gates.pictures import PictureGate
from agent.gates.readings import ReadingGate
from agent.packages.manifest import Picture, Window
from agent.prepare.pixels import Pixels
from agent.prepare.readings import Readings
from agent.prepare.region import region_around
from tests.processes import Cell, camera
from tests.shared import DATA, needs_recordings

MS = 1_000_000
HEIGHT, WIDTH = 240, 320
TENSOR = Tensor("input", (1, 96, 96, 1), "uint8", 0.0, 0)
PERSON = [Finding("person", 0.9, Box(0.4, 0.4, 0.6, 0.6))]


def picture_gate(layout: str = "grey", fit: str = "stretch", **section: Any) -> PictureGate:
    gate = make_gate(GateConfig.model_validate(section), Pixels(Picture(colour="grey", fit=fit), TENSOR, layout))
    assert isinstance(gate, PictureGate)
    return gate


def empty(layout: str = "grey") -> Array:
    shape = {"grey": (), "bgr": (3,), "yuyv": (2,)}[layout]
    return np.full((HEIGHT, WIDTH, *shape), 90, np.uint8)


def with_square(left: int, top: int = 100, side: int = 40, layout: str = "grey") -> Array:
    picture = empty(layout)
    picture[top : top + side, left : left + side] = 200
    return picture


class Feed:
    """Pictures to a gate, 100 ms apart; `findings` are its model's in those that it lets through."""

    def __init__(self, gate: PictureGate) -> None:
        self.gate = gate
        self.now = 0
        self.view = np.zeros((1, 96, 96, 1), np.uint8)

    def __call__(self, picture: Array, findings: list[Finding] | None = None, after_ms: float = 100) -> bool:
        self.now += int(after_ms * MS)
        through = self.gate(Sample("cam", self.now, self.now, picture), self.view)
        assert through is not self.gate.gated
        if through:
            self.gate.accept_findings(findings or [])
        return through


@pytest.mark.parametrize("layout", ["grey", "bgr", "yuyv"])
@pytest.mark.parametrize("part", ["keyframe", "motion"])
def test_a_still_picture_is_inferred_once_an_idle_interval(part: str, layout: str) -> None:
    feed = Feed(picture_gate(layout, **{part: {}}, idle_interval_ms=1000))
    assert [feed(empty(layout)) for _ in range(31)] == [True] + ([False] * 9 + [True]) * 3


@pytest.mark.parametrize("layout", ["grey", "bgr", "yuyv"])
def test_an_object_that_appears_is_inferred_at_once(layout: str) -> None:
    feed = Feed(picture_gate(layout, motion={}))
    for _ in range(6):
        feed(empty(layout))
    assert feed(with_square(100, layout=layout))


def test_a_part_smaller_than_min_area_is_no_motion() -> None:
    feed = Feed(picture_gate(motion={"min_area": 0.05}))
    for _ in range(5):
        feed(empty())
    assert not feed(with_square(100, side=20))
    assert feed(with_square(100, side=90))


def test_a_keyframe_differs_from_the_last_inferred_one_and_not_from_the_one_before() -> None:
    feed = Feed(picture_gate(keyframe={"min_changed": 0.1}, idle_interval_ms=60_000))
    assert feed(empty())
    steps = [feed(with_square(0, 0, side)) for side in range(4, 120, 4)]  # each differs by a little from the one before
    first = steps.index(True)
    assert (4 * (first + 1)) ** 2 == pytest.approx(0.1 * HEIGHT * WIDTH, rel=0.15)


def test_with_findings_that_stay_in_place_it_is_inferred_once_an_active_interval() -> None:
    feed = Feed(picture_gate(motion={}, active_interval_ms=400, idle_interval_ms=5000, burst_ms=300))
    feed(empty())
    feed(empty())
    inferred = [feed(with_square(120), PERSON) for _ in range(23)]
    assert inferred[:3] == [True] * 3  # findings begin: rules that count hits must not wait for the interval
    assert inferred[3:] == [False, False, False, True] * 5


def test_a_finding_that_moves_on_is_inferred_before_the_active_interval_ends() -> None:
    feed = Feed(
        picture_gate(motion={"min_change": 0.5}, active_interval_ms=60_000, idle_interval_ms=60_000, burst_ms=0)
    )
    for _ in range(5):
        feed(empty())
    inferred = [feed(with_square(40 + 8 * n), PERSON) for n in range(24)]
    assert inferred[0] and 3 <= sum(inferred) <= 12


def test_the_end_of_an_event_is_inferred_and_confirmed() -> None:
    feed = Feed(picture_gate(motion={}, active_interval_ms=400, idle_interval_ms=5000, burst_ms=200))
    for _ in range(3):
        feed(empty())
    for _ in range(20):
        feed(with_square(100), PERSON)
    gone = [feed(empty()) for _ in range(8)]
    assert True in gone[:4]  # no later than an active interval
    assert gone[gone.index(True) + 1]  # and once more, for rules that count hits


@given(st.lists(st.tuples(st.integers(1, 700), st.booleans(), st.integers(0, 280)), min_size=1, max_size=60))
def test_no_time_without_an_inference_is_longer_than_its_interval(steps: list[tuple[int, bool, int]]) -> None:
    feed = Feed(picture_gate(motion={}, keyframe={}, idle_interval_ms=1000, active_interval_ms=300))
    t_inferred, found = None, False
    for after, finds, left in steps:
        through = feed(with_square(left), PERSON if finds else [], after)
        if through:
            t_inferred, found = feed.now, finds
        assert t_inferred is not None
        assert feed.now - t_inferred < (300 if found else 1000) * MS


def test_a_clock_that_went_back_does_not_close_the_gate() -> None:
    feed = Feed(picture_gate(motion={}, idle_interval_ms=1000))
    feed(empty(), after_ms=10_000_000)
    feed.now = 0
    assert feed(empty())


def test_a_crop_has_the_part_that_moved_and_boxes_are_mapped_to_the_frame() -> None:
    gate = picture_gate(motion={"crop": True, "pad": 0.02})
    feed = Feed(gate)
    for _ in range(8):
        feed(empty())
    square = with_square(200, 60, side=60)
    assert feed(square)
    left, top, width, height = gate.pixels.region
    assert left <= 200 and top <= 60 and left + width >= 260 and top + height >= 120
    assert width * height < 0.3 * WIDTH * HEIGHT and width / height == pytest.approx(WIDTH / HEIGHT, rel=0.05)
    rows, columns = np.nonzero(feed.view[0, :, :, 0] > 150)
    box = gate.pixels.unmap(Box(columns.min() / 96, rows.min() / 96, (columns.max() + 1) / 96, (rows.max() + 1) / 96))
    assert np.allclose(box, (200 / WIDTH, 60 / HEIGHT, 260 / WIDTH, 120 / HEIGHT), atol=0.02)


def test_a_crop_keeps_findings_that_stand_still() -> None:
    gate = picture_gate(motion={"crop": True, "pad": 0.0}, burst_ms=0, active_interval_ms=60_000)
    feed = Feed(gate)
    for _ in range(8):
        feed(empty(), [Finding("person", 0.9, Box(0.0, 0.0, 0.2, 0.3))])
    assert feed(with_square(160, 100))
    left, top, width, height = gate.pixels.region
    assert (left, top) == (0, 0) and left + width >= 200 and top + height >= 140


@given(
    st.tuples(*[st.floats(-0.5, 1.5)] * 4),
    st.floats(0.01, 1.0),
    st.integers(2, 2000).map(lambda n: 2 * n),
    st.integers(2, 2000),
)
def test_a_region_lies_in_the_frame_and_starts_at_a_whole_pair_of_pixels(
    corners: Any, share: float, width: int, height: int
) -> None:
    left, top, wide, high = region_around(
        Box(*corners), round(share * width / 2) * 2, round(share * height), (height, width)
    )
    assert 0 <= left <= left + wide <= width and 0 <= top <= top + high <= height
    assert left % 2 == 0 and wide % 2 == 0


def reading_gate(length: int = 4, **section: Any) -> tuple[ReadingGate, Array]:
    tensor = Tensor("input", (1, length, 2), "float32", 0.0, 0)
    window = Window(channels=["angle", "speed"], length=length, mean=[0.0, 0.0], std=[1.0, 1.0])
    gate = make_gate(GateConfig.model_validate(section), Readings(window, tensor, ("angle", "speed")))
    assert isinstance(gate, ReadingGate)
    return gate, np.zeros((1, length, 2), np.float32)


def through(gate: ReadingGate, view: Array, angles: list[float], batch: int = 1) -> list[bool]:
    """Which of these batches the gate lets through, at 1 kHz."""
    passed = []
    for at in range(0, len(angles), batch):
        rows = np.array([[angle, 0.0] for angle in angles[at : at + batch]], np.float32)
        passed.append(gate(Sample("arm", at, (at + 1) * MS, rows), view))
    return passed


def test_only_outliers_pass_with_hysteresis_and_the_reading_that_ends_them() -> None:
    gate, view = reading_gate(
        1, outlier={"angle": {"center": 0.0, "tolerance": 5.0, "hysteresis": 4.0}}, idle_interval_ms=60_000, burst_ms=0
    )
    angles = [0.0, 3.0, -4.9, 5.0, 6.0, 4.5, 4.1, 3.9, 3.0, -7.0, 0.0, 0.0]
    #         first            out  out  out  out  ends       out  ends
    assert through(gate, view, angles) == [bool(n) for n in (1, 0, 0, 1, 1, 1, 1, 1, 0, 1, 1, 0)]


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_no_reading_is_lost_and_no_outlier_within_a_hop_is_missed(batch: int) -> None:
    gate, view = reading_gate(
        4, outlier={"angle": {"center": 0.0, "tolerance": 5.0}}, idle_interval_ms=60_000, burst_ms=0
    )
    angles = [float(n % 4) for n in range(42)]
    angles[23] = 9.0
    windows = []
    for at in range(0, 42, batch):
        if through(gate, view, angles[at : at + batch], batch)[0]:
            windows.append((at + batch, view[0, :, 0].tolist()))
    assert any(end - batch <= 23 < end for end, _ in windows)
    for end, window in windows:
        assert window == angles[end - 4 : end]


def test_a_ramp_is_predicted_and_a_jump_is_not() -> None:
    gate, view = reading_gate(
        1, outlier={"angle": {"center": "predicted", "tolerance": 2.0}}, idle_interval_ms=60_000, burst_ms=0
    )
    ramp = [0.5 * n for n in range(200)]
    assert through(gate, view, ramp)[60:] == [False] * 140
    assert gate(Sample("arm", 200, 201 * MS, np.array([[110.0, 0.0]], np.float32)), view)


def test_readings_within_the_tolerance_are_inferred_once_an_idle_interval() -> None:
    gate, view = reading_gate(1, outlier={"angle": {"center": 0.0, "tolerance": 5.0}}, idle_interval_ms=10, burst_ms=0)
    assert sum(through(gate, view, [1.0] * 100)) == 10


@pytest.mark.parametrize(
    "section, message",
    [
        ({}, "a gate has 'keyframe' or 'motion'"),
        ({"motion": {}, "outlier": {"a": {"tolerance": 1}}}, "a gate has 'keyframe' or 'motion'"),
        ({"outlier": {"a": {"tolerance": 1, "hysteresis": 2}}}, "is above tolerance"),
        ({"outlier": {"a": {"tolerance": 0}}}, "greater than 0"),
        ({"keyframe": {"min_changed": 2}}, "less than or equal to 1"),
    ],
)
def test_an_impossible_gate_is_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GateConfig.model_validate(section)


def test_a_gated_camera_keeps_its_actuator_alive_and_counts_the_samples_held_back(tmp_path: Path) -> None:
    gate = {"keyframe": {"min_changed": 0.9}, "idle_interval_ms": 450}
    with Cell(tmp_path, {"cam": {**camera(), "gate": gate}}) as cell:
        cell.config["rules"]["cam-never"]["any"][0]["within_ms"] = 1000
        cell.start_both()
        cell.wait_for_count("cam", "gated", 60)
        counts = cell.counts("cam")
        assert counts["inferences"] >= 2 and counts["gated"] > 3 * counts["inferences"]
        assert cell.verbs()[-1] == "run" and counts["faults"] == 0


@needs_recordings
@pytest.mark.slow
def test_most_of_a_clip_is_not_inferred_and_every_person_is_found_within_two_frames() -> None:
    report = gating.measure(DATA)
    assert report["appearances"] == 6
    assert report["not_inferred_percent"] >= 70
    assert report["latest_frames"] is not None and report["latest_frames"] <= 2
