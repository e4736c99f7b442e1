"""Recordings with pauses longer than the silence that is allowed: the lane waits for what follows."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent import ledger
from drivers.audio import file as sound
from tests.processes import Cell, arm, camera

TIMEOUT_MS, PAUSE_S = 200.0, 1.0
PICTURES = 3
ARM_CHANNELS = ["e1", "e2", "e3", "v1", "v2", "v3", "fx", "fy", "fz", "tx", "ty", "tz"]


def readings(folder: Path) -> dict[str, Any]:
    """Half a second of an arm's readings, a pause, and as much again."""
    times = [number / 100 + pause for pause in (0.0, 0.5 + PAUSE_S) for number in range(50)]
    rows = [",".join(map(str, [time, *[0.1] * 12])) for time in times]
    (folder / "arm.csv").write_text("\n".join([",".join(["t_s", *ARM_CHANNELS]), *rows]))
    return arm(driver="sensor.replay", path=str(folder / "arm.csv"), timeout_ms=TIMEOUT_MS)


def video(folder: Path) -> dict[str, Any]:
    path = folder / "slow.mp4"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), 1 / PAUSE_S, (96, 64))
    for number in range(PICTURES):
        writer.write(np.full((64, 96, 3), 50 * number, np.uint8))
    writer.release()
    return {**camera("camera.file", path=str(path), timeout_ms=TIMEOUT_MS)}


@pytest.mark.parametrize("make, count", [(readings, 100), (video, PICTURES)])
def test_kind_a_recording_plays_past_its_pauses(tmp_path: Path, make: Any, count: int) -> None:
    with Cell(tmp_path, {"lane": make(tmp_path)}) as cell:
        cell.actuate()
        daemon = cell.run()
        daemon.wait_for("end of the recording")
        assert daemon.exit_code() == 0
        counts = ledger.read(cell.run_dir / "lane.ledger").counts
        assert counts["samples"] == count and counts["faults"] == 0, daemon.text
        first = cell.verbs().index("run")
        assert cell.verbs()[first : first + 3] == ["run", "safe", "run"], "safe in the pause, and commanded after it"


def test_a_sound_file_says_when_its_next_block_is_due(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(32_000))
    driver = sound.Driver(sound.Options(path=tmp_path / "a.wav", rate_hz=8000, block_ms=1000), "room")
    driver.open()
    assert driver.read(0.0) is None
    assert driver.t_next == driver.blocks.start + 1_000_000_000
    driver.close()
