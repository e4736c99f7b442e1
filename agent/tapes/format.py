"""The bytes of both tapes, for the lane that writes and the recorder that reads them; imports next to nothing.

A recorder that died must be back within a second, on a slow and busy box, too.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

# Samples: a ring of slots.

MAGIC = b"rfxtape\x03"
HEADER = 16384
HEADER_AT = 64
TOP = struct.Struct("=8sqqqqq")  # magic, bytes of a slot, slots, head, started, generation of the decision tape
HEAD_AT = 24
# number + 1, order, sequence, t_capture; skipped, flags, frame (height, width), its region (left, top, width, height),
# bytes of body and of evidence
SLOT = struct.Struct("=qqqqiiiiiiiiii")
# the sample does not follow on the one before; the next slot holds more of its readings; an inference was due
DISCONTINUITY, MORE, INFERRED = 1, 2, 4
REFINED, REFINE_SKIPPED = 8, 16  # the refining model ran; it had no time to
RESTARTED = 32  # the first inference since the source was opened
HEADS_AT = 8  # from this bit on: which heads ran, in the configuration's order
LOST = 64  # set by the reader: of this sample only its decisions are left
READINGS = 16  # rows in a slot
VARYING = -1  # a size that may change from sample to sample; such a tensor starts with it
VARYING_SIZE = struct.Struct("=q")
MAX_VARYING = 1024  # a sample with more detections is not kept
MAX_EVIDENCE = 1024  # bytes
MANY, FEW, LARGE = 4096, 64, 8192  # slots for small and for large bodies; bytes from which a body is large
WHOLE = (0, 0, 0, 0)  # no region


class TapeHeader(NamedTuple):
    """What a reader needs to know of a lane. channels, rate_hz: of readings.

    outputs, inputs: (dtype, shape) of each tensor; dtype: of numpy, "<f4". A size that may change is VARYING.
    """

    lane: str
    channels: list[str]
    outputs: list[tuple[str, list[int]]]
    inputs: list[tuple[str, list[int]]]
    rate_hz: float = 0.0


def nbytes(tensor: tuple[str, list[int]]) -> int:
    """tensor: dtype and shape. Of one whose size varies: the most it takes, its size included."""
    dtype, shape = tensor
    most = int(dtype[2:]) * math.prod(MAX_VARYING if size == VARYING else size for size in shape)
    return most + VARYING_SIZE.size * (VARYING in shape)


# Decisions: a ring of bytes.

DECISION_MAGIC = b"rfxdecd\x01"
RING = 1 << 22  # bytes; a decision takes about 100
MAX_DECISIONS = 1 << 17  # bytes of the decisions that one sample may lead to
MAX_EXPLANATION = 1000  # characters
DECISION_HEADER = 4096
# magic, identity of the file, generation: how many tapes of samples it went with; then offsets of bytes since its
# beginning: head is where the next record goes, oldest the first that is whole; decisions since its beginning
DECISION_TOP = struct.Struct("=8sqqqqq")
GENERATION_AT, COUNTS_AT = 16, 24
COUNTS = struct.Struct("=qqq")  # head, oldest, decisions
# offset + 1, bytes of the whole record, decisions before it, generation, slot of the sample, order, sequence, t_capture
RECORD = struct.Struct("=qqqqqqqq")
MARK_AND_LENGTH = struct.Struct("=qq")
# The last record may go on behind the ring, so that none is in two parts.
DECISION_SIZE = DECISION_HEADER + RING + RECORD.size + MAX_DECISIONS


class DecisionTop(NamedTuple):
    """The beginning of a decision tape, as in DECISION_TOP."""

    magic: bytes
    identity: int
    generation: int
    head: int
    oldest: int
    decisions: int

    @property
    def valid(self) -> bool:
        return self.magic == DECISION_MAGIC and 0 <= self.oldest <= self.head


def whole(offset: int, mark: int, length: int) -> bool:
    """Is what stands at this offset of the ring the record that belongs there?"""
    return mark == offset + 1 and RECORD.size <= length <= RECORD.size + MAX_DECISIONS
