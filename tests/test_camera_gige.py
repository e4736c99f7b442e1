"""camera.gstreamer with a GigE Vision camera: Aravis' simulated one, a process that speaks the protocol on loopback."""

from __future__ import annotations

import ctypes
import functools
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

from drivers.base import DeviceError, DeviceMissing, DeviceTimeout
from drivers.camera.gstreamer import Driver
from tests.gstreamer_fixtures import camera_of, opened, reason
from tests.test_camera import samples
from tests.test_camera_rtsp import patient
from tests.waiting import until

PROGRAM = "arv-fake-gv-camera-0.8"
PACKAGES = "aravis-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-bad"
PR_CAPBSET_DROP, CAP_NET_RAW = 24, 13

_REASON = reason("aravissrc ! bayer2rgb ! videoconvert", PACKAGES)
_REASON = _REASON or ("" if shutil.which(PROGRAM) else f"{PROGRAM} is missing: apt-get install {PACKAGES}")
pytestmark = [pytest.mark.skipif(bool(_REASON), reason=_REASON or "here"), pytest.mark.slow]

SOURCE = "aravissrc camera-name=Aravis-Fake-REFLEX do-timestamp=true"


class FakeCamera:
    """512x512 pixels, 25 pictures a second, a pattern that moves."""

    def start(self) -> None:
        self.process = subprocess.Popen([PROGRAM, "-i", "127.0.0.1", "-s", "REFLEX"])

    def unplug(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def device() -> Iterator[FakeCamera]:
    device = FakeCamera()
    device.start()
    yield device
    device.unplug()


def unprivileged(test: Callable[[FakeCamera], None]) -> Callable[[FakeCamera], None]:
    """In a thread whose processes may not use raw sockets.

    With that privilege Aravis 0.8.26 receives through AF_PACKET, where on loopback no picture arrives.
    """

    @functools.wraps(test)
    def limited(device: FakeCamera) -> None:
        def run() -> None:
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0)
            test(device)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(run).result()

    return limited


@unprivileged
def test_pictures_of_a_monochrome_camera(device: FakeCamera) -> None:
    with opened(SOURCE, pixels="grey") as camera:
        assert (camera.width, camera.height, camera.rate_hz) == (512, 512, 25)
        last, t_last, before = camera.sequence, 0, np.zeros((512, 512), np.uint8)
        for sample in samples(camera, 20):
            assert sample.sequence == last + 1 + sample.skipped and sample.t_capture > t_last
            assert sample.payload.shape == (512, 512) and (sample.payload != before).any()
            last, t_last, before = sample.sequence, sample.t_capture, sample.payload.copy()


@unprivileged
def test_pictures_of_a_colour_camera(device: FakeCamera) -> None:
    bayer = f"{SOURCE} ! video/x-bayer,format=rggb,width=256,height=128 ! bayer2rgb"
    with opened(bayer) as camera:
        assert next(samples(camera, 1)).payload.shape == (128, 256, 3)


@unprivileged
def test_a_camera_that_is_unplugged_and_returns(device: FakeCamera) -> None:
    with opened(SOURCE, pixels="grey", timeout_ms=1000) as camera:
        next(samples(camera, 1))
        device.unplug()
        with pytest.raises(DeviceTimeout, match="GStreamer pipeline 'aravissrc ...': no picture for"):
            list(samples(camera, 10_000))
        camera.close()
        with pytest.raises(DeviceMissing, match="Device 'Aravis-Fake-REFLEX' not found"):
            camera.open()
        device.start()
        until(lambda: reopened(camera), "the camera")
        assert patient(camera).payload.shape == (512, 512)


@unprivileged
def test_a_camera_that_hangs_and_continues(device: FakeCamera) -> None:
    with opened(SOURCE, pixels="grey", timeout_ms=1000) as camera:
        next(samples(camera, 1))
        device.process.send_signal(signal.SIGSTOP)
        with pytest.raises(DeviceTimeout):
            list(samples(camera, 10_000))
        device.process.send_signal(signal.SIGCONT)
        camera.close()
        until(lambda: reopened(camera), "the camera")
        assert patient(camera).payload.shape == (512, 512)


@unprivileged
def test_a_camera_that_another_program_controls_is_said_to_be_taken(device: FakeCamera) -> None:
    with opened(SOURCE, pixels="grey"), pytest.raises(DeviceError) as raised:
        camera_of(SOURCE, pixels="grey").open()
    assert "does another program control the camera?" in str(raised.value)


def reopened(camera: Driver) -> bool:
    """As a lane tries: the device may still wait, for 3 s, for the program that was cut off."""
    with suppress(DeviceError):
        camera.open()
        return True
    return False
