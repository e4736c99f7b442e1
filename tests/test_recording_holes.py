"""Zeros in a recording, from a power cut: what is around them is read, what is missing counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.recorder.recording import Recording, RecordingContents, RecordingError, read
from agent.recorder.series import Series
from agent.recorder.strip import start as strip
from agent.tapes.format import TapeHeader
from tests.recordings import replayed
from tests.waiting import until

FLUSHES, EACH = 12, 10
CHANNELS = ["e1", "e2", "e3", "v1", "v2", "v3", "fx", "fy", "fz", "tx", "ty", "tz"]
CONFIG = {
    "lanes": {"arm": {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"}},
    "actuators": {},
    "rules": {},
}


def message(sequence: int) -> dict[str, Any]:
    made: dict[str, Any] = {"order": sequence, "sequence": sequence, "t_capture": 1000 * sequence, "skipped": 0}
    made |= {"discontinuity": sequence == 0, "inferred": False, "readings": [[sequence / 7] * 12], "frame": []}
    return made | {"region": [0, 0, 0, 0], **{key: [] for key in ("outputs", "inputs", "evidence", "decisions")}}


def recording(path: Path, ended: bool, lanes: tuple[str, ...] = ("arm",), pictures: bool = False) -> list[int]:
    """FLUSHES times EACH samples of each lane; returns where each flush ends."""
    config = json.dumps({**CONFIG, "recorder": {"pictures": pictures}})
    header = {"config": config, "path": str(path), "models": "{}", "in_force": "{}", "lost_before": "0"}
    ends = []
    with open(path, "wb") as file:
        made = Recording(file, {**header, "version": "0.2.0"})
        for number in range(FLUSHES * EACH):
            for lane in lanes:
                tape = TapeHeader(lane, CHANNELS, [], [], 100.0)
                made.add(tape, message(number), number)
            if number % EACH == EACH - 1:
                made.flush()
                ends.append(made.size)
        if ended:
            made.close()
    return ends


def zeroed(path: Path, start: int, end: int) -> None:
    content = bytearray(path.read_bytes())
    content[start:end] = bytes(end - start)
    path.write_bytes(content)


def sequences(contents: RecordingContents) -> list[int]:
    return [each["sequence"] for _, each in contents.messages]


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("offset", [-30, -9, 0, 1, 9, 45, 200])
@pytest.mark.parametrize("length", [1, 100, 3000])
def test_kind_zeros_in_the_middle_are_counted_and_the_rest_is_read(
    tmp_path: Path, ended: bool, offset: int, length: int
) -> None:
    path = tmp_path / "x.mcap"
    ends = recording(path, ended)
    start = ends[4] + offset
    zeroed(path, start, start + length)
    contents = read(path)
    there = sequences(contents)
    assert there == sorted(set(there)) and there[: 4 * EACH] == [*range(4 * EACH)]
    assert there[-1] == FLUSHES * EACH - 1
    assert contents.unreadable > 0 or len(there) == FLUSHES * EACH
    assert contents.missing == FLUSHES * EACH - len(there)


def test_kind_zeros_of_each_lane_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.mcap"
    ends = recording(path, True, ("arm", "leg"))
    zeroed(path, ends[2] + 50, ends[4] - 50)
    contents = read(path)
    assert contents.missing == 2 * 2 * EACH and not contents.damaged


def test_kind_several_holes_and_a_missing_end(tmp_path: Path) -> None:
    path = tmp_path / "x.mcap"
    ends = recording(path, False)
    for number in (1, 5, 10):
        zeroed(path, ends[number] + 60, ends[number] + 90)
    contents = read(path)
    # behind the last hole there is no sample any more: how many it had is not known
    assert contents.missing == 2 * EACH and contents.unreadable > 0
    assert sequences(contents)[-1] == 11 * EACH - 1


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("start", [0, 3, 12, 60, 900, "first samples"])
def test_kind_zeros_at_the_beginning_are_counted_and_the_rest_is_read(
    tmp_path: Path, ended: bool, start: int | str
) -> None:
    """The header and the names of the lanes stand in the file again; what the rules remember is missing."""
    path = tmp_path / "x.mcap"
    ends = recording(path, ended, ("arm", "leg"))
    begin = ends[0] - 500 if start == "first samples" else int(start)
    zeroed(path, begin, ends[0])
    contents = read(path)
    assert sequences(contents) == [number for number in range(EACH, FLUSHES * EACH) for _ in ("arm", "leg")]
    assert {lane for lane, _ in contents.messages} == {"arm", "leg"}
    assert contents.unreadable > 500 and contents.header["lost_before"] == "1"
    # Without the end of the file nothing says how many there were.
    assert contents.missing == (2 * EACH if ended else 0) and contents.damaged == (not ended)


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("offset", [0, 1, 9, 45, 200])
@pytest.mark.parametrize("padding", [0, 100_000])
def test_kind_zeros_at_the_end_are_counted_and_the_rest_is_read(
    tmp_path: Path, ended: bool, offset: int, padding: int
) -> None:
    path = tmp_path / "x.mcap"
    ends = recording(path, ended)
    zeroed(path, ends[-2] + offset, ends[-1])
    path.write_bytes(path.read_bytes() + bytes(padding))
    contents = read(path)
    assert sequences(contents) == [*range((FLUSHES - 1) * EACH)]
    assert contents.unreadable >= ends[-1] - ends[-2] - 200
    assert contents.missing == (EACH if ended else 0) and contents.damaged == (not ended)


@pytest.mark.parametrize("damage", [{"sequence": "x"}, {"readings": None}, {"skipped": "x"}, {"sequence": None}])
def test_kind_damaged_messages_around_a_hole_are_no_bug(tmp_path: Path, damage: dict[str, Any]) -> None:
    path = tmp_path / "x.mcap"
    header = {"config": json.dumps(CONFIG), "path": str(path), "models": "{}", "in_force": "{}", "lost_before": "0"}
    ends = []
    with open(path, "wb") as file:
        made = Recording(file, {**header, "version": "0.2.0"})
        for number in range(9):
            tape, changed = TapeHeader("arm", CHANNELS, [], [], 100.0), message(number)
            made.add(tape, changed, number)
            changed.update(damage if number % 2 else {})  # after `add` has taken its sequence for the index
            made._writer.add_message(1, number, json.dumps(changed).encode(), number)
            made.flush()
            ends.append(made.size)
        made.close()
    zeroed(path, ends[4] + 50, ends[5])
    contents = read(path)
    assert len(contents.messages) == 16 and contents.unreadable > 0 and contents.missing >= 0


def test_kind_a_file_without_any_header_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.mcap"
    recording(path, True)
    content = path.read_bytes()
    for name in (b"config", b"lost_before"):  # in the header and in its copies
        content = content.replace(name, bytes(len(name)))
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="not a recording of reflexd: .* its beginning is damaged"):
        read(path)


def test_kind_replay_says_what_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.mcap"
    ends = recording(path, True)
    zeroed(path, ends[3] + 50, ends[4] - 50)
    assert "bytes cannot be read: at least 10 readings or pictures are missing" in replayed(path)[1]
    answer = json.loads(replayed(path, "--json")[1])
    assert answer["missing"] == EACH and answer["unreadable_bytes"] > 0 and not answer["damaged"]


@pytest.mark.parametrize("hole", ["first", "middle", "last"])
def test_a_copy_without_pictures_keeps_the_count(tmp_path: Path, hole: str) -> None:
    recordings, clips = Series(tmp_path / "recordings", "box", r"\.mcap"), Series(tmp_path / "clips", "box", r"\.mcap")
    for series in (recordings, clips):
        series.folder.mkdir()
    path = recordings.folder / "box-00000001_20260101T000000.mcap"
    ends = recording(path, True, pictures=True)
    start, end = {"first": (60, ends[0]), "middle": (ends[3] + 50, ends[4] - 50), "last": (ends[-2], ends[-1])}[hole]
    zeroed(path, start, end)
    before = read(path)
    strip(recordings, clips)
    until(lambda: '"pictures": false' in read(path).header["config"])
    after = read(path)
    assert (after.missing, after.unreadable) == (before.missing, before.unreadable) == (EACH, before.unreadable)
    assert after.messages == before.messages
