"""The flight recorder: from a lane's tape to a file of bounded size, and its decisions computed again."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from agent import package, tape
from agent.build import make_lane
from agent.cli import cli
from agent.config.load import load_config
from agent.config.models import Config
from agent.data import Decision, Evidence, Sample
from agent.errors import ConfigError
from agent.recorder.events import prune
from agent.recorder.recorder import Recorder, places
from agent.recorder.recording import RecordingContents, RecordingError, read
from agent.replay.command import replay
from agent.tape import DISCONTINUITY, INFERRED, Reader, Record, Tape
from tests.processes import Cell, Process, arm, camera, needs_pictures, until
from tests.shared import DATA, MOVENET, needs_recordings

CHANNELS = [f"c{number}" for number in range(12)]


@pytest.fixture(scope="module")
def engine() -> Any:
    return package.open_package(package.find("arm-deviation")).engine


def sample(number: int, rows: int = 1) -> Sample:
    payload = np.arange(rows * 12, dtype=np.float32).reshape(rows, 12) + number
    return Sample("arm", number, 1000 * number, payload)


def looked(reader: Reader) -> list[Record]:
    """Twice: what came since the last look is ripe at the next."""
    return [*reader.read(), *reader.read()]


# -- the tape ------------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_once(tmp_path: Path, engine: Any) -> None:
    written = Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 7)
    reader = Reader(tmp_path / "arm.tape")
    assert (reader.facts.lane, reader.facts.channels, reader.started) == ("arm", CHANNELS, 7)
    evidence = [Evidence("arm", "deviation", 0.75, 1000)]
    decision = Decision(3, "off", "robot", "stop", {}, (), 1000, 0)
    written.write(sample(1), 5, True, evidence, [decision], [decision])
    written.write(sample(2), 5, False, None, [])
    one, two = looked(reader)
    assert np.frombuffer(one.body, np.float32).tolist() == sample(1).payload[0].tolist()
    assert (one.order, one.sequence, one.flags) == (5, 1, DISCONTINUITY | INFERRED)
    assert one.evidence == [["deviation", 0.75, None, ""]]
    assert one.decisions == [[3, "off", "robot", "stop", True, "nothing seen"]]
    assert (two.sequence, two.flags, two.evidence) == (2, 0, [])
    assert looked(reader) == []


def test_many_readings_at_once_come_in_parts(tmp_path: Path, engine: Any) -> None:
    written, reader = Tape(tmp_path / "t.tape", "arm", [engine], CHANNELS, False, 7), None
    reader = Reader(tmp_path / "t.tape")
    written.write(sample(1, rows=40), 1, True, [Evidence("arm", "a", 0.5, 1)], [])
    parts = looked(reader)
    assert [bool(part.flags & tape.MORE) for part in parts] == [True, True, False]
    assert [bool(part.flags & DISCONTINUITY) for part in parts] == [True, False, False]
    assert (
        np.frombuffer(b"".join(part.body for part in parts), np.float32).tolist()
        == sample(1, 40).payload.ravel().tolist()
    )


def test_a_slow_reader_loses_the_oldest_and_counts_them(tmp_path: Path, engine: Any) -> None:
    written = Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 7)
    reader = Reader(tmp_path / "arm.tape")
    for number in range(tape.MANY + 100):
        written.write(sample(number), number, False, None, [])
    found = looked(reader)
    assert found[-1].sequence == tape.MANY + 99
    assert len(found) + reader.lost == tape.MANY + 100
    assert reader.lost == 101


@pytest.mark.parametrize("raw", [b"", b"x" * 50_000, tape.MAGIC + b"\0" * 20_000])
def test_what_is_no_tape(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "arm.tape").write_bytes(raw)
    with pytest.raises((ValueError, OSError)):
        Reader(tmp_path / "arm.tape")


def test_a_note_that_is_too_long_costs_the_evidence_and_not_the_lane(tmp_path: Path, engine: Any) -> None:
    written = Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 7)
    reader = Reader(tmp_path / "arm.tape")
    written.write(sample(1), 1, True, [Evidence("arm", "l" * 30, 0.5, 1)] * 100, [])
    assert [one.evidence for one in looked(reader)] == [[]]


# -- the recorder ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def recorder(tmp_path: Path, engine: Any) -> Iterator[tuple[Recorder, Tape]]:
    lanes = {"arm": {"source": {"driver": "camera.rtsp", "url": "rtsp://u:secret@cam/1"}, "model": "arm-deviation"}}
    config = Config.model_validate(
        {
            "node": "box-1",
            "run_dir": str(tmp_path),
            "state_dir": str(tmp_path),
            "lanes": lanes,
            "recorder": {"file_mb": 0.1, "files": 3},
        }
    )
    written = Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 7)
    made = Recorder(config, tmp_path / "reflexd.yaml")
    made.find_tapes()
    made.turn_over()
    yield made, written
    if made.recording:
        made.recording.close()


def files(folder: Path) -> list[Path]:
    return sorted((folder / "recordings").glob("*.mcap"))


def test_files_are_bounded_in_size_and_number(tmp_path: Path, recorder: tuple[Recorder, Tape]) -> None:
    made, written = recorder
    random = np.random.default_rng(0)
    for number in range(60):
        for _ in range(100):
            written.write(
                Sample("arm", number, number, random.random((1, 12)).astype(np.float32)), number, False, None, []
            )
        made.look()
        made.turn_over()
    made.look()
    found = files(tmp_path)
    assert len(found) == 3
    assert all(path.stat().st_size < 600_000 for path in found)


@pytest.mark.parametrize("ending", [".000.mcap", "-fall.mcap", "-fall.mcap.sealed"])
def test_the_oldest_go_and_those_of_other_nodes_stay(tmp_path: Path, ending: str) -> None:
    ours = [f"box-20261121T09090{second}{ending}" for second in range(5)]
    others = {f"box-2-20000101T000000{ending}", f"bo-20000101T000000{ending}", "box-notes.txt"}
    for name in (*ours, *others):
        (tmp_path / name).write_bytes(b"")
    prune(tmp_path, "box", 3)
    assert {path.name for path in tmp_path.iterdir()} == {*ours[2:], *others}


def test_a_file_says_what_a_replay_needs_and_no_password(tmp_path: Path, recorder: tuple[Recorder, Tape]) -> None:
    made, written = recorder
    written.write(sample(1), 1, True, [Evidence("arm", "deviation", 0.75, 1000)], [])
    made.look(), made.look()
    assert made.recording
    made.recording.close()
    raw, made.recording = files(tmp_path)[0].read_bytes(), None
    assert b"secret" not in raw
    told = read(files(tmp_path)[0])
    assert json.loads(told.facts["config"])["lanes"]["arm"]["source"]["url"] == "rtsp://***@cam/***"
    assert json.loads(told.facts["models"]).keys() == {"arm-deviation"}
    ((lane, message),) = told.messages
    assert lane == "arm"
    assert message["readings"] == sample(1).payload.tolist()
    assert message["evidence"] == [{"label": "deviation", "score": 0.75, "box": None, "mark": ""}]
    assert message["channels"] == CHANNELS


def test_samples_that_were_not_recorded_are_said(tmp_path: Path, recorder: tuple[Recorder, Tape]) -> None:
    made, written = recorder
    for number in range(tape.MANY + 10):
        written.write(sample(number), number, False, None, [])
    made.look(), made.look()
    assert made.recording
    made.recording.close()
    made.recording = None
    assert read(files(tmp_path)[0]).lost == 11


def test_tapes_of_other_daemons_are_left_alone(tmp_path: Path, engine: Any, recorder: tuple[Recorder, Tape]) -> None:
    """A lane that the configuration does not name; and, while the recorder ends, the next daemon's tape of its own lane."""
    made, written = recorder
    Tape(tmp_path / "yard.tape", "yard", [engine], CHANNELS, False, 5).write(sample(1), 1, False, None, [])
    written.write(sample(1), 1, False, None, [])
    made.find_tapes()
    Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 8).write(sample(2), 1, False, None, [])
    made.find_tapes(ending=True)
    made.look(), made.look()
    assert {lane: reader.started for lane, reader in made.readers.items()} == {"arm": 7}
    made.find_tapes()  # it goes on: the lane began anew
    made.look(), made.look()
    assert made.recording
    made.recording.close()
    made.recording = None
    told = read(files(tmp_path)[0])
    assert [(lane, message["sequence"]) for lane, message in told.messages] == [("arm", 1), ("arm", 2)]


