"""A lane's live tape: what a watcher sees of pictures, readings and sound, and that nothing is copied for nobody."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from agent.data import Array, Box, Evidence, Sample
from agent.tapes.live import LiveTape
from agent.tapes.live_format import PICTURE, PICTURE_SLOTS, READINGS, ROW_SLOTS, SOUND, WATCH_NS, LiveHeader
from agent.tapes.live_reader import LiveReader

TIMES = (0, 1_000_000, 3_000_000, 3_500_000)  # read, prepared, inferred, decided


def tape(folder: Path, kind: str, **more: object) -> tuple[LiveTape, LiveReader]:
    written = LiveTape(folder / "a.live", LiveHeader("a", kind, **more))  # type: ignore[arg-type]
    return written, LiveReader(folder / "a.live")


def sample(payload: Array, number: int = 0) -> Sample:
    return Sample("a", number, 1000 + number, payload, 2)


def test_nobody_watches_until_a_reader_says_so(tmp_path: Path) -> None:
    written, reader = tape(tmp_path, PICTURE, pixels="bgr")
    now = time.monotonic_ns()
    assert not written.watched(now)
    reader.watch()
    assert written.watched(now)
    assert not written.watched(now + 2 * WATCH_NS)


@pytest.mark.parametrize(
    "pixels, shape",
    [("bgr", (480, 640, 3)), ("grey", (480, 640)), ("yuyv", (480, 640, 2)), ("rgb", (1, 1, 3)), ("bgr", (600, 799, 3))],
)
def test_a_picture_is_read_as_it_was(tmp_path: Path, pixels: str, shape: tuple[int, ...]) -> None:
    written, reader = tape(tmp_path, PICTURE, pixels=pixels)
    payload = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    evidence = [Evidence("a", "person", 0.75, 1000, Box(0.1, 0.2, 0.3, 0.4), "coarse")]
    points = np.random.default_rng(1).random((2, 17, 3)).astype(np.float32)
    written.write(sample(payload), TIMES, evidence, points)
    (seen,) = reader.read()
    assert seen.picture and seen.picture.pixels == pixels
    assert np.array_equal(seen.picture.values, payload)
    assert (seen.t_capture, seen.skipped, seen.inferred) == (1000, 2, True)
    assert seen.evidence == [["person", 0.75, [0.1, 0.2, 0.3, 0.4], "coarse"]]
    assert np.array_equal(seen.points, points)
    assert seen.times == {"prepare_ms": 1.0, "infer_ms": 2.0, "decide_ms": 0.5}
    assert list(reader.read()) == []


@pytest.mark.parametrize(
    "pixels, shape, size",
    [("bgr", (1080, 1920, 3), (360, 640)), ("yuyv", (1080, 1920, 2), (540, 960)), ("grey", (2160, 3840), (720, 1280))],
)
def test_a_large_picture_is_thinned(tmp_path: Path, pixels: str, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    written, reader = tape(tmp_path, PICTURE, pixels=pixels)
    written.write(sample(np.full(shape, 77, np.uint8)), TIMES, [], None)
    (seen,) = reader.read()
    assert seen.picture and seen.picture.values.shape[:2] == size and (seen.picture.values == 77).all()


def test_a_slow_watcher_gets_the_newest_picture(tmp_path: Path) -> None:
    written, reader = tape(tmp_path, PICTURE, pixels="grey")
    for number in range(3 * PICTURE_SLOTS + 1):
        written.write(sample(np.full((4, 4), number, np.uint8), number), TIMES, None, None)
    (seen,) = reader.read()
    assert seen.sequence == 3 * PICTURE_SLOTS and not seen.inferred
    assert reader.newest() is not None


def test_every_reading_arrives_in_order_unless_it_was_overwritten(tmp_path: Path) -> None:
    written, reader = tape(tmp_path, READINGS, channels=("x", "y"), rate_hz=1000.0)
    written.write(sample(np.arange(80, dtype=np.float32).reshape(40, 2)), TIMES, None, None)
    rows = np.concatenate([seen.rows for seen in reader.read()])
    assert rows.ravel().tolist() == list(range(80))
    for number in range(2 * ROW_SLOTS):
        written.write(sample(np.full((1, 2), number, np.float32), number), TIMES, None, None)
    left = [seen.sequence for seen in reader.read()]
    assert left == list(range(2 * ROW_SLOTS))[-len(left) :] and len(left) == ROW_SLOTS - 1


def test_sound_shows_as_its_level_and_its_frequency(tmp_path: Path) -> None:
    written, reader = tape(tmp_path, SOUND, rate_hz=16000.0)
    written.write(sample(np.array([0.5, -0.5, 0.5, -0.5], np.float32)), TIMES, None, None)
    written.write(sample(np.array([0.0, 0.0, 0.0, 1.0], np.float32)), TIMES, None, None)
    first, second = (seen.rows.tolist() for seen in reader.read())
    assert first == [0.5, 0.5, 8000.0] and second[:2] == [0.5, 1.0] and second[2] < 8000


def test_who_watches_briefly_does_not_shorten_the_watch_of_another(tmp_path: Path) -> None:
    written, reader = tape(tmp_path, PICTURE, pixels="grey")
    reader.watch()
    reader.watch(1)
    assert written.watched(time.monotonic_ns() + WATCH_NS // 2)


def test_too_many_findings_cost_themselves_not_the_picture(tmp_path: Path) -> None:
    written, reader = tape(tmp_path, PICTURE, pixels="grey")
    many = [Evidence("a", f"label {number}", 0.5, 1, Box(0, 0, 1, 1)) for number in range(1000)]
    written.write(sample(np.zeros((4, 4), np.uint8)), TIMES, many, None)
    (seen,) = reader.read()
    assert seen.evidence == [] and seen.picture


def test_when_the_lane_ends_no_picture_stays(tmp_path: Path) -> None:
    written, reader = tape(tmp_path, PICTURE, pixels="grey")
    assert (tmp_path / "a.live").stat().st_mode & 0o777 == 0o600
    written.remove()
    assert list(tmp_path.iterdir()) == []
    reader.close()


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"rfxlive\x01" + b"\0" * 8000])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.live").write_bytes(content)
    with pytest.raises((ValueError, OSError)):
        LiveReader(tmp_path / "a.live")
