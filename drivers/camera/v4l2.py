"""A local camera through Video4Linux: mapped kernel buffers, newest frame only, the kernel's time stamps."""

from __future__ import annotations

import errno
import mmap
import os
import time
from contextlib import suppress
from typing import Literal

import cv2
import numpy as np
from pydantic import Field, field_validator

from agent.data import Array, Sample
from drivers.base import Camera, CameraOptions, DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from drivers.camera import _jpeg
from drivers.camera import _v4l2_abi as abi
from drivers.camera import _v4l2_modes as modes
from drivers.camera._names import local
from drivers.camera._v4l2_queue import Queue
from drivers.holder import ANOTHER, holder

BROKEN_LIMIT = 10  # broken pictures in a row; a bad cable or a busy USB bus breaks one occasionally
BYTES = {"yuyv": 2, "grey": 1, "mjpg": 0}  # of one pixel
PIXELS = {"yuyv": "yuyv", "grey": "grey", "mjpg": "bgr"}
REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
ERRORS: dict[int, tuple[type[DeviceError], str]] = {
    errno.ENOENT: (DeviceMissing, "is not there (plugged in?)"),
    errno.ENODEV: (DeviceMissing, "is gone (unplugged?)"),
    errno.ENXIO: (DeviceMissing, "is gone (unplugged?)"),
    errno.EIO: (DeviceMissing, "stopped working (I/O error; unplugged?)"),
    errno.EACCES: (DeviceMissing, "may not be opened: add this user to the group 'video'"),
    errno.EPERM: (DeviceMissing, "may not be opened: add this user to the group 'video'"),
    errno.EBUSY: (DeviceMissing, f"is in use by {ANOTHER} (fuser -v shows which)"),
    errno.ENOTTY: (DeviceFault, "is not a video device"),
    errno.ENOSPC: (
        DeviceFault,
        "gets no USB bandwidth: smaller picture, lower fps, format mjpg or another USB controller",
    ),
}


class Options(CameraOptions):
    """The device node and the mode in which it captures."""

    device: str = Field("/dev/video0", description="prefer a name from /dev/v4l/by-id: the numbers can change")
    width: int = Field(640, ge=16, le=16384)
    height: int = Field(480, ge=16, le=16384)
    fps: float = Field(30.0, gt=0, le=1000)
    format: Literal["auto", "yuyv", "mjpg", "grey"] = "auto"
    stamp: Literal["device", "arrival"] = Field(
        "device", description="arrival: when the picture is read, for a camera whose clock is not this box's"
    )
    buffers: int = Field(3, ge=3, le=32, description="one in use by the lane, one ready, one being filled")
    reduce: Literal["auto", 1, 2, 4, 8] = Field(
        "auto", description="mjpg only: decode to 1/n of width and height; auto: the smallest that the network fits in"
    )

    @field_validator("device")
    @classmethod
    def _is_local(cls, device: str) -> str:
        return local(device, "a device such as /dev/video0")

    def exclusive_device(self) -> str:
        return self.device