def test_a_lane_leaves_no_tape_of_an_earlier_daemon(tmp_path: Path) -> None:
    """It would be recorded a second time, until the source opens; a camera that is not there may never."""
    lanes = {"arm": {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"}}
    config = Config.model_validate({"run_dir": str(tmp_path), "state_dir": str(tmp_path), "lanes": lanes})
    (tmp_path / "arm.tape").write_bytes(b"old")
    make_lane("arm", config, tmp_path, 0)
    assert not (tmp_path / "arm.tape").exists()


def test_the_rest_of_a_tape_is_taken_before_the_next(
    tmp_path: Path, engine: Any, recorder: tuple[Recorder, Tape]
) -> None:
    made, written = recorder
    written.write(sample(1), 1, False, None, [])
    Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 8)
    made.find_tapes()
    assert made.recording
    made.recording.close()
    made.recording = None
    assert [message["sequence"] for _, message in read(files(tmp_path)[0]).messages] == [1]


def test_a_recorder_that_died_is_gone_on_for(tmp_path: Path, recorder: tuple[Recorder, Tape]) -> None:
    """Neither does it record again what is recorded, nor does it call that lost."""
    made, written = recorder
    for number in range(5000):  # more than a tape holds
        written.write(sample(number), number, False, None, [])
        if number % 1000 == 0:
            made.look()
    made.look()
    made.look()
    made.save_places()
    written.write(sample(5000), 5000, False, None, [])
    another = Recorder(made.config, made.path)
    another.find_tapes()
    another.turn_over()
    another.look()
    another.look()
    assert another.recording
    another.recording.close()
    told = read(files(tmp_path)[-1])
    assert [message["sequence"] for _, message in told.messages] == [5000] and told.lost == 0


@pytest.mark.parametrize("text", ["", "[]", "{", '{"arm": 3}', '{"arm": ["x", 1]}', '{"arm": [7, 2, 1]}'])
def test_damaged_places_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "recorder.json").write_text(text)
    assert places(tmp_path / "recorder.json") == {}


