"""`reflexd view`: what is drawn is what a lane detects and decides."""

from __future__ import annotations

import errno
import json
import resource
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from agent.build import make_lane, rules_of
from agent.cli import cli
from agent.config.load import load_config
from agent.config.services import Recorder
from agent.data import Array
from agent.rules.scene import Scene
from agent.view import footage
from agent.view.drawing import COUNTED, DETECTED, LIMBS
from agent.view.source import source_device
from drivers.camera import _v4l2_abi as abi
from drivers.camera._scene import walk
from tests.shared import DATA, MOVENET, needs_recordings
from tests.test_drawing import blank, frame_view, has
from tests.test_v4l2_kernel import FakeKernel, yuyv

# -- the file -------------------------------------------------------------------------------------------------------


def frames_of(clip: Path) -> list[Array]:
    capture, frames = cv2.VideoCapture(str(clip)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


def test_a_gap_in_the_recording_is_filled_with_the_frame_before_it(tmp_path: Path) -> None:
    with footage.Footage(tmp_path / "out.mp4", None) as film:
        for time_s, level in ((3.0, 40), (3.1, 120), (3.5, 200)):
            film.add(np.full((96, 128, 3), level, np.uint8), frame_view(time_s=time_s), 10.0)
        film.add(np.full((48, 64, 3), 240, np.uint8), frame_view(time_s=3.6), 10.0)  # another size
    levels = [round(float(frame.mean()) / 40) * 40 for frame in frames_of(tmp_path / "out.mp4")]
    assert levels == [40, 120, 120, 120, 120, 200, 240]


def test_a_clip_is_complete_up_to_ctrl_c(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), footage.Footage(tmp_path / "out.webm", None) as film:
        film.add(blank(), frame_view(), 30.0)
        raise KeyboardInterrupt
    assert len(frames_of(tmp_path / "out.webm")) == 1


def test_a_clip_that_cannot_be_started_is_reported(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").symlink_to("/dev/full")
    result = view("-o", tmp_path / "out.mp4", "-c", gate_config(tmp_path))
    assert "out.mp4: a clip of 640x562 cannot be started: a full disk, or" in result.output


def test_a_still_on_a_full_disk_is_reported(tmp_path: Path) -> None:
    (tmp_path / "out.png").symlink_to("/dev/full")
    result = view("-o", tmp_path / "out.png", "-c", gate_config(tmp_path), "--seconds", "0.1")
    assert isinstance(result.exception, OSError) and result.exception.errno == errno.ENOSPC  # which __main__ prints


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_disk_that_fills_up_is_reported(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        expected = pytest.raises(click.ClickException, match="is the disk full")
        with expected, footage.Footage(tmp_path / f"out{suffix}", None) as film:
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
            for number in range(100):
                film.add(np.roll(noise, 16 * number, axis=1), frame_view(time_s=number / 30), 30.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# -- the command ----------------------------------------------------------------------------------------------------


def view(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["view", *map(str, arguments)])


def gate_config(folder: Path, **source: Any) -> Path:
    lane = {
        "source": source or {"driver": "camera.sim", "width": 320, "height": 240},
        "model": "person-coarse",
        "zones": {"gate": [[0.5, 0.5], [1, 0.5], [1, 1], [0.5, 1]]},
    }
    rule = {
        "any": [{"lane": "yard", "label": "person", "score": 0.6, "hits": 2, "of": 3, "zone": "gate"}],
        "actuator": "siren",
        "verb": "on",
        "hold_ms": 100,
    }
    config = {
        "run_dir": str(folder / "run"),
        "lanes": {"yard": lane},
        "rules": {"somebody": rule},
        "actuators": {"siren": {"device": {"driver": "actuator.log"}, "rest": "off"}},
    }
    (folder / "gate.yaml").write_text(json.dumps(config), encoding="utf-8")
    return folder / "gate.yaml"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody walks from left to right, two seconds of it."""
    path = tmp_path_factory.mktemp("clip") / "walk.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 15.0, (640, 480))
    for picture in walk(640, 480, 30, 15.0, 3):
        writer.write(picture)
    writer.release()
    return path


def siren_on(clip: Path, config: Path, folder: Path) -> list[bool]:
    """Frame by frame, whether the rule is in force for a lane that is stepped by hand."""
    loaded = load_config(config)
    section = loaded.lanes["yard"].model_copy(update={"source": source_device(str(clip), loaded.lanes["yard"])})
    update = {"run_dir": folder, "recorder": Recorder(enabled=False), "lanes": {"yard": section}}
    lane, scene = make_lane("yard", loaded.model_copy(update=update), folder, 0), Scene(rules_of(loaded))
    states = []
    for _ in lane.play(scene):
        in_force = scene.current("siren")
        states.append(in_force is not None and bool(in_force.rule))
    return states


def test_what_is_drawn_is_what_the_lane_decides(tmp_path: Path, clip: Path) -> None:
    config = gate_config(tmp_path)
    result = view(clip, "-o", tmp_path / "out.mp4", "-c", config)
    assert result.exit_code == 0 and "30 of 30 frames inferred, 2 decisions" in result.output
    assert not (tmp_path / "run").exists()  # a daemon's ledgers may lie there
    drawn = [has(frame[480:], COUNTED, 60) for frame in frames_of(tmp_path / "out.mp4")]
    expected = siren_on(clip, config, tmp_path / "by-hand")
    assert drawn == expected and 5 < sum(expected) < 25


def test_a_part_of_a_clip(tmp_path: Path, clip: Path) -> None:
    result = view(clip, "-o", tmp_path / "out.mp4", "--start", "0.5", "--seconds", "1", "--every", "3")
    assert "5 pictures, 1.0 s" in result.output and len(frames_of(tmp_path / "out.mp4")) == 5
    assert "no frame" in view(clip, "-o", tmp_path / "out.mp4", "--start", "9").output


def test_stills(tmp_path: Path, clip: Path) -> None:
    """Of a clip a frame in which a rule is in force; of a picture the picture; of a camera its first seconds."""
    config, out = gate_config(tmp_path), tmp_path / "out.png"
    assert view(clip, "-o", out, "-c", config).exit_code == 0
    assert has(cv2.imread(str(out))[480:], COUNTED, 60)
    assert view(clip, "-o", out, "-c", config, "--start", "0").exit_code == 0
    assert not has(cv2.imread(str(out)), COUNTED, 60)
    (tmp_path / "stills").mkdir()
    for number, frame in enumerate(frames_of(clip)[14:16]):
        cv2.imwrite(str(tmp_path / f"stills/{number}.png"), frame)
    for source in (tmp_path / "stills/0.png", tmp_path / "stills"):
        result = view(source, "-o", out)
        assert result.exit_code == 0 and has(cv2.imread(str(out)), DETECTED), source
    assert "31 of 31 frames" in view("-o", out, "-c", config, "--seconds", "1").output


def test_an_unplugged_camera_leaves_the_frames_drawn_before(tmp_path: Path, kernel: FakeKernel) -> None:
    def unplug() -> None:
        kernel.deliver(yuyv(1))
        kernel.refuse = {abi.DQBUF: errno.ENODEV}

    kernel.while_waiting = [lambda: kernel.deliver(yuyv(1))] * 3 + [unplug]
    config = gate_config(tmp_path, driver="camera.v4l2", device=str(kernel.path), width=32, height=16, format="yuyv")
    result = view("-o", tmp_path / "out.mp4", "-c", config)
    assert result.exit_code and f"{kernel.path} is gone (unplugged?); {tmp_path}/out.mp4: " in result.output
    assert len(frames_of(tmp_path / "out.mp4")) >= 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["none.mp4", "-o", "out.mp4"], "none.mp4: no such file, folder or camera"),
        (["/dev/null", "-o", "out.mp4"], "/dev/null is not a video device"),
        (["damaged.png", "-o", "out.png"], "damaged.png holds no picture that decodes"),
        (["damaged.png", "-o", "damaged.png"], "damaged.png is the source itself"),
        (["damaged.png", "-o", "out.gif"], "out.gif: a clip is written to .mp4 or .webm, a still to .png"),
        (["damaged.png", "-o", "no/out.png"], "no/out.png: its folder does not exist"),
        (["-o", "out.mp4"], "a SOURCE is missing"),
        (["damaged.png", "-o", "out.png", "--scene", "nowhere"], "no scene 'nowhere'; there is "),
        (["damaged.png", "-o", "out.png", "--scene", "../scenes/robot-cell"], "no scene '../scenes/robot-cell'"),
        (["damaged.png", "-o", "out.png", "--scene", "bedside"], "no camera lane in this configuration"),
        (
            ["damaged.png", "-o", "out.png", "-c", "gate.yaml", "--lane", "yrd"],
            "no camera lane 'yrd' in this configuration: there is",
        ),
        (["damaged.png", "-o", "out.png", "-c", "gate.yaml", "--model", "x"], "not several"),
        (["damaged.png", "-o", "out.png", "--then", "pose-fall"], "--then belongs to --model"),
        (["damaged.png", "-o", "out.png", "--model", "nothing"], "no model package 'nothing'"),
        (["damaged.png", "-o", "out.png", "--model", "person-coarse", "--then", "pose-fall"], "finds no keypoints for"),
        (["still.png", "-o", "out.png", "--model", "arm-deviation"], "reads a sensor, and driver"),
    ],
)
def test_a_mistake_gives_one_clear_message(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gate_config(tmp_path)
    Path("damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    cv2.imwrite("still.png", blank())
    result = view(*arguments)
    assert result.exit_code and message in f"{result.output}{result.exception}"
    assert not Path("out.png").exists() and not Path("out.mp4").exists()


@needs_recordings
def test_a_fall_shows_its_skeleton_and_its_posture(tmp_path: Path) -> None:
    out = tmp_path / "fall.png"
    fall = DATA / "video-fall-gmdcsa24/S1-Fall-15.mp4"
    result = view(fall, "-o", out, "--model", MOVENET, "--then", "pose-fall", "--start", "3.9")
    assert result.exit_code == 0, result.output
    picture = cv2.imread(str(out))
    limbs = np.argwhere(
        (picture[:480] == LIMBS).all(axis=2)
    )  # rows, columns: by eye the body lies at 20..320, 350..430
    assert len(limbs) > 200
    assert (limbs.min(axis=0) > (330, 10)).all() and (limbs.max(axis=0) < (450, 340)).all()


def test_its_help_states_where_pictures_stay() -> None:
    assert "no picture is sent over the network" in " ".join(view("--help").output.split())
