"""One actuator: receive, check, apply, acknowledge; safe on silence. The only code that calls `apply`."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

import zmq

from agent import wire
from agent.data import Ack, Command
from agent.guard import Guard
from agent.wire import VERDICTS, WireError
from drivers.base import Actuator, DeviceError

log = logging.getLogger("reflexd.actuate")

RETRY_NS = 200_000_000
STUCK_NS = 1_000_000_000  # a driver that takes longer has hung: only a restart gets the device back
GRUMBLE_NS = 10_000_000_000


class Post:
    """One actuator: its socket, its guard, its driver; everything on one thread."""

    def __init__(self, name: str, driver: Actuator, guard: Guard, socket: zmq.Socket[bytes]) -> None:
        self.name = name
        self.driver = driver
        self.guard = guard
        self.socket = socket
        self.opened = False
        self.well = True
        self.refused = False  # it opened and went safe, and did not take a command
        self.retry_at = 0
        self.busy_since = 0
        self.counts: Counter[str] = Counter()
        self.grumbled: dict[str, int] = {}
        self.stopping = threading.Event()

    def run(self) -> None:
        """Serve until asked to stop, then leave the device safe."""
        self.socket.setsockopt(zmq.RCVTIMEO, self.guard.tick_ms)
        try:
            while not self.stopping.is_set():
                self.ensure_open()
                try:
                    self.receive(self.socket.recv_multipart())
                except zmq.Again:
                    pass
                now = time.monotonic_ns()
                if self.guard.silent(now):
                    self.counts["silence"] += 1
                    self.make_safe(", ".join(self.guard.missing(now)) or "nobody commands it any more")
        finally:
            self.make_safe("reflexd actuate ends")
            self.driver.close()
            self.socket.close(linger=0)

    def receive(self, parts: list[bytes]) -> None:
        """One message: the peer's identity and one frame."""
        try:
            if len(parts) != 2:
                raise WireError(f"{len(parts) - 1} frames in one message")
            message = wire.unpack(parts[1])
        except WireError as error:
            self.refuse("malformed", str(error))
            return
        if isinstance(message, Command):
            self.answer(parts[0], message, *self.obey(message))
        elif not isinstance(message, Ack):
            self.guard.bye(*message)

    def obey(self, command: Command) -> tuple[int, int]:
        """(verdict, time of application or 0)."""
        verdict = self.guard.judge(command, time.monotonic_ns())
        if verdict != wire.APPLIED:
            if verdict not in (wire.SEEN, wire.WAITING):
                self.refuse(VERDICTS[verdict], f"{command.verb} from {command.node}, sequence {command.sequence}")
            return verdict, 0
        if not self.opened:
            return wire.FAULT, 0
        try:
            self.watched(self.driver.apply, command.verb, command.arguments)
        except DeviceError as error:
            self.refused = True
            self.gone(error)
            return wire.FAULT, 0
        applied = time.monotonic_ns()
        self.guard.applied(command)
        if not self.well:
            self.back("takes commands again")
        return wire.APPLIED, applied

    def answer(self, peer: bytes, command: Command, verdict: int, t_applied: int) -> None:
        self.counts[VERDICTS[verdict]] += 1
        ack = Ack(self.name, command.session, command.sequence, verdict, t_applied, self.guard.clock)
        try:
            self.socket.send_multipart((peer, wire.pack_ack(ack)), zmq.NOBLOCK)
        except zmq.ZMQError:
            self.counts["ack lost"] += 1

    def refuse(self, kind: str, what: str) -> None:
        """Count, and say it at most every ten seconds for each kind."""
        if kind == "malformed":
            self.counts[kind] += 1
        now = time.monotonic_ns()
        if now - self.grumbled.get(kind, -GRUMBLE_NS) >= GRUMBLE_NS:
            self.grumbled[kind] = now
            log.warning("actuator %s refuses a command as %s: %s", self.name, kind, what)

    # -- the device -----------------------------------------------------------------------------------------------

    def watched(self, move: Callable[..., None], *arguments: object) -> None:
        """Move the device; the host ends, for a restart, when this takes too long."""
        self.busy_since = time.monotonic_ns()
        try:
            move(*arguments)
        finally:
            self.busy_since = 0

    def ensure_open(self) -> None:
        now = time.monotonic_ns()
        if self.opened or now < self.retry_at:
            return
        try:
            self.driver.open()
            self.watched(self.driver.safe)
        except DeviceError as error:
            self.refused = False
            self.gone(error)
            return
        self.opened = True
        if not self.well and not self.refused:
            self.back("is back, and safe")

    def back(self, how: str) -> None:
        log.warning("actuator %s: the device %s", self.name, how)
        self.well, self.refused = True, False

    def gone(self, error: DeviceError) -> None:
        """The device failed: try to leave it safe, close it, open it again later."""
        self.counts["device faults"] += 1
        if self.well:
            log.error("actuator %s: %s; trying again until it is back", self.name, error)
        self.well = False
        self.make_safe("", quiet=True)
        self.driver.close()
        self.opened = False
        self.retry_at = time.monotonic_ns() + RETRY_NS

    def make_safe(self, why: str, quiet: bool = False) -> None:
        self.guard.safe()
        if not self.opened:
            return
        try:
            self.watched(self.driver.safe)
            if not quiet:
                log.warning("actuator %s is safe: %s", self.name, why)
        except DeviceError as error:
            if not quiet:
                self.gone(error)
