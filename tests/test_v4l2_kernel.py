"""A scripted kernel with one camera; its buffers are in an ordinary file, so the driver's mapping is real."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivers.camera import _v4l2_abi as abi
from drivers.camera.v4l2 import Driver, Options

WIDTH, HEIGHT, LINE = 32, 16, 80  # a line of yuyv is 64 bytes; this device pads it
LENGTH = 8192
MS = 1_000_000


class FakeKernel:
    """One camera. It refuses the calls that the kernel would refuse, and loses pictures when no buffer is queued."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(LENGTH * 8))
        self.modes = {"YUYV": ((WIDTH, HEIGHT), 30), "MJPG": ((WIDTH, HEIGHT), 30)}
        self.capabilities = abi.CAP_CAPTURE | abi.CAP_STREAMING
        self.refuse: dict[int, int] = {}  # request -> errno
        self.answer_width = 0
        self.events = 0
        self.while_waiting: list[Callable[[], None]] = []
        self.stamps = abi.FLAG_TIMESTAMP_MONOTONIC
        self.sequence = -1
        self.reset()

    def reset(self) -> None:
        self.count, self.streaming = 0, False
        self.queued: list[int] = []
        self.done: list[tuple[int, int, int, int, int]] = []

    def deliver(
        self, content: bytes, age_ms: float = 1.0, flags: int = 0, lost: int = 0, used: int | None = None
    ) -> None:
        """A picture arrives, captured age_ms ago, after `lost` that the bus lost."""
        self.sequence += 1 + lost
        if not self.queued:
            return
        index = self.queued.pop(0)
        with self.path.open("r+b") as memory:
            memory.seek(index * LENGTH)
            memory.write(content)
        stamp = time.monotonic_ns() - int(age_ms * MS)
        self.done.append((index, len(content) if used is None else used, flags | self.stamps, self.sequence, stamp))

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
        os.fstat(fd)  # fails on a closed descriptor: a bug of the driver
        if request in self.refuse:
            raise OSError(self.refuse[request], os.strerror(self.refuse[request]))
        getattr(self, {number: name for name, number in vars(abi).items() if name.isupper()}[request].lower())(argument)

    def poll(self, poller: select.poll, wait_s: float) -> int:
        if self.while_waiting:
            self.while_waiting.pop(0)()
        elif not self.done:
            time.sleep(wait_s)
        return self.events or (select.POLLIN if self.done else 0)

    def querycap(self, reply: abi.Capability) -> None:
        reply.card, reply.capabilities, reply.device_caps = b"Fake", abi.CAP_DEVICE_CAPS, self.capabilities

    def enum_fmt(self, entry: abi.FormatDescription) -> None:
        entry.pixelformat = abi.fourcc(self._nth(list(self.modes), entry.index))

    def enum_framesizes(self, entry: abi.FrameSize) -> None:
        size, _ = self.modes[abi.fourcc_text(entry.pixelformat)]
        entry.type, entry.size[0], entry.size[1] = abi.DISCRETE, *self._nth([size], entry.index)

    def enum_frameintervals(self, entry: abi.FrameInterval) -> None:
        _, fps = self.modes[abi.fourcc_text(entry.pixelformat)]
        entry.type, entry.interval[0], entry.interval[1] = abi.DISCRETE, 1, self._nth([fps], entry.index)

    def _nth(self, entries: list, index: int) -> object:
        if index >= len(entries):
            raise OSError(errno.EINVAL, "end of the list")
        return entries[index]

    def s_fmt(self, wanted: abi.Format) -> None:
        wanted.fmt.pix.bytesperline = LINE if wanted.fmt.pix.pixelformat == abi.fourcc("YUYV") else 0
        wanted.fmt.pix.width = self.answer_width or wanted.fmt.pix.width

    def s_parm(self, wanted: abi.StreamParameters) -> None:
        wanted.parm.capture.numerator, wanted.parm.capture.denominator = 1, 25

    def reqbufs(self, request: abi.RequestBuffers) -> None:
        self.count = request.count

    def querybuf(self, buffer: abi.Buffer) -> None:
        buffer.length, buffer.m.offset = LENGTH, buffer.index * LENGTH

    def qbuf(self, buffer: abi.Buffer) -> None:
        taken = [*self.queued, *(entry[0] for entry in self.done)]
        if buffer.index in taken or buffer.index >= self.count or buffer.type != abi.CAPTURE:
            raise OSError(errno.EINVAL, "the kernel has the buffer already")
        self.queued.append(buffer.index)

    def dqbuf(self, buffer: abi.Buffer) -> None:
        if not self.done:
            raise BlockingIOError(errno.EAGAIN, "nothing ready")
        buffer.index, buffer.bytesused, buffer.flags, buffer.sequence, stamp = self.done.pop(0)
        buffer.tv_sec, buffer.tv_usec = stamp // 10**9, stamp % 10**9 // 1000

    def streamon(self, _: object) -> None:
        self.streaming, self.sequence = True, -1

    def streamoff(self, _: object) -> None:
        self.reset()


def camera_of(kernel: FakeKernel, **options: object) -> Driver:
    return Driver(
        Options.model_validate({"device": str(kernel.path), "width": WIDTH, "height": HEIGHT, **options}), "front"
    )


def yuyv(level: int) -> bytes:
    return bytes([level]) * (LINE * HEIGHT)


def jpeg(level: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    return cv2.imencode(".jpg", np.full((height, width, 3), level, np.uint8))[1].tobytes()


def test_the_script_follows_the_rules_of_the_kernel(tmp_path: Path) -> None:
    kernel = FakeKernel(tmp_path / "video0")
    kernel.reqbufs(abi.RequestBuffers(count=2))
    kernel.qbuf(abi.Buffer(index=0, type=abi.CAPTURE))
    with pytest.raises(OSError):
        kernel.qbuf(abi.Buffer(index=0, type=abi.CAPTURE))
    kernel.deliver(yuyv(1))
    kernel.deliver(yuyv(2))
    buffer = abi.Buffer()
    kernel.dqbuf(buffer)
    assert (buffer.index, buffer.sequence, buffer.bytesused) == (0, 0, LINE * HEIGHT)
    with pytest.raises(BlockingIOError):
        kernel.dqbuf(buffer)
