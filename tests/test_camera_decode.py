"""Hostile and broken videos may end the decoding child, but never harm its parent."""

from __future__ import annotations

import math
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.data import Sample
from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout
from drivers.camera._capture import Problem
from drivers.camera._decode import LAG_LIMIT_S, Player
from drivers.camera._picture_sender import PictureSender
from drivers.camera.file import Driver, Options
from tests.shared import DATA, ROOT, needs_recordings
from tests.test_camera import FRAMES, number_of, samples, write_video
from tests.waiting import DEADLINE_S, until


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "video.avi")


def camera_of(path: Path, **options: object) -> Driver:
    return Driver(Options.model_validate({"path": path, "pace": "fast", **options}), "front")


@pytest.fixture
def camera(video: Path) -> Iterator[Driver]:
    camera = camera_of(video, loop=True)
    camera.open()
    yield camera
    camera.close()


def child_of(camera: Driver) -> subprocess.Popen[bytes]:
    assert camera.child is not None
    return camera.child.process


def drain(camera: Driver) -> int:
    """Reads to the end or the first error; the number of samples."""
    return sum(1 for _ in samples(camera, 100_000))


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV])
def test_a_killed_decoder_is_a_fault_and_opens_again(camera: Driver, deadly: signal.StopSignals) -> None:
    held = list(samples(camera, 5))[-1].payload
    before = held.copy()
    child_of(camera).send_signal(deadly)
    with pytest.raises(DeviceFault, match=rf"died of {deadly.name} after \d+ frames"):
        drain(camera)
    with pytest.raises(DeviceFault, match=deadly.name):
        camera.read(0.0)
    assert np.array_equal(held, before)
    camera.close()
    camera.open()
    assert [sample.sequence for sample in samples(camera, 3)] == [0, 1, 2]


def test_a_decoder_that_hangs_is_a_timeout_and_may_come_back(video: Path) -> None:
    camera = camera_of(video, pace="recorded", loop=True, timeout_ms=100)
    camera.open()
    child_of(camera).send_signal(signal.SIGSTOP)
    with pytest.raises(DeviceTimeout, match="no picture for"):
        drain(camera)
    child_of(camera).send_signal(signal.SIGCONT)
    assert number_of(until_back(camera).payload) == camera.sequence % FRAMES
    camera.close()


def until_back(camera: Driver) -> Sample:
    while True:
        try:
            return next(samples(camera, 1))
        except DeviceTimeout:
            continue


def test_the_late_reader_of_a_recording_gets_its_last_frame(video: Path) -> None:
    camera = camera_of(video, pace="recorded")
    camera.open()
    child_of(camera).wait(DEADLINE_S)
    last = camera.read(0.0)
    assert last is not None and (last.sequence, last.skipped) == (FRAMES - 1, FRAMES - 1)
    assert number_of(last.payload) == FRAMES - 1
    with pytest.raises(EOFError, match=f"{FRAMES} frames"):
        camera.read(0.0)
    camera.close()


def test_the_decoder_never_writes_into_the_picture_that_is_read(video: Path) -> None:
    camera = camera_of(video, pace="recorded", loop=True)
    camera.open()
    held = next(samples(camera, 1))
    before = held.payload.copy()
    assert camera.child is not None
    others, numbers = [slot for slot in camera.child.slots if slot is not held.payload], set()
    # Until five frames have passed through the other slots.
    until(lambda: numbers.update(map(number_of, others)) or len(numbers) > 5)
    assert np.array_equal(held.payload, before)
    assert next(samples(camera, 1)).skipped > 0
    camera.close()


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_the_error_of_a_truncated_video_has_the_number_of_frames(video: Path, share: float) -> None:
    content = video.read_bytes()
    first, index = content.index(b"movi"), content.index(b"idx1")
    video.write_bytes(content[: first + int((index - first) * share)])
    camera = camera_of(video)
    camera.open()
    shown = []
    with pytest.raises(DeviceFault, match=r"is cut off after \d+ frames: at least \d+ bytes are missing"):
        for sample in samples(camera, FRAMES):
            shown.append(number_of(sample.payload))
    # the last frame is cut in two and may decode in part
    assert shown[:-1] == list(range(len(shown) - 1)) and 0 < len(shown) < FRAMES
    camera.close()


