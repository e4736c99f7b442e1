"""Files and folders that only their owner may read: everything that keeps what a sensor delivered, or what follows."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

log = logging.getLogger("reflexd")

FILE, FOLDER = 0o600, 0o700
OTHERS = 0o077  # what group and others may do


def create(path: Path) -> int:
    """A new file, open for reading and writing; its descriptor.

    Never one that exists, nor where a link leads: somebody else may have put it there. Raises OSError.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE)


def output(path: Path) -> int:
    """A file that the user names, empty, for its owner only also where it existed; its descriptor. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        with suppress(OSError):  # somebody else's
            os.fchmod(fd, FILE)
    return fd


def unfinished(path: Path) -> Path:
    """The name of a file until it is whole."""
    return path.with_name(path.name + ".new")


def create_unfinished(path: Path) -> int:
    """As `create`, of `unfinished(path)`; what an ended process left there goes. Raises OSError."""
    unfinished(path).unlink(missing_ok=True)
    return create(unfinished(path))


def write(path: Path, content: bytes, durable: bool = True, mode: int = FILE) -> None:
    """The whole file or nothing, also after a crash; an older one is replaced. Raises OSError.

    durable: also after a power cut, which takes the time of the disk. mode: of the file, whatever the umask.
    """
    with open(create_unfinished(path), "wb") as file:
        if mode != FILE:
            os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    os.replace(unfinished(path), path)


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """What the daemon gives a process beside it, as JSON; makes the folder, too. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, json.dumps(settings, default=str).encode(), durable=False)


def make_folder(folder: Path) -> None:
    """Closed to others also where it existed before; logs what that changed, or why it cannot. Raises OSError."""
    folder.mkdir(mode=FOLDER, parents=True, exist_ok=True)
    close_to_others([folder])


def close_to_others(paths: Iterable[Path]) -> None:
    """Files and folders that others may read are closed; logs those that were open, or cannot be closed."""
    closed = [path for path in paths if _close(path)]
    if closed:
        more = f" and {len(closed) - 1} more" if len(closed) > 1 else ""
        log.warning("%s%s: other users could read what was recorded; now only their owner can", closed[0], more)


def _close(path: Path) -> bool:
    """True where it was open. Not through a link."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # a link, or gone; where it cannot be read it cannot be closed either
    try:
        entry = os.fstat(fd)
        if not entry.st_mode & OTHERS or not (stat.S_ISREG(entry.st_mode) or stat.S_ISDIR(entry.st_mode)):
            return False
        os.fchmod(fd, stat.S_IMODE(entry.st_mode) & ~OTHERS)
        return True
    except OSError as error:
        log.warning("%s: other users can read it, and its mode cannot be changed: %s", path, error.strerror)
        return False
    finally:
        os.close(fd)
