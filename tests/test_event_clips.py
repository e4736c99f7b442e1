"""Event clips: the seconds around a decision, and who can read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import keys
from agent.config.load import load_config
from agent.errors import ConfigError
from agent.recorder.recording import read
from tests.processes import Cell
from tests.recordings import arm_cell, replayed, start_recording
from tests.waiting import until


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    with arm_cell(tmp_path) as cell:
        yield cell


def clips(cell: Cell) -> list[Path]:
    return sorted((cell.folder / "state/events").glob("*"))


def test_a_decision_leaves_a_clip_of_the_seconds_around_it(cell: Cell) -> None:
    cell.config["recorder"] = {"events": {"rules": ["off-plan"], "before_s": 0.5, "after_s": 0.4, "files": 20}}
    daemon = start_recording(cell)
    until(lambda: len(clips(cell)) >= 1, cell.logs)
    assert "event off-plan: " in daemon.wait_for("event off-plan: ")
    path = clips(cell)[0]
    daemon.stop()
    contents = read(path)
    times = [message["t_capture"] for _, message in contents.messages]
    assert 0.4e9 < times[-1] - times[0] < 2.5e9
    assert any(decision["rule"] == "off-plan" for _, message in contents.messages for decision in message["decisions"])
    assert contents.header["event"] == "off-plan"
    code, text = replayed(path)
    assert code == 0, text


@pytest.mark.slow
def test_a_sealed_clip_is_decrypted_with_its_key_only(cell: Cell) -> None:
    public, secret = keys.make(cell.folder / "keys", "office")
    _, other = keys.make(cell.folder / "keys", "other")
    cell.config["recorder"] = {"events": {"rules": ["off-plan"], "before_s": 0.3, "after_s": 0.3, "seal": str(public)}}
    daemon = start_recording(cell)
    until(lambda: clips(cell), cell.logs)
    daemon.stop()
    path = clips(cell)[0]
    assert path.name.endswith(".mcap.sealed")
    assert not list((cell.folder / "state/events").glob("*.mcap"))
    assert b"MCAP" not in path.read_bytes() and b"off-plan" not in path.read_bytes()
    code, text = replayed(path, "--key", str(secret))
    assert code == 0, text
    assert "sealed for another key, or is damaged" in replayed(path, "--key", str(other))[1]
    assert "name the secret key file with --key" in replayed(path)[1]
    path.write_bytes(path.read_bytes()[:-1])
    assert "sealed for another key, or is damaged" in replayed(path, "--key", str(secret))[1]
    path.write_bytes(b"reflexd sealed 1\n" + b"x" * 10)
    assert "not a sealed file" in replayed(path, "--key", str(secret))[1]


def test_a_clip_of_an_unknown_rule_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reflexd.yaml"
    path.write_text("recorder:\n  events:\n    rules: [of-plan]\nlanes: {}\n")
    with pytest.raises(ConfigError, match="reflexd.yaml:3: no rule 'of-plan'"):
        load_config(path)
