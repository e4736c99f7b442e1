"""What the OPC UA drivers are tested against beside a real server: peers that are none, and damaged lines."""

from __future__ import annotations

import random
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from drivers.actuator.opcua import Driver, Options
from tests.waiting import until

BELT = "ns=2;s=Belt."


def verbs(**options):
    return {
        "verbs": {
            "run": {"writes": [write("Run", True, "Boolean"), write("Speed", 1.1, "Float")]},
            "stop": {"writes": [write("Run", False, "Boolean"), write("Speed", 0, "Float")]},
        },
        "safe": "stop",
        "timeout_ms": 5000,
        "open_ms": 10_000,
    } | options


def write(name, value, kind):
    return {"node": BELT + name, "value": value, "type": kind}


def made(url, **options):
    return Driver(Options.model_validate({"url": url, "security": "none"} | verbs(**options)), "belt")


def no_threads():
    until(
        lambda: not [each for each in threading.enumerate() if each.name.startswith("opcua")], "no thread of a session"
    )


@contextmanager
def peer(*answers: bytes, end: bool = False) -> Iterator[str]:
    """The URL of a peer: each thing received is answered with the next of these bytes, then with silence.

    end: then it closes the connection instead.
    """
    stop = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            for answer in answers:
                connection.recv(65_536)
                connection.sendall(answer)
            if not end:
                stop.wait()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"opc.tcp://127.0.0.1:{listener.getsockname()[1]}"
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


class Line:
    """A proxy to a server. seed: from the first byte on, what the server sends is damaged: bits, cuts, repetitions."""

    def __init__(self, port: int) -> None:
        self.seed: int | None = None
        self.target = ("127.0.0.1", port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"opc.tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                threading.Thread(target=self._forward, args=(near, self.seed), daemon=True).start()

    def _forward(self, near: socket.socket, seed: int | None) -> None:
        chance = random.Random(seed)
        with near, suppress(OSError), socket.create_connection(self.target) as far:
            while True:
                for source in select.select([near, far], [], [])[0]:
                    data = source.recv(65_536)
                    if not data:
                        return
                    other = far if source is near else near
                    other.sendall(data if source is near or seed is None else damaged(data, chance))

    def close(self) -> None:
        self.listener.close()


def damaged(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    kind = chance.randrange(4)
    if kind == 0:
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == 1:
        del changed[chance.randrange(len(data)) :]
    elif kind == 2:
        at = chance.randrange(len(data))
        changed[at : at + 4] = chance.randbytes(4)
    return bytes(changed)
