"""Reads a lane's tape: every record once, in order; those overwritten before they were read are counted as lost."""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from agent.tapes.format import HEAD_AT, HEADER, HEADER_AT, MAGIC, SLOT, TOP, TapeHeader


class Record(NamedTuple):
    """A slot as it was read. body: float32 [k, channels], or the tensors one after the other."""

    slot: int  # counted since the beginning of the tape
    order: int
    sequence: int
    t_capture: int
    skipped: int
    flags: int
    frame: tuple[int, int]  # height, width; 0, 0 of readings
    region: tuple[int, int, int, int]  # left, top, width, height
    body: bytes
    evidence: list[Any]
    decisions: list[Any]  # from the other tape


class TapeReader:
    """The reading end of a lane's tape, in the recorder's process."""

    def __init__(self, path: Path) -> None:
        """Raises OSError; ValueError where the file is not a tape of this version."""
        with open(path, "rb") as file:
            self.memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, self.size, self.slots, _, self.started, self.generation = TOP.unpack_from(self.memory, 0)
        if magic != MAGIC or len(self.memory) != HEADER + self.size * self.slots:
            raise ValueError(f"{path}: not a tape of this version")
        self.header = TapeHeader(**json.loads(self.memory[HEADER_AT:HEADER].rstrip(b"\0")))
        self.next = 0
        self.settled = 0  # head at the last read
        self.lost = 0

    @property
    def head(self) -> int:
        """Slots written."""
        return int(struct.unpack_from("=q", self.memory, HEAD_AT)[0])

    def read(self) -> Iterator[Record]:
        """What was written before the last call and was not read yet.

        One call later (tens of ms), so that on processors that reorder writes a slot is whole when its number is read.
        """
        end, self.settled = self.settled, self.head
        return self._read(end)

    def _read(self, end: int) -> Iterator[Record]:
        oldest = self.settled - self.slots + 1  # one spare: the lane may be writing over the next
        if self.next < oldest:
            self.lost += oldest - self.next
            self.next = oldest
        while self.next < end:
            record = self._record(self.next)
            self.next += 1
            if record is None:
                self.lost += 1  # overwritten while it was read
            else:
                yield record

    def _record(self, number: int) -> Record | None:
        """None where the slot is overwritten by now, or while it is copied."""
        at = HEADER + (number % self.slots) * self.size
        raw = self.memory[at : at + self.size]
        mark, order, sequence, t_capture, skipped, flags, height, width, *region, body, size = SLOT.unpack_from(raw, 0)
        if mark != number + 1 or struct.unpack_from("=q", self.memory, at)[0] != mark:
            return None
        evidence = msgpack.unpackb(raw[SLOT.size + body :][:size]) if size else []
        left, top, wide, high = region
        return Record(
            slot=number,
            order=order,
            sequence=sequence,
            t_capture=t_capture,
            skipped=skipped,
            flags=flags,
            frame=(height, width),
            region=(left, top, wide, high),
            body=raw[SLOT.size :][:body],
            evidence=evidence,
            decisions=[],
        )

    def close(self) -> None:
        self.memory.close()
