"""What `reflexd tune` measures on: recordings, devices; and what it refuses, with one message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent.config.load import load_config
from agent.config.models import LaneConfig
from agent.recorder.recording import Recording
from agent.tapes.format import TapeHeader
from agent.tune.footage import of_source
from agent.tune.measure import Measurement
from tests.processes import arm, camera
from tests.tuning import cell_config, refused, tune


def recorded(path: Path, lane: str, header: TapeHeader, messages: list[dict[str, Any]], of: Path | None = None) -> Path:
    """of: the configuration that it was recorded with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = load_config(of).model_dump(mode="json") if of else {}
    with open(path, "wb") as file:
        recording = Recording(file, {"version": "test", "config": json.dumps(content)})
        for number, message in enumerate(messages):
            times = {"order": number, "sequence": number, "t_capture": number * 1_000_000, "skipped": 0}
            recording.add(header, {**times, "evidence": [], "decisions": [], **message}, number)
        recording.close()
    return path


def readings(path: Path, count: int = 400, of: Path | None = None) -> Path:
    """Of an arm that stands still."""
    channels = ["e1", "e2", "e3", "v1", "v2", "v3", "fx", "fy", "fz", "tx", "ty", "tz"]
    return recorded(path, "arm", TapeHeader("arm", channels, [], [], 1000.0), [{"readings": [[0.0] * 12]}] * count, of)


@pytest.mark.slow
def test_the_recorders_readings_are_used_where_they_are_given_or_were_kept(tmp_path: Path) -> None:
    path = cell_config(tmp_path, {"arm": arm()})
    given = readings(tmp_path / "some.mcap")
    for options in (("--recording", str(given)), ("--recording", str(tmp_path)), ()):
        result = tune(path, "--budget-ms", "1e6", "--seconds", "2", "--json", *options)
        assert result.exception is None, result.exception
        on = json.loads(result.stdout)["lanes"]["arm"]["measured_on"]
        assert (on["kind"], on["samples"]) == (("recording", 400) if options else ("simulated", 2001)), options
    kept = readings(tmp_path / "state" / "recordings" / "cell-1-00000001_20260101T000000.mcap", of=path)
    on = json.loads(tune(path, "--budget-ms", "1e6", "--seconds", "2", "--json").stdout)["lanes"]["arm"]["measured_on"]
    assert (on["kind"], on["name"], on["samples"]) == ("recording", kept.name, 400)
    other = cell_config(tmp_path, {"arm": arm(seed=7)})
    on = json.loads(tune(other, "--budget-ms", "1e6", "--json", "--seconds", "1").stdout)["lanes"]["arm"]["measured_on"]
    assert on["kind"] == "simulated", "another source was recorded"


def test_a_folder_has_a_recording_for_each_lane_by_its_name(tmp_path: Path) -> None:
    path = cell_config(tmp_path, {"floor": camera(), "arm": arm()})
    data = tmp_path / "data"
    (data / "floor").mkdir(parents=True)
    for number in range(30):
        picture = np.full((120, 160, 3), 8 * number, np.uint8)
        assert cv2.imwrite(str(data / "floor" / f"{number:02}.png"), picture)
    channels = "e1,e2,e3,v1,v2,v3,fx,fy,fz,tx,ty,tz"
    rows = [f"{number / 1000:.3f},{','.join(['0'] * 12)}" for number in range(100)]
    (data / "arm.csv").write_text("\n".join([f"t_s,{channels}", *rows]))
    result = tune(path, "--budget-ms", "1e6", "--recording", str(data), "--json")
    assert result.exception is None, result.exception
    lanes = json.loads(result.stdout)["lanes"]
    assert {name: lane["measured_on"]["kind"] for name, lane in lanes.items()} == dict.fromkeys(lanes, "recording")
    assert (lanes["floor"]["measured_on"]["samples"], lanes["arm"]["measured_on"]["samples"]) == (30, 100)


@pytest.mark.parametrize("budget", ["0", "nan", "inf", "-1"])
def test_a_budget_is_a_number_above_0(tmp_path: Path, budget: str) -> None:
    assert "--budget-ms" in refused(cell_config(tmp_path), "--budget-ms", budget)


def test_seconds_are_a_number_above_0(tmp_path: Path) -> None:
    assert "--seconds 0: expected a number above 0" in refused(cell_config(tmp_path), "--seconds", "0")


def test_an_unknown_lane_has_the_nearest_name(tmp_path: Path) -> None:
    assert "no lane 'flor'; did you mean 'floor'?" in refused(cell_config(tmp_path), "--lane", "flor")


def test_a_configuration_that_is_wrong_has_its_own_message(tmp_path: Path) -> None:
    assert "no lanes" in refused(cell_config(tmp_path, {}))
    assert "No such file" in refused(tmp_path / "none.yaml")
    wrong = cell_config(tmp_path, {"floor": {**camera(), "modle": "objects"}})
    assert "did you mean 'model'?" in refused(wrong)
    missing = cell_config(tmp_path, {"floor": {**camera(), "model": "./mine"}})
    assert "no model package './mine'" in refused(missing)


