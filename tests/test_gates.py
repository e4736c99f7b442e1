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
from agent.benches import senses
from agent.data import Array, Box, Sample
from agent.decoders.base import Finding
from agent.gates import fit
from agent.gates.config import GateConfig
from agent.gates.pictures import PictureGate, inside
from agent.gates.readings import ReadingGate
from agent.manifest import Picture, Window
from agent.prepare.pixels import Pixels
from agent.prepare.readings import Readings
from tests.processes import Cell, camera, needs_pictures
from tests.shared import DATA, needs_recordings

MS = 1_000_000
HEIGHT, WIDTH = 240, 320
TENSOR = Tensor("input", (1, 96, 96, 1), "uint8", 0.0, 0)
PERSON = [Finding("person", 0.9, Box(0.4, 0.4, 0.6, 0.6))]


def eye(layout: str = "grey", fit: str = "stretch", **section: Any) -> PictureGate:
    made = fit.fit(GateConfig.model_validate(section), Pixels(Picture(colour="grey", fit=fit), TENSOR, layout))
    assert isinstance(made, PictureGate)
    return made


def empty(layout: str = "grey") -> Array:
    shape = {"grey": (), "bgr": (3,), "yuyv": (2,)}[layout]
    return np.full((HEIGHT, WIDTH, *shape), 90, np.uint8)


def with_square(left: int, top: int = 100, side: int = 40, layout: str = "grey") -> Array:
    picture = empty(layout)
    picture[top : top + side, left : left + side] = 200
    return picture


class Show:
    """Pictures to a gate, 100 ms apart; `found` is what its model says to those that it lets through."""

    def __init__(self, gate: PictureGate) -> None:
        self.gate = gate
        self.now = 0
        self.view = np.zeros((1, 96, 96, 1), np.uint8)

    def __call__(self, picture: Array, found: list[Finding] | None = None, after_ms: float = 100) -> bool:
        self.now += int(after_ms * MS)
        through = self.gate(Sample("cam", self.now, self.now, picture), self.view)
        assert through is not self.gate.held
        if through:
            self.gate.saw(found or [])
        return through


@pytest.mark.parametrize("layout", ["grey", "bgr", "yuyv"])
@pytest.mark.parametrize("part", ["keyframe", "motion"])
def test_a_still_picture_is_looked_at_once_a_silence(part: str, layout: str) -> None:
    show = Show(eye(layout, **{part: {}}, idle_interval_ms=1000))
    assert [show(empty(layout)) for _ in range(31)] == [True] + ([False] * 9 + [True]) * 3


@pytest.mark.parametrize("layout", ["grey", "bgr", "yuyv"])
def test_whatever_appears_is_seen_at_once(layout: str) -> None:
    show = Show(eye(layout, motion={}))
    for _ in range(6):
        show(empty(layout))
    assert show(with_square(100, layout=layout))


def test_what_is_smaller_than_asked_for_is_no_motion() -> None:
    show = Show(eye(motion={"min_area": 0.05}))
    for _ in range(5):
        show(empty())
    assert not show(with_square(100, side=20))
    assert show(with_square(100, side=90))


def test_a_keyframe_differs_from_the_last_one_looked_at_and_not_from_the_one_before() -> None:
    show = Show(eye(keyframe={"min_changed": 0.1}, idle_interval_ms=60_000))
    assert show(empty())
    steps = [show(with_square(0, 0, side)) for side in range(4, 120, 4)]  # each differs by a little from the one before
    first = steps.index(True)
    assert (4 * (first + 1)) ** 2 == pytest.approx(0.1 * HEIGHT * WIDTH, rel=0.15)


def test_while_something_is_found_and_stays_there_it_is_looked_at_in_beats() -> None:
    show = Show(eye(motion={}, active_interval_ms=400, idle_interval_ms=5000, burst_ms=300))
    show(empty())
    show(empty())
    looks = [show(with_square(120), PERSON) for _ in range(23)]
    assert looks[:3] == [True] * 3  # it begins: rules that count hits shall not wait for beats
    assert looks[3:] == [False, False, False, True] * 5


