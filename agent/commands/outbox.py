"""A lane's commands to its actuators: one ZeroMQ socket for each, heartbeats, acknowledgements.

A heartbeat is the last command again with a newer sequence and capture time. So every message carries the state that
holds as of that capture, the next heartbeat replaces a lost message, and an actuator that restarts learns the state.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import zmq

from agent import ledger
from agent.commands import wire
from agent.commands.connection import Connection
from agent.commands.wire import APPLIED, SEEN, VERDICTS, WireError, clock_id, pack_command, pack_goodbye, unpack
from agent.data import Ack, Command, Decision
from agent.keys import Curve
from agent.ledger import Ledger

log = logging.getLogger("reflexd.outbox")

PENDING = 256  # messages without an acknowledgement, at most
NO_ROW = -1

# What a verdict means, for the log.
MEANING = {
    wire.APPLIED: "takes commands again",
    wire.REPLAYED: "has received these sequence numbers before: does a second daemon use this node's name?",
    wire.EXPIRED: "got commands older than the source's timeout_ms: is the lane, or the network to it, too slow?",
    wire.LIMIT: "refuses the verb or an argument: compare its 'verbs' and 'limits' with the rules",
    wire.UNKNOWN: "takes commands from another daemon until that one leaves or falls silent",
    wire.FAULT: "cannot move its device: see the log of 'reflexd actuate'",
    wire.OUTDATED: "already has a newer decision",
    wire.WAITING: "stays safe until every lane it needs is alive: see 'senders' and the other lanes",
    wire.KEY: "refused: unknown key, or a key that may not command as this node: see keys.authorized of its box",
}
# The actuator has what was sent, or a newer decision of another lane.
IN_FORCE = (wire.APPLIED, wire.SEEN, wire.OUTDATED)
TROUBLES = {verdict: f"{meaning} ({VERDICTS[verdict]})" for verdict, meaning in MEANING.items()}
CLOSING_S = 0.05  # for the answers to the last commands


class Address(NamedTuple):
    """Where an actuator listens, and after which silence it goes safe."""

    actuator: str
    endpoint: str
    safe_after_ms: float
    curve: Curve | None = None


class Link:
    """The connection to one actuator. Only the lane's thread uses it."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: Address, node: str, session: int, lane_ledger: Ledger
    ) -> None:
        self.address = address
        self.node = node
        self.session = session
        self.ledger = lane_ledger
        self.clock = clock_id()
        self.sequence = 0
        self.in_force: Decision | None = None
        self.heartbeat_ns = int(address.safe_after_ms / 3 * 1e6)
        self.due = 0
        self.pending: dict[int, tuple[int, int, str]] = {}  # sequence -> (row in the ledger, time sent, verb)
        self.answering = True
        self.trouble = ""  # why it does not answer, as logged, or why it refuses
        self.acknowledged: tuple[str, int, int] | None = None  # verb, when its answer was read, verdict
        self.verdict = APPLIED
        self.connection = Connection(context, address.endpoint, address.curve)
        self.socket = self.connection.socket

    def send(self, decision: Decision, t_capture: int, ttl: int, row: int, late: bool = False) -> bool:
        """Send now or not at all. False where no peer is connected or the queue is full; both are counted."""
        now = time.monotonic_ns()
        self.sequence += 1
        self.due = now + self.heartbeat_ns
        try:
            self.socket.send(pack_command(self._command(decision, t_capture, now, ttl, late)), zmq.NOBLOCK)
        except zmq.Again:
            self._not_sent(decision, row)
            return False
        self.in_force = decision
        self.pending[self.sequence] = (row, now, decision.verb)
        return True

    def _command(self, decision: Decision, t_capture: int, now: int, ttl: int, late: bool) -> Command:
        return Command(
            node=self.node,
            session=self.session,
            sequence=self.sequence,
            decision=decision.number,
            actuator=self.address.actuator,
            verb=decision.verb,
            arguments=decision.arguments,
            t_capture=t_capture,
            t_sent=now,
            ttl=ttl,
            clock=self.clock,
            late=late,
        )

    def _not_sent(self, decision: Decision, row: int) -> None:
        if row != NO_ROW:
            self.ledger.count[ledger.UNDELIVERED] += 1
        self.in_force = decision  # the next heartbeat carries it
        trouble = self.connection.trouble(time.monotonic_ns())
        if trouble != self.trouble:
            self.answering = True  # so that the new reason is logged
        self._not_answering(trouble)

    def collect(self, now: int) -> None:
        """Write the acknowledgements that have arrived into the ledger, without waiting."""
        while int(self.socket.get(zmq.EVENTS)) & zmq.POLLIN:
            try:
                ack = unpack(self.socket.recv(zmq.NOBLOCK))
            except (WireError, zmq.Again):
                self.ledger.count[ledger.FAULTS] += 1
                continue
            if isinstance(ack, Ack) and ack.session == self.session:
                self._acknowledged(ack, now)
        self._drop_overdue(now)

    def _acknowledged(self, ack: Ack, now: int) -> None:
        row, _, verb = self.pending.pop(ack.sequence, (NO_ROW, 0, ""))
        if not self.answering:
            self.answering = True
            log.warning("actuator %s answers again", self.address.actuator)
        self._note_answer(verb, ack.verdict, now)
        if row != NO_ROW:
            if ack.verdict == APPLIED:
                self.ledger.count[ledger.ACKNOWLEDGED] += 1
                # The clock of another box cannot be compared: the time of the answer is an upper bound.
                self.ledger.record_applied(row, ack.t_applied if ack.clock == self.clock else now)
            elif ack.verdict != SEEN:
                self.ledger.count[ledger.REFUSED] += 1
        if ack.verdict != self.verdict and ack.verdict != SEEN:
            level = logging.INFO if ack.verdict == APPLIED else logging.WARNING
            log.log(level, "actuator %s %s (%s)", self.address.actuator, MEANING[ack.verdict], VERDICTS[ack.verdict])
            self.verdict = ack.verdict

    def _note_answer(self, verb: str, verdict: int, now: int) -> None:
        """For `reflexd status`."""
        if verb:
            self.acknowledged = verb, now, verdict
        if verdict not in IN_FORCE:
            self._set_trouble(TROUBLES[verdict])
        elif self.trouble:
            self._set_trouble("")

    def _set_trouble(self, trouble: str) -> None:
        self.ledger.cells[ledger.TROUBLED] += bool(trouble) - bool(self.trouble)
        self.trouble = trouble

    def _drop_overdue(self, now: int) -> None:
        """Count overdue acknowledgements. A dict keeps its order, so the oldest is first."""
        while self.pending:
            sequence = next(iter(self.pending))
            row, sent, _ = self.pending[sequence]
            if now - sent < self.address.safe_after_ms * 1e6 and len(self.pending) < PENDING:
                return
            del self.pending[sequence]
            if row != NO_ROW:
                self.ledger.count[ledger.UNACKNOWLEDGED] += 1
            self._not_answering("does not answer")

    def _not_answering(self, reason: str) -> None:
        if self.answering:
            self.answering = False
            self._set_trouble(reason)
            log.warning("actuator %s: %s; it goes safe by itself", self.address.actuator, reason)

    def goodbye(self) -> None:
        """Announce that no more heartbeats follow."""
        try:
            self.socket.send(pack_goodbye(self.node, self.session), zmq.NOBLOCK)
        except zmq.ZMQError:
            pass  # no peer is connected

    def close(self) -> None:
        end = time.monotonic() + CLOSING_S
        while self.pending and time.monotonic() < end and self.socket.poll(5):
            self.collect(time.monotonic_ns())
        self.goodbye()
        for sequence in list(self.pending):
            row, _, _ = self.pending.pop(sequence)
            if row != NO_ROW:
                self.ledger.count[ledger.UNACKNOWLEDGED] += 1
        self.connection.close(linger_ms=100)


