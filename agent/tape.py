"""Samples and decisions of a lane, in shared memory for the recorder: written without waiting, overwritten when not read.

A tape is a ring of slots in a file of run_dir. A slot holds a sample as the lane took it (readings, or the engine's outputs,
and its input where pictures may be kept) with the evidence and the decisions that followed, so that `reflexd replay` can compute
them again.
"""

from __future__ import annotations

import json
import logging
import mmap
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import numpy as np

from agent.backends.base import Engine
from agent.data import Array, Decision, Evidence, Sample
from agent.ledger import new_file
from agent.rules.fusion import explain

log = logging.getLogger("reflexd")

MAGIC = b"rfxtape\x02"
HEADER = 16384
HEADER_AT = 64
TOP = struct.Struct("=8sqqqq")  # magic, bytes of a slot, slots, head, started
HEAD_AT = 24
# number + 1, order, sequence, t_capture; skipped, flags, frame (height, width), region of it (left, top, width, height),
# bytes of body and note
SLOT = struct.Struct("=qqqqiiiiiiiiii")
# the sample does not follow on the one before; the readings go on in the next slot; an inference was due
DISCONTINUITY, MORE, INFERRED = 1, 2, 4
REFINED, REFINE_SKIPPED = 8, 16  # the refining model ran; it had no time to
READINGS = 16  # rows in a slot
NOTE = 1024  # bytes
MANY, FEW, LARGE = 4096, 64, 8192  # slots of small and of large bodies, and where large begins


class TapeHeader(NamedTuple):
    """What the reader must know about a lane's tape. outputs, inputs: (dtype, shape) of each tensor; channels of readings."""

    lane: str
    channels: list[str]
    outputs: list[tuple[str, list[int]]]
    inputs: list[tuple[str, list[int]]]


class Tape:
    """Written by one lane."""

    def __init__(
        self, path: Path, lane: str, engines: Sequence[Engine], channels: Sequence[str], pictures: bool, started: int
    ) -> None:
        """engines: of the first and of the refining model. channels: of a lane that reads readings; none for pictures.

        Raises OSError when the file cannot be made.
        """
        tensors: list[tuple[Callable[[int], Array], int]] = []
        if not channels:
            tensors = [(engine.output, number) for engine in engines for number in range(len(engine.outputs))]
        outputs = len(tensors)
        if pictures and not channels:
            tensors += [(engine.input, number) for engine in engines for number in range(len(engine.inputs))]
        self.tensors = tensors
        shapes = [_described(tensor(number)) for tensor, number in tensors]
        header = TapeHeader(lane, list(channels), shapes[:outputs], shapes[outputs:])
        body = (
            READINGS * 4 * len(channels)
            if channels
            else sum(nbytes(tensor) for tensor in (*header.outputs, *header.inputs))
        )
        self.size = SLOT.size + body + NOTE
        self.slots = FEW if body > LARGE else MANY
        self.memory = new_file(path, HEADER + self.size * self.slots)
        TOP.pack_into(self.memory, 0, MAGIC, self.size, self.slots, 0, started)
        packed = json.dumps(header._asdict()).encode()
        if len(packed) > HEADER - HEADER_AT:
            raise OSError(0, "too many channels or tensors for a tape", str(path))
        self.memory[HEADER_AT : HEADER_AT + len(packed)] = packed
        self.view = memoryview(self.memory)
        self.head = 0

    def write(
        self,
        sample: Sample,
        order: int,
        discontinuity: bool,
        evidence: Sequence[Evidence] | None,
        decisions: Sequence[Decision],
        dropped: Sequence[Decision] = (),
        flags: int = 0,
        region: Sequence[int] = (0, 0, 0, 0),
    ) -> None:
        """evidence: None where no inference was due. order: of this inference among those of all lanes.

        flags: REFINED or REFINE_SKIPPED where a refining model was due. region: of the frame, that the first model got.
        """
        note = b""
        if evidence is not None and (evidence or decisions):
            note = msgpack.packb(
                (
                    [(item.label, item.score, item.box, item.mark) for item in evidence],
                    [(d.number, d.rule, d.actuator, d.verb, d in dropped, explain(d)) for d in decisions],
                )
            )
        flags = (DISCONTINUITY if discontinuity else 0) | (INFERRED | flags if evidence is not None else 0)
        if self.tensors:
            # Sound between two inferences is not kept.
            if evidence is not None or sample.payload.ndim > 1:
                self.put(sample, order, flags, note, None, region)
            return
        rows = sample.payload
        if len(rows) <= READINGS:  # one row, mostly
            self.put(sample, order, flags, note, rows)
            return
        for start in range(0, len(rows), READINGS):
            last = start + READINGS >= len(rows)
            self.put(
                sample,
                order,
                flags if last else MORE | flags & DISCONTINUITY,
                note if last else b"",
                rows[start : start + READINGS],
            )
            flags &= ~DISCONTINUITY

    def put(
        self,
        sample: Sample,
        order: int,
        flags: int,
        note: bytes,
        rows: Array | None,
        region: Sequence[int] = (0, 0, 0, 0),
    ) -> None:
        view, at = self.view, HEADER + (self.head % self.slots) * self.size
        place = at + SLOT.size
        if rows is not None:
            raw = rows.astype(np.float32, copy=False).tobytes()
            view[place : place + len(raw)] = raw
            place += len(raw)
        else:
            for tensor, number in self.tensors:
                value = tensor(number)
                view[place : place + value.nbytes] = value.data.cast("B")
                place += value.nbytes
                del value  # an engine refuses to run while a tensor of it is referenced
        body = place - at - SLOT.size
        if len(note) > NOTE:
            note = b""
        view[place : place + len(note)] = note
        height, width = (*sample.payload.shape, 0)[:2] if self.tensors else (0, 0)
        rest = sample.skipped, flags, height, width, *region, body, len(note)
        SLOT.pack_into(self.memory, at, self.head + 1, order, sample.sequence, sample.t_capture, *rest)
        self.head += 1
        struct.pack_into("=q", self.memory, HEAD_AT, self.head)

    def close(self) -> None:
        self.view.release()
        self.memory.close()


