"""One request to a Modbus device at a time: pymodbus' synchronous client without its connections.

Those reconnect within a request, measure time on the wall clock, and may take twice their time limit. Here a request
has an absolute end on the monotonic clock, is sent once, and never connects. The connections: `wire.py`.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import termios
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import serial
from pymodbus import FramerType
from pymodbus.client.base import ModbusBaseSyncClient
from pymodbus.pdu import ModbusPDU
from pymodbus.transport import CommParams, CommType

from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from drivers.links.modbus.registers import Mismatch, Table, check_function, confirm, values_of, what

# What the library logs of a fault, at length and each time, a DeviceError says once.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)

CHUNK = 4096
MAX_RECEIVED = 1024  # an answer has 260 bytes at most; in noise beyond this none is looked for
NEVER_S = 3600.0  # the library's own time limit

READ = {
    "coil": (1, ModbusBaseSyncClient.read_coils),
    "discrete": (2, ModbusBaseSyncClient.read_discrete_inputs),
    "holding": (3, ModbusBaseSyncClient.read_holding_registers),
    "input": (4, ModbusBaseSyncClient.read_input_registers),
}
WRITE_ONE = {"coil": (5, ModbusBaseSyncClient.write_coil), "holding": (6, ModbusBaseSyncClient.write_register)}
WRITE = {"coil": (15, ModbusBaseSyncClient.write_coils), "holding": (16, ModbusBaseSyncClient.write_registers)}

Result = TypeVar("Result")


class Link(ModbusBaseSyncClient, ABC):
    """An open connection; used by one thread at a time."""

    numbered: bool  # whether an answer carries the number of its request: over TCP

    def __init__(self, where: str, unit: int, device: socket.socket | serial.Serial) -> None:
        kind, framer = (CommType.TCP, FramerType.SOCKET) if self.numbered else (CommType.SERIAL, FramerType.RTU)
        super().__init__(framer, 0, CommParams(comm_type=kind, timeout_connect=NEVER_S), None, None, None)
        self.where, self.unit = where, unit
        self.fd = device.fileno()
        self.until = self.limit_s = 0.0
        self.received = b""
        self.unanswered = False

    def read(self, table: Table, address: int, count: int, until: float) -> list[int]:
        """Bits or words; until: monotonic, s. Raises DeviceError."""
        function, call = READ[table]
        text = f"{self.where}: read {what(table, address, count)}"

        def values(answer: ModbusPDU) -> list[int]:
            check_function(text, answer, function)
            return values_of(text, answer, table, count)

        return self._ask(lambda: call(self, address, count=count, device_id=self.unit), values, text, until)

    def write(self, table: Table, address: int, values: Sequence[int], until: float, single: bool = True) -> None:
        """Writes bits (coil) or words (holding). single: one value by function 5 or 6, whose answer repeats it.

        Raises DeviceError; the device may then have executed it, or not.
        """
        single = single and len(values) == 1
        function, call = (WRITE_ONE if single else WRITE)[table]
        typed: Any = [bool(value) for value in values] if table == "coil" else list(values)
        text = f"{self.where}: write {what(table, address, len(values))}"

        def confirmed(answer: ModbusPDU) -> None:
            check_function(text, answer, function)
            confirm(text, answer, address, values, single)

        self._ask(
            lambda: call(self, address, typed[0] if single else typed, device_id=self.unit), confirmed, text, until
        )

    def _ask(
        self, send: Callable[[], ModbusPDU], check: Callable[[ModbusPDU], Result], text: str, until: float
    ) -> Result:
        """One request and its checked answer."""
        self.until, self.limit_s, self.received = until, until - time.monotonic(), b""
        if self.fd < 0:
            raise DeviceMissing(f"{self.where}: not connected")
        self.unanswered = True
        try:
            answer = send()
            result = check(answer)
        except DeviceError as error:
            self.unanswered = isinstance(error, (DeviceMissing, DeviceTimeout, Mismatch))
            if isinstance(error, DeviceMissing):
                self.close()
            elif self.unanswered:
                self.abandon()
            raise
        except Exception as error:  # the library's, also those of its decoders on invalid bytes; not a bug of ours
            self.abandon()
            raise self._no_answer(text) from error
        self.unanswered = False
        return result

    def _no_answer(self, text: str) -> DeviceError:
        if self.received:
            shown = self.received[:24].hex(" ") + (" ..." if len(self.received) > 24 else "")
            return DeviceFault(f"{text}: what came is no answer to it: {shown}")
        return DeviceTimeout(f"{text}: no answer for {1e3 * self.limit_s:.0f} ms: unit id, power and cable?")

    def connect(self) -> bool:
        """The library calls it before each request: it never connects."""
        return self.fd >= 0

    def send(self, request: bytes, addr: object = None) -> int:
        """All of a request, or DeviceError. What came before it is no answer to it."""
        self.discard_input()
        left = request
        while left:
            if not self._ready(select.POLLOUT):
                raise DeviceTimeout(f"{self.where}: accepts no bytes for {1e3 * self.limit_s:.0f} ms")
            left = left[self._call(os.write, left) :]
        return len(request)

    def recv(self, size: int | None) -> bytes:
        """What has come, after waiting for it; b"" at the end of the time, which ends the request."""
        if len(self.received) > MAX_RECEIVED or not self._ready(select.POLLIN):
            return b""
        data: bytes = self._call(os.read, CHUNK)
        if not data:
            raise DeviceMissing(f"{self.where}: has closed the connection, or is unplugged")
        self.received += data
        return data

    def _ready(self, event: int) -> bool:
        left_s = self.until - time.monotonic()
        poller = select.poll()
        poller.register(self.fd, event)
        return left_s > 0 and bool(poller.poll(1e3 * left_s))  # a peer that never stops sending does not extend it

    def _call(self, call: Callable[[int, Any], Any], argument: object) -> Any:
        try:
            return call(self.fd, argument)
        except BlockingIOError:
            raise
        except (OSError, termios.error) as error:
            raise DeviceMissing(f"{self.where}: gone, {os.strerror(error.args[0])}") from error

    @abstractmethod
    def discard_input(self) -> None:
        """Drops what has come so far."""

    @abstractmethod
    def abandon(self) -> None:
        """After a request without its answer: what this computer has not sent yet is never sent."""

    @abstractmethod
    def close(self) -> None:
        """Never raises; harmless when closed."""
