"""Which keys may connect to the actuators of this box, and for which box each of them may speak: ZAP, ZeroMQ RFC 27."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

import zmq
from zmq.utils import z85

from agent import keys

log = logging.getLogger("reflexd.actuate")

REFRESH_S = 0.5  # a key that was added or removed counts after this time
POLL_MS = 100
TRANSIENT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EIO)  # say nothing about who is authorized
NAMED = 1024  # refused keys that the log has named
NAMED_A_MINUTE = 16  # a stranger can make a new key for every connection
FIELDS = 6  # of a ZAP request, before the credentials
NOBODY: frozenset[str] = frozenset()

Stamp = tuple[int, int, int, int]


class Own(NamedTuple):
    """Name and public key (Z85) of this box, which may always command its own actuators."""

    node: str
    public: bytes


class AuthorizedKeys:
    """The keys of this box and of a folder with a file NODE.key for each box that may command; read again on a change.

    Only the authenticator's thread calls `refresh`; any thread may call `boxes`.
    """

    def __init__(self, folder: Path | None, own: Own) -> None:
        self.folder = folder
        self.own = own
        self.stamps: dict[str, Stamp] = {}
        self.reported: dict[str, str] = {}  # file or folder: its mistake, as logged
        self.names = self._with_own({})
        self.refresh()

    def boxes(self, key: object) -> frozenset[str]:
        """Names of the boxes that this public key (Z85, text) may speak for; empty for an unknown one."""
        return self.names.get(key, NOBODY) if isinstance(key, str) else NOBODY

    def refresh(self) -> bool:
        """Read the folder where a file has changed. False where nothing has."""
        try:
            stamps = self._stamps()
            if stamps == self.stamps and self.names:
                return False
            self.names, self.stamps = self._with_own(self._read(stamps)), stamps
        except OSError as error:
            log.warning("keys.authorized: %s: %s; the keys read before stay in force", self.folder, error.strerror)
            return False
        return True

    def _stamps(self) -> dict[str, Stamp]:
        """The key files with what changes when they do. Raises OSError only where that says nothing about them."""
        if self.folder is None:
            return {}
        try:
            with os.scandir(self.folder) as entries:
                stamps = {entry.name: _stamp(entry.path) for entry in entries if keys.is_public_file(entry.name)}
        except OSError as error:
            if error.errno in TRANSIENT:
                raise
            self._report(str(self.folder), f"{error.strerror}: only this box may command its actuators")
            return {}
        self.reported.pop(str(self.folder), None)
        return stamps

    def _read(self, stamps: dict[str, Stamp]) -> dict[str, set[str]]:
        """Key: names of its files. A broken file is reported and admits nobody; the others count."""
        names: dict[str, set[str]] = {}
        self.reported = {path: mistake for path, mistake in self.reported.items() if Path(path).name in stamps}
        for name in sorted(stamps):
            path = Path(self.folder or "", name)
            try:
                public, secret = keys.read(path)
                if secret:
                    raise OSError(
                        f"key file {path} holds a secret key, which stays on its box: put its public key here"
                    )
            except OSError as error:
                cause = error.__cause__
                if isinstance(cause, OSError) and cause.errno in TRANSIENT:
                    raise cause from None
                self._report(str(path), f"{error}: its box may not command")
                continue
            self.reported.pop(str(path), None)
            names.setdefault(public.decode(), set()).add(name.removesuffix(keys.SUFFIX))
        return names

    def _with_own(self, names: dict[str, set[str]]) -> dict[str, frozenset[str]]:
        names.setdefault(self.own.public.decode(), set()).add(self.own.node)
        return {key: frozenset(boxes) for key, boxes in names.items()}

    def _report(self, path: str, mistake: str) -> None:
        """Once, until it is another one or the file is good again."""
        if self.reported.get(path) != mistake:
            self.reported[path] = mistake
            log.warning("keys.authorized: %s", mistake if path in mistake else f"{path}: {mistake}")


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0, 0, 0  # a dangling link
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


class Authenticator:
    """Answers ZeroMQ's question about each peer that connects, for all contexts, on a thread of its own."""

    def __init__(self, authorized: AuthorizedKeys) -> None:
        self.authorized = authorized
        self.poller = zmq.Poller()
        self.sockets: list[zmq.Socket[bytes]] = []
        self.named: set[str] = set()
        self.named_since, self.named_lately = 0.0, 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="authenticator", daemon=True)

    def add(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Serve the sockets of a context that require keys; call it before they bind, and before `start`."""
        socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind("inproc://zeromq.zap.01")
        self.poller.register(socket, zmq.POLLIN)
        self.sockets.append(socket)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.stopping.set()
        if self.thread.is_alive():
            self.thread.join()
        for socket in self.sockets:
            socket.close()

    def _run(self) -> None:
        due = time.monotonic() + REFRESH_S
        while not self.stopping.is_set():
            for socket, _ in self.poller.poll(POLL_MS):
                socket.send_multipart(self._answer(socket.recv_multipart()))
            if time.monotonic() >= due:
                due = time.monotonic() + REFRESH_S
                if self.authorized.refresh():
                    self.named.clear()

    def _answer(self, request: list[bytes]) -> list[bytes]:
        """request: version, id, domain, address, identity, mechanism, credentials. The peer's user id is its key."""
        version, number, _, address, _, mechanism = (request + [b""] * FIELDS)[:FIELDS]
        if mechanism == b"CURVE" and len(request) == FIELDS + 1 and len(request[FIELDS]) == 32:
            key = z85.encode(request[FIELDS])
            if self.authorized.boxes(key.decode()):
                return [version, number, b"200", b"OK", key, b""]
            self._name(key.decode(), address.decode(errors="replace"))
        return [version, number, b"400", b"unknown key", b"", b""]

    def _name(self, key: str, address: str) -> None:
        """Log a refused key once: a sender that is refused tries again twice a second."""
        now = time.monotonic()
        if now - self.named_since > 60:
            self.named_since, self.named_lately = now, 0
        if key in self.named or self.named_lately >= NAMED_A_MINUTE:
            return
        if len(self.named) >= NAMED:
            self.named.clear()
        self.named.add(key)
        self.named_lately += 1
        advice = f"to let it in, put its public key file into {self.authorized.folder} as NODE.key"
        log.warning("refused: unknown key %s, from %s: %s", key, address, advice)
