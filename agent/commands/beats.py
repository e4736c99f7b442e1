"""Shared memory between the actuator host and its standby: when each must write again, and has looked."""

from __future__ import annotations

import mmap
import os

WORD = 8
LOOKED, ENDED, FIRST = 0, 1, 2
DUE, CALL, EACH = 0, 1, 2
CALLS = ("", "open", "apply", "safe", "close")  # of a driver, by the number in CALL
OPEN, APPLY, SAFE, CLOSE = range(1, len(CALLS))


class Beats:
    """Words of 64 bits; each has one writer.

    LOOKED: when the standby looked last, ns; 0 until it is ready. ENDED: 1 once the host has made every device safe and
    ends in good order. From FIRST on two for each actuator, DUE: by when its loop writes again, ns; 0 while nothing is
    expected of it. CALL: which call of its driver has not returned.
    """

    def __init__(self, actuators: int, fd: int = -1) -> None:
        """fd: of the words that another process has made; it stays open until `close`."""
        size = WORD * (FIRST + EACH * actuators)
        self.fd = fd
        if fd < 0:
            self.fd = os.memfd_create("reflexd-beats")
            os.ftruncate(self.fd, size)
        self.words = memoryview(mmap.mmap(self.fd, size)).cast("q")

    def of(self, actuator: int) -> memoryview:
        """DUE and CALL of the i-th actuator."""
        return self.words[FIRST + EACH * actuator : FIRST + EACH * (actuator + 1)]

    def overdue(self, now: int) -> int:
        """The first actuator that should have written by now; -1 where there is none."""
        for actuator, due in enumerate(self.words[FIRST + DUE :: EACH]):
            if due and now > due:
                return actuator
        return -1

    def call(self, actuator: int) -> str:
        """Of its driver, that has not returned; empty where it is in none."""
        return CALLS[self.words[FIRST + EACH * actuator + CALL]]

    def close(self) -> None:
        """The words stay mapped for those who have them. Harmless when closed."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