def test_something_found_that_moves_on_is_looked_at_again_before_the_beat() -> None:
    show = Show(eye(motion={"min_change": 0.5}, active_interval_ms=60_000, idle_interval_ms=60_000, burst_ms=0))
    for _ in range(5):
        show(empty())
    looks = [show(with_square(40 + 8 * n), PERSON) for n in range(24)]
    assert looks[0] and 3 <= sum(looks) <= 12


def test_the_end_of_an_event_is_seen_and_said() -> None:
    show = Show(eye(motion={}, active_interval_ms=400, idle_interval_ms=5000, burst_ms=200))
    for _ in range(3):
        show(empty())
    for _ in range(20):
        show(with_square(100), PERSON)
    gone = [show(empty()) for _ in range(8)]
    assert True in gone[:4]  # no later than a beat
    assert gone[gone.index(True) + 1]  # and once more, to be sure


@given(st.lists(st.tuples(st.integers(1, 700), st.booleans(), st.integers(0, 280)), min_size=1, max_size=60))
def test_no_silence_is_longer_than_asked_for(steps: list[tuple[int, bool, int]]) -> None:
    show = Show(eye(motion={}, keyframe={}, idle_interval_ms=1000, active_interval_ms=300))
    looked, found = None, False
    for after, says, left in steps:
        through = show(with_square(left), PERSON if says else [], after)
        if through:
            looked, found = show.now, says
        assert looked is not None
        assert show.now - looked < (300 if found else 1000) * MS


def test_a_clock_that_went_back_does_not_close_the_gate() -> None:
    show = Show(eye(motion={}, idle_interval_ms=1000))
    show(empty(), after_ms=10_000_000)
    show.now = 0
    assert show(empty())


def test_a_crop_shows_the_part_that_moved_and_boxes_come_back_to_the_frame() -> None:
    gate = eye(motion={"crop": True, "pad": 0.02})
    show = Show(gate)
    for _ in range(8):
        show(empty())
    square = with_square(200, 60, side=60)
    assert show(square)
    left, top, width, height = gate.pixels.region
    assert left <= 200 and top <= 60 and left + width >= 260 and top + height >= 120
    assert width * height < 0.3 * WIDTH * HEIGHT and width / height == pytest.approx(WIDTH / HEIGHT, rel=0.05)
    rows, columns = np.nonzero(show.view[0, :, :, 0] > 150)
    seen = gate.pixels.unmap(Box(columns.min() / 96, rows.min() / 96, (columns.max() + 1) / 96, (rows.max() + 1) / 96))
    assert np.allclose(seen, (200 / WIDTH, 60 / HEIGHT, 260 / WIDTH, 120 / HEIGHT), atol=0.02)


def test_a_crop_keeps_in_view_what_was_found_and_stands_still() -> None:
    gate = eye(motion={"crop": True, "pad": 0.0}, burst_ms=0, active_interval_ms=60_000)
    show = Show(gate)
    for _ in range(8):
        show(empty(), [Finding("person", 0.9, Box(0.0, 0.0, 0.2, 0.3))])
    assert show(with_square(160, 100))
    left, top, width, height = gate.pixels.region
    assert (left, top) == (0, 0) and left + width >= 200 and top + height >= 140


@given(
    st.tuples(*[st.floats(-0.5, 1.5)] * 4),
    st.floats(0.01, 1.0),
    st.integers(2, 2000).map(lambda n: 2 * n),
    st.integers(2, 2000),
)
def test_a_region_lies_in_the_frame_and_begins_at_a_whole_pair_of_pixels(
    corners: Any, share: float, width: int, height: int
) -> None:
    left, top, wide, high = inside(Box(*corners), share, width, height)
    assert 0 <= left <= left + wide <= width and 0 <= top <= top + high <= height
    assert left % 2 == 0 and wide % 2 == 0


# -- readings -------------------------------------------------------------------------------------------------------------


def feel(length: int = 4, **section: Any) -> tuple[ReadingGate, Array]:
    tensor = Tensor("input", (1, length, 2), "float32", 0.0, 0)
    window = Window(channels=["angle", "speed"], length=length, mean=[0.0, 0.0], std=[1.0, 1.0])
    made = fit.fit(GateConfig.model_validate(section), Readings(window, tensor, ("angle", "speed")))
    assert isinstance(made, ReadingGate)
    return made, np.zeros((1, length, 2), np.float32)


