"""Files that follow on each other in a folder: recordings, or clips of a node, in the order in which they were begun.

The order is that of a counter in the name, which goes on from what is on disk. The clock has no say: it may be wrong at
boot, or was wrong for years.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

from agent.box import private

log = logging.getLogger("reflexd.record")
COUNT = r"(\d{8,18})_"
STAMP = r"\d{8,9}T\d{6}"  # the time at its beginning, by the clock of then; 0.1.0 had only this in the name
RECORDINGS = r"(?:\.\d{3})?\.mcap"
CLIPS = r"-[A-Za-z0-9_.-]{1,32}\.mcap(?:\.sealed)?"


class Series:
    """The recordings or the clips of one node in a folder, among files that are not ours."""

    def __init__(self, folder: Path, node: str, ending: str) -> None:
        """ending: RECORDINGS or CLIPS, what may follow the time in a name."""
        self.folder = folder
        self.node = node
        self._name = re.compile(f"{re.escape(node)}-(?:{COUNT})?{STAMP}{ending}")

    def paths(self) -> list[Path]:
        """Oldest first; those without a counter, by name, before all that have one. Links and folders are not ours."""
        files: list[tuple[int, str, Path]] = []
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    match = self._name.fullmatch(entry.name)
                    if match and entry.is_file(follow_symlinks=False):
                        files.append((int(match[1] or 0), entry.name, self.folder / entry.name))
        except FileNotFoundError:
            pass
        return [path for *_, path in sorted(files)]

    def clean(self) -> None:
        """Delete what a process left behind that died before a file was whole; close the others to other users."""
        for path in self.folder.iterdir():
            if self._is_unfinished(path):
                path.unlink(missing_ok=True)
        private.close_to_others(self.paths())

    def _is_unfinished(self, path: Path) -> bool:
        final = path.with_name(path.name.removesuffix(".new"))
        if not self._name.fullmatch(final.name) or path.is_symlink() or not path.is_file() or is_open(final):
            return False
        return path != final or path.stat().st_size == 0

    def begin(self, wall_ns: int, ending: str) -> tuple[Path, IO[bytes]]:
        """A new file, the newest of all: its path, and the file, which stays ours while it is open. Raises OSError."""
        private.make_folder(self.folder)
        newest = self.paths()[-1:]
        count = max((int(match[1] or 0) for path in newest if (match := self._name.fullmatch(path.name))), default=0)
        while True:
            count += 1
            path = self.folder / f"{self.node}-{count:08d}_{stamp(wall_ns)}{ending}"
            try:
                return path, _locked(private.create(path))
            except FileExistsError:
                continue  # another recorder's, of the same node

    def prune(self, files: int) -> None:
        """Delete the oldest beyond `files`; never one that a recorder is writing."""
        for path in self.paths()[:-files]:
            try:
                if not is_open(path):
                    path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s cannot be deleted: %s", path, error.strerror)


def newest_first(paths: Iterable[Path]) -> list[Path]:
    """Files of any node and kind, by their counters."""
    return sorted((path for path in paths if path.is_file()), key=_order, reverse=True)


def _order(path: Path) -> tuple[int, str]:
    match = re.search(f"-{COUNT}{STAMP}", path.name)
    return int(match[1]) if match else 0, path.name


def stamp(wall_ns: int) -> str:
    """UTC; of a clock that no calendar has, the calendar's end."""
    seconds = min(max(wall_ns // 1_000_000_000, 0), 253_402_300_799)
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))


def _locked(fd: int) -> IO[bytes]:
    """The file; others see that it is being written, until it is closed or its process ends."""
    with suppress(OSError):  # a file system without locks
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return os.fdopen(fd, "wb")


def is_open(path: Path) -> bool:
    """Does a recorder write this file, in this process or another? Raises OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)  # else a file system without locks
    finally:
        os.close(fd)
    return False