class Outbox:
    """All links of one lane."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        addresses: Sequence[Address],
        node: str,
        session: int,
        lane_ledger: Ledger,
    ) -> None:
        self.links = {address.actuator: Link(context, address, node, session, lane_ledger) for address in addresses}
        self.all = list(self.links.values())

    @property
    def wait_s(self) -> float:
        """How long a lane may sleep before a heartbeat is due."""
        return min((link.heartbeat_ns for link in self.all), default=100_000_000) / 2e9

    def send(self, decision: Decision, t_capture: int, ttl: int, row: int, late: bool = False) -> bool:
        """To the decision's actuator, now or not at all; see Link.send."""
        return self.links[decision.actuator].send(decision, t_capture, ttl, row, late)

    def heartbeat(self, now: int, t_capture: int, ttl: int, current: Callable[[str], Decision | None]) -> None:
        """Repeat the decision in force where nothing was sent for a third of safe_after_ms."""
        for link in self.all:
            if now >= link.due:
                decision = current(link.address.actuator) or link.in_force
                if decision is not None:
                    link.send(decision, t_capture, ttl, NO_ROW)

    def wait_connected(self, timeout_s: float) -> None:
        """Wait for the connections before the first command; an absent actuator is reported at the first send."""
        end = time.monotonic() + timeout_s
        for link in self.all:
            link.socket.poll(max(0, int((end - time.monotonic()) * 1000)), zmq.POLLOUT)

    def collect(self, now: int) -> None:
        for link in self.all:
            link.collect(now)

    def goodbye(self) -> None:
        """Leave without closing: the actuators do not wait for this lane until it sends again."""
        for link in self.all:
            link.goodbye()

    def close(self) -> None:
        for link in self.all:
            link.close()
