"""The serial line of a relay board, shared by the actuators of one process that each switch other relays of it."""

from __future__ import annotations

import termios
import threading
from contextlib import suppress

import serial

from drivers.base import DeviceFault, DeviceMissing
from drivers.identity import identity
from drivers.sensor.serial import open_port

_registry = threading.Lock()  # for the table of lines and their users, never held while a device is waited for
_lines: dict[str, SharedLine] = {}  # those in use, by the device's own name


class SharedLine:
    """One board, as long as an actuator uses it. lock: held by the actuator that sends.

    port: open once an actuator has joined. relays: those of each user. uncertain: the board may have received half a
    frame. failed: the next user that joins opens the port again.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()
        self.port: serial.Serial | None = None
        self.relays: dict[object, frozenset[int]] = {}
        self.uncertain = self.failed = False

    def open(self, url: str, baud: int, write_timeout_s: float) -> None:
        """Unless it is open already, and works. Raises DeviceMissing, DeviceFault."""
        with self.lock:
            if self.port is not None and self.port.baudrate != baud:
                raise DeviceFault(f"{url}: another actuator uses this board at {self.port.baudrate} baud, not {baud}")
            if self.port is None or self.failed:
                self._close()
                self.port = open_port(url, baud, write_timeout_s=write_timeout_s)
            self.failed = False

    def leave(self, user: object) -> None:
        """The last user closes the port. Harmless for one that has not joined."""
        with _registry:
            last = self.relays.pop(user, None) is not None and not self.relays
            if last:
                del _lines[self.name]
        if last:
            with self.lock:
                self._close()

    def _close(self) -> None:
        port, self.port = self.port, None
        if port is not None:
            if self.uncertain:  # of what was accepted and has left this machine, the line may still hold some
                discard(port)
            with suppress(OSError):  # a port that is gone cannot be closed properly either
                port.close()


def join(user: object, relays: frozenset[int], url: str) -> SharedLine:
    """The line of a board, the same for every name of its device. Raises DeviceMissing where a relay is taken."""
    name = url if "://" in url else identity(url)
    with _registry:
        line = _lines.get(name) or SharedLine(name)
        taken = relays & frozenset().union(*line.relays.values())
        if taken:
            raise DeviceMissing(f"{url}: busy, another actuator switches relay {min(taken)}")
        line.relays[user] = relays
        _lines[name] = line
    return line


def discard(port: serial.Serial) -> None:
    """Drops unsent bytes: a late "run" after a "stop" is dangerous, and close would wait 30 s for them."""
    with suppress(OSError, termios.error):
        port.reset_output_buffer()
