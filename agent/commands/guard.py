"""The last check before the device: which command may move it, and when silence means safe. Time is an argument.

Silence counts from when a message was sent, as far as that is proven: so delay never prolongs a movement.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agent.commands import wire
from agent.commands.proof import Nonces
from agent.data import FUTURE_NS, Arguments, Command

REMEMBERED = 256  # senders whose last sequence is kept, so that no message counts twice
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
        self.nonces = Nonces()
        self.sent: dict[str, int] = {}  # node -> when its last good message was sent, at the earliest
        self.sequences: OrderedDict[tuple[int, str], int] = OrderedDict()
        self.decision = 0
        self.live = False

    def judge(self, command: Command, now: int) -> int:
        """The verdict. After wire.APPLIED the caller applies the command and calls `applied`."""
        if command.actuator != self.actuator:
            return wire.UNKNOWN
        sent = self._sent(command, now)
        if sent is None:
            return wire.UNPROVEN
        if not self._is_master(command.session, now):
            return wire.UNKNOWN
        key = (command.session, command.node)
        if command.sequence <= self.sequences.get(key, -1):
            return wire.REPLAYED
        self._remember(key, command.sequence)
        if not self._is_young(command, now - sent):
            return wire.EXPIRED
        if self.bounds.verbs and command.verb not in self.bounds.verbs:
            return wire.LIMIT
        if not within_limits(command.arguments, self.bounds.limits):
            return wire.LIMIT
        if self.session != command.session:
            self.session, self.decision, self.sent = command.session, 0, {}
        self.sent[command.node] = max(sent, self.sent.get(command.node, 0))
        if command.decision < self.decision:
            return wire.OUTDATED
        if self.live and command.decision == self.decision:
            return wire.REPEATED
        return wire.APPLIED if self._complete(now) else wire.WAITING

    def applied(self, command: Command) -> None:
        self.decision, self.live = command.decision, True

    def captured(self, command: Command, now: int) -> int:
        """When the sample of a command that was judged now had been captured, on this clock, at the earliest."""
        sent = self._sent(command, now)
        return min(now, now if sent is None else sent - (command.t_sent - command.t_capture))

    def take_over(self) -> tuple[str, Arguments] | None:
        """Verb and arguments that are due without a message: never, but of redundant boxes (merge.py)."""
        return None

    def goodbye(self, node: str, session: int) -> None:
        """A sender has left in good order; the next call of `silent` makes of it what is due."""
        if session == self.session:
            self.sent.pop(node, None)

    def overdue(self, now: int) -> bool:
        """Heartbeats of a needed sender are missing, unless one waits to be judged."""
        return self.live and not self._complete(now)

    def silent(self, now: int) -> bool:
        """True once, when heartbeats of a needed sender are missing: make the device safe now."""
        if not self.overdue(now):
            return False
        self.safe()
        return True

    def missing(self, now: int) -> list[str]:
        """Needed senders that are silent or have left, for the log."""
        nodes = sorted(node for node in self.bounds.senders or self.sent if not self._fresh(node, now))
        return [f"{node} {'is silent' if node in self.sent else 'has left'}" for node in nodes]

    def safe(self) -> None:
        """The device is safe now; the decision in force must be sent again."""
        self.live, self.decision = False, 0

    def _complete(self, now: int) -> bool:
        """No needed sender is silent. Needed are those configured, else all that have sent and not left."""
        needed = self.bounds.senders or self.sent
        return bool(needed) and all(self._fresh(node, now) for node in needed)

    def _fresh(self, node: str, now: int) -> bool:
        return now - self.sent.get(node, -self.silence_ns) < self.silence_ns

    def _is_master(self, session: int, now: int) -> bool:
        """The master is replaced when it is silent; at once where none of its nodes is among the needed senders."""
        if session == self.session or self.session is None:
            return True
        nodes = self.bounds.senders & self.sent.keys() if self.bounds.senders else self.sent
        return not any(self._fresh(node, now) for node in nodes)

    def _remember(self, key: tuple[int, str], sequence: int) -> None:
        self.sequences[key] = sequence
        self.sequences.move_to_end(key)
        while len(self.sequences) > REMEMBERED:
            self.sequences.popitem(last=False)

    def _sent(self, command: Command, now: int) -> int | None:
        """When it was sent, at the earliest; None where it proves nothing. On the same clock its own time is exact."""
        earliest = self.nonces.earliest(command, now)
        if earliest is not None and command.clock == self.clock and earliest <= command.t_sent <= now:
            return command.t_sent
        return earliest

    def _is_young(self, command: Command, transit: int) -> bool:
        """It is a sign of life, and was captured within its ttl. transit: nanoseconds since it was sent."""
        age = transit + command.t_sent - command.t_capture
        return transit < self.silence_ns and -FUTURE_NS < age <= command.ttl * 1000 <= wire.MAX_TTL_US * 1000


def within_limits(arguments: Arguments, limits: Mapping[str, Sequence[float]]) -> bool:
    """Every argument that has a limit [lowest, highest] is a number inside it."""
    for name, value in arguments.items():
        limit = limits.get(name)
        if limit is not None and not (isinstance(value, (int, float)) and limit[0] <= value <= limit[1]):
            return False
    return True
