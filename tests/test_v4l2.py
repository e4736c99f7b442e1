"""Reading from a V4L2 camera: newest only, every frame counted, the kernel's stamps, broken pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from agent.data import Sample
from drivers.base import DeviceFault
from drivers.camera import _v4l2_abi as abi
from drivers.camera.v4l2 import BROKEN_LIMIT, Driver, fitting_reduction
from tests.test_v4l2_kernel import HEIGHT, LINE, WIDTH, FakeKernel, camera_of, jpeg, yuyv


@pytest.fixture
def opened(kernel: FakeKernel) -> Iterator[Callable[..., Driver]]:
    cameras = []

    def open_camera(**options: object) -> Driver:
        cameras.append(camera_of(kernel, **options))
        cameras[-1].open()
        return cameras[-1]

    yield open_camera
    for camera in cameras:
        camera.close()


def values(sample: Sample | None) -> tuple[int, int, int]:
    """sequence, skipped, grey level"""
    assert sample is not None
    return sample.sequence, sample.skipped, int(sample.payload.flat[0])


def test_only_the_newest_is_delivered_and_the_others_return(kernel: FakeKernel, opened: Callable[..., Driver]) -> None:
    camera = opened(buffers=4)
    assert camera.read(0.0) is None
    for level in (10, 11, 12):
        kernel.deliver(yuyv(level))
    assert values(camera.read(0.0)) == (2, 2, 12)
    assert sorted(kernel.queued) == [0, 1, 3]
    kernel.deliver(yuyv(13))
    assert values(camera.read(0.0)) == (3, 0, 13)
    assert camera.read(0.0) is None
    assert sorted(kernel.queued) == [0, 1, 2, 3]


def test_yuyv_is_a_view_without_the_padding(kernel: FakeKernel, opened: Callable[..., Driver]) -> None:
    camera = opened()
    kernel.deliver(b"".join(bytes([row]) * 64 + b"\xee" * 16 for row in range(HEIGHT)))
    sample = camera.read(0.0)
    assert sample is not None and camera.pixels == "yuyv"
    assert sample.payload.shape == (HEIGHT, WIDTH, 2) and sample.payload.strides == (LINE, 2, 1)
    assert np.array_equal(sample.payload[:, 0, 0], range(HEIGHT)) and 0xEE not in sample.payload
    assert not sample.payload.flags.owndata and not sample.payload.flags.writeable
    assert len(kernel.queued) == 2
    camera.read(0.0)
    assert len(kernel.queued) == 3


def test_the_stamp_is_the_kernels(kernel: FakeKernel, opened: Callable[..., Driver]) -> None:
    camera = opened()
    kernel.deliver(yuyv(1), age_ms=20.0)
    stamp = kernel.done[0][4]
    sample = camera.read(0.0)
    assert sample is not None and sample.t_capture == stamp // 1000 * 1000


@pytest.mark.parametrize("stamps, age_ms", [(0, 1e6), (abi.FLAG_TIMESTAMP_MONOTONIC, -1e6)])
def test_a_stamp_of_another_clock_or_of_the_future_is_replaced(
    kernel: FakeKernel, opened: Callable[..., Driver], stamps: int, age_ms: float
) -> None:
    camera = opened()
    kernel.stamps = stamps
    kernel.deliver(yuyv(1), age_ms=age_ms)
    before = time.monotonic_ns()
    sample = camera.read(0.0)
    assert sample is not None and before <= sample.t_capture <= time.monotonic_ns()


def test_frames_lost_on_the_bus_are_a_gap_and_not_skipped(kernel: FakeKernel, opened: Callable[..., Driver]) -> None:
    camera = opened()
    kernel.deliver(yuyv(1))
    assert values(camera.read(0.0)) == (0, 0, 1)
    kernel.deliver(yuyv(2), lost=3)
    assert values(camera.read(0.0)) == (4, 0, 2)


def test_frames_without_a_free_buffer_are_skipped(kernel: FakeKernel, opened: Callable[..., Driver]) -> None:
    camera = opened()
    for level in range(6):
        kernel.deliver(yuyv(level))
    assert values(camera.read(0.0)) == (2, 2, 2)
    kernel.deliver(yuyv(6))
    assert values(camera.read(0.0)) == (6, 3, 6)


def test_a_late_reader_waits_for_a_new_picture(kernel: FakeKernel, opened: Callable[..., Driver]) -> None:
    camera = opened()
    kernel.deliver(yuyv(0))
    camera.read(0.0)
    for level in range(1, 6):
        kernel.deliver(yuyv(level), age_ms=400 - 40 * level)
    kernel.while_waiting = [lambda: kernel.deliver(yuyv(6))]
    assert values(camera.read(1.0)) == (6, 5, 6)


def test_a_camera_that_does_not_count_or_wraps_is_counted(kernel: FakeKernel, opened: Callable[..., Driver]) -> None:
    camera = opened()
    numbers = []
    for number in (0, 0, 0, 0xFFFFFFFE, 0xFFFFFFFF, 0, 1):
        kernel.sequence = number - 1
        kernel.deliver(yuyv(1))
        numbers.append(values(camera.read(0.0))[0])
    assert numbers == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("defect", [{"flags": abi.FLAG_ERROR}, {"used": LINE * (HEIGHT - 1) + 63}])
def test_broken_pictures_are_skipped_up_to_a_limit(
    kernel: FakeKernel, opened: Callable[..., Driver], defect: dict[str, int]
) -> None:
    camera = opened()
    for _ in range(BROKEN_LIMIT - 1):
        kernel.deliver(yuyv(9), **defect)
        assert camera.read(0.0) is None
    kernel.deliver(yuyv(1))
    assert values(camera.read(0.0)) == (BROKEN_LIMIT - 1, BROKEN_LIMIT - 1, 1)
    with pytest.raises(DeviceFault, match="10 broken pictures in a row"):
        for _ in range(BROKEN_LIMIT):
            kernel.deliver(yuyv(9), **defect)
            assert camera.read(0.0) is None
    assert len(kernel.queued) == 3


@pytest.mark.parametrize("reduce", [1, 2, 4, 8])
def test_mjpg_is_decoded_and_its_buffer_returns_at_once(
    kernel: FakeKernel, opened: Callable[..., Driver], reduce: int
) -> None:
    camera = opened(format="mjpg", reduce=reduce)
    assert (camera.width, camera.height, camera.pixels) == (WIDTH // reduce, HEIGHT // reduce, "bgr")
    kernel.deliver(jpeg(200))
    sample = camera.read(0.0)
    assert sample is not None and sample.payload.shape == (HEIGHT // reduce, WIDTH // reduce, 3)
    assert abs(int(sample.payload.mean()) - 200) <= 2
    assert len(kernel.queued) == 3


@pytest.mark.parametrize("content", [b"\xff\xd8 no jpeg", jpeg(1, WIDTH * 2), b"\0" * 10])
def test_a_jpeg_that_does_not_decode_is_skipped(
    kernel: FakeKernel, opened: Callable[..., Driver], content: bytes
) -> None:
    camera = opened(format="mjpg")
    kernel.deliver(content)
    assert camera.read(0.0) is None
    kernel.deliver(jpeg(100))
    sample = camera.read(0.0)
    assert sample is not None and (sample.sequence, sample.skipped) == (1, 1)
    with pytest.raises(DeviceFault, match="broken pictures"):
        for _ in range(BROKEN_LIMIT):
            kernel.deliver(content)
            camera.read(0.0)


def test_kind_a_camera_whose_clock_is_another_is_stamped_at_arrival(
    kernel: FakeKernel, opened: Callable[..., Driver]
) -> None:
    """18: `stamp: arrival` ignores stamps that claim to be of this clock."""
    camera = opened(stamp="arrival")
    before = time.monotonic_ns()
    kernel.deliver(yuyv(1), age_ms=1e6)
    sample = camera.read(0.0)
    assert sample is not None and before <= sample.t_capture <= time.monotonic_ns()


def test_a_picture_of_unknown_age_that_waited_is_not_taken_as_new(
    kernel: FakeKernel, opened: Callable[..., Driver]
) -> None:
    """All buffers were full, so the newest of them may be old: the next one comes within a period."""
    camera = opened(stamp="arrival")
    for level in range(1, 4):
        kernel.deliver(yuyv(level), age_ms=400)
    kernel.while_waiting = [lambda: kernel.deliver(yuyv(9))]
    sample = camera.read(0.1)
    assert sample is not None and int(sample.payload.max()) == 9


@pytest.mark.parametrize(
    ("network", "reduction"),
    [
        (None, 1),  # somebody needs the whole picture
        ((192, 192), 4),
        ((240, 135), 8),
        ((241, 135), 4),
        ((1000, 100), 1),
        ((4000, 4000), 1),
    ],
)
def test_a_reduction_is_no_smaller_than_the_network(network: tuple[int, int] | None, reduction: int) -> None:
    assert fitting_reduction(1920, 1080, network) == reduction


def test_by_default_a_picture_is_decoded_to_fit_the_network(kernel: FakeKernel, opened: Callable[..., Driver]) -> None:
    camera = opened(format="mjpg")
    assert (camera.width, camera.height) == (WIDTH, HEIGHT)
    camera.close()
    camera.network = (WIDTH // 2 - 1, HEIGHT // 2 - 1)
    camera.open()
    assert (camera.width, camera.height) == (WIDTH // 2, HEIGHT // 2)
