"""Reads a lane's live tape, and says on it that somebody watches. In the processes of the live view and of drift."""

from __future__ import annotations

import json
import logging
import mmap
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import numpy as np

from agent.box.mapped import inode_of
from agent.data import Array
from agent.tapes.live_format import (
    LIVE_HEAD_AT,
    LIVE_HEADER,
    LIVE_HEADER_AT,
    LIVE_MAGIC,
    LIVE_SLOT,
    LIVE_TOP,
    PICTURE,
    UNTIL_AT,
    WATCH_NS,
    LiveHeader,
)

log = logging.getLogger("reflexd.tapes")


class RawPicture(NamedTuple):
    """A camera's picture as it was. agent/web/pictures.py and agent/drift/ take one: no sender of data knows this type.

    values: uint8 [height, width(, channels)]. pixels: layout of the values, as of a Camera.
    """

    values: Array
    pixels: str


class LiveSample(NamedTuple):
    """evidence: (label, score, box, mark) of each finding. points: float32 [n, 17, 3], or empty. times: ms by step.

    rows: float32 [k, channels] of readings; [3] level, peak and frequency of sound.
    """

    number: int
    sequence: int
    t_capture: int
    skipped: int
    inferred: bool
    times: dict[str, float]
    evidence: list[Any]
    points: Array
    picture: RawPicture | None
    rows: Array


class LiveReader:
    """The reading end of a live tape."""

    def __init__(self, path: Path) -> None:
        """Raises OSError; ValueError where the file is not a live tape of this version."""
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self.inode = os.fstat(fd).st_ino
            self.memory = mmap.mmap(fd, 0)
        finally:
            os.close(fd)
        magic, self.size, self.slots, head, _ = LIVE_TOP.unpack_from(self.memory, 0)
        if magic != LIVE_MAGIC or len(self.memory) != LIVE_HEADER + self.size * self.slots:
            raise ValueError(f"{path}: not a live tape of this version")
        raw = json.loads(self.memory[LIVE_HEADER_AT:LIVE_HEADER].rstrip(b"\0"))
        self.header = LiveHeader(**{**raw, "channels": tuple(raw["channels"])})
        self.next = head

    def watch(self, for_ns: int = WATCH_NS) -> None:
        """From now on, and for this long, the lane writes; longer where somebody else said so."""
        (until,) = struct.unpack_from("=q", self.memory, UNTIL_AT)
        struct.pack_into("=q", self.memory, UNTIL_AT, max(until, time.monotonic_ns() + for_ns))

    @property
    def head(self) -> int:
        return int(struct.unpack_from("=q", self.memory, LIVE_HEAD_AT)[0])

    def read(self) -> Iterator[LiveSample]:
        """What is new: of pictures only the newest, of readings and sound all that is left."""
        head = self.head
        oldest = head - 1 if self.header.kind == PICTURE else head - self.slots + 1
        for number in range(max(self.next, oldest, 0), head):
            sample = self._sample(number)
            if sample:
                yield sample
        self.next = head

    def newest(self) -> LiveSample | None:
        return self._sample(self.head - 1) if self.head else None

    def _sample(self, number: int) -> LiveSample | None:
        """None where the slot is overwritten by now, or while it is copied."""
        at = LIVE_HEADER + number % self.slots * self.size
        fields = LIVE_SLOT.unpack_from(self.memory, at)
        mark, sequence, t_capture, skipped, inferred, *shape = fields[:8]
        length, details = fields[8:10]
        if mark != number + 1 or not 0 <= LIVE_SLOT.size + length + details <= self.size:
            return None
        start = at + LIVE_SLOT.size
        body, packed = self.memory[start : start + length], self.memory[start + length : start + length + details]
        if struct.unpack_from("=q", self.memory, at)[0] != mark:
            return None
        evidence, points = msgpack.unpackb(packed) if packed else ([], b"")
        prepared, inferred_at, decided = (each / 1e6 for each in fields[10:])
        picture = self.header.kind == PICTURE
        return LiveSample(
            number=number,
            sequence=sequence,
            t_capture=t_capture,
            skipped=skipped,
            inferred=bool(inferred),
            times={"prepare_ms": prepared, "infer_ms": inferred_at - prepared, "decide_ms": decided - inferred_at},
            evidence=evidence,
            points=np.frombuffer(points, np.float32).reshape(-1, 17, 3),
            picture=self._picture(body, shape) if picture else None,
            rows=np.zeros(0, np.float32) if picture else _rows(body, shape),
        )

    def _picture(self, body: bytes, shape: list[int]) -> RawPicture:
        height, width, channels = shape
        values = np.frombuffer(body, np.uint8).reshape(height, width, channels)
        if self.header.pixels == "yuyv":
            values = values.reshape(height, 2 * width, 2)
        return RawPicture(values[..., 0] if channels == 1 else values, self.header.pixels)

    def close(self) -> None:
        self.memory.close()


class LiveFile:
    """The live tape of a lane, wherever the lane has got to with it: not yet made, made, made again."""

    def __init__(self, run_dir: Path, lane: str) -> None:
        self.lane = lane
        self.reader: LiveReader | None = None
        self._path = run_dir / f"{lane}.live"
        self._refused = 0  # inode of a file that cannot be read, which is logged once

    def refresh(self) -> None:
        """Open the file that is there now."""
        inode = inode_of(self._path)
        if self.reader and self.reader.inode != inode:
            self.close()
        if self.reader or inode in (0, self._refused):
            return
        try:
            self.reader = LiveReader(self._path)
        except (OSError, ValueError) as error:
            self._refused = inode
            log.warning("%s cannot be shown: %s", self.lane, error)

    def close(self) -> None:
        if self.reader:
            self.reader.close()
            self.reader = None


def _rows(body: bytes, shape: list[int]) -> Array:
    sizes = [size for size in shape if size]
    values: Array = np.frombuffer(body, np.float32).reshape(sizes)
    return values
