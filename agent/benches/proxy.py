"""A TCP proxy on loopback that delays, holds or records what passes; for benches and tests."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from contextlib import suppress

FORWARD, BACK = 0, 1  # from the connecting side to the listening one, and the other way
TURN_S = 0.001


class Proxy:
    """Connections to `port` are passed on to `target`.

    delay_s: of each direction, and held: whether nothing passes; both may change at any time. recorded: (time since
    the first, bytes) of what went forward on the first connection.
    """

    def __init__(self, port: int, target: int) -> None:
        self.target = target
        self.delay_s = [0.0, 0.0]
        self.held = [False, False]
        self.recorded: list[tuple[float, bytes]] = []
        self.started = 0.0
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self.listener.accept()[0]
                self.connections += 1
                try:
                    far = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    near.close()
                    continue
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for origin, to, way in ((near, far, FORWARD), (far, near, BACK)):
                    queue: deque[tuple[float, bytes]] = deque()
                    threading.Thread(target=self._read, args=(origin, queue, way), daemon=True).start()
                    threading.Thread(target=self._write, args=(to, queue, way), daemon=True).start()

    def _read(self, origin: socket.socket, queue: deque[tuple[float, bytes]], way: int) -> None:
        with suppress(OSError):
            while data := origin.recv(1 << 16):
                now = time.monotonic()
                if way == FORWARD and self.connections == 1:
                    self.started = self.started or now
                    self.recorded.append((now - self.started, data))
                queue.append((now, data))
        queue.append((0.0, b""))

    def _write(self, to: socket.socket, queue: deque[tuple[float, bytes]], way: int) -> None:
        with suppress(OSError):
            while True:
                if not queue or self.held[way] or time.monotonic() < queue[0][0] + self.delay_s[way]:
                    time.sleep(TURN_S)
                    continue
                data = queue.popleft()[1]
                if not data:
                    break
                to.sendall(data)
        to.close()


def play_back(recorded: list[tuple[float, bytes]], port: int) -> None:
    """Send a recording again, as fast as it came."""
    with socket.create_connection(("127.0.0.1", port)) as peer, suppress(OSError):
        start = time.monotonic()
        for at, data in recorded:
            time.sleep(max(0.0, at - (time.monotonic() - start)))
            peer.sendall(data)
        time.sleep(0.2)