# -- with real processes, and again ----------------------------------------------------------------------------------------


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    with Cell(tmp_path, {"arm": arm(fault_every_s=1)}) as made:
        made.config["state_dir"] = str(tmp_path / "state")
        condition = {"lane": "arm", "label": "deviation", "score": 0.7, "hits": 2, "of": 3}
        made.config["rules"] = {"off-plan": {"any": [condition], "actuator": "robot", "verb": "stop", "hold_ms": 100}}
        yield made


def both(cell: Cell) -> Process:
    """The daemon, its recorder writing."""
    _, daemon = cell.both()
    until(cell.logs, lambda: files(cell.folder / "state"))
    return daemon


def recorded(cell: Cell) -> Path:
    found = files(cell.folder / "state")
    assert found, cell.logs()
    return found[-1]


def again(path: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["replay", str(path), *options], standalone_mode=False)
    code = result.return_value if isinstance(result.return_value, int) else 2
    return code, result.output + str(result.exception or "")


def test_every_decision_of_a_recording_is_the_same_again(cell: Cell) -> None:
    daemon = both(cell)
    cell.goes("stop")
    cell.counted("arm", "decisions", 4)
    assert daemon.stop() == 0
    told = json.loads(again(recorded(cell), "--json")[1])
    assert told["differences"] == []
    assert told["decisions"] >= 4
    assert told["inferences"] == cell.counts("arm")["inferences"]
    assert told["lost"] == 0 and not told["torn"]


