"""The last check before the device: which command may move it, and when silence means safe. Time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agent.commands import wire
from agent.data import FUTURE_NS, Arguments, Command

REMEMBERED = 256  # senders whose last sequence is kept, so that an old session cannot be replayed
# Heartbeats are checked every tenth of safe_after_ms, and eight tenths without one are silence:
# so the safe state is reached, not only started, within safe_after_ms.
TICKS, SILENCE_TICKS = 10, 8


class Bounds(NamedTuple):
    """What an actuator accepts. senders: nodes that must all be alive for it to leave the safe state."""

    senders: frozenset[str]
    safe_after_ns: int
    verbs: frozenset[str]
    limits: Mapping[str, Sequence[float]]


class Guard:
    """The senders of one actuator, and what they may command.

    One daemon at a time is master: a second one is refused until the first has left or fallen silent.
    """

    def __init__(self, actuator: str, bounds: Bounds, clock: int) -> None:
        self.actuator = actuator
        self.bounds = bounds
        self.clock = clock
        self.tick_ms = max(1, bounds.safe_after_ns // TICKS // 1_000_000)
        self.silence_ns = bounds.safe_after_ns // TICKS * SILENCE_TICKS
        self.session: int | None = None
        self.received: dict[str, int] = {}  # node -> time of its last good message
        self.sequences: OrderedDict[tuple[int, str], int] = OrderedDict()
        self.transits: dict[tuple[int, str], Transit] = {}  # a sender's box has another clock after each boot
        self.decision = 0
        self.live = False

    def judge(self, command: Command, now: int) -> int:
        """The verdict. After wire.APPLIED the caller applies the command and calls `applied`."""
        if command.actuator != self.actuator or not self._is_master(command.session, now):
            return wire.UNKNOWN
        key = (command.session, command.node)
        if command.sequence <= self.sequences.get(key, -1):
            return wire.REPLAYED
        self._remember(key, command.sequence)
        if not -FUTURE_NS < self._age(command, now) <= command.ttl * 1000:
            return wire.EXPIRED
        if self.bounds.verbs and command.verb not in self.bounds.verbs:
            return wire.LIMIT
        if not within_limits(command.arguments, self.bounds.limits):
            return wire.LIMIT
        if self.session != command.session:
            self.session, self.decision, self.received = command.session, 0, {}
        self.received[command.node] = now
        if command.decision < self.decision:
            return wire.OUTDATED
        if self.live and command.decision == self.decision:
            return wire.SEEN
        return wire.APPLIED if self._complete(now) else wire.WAITING

    def applied(self, command: Command) -> None:
        self.decision, self.live = command.decision, True

    def goodbye(self, node: str, session: int) -> None:
        """A sender has left in good order; the next call of `silent` makes of it what is due."""
        if session == self.session:
            self.received.pop(node, None)

    def silent(self, now: int) -> bool:
        """True once, when heartbeats of a needed sender are missing: make the device safe now."""
        if not self.live or self._complete(now):
            return False
        self.safe()
        return True

    def missing(self, now: int) -> list[str]:
        """Needed senders that are silent or have left, for the log."""
        nodes = sorted(node for node in self.bounds.senders or self.received if not self._fresh(node, now))
        return [f"{node} {'is silent' if node in self.received else 'has left'}" for node in nodes]

    def safe(self) -> None:
        """The device is safe now; the decision in force must be sent again."""
        self.live, self.decision = False, 0

    def _complete(self, now: int) -> bool:
        """No needed sender is silent. Needed are those configured, else all that have sent and not left."""
        needed = self.bounds.senders or self.received
        return bool(needed) and all(self._fresh(node, now) for node in needed)

    def _fresh(self, node: str, now: int) -> bool:
        return now - self.received.get(node, -self.silence_ns) < self.silence_ns

    def _is_master(self, session: int, now: int) -> bool:
        if session == self.session or self.session is None:
            return True
        return not any(self._fresh(node, now) for node in self.received)

    def _remember(self, key: tuple[int, str], sequence: int) -> None:
        self.sequences[key] = sequence
        self.sequences.move_to_end(key)
        while len(self.sequences) > REMEMBERED:
            self.sequences.popitem(last=False)

    def _age(self, command: Command, now: int) -> int:
        """Nanoseconds since capture."""
        if command.clock == self.clock:
            return now - command.t_capture
        if len(self.transits) > REMEMBERED:
            self.transits.clear()
        transit = self.transits.setdefault((command.clock, command.node), Transit())
        return command.t_sent - command.t_capture + transit.extra(now - command.t_sent, now)


def within_limits(arguments: Arguments, limits: Mapping[str, Sequence[float]]) -> bool:
    """Every argument that has a limit [lowest, highest] is a number inside it."""
    for name, value in arguments.items():
        limit = limits.get(name)
        if limit is not None and not (isinstance(value, (int, float)) and limit[0] <= value <= limit[1]):
            return False
    return True


class Transit:
    """Delay of messages from another clock, beyond the least one of the last 10 to 20 s.

    Receive time minus send time is the true delay plus an unknown offset of the clocks; its minimum is taken for the
    offset (base delay, RFC 6817 section 3.4). The part of the delay that every message has stays undetected.
    """

    WINDOW_NS = 10_000_000_000

    def __init__(self) -> None:
        self.least: int | None = None
        self.least_before: int | None = None
        self.started = 0

    def extra(self, apparent: int, now: int) -> int:
        """apparent: receive time on our clock minus send time on theirs."""
        if self.least is None or now - self.started > self.WINDOW_NS:
            self.least, self.least_before, self.started = apparent, self.least, now
        self.least = min(self.least, apparent)
        base = self.least if self.least_before is None else min(self.least, self.least_before)
        return apparent - base
