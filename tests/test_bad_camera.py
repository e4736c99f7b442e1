"""Cameras that fail: reported once, the actuator safe meanwhile, and the picture lane recovers by itself."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from tests.processes import Cell, Process, arm, camera, fault

REPEATING = "no new picture, sound or reading for 300 ms: "


def video(path: Path, frames: int = 40) -> bytes:
    """A short clip of a moving square; its bytes."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 20, (160, 120))
    for number in range(frames):
        picture = np.zeros((120, 160, 3), np.uint8)
        picture[40:80, number : number + 40] = 255
        writer.write(picture)
    writer.release()
    return path.read_bytes()


def recovers(cell: Cell, daemon: Process, message: str, times: int = 1) -> None:
    """The fault was reported, the actuator went safe, the lane is back, and the daemon is the same process."""
    daemon.wait_for(message, times)
    daemon.wait_for("camera: camera is back", times)
    cell.wait_for("run", after=last(cell, "safe"))
    assert daemon.popen.poll() is None
    assert "Traceback" not in daemon.text
    assert cell.counts("camera")["faults"] >= times


def last(cell: Cell, verb: str) -> int:
    """The number of movements up to the newest with this verb."""
    verbs = cell.verbs()
    return len(verbs) - verbs[::-1].index(verb)


@pytest.mark.parametrize(
    "kind, message, counter",
    [
        ("unplug", "the simulated camera was unplugged", "faults"),
        ("freeze", "no picture for 3", "faults"),
        ("repeat", REPEATING + "it repeats the old one: frozen?", "repeated"),
        ("clock_jump", "ahead: did its clock jump?", "stale"),
    ],
)
@pytest.mark.slow
def test_a_camera_that_fails_for_a_while(tmp_path: Path, kind: str, message: str, counter: str) -> None:
    with Cell(tmp_path, {"camera": camera(faults=[fault(kind, at_s=1.0, for_s=0.8)])}) as cell:
        host, daemon = cell.start_both()
        done = len(cell.verbs())
        cell.wait_for("safe", after=done)
        recovers(cell, daemon, message)
        assert len(daemon.lines("trying again until it is back")) == len(daemon.lines("camera: camera is back")) == 1
        assert cell.counts("camera")[counter] >= 1
        assert daemon.stop() == 0


def test_a_clock_that_jumps_back(tmp_path: Path) -> None:
    with Cell(tmp_path, {"camera": camera(faults=[fault("clock_jump", 1.0, 0.6, amount=-30.0)])}) as cell:
        _, daemon = cell.start_both()
        cell.wait_for("safe", after=len(cell.verbs()))
        recovers(cell, daemon, " ms old: did its clock jump?")
        assert cell.counts("camera")["stale"] >= 4


def test_a_camera_that_is_plugged_in_later(tmp_path: Path) -> None:
    with Cell(tmp_path, {"camera": camera(faults=[fault("unplug", at_s=0, for_s=0.5)])}) as cell:
        _, daemon = cell.start_both()
        assert cell.verbs()[0] == "safe"
        recovers(cell, daemon, "the simulated camera is unplugged")
        assert len(daemon.lines("is unplugged")) == 1


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.slow
def test_a_lane_that_is_not_critical_does_not_stop_the_others(tmp_path: Path, critical: bool) -> None:
    lanes = {"arm": arm(), "camera": {**camera(faults=[fault("unplug", at_s=1.5, for_s=0.6)]), "critical": critical}}
    with Cell(tmp_path, lanes) as cell:
        host, daemon = cell.start_both()
        cell.wait_for_count("camera", "inferences")
        daemon.wait_for("was unplugged")
        daemon.wait_for("camera: camera is back")
        cell.wait_for_count("camera", "inferences", cell.counts("camera")["inferences"] + 5)
        # Not by the count of safe states: on a busy box the arm's lane may have stalled for a moment, too.
        assert bool(host.lines("cell-1/camera is silent")) is critical
        cell.wait_for("run", after=last(cell, "safe"))
        assert cell.counts("arm")["faults"] == 0


