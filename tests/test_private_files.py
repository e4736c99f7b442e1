"""What is recorded is for its owner only, and what is sealed was never plain on the disk."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from agent import keys
from agent.box import private
from agent.config.load import load_config
from agent.errors import ConfigError
from agent.field.perfetto import write
from agent.recorder import seal, settings
from agent.recorder.events import ClipMessage, EventClips
from agent.recorder.recording import RecordingError, read
from agent.tapes.format import TapeHeader
from tests.processes import Cell, camera
from tests.recordings import arm_cell, files, start_recording
from tests.test_recorder_down import recorder_of
from tests.waiting import until


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    """An arm, whose rule starts clips, and a camera; the umask of a login."""
    before = os.umask(0o022)
    with arm_cell(tmp_path) as cell:
        cell.config["recorder"] = {"events": {"rules": ["off-plan"], "before_s": 0.3, "after_s": 0.3}}
        yield cell
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def pictures(content: bytes) -> int:
    try:
        return sum(bool(message.get("inputs")) for _, message in read(Path("content"), BytesIO(content)).messages)
    except RecordingError:
        return 0


def check_closed(cell: Cell) -> None:
    """Nobody else may read what was recorded, nor the tapes."""
    kept = [*(cell.folder / "state").rglob("*"), *cell.run_dir.glob("*.tape"), *cell.run_dir.glob("*.decisions")]
    kept += [cell.run_dir / "recorder.json", cell.run_dir / "recorder.settings"]
    assert len(kept) > 6
    assert [path.name for path in kept if mode(path) & 0o077] == []


@pytest.mark.slow
def test_kind_no_plain_picture_is_left_where_clips_are_sealed(cell: Cell) -> None:
    """The recorder is killed while it collects and writes clips; what an older one left is sealed or deleted."""
    public, secret = keys.make(cell.folder / "keys", "owner")
    cell.config["lanes"]["camera"] = {**camera(), "critical": False}
    cell.config["recorder"]["pictures"] = "clips"
    cell.config["recorder"]["events"]["seal"] = str(public)
    events = cell.folder / "state/events"
    events.mkdir(parents=True, mode=0o755)
    leftovers = {"cell-1-20261128T213657-off-plan.mcap": b"plain", "cell-1-00000001_20261128T213658-off-plan.mcap": b""}
    unfinished = "cell-1-00000002_20261128T213658-off-plan.mcap.sealed.new"
    for name, content in {**leftovers, unfinished: b"half", "theirs.txt": b"theirs"}.items():
        (events / name).write_bytes(content)
    daemon = start_recording(cell)
    for number in range(4):
        daemon.wait_for("event off-plan: ", times=number + 1)
        os.kill(until(lambda: recorder_of(daemon), cell.logs), signal.SIGKILL)
        daemon.wait_for("recorder ended with -9", times=number + 1)
    until(lambda: recorder_of(daemon), cell.logs)
    assert daemon.stop() == 0
    assert sum(pictures(path.read_bytes()) for path in files(cell.folder / "state")) == 0
    clips = sorted(path for path in events.iterdir() if path.name != "theirs.txt")
    assert all(path.name.endswith(".sealed") and path.read_bytes().startswith(seal.MAGIC) for path in clips)
    opened = [seal.decrypt(path.read_bytes(), keys.read_secret(secret)[1]) for path in clips]
    assert b"plain" in opened and sum(map(pictures, opened)) > 0
    assert "was plain and is sealed now" in daemon.text
    (events / "theirs.txt").unlink()
    check_closed(cell)


def test_what_is_recorded_is_for_its_owner_only_also_in_folders_that_were_open(cell: Cell) -> None:
    folder = cell.folder / "state/recordings"
    folder.mkdir(parents=True, mode=0o755)
    old = folder / "cell-1-20261128T220329.519.mcap"
    old.write_bytes(b"old")
    (cell.folder / "elsewhere").write_bytes(b"theirs")
    (folder / "cell-1-20261128T220330.519.mcap").symlink_to(cell.folder / "elsewhere")
    assert mode(folder) == 0o755 and mode(old) == 0o644
    daemon = start_recording(cell)
    until(lambda: list((cell.folder / "state/events").glob("*.mcap")), cell.logs)
    assert daemon.stop() == 0
    assert daemon.lines(f"{folder}: other users could read what was recorded; now only their owner can")
    assert daemon.lines(f"{old}: other users could read") and mode(cell.folder / "elsewhere") == 0o644
    (folder / "cell-1-20261128T220330.519.mcap").unlink()
    check_closed(cell)


def test_the_recorder_leaves_no_core_dump(cell: Cell) -> None:
    daemon = start_recording(cell)
    limits = Path(f"/proc/{until(lambda: recorder_of(daemon), cell.logs)}/limits").read_text()
    (line,) = (line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4:6] == ["0", "0"]
    assert daemon.stop() == 0


@pytest.mark.parametrize("chosen, refused", [("true", True), ("clips", False), ("false", False)])
def test_sealed_clips_beside_plain_pictures_are_refused(tmp_path: Path, chosen: str, refused: bool) -> None:
    path = tmp_path / "reflexd.yaml"
    public, _ = keys.make(tmp_path / "keys", "owner")
    path.write_text(f"lanes: {{}}\nrecorder:\n  pictures: {chosen}\n  events:\n    seal: {public}\n")
    if refused:
        with pytest.raises(
            ConfigError, match=r"reflexd.yaml:3: 'events.seal' encrypts the clips, but .*pictures: clips"
        ):
            load_config(path)
    else:
        assert load_config(path).recorder.events.seal == public


def test_a_rule_that_decides_without_end_ends_its_clips(tmp_path: Path) -> None:
    given = settings.ClipSettings(rules=["always"], before_s=1, after_s=1, files=10, seal="")
    clips = EventClips(given, tmp_path, "box", {"config": "{}"})
    for second in range(200):
        message = {"t_capture": second * 1_000_000_000, "order": second, "sequence": second}
        message |= {"decisions": [{"rule": "always"}]}
        clips.add(ClipMessage(TapeHeader("arm", [], [], []), message, second, 100))
    times = [[message["t_capture"] for _, message in read(path).messages] for path in sorted(tmp_path.iterdir())]
    assert len(times) == 3 and all(60e9 <= clip[-1] - clip[0] <= 62e9 for clip in times)


# -- the functions ----------------------------------------------------------------------------------------


def test_a_new_file_is_never_where_a_link_leads(tmp_path: Path) -> None:
    """Somebody else laid a link where the unfinished file goes: what it leads to stays as it is."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    private.unfinished(tmp_path / "file").symlink_to(precious)
    private.write(tmp_path / "file", b"content")
    (tmp_path / "link").symlink_to(precious)
    with pytest.raises(FileExistsError):
        private.create(tmp_path / "link")
    assert precious.read_bytes() == b"precious" and (tmp_path / "file").read_bytes() == b"content"
    assert mode(tmp_path / "file") == 0o600


def test_a_trace_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        (tmp_path / "open.json").write_text("older")
        for name in ("new.json", "open.json"):
            write(tmp_path / name, [])
            assert mode(tmp_path / name) == 0o600
    finally:
        os.umask(before)
