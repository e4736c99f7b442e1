"""The ring of V4L2 buffers between kernel and process: delivers the newest, returns the others at once."""

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

    memory: one mapping per buffer, by index. held: the newest complete buffer, valid while `holding`.
    sequence: frames since the start by the kernel's count. skipped, broken: pictures skipped, and broken ones among
    them, since the last that was delivered. t_received: when the last buffer came, broken or not.
    """

    def __init__(self, fd: int, stamp_arrival: bool = False) -> None:
        """stamp_arrival: ignore the kernel's stamps."""
        self.fd = fd
        self.stamp_arrival = stamp_arrival
        self.memory: list[mmap.mmap] = []
        self.held, self.dequeued = _buffer(), _buffer()
        self.holding = self.starved = False
        self.sequence, self.kernel_sequence = -1, -1
        self.skipped = self.broken = self.queued = 0

    def allocate(self, count: int) -> None:
        """Maps about `count` buffers; the device decides how many."""
        request = abi.RequestBuffers(count=count, type=abi.CAPTURE, memory=abi.MMAP)
        abi.ioctl(self.fd, abi.REQBUFS, request)
        self.memory = [self._map(index) for index in range(request.count)]

    def start(self, min_bytes: int, period_ns: int) -> None:
        """Starts the stream. A picture of fewer than `min_bytes` is broken."""
        self.min_bytes, self.period_ns = min_bytes, period_ns
        for index in range(len(self.memory)):
            self._queue(_buffer(index))
        self.poller = select.poll()
        self.poller.register(self.fd, select.POLLIN)
        abi.ioctl(self.fd, abi.STREAMON, c_int32(abi.CAPTURE))
        self.t_received = time.monotonic_ns()

    def stop(self) -> None:
        """A picture still in use keeps its mapping; the device can be opened again all the same."""
        self.memory.clear()
        with suppress(OSError):
            abi.ioctl(self.fd, abi.STREAMOFF, c_int32(abi.CAPTURE))
        with suppress(OSError):
            abi.ioctl(self.fd, abi.REQBUFS, abi.RequestBuffers(type=abi.CAPTURE, memory=abi.MMAP))

    def take(self, wait_s: float) -> bool:
        """Returns the held buffer and holds the newest that is ready or comes within wait_s. False if none came."""
        capacity = self.queued
        self.give_back()
        if self._drain(capacity):
            return True
        events = abi.poll(self.poller, wait_s)
        if self._drain(len(self.memory)):
            return True
        if events & (select.POLLERR | select.POLLHUP):
            raise OSError(errno.ENODEV, "no longer streams")
        return False

    def accept(self) -> int:
        """The held picture is delivered; how many were skipped before it."""
        skipped, self.skipped, self.broken = self.skipped, 0, 0
        return skipped

    def give_back(self) -> None:
        if self.holding:
            self.holding = False
            self._queue(self.held)

    def reject(self) -> None:
        """The held picture is broken: skip it."""
        self.skipped += 1
        self.broken += 1
        self.give_back()

    def t_capture(self) -> int:
        """When the held picture was captured: the kernel's stamp where that is CLOCK_MONOTONIC, else now."""
        now = time.monotonic_ns()
        if not self._stamped():
            return now
        # some drivers compute a stamp in the future (vivid: the end of a frame that it delivers at its start)
        return min(now, int(self.held.tv_sec * 1_000_000_000 + self.held.tv_usec * 1000))

    def _stamped(self) -> bool:
        """The held picture has a time stamp of this box's clock."""
        monotonic = self.held.flags & abi.FLAG_TIMESTAMP_MASK == abi.FLAG_TIMESTAMP_MONOTONIC
        return monotonic and not self.stamp_arrival

    def _drain(self, capacity: int) -> bool:
        """Dequeues all ready buffers, holds the newest. capacity: how many the kernel could have filled since."""
        ready = 0
        while ready < capacity and self._dequeue():
            ready += 1
            self._count()
            if self.dequeued.flags & abi.FLAG_ERROR or self.dequeued.bytesused < self.min_bytes:
                self.broken += 1
                self._skip(self.dequeued)
                continue
            if self.holding:
                self._skip(self.held)
            self.held, self.dequeued = self.dequeued, self.held
            self.holding = True
        if ready:
            self.starved = ready == capacity
        # The kernel drops the newest when all buffers are full, so after a slow read the last of them may be old.
        # The next picture comes within a period: wait for it.
        if self.holding and self.starved and self._too_old():
            self.holding = False
            self._skip(self.held)
        return self.holding

    def _too_old(self) -> bool:
        """Older than a period, or of unknown age."""
        return not self._stamped() or time.monotonic_ns() - self.t_capture() > self.period_ns

    def _dequeue(self) -> bool:
        try:
            abi.ioctl(self.fd, abi.DQBUF, self.dequeued)
        except BlockingIOError:
            return False
        self.queued -= 1
        return True

    def _count(self) -> None:
        self.t_received = time.monotonic_ns()
        step = (self.dequeued.sequence - self.kernel_sequence) & 0xFFFFFFFF
        # the first number is not always 0, and some drivers do not count
        if self.sequence < 0 or not 0 < step < 1 << 31:
            step = 1
        # missing pictures were skipped if no buffer was free for them; else the camera or the bus lost them
        if self.starved:
            self.skipped += step - 1
            self.starved = False
        self.sequence += step
        self.kernel_sequence = self.dequeued.sequence

    def _skip(self, buffer: abi.Buffer) -> None:
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
