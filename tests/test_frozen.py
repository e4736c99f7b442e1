"""A camera that delivers the same picture again and again, under new numbers and times, is frozen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.gates.frozen import MIN_REPEATS, FrozenPictures
from tests.processes import Cell, camera, fault
from tests.test_bad_camera import last, recovers

MS = 1_000_000
NOISE = np.random.default_rng(1)


def picture(*shape: int) -> np.ndarray:
    return NOISE.integers(0, 256, shape, np.uint8)


def frozen_at(pictures: list[np.ndarray], comparable: bool = True, period_ms: int = 50) -> list[int]:
    """The numbers of the pictures at which they are frozen; the limit is 500 ms."""
    frozen = FrozenPictures(500)
    return [number for number, each in enumerate(pictures) if frozen(each, number * period_ms * MS, comparable)]


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 2), (1080, 1920, 3), (1, 1), (7, 5, 3)])
def test_identical_pictures_are_frozen_after_the_limit(shape: tuple[int, ...]) -> None:
    live, stuck = [picture(*shape) for _ in range(5)], picture(*shape)
    # the second identical one is copied, from then on the time counts
    assert frozen_at([*live, *[stuck.copy() for _ in range(15)], picture(*shape) ^ 1])[:2] == [16, 17]


def test_one_bit_anywhere_is_life() -> None:
    still = picture(480, 640, 3)
    changing = [still.copy() for _ in range(200)]
    for number, each in enumerate(changing):
        each[NOISE.integers(480), NOISE.integers(640), number % 3] ^= 1 << number % 8
    assert not frozen_at(changing)


def test_the_time_begins_again_with_each_picture_that_differs() -> None:
    still = picture(48, 64, 3)
    assert not frozen_at([*[still] * 9, picture(48, 64, 3), *[still] * 9, picture(96, 64, 3), *[still] * 9])


def test_a_buffer_that_is_used_again_is_a_new_picture() -> None:
    """Of a kernel's or a decoder's memory the lane sees the same array each time."""
    buffer, frozen = picture(48, 64, 3), FrozenPictures(500)
    for number in range(100):
        buffer[...] = picture(48, 64, 3)
        assert not frozen(buffer, number * 50 * MS)


def test_a_slow_camera_needs_more_than_two_pictures() -> None:
    assert frozen_at([picture(48, 64)] * 9, period_ms=10_000)[0] == 1 + MIN_REPEATS


def test_pictures_that_a_codec_repeats_for_good_reasons_do_not_count() -> None:
    assert not frozen_at([picture(48, 64, 3)] * 100, comparable=False)


def test_kind_a_frozen_picture_is_no_sign_of_life(tmp_path: Path) -> None:
    """Stale and its actuator safe until another picture comes, however often the camera is opened meanwhile."""
    faults = [fault("still", at_s=1.5, for_s=6.0)]
    with Cell(tmp_path, {"camera": camera(faults=faults, frozen_ms=500)}) as cell:
        _, daemon = cell.start_both()
        done = len(cell.verbs())
        daemon.wait_for("the picture is frozen: the same bits for 5")
        cell.wait_for("safe", after=done)
        recovers(cell, daemon, "the picture is frozen")
        log = daemon.text
        assert log.index("injected fault 'still' ended") < log.index("camera: camera is back")
        assert len(daemon.lines("trying again until it is back")) == len(daemon.lines("camera is back")) == 1
        assert cell.counts("camera")["stale"] > MIN_REPEATS and cell.counts("camera")["faults"] > 1
        assert cell.verbs()[last(cell, "safe") :] == ["run"]
        assert daemon.stop() == 0


@pytest.mark.parametrize("limit_ms", [None, 0])
@pytest.mark.slow
def test_two_seconds_are_frozen_unless_the_source_says_that_they_are_normal(
    tmp_path: Path, limit_ms: int | None
) -> None:
    options = {} if limit_ms is None else {"frozen_ms": limit_ms}
    with Cell(tmp_path, {"camera": camera(pictures=1, **options)}) as cell:
        _, daemon = cell.start_both()
        if limit_ms is None:
            assert "the same bits for 20" in daemon.wait_for("the picture is frozen")
        else:
            cell.wait_for_count("camera", "inferences", 80)
            assert cell.counts("camera")["stale"] == cell.counts("camera")["faults"] == 0
        assert daemon.stop() == 0
