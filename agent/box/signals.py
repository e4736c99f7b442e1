"""Signals: of a process without an event loop, of the actuator host, of the daemon."""

from __future__ import annotations

import logging
import os
import select
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from agent.box.held_signals import HELD

if TYPE_CHECKING:
    import asyncio  # only the daemon needs it

log = logging.getLogger("reflexd")

STOPS = (signal.SIGINT, signal.SIGTERM)
REFUSED = {
    signal.SIGHUP: "SIGHUP: a reload is not possible here: systemctl restart reflexd-actuate, which makes the device"
    " safe first",
    signal.SIGTSTP: "SIGTSTP: a pause is not possible here: the device would keep its last command; Ctrl-C makes it"
    " safe and ends",
}


class StopSignal(Protocol):
    """What ends a process's main loop."""

    def wait(self, seconds: float, /) -> bool:
        """Wait at most this long for the request to stop; True once it was made."""


class StopSignals:
    """Set by SIGINT and SIGTERM, or by others.

    Not a threading.Event: a handler that sets one blocks for ever where it interrupts that event's own wait.
    """

    def __init__(self, numbers: Sequence[int] = STOPS, deadline_s: int = 0) -> None:
        """deadline_s: SIGALRM ends the process this long after the request; 0: no such limit."""
        self.requested = False
        self.deadline_s = deadline_s
        self._readable, self._writable = os.pipe()
        for number in numbers:
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


class HostSignals(StopSignals):
    """Of `reflexd actuate`: whatever arrives, no device is left as it is. SIGQUIT stops it in order, too."""

    def __init__(self) -> None:
        super().__init__()
        self._refused: set[int] = set()
        signal.signal(signal.SIGQUIT, self.request)
        for number in REFUSED:
            signal.signal(number, self._refuse)
        for number in (HELD | {signal.SIGTTIN, signal.SIGTTOU}) - {signal.SIGQUIT, *REFUSED}:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)

    def _refuse(self, number: int, _: object) -> None:
        self._refused.add(number)

    def wait(self, seconds: float, /) -> bool:
        """As StopSignals.wait; logs what was refused meanwhile."""
        requested = super().wait(seconds)
        while self._refused:
            log.warning(REFUSED[signal.Signals(self._refused.pop())])
        return requested

    def finish(self) -> None:
        """The process ends: a late signal does not change its exit code. Python would set its handlers to default."""
        for number in (*STOPS, signal.SIGQUIT, *REFUSED):
            signal.signal(number, signal.SIG_IGN)


class LoopSignals:
    """Of a process with an event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, stop: Callable[[], object], reload: Callable[[], object]
    ) -> None:
        """stop: called in the loop at SIGINT, SIGTERM, SIGQUIT; reload: at SIGHUP, also at one that was held back."""
        self.loop = loop
        for number in STOPS:
            loop.add_signal_handler(number, stop)
        loop.add_signal_handler(signal.SIGQUIT, stop)
        # Not the loop's: it sets the default when it closes, and a late SIGHUP would end the process.
        signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(reload))
        for number in HELD - {signal.SIGHUP, signal.SIGQUIT}:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)

    def finish(self) -> None:
        """The process ends: a late signal does not change its exit code."""
        for number in (*STOPS, signal.SIGQUIT):
            self.loop.remove_signal_handler(number)
        for number in (*STOPS, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


def block() -> None:
    """In a thread beside the main one: no signal interrupts a driver's system call."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD | set(STOPS))
