"""The frames: packed and unpacked they are the same, and no other bytes pass the check."""

import math

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.commands import wire
from agent.commands.wire import OtherVersion, WireError, pack_ack, pack_command, pack_goodbye, pack_hello, unpack
from agent.config.checks import LARGEST
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
    nonce=0x01020304,
    t_echo=2_678_400_003_000_000,
    held=33_000,
)
# The same bytes in every language: array of 19, version, kind, then the fields in the order of `Command`.
STOP_HEX = (
    "dc0013 02 01 aa 63656c6c2d312f61726d ce 9e3779b9 ce 00011170 cd 019c a4 73746f70 a4 73746f70 80"
    " cf 000983fd98910000 cf 000983fd98ce0900 ce 0007a120 ce c0ffee01 c2"
    " 00 00 ce 01020304 cf 000983fd98bec6c0 cd 80e8"
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
    ttl=st.integers(0, wire.MAX_TTL_US),
    clock=counts,
    late=st.booleans(),
    box=st.integers(0, 9),
    link=st.integers(0, 9),
    nonce=st.integers(0, 2**32 - 1),
    t_echo=counts,
    held=st.integers(0, 2**32 - 1),
)
acks = st.builds(Ack, names, counts, counts, st.integers(0, len(wire.VERDICTS) - 1), counts, counts, counts, counts)
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


def test_an_ack_a_hello_and_a_goodbye_have_known_bytes():
    ack = Ack(
        actuator="stop", session=7, sequence=300, verdict=wire.REPEATED, t_applied=0, clock=9, nonce=0xABCDEF, t_ack=5
    )
    assert pack_ack(ack).hex() == "9a0203a473746f7007cd012c010009ce00abcdef05"
    assert pack_goodbye("box/arm", 7).hex() == "940202a7626f782f61726d07"
    assert pack_hello("box/arm", 7).hex() == "940204a7626f782f61726d07"


def test_a_command_with_all_headers_is_one_burst_of_255_bytes():
    """The longest one that `reflexd check` lets through."""
    headers = 20 + 32  # IPv4; TCP with time stamps
    zmtp = 2 + 8 + 8 + 16 + 1  # flags and size, "MESSAGE", nonce, authenticator, flags inside (rfc.zeromq.org/spec/26)
    assert headers + zmtp + wire.COMMAND_BYTES <= 255
    room = wire.COMMAND_BYTES - len(pack_command(LARGEST._replace(node="n", actuator="a", verb="v"))) + 3
    node = "n" * 31  # longer texts have one byte more
    longest = LARGEST._replace(node=node, actuator="a" * 31, verb="v" * (room - 62))
    assert len(pack_command(longest)) == wire.COMMAND_BYTES and unpack(pack_command(longest)) == longest
    with pytest.raises(WireError, match="takes 151 bytes, limit 150: shorten its names or arguments"):
        pack_command(longest._replace(verb=longest.verb + "v"))
    names = {"node": "n" * wire.NODE_BYTES, "actuator": "a" * wire.NAME_BYTES, "verb": "v" * wire.NAME_BYTES}
    with pytest.raises(WireError, match="shorten its names or arguments"):
        pack_command(LARGEST._replace(**names))


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
def test_a_hello_and_a_goodbye_are_the_same_after_the_wire(node, session):
    assert unpack(pack_goodbye(node, session)) == wire.Goodbye(node, session)
    assert isinstance(unpack(pack_hello(node, session)), wire.Hello)


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
    valid = Ack(actuator="stop", session=1, sequence=1, verdict=0, t_applied=1, clock=1, nonce=1, t_ack=1)
    for wrong in (None, -1, 2**63, 1.0, True, "", "x" * 33, [], {}):
        with pytest.raises(WireError):
            unpack(msgpack.packb((wire.VERSION, wire.ACK, *valid._replace(**{field: wrong}))))
    with pytest.raises(WireError):
        unpack(msgpack.packb((wire.VERSION, wire.ACK, "stop", 1, 1, len(wire.VERDICTS), 1, 1, 1, 1)))


@pytest.mark.parametrize(
    "head", [(0, 1), (3, 1), (True, 1), (2.0, 1), (2, True), (2, 1.0), (2, 0), (2, 5), (2, None), (2, [1]), (2**40, 1)]
)
def test_another_version_or_kind_is_refused(head):
    with pytest.raises(WireError):
        unpack(msgpack.packb((*head, *STOP)))


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
@pytest.mark.parametrize("version, box", [(1, "the box 'cell-1'"), (3, "this box")])
def test_a_message_of_another_version_says_which_box_to_update(kind, version, box):
    advice = f"cell-1/arm speaks version {version} of the protocol, not 2; update {box}"
    with pytest.raises(OtherVersion, match=advice):
        unpack(msgpack.packb((version, kind, "cell-1/arm", 7)))


def test_a_ttl_has_a_limit():
    assert unpack(pack_command(STOP._replace(ttl=wire.MAX_TTL_US))).ttl == wire.MAX_TTL_US
    for ttl in (wire.MAX_TTL_US + 1, 2**60):
        with pytest.raises(WireError, match="limit 60000000"):
            unpack(pack_command(STOP._replace(ttl=ttl)))


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
        b"\x92\x02\x01\x00",
        b"\x81\x91\x02\x01",  # a list as a key
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


@given(st.integers(0, 18), anything)
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
