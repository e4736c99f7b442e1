"""The contract of a camera, run over every driver that needs no hardware."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from agent.data import Sample
from drivers.base import Camera, DeviceFault, DeviceMissing, open_source
from tests.waiting import until

FRAMES, FPS, WIDTH, HEIGHT = 25, 50.0, 64, 48
Make = Callable[..., Camera]


def numbered(number: int) -> np.ndarray:
    """A picture that survives JPEG and still says its number: five stripes, black or white."""
    bits = np.array([number >> bit & 1 for bit in range(8)], np.uint8) * 255
    return np.broadcast_to(np.repeat(bits, WIDTH // 8)[None, :, None], (HEIGHT, WIDTH, 3)).copy()


def number_of(picture: np.ndarray) -> int:
    middles = picture[HEIGHT // 2, WIDTH // 16 :: WIDTH // 8, 1] > 127
    return sum(1 << bit for bit, white in enumerate(middles) if white)


def write_video(path: Path, frames: int = FRAMES) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    for number in range(frames):
        writer.write(numbered(number))
    writer.release()
    return path


def write_pictures(folder: Path, frames: int = FRAMES) -> Path:
    folder.mkdir()
    for number in range(frames):
        cv2.imwrite(str(folder / f"{number:03d}.png"), numbered(number))
    return folder


PACED = ["sim real", "sim_board real", "file recorded", "replay real"]
FAST = ["sim fast", "sim_board fast", "file fast", "replay fast"]
RECORDINGS = ["file recorded", "file fast", "replay real", "replay fast"]


def only(kinds: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", kinds, indirect=True)


@pytest.fixture(params=PACED + FAST)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    kind, pace = request.param.split()
    made: list[Camera] = []
    options: dict[str, object] = {"pace": pace}
    if kind == "sim":
        options |= {"width": WIDTH, "height": HEIGHT, "fps": FPS}
    if kind == "sim_board":
        options |= {"fps": FPS, "pictures": 4}
    if kind == "file":
        options |= {"path": write_video(tmp_path / "video.avi")}
    if kind == "replay":
        options |= {"folder": write_pictures(tmp_path / "pictures"), "fps": FPS}

    def make_camera(**more: object) -> Camera:
        camera = open_source(f"camera.{kind}", options | more, "front")
        assert isinstance(camera, Camera)
        made.append(camera)
        return camera

    yield make_camera
    for camera in made:
        camera.close()


def samples(camera: Camera, count: int, wait_s: float = 0.05) -> Iterator[Sample]:
    """The next `count` samples; fewer at the end of a recording."""
    for _ in range(count):
        try:
            sample = until(lambda: camera.read(wait_s), "a sample")
        except EOFError:
            return
        assert sample is not None
        yield sample


def test_opens_reads_and_closes_twice(make: Make, request: pytest.FixtureRequest) -> None:
    camera = make()
    board = request.node.callspec.params["make"].startswith("sim_board")
    width, height, pixels = (640, 640, "grey") if board else (WIDTH, HEIGHT, "bgr")
    for _ in range(2):
        camera.open()
        assert (camera.width, camera.height, camera.pixels) == (width, height, pixels)
        assert camera.rate_hz == pytest.approx(FPS)
        sequence, t_capture = -1, 0
        for sample in samples(camera, FRAMES // 2):
            assert sample.source == "front"
            assert sample.payload.shape == ((height, width) if board else (height, width, 3))
            assert sample.payload.dtype == np.uint8
            assert sample.sequence == sequence + 1 + sample.skipped
            assert sample.t_capture > t_capture
            sequence, t_capture = sample.sequence, sample.t_capture
        camera.close()


@only(FAST)
def test_fast_skips_nothing_and_keeps_the_period(make: Make) -> None:
    camera = make()
    camera.open()
    read = list(samples(camera, FRAMES))
    assert [sample.sequence for sample in read] == list(range(FRAMES))
    assert not any(sample.skipped for sample in read)
    steps = np.diff([sample.t_capture for sample in read]) / 1e9
    assert steps == pytest.approx(1 / FPS, abs=0.001)


@only(PACED)
def test_time_stamps_are_due_times_not_reading_times(make: Make) -> None:
    camera = make()
    camera.open()
    read = list(samples(camera, FRAMES // 2))
    assert all(sample.t_capture <= time.monotonic_ns() for sample in read)
    first = read[0]
    for sample in read:
        # however late the reader was, the stamps are multiples of the period
        due = first.t_capture + (sample.sequence - first.sequence) / FPS * 1e9
        assert sample.t_capture == pytest.approx(due, abs=1e6)


def test_a_read_without_waiting_returns_at_once_and_repeats_no_sample(make: Make) -> None:
    camera = make()
    camera.open()
    sequences = [sample.sequence for sample in samples(camera, 10, wait_s=0.0)]
    assert sequences == sorted(set(sequences))


@only(PACED)
def test_a_late_reader_gets_the_newest_and_the_number_skipped(make: Make) -> None:
    camera = make()
    camera.open()
    before = next(samples(camera, 1))
    until(lambda: time.monotonic_ns() > before.t_capture + 8 / FPS * 1e9)
    late = next(samples(camera, 1))
    assert late.skipped > 0 and late.sequence == before.sequence + 1 + late.skipped


@only(RECORDINGS)
def test_the_sequence_of_a_recording_is_the_number_of_its_picture(make: Make) -> None:
    camera = make()
    camera.open()
    read = [(sample.sequence, number_of(sample.payload)) for sample in samples(camera, FRAMES)]
    assert len(read) > FRAMES // 2 and all(sequence == number for sequence, number in read)
    for _ in range(2):
        with pytest.raises(EOFError):
            list(iter(lambda: camera.read(0.05), 0))


@only(RECORDINGS)
def test_a_recording_on_loop_continues_its_sequence(make: Make) -> None:
    camera = make(loop=True)
    camera.open()
    last = -1
    for sample in samples(camera, 2 * FRAMES):
        assert sample.sequence == last + 1 + sample.skipped
        assert number_of(sample.payload) == sample.sequence % FRAMES
        last = sample.sequence
    assert last >= 2 * FRAMES - 1


def test_closing_is_harmless_and_a_held_picture_stays_readable(make: Make) -> None:
    camera = make()
    camera.close()
    camera.open()
    picture = next(samples(camera, 1)).payload
    before = picture.copy()
    camera.close()
    camera.close()
    assert np.array_equal(picture, before)


def test_nothing_leaks(make: Make) -> None:
    camera = make()
    rounds = []
    for _ in range(6):
        camera.open()
        next(samples(camera, 1))
        camera.close()
        rounds.append(
            (len(os.listdir("/proc/self/fd")), threading.active_count(), len(psutil.Process().children()), maps())
        )
    assert rounds[1:] == [rounds[1]] * 5


def maps() -> int:
    return Path("/proc/self/maps").read_text().count("reflexd-pictures")


@pytest.mark.parametrize(
    "name, options",
    [
        ("camera.file", {"path": "no/such.mp4"}),
        ("camera.replay", {"folder": "no/such"}),
        ("camera.replay", {"folder": "."}),
        ("camera.v4l2", {"device": "/dev/no-such-video"}),
    ],
)
def test_an_absent_source_is_missing(
    name: str, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    camera = open_source(name, options, "front")
    with pytest.raises(DeviceMissing):
        camera.open()
    camera.close()


def test_a_picture_that_does_not_decode_is_named(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 3)
    (folder / "001.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    camera = open_source("camera.replay", {"folder": folder, "pace": "fast"}, "front")
    camera.open()
    assert camera.read(0.1) is not None
    with pytest.raises(DeviceFault, match=r"001\.png does not decode"):
        camera.read(0.1)


def test_pictures_of_a_folder_are_played_each_in_its_own_size(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 3)
    cv2.imwrite(str(folder / "001.png"), np.zeros((10, 20, 3), np.uint8))
    camera = open_source("camera.replay", {"folder": folder, "pace": "fast"}, "front")
    camera.open()
    shapes = [sample.payload.shape for sample in samples(camera, 9)]
    assert shapes == [(HEIGHT, WIDTH, 3), (10, 20, 3), (HEIGHT, WIDTH, 3)]
