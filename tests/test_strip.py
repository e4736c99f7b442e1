"""Plain recordings with pictures of a time before clips were sealed."""

from __future__ import annotations

import json
import os
from io import BytesIO
from pathlib import Path

import pytest

from agent import keys
from agent.recorder import strip
from agent.recorder.recording import Recording, read
from agent.recorder.series import CLIPS, RECORDINGS, Series
from agent.tapes.format import TapeHeader
from tests.processes import Cell, camera
from tests.recordings import files, replayed, start_recording

NAME = "box-00000001_20261128T213658.000.mcap"
LANE = TapeHeader("camera", [], [], [])


def recording(pictures: object, messages: int = 3, **header: str) -> bytes:
    """Of which each message has a picture."""
    content = BytesIO()
    made = Recording(content, {"config": json.dumps({"recorder": {"pictures": pictures}}), **header})
    for number in range(messages):
        made.add(LANE, {"order": number, "sequence": number, "inputs": [{"data": "picture"}]}, number)
        made.flush()
    made.add_metadata("lost", {"lane": "camera", "samples": "2", "decisions": "0"})
    made.finish()
    return content.getvalue()


def run(folder: Path) -> None:
    own = Series(folder, "box", RECORDINGS)
    strip._run(own, Series(folder / "events", "box", CLIPS), own.paths())


@pytest.mark.slow
def test_kind_no_plain_picture_of_an_earlier_time_is_left_beside_sealed_clips(tmp_path: Path) -> None:
    public, _ = keys.make(tmp_path / "keys", "owner")
    with Cell(tmp_path, {"camera": camera()}) as cell:
        cell.config["state_dir"] = str(tmp_path / "state")
        cell.config["recorder"] = {"pictures": True}
        daemon = start_recording(cell)
        cell.wait_for_count("camera", "inferences", 20)
        assert daemon.stop() == 0
        (old,) = files(tmp_path / "state")
        before = read(old).messages
        assert any(message.get("inputs") for _, message in before)
        cell.config["recorder"] = {"pictures": "clips", "events": {"seal": str(public)}}
        cell.write()
        again = cell.run()
        again.wait_for("plain pictures of a time without sealing: removed from 1 recording, deleted with 0 recordings")
        assert again.stop() == 0
    assert read(old).messages == [
        (lane, {**message, "inputs": []} if "inputs" in message else message) for lane, message in before
    ]
    assert old.stat().st_mode & 0o077 == 0
    code, text = replayed(old)
    assert code == 0, text


def test_what_a_cut_recording_holds_is_kept_and_what_is_none_deleted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / NAME).write_bytes(recording(True)[:-400])
    (tmp_path / NAME.replace("01_", "02_")).write_bytes(b"damaged")
    (tmp_path / NAME.replace("01_", "03_")).write_bytes(other := recording("clips"))
    run(tmp_path)
    contents = read(tmp_path / NAME)
    assert [message["inputs"] for _, message in contents.messages] == [[]] * 3 and not contents.damaged
    assert json.loads(contents.header["config"])["recorder"]["pictures"] is False
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, NAME.replace("01_", "03_")]
    assert (tmp_path / NAME.replace("01_", "03_")).read_bytes() == other, "it never held pictures"
    (line,) = caplog.messages
    assert "removed from 1 recording, deleted with 1 recording that could not be read" in line
    caplog.clear()
    run(tmp_path)
    assert caplog.messages == [], "there is nothing left to do"


def test_lost_samples_stay_counted(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(recording(True))
    run(tmp_path)
    assert read(tmp_path / NAME).lost == 2


def test_files_of_other_nodes_are_named_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "events").mkdir()
    theirs = [tmp_path / NAME.replace("box", "ward"), tmp_path / "events/ward-00000001_20261128T213658-fall.mcap"]
    theirs[0].write_bytes(recording(True))
    theirs[1].write_bytes(recording("clips", event="fall"))
    run(tmp_path)
    assert all(path.exists() for path in theirs)
    assert [f"{path.parent}: 1 file of other nodes may hold plain pictures" in caplog.text for path in theirs] == [
        True,
        True,
    ]


def test_a_recording_that_another_process_writes_is_left(tmp_path: Path) -> None:
    path, file = Series(tmp_path, "box", RECORDINGS).begin(0, ".000.mcap")
    with file:
        file.write(content := recording(True))
        file.flush()
        run(tmp_path)
        assert path.read_bytes() == content
    run(tmp_path)
    assert os.path.getsize(path) != len(content)
