"""A TCP server that behaves as badly as a test asks, and one that speaks just enough MQTT 5 to misbehave later."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

ACCEPTED = bytes.fromhex("20 03 00 00 00")  # CONNACK of MQTT 5: no session, success, no properties
SUBSCRIBED = bytes.fromhex("90 04 00 01 00 00")


class Peer:
    """Each connection is handled by `behave` in a thread, and stays open until the test's end or `behave` closes it."""

    def __init__(self, behave: Callable[[socket.socket], None]) -> None:
        self.behave = behave
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections.append(connection)
                threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with suppress(OSError):
            self.behave(connection)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def closes(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.close()


def says(data: bytes) -> Callable[[socket.socket], None]:
    """Answers the first bytes with these, then listens."""

    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(data)
        silent(connection)

    return behave


def after_login(then: Callable[[socket.socket], None], login: bytes = ACCEPTED) -> Callable[[socket.socket], None]:
    """An MQTT broker that lets the client in and then does this."""

    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(login)
        then(connection)

    return behave
