"""Opening and unplugging a V4L2 camera."""

from __future__ import annotations

import errno
import os
import select
from pathlib import Path

import pytest

from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from drivers.camera import _v4l2_abi as abi
from drivers.camera.v4l2 import Driver, Options
from tests.test_v4l2_kernel import FakeKernel, camera_of, yuyv


@pytest.mark.parametrize("gone", [errno.ENODEV, errno.EIO])
def test_unplug_is_missing_and_replug_works(kernel: FakeKernel, gone: int) -> None:
    camera = camera_of(kernel)
    camera.open()
    kernel.deliver(yuyv(1))
    held = camera.read(0.0)
    kernel.refuse = dict.fromkeys((abi.DQBUF, abi.QBUF, abi.STREAMOFF, abi.REQBUFS), gone)
    with pytest.raises(DeviceMissing, match="unplugged"):
        camera.read(0.0)
    camera.close()
    assert held is not None and int(held.payload.min()) == 1
    kernel.refuse = {}
    kernel.reset()
    camera.open()
    kernel.deliver(yuyv(2))
    sample = camera.read(0.0)
    assert sample is not None and (sample.sequence, sample.skipped, sample.payload.max()) == (0, 0, 2)
    camera.close()


def test_a_poll_error_without_a_picture_is_missing(kernel: FakeKernel) -> None:
    camera = camera_of(kernel)
    camera.open()
    kernel.events = select.POLLERR
    kernel.deliver(yuyv(1))
    assert camera.read(0.0) is not None
    with pytest.raises(DeviceMissing):
        camera.read(1.0)
    camera.close()


def test_no_picture_is_a_timeout(kernel: FakeKernel) -> None:
    camera = camera_of(kernel, timeout_ms=30)
    camera.open()
    with pytest.raises(DeviceTimeout, match="no picture for"):
        for _ in range(100):
            assert camera.read(0.01) is None
    camera.close()


@pytest.mark.parametrize(
    "request_, number, error, words",
    [
        (abi.S_FMT, errno.EBUSY, DeviceMissing, "in use by another program"),
        (abi.STREAMON, errno.ENOSPC, DeviceFault, "USB bandwidth"),
        (abi.QUERYCAP, errno.ENOTTY, DeviceFault, "not a video device"),
        (abi.ENUM_FMT, errno.ENODEV, DeviceMissing, "unplugged"),
        (abi.REQBUFS, errno.ENOMEM, DeviceFault, "Cannot allocate memory"),
    ],
)
def test_a_refused_open_leaves_nothing_open(
    kernel: FakeKernel, request_: int, number: int, error: type[DeviceError], words: str
) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    kernel.refuse = {request_: number}
    camera = camera_of(kernel)
    with pytest.raises(error, match=words):
        camera.open()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    kernel.refuse = {}
    camera.open()
    camera.close()


def test_without_permission_the_group_is_named(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DeviceMissing, match="group 'video'"):
        camera_of(kernel).open()


@pytest.mark.parametrize(
    "capabilities, words",
    [(abi.CAP_STREAMING, "next lower number"), (abi.CAP_STREAMING | abi.CAP_CAPTURE_MPLANE, "multi-planar")],
)
def test_a_node_that_does_not_capture_is_a_fault(kernel: FakeKernel, capabilities: int, words: str) -> None:
    kernel.capabilities = capabilities
    with pytest.raises(DeviceFault, match=words):
        camera_of(kernel).open()


def test_the_error_for_a_size_that_is_not_offered_lists_the_offers(kernel: FakeKernel) -> None:
    with pytest.raises(DeviceFault, match="does not offer auto 48x16; it offers: yuyv 32x16; mjpg 32x16"):
        camera_of(kernel, width=48).open()
    kernel.answer_width = 64
    with pytest.raises(DeviceFault, match="requested YUYV 32x16, got YUYV 64x16"):
        camera_of(kernel).open()


def test_an_ordinary_file_is_not_a_camera(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(DeviceFault, match="not a video device"):
        Driver(Options(device=str(tmp_path / "file")), "front").open()
