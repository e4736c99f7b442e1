"""What boxes of a site tell each other: MessagePack, one array a message, versioned, bounded when it is read.

Both are states, not events: each replaces the one before it, so that one lost or doubled on the way changes nothing.
Keys: README.md, beside this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from agent.data import Box

VERSION = 1
STATE, EVIDENCE = 1, 2
MAX_BYTES = 16_384
MAX_FINDINGS = 32  # as the evidence tape holds
MAX_NAMES = 64  # lanes, models and boxes in a state
NAME_CHARACTERS, TEXT_CHARACTERS = 64, 64
MAX_TIME = (1 << 63) - 1
BEYOND = 100.0  # a box may reach this far beyond the picture, in shares of it


class Found(NamedTuple):
    """One finding of a lane on another box; as `Evidence`, whose lane and time stand in the message."""

    label: str
    score: float
    box: Box | None = None
    mark: str = ""


class LaneEvidence(NamedTuple):
    """The newest inference of a lane. Times are ns of the sender's clock, which `clock` names.

    session: random for each start of the sender's link. sequence: counts its messages of this lane.
    """

    session: int
    clock: int
    sequence: int
    t_capture: int
    t_sent: int
    found: tuple[Found, ...]


class BoxState(NamedTuple):
    """What a box is doing, ten times a second.

    version: of its program. busy: share of its cores, 0..1. p99_ms: of each model. models: sha256 of each.
    echoes: of each box that it hears, t_sent of that one's newest state, and ns from its arrival to this t_sent.
    links: round trip to each of them, ms.
    """

    session: int
    clock: int
    sequence: int
    t_sent: int
    version: str
    busy: float
    p99_ms: Mapping[str, float]
    models: Mapping[str, str]
    echoes: Mapping[str, tuple[int, int]]
    links: Mapping[str, float]


class MessageError(ValueError):
    """These bytes are no message of this protocol; the text gives the reason."""


class OtherVersion(MessageError):
    """A message of another version of this protocol."""


Message = BoxState | LaneEvidence


def pack_evidence(evidence: LaneEvidence) -> bytes:
    return bytes(msgpack.packb((VERSION, EVIDENCE, *evidence)))


def pack_state(state: BoxState) -> bytes:
    return bytes(msgpack.packb((VERSION, STATE, *state)))


def unpack(raw: bytes) -> Message:
    """Raises MessageError; OtherVersion where another version of this program sent it.

    Fields that a later program adds at the end are passed over.
    """
    if len(raw) > MAX_BYTES:
        raise MessageError(f"{len(raw)} bytes, limit {MAX_BYTES}")
    try:
        content = msgpack.unpackb(raw, max_map_len=MAX_NAMES, max_ext_len=0, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise MessageError("not MessagePack within its bounds") from error
    if not isinstance(content, list) or len(content) < 2 or type(content[0]) is not int:
        raise MessageError("no version")
    if content[0] != VERSION:
        raise OtherVersion(f"version {content[0]} of the site's messages, and this box has {VERSION}")
    kinds: dict[Any, Callable[[Sequence[Any]], Message]] = {STATE: _state, EVIDENCE: _evidence}
    reader = kinds.get(content[1]) if type(content[1]) is int else None
    if reader is None:
        raise MessageError("unknown kind")
    return reader(content[2:])


def _evidence(fields: Sequence[Any]) -> LaneEvidence:
    if len(fields) < len(LaneEvidence._fields) or not isinstance(fields[5], list):
        raise MessageError("fields are missing")
    if len(fields[5]) > MAX_FINDINGS:
        raise MessageError(f"{len(fields[5])} findings, limit {MAX_FINDINGS}")
    session, clock, sequence, t_capture, t_sent = map(_whole, fields[:5])
    return LaneEvidence(session, clock, sequence, t_capture, t_sent, tuple(map(_found, fields[5])))


def _found(fields: Any) -> Found:
    if not isinstance(fields, list) or len(fields) != len(Found._fields):
        raise MessageError("a finding has four fields")
    label, score, box, mark = fields
    return Found(_text(label), _number(score, 0.0, 1.0), _box(box), _text(mark))


def _box(edges: Any) -> Box | None:
    if edges is None:
        return None
    if not isinstance(edges, list) or len(edges) != len(Box._fields):
        raise MessageError("a box has four edges")
    return Box(*(_number(edge, -BEYOND, 1.0 + BEYOND) for edge in edges))


def _state(fields: Sequence[Any]) -> BoxState:
    if len(fields) < len(BoxState._fields):
        raise MessageError("fields are missing")
    session, clock, sequence, t_sent, version, busy, p99_ms, models, echoes, links = fields[:10]
    return BoxState(
        session=_whole(session),
        clock=_whole(clock),
        sequence=_whole(sequence),
        t_sent=_whole(t_sent),
        version=_text(version),
        busy=_number(busy, 0.0, 1.0),
        p99_ms=_by_name(p99_ms, _milliseconds),
        models=_by_name(models, _text),
        echoes=_by_name(echoes, _echo),
        links=_by_name(links, _milliseconds),
    )


def _by_name(value: Any, kind: Callable[[Any], Any]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MessageError("a table was expected")
    return {_name(name): kind(item) for name, item in value.items()}


def _echo(value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise MessageError("an echo has two times")
    return _whole(value[0]), _whole(value[1])


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_TIME:
        raise MessageError("a whole number was expected")
    return int(value)


def _milliseconds(value: Any) -> float:
    return _number(value, 0.0, 1e9)


def _number(value: Any, lowest: float, highest: float) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or not lowest <= value <= highest:
        raise MessageError(f"a number from {lowest:g} to {highest:g} was expected")
    return float(value)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= NAME_CHARACTERS or not value.isprintable():
        raise MessageError(f"a name of at most {NAME_CHARACTERS} printable characters was expected")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > TEXT_CHARACTERS or not value.isprintable():
        raise MessageError(f"at most {TEXT_CHARACTERS} printable characters were expected")
    return value
