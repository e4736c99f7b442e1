"""A relay between two unix sockets that keeps what passes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


class Tap:
    """A relay between two unix sockets that keeps every byte, for each direction of each connection."""

    def __init__(self, here: Path, there: Path) -> None:
        self.there = there
        self.directions: list[bytearray] = []
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(here))
        self.server.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                near, far = self.server.accept()[0], socket.socket(socket.AF_UNIX)
                far.connect(str(self.there))
                for origin, target in ((near, far), (far, near)):
                    copy = bytearray()
                    self.directions.append(copy)
                    threading.Thread(target=self.forward, args=(origin, target, copy), daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()

    @staticmethod
    def forward(origin: socket.socket, target: socket.socket, copy: bytearray) -> None:
        with suppress(OSError):
            while data := origin.recv(1 << 16):
                copy += data
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def frames(stream: bytes) -> Iterator[bytes]:
    """Bodies of messages after the greeting of 64 bytes (ZMTP 3.1, rfc.zeromq.org/spec/37); a last one may be cut."""
    at = 64
    while at + 2 <= len(stream):
        flags = stream[at]
        wide = 8 if flags & 2 else 1
        size = int.from_bytes(stream[at + 1 : at + 1 + wide], "big")
        body = bytes(stream[at + 1 + wide :][:size])
        at += 1 + wide + size
        if not flags & 4 and len(body) == size:  # else a command of the transport
            yield body
