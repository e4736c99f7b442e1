"""Every decision of a lane in shared memory, apart from its samples, which come so much faster.

The tape of samples holds some seconds, this one at least half a minute of a decision a millisecond; so a recorder that
was away that long misses none. It outlives its lane and its daemon: the next ones continue it.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
from collections.abc import Sequence
from pathlib import Path

import msgpack

from agent.box.mapped import new_file
from agent.data import Decision
from agent.rules.fusion import explain
from agent.tapes.format import (
    COUNTS,
    COUNTS_AT,
    DECISION_HEADER,
    DECISION_MAGIC,
    DECISION_SIZE,
    DECISION_TOP,
    GENERATION_AT,
    MARK_AND_LENGTH,
    MAX_DECISIONS,
    MAX_EXPLANATION,
    RECORD,
    RING,
    DecisionTop,
    whole,
)


class DecisionTape:
    """The ring of one lane, and its only writer."""

    def __init__(self, path: Path) -> None:
        """Continues the file where it is one of this version. Raises OSError where none can be made."""
        self.memory = _existing(path) or _new(path)
        top = DecisionTop(*DECISION_TOP.unpack_from(self.memory))
        self.generation = top.generation + 1
        self._head, self._oldest, self._decisions = top.head, top.oldest, top.decisions
        struct.pack_into("=q", self.memory, GENERATION_AT, self.generation)

    def write(
        self,
        slot: int,
        order: int,
        sequence: int,
        t_capture: int,
        decisions: Sequence[Decision],
        dropped: Sequence[Decision],
    ) -> None:
        """slot: where the sample that led to the decisions goes on its tape; call this before that is written."""
        packed = _packed(decisions, dropped)
        at, length = DECISION_HEADER + self._head % RING, RECORD.size + len(packed)
        end = self._head + length
        if self._oldest < end - RING:
            self._release(end - RING)
        record = self._head + 1, length, self._decisions, self.generation, slot, order, sequence, t_capture
        RECORD.pack_into(self.memory, at, *record)
        self.memory[at + RECORD.size : at + length] = packed
        self._head, self._decisions = end, self._decisions + len(decisions)
        self._publish()

    def _release(self, until: int) -> None:
        """Drop the oldest records; published before they are overwritten, so that their reader skips them."""
        while self._oldest < until:
            mark, length = MARK_AND_LENGTH.unpack_from(self.memory, DECISION_HEADER + self._oldest % RING)
            if not whole(self._oldest, mark, length):  # another process wrote into the file
                self._oldest = self._head
                break
            self._oldest += length
        self._publish()

    def _publish(self) -> None:
        COUNTS.pack_into(self.memory, COUNTS_AT, self._head, self._oldest, self._decisions)

    def close(self) -> None:
        self.memory.close()


def _packed(decisions: Sequence[Decision], dropped: Sequence[Decision]) -> bytes:
    """Of each number, rule, actuator, verb, whether it was dropped, and explanation, as MessagePack."""
    rows = [(d.number, d.rule, d.actuator, d.verb, d in dropped, explain(d)[:MAX_EXPLANATION]) for d in decisions]
    packed = bytes(msgpack.packb(rows))
    return packed if len(packed) <= MAX_DECISIONS else bytes(msgpack.packb([(*row[:5], "") for row in rows]))


def _existing(path: Path) -> mmap.mmap | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(fd).st_size != DECISION_SIZE or os.fstat(fd).st_uid != os.geteuid():
            return None
        memory = mmap.mmap(fd, DECISION_SIZE, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    finally:
        os.close(fd)
    return memory if DecisionTop(*DECISION_TOP.unpack_from(memory)).valid else None


def _new(path: Path) -> mmap.mmap:
    memory = new_file(path, DECISION_SIZE)
    DECISION_TOP.pack_into(memory, 0, DECISION_MAGIC, secrets.randbits(62), 0, 0, 0, 0)
    return memory
