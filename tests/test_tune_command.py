"""`reflexd tune` as a command: what it prints, writes and refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from agent.cli import cli
from agent.config.load import load_config
from agent.config.models import Config, LaneConfig
from agent.control import client as control
from agent.errors import ConfigError, DataError
from agent.recorder.recording import Recording
from agent.tapes.format import TapeHeader
from agent.tune import write
from agent.tune.candidates import Candidate
from agent.tune.footage import of_source
from agent.tune.measure import Changes, Measured, Measurement
from agent.tune.propose import Outcome, Proposal, Row
from agent.tune.trace import latency
from tests.processes import PERSON, Cell, arm, camera
from tests.tuning import trace

CELL = """\
# the cell in hall 3
node: cell-1
run_dir: ./run
state_dir: ./state
lanes:
  floor:
    source: {driver: camera.sim, width: 1920, height: 1080, pictures: 3}
    model: objects      # 80 labels
    # where the arm can hit a person
    zones: {reach: [[0, 0], [1, 0], [1, 1]]}
actuators:
  robot: {device: {driver: actuator.sim}, rest: run}
rules:
  person:
    any: [{lane: floor, label: person, score: 0.5}]
    actuator: robot
    verb: stop
"""


def tune(path: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["tune", "-c", str(path), *options], standalone_mode=False)


def refused(path: Path, *options: str) -> str:
    """The one message."""
    result = tune(path, *options)
    assert isinstance(result.exception, (ConfigError, DataError)), result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return str(result.exception)


def config(folder: Path, lanes: dict[str, Any] | None = None) -> Path:
    return Cell(folder, lanes if lanes is not None else {"floor": camera()}).write(state_dir=str(folder / "state"))


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A robot cell at 15 ms, whose lane with person-coarse takes 2."""
    path = tmp_path / "cell.yaml"
    path.write_text(CELL)

    def measured(self: Measurement, lane: str, settings: Mapping[str, Changes]) -> dict[str, Measured]:
        results = {"model: person-coarse": trace(inference_ms=1.0), "model: motion-blobs": trace((), inference_ms=3.0)}
        return {name: results.get(name) or trace() for name in settings}

    monkeypatch.setattr(Measurement, "__call__", measured)
    return path


def test_the_report_has_the_costly_part_every_change_and_what_to_type_next(cell: Path) -> None:
    result = tune(cell, "--budget-ms", "10")
    assert result.exception is None and result.return_value == 0
    text = " ".join(result.stdout.split())
    assert "floor simulated camera.sim 15.0 15.0 / 10 missed by 5.02" in text
    assert "Lane floor: inference costs most: 14.0 of 15.0 ms at p50 (93 %), in the model objects." in text
    assert "as it is 15.0 15.0 2 of 2" in text
    assert "model: motion-blobs 4.02 4.02 0 of 2 loses 2 of 2 events, at 1, 4 s" in text
    assert "model: person-coarse 2.02 2.02 2 of 2 <--" in text
    assert "Proposed: lanes.floor: model: person-coarse." in text
    assert "p50 15.0 -> 2.02 ms, p99 15.0 -> 2.02 ms; events kept 2 of 2." in text
    assert f"Next: reflexd tune -c {cell} --budget-ms 10 --write" in text
    assert max(map(len, result.stdout.splitlines())) <= 80 + len(str(cell))
    assert cell.read_text() == CELL, "nothing is written without --write"


