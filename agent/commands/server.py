"""One actuator: receive, check, apply, acknowledge; safe on silence. The only code that calls `apply`."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

import zmq

from agent.box import realtime
from agent.commands import wire
from agent.commands.beats import APPLY, CALL, CLOSE, DUE, OPEN, SAFE
from agent.commands.connection import is_readable
from agent.commands.guard import Guard
from agent.commands.intake import Intake
from agent.commands.merge import MergedGuard
from agent.commands.peers import Peers
from agent.commands.wire import VERDICTS, Hello, OtherVersion, WireError
from agent.data import Ack, Arguments, Command
from drivers.base import Actuator, DeviceError

log = logging.getLogger("reflexd.actuate")

RETRY_NS = 200_000_000
TURN_NS = 200_000_000  # from one turn of its loop to the next: 10 ms at most, plus the delays of the box
OPEN_NS = 10_000_000_000  # to find a device takes longer than to move it, and one that is safe does not move meanwhile
START_NS = 1_000_000_000
WAITING_NS = 5_000_000  # to judge what waits before silence means safe
WARN_EVERY_NS = 10_000_000_000
# Of a sender that is as it should be, also where the device is not.
GOOD = (wire.APPLIED, wire.REPEATED, wire.OVERRULED, wire.WAITING, wire.FAULT)
# No reason for a line in the log.
IN_ORDER = (wire.REPEATED, wire.OVERRULED, wire.WAITING)


class ActuatorServer:
    """One actuator: its socket, its guard, its driver; everything on one thread."""

    def __init__(
        self,
        name: str,
        driver: Actuator,
        guard: Guard | MergedGuard,
        peers: Peers,
        socket: zmq.Socket[bytes],
        due: memoryview,
    ) -> None:
        """due: the words DUE and CALL of `beats.py`, which tell the standby by when its loop writes there again."""
        self.name = name
        self.driver = driver
        self.guard = guard
        self.peers = peers
        self.socket = socket
        self.starting = True  # in its first turn, which reads one message; no command is proven by the first
        self.opened = False
        self.healthy = True
        self.in_doubt = False  # the newest safe() failed: the device may be as the last command left it
        self.refused = False  # the device opened and went safe, but did not accept a command
        self.retry_at = 0
        self.intake = Intake()
        self.due = due
        self.deadline_ns = int(driver.deadline_ms * 1e6)
        self.counts: Counter[str] = Counter()
        self.last_warned: dict[str, int] = {}
        self.stopping = threading.Event()

    def run(self) -> None:
        """Serve until asked to stop; then make the device safe."""
        self.socket.setsockopt(zmq.RCVTIMEO, self.guard.tick_ms)
        self._expect(OPEN_NS)
        try:
            while not self.stopping.is_set():
                self._ensure_open()
                if self.opened and (error := self.driver.lost):
                    self.refused = False
                    self._device_failed(error)
                try:
                    self._receive(self.socket.recv())
                except zmq.Again:
                    pass
                now = time.monotonic_ns()
                if self.guard.overdue(now):
                    self._receive_waiting(now + WAITING_NS)
                    now = time.monotonic_ns()
                if self.guard.silent(now):
                    self.counts["silence"] += 1
                    self._make_safe(", ".join(self.guard.missing(now)) or "no sender is left")
                elif word := self.guard.take_over():
                    self._apply(*word)
                if self.starting:
                    self._started(now)
                self.due[DUE] = now + TURN_NS
                pause_s = self.intake.pause_s(now)
                if pause_s:
                    time.sleep(pause_s)
        finally:
            self._make_safe("reflexd actuate ends")
            self._timed(CLOSE, self.driver.close)
            self.socket.close(linger=0)
            self.due[DUE] = 0

    def _receive_waiting(self, end: int) -> None:
        """After a pause of this thread the oldest message comes first, and the newest is the sign of life."""
        while is_readable(self.socket) and time.monotonic_ns() < end:
            self._receive(self.socket.recv(zmq.NOBLOCK))

    def _started(self, now: int) -> None:
        """What its senders have sent since the socket listens comes at once, and looks like a flood."""
        self.starting = False
        self.last_warned["flood"] = now - WARN_EVERY_NS + START_NS

    def _receive(self, peer: bytes) -> None:
        """The rest of a message: one frame. It carries the peer's key, which a copy of its bytes would not."""
        if not self.intake.admit(peer, time.monotonic_ns()):
            self._skip_frames()
            self._refuse("flood", "strangers send more than there is time for: what they send beyond that is not read")
            return
        frame = self.socket.recv(zmq.NOBLOCK, copy=False)
        try:
            if frame.more:
                raise WireError(f"{1 + self._skip_frames()} frames in one message")
            message = wire.unpack(frame.bytes)
        except WireError as error:
            self._refuse("incompatible" if isinstance(error, OtherVersion) else "malformed", str(error))
            return
        if isinstance(message, Ack):
            return
        refusal = self.peers.refusal(peer, frame, message.node)
        if refusal:
            self._refuse(VERDICTS[wire.KEY], refusal)
        if isinstance(message, Command):
            self._acknowledge(peer, message, *((wire.KEY, 0) if refusal else self._execute(message)))
        elif isinstance(message, Hello):
            self._answer(peer, message, wire.KEY if refusal else wire.UNPROVEN)
        elif not refusal:
            self.guard.goodbye(message.node, message.session)

    def _skip_frames(self) -> int:
        """Read what is left of a message: the number of frames."""
        count = 0
        while self.socket.getsockopt(zmq.RCVMORE):
            self.socket.recv(zmq.NOBLOCK)
            count += 1
        return count

    def _execute(self, command: Command) -> tuple[int, int]:
        """(verdict, time of application or 0)."""
        verdict = self.guard.judge(command, time.monotonic_ns())
        if verdict != wire.APPLIED:
            # The first command of a sender has nothing to echo yet: the acknowledgement gives it that.
            if verdict not in IN_ORDER and (verdict != wire.UNPROVEN or command.nonce):
                self._refuse(VERDICTS[verdict], f"{command.verb} from {command.node}, sequence {command.sequence}")
            return verdict, 0
        applied = self._apply(command.verb, command.arguments)
        if not applied:
            return wire.FAULT, 0
        self.guard.applied(command)
        return wire.APPLIED, applied

    def _apply(self, verb: str, arguments: Arguments) -> int:
        """When the device had accepted it; 0 where it has not: then it is safe, or as safe as it could be made."""
        if not self.opened:
            return 0
        try:
            self._timed(APPLY, self.driver.apply, verb, arguments)
        except DeviceError as error:
            self.refused = True
            self._device_failed(error)
            return 0
        applied = time.monotonic_ns()
        if not self.healthy:
            self._device_back("takes commands again")
        return applied

    def _acknowledge(self, peer: bytes, command: Command, verdict: int, t_applied: int) -> None:
        self.counts[VERDICTS[verdict]] += 1
        if verdict in GOOD:
            self.intake.trust(peer)
        self._answer(peer, command, verdict, command.sequence, t_applied)

    def _answer(
        self, peer: bytes, sender: Command | Hello, verdict: int, sequence: int = 0, t_applied: int = 0
    ) -> None:
        now = time.monotonic_ns()
        ack = Ack(
            actuator=self.name,
            session=sender.session,
            sequence=sequence,
            verdict=verdict,
            t_applied=t_applied,
            clock=self.guard.clock,
            # A refused sender gets no proof, which another connection of its could use.
            nonce=0 if verdict == wire.KEY else self.guard.nonces.nonce(sender.node, sender.session, now),
            t_ack=now,
        )
        try:
            self.socket.send_multipart((peer, wire.pack_ack(ack)), zmq.NOBLOCK)
        except zmq.ZMQError:
            self.counts["ack lost"] += 1

    def _refuse(self, kind: str, message: str) -> None:
        """Count, and log at most every ten seconds for each kind."""
        if kind in ("malformed", "incompatible", "flood"):  # the others are counted with their answer
            self.counts[kind] += 1
        now = time.monotonic_ns()
        if now - self.last_warned.get(kind, -WARN_EVERY_NS) >= WARN_EVERY_NS:
            self.last_warned[kind] = now
            log.warning("actuator %s refuses a command as %s: %s", self.name, kind, message)

    def _timed(self, number: int, move: Callable[..., None], *arguments: object) -> None:
        """Move the device; where that takes longer than its driver says, the standby kills this process.

        In the first turn, too: a host that died together with its standby may have left the device moving.
        """
        self._call(number, self.deadline_ns + (realtime.wait_ns() if self.starting else 0), move, *arguments)

    def _call(self, number: int, within_ns: int, call: Callable[..., None], *arguments: object) -> None:
        self.due[CALL], self.due[DUE] = number, time.monotonic_ns() + within_ns
        try:
            call(*arguments)
        finally:
            self._expect(TURN_NS)
            self.due[CALL] = 0

    def _move_to_safe(self) -> None:
        self.in_doubt = True
        self._timed(SAFE, self.driver.safe)
        self.in_doubt = False

    def _expect(self, within_ns: int) -> None:
        # On a busy box a process of low priority waits for a core longer than a turn takes, and nothing has moved yet.
        self.due[DUE] = time.monotonic_ns() + (max(within_ns, OPEN_NS) if self.starting else within_ns)

    def _ensure_open(self) -> None:
        now = time.monotonic_ns()
        if self.opened or now < self.retry_at:
            return
        try:
            self._call(OPEN, self.deadline_ns if self.in_doubt else OPEN_NS, self.driver.open)
            self._move_to_safe()
        except DeviceError as error:
            self.refused = False
            self._device_failed(error)
            return
        self.opened = True
        if not self.healthy and not self.refused:
            self._device_back("is back, and safe")

    def _device_back(self, state: str) -> None:
        log.warning("actuator %s: the device %s", self.name, state)
        self.healthy, self.refused = True, False

    def _device_failed(self, error: DeviceError) -> None:
        """Try to make the device safe, close it, and open it again: later, or at once where that may make it safe."""
        self.counts["device faults"] += 1
        first = self.healthy
        if first:
            log.error("actuator %s: %s; trying again until it is back", self.name, error)
        self.healthy = False
        self._make_safe("", quiet=True)
        self._timed(CLOSE, self.driver.close)
        self.opened = False
        self.retry_at = time.monotonic_ns() + (0 if first and self.in_doubt else RETRY_NS)

    def _make_safe(self, reason: str, quiet: bool = False) -> None:
        self.guard.safe()
        if not self.opened:
            return
        try:
            self._move_to_safe()
            if not quiet:
                log.warning("actuator %s is safe: %s", self.name, reason)
        except DeviceError as error:
            if not quiet:
                self._device_failed(error)
