"""Peers of the Modbus drivers whose answers a test chooses: over TCP, and at the far end of a pseudo terminal."""

from __future__ import annotations

import os
import select
import socket
import threading
import tty
from collections.abc import Callable
from contextlib import suppress

from pymodbus.framer import FramerRTU

# From a request to the bytes that are sent for it: without header or checksum where `framed`. None: hang up.
Answer = Callable[[bytes], "bytes | None"]


def confirm(pdu: bytes) -> bytes:
    """The PDU that a device answers to a write: function, address, then the value (5, 6) or the count (15, 16)."""
    return pdu[:5]


def mbap(request: bytes, pdu: bytes, number: int | None = None) -> bytes:
    """A frame of Modbus TCP in answer to a request; number: another transaction id."""
    tid = request[:2] if number is None else number.to_bytes(2, "big")
    return tid + bytes(2) + (len(pdu) + 1).to_bytes(2, "big") + request[6:7] + pdu


def rtu(unit: int, pdu: bytes) -> bytes:
    frame = bytes([unit]) + pdu
    return frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big")


def good(request: bytes) -> bytes:
    """To a write, over TCP."""
    return mbap(request, confirm(request[7:]))


class TcpPeer:
    """requests: those received. resets: connections that ended by a reset. answer: may be replaced at any time.

    newest: the last connection that was made.
    """

    newest: socket.socket

    def __init__(self, answer: Answer = good) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.connections = self.resets = self.closed = 0
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self.newest = connection
        try:
            while header := connection.recv(6, socket.MSG_WAITALL):
                request = header + connection.recv(int.from_bytes(header[4:], "big"), socket.MSG_WAITALL)
                self.requests.append(request)
                answer = self.answer(request)
                if answer is None:
                    break
                connection.sendall(answer)
            self.closed += 1
        except ConnectionResetError:
            self.resets += 1
        finally:
            connection.close()

    def pdus(self) -> list[bytes]:
        return [request[7:] for request in self.requests]

    def stop(self) -> None:
        with suppress(OSError):  # stopped already
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


class SerialPeer:
    """A device at the far end of a pseudo terminal; it answers whole requests of the functions 3, 5, 6, 15."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.far, self.near = os.openpty()
        tty.setraw(self.near)
        self.url = os.ttyname(self.near)
        self.wake, self.ended = os.pipe()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        data = b""
        while self.wake not in (ready := select.select([self.far, self.wake], [], [])[0]):
            data += os.read(ready[0], 1000)
            while len(data) >= (size := 9 + data[6] if data[1:2] == b"\x0f" and len(data) > 6 else 8):
                self.requests.append(data[:size])
                data = data[size:]
                os.write(self.far, self.answer(self.requests[-1]) or b"")

    def send(self, data: bytes) -> None:
        os.write(self.far, data)

    def stop(self) -> None:
        os.write(self.ended, b"x")
        self.thread.join()
        for end in (self.far, self.near, self.wake, self.ended):
            os.close(end)
