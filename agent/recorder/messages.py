"""A tape's record as the JSON message of a recording."""

from __future__ import annotations

import base64
from typing import Any

from agent.recorder.tape_reader import Record
from agent.tapes.format import (
    DISCONTINUITY,
    HEADS_AT,
    INFERRED,
    LOST,
    REFINE_SKIPPED,
    REFINED,
    RESTARTED,
    VARYING,
    VARYING_SIZE,
    TapeHeader,
    nbytes,
)

# Names of the values that a tape stores without names
FIELDS = {
    "evidence": ["label", "score", "box", "mark"],
    "decisions": ["number", "rule", "actuator", "verb", "dropped", "explanation"],
}


def make_message(tape: TapeHeader, record: Record, body: bytes) -> dict[str, Any]:
    """body: the record's, joined with those of the slots before it where the readings filled more than one."""
    message: dict[str, Any] = {
        "order": record.order,
        "sequence": record.sequence,
        "t_capture": record.t_capture,
        "skipped": record.skipped,
        "discontinuity": bool(record.flags & DISCONTINUITY),
        "inferred": bool(record.flags & INFERRED),
    }
    if record.flags & LOST:
        message["lost"] = True
    elif tape.channels:
        values = memoryview(body).cast("f").tolist()
        message["position"] = list(record.region)
        message["readings"] = [values[at : at + len(tape.channels)] for at in range(0, len(values), len(tape.channels))]
    else:
        message["frame"], message["region"] = list(record.frame), list(record.region)
        message["refined"] = bool(record.flags & REFINED)
        message["refine_skipped"] = bool(record.flags & REFINE_SKIPPED)
        message["restarted"] = bool(record.flags & RESTARTED)
        message["outputs"], rest = _tensors(tape.outputs, body)
        message["inputs"], _ = _tensors(tape.inputs, rest)
    if heads := record.flags >> HEADS_AT:
        message["heads"] = heads
    for name, fields in FIELDS.items():
        message[name] = [dict(zip(fields, values)) for values in getattr(record, name)]
    return message


def _tensors(kinds: list[tuple[str, list[int]]], body: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """Each tensor as dtype, shape and base64; and the rest of the body."""
    tensors = []
    for dtype, shape in kinds:
        if VARYING in shape:
            varying, body = VARYING_SIZE.unpack_from(body)[0], body[VARYING_SIZE.size :]
            shape = [varying if size == VARYING else size for size in shape]
        length = nbytes((dtype, shape))
        tensors.append({"dtype": dtype, "shape": shape, "data": base64.b64encode(body[:length]).decode()})
        body = body[length:]
    return tensors, body
