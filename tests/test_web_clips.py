"""A recording for the browser: frames of each lane, skeletons, readings, and pictures as far as they may be shown."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent.recorder.recording import read
from agent.web import clips, pictures
from tests.processes import Cell, arm
from tests.recordings import files, start_recording

pytestmark = pytest.mark.slow
SAMPLES = 3000  # of the arm, three seconds
CAMERA = {"driver": "camera.sim", "width": 640, "height": 480, "fps": 5, "seed": 3, "timeout_ms": 2000}
DOOR = [[0.1, 0.2], [0.4, 0.2], [0.4, 0.95]]
RULE = {"any": [{"lane": "gate", "label": "person", "score": 0.3, "zone": "door"}], "actuator": "robot", "verb": "stop"}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of an arm and of a pose network, whose inputs are kept."""
    folder = tmp_path_factory.mktemp("clips")
    lanes = {"arm": arm(timeout_ms=2000), "gate": {"source": CAMERA, "model": "movenet", "zones": {"door": DOOR}}}
    with Cell(folder, lanes) as cell:
        cell.config.update({"state_dir": str(folder / "state"), "recorder": {"pictures": True}, "rules": {"in": RULE}})
        daemon = start_recording(cell)
        cell.wait_for_count("arm", "inferences", SAMPLES)
        cell.wait_for_count("gate", "inferences", 5)
        assert daemon.stop() == 0
        yield files(folder / "state")[-1]


@pytest.fixture(scope="module")
def content(recording: Path) -> dict[str, Any]:
    return clips.shown(recording, pictures.SHOWN)


def _of(content: dict[str, Any], lane: str) -> list[dict[str, Any]]:
    return [frame for frame in content["frames"] if frame["lane"] == lane]


def test_samples_of_a_fast_sensor_share_a_frame_and_no_score_is_lost(recording: Path, content: dict[str, Any]) -> None:
    frames, messages = _of(content, "arm"), [message for lane, message in read(recording).messages if lane == "arm"]
    assert len(frames) <= clips.MAX_LANE_FRAMES < len(messages)
    rows = [row for frame in frames for row in frame["rows"]]
    assert {len(row) for row in rows} == {13} and len(content["lanes"]["arm"]["channels"]) == 12
    stamps = [row[0] for row in rows]
    readings = sum(len(message["readings"]) for message in messages)
    every = ceil(readings / clips.MAX_ROWS)
    assert stamps == sorted(set(stamps)) and len(rows) == pytest.approx(readings / every, rel=0.02)
    scores = [item["score"] for message in messages for item in message["evidence"]]
    assert max(scores) == pytest.approx(max(item["score"] for frame in frames for item in frame["evidence"]), abs=1e-4)


def test_skeletons_lie_in_the_boxes_of_their_persons(content: dict[str, Any]) -> None:
    persons = [(frame["points"], item["box"]) for frame in _of(content, "gate") for item in frame["evidence"][:1]]
    assert persons and all(points for points, _ in persons)
    for (person,), (left, top, right, bottom) in persons:
        joints = [(x, y) for y, x, score in person if score >= 0.2]
        assert joints and all(left - 0.01 <= x <= right + 0.01 and top - 0.01 <= y <= bottom + 0.01 for x, y in joints)
    lane = content["lanes"]["gate"]
    assert lane["frame"] == [480, 640] and [list(corner) for corner in lane["zones"]["door"]] == DOOR
    assert [(each["rule"], each["label"], each["score"]) for each in lane["conditions"]] == [("in", "person", 0.3)]


def test_a_picture_has_the_shape_of_the_camera_without_the_bars_of_the_input(content: dict[str, Any]) -> None:
    """MoveNet's input is a square."""
    frames = [frame for frame in _of(content, "gate") if frame["picture"]]
    assert frames and all(frame["part"] == [0, 0, 1, 1] for frame in frames)
    jpeg = base64.b64decode(content["pictures"][str(frames[0]["n"])])
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape == (144, 192, 3)


def test_hidden_pictures_are_not_in_it_and_the_rest_is(recording: Path, content: dict[str, Any]) -> None:
    hidden = clips.shown(recording, pictures.HIDDEN)
    assert hidden["pictures"] == {} and content["pictures"]
    assert Counter(frame["lane"] for frame in hidden["frames"]) == Counter(frame["lane"] for frame in content["frames"])


def test_without_its_models_a_recording_is_shown_without_skeletons(
    recording: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("agent.packages.package.BUNDLED", tmp_path)
    shown = clips.shown(recording, pictures.SHOWN)
    assert not any(frame["points"] for frame in shown["frames"]) and shown["pictures"]