def test_a_device_that_is_not_there_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = cell_config(tmp_path, {"gate": camera("camera.v4l2", device="/dev/video99")})
    message = refused(path, "--budget-ms", "10", "--seconds", "1")
    assert message.startswith("lane gate: ") and "/dev/video99" in message and "--recording" in message


@pytest.mark.parametrize(
    "name, content, expected",
    [
        ("none.mp4", None, "no such recording"),
        ("empty", "", "a recording of none of the lanes floor, arm"),
        ("broken.mcap", b"no recording", "not a recording of reflexd"),
        ("other.mp4", b"no video", "of none of the lanes floor, arm"),
        ("empty.mcap", [], "no sample is in it"),
    ],
)
def test_a_recording_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: Any, expected: str) -> None:
    path, recording = cell_config(tmp_path, {"floor": camera(), "arm": arm()}), tmp_path / "data" / name
    recording.parent.mkdir()
    if content == "":
        recording.mkdir()
    elif isinstance(content, bytes):
        recording.write_bytes(content)
    elif content is not None:
        recorded(recording, "arm", TapeHeader("arm", [], [], []), content)
    message = refused(path, "--recording", str(recording), "--seconds", "1")
    assert expected in message and str(recording) in message and "\n" not in message


@pytest.mark.parametrize(
    "name, content, expected",
    [
        ("bad.mp4", b"no video", "does not open as a video"),
        ("short.csv", b"t_s,e1\n", "no rows"),
        ("pictures", None, "contains no .png"),
    ],
)
def test_a_recording_of_one_lane_that_cannot_be_played_is_named(
    tmp_path: Path, name: str, content: bytes | None, expected: str
) -> None:
    lane = "arm" if name.endswith("csv") else "floor"
    path, recording = cell_config(tmp_path, {"floor": camera(), "arm": arm()}), tmp_path / name
    if content is None:
        recording.mkdir()
    else:
        recording.write_bytes(content)
    message = refused(path, "--recording", str(recording), "--lane", lane, "--seconds", "1")
    assert message.startswith(f"lane {lane}: ") and expected in message


def test_the_recorder_keeps_no_pictures_to_measure_on(tmp_path: Path) -> None:
    path = cell_config(tmp_path)
    message = {"frame": [120, 160], "region": [0, 0, 0, 0], "outputs": [], "inputs": []}
    recording = recorded(tmp_path / "floor.mcap", "floor", TapeHeader("floor", [], [], []), [message])
    assert "no pictures or sound: give a clip" in refused(path, "--recording", str(recording))


def test_a_device_is_captured_once_and_measured_on_what_it_delivered(tmp_path: Path) -> None:
    source = {"driver": "tests.counting_sensor", "gone_after": 300}
    path = cell_config(tmp_path, {"arm": {"source": source, "model": "arm-deviation"}})
    result = tune(path, "--budget-ms", "1e6", "--seconds", "60", "--json")
    assert result.exception is None, result.exception
    on = json.loads(result.stdout)["lanes"]["arm"]["measured_on"]
    assert on == {"kind": "device", "name": "tests.counting_sensor", "samples": 300}, "up to where it was unplugged"


def test_a_device_that_delivers_nothing_is_named(tmp_path: Path) -> None:
    source = {"driver": "tests.counting_sensor", "gone_after": 0}
    path = cell_config(tmp_path, {"arm": {"source": source, "model": "arm-deviation"}})
    assert "arm: unplugged: connect it, or give a recording" in refused(path, "--seconds", "60")


def test_a_recording_that_is_given_is_never_passed_over_for_the_lanes_own(tmp_path: Path) -> None:
    clip = {"driver": "camera.replay", "folder": str(tmp_path)}
    path = cell_config(tmp_path, {"floor": {**camera(), "source": clip}, "gate": {**camera(), "source": clip}})
    assert cv2.imwrite(str(tmp_path / "1.png"), np.zeros((120, 160, 3), np.uint8))
    (tmp_path / "other.mp4").write_bytes(b"no video")
    assert "of none of the lanes floor, gate" in refused(path, "--recording", str(tmp_path / "other.mp4"))


def test_captured_readings_are_copies_with_their_own_times() -> None:
    section = LaneConfig.model_validate({"source": {"driver": "tests.counting_sensor", "gone_after": 5}, "model": "m"})
    footage = of_source("arm", section, 60, None)
    assert footage.samples
    assert [float(sample.payload[0, 0]) for sample, _ in footage.samples] == [0, 1, 2, 3, 4]
    assert all(transport >= 0 for _, transport in footage.samples)


@pytest.mark.parametrize(
    "backend, expected", [("", ""), ("litert", ""), ("none", "no backend 'none'"), ("agent.nothing", "no backend")]
)
def test_a_lane_may_name_its_engine(tmp_path: Path, backend: str, expected: str) -> None:
    path = cell_config(tmp_path, {"floor": {**camera(), "backend": backend}})
    if expected:
        assert expected in refused(path)
    else:
        opened = Measurement(load_config(path), tmp_path, as_lane=False).open_models("floor", {})
        assert opened.package.backend == "litert"
