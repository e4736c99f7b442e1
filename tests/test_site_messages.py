"""Messages between boxes: what is packed is read again; whatever else arrives is refused with a reason."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.data import Box
from agent.site import messages
from agent.site.messages import BoxState, Found, LaneEvidence, MessageError, OtherVersion, unpack

EVIDENCE = LaneEvidence(
    session=7,
    clock=1,
    sequence=3,
    t_capture=1000,
    t_sent=2000,
    found=(Found("hand", 0.9, Box(0.1, 0.2, 0.3, 0.4), "near"), Found("arm", 1.0)),
)
STATE = BoxState(
    session=7,
    clock=1,
    sequence=3,
    t_sent=2000,
    version="0.2.0",
    busy=0.25,
    p99_ms={"person-coarse": 1.5},
    models={"person-coarse": "ab" * 32},
    echoes={"b": (1500, 20)},
    links={"b": 0.4},
)


def test_a_message_is_read_as_it_was_packed() -> None:
    assert unpack(messages.pack_evidence(EVIDENCE)) == EVIDENCE
    assert unpack(messages.pack_state(STATE)) == STATE


def test_fields_that_a_later_program_adds_are_passed_over() -> None:
    assert unpack(msgpack.packb((1, messages.STATE, *STATE, "new", {"more": 1}))) == STATE
    assert unpack(msgpack.packb((1, messages.EVIDENCE, *EVIDENCE, "new"))) == EVIDENCE


def test_another_version_says_so() -> None:
    with pytest.raises(OtherVersion, match="version 2 of the site's messages, and this box has 1"):
        unpack(msgpack.packb((2, messages.STATE, "anything")))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"found": [("x", 0.5, None, "")] * 33}, "33 findings, limit 32"),
        ({"found": [("x", float("nan"), None, "")]}, "a number from 0 to 1"),
        ({"found": [("x", 1.5, None, "")]}, "a number from 0 to 1"),
        ({"found": [("x", True, None, "")]}, "a number from 0 to 1"),
        ({"found": [("x", 0.5, [0.0, 0.0, float("inf"), 1.0], "")]}, "a number from -100 to 101"),
        ({"found": [("x", 0.5, [0.0, 0.0, 1.0], "")]}, "four edges"),
        ({"found": [("x" * 65, 0.5, None, "")]}, "at most 64 printable characters"),
        ({"found": [("\x1b[2J", 0.5, None, "")]}, "printable"),
        ({"found": [b"picture"]}, "four fields"),
        ({"t_capture": -1}, "a whole number"),
        ({"t_capture": 1 << 63}, "a whole number"),
        ({"session": True}, "a whole number"),
        ({"sequence": 1.0}, "a whole number"),
    ],
)
def test_evidence_outside_its_bounds_is_refused(changes: dict[str, Any], reason: str) -> None:
    raw = msgpack.packb((1, messages.EVIDENCE, *EVIDENCE._replace(**changes)))
    with pytest.raises(MessageError, match=reason):
        unpack(raw)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"busy": 1.1}, "a number from 0 to 1"),
        ({"models": {f"m{n}": "" for n in range(65)}}, "within its bounds"),
        ({"models": ["a"]}, "a table"),
        ({"models": {"": "x"}}, "a name"),
        ({"echoes": {"b": [1]}}, "two times"),
        ({"links": {"b": float("inf")}}, "a number"),
        ({"version": "x" * 65}, "printable"),
    ],
)
def test_a_state_outside_its_bounds_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(MessageError, match=reason):
        unpack(msgpack.packb((1, messages.STATE, *STATE._replace(**changes))))


@pytest.mark.parametrize(
    "raw", [b"", b"\x90", b"\xc1", b"\x91\x01", b"x" * 17_000, b"\x91" * 5000, msgpack.packb([1, 9])]
)
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    with pytest.raises(MessageError):
        unpack(raw)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_be_refused(raw: bytes) -> None:
    try:
        unpack(raw)
    except MessageError:
        pass


@given(st.sampled_from([messages.STATE, messages.EVIDENCE]), st.lists(values, max_size=12))
def test_no_values_do_anything_but_be_refused(kind: int, fields: list[Any]) -> None:
    try:
        message = unpack(msgpack.packb((1, kind, *fields)))
    except MessageError:
        return
    assert isinstance(message, (BoxState, LaneEvidence))


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_byte_that_changes_on_the_way_breaks_nothing(at: int, value: int) -> None:
    raw = bytearray(messages.pack_state(STATE))
    raw[at % len(raw)] = value
    try:
        unpack(bytes(raw))
    except MessageError:
        pass
