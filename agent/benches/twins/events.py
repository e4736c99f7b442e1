"""When the next event is, on a page of memory that the bench writes and the sensors of both boxes read."""

from __future__ import annotations

import mmap
from pathlib import Path

START, END = 0, 1
SIZE = mmap.PAGESIZE


class Events:
    """Times are of this machine's own clock, whatever clock a box has."""

    def __init__(self, path: Path, create: bool = False) -> None:
        """Raises OSError, ValueError where it is no such page."""
        if create:
            path.write_bytes(bytes(SIZE))
        with open(path, "r+b") as file:
            self.words = memoryview(mmap.mmap(file.fileno(), SIZE)).cast("q")

    def announce(self, start: int, end: int) -> None:
        """The event after the one that has ended. The start first: with the old one, the new end would be an event."""
        self.words[START] = start
        self.words[END] = end

    def active(self, now: int) -> bool:
        return self.words[START] <= now < self.words[END]
