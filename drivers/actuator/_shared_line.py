"""The serial line of a relay board, shared by the actuators of one process that each switch other relays of it."""

from __future__ import annotations

import os
import termios
import threading
from contextlib import suppress
from weakref import WeakValueDictionary

import serial

from drivers.base import DeviceFault, DeviceMissing
from drivers.sensor.serial import open_port


class SharedLine:
    """One board. lock: held by the actuator that sends.

    port: None while no actuator uses it. relays: those of each user. uncertain: the board may have received half a
    frame. failed: the next user that joins opens the port again.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.port: serial.Serial | None = None
        self.relays: dict[object, frozenset[int]] = {}
        self.uncertain = self.failed = False

    def join(self, user: object, relays: frozenset[int], url: str, baud: int, write_timeout_s: float) -> None:
        """Raises DeviceMissing, DeviceFault."""
        with self.lock:
            taken = relays & frozenset().union(*self.relays.values())
            if taken:
                raise DeviceMissing(f"{url}: busy, another actuator switches relay {min(taken)}")
            if self.port is not None and self.port.baudrate != baud:
                raise DeviceFault(f"{url}: another actuator uses this board at {self.port.baudrate} baud, not {baud}")
            if self.port is None or self.failed:
                self._close()
                self.port = open_port(url, baud, write_timeout_s=write_timeout_s)
            self.failed = False
            self.relays[user] = relays

    def leave(self, user: object) -> None:
        """The last user closes the port. Harmless for one that has not joined."""
        with self.lock:
            if self.relays.pop(user, None) is not None and not self.relays:
                self._close()

    def _close(self) -> None:
        port, self.port = self.port, None
        if port is not None:
            if self.uncertain:  # of what was accepted and has left this machine, the line may still hold some
                discard(port)
            with suppress(OSError):  # a port that is gone cannot be closed properly either
                port.close()


_lines: WeakValueDictionary[str, SharedLine] = WeakValueDictionary()  # each lives as long as a driver of its board


def line_of(url: str) -> SharedLine:
    """The same line for every name of a device."""
    return _lines.setdefault(url if "://" in url else os.path.realpath(url), SharedLine())


def discard(port: serial.Serial) -> None:
    """Drops unsent bytes: a late "run" after a "stop" is dangerous, and close would wait 30 s for them."""
    with suppress(OSError, termios.error):
        port.reset_output_buffer()
