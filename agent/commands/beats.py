"""Shared memory between the actuator host and its standby: when each must write again, and has looked."""

from __future__ import annotations

import mmap
import os

WORD = 8
LOOKED, ENDED, FIRST = 0, 1, 2


class Beats:
    """Words of 64 bits; each has one writer.

    LOOKED: when the standby looked last, ns; 0 until it is ready. ENDED: 1 once the host has made every device safe and
    ends in good order. FIRST + i: by when the i-th actuator's loop writes again, ns; 0 while nothing is expected of it.
    """

    def __init__(self, actuators: int, fd: int = -1) -> None:
        """fd: of the words that another process has made; it stays open until `close`."""
        size = WORD * (FIRST + actuators)
        self.fd = fd
        if fd < 0:
            self.fd = os.memfd_create("reflexd-beats")
            os.ftruncate(self.fd, size)
        self.words = memoryview(mmap.mmap(self.fd, size)).cast("q")

    def of(self, actuator: int) -> memoryview:
        """The one word of the i-th actuator."""
        return self.words[FIRST + actuator : FIRST + actuator + 1]

    def overdue(self, now: int) -> int:
        """The first actuator that should have written by now; -1 where there is none."""
        for actuator, due in enumerate(self.words[FIRST:]):
            if due and now > due:
                return actuator
        return -1

    def close(self) -> None:
        """The words stay mapped for those who have them. Harmless when closed."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