@pytest.mark.parametrize("how", ["killed", "aborted by the watchdog"])
def test_a_daemon_that_is_killed_leaves_a_whole_recording(cell: Cell, how: str) -> None:
    """All that its lanes had done, to the last sample, by the process that outlives it."""
    daemon = both(cell)
    cell.goes("stop")
    cell.counted("arm", "inferences", 1000)
    if how == "killed":
        daemon.signal(signal.SIGKILL)
    else:  # it stands still; then what systemd sends
        daemon.signal(signal.SIGSTOP)
        daemon.signal(signal.SIGABRT)
        daemon.signal(signal.SIGCONT)
    assert daemon.exit_code() == (-signal.SIGKILL if how == "killed" else -signal.SIGABRT)
    count = cell.counts("arm")["inferences"]

    def whole() -> RecordingContents | None:
        if not files(cell.folder / "state"):
            return None
        try:
            told = read(recorded(cell))
        except RecordingError:
            return None  # just begun
        return None if told.torn else told

    told = until(lambda: f"a recording with an end:\n{cell.logs()}", whole, 60.0)
    inferred = [message["order"] for _, message in told.messages if message["inferred"]]
    assert inferred[-1] in (count - 1, count)  # it counts, then writes
    # On a box so busy that the recorder is late by more than a tape holds, it says how much is missing.
    assert len(inferred) == inferred[-1] or told.lost > 0
    code, text = again(recorded(cell))
    assert code == 0, text


def test_a_lane_that_comes_with_another_configuration_is_recorded(cell: Cell) -> None:
    """And the one that goes on is, without a gap; each file replays under the configuration that it was made with."""
    daemon = both(cell)
    cell.counted("arm", "inferences", 300)
    cell.config["lanes"]["second"] = arm(fault_every_s=1)
    cell.config["rules"]["off-plan"]["any"][0]["score"] = 0.9
    cell.write()
    daemon.signal(signal.SIGHUP)
    daemon.says("configuration taken over")
    until(cell.logs, lambda: len(files(cell.folder / "state")) == 2)
    for lane in ("arm", "second"):
        cell.counted(lane, "inferences", cell.counts(lane)["inferences"] + 300)
    daemon.stop()
    before, after = (read(path) for path in files(cell.folder / "state"))
    assert {lane for lane, _ in before.messages} == {"arm"} and {lane for lane, _ in after.messages} == {
        "arm",
        "second",
    }
    assert json.loads(after.facts["config"])["rules"]["off-plan"]["any"][0]["score"] == 0.9
    arms = [[message["sequence"] for lane, message in one.messages if lane == "arm"] for one in (before, after)]
    assert arms[1][0] == arms[0][-1] + 1 and before.lost == after.lost == 0
    assert replay(after).differences == []


def test_other_rules_decide_otherwise_and_the_difference_is_listed(cell: Cell) -> None:
    daemon = both(cell)
    cell.goes("stop")
    daemon.stop()
    told = read(recorded(cell))
    config = json.loads(told.facts["config"])
    config["rules"]["off-plan"]["any"][0]["score"] = 0.9999
    report = replay(told._replace(facts={**told.facts, "config": json.dumps(config)}))
    assert any("robot stop (off-plan), now nothing" in line for line in report.differences)


