"""The records of a lane: Sample, Evidence, Decision, Command; and the actuator's answer: Ack.

All times are nanoseconds of CLOCK_MONOTONIC on the box that made the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy.typing as npt

Array = npt.NDArray[Any]
Scalar = bool | int | float | str
Arguments = Mapping[str, Scalar]


NEVER = 1 << 62  # a deadline that leaves all the time there is
# A capture time further ahead than this is not credible, and would stretch a ttl; camera clocks differ by less.
FUTURE_NS = 50_000_000


class Sample(NamedTuple):
    """The newest reading of a source.

    payload: a camera gives uint8 [height, width(, channels)]; a sensor float32 [k, channels], the k >= 1
        readings since the last sample, newest last. It is valid until the next read.
    sequence: number of the newest reading, counted from 0 at open. A gap that is not in `skipped` was lost.
    t_capture: the driver's or the kernel's stamp of the newest reading.
    skipped: readings that the source passed over to deliver the newest.
    """

    source: str
    sequence: int
    t_capture: int
    payload: Array
    skipped: int = 0


class Box(NamedTuple):
    """Edges as shares of the picture's width and height, 0..1, origin top left."""

    left: float
    top: float
    right: float
    bottom: float


class Evidence(NamedTuple):
    """A lane reports this label with this score (0..1) as of t_capture. box: in shares of the frame.

    mark: a detail for people: "+38 bpm"; "coarse" where the lane's refining model had no time to run.
    """

    lane: str
    label: str
    score: float
    t_capture: int
    box: Box | None = None
    mark: str = ""


class Decision(NamedTuple):
    """What one actuator must do from now on, and why.

    number: counts decisions of this daemon; an actuator applies each number once.
    deadline: the time after which it is late. confidence: of a rule that sums up, else 0.
    missing_lanes: lanes whose evidence such a rule had to do without.
    """

    number: int
    rule: str
    actuator: str
    verb: str
    arguments: Arguments
    evidence: tuple[Evidence, ...]
    t_capture: int
    deadline: int
    confidence: float = 0.0
    missing_lanes: tuple[str, ...] = ()


class Command(NamedTuple):
    """A decision on the wire, or its repetition as a heartbeat (same `decision`, newer `sequence`).

    node: sender, "box/lane". session: random per start of the sending process. clock: names the clock of t_capture and
    t_sent. ttl: microseconds after t_capture in which the command may be applied. late: sent past its deadline, by
    config.
    box, link: reserved (redundant boxes differ by `node`), and which of doubled links carries this copy; 0: the only
    one. nonce, t_echo: of the acknowledgement that proves the command fresh, `Ack.nonce` and `Ack.t_ack`; held:
    microseconds from reading that acknowledgement to t_sent; all 0 before the first one.
    """

    node: str
    session: int
    sequence: int
    decision: int
    actuator: str
    verb: str
    arguments: Arguments
    t_capture: int
    t_sent: int
    ttl: int
    clock: int
    late: bool = False
    box: int = 0
    link: int = 0
    nonce: int = 0
    t_echo: int = 0
    held: int = 0


class Ack(NamedTuple):
    """An actuator's answer to one message. verdict: see `wire.VERDICTS`; t_applied: 0 where nothing was applied.

    t_ack: when it was sent, on the actuator's clock. nonce: proves, echoed with t_ack, that a command was sent later.
    """

    actuator: str
    session: int
    sequence: int
    verdict: int
    t_applied: int
    clock: int
    nonce: int = 0
    t_ack: int = 0
