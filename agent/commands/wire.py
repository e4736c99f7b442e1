"""The frames between a lane and an actuator: MessagePack, one array per message. Bytes: README.md, beside this."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import msgpack

from agent.data import Ack, Command, Scalar

VERSION = 2
COMMAND, GOODBYE, ACK, HELLO = 1, 2, 3, 4

# One 5QI-82 burst is 255 bytes with IP, TCP, ZMTP and CURVE headers (3GPP TS 23.501 table 5.7.4-1).
COMMAND_BYTES = 150
NAME_BYTES = 32
NODE_BYTES = 2 * NAME_BYTES + 1  # "box/lane"
MAX_ARGUMENTS = 8
MAX_TTL_US = 60_000_000  # what was captured a minute ago says nothing about now
MAX_COUNT = (1 << 63) - 1

# The only types that leave this box. Pictures and sound are numpy arrays, or bytes once encoded, and stay.
PLAIN = frozenset((str, int, float, bool))
INT = {int}
AT = Command._fields.index("arguments")

VERDICTS = (
    "applied",  # the device has accepted it
    "repeated",  # the decision that is applied already, again: a heartbeat
    "replayed",  # its sequence is not above the last one
    "expired",  # older than its ttl, or sent too long ago to be a sign of life
    "limit",  # verb or argument outside the actuator's limits
    "unknown",  # meant for another actuator, or from a sender that has left
    "fault",  # the device did not accept it
    "outdated",  # an older decision than the one in force
    "waiting",  # in the safe state until every lane that feeds it is alive
    "key",  # its key, or the user of its process, may not command as this node
    "unproven",  # it echoes no acknowledgement of the last moment: it may be recorded or delayed
    "overruled",  # another word of redundant boxes is in force: a stronger verb, or a newer change
)
APPLIED, REPEATED, REPLAYED, EXPIRED, LIMIT, UNKNOWN, FAULT, OUTDATED, WAITING, KEY, UNPROVEN, OVERRULED = range(
    len(VERDICTS)
)

# What a verdict means, for the sender's log.
MEANING = {
    APPLIED: "takes commands again",
    REPEATED: "has applied this already",
    REPLAYED: "has received these sequence numbers before: does a second daemon use this node's name?",
    EXPIRED: "got commands older than the source's timeout_ms, or than safe_after_ms on their way: is the lane, or the"
    " network to it, too slow?",
    LIMIT: "refuses the verb or an argument: compare its 'verbs' and 'limits' with the rules",
    UNKNOWN: "takes commands from another daemon until that one leaves or falls silent",
    FAULT: "cannot move its device: see the log of 'reflexd actuate'",
    OUTDATED: "already has a newer decision",
    WAITING: "stays safe until every lane it needs is alive: see 'senders' and the other lanes",
    KEY: "refused: unknown key, or a key that may not command as this node: see keys.authorized of its box",
    UNPROVEN: "gets no proof that commands are fresh: is the network too slow there and back?",
    OVERRULED: "does what another of its boxes says, for longer than a second: compare their sensors, models and rules",
}


class Hello(NamedTuple):
    """A sender without a command yet asks for what its first one must echo. It is no sign of life."""

    node: str
    session: int


class Goodbye(NamedTuple):
    """The sender stops in good order: no more heartbeats of it are to be expected."""

    node: str
    session: int


class WireError(ValueError):
    """These bytes are not a message of this protocol; the text gives the reason."""


class OtherVersion(WireError):
    """A message of another version of this protocol; the text says which box to update."""


def pack_command(command: Command) -> bytes:
    """At most COMMAND_BYTES. Raises WireError where it is longer or has values other than numbers, text, booleans."""
    if not _is_plain(command):
        raise WireError(f"command for {str(command.actuator)[:NAME_BYTES]!r}: {_not_plain(command)}")
    frame = msgpack.packb((VERSION, COMMAND, *command))
    if len(frame) > COMMAND_BYTES:
        size = f"{len(frame)} bytes, limit {COMMAND_BYTES}"
        raise WireError(f"command for '{command.actuator}' takes {size}: shorten its names or arguments")
    return bytes(frame)


def _is_plain(command: Command) -> bool:
    arguments = command.arguments
    if type(arguments) is not dict or not PLAIN.issuperset(map(type, command[:AT] + command[AT + 1 :])):
        return False
    return not arguments or all(type(k) is str and isinstance(v, (str, int, float)) for k, v in arguments.items())


def _not_plain(command: Command) -> str:
    """The value that must not leave, for the person whose rule made it."""
    arguments = command.arguments if type(command.arguments) is dict else {"arguments": command.arguments}
    fields = {**command._asdict(), "arguments": ""}
    for name, value in [*fields.items(), *arguments.items()]:
        if type(name) is not str or not isinstance(value, (str, int, float)):
            break
    kind = type(value if type(name) is str else name).__name__
    return (
        f"{str(name)[:NAME_BYTES]!r} is {kind}: pictures, sound and other raw data stay here; only plain values leave"
    )


def pack_goodbye(node: str, session: int) -> bytes:
    return bytes(msgpack.packb((VERSION, GOODBYE, node, session)))


def pack_hello(node: str, session: int) -> bytes:
    return bytes(msgpack.packb((VERSION, HELLO, node, session)))


def pack_ack(ack: Ack) -> bytes:
    return bytes(msgpack.packb((VERSION, ACK, *ack)))


def unpack(frame: bytes) -> Command | Ack | Hello | Goodbye:
    """One message. Raises WireError for all other bytes, and nothing else."""
    if len(frame) > COMMAND_BYTES:
        raise WireError(f"oversized: {len(frame)} bytes, limit {COMMAND_BYTES}")
    fields = _parse(frame)
    if type(fields) is not list or len(fields) < 4 or type(fields[0]) is not int or type(fields[1]) is not int:
        raise WireError(f"not a version {VERSION} message")
    version, kind, *body = fields
    if version != VERSION:
        raise _other_version(version, kind, body[0])
    if kind == COMMAND:
        return _checked_command(body)
    if kind == ACK:
        return _checked_ack(body)
    if kind in (HELLO, GOODBYE) and len(body) == 2 and is_name(body[0], NODE_BYTES) and _are_counts(body[1:]):
        return (Hello if kind == HELLO else Goodbye)(*body)
    raise WireError(f"unknown kind or malformed body: {str(kind)[:20]}")


def _other_version(version: int, kind: int, sender: Any) -> WireError:
    if not 0 < version < 100 or kind not in (COMMAND, GOODBYE, ACK, HELLO) or not is_name(sender, NODE_BYTES):
        return WireError(f"not a version {VERSION} message")
    box = "this box" if version > VERSION else f"the box '{sender.partition('/')[0]}'"
    return OtherVersion(f"{sender} speaks version {version} of the protocol, not {VERSION}; update {box}")


def _parse(frame: bytes) -> Any:
    try:
        return msgpack.unpackb(frame, max_array_len=32, max_map_len=MAX_ARGUMENTS, max_ext_len=0, max_bin_len=0)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise WireError(f"not MessagePack: {str(error)[:60] or type(error).__name__}") from None


def _checked_command(body: list[Any]) -> Command:
    if len(body) != len(Command._fields):
        raise WireError(f"a command has {len(Command._fields)} fields, this has {len(body)}")
    command = Command(*body)
    if not _are_counts(body[1:4] + body[7:11] + body[12:]) or type(command.late) is not bool:
        raise WireError("a command field has the wrong type")
    if command.ttl > MAX_TTL_US:
        raise WireError(f"ttl is {command.ttl} us, limit {MAX_TTL_US}")
    if not (is_name(command.node, NODE_BYTES) and is_name(command.actuator) and is_name(command.verb)):
        raise WireError("a command names its node, actuator and verb in 1 to 32 printable characters")
    if type(command.arguments) is not dict or not all(
        is_name(k) and is_scalar(v) for k, v in command.arguments.items()
    ):
        raise WireError("command arguments are names with a number, text or truth value")
    return command


def _checked_ack(body: list[Any]) -> Ack:
    if len(body) != len(Ack._fields):
        raise WireError(f"an ack has {len(Ack._fields)} fields, this has {len(body)}")
    ack = Ack(*body)
    if not is_name(ack.actuator) or not _are_counts(body[1:]) or ack.verdict >= len(VERDICTS):
        raise WireError("an ack field has the wrong type or range")
    return ack


def _are_counts(values: list[Any]) -> bool:
    return set(map(type, values)) == INT and min(values) >= 0 and max(values) <= MAX_COUNT


def is_name(value: object, limit: int = NAME_BYTES) -> bool:
    return type(value) is str and 0 < len(value) <= limit and value.isprintable()


def is_scalar(value: Scalar) -> bool:
    if type(value) is float:
        return value - value == 0.0  # neither infinite nor NaN
    return (
        type(value) is bool
        or (type(value) is int and abs(value) < 1 << 63)
        or (type(value) is str and len(value) <= 64)
    )


@cache
def clock_id() -> int:
    """Names this box's CLOCK_MONOTONIC: it starts with the kernel, so the boot id identifies it."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return int(file.read().replace("-", "")[:8], 16)
    except OSError:
        return 0
