"""SIGINT and SIGTERM, for a process that has no event loop."""

from __future__ import annotations

import os
import select
import signal
from typing import Protocol


class StopSignal(Protocol):
    """What ends a process's main loop."""

    def wait(self, seconds: float, /) -> bool:
        """Wait at most this long for the request to stop; True once it was made."""


class StopSignals:
    """Set by SIGINT and SIGTERM.

    Not a threading.Event: a handler that sets one blocks for ever where it interrupts that event's own wait.
    """

    def __init__(self, deadline_s: int = 0) -> None:
        """deadline_s: SIGALRM ends the process this long after the request; 0: no such limit."""
        self.requested = False
        self.deadline_s = deadline_s
        self._readable, self._writable = os.pipe()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.request)

    def request(self, *_: object) -> None:
        if not self.requested:
            self.requested = True
            os.write(self._writable, b"\0")
            signal.alarm(self.deadline_s)

    def wait(self, seconds: float, /) -> bool:
        if not self.requested:
            select.select([self._readable], [], [], seconds)
        return self.requested