def test_a_recording_without_its_end_is_replayed_as_far_as_it_goes(cell: Cell, tmp_path: Path) -> None:
    daemon = both(cell)
    cell.counted("arm", "inferences", 3000)
    daemon.stop()
    raw = recorded(cell).read_bytes()
    torn = tmp_path / "torn.mcap"
    for share in (0.95, 0.8):
        torn.write_bytes(raw[: int(len(raw) * share)])
        code, text = again(torn)
        assert code == 0, text
        assert "its end is missing" in text


def test_a_recording_cut_or_changed_anywhere_is_read_as_far_as_it_goes(
    tmp_path: Path, recorder: tuple[Recorder, Tape]
) -> None:
    made, written = recorder
    for number in range(300):
        written.write(sample(number), number, False, [Evidence("arm", "deviation", 0.5, number)], [])
    made.look(), made.look()
    assert made.recording
    made.recording.close()
    made.recording = None
    raw, random = files(tmp_path)[0].read_bytes(), np.random.default_rng(0)
    broken = tmp_path / "broken.mcap"
    for number in range(600):
        cut = bytearray(raw[: random.integers(len(raw))] if number % 2 else raw)
        for _ in range(random.integers(1, 4) if number % 3 == 0 and cut else 0):
            cut[random.integers(len(cut))] = random.integers(256)
        broken.write_bytes(cut)
        try:
            assert len(read(broken).messages) <= 300
        except RecordingError as error:
            assert "not a recording" in str(error)


def test_a_model_that_changed_since_is_said(cell: Cell) -> None:
    daemon = both(cell)
    daemon.stop()
    told = read(recorded(cell))
    with pytest.raises(RecordingError, match="another one now"):
        replay(told._replace(facts={**told.facts, "models": json.dumps({"arm-deviation": "0" * 64})}))


