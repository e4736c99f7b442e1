"""The ring of V4L2 buffers between kernel and process: hands out the newest, gives the others straight back."""

from __future__ import annotations

import errno
import mmap
import select
import time
from contextlib import suppress
from ctypes import c_int32

from drivers.camera import _v4l2_abi as abi


class Queue:
    """Buffers of one open device.

    memory: one mapping per buffer, by index. held: the newest whole buffer, valid while `holding`.
    sequence: frames since the start by the kernel's count. skipped, broken: pictures passed over, and broken ones among
    them, since the last that was handed out. heard: when anything last came.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.memory: list[mmap.mmap] = []
        self.held, self.fresh = _buffer(), _buffer()
        self.holding = self.starved = False
        self.sequence, self.kernel_sequence = -1, -1
        self.skipped = self.broken = self.queued = 0

    def allocate(self, count: int) -> None:
        """Maps about `count` buffers; the device has the last word on how many."""
        asked = abi.RequestBuffers(count=count, type=abi.CAPTURE, memory=abi.MMAP)
        abi.ioctl(self.fd, abi.REQBUFS, asked)
        self.memory = [self._map(index) for index in range(asked.count)]

    def start(self, least: int, period_ns: int) -> None:
        """Lets the pictures come. One of fewer than `least` bytes is broken."""
        self.least, self.period_ns = least, period_ns
        for index in range(len(self.memory)):
            self._queue(_buffer(index))
        self.poller = select.poll()
        self.poller.register(self.fd, select.POLLIN)
        abi.ioctl(self.fd, abi.STREAMON, c_int32(abi.CAPTURE))
        self.heard = time.monotonic_ns()

    def stop(self) -> None:
        """A picture that somebody still holds keeps its mapping; the device can be opened again all the same."""
        self.memory.clear()
        with suppress(OSError):
            abi.ioctl(self.fd, abi.STREAMOFF, c_int32(abi.CAPTURE))
        with suppress(OSError):
            abi.ioctl(self.fd, abi.REQBUFS, abi.RequestBuffers(type=abi.CAPTURE, memory=abi.MMAP))

    def take(self, wait_s: float) -> bool:
        """Gives the held buffer back and holds the newest that is ready or comes within wait_s. False if none came."""
        room = self.queued
        self.give_back()
        if self._drain(room):
            return True
        events = abi.poll(self.poller, wait_s)
        if self._drain(len(self.memory)):
            return True
        if events & (select.POLLERR | select.POLLHUP):
            raise OSError(errno.ENODEV, "no longer streams")
        return False

    def hand_out(self) -> int:
        """The held picture is good. How many were passed over for it."""
        skipped, self.skipped, self.broken = self.skipped, 0, 0
        return skipped

    def give_back(self) -> None:
        if self.holding:
            self.holding = False
            self._queue(self.held)

    def reject(self) -> None:
        """The held picture turned out to be broken."""
        self.skipped += 1
        self.broken += 1
        self.give_back()

    def t_capture(self) -> int:
        """When the held picture was captured, by the kernel where it stamps with CLOCK_MONOTONIC."""
        now = time.monotonic_ns()
        if self.held.flags & abi.FLAG_TIMESTAMP_MASK != abi.FLAG_TIMESTAMP_MONOTONIC:
            return now
        # some drivers reckon the stamp (vivid: the end of a frame it shows at its start) and land in the future
        return min(now, int(self.held.tv_sec * 1_000_000_000 + self.held.tv_usec * 1000))

    def _drain(self, room: int) -> bool:
        """Empties the kernel of ready buffers. room: how many it has had to fill since the last time."""
        ready = 0
        while ready < room and self._dequeue():
            ready += 1
            self._count()
            if self.fresh.flags & abi.FLAG_ERROR or self.fresh.bytesused < self.least:
                self.broken += 1
                self._pass_over(self.fresh)
                continue
            if self.holding:
                self._pass_over(self.held)
            self.held, self.fresh = self.fresh, self.held
            self.holding = True
        if ready:
            self.starved = ready == room
        # The kernel drops the newest when all buffers are full, so after a slow lane the last of them may be old.
        # The next picture comes within a period and is worth the wait.
        if self.holding and self.starved and time.monotonic_ns() - self.t_capture() > self.period_ns:
            self.holding = False
            self._pass_over(self.held)
        return self.holding

    def _dequeue(self) -> bool:
        try:
            abi.ioctl(self.fd, abi.DQBUF, self.fresh)
        except BlockingIOError:
            return False
        self.queued -= 1
        return True

    def _count(self) -> None:
        self.heard = time.monotonic_ns()
        step = (self.fresh.sequence - self.kernel_sequence) & 0xFFFFFFFF
        # the first number is not always 0, and some drivers never count
        if self.sequence < 0 or not 0 < step < 1 << 31:
            step = 1
        # what is missing was passed over if no buffer was free for it; else the camera or the bus lost it
        if self.starved:
            self.skipped += step - 1
            self.starved = False
        self.sequence += step
        self.kernel_sequence = self.fresh.sequence

    def _pass_over(self, buffer: abi.Buffer) -> None:
        self.skipped += 1
        self._queue(buffer)

    def _queue(self, buffer: abi.Buffer) -> None:
        abi.ioctl(self.fd, abi.QBUF, buffer)
        self.queued += 1

    def _map(self, index: int) -> mmap.mmap:
        buffer = _buffer(index)
        abi.ioctl(self.fd, abi.QUERYBUF, buffer)
        return mmap.mmap(self.fd, buffer.length, mmap.MAP_SHARED, mmap.PROT_READ, offset=buffer.m.offset)


def _buffer(index: int = 0) -> abi.Buffer:
    return abi.Buffer(index=index, type=abi.CAPTURE, memory=abi.MMAP)
