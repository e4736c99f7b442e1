"""SIGINT and SIGTERM, for a process that has no event loop."""

from __future__ import annotations

import os
import select
import signal
from typing import Protocol


class StopSignal(Protocol):
    def wait(self, seconds: float, /) -> bool:
        """True once it is time to leave; waits at most so long for that."""


class StopSignals:
    """Not a threading.Event: a handler that sets one waits for ever where it interrupts that event's own wait."""

    def __init__(self, last_s: int = 0) -> None:
        """last_s: who has not left so long after is ended by SIGALRM; 0: no such limit."""
        self.asked = False
        self.last_s = last_s
        self.heard, self.told = os.pipe()
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, self.ask)

    def ask(self, *_: object) -> None:
        if not self.asked:
            self.asked = True
            os.write(self.told, b"\0")
            signal.alarm(self.last_s)

    def wait(self, seconds: float, /) -> bool:
        if not self.asked:
            select.select([self.heard], [], [], seconds)
        return self.asked
