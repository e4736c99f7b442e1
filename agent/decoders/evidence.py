"""What other boxes have found, uint8 [1, bytes] (backend evidence), as findings here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np

from agent.data import Array, Box
from agent.decoders import base
from agent.decoders.base import DecoderError, Finding

MAX_FINDINGS = 64


class Decoder(base.Decoder):
    """MessagePack: of each finding [label, score, box or None, mark]. Labels are those of the other boxes' models."""

    NEEDS = "evidence of other boxes [1, bytes] (backend evidence)"
    reads_stored = True

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][0] != 1:
            raise DecoderError(f"evidence needs one output [1, bytes]; the model gives {list(shapes)}")

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        if outputs[0].dtype != np.uint8:
            return []
        unpacker = msgpack.Unpacker(max_array_len=MAX_FINDINGS, max_map_len=0, max_ext_len=0)
        unpacker.feed(np.ascontiguousarray(outputs[0]).tobytes())
        try:
            return [_finding(*fields) for fields in unpacker.unpack()]
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
            raise DecoderError("these bytes are no evidence of another box") from error


def _finding(label: Any, score: Any, box: Any, mark: Any) -> Finding:
    """Raises ValueError, TypeError."""
    if type(label) is not str or type(mark) is not str or type(score) is not float or not 0.0 <= score <= 1.0:
        raise ValueError("no finding")
    edges = None if box is None else Box(*map(float, box))
    if edges and not all(map(math.isfinite, edges)):
        raise ValueError("no box")
    return Finding(label, score, edges, mark)