def through(gate: ReadingGate, view: Array, angles: list[float], batch: int = 1) -> list[bool]:
    """At 1 kHz."""
    said = []
    for at in range(0, len(angles), batch):
        rows = np.array([[angle, 0.0] for angle in angles[at : at + batch]], np.float32)
        said.append(gate(Sample("arm", at, (at + 1) * MS, rows), view))
    return said


def test_only_angles_beyond_five_degrees_pass_with_hysteresis_and_the_reading_that_ends_it() -> None:
    gate, view = feel(
        1, outlier={"angle": {"center": 0.0, "tolerance": 5.0, "hysteresis": 4.0}}, idle_interval_ms=60_000, burst_ms=0
    )
    angles = [0.0, 3.0, -4.9, 5.0, 6.0, 4.5, 4.1, 3.9, 3.0, -7.0, 0.0, 0.0]
    #         first            out  out  out  out  ends       out  ends
    assert through(gate, view, angles) == [bool(n) for n in (1, 0, 0, 1, 1, 1, 1, 1, 0, 1, 1, 0)]


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_no_reading_is_lost_and_none_off_the_reference_in_a_hop_is_missed(batch: int) -> None:
    gate, view = feel(4, outlier={"angle": {"center": 0.0, "tolerance": 5.0}}, idle_interval_ms=60_000, burst_ms=0)
    angles = [float(n % 4) for n in range(42)]
    angles[23] = 9.0
    windows = []
    for at in range(0, 42, batch):
        if through(gate, view, angles[at : at + batch], batch)[0]:
            windows.append((at + batch, view[0, :, 0].tolist()))
    assert any(end - batch <= 23 < end for end, _ in windows)
    for end, window in windows:
        assert window == angles[end - 4 : end]


def test_a_ramp_is_foretold_and_a_jump_is_not() -> None:
    gate, view = feel(
        1, outlier={"angle": {"center": "predicted", "tolerance": 2.0}}, idle_interval_ms=60_000, burst_ms=0
    )
    ramp = [0.5 * n for n in range(200)]
    assert through(gate, view, ramp)[60:] == [False] * 140
    assert gate(Sample("arm", 200, 201 * MS, np.array([[110.0, 0.0]], np.float32)), view)


def test_readings_within_their_bounds_are_looked_at_once_a_silence() -> None:
    gate, view = feel(1, outlier={"angle": {"center": 0.0, "tolerance": 5.0}}, idle_interval_ms=10, burst_ms=0)
    assert sum(through(gate, view, [1.0] * 100)) == 10


# -- in a lane, in a box, on a clip -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "section, says",
    [
        ({}, "a gate has 'keyframe' or 'motion'"),
        ({"motion": {}, "outlier": {"a": {"tolerance": 1}}}, "a gate has 'keyframe' or 'motion'"),
        ({"outlier": {"a": {"tolerance": 1, "hysteresis": 2}}}, "is above tolerance"),
        ({"outlier": {"a": {"tolerance": 0}}}, "greater than 0"),
        ({"keyframe": {"min_changed": 2}}, "less than or equal to 1"),
    ],
)
def test_what_makes_no_gate(section: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        GateConfig.model_validate(section)


@needs_pictures
def test_a_gated_camera_keeps_its_actuator_alive_and_counts_what_it_held_back(tmp_path: Path) -> None:
    gate = {"keyframe": {"min_changed": 0.9}, "idle_interval_ms": 450}
    with Cell(tmp_path, {"cam": {**camera(), "gate": gate}}) as cell:
        cell.config["rules"]["cam-never"]["any"][0]["within_ms"] = 1000
        cell.both()
        cell.counted("cam", "gated", 60)
        counts = cell.counts("cam")
        assert counts["inferences"] >= 2 and counts["gated"] > 3 * counts["inferences"]
        assert cell.verbs()[-1] == "run" and counts["faults"] == 0


@needs_recordings
def test_most_of_a_clip_is_not_inferred_and_every_person_is_found_within_two_frames() -> None:
    told = senses.gates(DATA)
    assert told["appearances"] == 6
    assert told["not_inferred_percent"] >= 70
    assert told["latest_frames"] is not None and told["latest_frames"] <= 2
