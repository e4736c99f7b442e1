"""The datagrams by which the site's link hands evidence of other boxes to the lanes here: one inference each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

SUFFIX = ".remote"
MAX_BYTES = 16_384


class Inference(NamedTuple):
    """source: BOX/LANE. t_capture: ns, on this box's clock. found: of each [label, score, box or None, mark]."""

    source: str
    t_capture: int
    found: list[Any]


def path(run_dir: Path, lane: str) -> Path:
    """The socket of a lane."""
    return run_dir / f"{lane}{SUFFIX}"


def pack(source: str, t_capture: int, found: Iterable[Any]) -> bytes:
    return bytes(msgpack.packb((source, t_capture, list(found))))


def unpack(raw: bytes) -> Inference | None:
    """None where it is none: only the link, which has checked its content, may write to the socket."""
    try:
        source, t_capture, found = msgpack.unpackb(raw)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    valid = isinstance(source, str) and isinstance(t_capture, int) and isinstance(found, list)
    return Inference(source, t_capture, found) if valid else None
