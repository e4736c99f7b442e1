"""A live sample as the bytes that a browser gets."""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Sequence
from typing import Any

from agent.data import Array
from agent.tapes.live_format import READINGS, LiveHeader
from agent.tapes.live_reader import LiveSample
from agent.web import pictures

LENGTH = struct.Struct("<I")
MAX_ROWS = 400  # readings in a message; of faster sensors every n-th is shown


def wall_ms(monotonic_ns: int) -> float:
    """Milliseconds since 1970 of a moment on the monotonic clock."""
    return round((monotonic_ns + wall_offset_ns()) / 1e6, 3)


def wall_offset_ns() -> int:
    """What to add to the monotonic clock for nanoseconds since 1970.

    Between two readings of a clock this process may wait for a processor: the closest of a few counts.
    """
    readings = [(time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(5)]
    before, wall, after = min(readings, key=lambda each: each[2] - each[0])
    return wall - (before + after) // 2


def pack(header: dict[str, Any], jpeg: bytes = b"") -> bytes:
    """uint32 little-endian length of the JSON, the JSON, the JPEG."""
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return LENGTH.pack(len(text)) + text + jpeg


def of_picture(sample: LiveSample, evidence: LiveSample, mode: str, width: int) -> bytes:
    """evidence: the newest sample that was inferred. mode, width: as in pictures.encode."""
    assert sample.picture
    jpeg, width, height = pictures.encode(sample.picture, mode, width)
    return pack({**_common(sample, evidence), "width": width, "height": height}, jpeg)


def of_values(samples: Sequence[LiveSample], evidence: LiveSample, header: LiveHeader) -> bytes:
    """samples: of readings or sound, oldest first."""
    newest = samples[-1]
    if header.kind == READINGS:
        more: dict[str, Any] = {"rows": _rows(samples, header.rate_hz)}
    else:
        level, peak = (max(_finite(each.rows[column]) or 0.0 for each in samples) for column in (0, 1))
        more = {"level": level, "peak": peak}
    return pack({**_common(newest, evidence), **more})


def _common(sample: LiveSample, evidence: LiveSample) -> dict[str, Any]:
    return {
        "t": wall_ms(sample.t_capture),
        "sequence": sample.sequence,
        "skipped": sample.skipped,
        "inferred": sample.inferred,
        "evidence": as_dicts(evidence.evidence),
        "evidence_t": wall_ms(evidence.t_capture),
        "points": as_lists(evidence.points),
        "times": {name: round(value, 3) for name, value in sample.times.items()},
    }


def as_dicts(evidence: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """evidence: (label, score, box, mark) of each finding."""
    return [
        {"label": label, "score": _finite(score), "box": box and [_finite(edge) for edge in box], "mark": mark}
        for label, score, box, mark in evidence
    ]


def as_lists(values: Array) -> list[Any]:
    """Nested as the array is."""
    return [as_lists(part) if part.ndim else _finite(part) for part in values]


def _rows(samples: Sequence[LiveSample], rate_hz: float) -> list[list[float | None]]:
    """[t, values ...] of each reading; a sample's stamp is that of its newest."""
    step_ms = 1e3 / rate_hz if rate_hz else 0.0
    rows: list[list[float | None]] = []
    for sample in samples:
        newest, count = wall_ms(sample.t_capture), len(sample.rows)
        for number, row in enumerate(sample.rows):
            t = round(newest - (count - 1 - number) * step_ms, 3)
            rows.append([t, *(_finite(value) for value in row)])
    return rows[:: math.ceil(len(rows) / MAX_ROWS)]


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return round(float(value), 4) if math.isfinite(value) else None