class Driver(Camera):
    """pixels: "yuyv" or "grey" as captured, "bgr" where the camera sends JPEG."""

    options: Options
    fd = -1

    def open(self) -> None:
        try:
            self.fd = os.open(self.options.device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self.queue = Queue(self.fd, self.options.stamp == "arrival")
            self.views: list[Array] = []
            self._check_capture()
            line = self._set_format(self._choose())
            self._set_rate()
            self.queue.allocate(self.options.buffers)
            self._start(line)
        except OSError as error:
            self.close()
            raise self._device_error(error) from error
        except DeviceError:
            self.close()
            raise

    def read(self, wait_s: float) -> Sample | None:
        """Pictures in yuyv and grey are views of a kernel buffer, which returns to the kernel at the next read."""
        deadline = time.monotonic() + min(wait_s, self.options.timeout_ms / 1000)
        try:
            while True:
                left = max(0.0, deadline - time.monotonic())
                sample = self._sample() if self.queue.take(left) else None
                if sample is not None:
                    return sample
                self._check_health()
                if left == 0.0:
                    return None
        except OSError as error:
            raise self._device_error(error) from error

    def close(self) -> None:
        if self.fd < 0:
            return
        self.views.clear()
        self.queue.stop()
        os.close(self.fd)
        self.fd = -1

    def _check_capture(self) -> None:
        reply = abi.Capability()
        abi.ioctl(self.fd, abi.QUERYCAP, reply)
        capabilities = reply.device_caps if reply.capabilities & abi.CAP_DEVICE_CAPS else reply.capabilities
        if capabilities & abi.CAP_CAPTURE and capabilities & abi.CAP_STREAMING:
            return
        device = f"{self.options.device} ({reply.card.decode('utf-8', 'replace')})"
        if capabilities & abi.CAP_CAPTURE_MPLANE:
            raise DeviceFault(f"{device} is multi-planar, which this driver does not read")
        # a USB camera registers a second node for its metadata, usually the next number
        raise DeviceFault(f"{device} does not capture pictures: try the node with the next lower number")

    def _choose(self) -> modes.Offer:
        o = self.options
        offered = modes.offers(self.fd, o.width, o.height)
        chosen = modes.choose(offered, o.format, o.width, o.height, o.fps)
        if chosen is None:
            raise DeviceFault(
                f"{o.device} does not offer {o.format} {o.width}x{o.height}; it offers: {modes.describe(offered)}"
            )
        return chosen

    def _set_format(self, chosen: modes.Offer) -> int:
        """Sets size and format; the bytes from one line of the picture to the next."""
        o, wanted = self.options, abi.Format(type=abi.CAPTURE)
        pix = wanted.fmt.pix
        pix.width, pix.height, pix.field = o.width, o.height, abi.PROGRESSIVE
        pix.pixelformat = abi.fourcc(chosen.fourcc)
        abi.ioctl(self.fd, abi.S_FMT, wanted)
        # instead of refusing the kernel answers with the nearest mode it has
        actual = abi.fourcc_text(pix.pixelformat)
        if (actual, pix.width, pix.height) != (chosen.fourcc, o.width, o.height):
            raise DeviceFault(
                f"{o.device}: requested {chosen.fourcc} {o.width}x{o.height}, got {actual} {pix.width}x{pix.height}"
            )
        self.format = modes.READABLE[chosen.fourcc]
        self.pixels = PIXELS[self.format]
        self.reduce = self._choose_reduction() if self.format == "mjpg" else 1
        self.width, self.height = -(-o.width // self.reduce), -(-o.height // self.reduce)
        return int(pix.bytesperline or o.width * BYTES[self.format])

    def _choose_reduction(self) -> int:
        """Scaling within the DCT leaves out most of the inverse transform and of the colour conversion."""
        o = self.options
        return fitting_reduction(o.width, o.height, self.network) if o.reduce == "auto" else o.reduce

    def _set_rate(self) -> None:
        wanted = abi.StreamParameters(type=abi.CAPTURE)
        rate = wanted.parm.capture
        rate.numerator, rate.denominator = 1000, round(self.options.fps * 1000)
        # a device with one fixed rate may refuse
        with suppress(OSError):
            abi.ioctl(self.fd, abi.S_PARM, wanted)
        self.rate_hz = rate.denominator / rate.numerator if rate.numerator and rate.denominator else self.options.fps

    def _start(self, line: int) -> None:
        min_bytes = 1
        if self.format != "mjpg":
            min_bytes = line * (self.height - 1) + self.width * BYTES[self.format]
            if min_bytes > min(len(memory) for memory in self.queue.memory):
                raise DeviceFault(f"{self.options.device}: its buffers are too small for the picture")
        self.views = [_view(memory, self.format, self.width, self.height, line) for memory in self.queue.memory]
        self.queue.start(min_bytes, int(1e9 / self.rate_hz))

    def _sample(self) -> Sample | None:
        queue = self.queue
        t_capture = queue.t_capture()
        picture = self.views[queue.held.index]
        if self.format == "mjpg":
            decoded = self._decode(picture[: queue.held.bytesused])
            if decoded is None:
                queue.reject()
                return None
            picture = decoded
            queue.give_back()
        return Sample(self.name, queue.sequence, t_capture, picture, queue.accept())

    def _decode(self, jpeg: Array) -> Array | None:
        picture = _jpeg.decode(jpeg, REDUCED[self.reduce], one_scan=True)
        return picture if picture is not None and picture.shape == (self.height, self.width, 3) else None

    def _check_health(self) -> None:
        if self.queue.broken >= BROKEN_LIMIT:
            raise DeviceFault(
                f"{self.options.device}: {self.queue.broken} broken pictures in a row (cable or USB bandwidth?)"
            )
        silent_ms = (time.monotonic_ns() - self.queue.t_received) / 1e6
        if silent_ms > self.options.timeout_ms:
            raise DeviceTimeout(f"{self.options.device}: no picture for {silent_ms:.0f} ms")

    def _device_error(self, error: OSError) -> DeviceError:
        kind, text = ERRORS.get(error.errno or 0, (DeviceFault, f"failed: {error.strerror}"))
        return kind(f"{self.options.device} {text.replace(ANOTHER, holder(self.options.device))}")


def fitting_reduction(width: int, height: int, network: tuple[int, int] | None) -> int:
    """The largest one whose picture is not smaller than the network's input; 1 where that is not known."""
    if network is None:
        return 1
    return max((n for n in REDUCED if width >= n * network[0] and height >= n * network[1]), default=1)


def _view(memory: mmap.mmap, format: str, width: int, height: int, line: int) -> Array:
    """A buffer as a picture, without a copy; for mjpg as its bytes."""
    if format == "mjpg":
        return np.frombuffer(memory, np.uint8)
    shape, strides = ((height, width, 2), (line, 2, 1)) if format == "yuyv" else ((height, width), (line, 1))
    view: Array = np.ndarray(shape, np.uint8, memory, 0, strides)
    return view
