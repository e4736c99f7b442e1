"""Decisions of real daemons, recorded and computed again."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from mcap.writer import Writer

from agent.recorder.recording import RecordingContents, RecordingError, read
from agent.replay.compare import replay
from agent.tapes.format import READINGS
from tests.processes import Cell, arm, camera
from tests.recordings import arm_cell, files, recorded, replayed, start_recording
from tests.shared import DATA, needs_recordings
from tests.waiting import until

LANES = ("arm", "second")


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    with arm_cell(tmp_path) as cell:
        yield cell


def test_every_decision_of_a_recording_is_the_same_in_a_replay(cell: Cell) -> None:
    daemon = start_recording(cell)
    cell.wait_for("stop")
    cell.wait_for_count("arm", "decisions", 4)
    assert daemon.stop() == 0
    report = json.loads(replayed(recorded(cell), "--json")[1])
    assert report["differences"] == []
    assert report["decisions"] >= 4
    assert report["inferences"] == cell.counts("arm")["inferences"]
    assert report["lost"] == 0 and not report["damaged"]


@pytest.mark.parametrize("how", ["killed", "aborted by the watchdog"])
@pytest.mark.slow
def test_a_daemon_that_is_killed_leaves_a_complete_recording(cell: Cell, how: str) -> None:
    """To the last sample of its lanes, by the recorder's process, which outlives it."""
    daemon = start_recording(cell)
    cell.wait_for("stop")
    cell.wait_for_count("arm", "inferences", 1000)
    if how == "killed":
        daemon.signal(signal.SIGKILL)
    else:  # it stops; then what systemd sends
        daemon.signal(signal.SIGSTOP)
        daemon.signal(signal.SIGABRT)
        daemon.signal(signal.SIGCONT)
    assert daemon.exit_code() == (-signal.SIGKILL if how == "killed" else -signal.SIGABRT)
    count = cell.counts("arm")["inferences"]

    def complete() -> RecordingContents | None:
        if not files(cell.folder / "state"):
            return None
        try:
            contents = read(recorded(cell))
        except RecordingError:
            return None  # just started
        return None if contents.damaged else contents

    contents = until(complete, lambda: f"a recording with an end:\n{cell.logs()}")
    inferred = [message["order"] for _, message in contents.messages if message["inferred"]]
    assert inferred[-1] in (count - 1, count)  # it counts, then writes
    # On a box so busy that the recorder is late by more than a tape holds, the file has the number of lost samples.
    assert len(inferred) == inferred[-1] or contents.lost > 0
    code, text = replayed(recorded(cell))
    assert code == 0, text


@pytest.mark.slow
def test_a_lane_that_a_reload_adds_is_recorded(cell: Cell) -> None:
    """And the lane that continues, without a gap that is not counted; each file replays under its own configuration."""
    daemon = start_recording(cell)
    cell.wait_for_count("arm", "inferences", 300)
    cell.config["lanes"]["second"] = arm(fault_every_s=1)
    cell.config["rules"]["off-plan"]["any"][0]["score"] = 0.9
    cell.write()
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("configuration reloaded")
    until(lambda: len(files(cell.folder / "state")) == 2, cell.logs)
    for lane in LANES:
        cell.wait_for_count(lane, "inferences", cell.counts(lane)["inferences"] + 300)
    daemon.stop()
    before, after = (read(path) for path in files(cell.folder / "state"))
    assert {lane for lane, _ in before.messages} == {"arm"} and {lane for lane, _ in after.messages} == {
        "arm",
        "second",
    }
    assert json.loads(after.header["config"])["rules"]["off-plan"]["any"][0]["score"] == 0.9
    # Every sample is recorded or, where the recorder was late by more than a tape holds, counted as lost.
    messages = [*before.messages, *after.messages]
    newest = {lane: message["sequence"] for lane, message in messages}
    recorded_samples = sum(len(message.get("readings", ())) for _, message in messages)
    missing, lost = sum(newest.values()) + len(newest) - recorded_samples, before.lost + after.lost
    assert lost <= missing <= READINGS * lost
    assert replay(after).differences == []


def test_other_rules_decide_differently_and_the_differences_are_listed(cell: Cell) -> None:
    daemon = start_recording(cell)
    cell.wait_for("stop")
    daemon.stop()
    contents = read(recorded(cell))
    config = json.loads(contents.header["config"])
    config["rules"]["off-plan"]["any"][0]["score"] = 0.9999
    report = replay(contents._replace(header={**contents.header, "config": json.dumps(config)}))
    assert any("robot stop (off-plan), now nothing" in line for line in report.differences)