@pytest.mark.parametrize("raw", [b"", b"nonsense" * 100, b"\x89MCAP0\r\n" + b"\xff" * 500])
def test_what_is_no_recording(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x.mcap"
    path.write_bytes(raw)
    code, text = again(path)
    assert code == 2
    assert "not a recording of reflexd" in text
    assert again(tmp_path / "none.mcap") == (2, f"{tmp_path / 'none.mcap'}: No such file or directory")


@needs_pictures
def test_no_picture_is_kept_unless_the_configuration_says_so(tmp_path: Path) -> None:
    sizes = {}
    for keep in (False, True):
        folder = tmp_path / str(keep)
        folder.mkdir()
        with Cell(folder, {"yard": camera()}) as cell:
            cell.config.update(state_dir=str(folder / "state"), recorder={"pictures": keep})
            daemon = both(cell)
            cell.counted("yard", "inferences", 20)
            daemon.stop()
            told = read(recorded(cell))
            assert all(bool(message["inputs"]) == keep for _, message in told.messages)
            code, text = again(recorded(cell))
            assert code == 0, text
            sizes[keep] = sum(len(json.dumps(message)) for _, message in told.messages) / len(told.messages)
    assert sizes[False] < 2000 < sizes[True]


def test_a_full_disk_stops_the_recording_and_no_lane(cell: Cell) -> None:
    """A folder that is a file, for root may write anywhere."""
    (cell.folder / "state").write_text("in the way")
    _, daemon = cell.both()
    daemon.says("agent.recorder.recorder ended with 1: is the disk full?")
    cell.counted("arm", "inferences", cell.counts("arm")["inferences"] + 200)
    assert daemon.stop() == 0


@needs_recordings
def test_a_real_clip_with_two_models_replays_exactly(tmp_path: Path) -> None:
    movenet = tmp_path / "movenet"
    movenet.mkdir()
    for path in MOVENET.iterdir():
        shutil.copy(path, movenet)
    manifest = movenet / "manifest.yaml"
    weights = next((DATA / "models-public").glob("movenet*.tflite"))
    os.symlink(weights, movenet / weights.name)
    lines = [
        f"file: {weights.name}" if line.startswith("file:") else line for line in manifest.read_text().splitlines()
    ]
    manifest.write_text("\n".join(lines).replace("fit: stretch", "fit: letterbox") + "\n")
    clip = DATA / "video-fall-gmdcsa24/S1-Fall-13.mp4"
    lane = {"source": {"driver": "camera.file", "path": str(clip)}, "model": str(movenet), "then": "pose-fall"}
    with Cell(tmp_path, {"room": lane}) as cell:
        condition = {"lane": "room", "label": "falling", "score": 0.6, "hits": 3, "of": 4}
        cell.config["rules"] = {"fall": {"any": [condition], "actuator": "robot", "verb": "stop"}}
        cell.config["state_dir"] = str(tmp_path / "state")
        assert cell.run().exit_code(60) == 0
        told = json.loads(again(recorded(cell), "--json")[1])
    assert told["differences"] == []
    assert told["inferences"] > 50
    assert told["decisions"] >= 2


# -- a file that begins in the middle, and event clips -----------------------------------------------------------------------


def test_a_file_that_does_not_begin_with_its_daemon_agrees_once_it_is_warm(cell: Cell) -> None:
    cell.config["recorder"] = {"file_mb": 0.1}
    daemon = both(cell)
    until(cell.logs, lambda: len(files(cell.folder / "state")) >= 3, 60)
    daemon.stop()
    for path in files(cell.folder / "state"):
        code, said = again(path)
        assert code == 0, said


def clips(cell: Cell) -> list[Path]:
    return sorted((cell.folder / "state/events").glob("*"))


def test_a_decision_leaves_a_clip_of_the_seconds_around_it(cell: Cell) -> None:
    cell.config["recorder"] = {"events": {"rules": ["off-plan"], "before_s": 0.5, "after_s": 0.4, "files": 20}}
    daemon = both(cell)
    until(cell.logs, lambda: len(clips(cell)) >= 1, 60)
    assert "event off-plan: " in daemon.says("event off-plan: ")
    path = clips(cell)[0]
    daemon.stop()
    told = read(path)
    times = [message["t_capture"] for _, message in told.messages]
    assert 0.4e9 < times[-1] - times[0] < 2.5e9
    assert any(one["rule"] == "off-plan" for _, message in told.messages for one in message["decisions"])
    assert told.facts["event"] == "off-plan"
    code, text = again(path)
    assert code == 0, text


def test_a_sealed_clip_opens_with_its_key_only(cell: Cell) -> None:
    from agent import keys

    public, secret = keys.make(cell.folder / "keys", "office")
    _, other = keys.make(cell.folder / "keys", "other")
    cell.config["recorder"] = {"events": {"rules": ["off-plan"], "before_s": 0.3, "after_s": 0.3, "seal": str(public)}}
    daemon = both(cell)
    until(cell.logs, lambda: clips(cell), 60)
    daemon.stop()
    path = clips(cell)[0]
    assert path.name.endswith(".mcap.sealed")
    assert not list((cell.folder / "state/events").glob("*.mcap"))
    assert b"MCAP" not in path.read_bytes() and b"off-plan" not in path.read_bytes()
    code, text = again(path, "--key", str(secret))
    assert code == 0, text
    assert "sealed for another key, or is damaged" in again(path, "--key", str(other))[1]
    assert "name the secret key file with --key" in again(path)[1]
    path.write_bytes(path.read_bytes()[:-1])
    assert "sealed for another key, or is damaged" in again(path, "--key", str(secret))[1]
    path.write_bytes(b"reflexd sealed 1\n" + b"x" * 10)
    assert "not a sealed file" in again(path, "--key", str(secret))[1]


def test_a_clip_of_a_rule_that_is_not_there(tmp_path: Path) -> None:

    path = tmp_path / "reflexd.yaml"
    path.write_text("recorder:\n  events:\n    rules: [of-plan]\nlanes: {}\n")
    with pytest.raises(ConfigError, match="reflexd.yaml:3: no rule 'of-plan'"):
        load_config(path)
