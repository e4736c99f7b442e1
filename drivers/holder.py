"""Which other process has a device, for messages; and a claim for devices that the kernel lends to several at once."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from drivers.base import DeviceMissing
from drivers.identity import has_other_nodes, identity

ANOTHER = "another program"
AGAIN_S = 10.0  # to search takes tens of ms, and a busy device is tried several times a second
QUEUE = 1024
CREDENTIALS = struct.Struct("=iII")  # process, user, group: SO_PEERCRED of unix(7)

_searched: dict[str, tuple[float, str]] = {}  # by device: when, and what was found


def holder(path: str | os.PathLike[str]) -> str:
    """The process that has this device open, by name and number; of other users only root sees that."""
    name, now = os.fspath(path), time.monotonic()
    if now - _searched.get(name, (-AGAIN_S, ""))[0] >= AGAIN_S:
        _, pid = max(_openers(name), default=(False, 0))
        _searched[name] = now, named(pid) if pid else ANOTHER
    return _searched[name][1]


def named(pid: int) -> str:
    """Not by its arguments, as a password may be among them."""
    try:
        return f"'{Path(f'/proc/{pid}/comm').read_text(errors='replace').strip()}', pid {pid},"
    except OSError:
        return ANOTHER


def _openers(path: str) -> Iterator[tuple[bool, int]]:
    """(has locked it, process), of the same device under any name, and in a container with nodes of its own."""
    try:
        device = os.stat(path)
    except OSError:
        return
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError, ValueError):
            opened, pid = entry.stat(), int(entry.parts[2])
            if pid != os.getpid() and _same(opened, device):
                yield "FLOCK" in Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text(), pid


def _same(opened: os.stat_result, device: os.stat_result) -> bool:
    if stat.S_ISCHR(device.st_mode):
        return stat.S_ISCHR(opened.st_mode) and opened.st_rdev == device.st_rdev
    return os.path.samestat(opened, device)


class Claim:
    """Names that one process of this user holds at a time, until `release` or its end, also by SIGKILL.

    They are names of Unix sockets, which need no folder that all may write. A name that a process of another user has
    taken, maybe to keep us from moving anything, counts for nothing; root's counts.
    """

    def __init__(self, names: list[str], busy: str) -> None:
        """busy: what the message begins with. Raises DeviceMissing where another process, or another claim, has one."""
        self._sockets: list[socket.socket] = []
        try:
            for name in names:
                self._take("\0reflexd device " + hashlib.sha256(name.encode()).hexdigest(), busy)
        except DeviceMissing:
            self.release()
            raise

    def _take(self, name: str, busy: str) -> None:
        if self._bind(name):
            return
        try:
            pid, user = _owner(name)
        except BlockingIOError:  # asked a thousand times, each of which waits there
            raise DeviceMissing(f"{busy}: {ANOTHER} has it") from None
        if pid and user in (0, os.geteuid()):
            raise DeviceMissing(f"{busy}: {'this process' if pid == os.getpid() else named(pid)} has it")
        if not pid:  # it has ended in between
            self._bind(name)

    def _bind(self, name: str) -> bool:
        claimed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            claimed.bind(name)
            claimed.listen(QUEUE)
        except OSError:
            claimed.close()
            return False
        self._sockets.append(claimed)
        return True

    def release(self) -> None:
        """Once or more often."""
        while self._sockets:
            self._sockets.pop().close()


def claim_device(path: str) -> Claim:
    """For a device that the kernel lends to several at once, under whatever name. Raises DeviceMissing."""
    return Claim([identity(path)] if has_other_nodes(path) else [], f"{path}: busy, under this or another name")


def _owner(name: str) -> tuple[int, int]:
    """(process, user) of the one that listens; 0, 0 where it has ended meanwhile. Raises BlockingIOError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as asking:
        try:
            asking.connect(name)
        except ConnectionRefusedError:
            return 0, 0
        pid, user, _ = CREDENTIALS.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
        return pid, user
