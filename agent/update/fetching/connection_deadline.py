"""Ends a connection whose peer sends a byte now and then: time-outs of a socket only bound single reads."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress


class ConnectionDeadline:
    """Around the reading of an answer; a thread watches."""

    def __init__(self, current: Callable[[], socket.socket | None], seconds: float) -> None:
        """current: its socket; None before it has one."""
        self._current = current
        self._seconds = seconds
        self._changed = threading.Condition()
        self._end: float | None = None
        self._over = self._passed = False

    def __enter__(self) -> ConnectionDeadline:
        self.extend()
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def extend(self) -> None:
        with self._changed:
            self._end = time.monotonic() + self._seconds
            self._changed.notify()

    def suspend(self) -> None:
        """Until `extend`."""
        with self._changed:
            self._end = None

    def check(self) -> None:
        """Raises TimeoutError: where a connection ends after its deadline, its last read looks complete."""
        if self._passed:
            raise TimeoutError

    def __exit__(self, kind: object, *_: object) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
        if kind is not None and kind is not GeneratorExit:
            self.check()

    def _watch(self) -> None:
        with self._changed:
            while not self._over and (self._end is None or self._end > time.monotonic()):
                self._changed.wait(None if self._end is None else self._end - time.monotonic())
            if self._over:
                return
            self._passed = True
        sock = self._current()
        if sock:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
