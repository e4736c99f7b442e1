"""A lock that ends with its process, also by kill -9, and outlives its file."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import struct
import time
from pathlib import Path

from agent.box import folders
from agent.errors import ConfigError, Pending

_CREDENTIALS = struct.Struct("=iII")  # process, user, group

WAIT_STEP_S = 0.02


class lock:
    """Held from construction to `release`. Raises ConfigError where another process holds it."""

    def __init__(self, path: Path, taken: str, wait_s: float = 0.0) -> None:
        """taken: the message in that case. wait_s: how long to wait for a process that ends."""
        self._file = _open(path)
        self._name: socket.socket | None = None
        end = time.monotonic() + wait_s
        while not self._taken(path):
            if time.monotonic() >= end:
                self.release()
                raise ConfigError([Pending(taken)])
            time.sleep(WAIT_STEP_S)

    def _taken(self, path: Path) -> bool:
        """By this process, now."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._name = _bind(path)
        except BlockingIOError:
            return False
        return True

    def filenos(self) -> list[int]:
        """A process that has these descriptors, too, holds the lock with us, also where its file is deleted."""
        return [self._file, *([self._name.fileno()] if self._name else [])]

    def release(self) -> None:
        """Once or more often."""
        fd, self._file = self._file, -1
        if fd >= 0:
            os.close(fd)
        if self._name:
            self._name.close()


def host_lock(name: str, endpoint: str, run_dir: Path) -> Path:
    """The lock file that an actuator's host holds, beside its socket or where that would be."""
    path = endpoint.removeprefix("ipc://")
    return Path(f"{path}.lock") if endpoint.startswith("ipc://") and path[:1] != "@" else run_dir / f"{name}.sock.lock"


def _open(path: Path) -> int:
    """Raises ConfigError."""
    try:
        folders.make(path.parent)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    except OSError as error:
        advice = "set run_dir to a folder that this user may write"
        if error.errno == errno.ELOOP:
            advice = "it is a link, through which another user's file would be written: remove it"
        raise ConfigError([f"{error.filename or path}: {error.strerror}: {advice}"]) from error


def _bind(path: Path) -> socket.socket | None:
    """A name in the kernel, which stays where somebody deletes the file: a new file could be locked a second time.

    None where a process that is none of ours has the name, to keep us from starting. Raises BlockingIOError.
    """
    real = Path(os.path.realpath(path.parent), path.name)  # /var/run is /run
    name = "\0reflexd " + hashlib.sha256(os.fsencode(real)).hexdigest()
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        unix.bind(name)
        unix.listen(1024)
        return unix
    except OSError:
        unix.close()
    if _is_ours(name):
        raise BlockingIOError
    return None


def _is_ours(name: str) -> bool:
    """Its owner runs as this user, in this container: in another one the same path is another file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as unix:
        try:
            unix.connect(name)
        except BlockingIOError:
            return True  # asked a thousand times
        except OSError:
            return False  # it has ended
        raw = unix.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(raw)
    return process != 0 and user in (0, os.geteuid())