def test_beside_a_running_daemon_it_takes_no_core_from_its_lanes(cell: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    priorities = []
    made = Measurement.__init__

    def noted(self: Measurement, loaded: Config, base_folder: Path, as_lane: bool) -> None:
        priorities.append(as_lane)
        made(self, loaded, base_folder, as_lane)

    monkeypatch.setattr(Measurement, "__init__", noted)
    monkeypatch.setattr(control, "ask", lambda *_: {"state": "running"})
    text = " ".join(tune(cell, "--budget-ms", "10").stdout.split())
    assert "at normal priority, as the daemon runs beside it" in text and priorities == [False]


def test_json_has_the_same_figures(cell: Path) -> None:
    result = tune(cell, "--budget-ms", "10", "--json")
    lane = json.loads(result.stdout)["lanes"]["floor"]
    assert (lane["verdict"], lane["costly"], lane["measured_on"]["kind"]) == ("proposed", "inference", "simulated")
    proposal = lane["proposal"]
    assert proposal["changes"] == {"model": "person-coarse"}
    assert proposal["before"]["p50_ms"] > 15 > 10 > proposal["p99_ms"]
    assert (proposal["events"], proposal["events_kept"], proposal["events_new"]) == (2, 2, 0)
    assert {row["reason"] for row in lane["tried"]} >= {"", "loses 2 of 2 events, at 1, 4 s"}


def test_write_changes_one_line_and_keeps_a_backup(cell: Path) -> None:
    result = tune(cell, "--budget-ms", "10", "--write")
    assert result.exception is None and result.return_value == 0
    assert cell.read_text() == CELL.replace("model: objects      # 80", "model: person-coarse      # 80")
    (backup,) = cell.parent.glob("cell.yaml.*.bak")
    assert backup.read_text() == CELL
    assert backup.name in result.stdout and "systemctl reload reflexd" in result.stdout
    assert load_config(cell).lanes["floor"].model == "person-coarse"
    assert sorted(file.name for file in cell.parent.iterdir() if file.name.startswith(".")) == []


def test_a_change_that_check_refuses_is_not_written(tmp_path: Path) -> None:
    path = config(tmp_path, {"arm": arm()})
    before = path.read_bytes()
    speed = latency(trace())
    assert speed
    row = Row(Candidate("shrink", {("shrink",): 2}), speed, None)
    outcome = Outcome("arm", 10.0, speed, None, [row], Proposal(row, speed, None, trace()))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"nothing was written: .*: model 'arm-deviation' reads no pictures") as error:
        write.write(path, [outcome])
    assert ".tune.yaml" not in str(error.value)
    assert path.read_bytes() == before and not list(tmp_path.glob("*.bak"))


