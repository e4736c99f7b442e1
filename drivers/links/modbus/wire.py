"""The connections of Modbus: a TCP socket or a serial port, opened and closed so that no request leaves late."""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import termios
import time
from contextlib import suppress
from fcntl import ioctl

import serial

from drivers.base import DeviceMissing
from drivers.links.modbus.link import CHUNK, Link
from drivers.links.modbus.registers import ModbusOptions
from drivers.sensor.serial import open_port

ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close resets the connection and drops what was not sent
ORDERLY = struct.pack("ii", 0, 0)


class TcpLink(Link):
    """Over TCP. The connection is reset, not closed, where a request may be unsent: also by the death of this process.

    A kernel goes on sending what a closed connection still has, for a quarter of an hour: a late "on" after an "off".
    """

    numbered = True

    def __init__(self, where: str, unit: int, device: socket.socket) -> None:
        super().__init__(where, unit, device)
        self.socket: socket.socket | None = device

    def discard_input(self) -> None:
        with suppress(BlockingIOError):
            if not self._call(os.read, CHUNK):
                raise DeviceMissing(f"{self.where}: has closed the connection (its idle time limit?)")

    def abandon(self) -> None:
        """Closes the connection, unless the device has the request and is silent: then the next one must follow it.

        In another connection it could overtake it, and the old one be executed last.
        """
        if self.received or self._unacknowledged():
            self.close()

    def _unacknowledged(self) -> int:
        """Bytes that the other computer's kernel has not confirmed."""
        with suppress(OSError):
            return int.from_bytes(ioctl(self.fd, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        return 1

    def close(self) -> None:
        device, self.socket, self.fd = self.socket, None, -1
        if device is not None:
            with suppress(OSError):
                device.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT if self.unanswered else ORDERLY)
            device.close()


class SerialLink(Link):
    """RTU: frames end by silence, and answers have no number."""

    numbered = False

    def __init__(self, where: str, unit: int, device: serial.Serial) -> None:
        super().__init__(where, unit, device)
        self.port: serial.Serial | None = device
        self.gap_s = frame_gap_s(device.baudrate)
        self.t_last = time.monotonic()
        self.heads: tuple[bytes, ...] = ()  # how an answer begins, and a refusal
        self.begun = False

    def send(self, request: bytes, addr: object = None) -> int:
        time.sleep(max(0.0, min(self.t_last + self.gap_s, self.until) - time.monotonic()))
        unit, function = request[:2]
        self.heads = (request[:2], bytes([unit, function | 0x80]))
        self.begun = False
        return super().send(request)

    def recv(self, size: int | None) -> bytes:
        """From the first bytes of an answer on: a line that changes its direction often has noise before them.

        The library would take that for the beginning of a frame.
        """
        while data := super().recv(size):
            self.t_last = time.monotonic()
            if self.begun:
                return data
            starts = [at for at in map(self.received.find, self.heads) if at >= 0]
            if starts:
                self.begun = True
                return self.received[min(starts) :]
        return b""

    def discard_input(self) -> None:
        self._call(termios.tcflush, termios.TCIFLUSH)

    def discard_until(self, until: float) -> None:
        """Reads and drops all that comes until then, monotonic s. Raises DeviceMissing."""
        self.until = until
        while self._ready(select.POLLIN):
            if not self._call(os.read, CHUNK):
                raise DeviceMissing(f"{self.where}: unplugged")

    def abandon(self) -> None:
        self._drop_unsent()

    def _drop_unsent(self) -> None:
        with suppress(OSError, termios.error):
            termios.tcflush(self.fd, termios.TCOFLUSH)

    def close(self) -> None:
        port, self.port = self.port, None
        if port is not None:
            self._drop_unsent()  # otherwise close waits up to 30 s for them
            with suppress(OSError, termios.error):
                port.close()
        self.fd = -1


def frame_gap_s(baud: int) -> float:
    """Silence between two frames: 3.5 characters of 11 bits, above 19200 baud 1.75 ms.

    MODBUS over Serial Line V1.02, 2.5.1.1.
    """
    return 0.00175 if baud > 19_200 else 3.5 * 11 / baud


def connect(options: ModbusOptions, limit_s: float) -> Link:
    """An open connection. Raises DeviceMissing, DeviceFault."""
    if options.url:
        port = open_port(options.url, options.baud, options.parity)
        port.stopbits = options.stop_bits
        return SerialLink(options.where, options.unit, port)
    return TcpLink(options.where, options.unit, _open_tcp(options, limit_s))


def _open_tcp(options: ModbusOptions, limit_s: float) -> socket.socket:
    device = socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        device.settimeout(limit_s)
        device.connect((options.host, options.port))
        device.setblocking(False)
        device.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        device.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    except OSError as error:
        device.close()
        raise _no_connection(options.where, error, limit_s) from error
    return device


def _no_connection(where: str, error: OSError, limit_s: float) -> DeviceMissing:
    if isinstance(error, ConnectionRefusedError):
        return DeviceMissing(f"{where}: refuses the connection: is Modbus TCP on, and this its port?")
    if isinstance(error, TimeoutError):
        return DeviceMissing(f"{where}: no connection within {1e3 * limit_s:.0f} ms: address, power and cable?")
    return DeviceMissing(f"{where}: no connection: {error.strerror}")
