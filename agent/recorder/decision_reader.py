"""Reads a lane's decision tape: every record once, in order; those overwritten before they were read are counted."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from agent.tapes.format import (
    DECISION_HEADER,
    DECISION_SIZE,
    DECISION_TOP,
    MARK_AND_LENGTH,
    RECORD,
    RING,
    DecisionTop,
    whole,
)


class Decided(NamedTuple):
    """What followed from a sample. offset: of the record. generation, slot: which tape, and where on it."""

    offset: int
    generation: int
    slot: int
    order: int
    sequence: int
    t_capture: int
    decisions: list[Any]


class DecisionReader:
    """The reading end of a decision tape, in the recorder's process."""

    def __init__(self, path: Path) -> None:
        """Raises OSError; ValueError where the file is not a tape of this version."""
        with open(path, "rb") as file:
            self.memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(self.memory) != DECISION_SIZE or not self._top.valid:
            raise ValueError(f"{path}: not a decision tape of this version")
        self.identity = self._top.identity
        self.next = 0  # offset
        self.passed = 0  # decisions read or lost
        self.settled = 0  # head at the last read
        self.lost = 0

    @property
    def _top(self) -> DecisionTop:
        return DecisionTop(*DECISION_TOP.unpack_from(self.memory))

    def begin(self) -> None:
        """With the oldest record that is left: for a reader to whom those before it are not lost."""
        self.next = self._top.oldest
        mark, length = MARK_AND_LENGTH.unpack_from(self.memory, DECISION_HEADER + self.next % RING)
        if whole(self.next, mark, length):
            self.passed = RECORD.unpack_from(self.memory, DECISION_HEADER + self.next % RING)[2]

    def read(self) -> Iterator[Decided]:
        """What was written before the last call and was not read yet; see TapeReader.read."""
        end, self.settled = self.settled, self._top.head
        return self._read(end)

    def _read(self, end: int) -> Iterator[Decided]:
        while self.next < end:
            decided = self._record()
            if decided is None:
                self._skip(end)
            else:
                yield decided

    def _record(self) -> Decided | None:
        """None where it is overwritten by now, or while it is copied, or damaged."""
        at = DECISION_HEADER + self.next % RING
        mark, length = MARK_AND_LENGTH.unpack_from(self.memory, at)
        if self.next < self._top.oldest or not whole(self.next, mark, length):
            return None
        raw = self.memory[at : at + length]
        if self.next < self._top.oldest:
            return None
        _, _, before, generation, slot, order, sequence, t_capture = RECORD.unpack_from(raw)
        try:
            decisions = msgpack.unpackb(raw[RECORD.size :])
        except ValueError:
            return None
        self.lost += before - self.passed
        decided = Decided(self.next, generation, slot, order, sequence, t_capture, decisions)
        self.next, self.passed = self.next + length, before + len(decisions)
        return decided

    def _skip(self, end: int) -> None:
        """To the oldest record that is whole; how many were lost shows there."""
        oldest = self._top.oldest
        if self.next < oldest < end:
            self.next = oldest
            return
        self.next = self.settled = self._top.head
        self.lost += max(0, self._top.decisions - self.passed)
        self.passed = self._top.decisions

    def close(self) -> None:
        self.memory.close()