def test_a_lane_that_cannot_be_met_says_by_how_much_and_ends_with_1(
    cell: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(self: Measurement, lane: str, settings: Mapping[str, Changes]) -> dict[str, Measured]:
        return {name: trace(inference_ms=12.0 if name.startswith("threads") else 14.0) for name in settings}

    monkeypatch.setattr(Measurement, "__call__", measured)
    result = tune(cell, "--budget-ms", "3", "--write")
    assert result.return_value == 1
    text = " ".join(result.stdout.split())
    assert "Lane floor cannot meet the budget here." in text
    assert "ms above 3; what limits it is inference, 1" in text
    assert "--write" not in text and cell.read_text() == CELL
    lane = json.loads(tune(cell, "--budget-ms", "3", "--json").stdout)["lanes"]["floor"]
    assert lane["verdict"] == "cannot be met" and lane["missed_by_ms"] >= 10.0


def test_a_real_lane_within_a_large_budget_needs_no_change(tmp_path: Path) -> None:
    result = tune(config(tmp_path), "--budget-ms", "1e6", "--seconds", "2")
    assert result.exception is None and result.return_value == 0
    assert "nothing to change" in result.stdout and "simulated camera.sim" in result.stdout


def test_a_real_lane_cannot_meet_a_microsecond(tmp_path: Path) -> None:
    path = config(tmp_path, {"floor": {**camera(), "model": str(PERSON)}, "arm": arm(fault_every_s=1)})
    result = tune(path, "--budget-ms", "0.001", "--seconds", "2", "--json")
    assert result.exception is None and result.return_value == 1
    lanes = json.loads(result.stdout)["lanes"]
    assert {lane["verdict"] for lane in lanes.values()} == {"cannot be met"}
    assert all(lane["missed_by_ms"] > 0 and lane["p50_ms"] > 0 for lane in lanes.values())
    assert lanes["arm"]["measured_on"]["samples"] > 1900


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


def test_the_recorders_readings_are_used_where_they_are_given_or_were_kept(tmp_path: Path) -> None:
    path = config(tmp_path, {"arm": arm()})
    given = readings(tmp_path / "some.mcap")
    for options in (("--recording", str(given)), ("--recording", str(tmp_path)), ()):
        result = tune(path, "--budget-ms", "1e6", "--seconds", "2", "--json", *options)
        assert result.exception is None, result.exception
        on = json.loads(result.stdout)["lanes"]["arm"]["measured_on"]
        assert (on["kind"], on["samples"]) == (("recording", 400) if options else ("simulated", 2001)), options
    kept = readings(tmp_path / "state" / "recordings" / "cell-1-00000001_20260101T000000.mcap", of=path)
    on = json.loads(tune(path, "--budget-ms", "1e6", "--seconds", "2", "--json").stdout)["lanes"]["arm"]["measured_on"]
    assert (on["kind"], on["name"], on["samples"]) == ("recording", kept.name, 400)
    other = config(tmp_path, {"arm": arm(seed=7)})
    on = json.loads(tune(other, "--budget-ms", "1e6", "--json", "--seconds", "1").stdout)["lanes"]["arm"]["measured_on"]
    assert on["kind"] == "simulated", "another source was recorded"


def test_a_folder_has_a_recording_for_each_lane_by_its_name(tmp_path: Path) -> None:
    import cv2

    path = config(tmp_path, {"floor": camera(), "arm": arm()})
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
    assert "--budget-ms" in refused(config(tmp_path), "--budget-ms", budget)


def test_seconds_are_a_number_above_0(tmp_path: Path) -> None:
    assert "--seconds 0: expected a number above 0" in refused(config(tmp_path), "--seconds", "0")


def test_an_unknown_lane_has_the_nearest_name(tmp_path: Path) -> None:
    assert "no lane 'flor'; did you mean 'floor'?" in refused(config(tmp_path), "--lane", "flor")


def test_a_configuration_that_is_wrong_has_its_own_message(tmp_path: Path) -> None:
    assert "no lanes" in refused(config(tmp_path, {}))
    assert "No such file" in refused(tmp_path / "none.yaml")
    wrong = config(tmp_path, {"floor": {**camera(), "modle": "objects"}})
    assert "did you mean 'model'?" in refused(wrong)
    missing = config(tmp_path, {"floor": {**camera(), "model": "./mine"}})
    assert "no model package './mine'" in refused(missing)


def test_a_device_that_is_not_there_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = config(tmp_path, {"gate": camera("camera.v4l2", device="/dev/video99")})
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
    path, recording = config(tmp_path, {"floor": camera(), "arm": arm()}), tmp_path / "data" / name
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
    path, recording = config(tmp_path, {"floor": camera(), "arm": arm()}), tmp_path / name
    if content is None:
        recording.mkdir()
    else:
        recording.write_bytes(content)
    message = refused(path, "--recording", str(recording), "--lane", lane, "--seconds", "1")
    assert message.startswith(f"lane {lane}: ") and expected in message


def test_the_recorder_keeps_no_pictures_to_measure_on(tmp_path: Path) -> None:
    path = config(tmp_path)
    message = {"frame": [120, 160], "region": [0, 0, 0, 0], "outputs": [], "inputs": []}
    recording = recorded(tmp_path / "floor.mcap", "floor", TapeHeader("floor", [], [], []), [message])
    assert "no pictures or sound: give a clip" in refused(path, "--recording", str(recording))


def test_a_device_is_captured_once_and_measured_on_what_it_delivered(tmp_path: Path) -> None:
    source = {"driver": "tests.counting_sensor", "gone_after": 300}
    path = config(tmp_path, {"arm": {"source": source, "model": "arm-deviation"}})
    result = tune(path, "--budget-ms", "1e6", "--seconds", "60", "--json")
    assert result.exception is None, result.exception
    on = json.loads(result.stdout)["lanes"]["arm"]["measured_on"]
    assert on == {"kind": "device", "name": "tests.counting_sensor", "samples": 300}, "up to where it was unplugged"


def test_a_device_that_delivers_nothing_is_named(tmp_path: Path) -> None:
    source = {"driver": "tests.counting_sensor", "gone_after": 0}
    path = config(tmp_path, {"arm": {"source": source, "model": "arm-deviation"}})
    assert "arm: unplugged: connect it, or give a recording" in refused(path, "--seconds", "60")


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
    path = config(tmp_path, {"floor": {**camera(), "backend": backend}})
    if expected:
        assert expected in refused(path)
    else:
        opened = Measurement(load_config(path), tmp_path, as_lane=False).open_models("floor", {})
        assert opened.package.backend == "litert"