@pytest.mark.parametrize(
    "name, content",
    [
        ("text.mp4", b"this is not a video\n" * 100),
        ("empty.mp4", b""),
        ("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"),
    ],
)
def test_a_file_that_is_not_a_video_is_a_fault(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DeviceFault, match=name):
        camera_of(tmp_path / name).open()


def test_a_folder_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(DeviceFault):
        camera_of(tmp_path).open()


def test_a_pipe_is_a_fault_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(DeviceFault, match="not a file"):
        camera_of(tmp_path / "pipe.mp4").open()


def test_pictures_that_are_too_large_are_refused(video: Path) -> None:
    with pytest.raises(DeviceFault, match="64x48, more than max_pixels 3000"):
        camera_of(video, max_pixels=3000).open()


@pytest.mark.parametrize("side", [9000, 65500])
def test_frames_that_promise_to_be_huge_are_a_fault(video: Path, side: int) -> None:
    frame_header, huge = (
        bytes.fromhex("ffc0001108 0030 0040"),
        bytes.fromhex("ffc0001108") + side.to_bytes(2, "big") * 2,
    )
    content = video.read_bytes()
    assert content.count(frame_header) == FRAMES
    video.write_bytes(content.replace(frame_header, huge))
    with pytest.raises(DeviceFault, match="video.avi"):
        camera_of(video).open()


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.slow
def test_mutated_bytes_never_hurt_the_parent(video: Path, seed: int) -> None:
    rng = random.Random(seed)
    content = bytearray(video.read_bytes())
    for _ in range(rng.choice((1, 10, 200))):
        content[rng.randrange(4 if seed % 2 else 4000, len(content))] = rng.randrange(256)
    video.write_bytes(content)
    camera = camera_of(video, open_timeout_ms=5000, timeout_ms=5000)
    try:
        camera.open()
        for sample in samples(camera, 1000):
            assert sample.payload.shape == (camera.height, camera.width, 3)
    except (DeviceFault, DeviceMissing, DeviceTimeout) as trouble:
        assert str(video) in str(trouble)
    finally:
        camera.close()


def test_the_decoder_dies_with_its_parent(video: Path) -> None:
    program = (
        "import time; from drivers.base import open_source\n"
        f"camera = open_source('camera.file', {{'path': {str(video)!r}, 'loop': True}}, 'front'); camera.open()\n"
        "print(camera.child.process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    # a pidfd is ready to read when its process has ended
    assert select.select([child], [], [], DEADLINE_S)[0]
    os.close(child)


@needs_recordings
def test_a_real_recording_plays_to_its_last_frame() -> None:
    camera = camera_of(DATA / "video-fall-gmdcsa24/S1-Fall-13.mp4")
    camera.open()
    read = [(sample.sequence, sample.t_capture, sample.payload.shape) for sample in samples(camera, 1000)]
    camera.close()
    assert [sequence for sequence, _, _ in read] == list(range(128))
    # by ffprobe: the last frame stands at 4.288 s
    assert (read[-1][1] - read[0][1]) / 1e9 == pytest.approx(4.288, abs=0.001)
    assert {shape for _, _, shape in read} == {(480, 640, 3)}


def player(pace: str) -> Player:
    player = Player({"pace": pace}, PictureSender(-1, -1, -1, True))
    player.period_s, player.start, player.offset_s = 0.1, time.monotonic_ns(), None
    return player


def test_hostile_time_stamps_still_give_an_increasing_clock() -> None:
    playing, film = player("fast"), []
    for position_s in (5.0, 5.1, 5.25, 5.2, 5.2, math.nan, 1e12, -1e12, 5.9):
        playing._advance(position_s)
        playing.sequence += 1
        film.append(round(playing.film_s, 3))
    # time starts at the first stamp; an invalid stamp advances it by one period
    assert film == [0.0, 0.1, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.9]


def test_a_decoder_that_cannot_keep_up_is_a_fault() -> None:
    playing = player("recorded")
    playing.start -= int((LAG_LIMIT_S + 1) * 1e9)
    with pytest.raises(Problem, match="decodes slower than real time"):
        playing._stamp(cv2.VideoCapture(), 0)
