"""The newest evidence of a lane in shared memory, for the other boxes of its site: one slot, replaced each time.

The lane writes whole and never waits. A sum over the slot shows a reader that it met a write in progress, on processors
that reorder stores, too. What has changed wakes the site's link; the rest it reads when it sends again.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from agent.box.mapped import inode_of, new_file
from agent.data import Evidence

MAGIC = b"rfxevid\x01"
SLOT_AT = 16
SUM = struct.Struct("=I")  # of all that follows in the slot
SUMMED = struct.Struct("=iqQ")  # bytes of the findings, t_capture, number of the inference
FOUND_AT = SUM.size + SUMMED.size
SIZE = 4096
MAX_FOUND = 32
TRIES = 3
NOTICED = 0.05  # a score that changes by this is a change; the site sends again soon anyway
SUFFIX, WAKE = ".evidence", "site.wake"


class Newest(NamedTuple):
    """found: (label, score, box or None, mark) of each finding; the best where there were more than fit."""

    number: int
    t_capture: int
    found: list[Any]


class EvidenceTape:
    """The slot of one lane, and its only writer."""

    def __init__(self, path: Path, wake: Path) -> None:
        """path: of the slot. wake: of the pipe that the site's link waits at. Raises OSError."""
        self.path = path
        self.memory = new_file(path, SIZE)
        self.memory[: len(MAGIC)] = MAGIC
        self._wake = open_wake(wake)
        self._pack = msgpack.Packer().pack
        self._number = 0
        self._last: list[tuple[str, float]] = []

    def write(self, t_capture: int, evidence: Sequence[Evidence]) -> None:
        """Of one inference, also of one without evidence."""
        self._number += 1
        self._put(t_capture, evidence if len(evidence) <= MAX_FOUND else _best(evidence, MAX_FOUND))
        if self._changed(evidence):
            with suppress(BlockingIOError):  # full: the link has been woken already, or does not run
                os.write(self._wake, b"\0")

    def _put(self, t_capture: int, evidence: Sequence[Evidence]) -> None:
        packed = self._pack([(item.label, item.score, item.box, item.mark) for item in evidence])
        if len(packed) > SIZE - SLOT_AT - FOUND_AT:
            self._put(t_capture, _best(evidence, len(evidence) // 2))
            return
        summed = SUMMED.pack(len(packed), t_capture, self._number) + packed
        self.memory[SLOT_AT : SLOT_AT + SUM.size + len(summed)] = SUM.pack(zlib.crc32(summed)) + summed

    def _changed(self, evidence: Sequence[Evidence]) -> bool:
        last = self._last
        if len(last) == len(evidence):
            for item, (label, score) in zip(evidence, last):
                if item.label != label or not -NOTICED < item.score - score < NOTICED:
                    break
            else:
                return False
        self._last = [(item.label, item.score) for item in evidence]
        return True

    def close(self) -> None:
        """The lane ends: its evidence does not stay behind."""
        self.memory.close()
        os.close(self._wake)
        self.path.unlink(missing_ok=True)


class EvidenceReader:
    """The reading end of a lane's slot, which may not be there yet, or be made again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._memory: mmap.mmap | None = None
        self._inode = 0

    def read(self) -> Newest | None:
        """None where the lane has not inferred yet. A write in progress takes microseconds: it is read again."""
        if self._memory is None or self._memory[: len(MAGIC)] != MAGIC:
            return None
        slots = (self._memory[SLOT_AT:] for _ in range(TRIES))
        return next(filter(None, map(self._whole, slots)), None)

    def _whole(self, slot: bytes) -> Newest | None:
        """None of one that was read while it was written."""
        (check,), (length, t_capture, number) = SUM.unpack_from(slot), SUMMED.unpack_from(slot, SUM.size)
        end = FOUND_AT + length
        if not number or not 0 <= length <= len(slot) - FOUND_AT or zlib.crc32(slot[SUM.size : end]) != check:
            return None
        return Newest(number, t_capture, msgpack.unpackb(slot[FOUND_AT:end]))

    def refresh(self) -> None:
        """Open the file that is there now. Often enough, but not each time: it is a system call."""
        inode = inode_of(self._path)
        if inode == self._inode:
            return
        self.close()
        with suppress(OSError, ValueError):
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                self._memory = mmap.mmap(fd, SIZE, prot=mmap.PROT_READ)  # ValueError of a smaller file
                self._inode = inode
            finally:
                os.close(fd)

    def close(self) -> None:
        if self._memory:
            self._memory.close()
        self._memory, self._inode = None, 0


def open_wake(path: Path) -> int:
    """The pipe by which lanes wake the link: both ends open it so, and it outlives either. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)


def _best(evidence: Sequence[Evidence], count: int) -> list[Evidence]:
    return sorted(evidence, key=lambda item: -item.score)[:count]