@pytest.mark.slow
def test_a_recording_without_its_end_is_replayed_as_far_as_it_goes(cell: Cell, tmp_path: Path) -> None:
    daemon = start_recording(cell)
    cell.wait_for_count("arm", "inferences", 3000)
    daemon.stop()
    raw = recorded(cell).read_bytes()
    damaged = tmp_path / "damaged.mcap"
    for share in (0.95, 0.8):
        damaged.write_bytes(raw[: int(len(raw) * share)])
        code, text = replayed(damaged)
        assert code == 0, text
        assert "its end is missing" in text


@pytest.mark.slow
def test_a_file_that_begins_later_than_its_daemon_agrees_after_a_while(cell: Cell) -> None:
    cell.config["recorder"] = {"file_mb": 0.1}
    daemon = start_recording(cell)
    until(lambda: len(files(cell.folder / "state")) >= 3, cell.logs)
    daemon.stop()
    for path in files(cell.folder / "state"):
        code, text = replayed(path)
        assert code == 0, text


def test_a_model_that_has_changed_since_is_reported(cell: Cell) -> None:
    daemon = start_recording(cell)
    daemon.stop()
    contents = read(recorded(cell))
    with pytest.raises(RecordingError, match="has changed since"):
        replay(contents._replace(header={**contents.header, "models": json.dumps({"arm-deviation": "0" * 64})}))


def foreign(metadata: dict[str, str]) -> bytes:
    """A valid MCAP file of another program."""
    file = BytesIO()
    writer = Writer(file)
    writer.start("ros2", "other")
    schema = writer.register_schema("x", "jsonschema", b"{}")
    channel = writer.register_channel("/x", "json", schema, metadata)
    writer.add_message(channel, 1, b"{}", 1)
    writer.finish()
    return file.getvalue()


@pytest.mark.parametrize(
    "raw, reason",
    [
        (b"", "the file is empty"),
        (b"nonsense" * 100, "it does not begin as an MCAP file does"),
        (b"\x89MCAP0\r\n", "it ends too early"),
        (b"\x89MCAP0\r\n" + b"\xff" * 500, ""),
        (foreign({}), "an MCAP file of another program"),
        (foreign({"channels": "x"}), "an MCAP file of another program"),
        (foreign({"channels": "[]"}), "an MCAP file of another program"),
    ],
)
def test_kind_a_file_that_is_no_recording_is_refused_with_its_reason(tmp_path: Path, raw: bytes, reason: str) -> None:
    path = tmp_path / "x.mcap"
    path.write_bytes(raw)
    code, text = replayed(path)
    assert code == 2
    assert text.startswith(f"{path}: not a recording of reflexd: {reason}") and text[-1] not in " :'"
    assert replayed(tmp_path / "none.mcap") == (2, f"{tmp_path / 'none.mcap'}: No such file or directory")


@pytest.mark.slow
def test_no_picture_is_recorded_unless_the_configuration_asks_for_it(tmp_path: Path) -> None:
    sizes = {}
    for keep in (False, True):
        folder = tmp_path / str(keep)
        folder.mkdir()
        with Cell(folder, {"yard": camera()}) as cell:
            cell.config.update(state_dir=str(folder / "state"), recorder={"pictures": keep})
            daemon = start_recording(cell)
            cell.wait_for_count("yard", "inferences", 20)
            daemon.stop()
            contents = read(recorded(cell))
            assert all(bool(message["inputs"]) == keep for _, message in contents.messages)
            code, text = replayed(recorded(cell))
            assert code == 0, text
            sizes[keep] = sum(len(json.dumps(message)) for _, message in contents.messages) / len(contents.messages)
    assert sizes[False] < 2000 < sizes[True]


@needs_recordings
def test_a_real_clip_with_two_models_replays_exactly(tmp_path: Path) -> None:
    clip = DATA / "video-fall-gmdcsa24/S1-Fall-13.mp4"
    lane = {"source": {"driver": "camera.file", "path": str(clip)}, "model": "movenet", "then": "pose-fall"}
    with Cell(tmp_path, {"room": lane}) as cell:
        condition = {"lane": "room", "label": "falling", "score": 0.6, "hits": 3, "of": 4}
        cell.config["rules"] = {"fall": {"any": [condition], "actuator": "robot", "verb": "stop"}}
        cell.config["state_dir"] = str(tmp_path / "state")
        assert cell.run().exit_code() == 0
        report = json.loads(replayed(recorded(cell), "--json")[1])
    assert report["differences"] == []
    assert report["inferences"] > 50
    assert report["decisions"] >= 2
