"""A real V4L2 camera, named by REFLEXD_CAMERA: pytest -m hardware."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
import pytest

from drivers.base import DeviceFault, DeviceMissing
from drivers.camera.v4l2 import Driver, Options

DEVICE = os.environ.get("REFLEXD_CAMERA", "/dev/video0")
pytestmark = pytest.mark.hardware


@pytest.fixture
def camera() -> Iterator[Driver]:
    camera = Driver(Options(device=DEVICE), "front")
    camera.open()
    yield camera
    camera.close()


def test_every_frame_is_counted(camera: Driver) -> None:
    sequence, t_capture, start = -1, 0, time.monotonic_ns()
    while sequence < 100:
        sample = camera.read(1.0)
        assert sample is not None
        assert sample.sequence >= sequence + 1 + sample.skipped  # more where the bus lost frames
        assert t_capture < sample.t_capture <= time.monotonic_ns()
        assert sample.payload.shape[:2] == (camera.height, camera.width)
        sequence, t_capture = sample.sequence, sample.t_capture
    seconds = (t_capture - start) / 1e9
    assert sequence / seconds == pytest.approx(camera.rate_hz, rel=0.2)


def test_a_late_reader_gets_a_new_frame(camera: Driver) -> None:
    assert camera.read(1.0) is not None
    time.sleep(10 / camera.rate_hz)
    sample = camera.read(1.0)
    assert sample is not None and sample.skipped >= 5
    assert time.monotonic_ns() - sample.t_capture < 2e9 / camera.rate_hz


def test_a_raw_picture_does_not_change_until_the_next_read(camera: Driver) -> None:
    if camera.pixels == "bgr":
        pytest.skip("this camera sends JPEG")
    sample = camera.read(1.0)
    assert sample is not None
    before = sample.payload.copy()
    time.sleep(10 / camera.rate_hz)
    assert np.array_equal(sample.payload, before)


def test_it_opens_again_while_a_picture_is_still_held(camera: Driver) -> None:
    sample = camera.read(1.0)
    camera.close()
    camera.open()
    again = camera.read(1.0)
    assert sample is not None and again is not None and again.sequence == again.skipped


def test_a_second_reader_gets_an_error_that_it_is_in_use(camera: Driver) -> None:
    assert camera.read(1.0) is not None
    with pytest.raises(DeviceMissing, match="in use"):
        Driver(Options(device=DEVICE), "second").open()
    assert camera.read(1.0) is not None


def test_the_error_for_an_odd_size_lists_the_offers() -> None:
    with pytest.raises(DeviceFault, match=r"it offers: .*\d+x\d+"):
        Driver(Options(device=DEVICE, width=17, height=16), "front").open()
