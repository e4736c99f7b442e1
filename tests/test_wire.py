"""The frames: packed and unpacked they are the same, and no other bytes pass the check."""

import math

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.commands import wire
from agent.commands.wire import WireError, pack_ack, pack_command, pack_goodbye, unpack
from agent.data import Ack, Command

# From a lane on a box that has been up for a month.
STOP = Command(
    node="cell-1/arm",
    session=0x9E3779B9,
    sequence=70_000,
    decision=412,
    actuator="stop",
    verb="stop",
    arguments={},
    t_capture=2_678_400_000_000_000,
    t_sent=2_678_400_004_000_000,
    ttl=500_000,
    clock=0xC0FFEE01,
)
# The same bytes in every language: array of 14, version, kind, then the fields in the order of `Command`.
STOP_HEX = (
    "9e 01 01 aa 63656c6c2d312f61726d ce 9e3779b9 ce 00011170 cd 019c a4 73746f70 a4 73746f70 80"
    " cf 000983fd98910000 cf 000983fd98ce0900 ce 0007a120 ce c0ffee01 c2"
)

counts = st.integers(0, 2**63 - 1)
names = st.text("abcXYZ019-_./é", min_size=1, max_size=8)
scalars = (
    st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
commands = st.builds(
    Command,
    node=names,
    session=counts,
    sequence=counts,
    decision=counts,
    actuator=names,
    verb=names,
    arguments=st.dictionaries(names, scalars, max_size=2),
    t_capture=counts,
    t_sent=counts,
    ttl=counts,
    clock=counts,
    late=st.booleans(),
)
acks = st.builds(Ack, names, counts, counts, st.integers(0, len(wire.VERDICTS) - 1), counts, counts)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=10)
    | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=16) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


def test_a_stop_has_known_bytes_and_fits_one_burst():
    frame = pack_command(STOP)
    assert frame.hex() == STOP_HEX.replace(" ", "")
    assert len(frame) <= wire.COMMAND_BYTES == 150
    assert unpack(bytes.fromhex(STOP_HEX.replace(" ", ""))) == STOP


def test_an_ack_and_a_goodbye_have_known_bytes():
    seen = Ack(actuator="stop", session=7, sequence=300, verdict=wire.SEEN, t_applied=0, clock=9)
    assert pack_ack(seen).hex() == "980103a473746f7007cd012c010009"
    assert pack_goodbye("box/arm", 7).hex() == "940102a7626f782f61726d07"


@given(commands)
def test_a_command_is_the_same_after_the_wire(command):
    try:
        frame = pack_command(command)
    except WireError as error:
        assert "limit 150" in str(error)
        return
    assert unpack(frame) == command


@given(acks)
def test_an_ack_is_the_same_after_the_wire(ack):
    assert unpack(pack_ack(ack)) == ack


@given(names, counts)
def test_a_goodbye_is_the_same_after_the_wire(node, session):
    assert unpack(pack_goodbye(node, session)) == (node, session)


def test_a_command_too_long_for_a_burst_is_not_sent():
    with pytest.raises(WireError, match="shorten its names or arguments"):
        pack_command(STOP._replace(arguments={"why": "x" * 64, "where": "y" * 64}))


@pytest.mark.parametrize("field", Command._fields)
def test_every_field_of_a_command_is_checked(field):
    for wrong in (
        None,
        -1,
        2**63,
        1.0,
        "",
        "a\nb",
        "x" * 66,
        b"x",
        [],
        [1],
        {"x": None},
        {"": 1},
        {"x": [1]},
        {"a\x00": 1},
    ):
        if field == "arguments" and wrong == {}:
            continue
        with pytest.raises(WireError):
            unpack(msgpack.packb((wire.VERSION, wire.COMMAND, *STOP._replace(**{field: wrong}))))


@pytest.mark.parametrize("field", Ack._fields)
def test_every_field_of_an_ack_is_checked(field):
    valid = Ack(actuator="stop", session=1, sequence=1, verdict=0, t_applied=1, clock=1)
    for wrong in (None, -1, 2**63, 1.0, True, "", "x" * 33, [], {}):
        with pytest.raises(WireError):
            unpack(msgpack.packb((wire.VERSION, wire.ACK, *valid._replace(**{field: wrong}))))
    with pytest.raises(WireError):
        unpack(msgpack.packb((wire.VERSION, wire.ACK, "stop", 1, 1, len(wire.VERDICTS), 1, 1)))


@pytest.mark.parametrize(
    "head", [(0, 1), (2, 1), (True, 1), (1.0, 1), (1, True), (1, 1.0), (1, 0), (1, 4), (1, None), (1, [1])]
)
def test_another_version_or_kind_is_refused(head):
    with pytest.raises(WireError):
        unpack(msgpack.packb((*head, *STOP)))


def test_fields_too_few_or_too_many_are_refused():
    fields = (wire.VERSION, wire.COMMAND, *STOP)
    for count in range(len(fields)):
        with pytest.raises(WireError):
            unpack(msgpack.packb(fields[:count]))
    with pytest.raises(WireError):
        unpack(msgpack.packb((*fields, 0)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "x" * 65, None, b"x", [1.0]])
def test_an_argument_is_a_finite_number_a_short_text_or_a_truth_value(value):
    with pytest.raises(WireError):
        unpack(msgpack.packb((wire.VERSION, wire.COMMAND, *STOP._replace(arguments={"x": value}))))


def test_more_than_eight_arguments_are_refused():
    for count, good in ((8, True), (9, False)):
        frame = msgpack.packb((wire.VERSION, wire.COMMAND, *STOP._replace(arguments={str(i): i for i in range(count)})))
        if good:
            assert len(unpack(frame).arguments) == count
        else:
            with pytest.raises(WireError):
                unpack(frame)


def test_a_truncated_or_extended_frame_is_refused():
    frame = pack_command(STOP)
    for cut in range(len(frame)):
        with pytest.raises(WireError):
            unpack(frame[:cut])
    with pytest.raises(WireError):
        unpack(frame + b"\xc0")


@pytest.mark.parametrize(
    "frame",
    [
        bytes(151),
        b"\xdd\xff\xff\xff\xff",  # an array of four thousand million
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\x91" * 150,  # a list in a list in a list
        b"\x81\xa1x" * 50,
        b"\xd6\xff\x00\x00\x00\x00",  # a MessagePack time stamp
        b"\xc1",
        b"\x92\x01\x01\x00",
        b"\x81\x91\x01\x01",  # a list as a key
        b"\xa1\xff",
    ],
)
def test_hostile_frames_are_refused(frame):
    with pytest.raises(WireError):
        unpack(frame)


@given(st.binary(max_size=200))
def test_random_bytes_are_a_message_or_refused(frame):
    try:
        message = unpack(frame)
    except WireError:
        return
    assert isinstance(message, tuple)


@given(anything)
def test_any_message_pack_is_a_message_or_refused(value):
    with pytest.raises(WireError):
        unpack(msgpack.packb(value))


@given(st.integers(0, 13), anything)
def test_a_wrong_field_is_never_accepted(at, value):
    fields = [wire.VERSION, wire.COMMAND, *STOP]
    fields[at] = value
    try:
        command = unpack(msgpack.packb(fields))
    except WireError:
        return
    assert list(map(type, command)) == list(map(type, STOP))


def test_the_clock_has_one_id_per_boot():
    assert 0 <= wire.clock_id() == wire.clock_id() < 2**32
