"""Samples of a lane in shared memory, for the recorder: written without waiting, overwritten when full.

A tape is a ring of slots in a file of run_dir. A slot holds a sample as the lane accepted it (readings, or the engine's
outputs, and its input where pictures may be kept) with the evidence that followed, so that `reflexd replay` can compute
it again. The decisions are on a tape of their own (decision_tape.py).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import msgpack
import numpy as np

from agent.backends.base import Engine, Tensor
from agent.box.mapped import new_file
from agent.data import Array, Decision, Evidence, Sample
from agent.tapes.decision_tape import DecisionTape
from agent.tapes.format import (
    DISCONTINUITY,
    FEW,
    HEAD_AT,
    HEADER,
    HEADER_AT,
    INFERRED,
    LARGE,
    MAGIC,
    MANY,
    MAX_EVIDENCE,
    MORE,
    READINGS,
    SLOT,
    TOP,
    VARYING,
    VARYING_SIZE,
    WHOLE,
    TapeHeader,
    nbytes,
)

Held = tuple[Callable[[int], Array], int, Tensor]  # how to get a tensor of an engine, its number, what it is


class Tape:
    """The ring of one lane, and its only writer."""

    def __init__(
        self,
        path: Path,
        lane: str,
        engines: Sequence[Engine],
        channels: Sequence[str],
        pictures: bool,
        started: int,
        rate_hz: float = 0.0,
    ) -> None:
        """engines: of the first and of the refining model. channels: of readings; empty for pictures and sound.
        rate_hz: of readings.

        Raises OSError where the file cannot be made.
        """
        self.channels, self.rate_hz, self._pictures = tuple(channels), rate_hz, pictures
        tensors, outputs = self._chosen(engines)
        shapes = self._set_tensors(tensors)
        header = TapeHeader(lane, list(channels), shapes[:outputs], shapes[outputs:], rate_hz)
        body = READINGS * 4 * len(channels) if channels else sum(map(nbytes, shapes))
        self.size = SLOT.size + body + MAX_EVIDENCE
        self.slots = FEW if body > LARGE else MANY
        packed = json.dumps(header._asdict()).encode()
        if len(packed) > HEADER - HEADER_AT:
            raise OSError(0, "too many channels or tensors for a tape", str(path))
        self.decisions = DecisionTape(path.with_suffix(".decisions"))
        self.memory = new_file(path, HEADER + self.size * self.slots)
        TOP.pack_into(self.memory, 0, MAGIC, self.size, self.slots, 0, started, self.decisions.generation)
        self.memory[HEADER_AT : HEADER_AT + len(packed)] = packed
        self.view = memoryview(self.memory)
        self.head = 0

    def _chosen(self, engines: Sequence[Engine]) -> tuple[list[Held], int]:
        """What a slot holds of pictures and sound: how to get each tensor; and how many of them are outputs."""
        if self.channels:
            return [], 0
        tensors: list[Held] = [(engine.output, *output) for engine in engines for output in enumerate(engine.outputs)]
        outputs = len(tensors)
        if self._pictures:
            inputs = [(engine.input, *each) for engine in engines for each in enumerate(engine.inputs)]
            tensors += [(get, number, tensor._replace(unknown=())) for get, number, tensor in inputs]
        return tensors, outputs

    def _set_tensors(self, tensors: Sequence[Held]) -> list[tuple[str, list[int]]]:
        """As the header describes them."""
        self._shapes = [_described(tensor) for *_, tensor in tensors]
        # How to get each tensor, its bytes, and the axis along which it varies; -1: none.
        self._tensors = [
            (get, number, nbytes(kind), max(tensor.unknown, default=-1))
            for (get, number, tensor), kind in zip(tensors, self._shapes)
        ]
        return self._shapes

    def exchange(self, engines: Sequence[Engine]) -> bool:
        """Read other engines from now on. False, with nothing changed, where their tensors are not as these."""
        tensors, _ = self._chosen(engines)
        if [_described(tensor) for *_, tensor in tensors] != self._shapes:
            return False
        self._set_tensors(tensors)
        return True

    def write(
        self,
        sample: Sample,
        order: int,
        discontinuity: bool,
        evidence: Sequence[Evidence] | None,
        decisions: Sequence[Decision],
        dropped: Sequence[Decision] = (),
        flags: int = 0,
        region: Sequence[int] = WHOLE,
    ) -> None:
        """evidence: None where no inference was due. order: of this inference among those of all lanes.

        flags: REFINED or REFINE_SKIPPED where a refining model was due; RESTARTED. region: the part of the frame that
        the first model was given; of readings the preparation's position.
        """
        if decisions:
            more = (len(sample.payload) - 1) // READINGS if not self._tensors else 0
            self.decisions.write(self.head + more, order, sample.sequence, sample.t_capture, decisions, dropped)
        packed = _packed(evidence) if evidence else b""
        flags = (DISCONTINUITY if discontinuity else 0) | (INFERRED | flags if evidence is not None else 0)
        if not self._tensors:
            self._put_readings(sample, order, flags, packed, region)
        elif evidence is not None or sample.payload.ndim > 1:  # sound between two inferences is not kept
            self._put(sample, order, flags, packed, None, region)

    def _put_readings(self, sample: Sample, order: int, flags: int, packed: bytes, position: Sequence[int]) -> None:
        """One slot, mostly; the evidence goes with the last."""
        rows = sample.payload
        while len(rows) > READINGS:
            self._put(sample, order, MORE | flags & DISCONTINUITY, b"", rows[:READINGS], position)
            rows, flags = rows[READINGS:], flags & ~DISCONTINUITY
        self._put(sample, order, flags, packed, rows, position)

    def _put(
        self, sample: Sample, order: int, flags: int, packed: bytes, rows: Array | None, region: Sequence[int] = WHOLE
    ) -> None:
        """rows: None where the body is the engines' tensors."""
        at = HEADER + (self.head % self.slots) * self.size
        start = at + SLOT.size
        end = self._put_tensors(start) if rows is None else self._put_rows(start, rows)
        if len(packed) > MAX_EVIDENCE:
            packed = b""
        if end:  # else the slot keeps its old number, and its reader counts it as lost
            self.view[end : end + len(packed)] = packed
            height, width = (*sample.payload.shape, 0)[:2] if self._tensors else (0, 0)
            rest = sample.skipped, flags, height, width, *region, end - start, len(packed)
            SLOT.pack_into(self.memory, at, self.head + 1, order, sample.sequence, sample.t_capture, *rest)
        self.head += 1
        struct.pack_into("=q", self.memory, HEAD_AT, self.head)

    def _put_rows(self, at: int, rows: Array) -> int:
        raw = rows.astype(np.float32, copy=False).tobytes()
        self.view[at : at + len(raw)] = raw
        return at + len(raw)

    def _put_tensors(self, at: int) -> int:
        """Where they end; 0 where they do not fit: a model that fails, or too many detections."""
        end = at + self.size - SLOT.size - MAX_EVIDENCE
        for tensor, number, size, axis in self._tensors:
            value = tensor(number)
            if axis >= 0:
                VARYING_SIZE.pack_into(self.memory, at, value.shape[axis])
                at += VARYING_SIZE.size
            if at + value.nbytes > end or (axis < 0 and value.nbytes != size):
                return 0
            if value.nbytes:
                self.view[at : at + value.nbytes] = value.data.cast("B")
            at += value.nbytes
            del value  # an engine refuses to run while a tensor of it is referenced
        return at

    def close(self) -> None:
        self.view.release()
        self.memory.close()
        self.decisions.close()


def _packed(evidence: Sequence[Evidence]) -> bytes:
    return bytes(msgpack.packb([(item.label, item.score, item.box, item.mark) for item in evidence]))


def _described(tensor: Tensor) -> tuple[str, list[int]]:
    sizes = [VARYING if axis in tensor.unknown else size for axis, size in enumerate(tensor.shape)]
    return np.dtype(tensor.dtype).str, sizes
