"""Sends the frames in force on a CAN bus, again and again, as long as the host is alive.

Not by the kernel's broadcast manager (python-can's send_periodic on SocketCAN). Its timers end when its socket closes
(bcm_release in net/can/bcm.c), so with the process; but a process that hangs or is stopped keeps its socket, and the
kernel would go on commanding for it. A thread of this process stops with it, at the next cycle, and the receiver's own
time-out does the rest.

A thread outlives a hang of the host's loop, though, and the host does not call a driver while a command stays in force
(a heartbeat is no command). What proves its loop is that it runs: the thread that called last wakes every 10 ms, and
once in 200 ms at the latest (TURN_NS in agent/commands/server.py), so its processor time grows. Where it has not grown
for `alive_ms`, or the thread has ended, the safe frames are sent instead, until the host has opened the device again.
An endless loop uses processor time, too: the standby of `reflexd actuate` ends such a process.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from drivers.actuator._can_frames import Rolling
from drivers.base import DeviceError, DeviceTimeout
from drivers.links.can import Bus, Key

ECHOES = 64  # read in one call: a flood of another program's frames must not hold it
JOIN_S = 0.04


class Timing(NamedTuple):
    """cycle_s: 0 for frames sent once. copies: at once, for each command. confirm: wait for acknowledgement."""

    cycle_s: float
    timeout_s: float
    alive_s: float
    copies: int
    confirm: bool


class Owner:
    """The thread that calls the driver, and whether it runs."""

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.clock = time.pthread_getcpuclockid(threading.get_ident())
        self.used_ns, self.changed_at = -1, time.monotonic()

    def stalled(self, limit_s: float) -> bool:
        """It has ended, or has used no processor time for this long."""
        try:
            used_ns = time.clock_gettime_ns(self.clock)
        except OSError:  # the thread has ended
            return True
        now = time.monotonic()
        if used_ns != self.used_ns:
            self.used_ns, self.changed_at = used_ns, now
        return not self.thread.is_alive() or now - self.changed_at > limit_s


class Sender:
    """failure: why frames did not leave since the last command; then the safe frames are in force.

    unconfirmed: sent and not yet on the wire. No cycle adds to them: so after a broken line is back, at most the frames
    of one cycle are late, and the next ones follow at once.
    """

    def __init__(self, name: str, bus: Bus, verbs: Mapping[str, Sequence[Rolling]], safe: str, timing: Timing) -> None:
        self.name = name
        self.bus = bus
        self.verbs = verbs
        self.safe = safe
        self.timing = timing
        self.lock = threading.Lock()
        self.in_force: Sequence[Rolling] = ()
        self.failure: DeviceError | None = None
        self.unconfirmed: deque[tuple[Key, float]] = deque()
        self.owner = Owner()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name=f"{name} CAN", daemon=True)
        if timing.cycle_s:
            self.thread.start()

    def command(self, verb: str) -> None:
        """Send its frames, and from now on in every cycle. Raises DeviceError; then the safe frames are in force."""
        until = time.monotonic() + self.timing.timeout_s
        if not self.lock.acquire(timeout=self.timing.timeout_s):
            raise DeviceTimeout(f"{self.bus.where}: the thread that sends its frames hangs")
        try:
            self._report_failure(verb)
            if self.owner.thread is not threading.current_thread():
                self.owner = Owner()
            self.in_force = self.verbs[self.safe]
            self._drain()
            for _ in range(self.timing.copies):
                self._send(self.verbs[verb], until)
            self._await_confirmation(until)
            self.in_force = self.verbs[verb]
        finally:
            self.lock.release()

    def _report_failure(self, verb: str) -> None:
        """What went wrong between two commands. The safe state is not refused for it."""
        failure, self.failure = self.failure, None
        if failure is not None and verb != self.safe:
            raise failure

    def _send(self, frames: Sequence[Rolling], until: float) -> None:
        for frame in frames:
            image = frame.next()
            self.bus.send(image, until)
            if self.timing.confirm:
                self.unconfirmed.append((image.key, time.monotonic()))

    def _await_confirmation(self, until: float) -> None:
        """The kernel hands a frame back to its sender once a node has acknowledged it (on vcan: at once)."""
        while self.unconfirmed:
            self._receive_confirmation(until - time.monotonic())
            if self.unconfirmed and time.monotonic() >= until:
                raise self._unconfirmed_error()

    def _unconfirmed_error(self) -> DeviceTimeout:
        return DeviceTimeout(
            f"{self.bus.where}: no node acknowledges a frame within {1e3 * self.timing.timeout_s:g} ms: cable,"
            f" termination, bit rate, or bus-off (ip -details link show {self.bus.where})"
        )

    def _receive_confirmation(self, wait_s: float) -> bool:
        """One frame; False where there is none. One socket's frames leave in their order."""
        echo = self.bus.echo(wait_s)
        for at, sent in enumerate(self.unconfirmed):
            if sent[0] == echo:
                del self.unconfirmed[at]
                break
        return echo is not None

    def _drain(self) -> None:
        """Frames of others with our ids would fill the socket, and then it drops our own."""
        for _ in range(ECHOES):
            if not self._receive_confirmation(0.0):
                return

    def _run(self) -> None:
        due, last = time.monotonic(), _boot_s()
        while not self.stopping.wait(due - time.monotonic()):
            due = max(due + self.timing.cycle_s, time.monotonic())  # after a pause: no burst
            with self.lock:
                now = _boot_s()
                if not self.stopping.is_set():
                    self._cycle(paused=now - last > self.timing.cycle_s + self.timing.alive_s)
                last = now

    def _cycle(self, paused: bool) -> None:
        """paused: the process, or the box, stood still, and what was in force may be an hour old."""
        try:
            self._drain()
            now = time.monotonic()
            if self.owner.stalled(self.timing.alive_s) or paused:
                self._fail(DeviceTimeout(f"{self.bus.where}: the host stood still"))
            if not self.unconfirmed:
                self._send(self.in_force, now)
            elif now - self.unconfirmed[0][1] > self.timing.timeout_s:
                self._fail(self._unconfirmed_error())
        except DeviceError as error:
            self._fail(error)

    def _fail(self, error: DeviceError) -> None:
        """The host asks for it, and then opens the device again."""
        self.failure = self.failure or error
        self.in_force = self.verbs[self.safe] if self.in_force else ()

    def close(self) -> None:
        """No frame is sent after this. The interface is closed, too."""
        self.stopping.set()
        if self.timing.cycle_s:
            self.thread.join(JOIN_S)
        self.bus.close()


def _boot_s() -> float:
    """Unlike the monotonic clock it counts the time in which the box is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
