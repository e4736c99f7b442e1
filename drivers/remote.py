"""The base class of a source that delivers what others have found, and how its samples hold that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack

from drivers.base import Stream

BYTES = 1024  # of a sample: fourteen findings with a box, or thirty without


class RemoteEvidence(Stream):
    """Samples are uint8 [n], n <= BYTES: MessagePack, of each finding [label, score, box or None, mark]."""

    path: Path | None = None  # the socket at which it arrives; set before open


def pack(found: Sequence[Any]) -> bytes:
    """found: the most important first; what does not fit is left out."""
    packed = bytes(msgpack.packb(found))
    if len(packed) <= BYTES:
        return packed
    return pack(found[: min(len(found) - 1, len(found) * BYTES // len(packed))])