def _described(tensor: Array) -> tuple[str, list[int]]:
    return tensor.dtype.str, list(tensor.shape)


def nbytes(tensor: tuple[str, list[int]]) -> int:
    """tensor: dtype and shape."""
    dtype, shape = tensor
    return int(np.dtype(dtype).itemsize * np.prod(shape))


class TapeSettings(NamedTuple):
    """path: of a lane's tape. pictures: keep the inputs of picture models, too, not only their outputs."""

    path: Path
    pictures: bool

    def make_tape(self, lane: str, engines: Sequence[Engine], channels: Sequence[str]) -> Tape | None:
        """A tape for what this lane's source delivers. A full disk stops the recording, not the lane."""
        try:
            return Tape(self.path, lane, engines, channels, self.pictures, time.time_ns())
        except OSError as error:
            log.warning("lane %s is not recorded: %s", lane, error)
            return None


class Record(NamedTuple):
    """A slot as it was read. body: float32 [k, channels], or the tensors one after the other."""

    order: int
    sequence: int
    t_capture: int
    skipped: int
    flags: int
    frame: tuple[int, int]  # height, width; 0, 0 of readings
    region: tuple[int, int, int, int]  # left, top, width, height
    body: bytes
    evidence: list[Any]
    decisions: list[Any]


class Reader:
    """The other end, in another process."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, ValueError where it is no tape."""
        with open(path, "rb") as file:
            self.memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, self.size, self.slots, _, self.started = TOP.unpack_from(self.memory, 0)
        if magic != MAGIC or len(self.memory) != HEADER + self.size * self.slots:
            raise ValueError(f"{path}: not a tape of this version")
        self.header = TapeHeader(**json.loads(self.memory[HEADER_AT:HEADER].rstrip(b"\0")))
        self.next = 0
        self.settled = 0  # head at the last read
        self.lost = 0

    def read(self) -> Iterator[Record]:
        """What was written before the last call and was not read yet.

        One call later (tens of ms), so that on processors that reorder writes a slot is whole when its number is seen.
        """
        until, self.settled = self.settled, struct.unpack_from("=q", self.memory, HEAD_AT)[0]
        oldest = self.settled - self.slots + 1  # one spare: the lane may be writing over the next
        if self.next < oldest:
            self.lost += oldest - self.next
            self.next = oldest
        while self.next < until:
            record = self.slot(self.next)
            self.next += 1
            if record is None:
                self.lost += 1  # overwritten while it was read
            else:
                yield record

    def slot(self, number: int) -> Record | None:
        at = HEADER + (number % self.slots) * self.size
        raw = self.memory[at : at + self.size]
        mark, order, sequence, t_capture, skipped, flags, height, width, *region, body, note = SLOT.unpack_from(raw, 0)
        if mark != number + 1 or struct.unpack_from("=q", self.memory, at)[0] != mark:
            return None
        evidence, decisions = msgpack.unpackb(raw[SLOT.size + body :][:note]) if note else ([], [])
        left, top, wide, high = region
        return Record(
            order=order,
            sequence=sequence,
            t_capture=t_capture,
            skipped=skipped,
            flags=flags,
            frame=(height, width),
            region=(left, top, wide, high),
            body=raw[SLOT.size :][:body],
            evidence=evidence,
            decisions=decisions,
        )

    def close(self) -> None:
        self.memory.close()