def test_pictures_of_an_undeclared_shape(tmp_path: Path) -> None:
    """A driver declares bgr and delivers two bytes a pixel for a while."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/odd.py").write_text(
        "from drivers.camera import sim\n"
        "Options = sim.Options\n"
        "class Driver(sim.Driver):\n"
        "    def _distort(self, picture, active):\n"
        "        return picture[:, :, :2]\n"
    )
    with Cell(tmp_path, {"camera": camera("camera.sim", faults=[fault("noise", at_s=1.0, for_s=0.4)])}) as cell:
        cell.config["lanes"]["camera"]["source"]["driver"] = "ours.odd"
        _, daemon = cell.start_both()
        cell.wait_for("safe", after=len(cell.verbs()))
        recovers(cell, daemon, "a frame of shape [120, 160, 2] is no bgr picture")


def test_another_picture_size_is_not_a_fault(tmp_path: Path) -> None:
    with Cell(tmp_path, {"camera": camera(faults=[fault("wrong_format", at_s=0.5, for_s=0.3)])}) as cell:
        _, daemon = cell.start_both()
        daemon.wait_for("'wrong_format' ended")
        cell.wait_for_count("camera", "inferences", cell.counts("camera")["inferences"] + 2)
        assert cell.counts("camera")["faults"] == 0


def broken(kind: str, good: bytes) -> bytes:
    return {"text": b"this is a shopping list\n" * 50, "truncated": good[: len(good) // 2], "empty": b""}[kind]


@pytest.mark.parametrize("kind", ["text", "truncated", "empty"])
@pytest.mark.slow
def test_an_invalid_video_file_is_played_once_it_is_valid(tmp_path: Path, kind: str) -> None:
    clip, better = tmp_path / "clip.mp4", tmp_path / "better.mp4"
    good = video(better)
    clip.write_bytes(broken(kind, good))
    with Cell(tmp_path, {"camera": camera("camera.file", path=str(clip), loop=True)}) as cell:
        host, daemon = cell.actuate(), cell.run()
        line = daemon.wait_for("trying again until it is back")
        assert f"{clip} does not open as a video" in line
        assert cell.verbs() == ["safe"]
        better.rename(clip)
        recovers(cell, daemon, "does not open as a video")
        assert host.stop() == 0


def test_a_video_file_that_does_not_exist_yet(tmp_path: Path) -> None:
    clip, unfinished = tmp_path / "clip.mp4", tmp_path / "unfinished.mp4"
    video(unfinished)
    with Cell(tmp_path, {"camera": camera("camera.file", path=str(clip), loop=True)}) as cell:
        cell.actuate()
        daemon = cell.run()
        assert str(clip) in daemon.wait_for("trying again until it is back")
        unfinished.rename(clip)
        recovers(cell, daemon, "trying again until it is back")


def test_a_recording_that_is_cut_off_plays_up_to_the_cut(tmp_path: Path) -> None:
    """Then it is a fault and not the end of the recording: the daemon does not exit with code 0."""
    clip = tmp_path / "clip.avi"
    clip.write_bytes(video(clip)[:-3000])
    with Cell(tmp_path, {"camera": camera("camera.file", path=str(clip))}) as cell:
        cell.start_both()
        daemon = cell.processes[-1]
        line = daemon.wait_for("is cut off")
        assert str(clip) in line and " frames: at least 30" in line
        cell.wait_for("safe", after=1)
        assert daemon.popen.poll() is None


def test_a_killed_decoder_is_replaced(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    video(clip)
    with Cell(tmp_path, {"camera": camera("camera.file", path=str(clip), loop=True)}) as cell:
        _, daemon = cell.start_both()
        children = psutil.Process(daemon.popen.pid).children()
        (decoder,) = [child for child in children if "agent.recorder.recorder" not in child.cmdline()]
        done = len(cell.verbs())
        decoder.kill()
        cell.wait_for("safe", after=done)
        recovers(cell, daemon, "the decoder died of SIGKILL after")
        assert cell.counts("camera")["faults"] == 1
