"""A lane's connection to one actuator: sends commands, takes acknowledgements, repeats what was not proven."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import NamedTuple

import zmq

from agent import ledger
from agent.commands import wire
from agent.commands.connection import Connection, is_readable
from agent.commands.proof import Echo
from agent.commands.wire import APPLIED, MEANING, OUTDATED, OVERRULED, REPEATED, UNPROVEN, VERDICTS, WAITING, WireError
from agent.data import Ack, Command, Decision
from agent.keys import Curve
from agent.ledger import Ledger

log = logging.getLogger("reflexd.outbox")

PENDING = 256  # messages without an acknowledgement, at most
NO_ROW = -1
CLOSING_S = 0.05  # for the answers to the last commands
# Daemon and actuator host are often started together: for so short a time no answer is no trouble.
START_NS = 1_000_000_000
# An actuator waits for its other lanes, and a camera may take this long to open; then that is worth a warning.
OPENING_NS = 5_000_000_000
NO_ANSWER = "does not answer"
OVERRULED_NS = 1_000_000_000  # for longer it is trouble
UNSTEADY, UNSTEADY_NS = 3, 60_000_000_000  # safe states in this time that are trouble, though it works in between
MAX_HELD_US = (1 << 32) - 1
# The actuator has what was sent, or a newer decision of another lane.
IN_FORCE = (APPLIED, REPEATED, OUTDATED)
TROUBLES = {verdict: f"{meaning} ({VERDICTS[verdict]})" for verdict, meaning in MEANING.items()}


class Address(NamedTuple):
    """Where an actuator listens, and after which silence it goes safe."""

    actuator: str
    endpoint: str
    safe_after_ms: float
    curve: Curve | None = None


_Pending = tuple[int, Command | None, bool]  # row in the ledger, the message, whether it is a repetition
_OVERDUE: _Pending = (NO_ROW, None, False)


class Link:
    """Only the lane's thread uses it."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: Address,
        node: str,
        session: int,
        lane_ledger: Ledger,
        sequence: int = 0,
    ) -> None:
        """sequence: the newest that this lane has sent there in this session."""
        self.address = address
        self.node = node
        self.session = session
        self.ledger = lane_ledger
        self.clock = wire.clock_id()
        self.sequence = sequence
        self.in_force: Decision | None = None
        self.heartbeat_ns = int(address.safe_after_ms / 4 * 1e6)
        self.due = 0
        self.hello_due = 0
        self.pending: dict[int, _Pending] = {}  # by sequence, oldest first
        self.greeting = False  # a hello has no answer yet
        self.echo = Echo()
        self.demanded = False  # a proof; what is sent from now on has it
        self.other_clock = False  # its times are of the other box's clock
        self.begun = self.answered_at = 0  # when this end first tried; when the newest answer was read
        self.answering = True
        self.logged = False  # that it does not answer
        self.trouble = ""  # why it does not answer, or why it refuses
        self.acknowledged: tuple[str, int, int] | None = None  # verb, when its answer was read, verdict
        self.verdict = APPLIED
        self.confirmed = 0  # the newest decision that the actuator has
        self.overruled_since = 0  # when that began; 0: the newest answer is another
        self.interrupted: deque[int] = deque(maxlen=UNSTEADY)  # when it had gone safe with that in force, newest last
        self.connection = Connection(context, address.endpoint, address.curve)
        self.socket = self.connection.socket

    def send(self, decision: Decision, t_capture: int, ttl: int, row: int, late: bool = False) -> bool:
        """Send now or not at all. False where no peer is connected or the queue is full; both are counted."""
        now = time.monotonic_ns()
        self.begun = self.begun or now
        command = self._command(decision, t_capture, now, ttl, late)
        if not self._transmit(command, row, repeated=self.demanded):
            self._not_sent(decision, row, now)
            return False
        self.in_force = decision
        return True

    def _transmit(self, command: Command, row: int, repeated: bool) -> bool:
        self.due = command.t_sent + self.heartbeat_ns
        try:
            self.socket.send(wire.pack_command(command), zmq.NOBLOCK)
        except zmq.Again:
            return False
        self.pending[command.sequence] = (row, command, repeated)
        return True

    def _command(self, decision: Decision, t_capture: int, now: int, ttl: int, late: bool) -> Command:
        self.sequence += 1
        echo = self.echo
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
            nonce=echo.nonce,
            t_echo=echo.t_ack,
            held=self._held(now),
        )

    def _held(self, now: int) -> int:
        return max(0, min((now - self.echo.t_read) // 1000, MAX_HELD_US)) if self.echo.t_read else 0

    def _repeat(self, row: int, command: Command) -> bool:
        """Send it again, with the proof that the actuator has just given; of a heartbeat, the next one at once."""
        if row == NO_ROW:
            self.due, self.demanded = 0, True
            return True
        self.sequence += 1
        now, echo = time.monotonic_ns(), self.echo
        return self._transmit(
            command._replace(
                sequence=self.sequence, t_sent=now, nonce=echo.nonce, t_echo=echo.t_ack, held=self._held(now)
            ),
            row,
            repeated=True,
        )

    def hello(self, now: int) -> bool:
        """Ask for what the next command must echo. False where no peer is connected."""
        self.hello_due = now + self.heartbeat_ns
        try:
            self.socket.send(wire.pack_hello(self.node, self.session), zmq.NOBLOCK)
        except zmq.Again:
            return False
        self.greeting = True
        return True

    def _not_sent(self, decision: Decision, row: int, now: int) -> None:
        if row != NO_ROW:
            self.ledger.count[ledger.UNDELIVERED] += 1
        self.in_force = decision  # the next heartbeat carries it
        self._not_answering(self.connection.trouble(now), now)

    def collect(self, now: int) -> None:
        """Write the acknowledgements that have arrived into the ledger, without waiting."""
        if not self.pending and not self.greeting:  # nothing is expected; what came too late is read later
            return
        while is_readable(self.socket):
            try:
                ack = wire.unpack(self.socket.recv(zmq.NOBLOCK))
            except (WireError, zmq.Again):
                self.ledger.count[ledger.FAULTS] += 1
                continue
            if isinstance(ack, Ack) and ack.session == self.session:
                self._acknowledged(ack, now)
        self._drop_overdue(now)

    def _acknowledged(self, ack: Ack, now: int) -> None:
        self.greeting = False
        self.echo.take(ack, now, demanded=ack.verdict == UNPROVEN)
        self.other_clock = ack.clock != self.clock
        self.answered_at = now
        if self.logged:
            log.warning("actuator %s answers again", self.address.actuator)
        self.answering, self.logged = True, False
        row, command, repeated = self.pending.pop(ack.sequence, _OVERDUE)
        if ack.verdict == UNPROVEN:
            if command is None or (not repeated and self._repeat(row, command)):
                return  # it was a hello, or was given up; or it is on its way again
        else:
            self.demanded = False
        self.overruled_since = (self.overruled_since or now) if ack.verdict == OVERRULED else 0
        self._set_acknowledged(command, ack.verdict, now)
        self._record(row, ack, now)
        self._log_verdict(ack.verdict, now)

    def _set_acknowledged(self, command: Command | None, verdict: int, now: int) -> None:
        """For `reflexd status`."""
        if command:
            self.acknowledged = command.verb, now, verdict
        if verdict not in IN_FORCE and not self._is_briefly_overruled(verdict, now):
            self._set_trouble(TROUBLES[verdict])
            return
        if command:
            if verdict == APPLIED and command.decision == self.confirmed:  # applied a second time
                self.interrupted.append(now)
            self.confirmed = command.decision
        if self.trouble:
            self._set_trouble("")

    def _is_briefly_overruled(self, verdict: int, now: int) -> bool:
        """As redundant boxes are at every event: no two of them see it at the same moment."""
        return verdict == OVERRULED and now - self.overruled_since < OVERRULED_NS

    def _set_trouble(self, trouble: str) -> None:
        self.ledger.cells[ledger.TROUBLED] += bool(trouble) - bool(self.trouble)
        self.trouble = trouble

    def _record(self, row: int, ack: Ack, now: int) -> None:
        if row == NO_ROW:
            return
        if ack.verdict not in (APPLIED, REPEATED):
            self.ledger.count[ledger.OVERRULED if ack.verdict == OVERRULED else ledger.REFUSED] += 1
            return
        self.ledger.count[ledger.ACKNOWLEDGED] += 1
        # REPEATED: the actuator has it already, by a heartbeat that overtook it; the answer is an upper bound of when.
        # So it is where the clock is another box's, which cannot be compared.
        t_applied = ack.t_applied or ack.t_ack
        self.ledger.record_applied(row, t_applied if ack.clock == self.clock else now)

    def _log_verdict(self, verdict: int, now: int) -> None:
        if verdict == WAITING and not self.confirmed and now - self.begun < OPENING_NS:
            return
        if verdict == REPEATED:
            verdict = APPLIED if self.verdict == OVERRULED else self.verdict
        if verdict != self.verdict and not self._is_briefly_overruled(verdict, now):
            level = logging.INFO if verdict == APPLIED else logging.WARNING
            log.log(level, "actuator %s %s (%s)", self.address.actuator, MEANING[verdict], VERDICTS[verdict])
            self.verdict = verdict

    def _drop_overdue(self, now: int) -> None:
        """Count overdue acknowledgements. A dict keeps its order, so the oldest is first."""
        while self.pending:
            sequence = next(iter(self.pending))
            row, command, _ = self.pending[sequence]
            assert command
            if now - command.t_sent < self.address.safe_after_ms * 1e6 and len(self.pending) < PENDING:
                return
            del self.pending[sequence]
            if row != NO_ROW:
                self.ledger.count[ledger.UNACKNOWLEDGED] += 1
            if now - self.answered_at >= self.address.safe_after_ms * 1e6:  # else that message alone was lost
                self._not_answering(NO_ANSWER if self.answering else self.trouble, now)

    def _not_answering(self, reason: str, now: int) -> None:
        if self.answering or reason != self.trouble:
            self.answering = self.logged = False
            self._set_trouble(reason)
        if not self.logged and (self.answered_at or now - self.begun >= START_NS):
            self.logged = True
            log.warning("actuator %s: %s; it goes safe by itself", self.address.actuator, reason)

    def goodbye(self) -> None:
        """Announce that no more heartbeats follow."""
        try:
            self.socket.send(wire.pack_goodbye(self.node, self.session), zmq.NOBLOCK)
        except zmq.ZMQError:
            pass  # no peer is connected

    def close(self) -> None:
        end = time.monotonic() + CLOSING_S
        while self.pending and time.monotonic() < end and self.socket.poll(5):
            self.collect(time.monotonic_ns())
        self.goodbye()
        for sequence in list(self.pending):
            row = self.pending.pop(sequence)[0]
            if row != NO_ROW:
                self.ledger.count[ledger.UNACKNOWLEDGED] += 1
        self.connection.close(linger_ms=100)
