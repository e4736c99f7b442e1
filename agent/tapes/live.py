"""What a lane shows to those who watch it: its newest samples and what followed from them, in shared memory.

While nobody watches, the lane compares one number with the time, and copies nothing. A watcher writes into the tape
until when it watches. A picture here is raw: only the web process reads it, by the rules of agent/web/README.md.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from math import asin, ceil, pi, sqrt
from pathlib import Path

import cv2
import msgpack
import numpy as np

from agent.box.mapped import new_file
from agent.data import Array, Evidence, Sample
from agent.tapes.live_format import (
    LIVE_HEAD_AT,
    LIVE_HEADER,
    LIVE_HEADER_AT,
    LIVE_MAGIC,
    LIVE_SLOT,
    LIVE_TOP,
    MAX_DETAILS,
    MAX_ROWS,
    PICTURE,
    PICTURE_BYTES,
    PICTURE_SLOTS,
    READINGS,
    ROW_SLOTS,
    SOUND,
    UNTIL_AT,
    LiveHeader,
)
from drivers.base import Camera, Microphone, SensorStream, Stream

MIN_GAP_NS = 25_000_000  # between two pictures; a screen shows no more
LEVELS = 3  # of sound: root mean square and peak, 1 = full scale; frequency, Hz


class LiveTape:
    """The ring of one lane, and its only writer."""

    def __init__(self, path: Path, header: LiveHeader) -> None:
        """Raises OSError where the file cannot be made."""
        self.path, self.header = path, header
        self.slots = PICTURE_SLOTS if header.kind == PICTURE else ROW_SLOTS
        values = LEVELS if header.kind == SOUND else MAX_ROWS * len(header.channels)
        body = PICTURE_BYTES if header.kind == PICTURE else 4 * values
        self.size = LIVE_SLOT.size + body + MAX_DETAILS
        packed = json.dumps(header._asdict()).encode()
        if len(packed) > LIVE_HEADER - LIVE_HEADER_AT:
            raise OSError(0, "too many channels for a live view", str(path))
        self.memory = new_file(path, LIVE_HEADER + self.size * self.slots)
        LIVE_TOP.pack_into(self.memory, 0, LIVE_MAGIC, self.size, self.slots, 0, 0)
        self.memory[LIVE_HEADER_AT : LIVE_HEADER_AT + len(packed)] = packed
        self._view = memoryview(self.memory)
        self._until = self._view[UNTIL_AT : UNTIL_AT + 8].cast("q")
        self._head = 0
        self._next = 0  # when the next picture may be shown

    def watched(self, now: int) -> bool:
        """Somebody watches, and would see this sample."""
        return self._until[0] > now >= self._next

    def write(
        self, sample: Sample, times: Sequence[int], evidence: Sequence[Evidence] | None, points: Array | None
    ) -> None:
        """times: read, prepared, inferred, decided. evidence: None where no inference was due.

        points: float32 [n, 17, 3] or [17, 3], shares of the frame.
        """
        details = _packed(evidence, points) if evidence is not None else b""
        if self.header.kind == PICTURE:
            self._next = times[0] + MIN_GAP_NS
            self._put_picture(sample, times, details, evidence is not None)
        elif self.header.kind == SOUND:
            self._put_values(
                sound_levels(sample.payload, self.header.rate_hz), sample, times, details, evidence is not None
            )
        else:
            for at in range(0, len(sample.payload), MAX_ROWS):
                rows = sample.payload[at : at + MAX_ROWS].astype(np.float32, copy=False)
                self._put_values(rows, sample, times, details, evidence is not None)

    def _put_picture(self, sample: Sample, times: Sequence[int], details: bytes, inferred: bool) -> None:
        """Thinned to every n-th pixel where it would not fit. OpenCV works without the GIL."""
        picture, at = sample.payload, self._slot()
        channels = 1 if picture.ndim == 2 else picture.shape[2]
        if self.header.pixels == "yuyv":  # two pixels share their colour
            picture, channels = picture[:, : picture.shape[1] & ~1].reshape(picture.shape[0], -1, 4), 4
        every = max(1, ceil(sqrt(picture.nbytes / PICTURE_BYTES)))
        height, width = picture.shape[0] // every, picture.shape[1] // every
        start = at + LIVE_SLOT.size
        copy = np.frombuffer(self._view, np.uint8, height * width * channels, start).reshape(height, width, channels)
        cv2.resize(picture, (width, height), dst=copy, interpolation=cv2.INTER_NEAREST)
        self._finish(at, copy.nbytes, (height, width, channels), sample, times, details, inferred)

    def _put_values(self, values: Array, sample: Sample, times: Sequence[int], details: bytes, inferred: bool) -> None:
        at, raw = self._slot(), values.tobytes()
        self._view[at + LIVE_SLOT.size : at + LIVE_SLOT.size + len(raw)] = raw
        self._finish(at, len(raw), (*values.shape, 0, 0)[:3], sample, times, details, inferred)

    def _slot(self) -> int:
        """Where the next one begins, which no longer counts as written."""
        at = LIVE_HEADER + self._head % self.slots * self.size
        struct.pack_into("=q", self.memory, at, 0)
        return at

    def _finish(
        self,
        at: int,
        length: int,
        shape: Sequence[int],
        sample: Sample,
        times: Sequence[int],
        details: bytes,
        inferred: bool,
    ) -> None:
        end = at + LIVE_SLOT.size + length
        self._view[end : end + len(details)] = details
        read = times[0]
        LIVE_SLOT.pack_into(
            self.memory,
            at,
            *(self._head + 1, sample.sequence, sample.t_capture, sample.skipped, inferred),
            *shape,
            *(length, len(details)),
            *(each - read for each in times[1:]),
        )
        self._head += 1
        struct.pack_into("=q", self.memory, LIVE_HEAD_AT, self._head)

    def close(self) -> None:
        self._until.release()
        self._view.release()
        self.memory.close()

    def remove(self) -> None:
        """The lane ends: no picture stays behind."""
        self.close()
        self.path.unlink(missing_ok=True)


def sound_levels(payload: Array, rate_hz: float) -> Array:
    """float32 [3]: root mean square and peak, 1 = full scale; the frequency, Hz, of a sine with the same slopes.

    For sin(w t) sampled at rate r, mean((x_n - x_(n-1))^2) / mean(x^2) = 4 sin^2(w / 2r); of any sound it is the root
    mean square frequency of its spectrum (Rice, "Mathematical analysis of random noise", 1945), as long as w << r.
    """
    scale = 32768.0 if payload.dtype == np.int16 else 1.0
    values = payload.reshape(-1).astype(np.float32) / scale
    power, slopes = float(np.mean(values * values)), np.diff(values)
    share = float(np.mean(slopes * slopes)) / power if power > 0 and len(slopes) else 0.0
    frequency = rate_hz / pi * asin(min(1.0, sqrt(share) / 2))
    return np.array([sqrt(power), float(np.abs(values).max()), frequency], np.float32)


def _packed(evidence: Sequence[Evidence], points: Array | None) -> bytes:
    """What does not fit is left out, the points first."""
    findings = [(item.label, item.score, item.box, item.mark) for item in evidence]
    raw = b"" if points is None else points.astype(np.float32, copy=False).tobytes()
    for content in ((findings, raw), (findings, b""), ([], b"")):
        packed = bytes(msgpack.packb(content))
        if len(packed) <= MAX_DETAILS:
            break
    return packed


def live_header(lane: str, source: Stream) -> LiveHeader | None:
    """Of a source that is open; None where it has nothing to show."""
    if isinstance(source, Camera):
        return LiveHeader(lane, PICTURE, pixels=source.pixels)
    if isinstance(source, Microphone):
        return LiveHeader(lane, SOUND, rate_hz=source.rate_hz)
    if isinstance(source, SensorStream):
        return LiveHeader(lane, READINGS, channels=tuple(source.channels), rate_hz=source.rate_hz)
    return None
