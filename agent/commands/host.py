"""`reflexd actuate`: hosts actuator drivers, each with a thread and a socket of its own."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import zmq

from agent import keys
from agent.box import realtime
from agent.box.lockfile import lock
from agent.box.signals import StopSignal, block
from agent.box.systemd import notify
from agent.commands import wire
from agent.commands.authentication import Authenticator, AuthorizedKeys, Own
from agent.commands.beats import Beats
from agent.commands.boxes import BoxesReport
from agent.commands.guard import Bounds, Guard
from agent.commands.merge import MergedGuard, Redundancy
from agent.commands.peers import peers_of
from agent.commands.server import ActuatorServer
from agent.commands.standby import GIVE_UP_S, Device
from agent.commands.standby_process import StandbyProcess
from agent.endpoints import is_ipc, is_ipv6
from drivers.base import Actuator

log = logging.getLogger("reflexd.actuate")

STOP_S = 2.0
HANDSHAKE_MS = 2000  # a connection that has not even said hello by then is closed
STANDBY_NS = 800_000_000  # by then the standby has ended this process, unless there is none
LOCK_S = GIVE_UP_S + 1.0  # the standby of a host that died releases it by then
OTHERS_S = 0.3  # for the other devices, when one driver call does not return


class Hosted(NamedTuple):
    """An actuator to serve. driver: of the device, made, not yet open. bounds: what its guard accepts.

    endpoint: ZeroMQ address. lock: file that only one host at a time holds, until its standby has ended, too.
    redundancy: None where one box commands it. state: file for what redundant boxes say.
    """

    device: Device
    driver: Actuator
    bounds: Bounds
    endpoint: str
    lock: Path
    redundancy: Redundancy | None = None
    state: Path = Path()


class Access(NamedTuple):
    """Keys for commands over TCP. own: secret key file of the box `node`. authorized: folder of public key files."""

    node: str
    own: Path
    authorized: Path | None


class Host:
    """Actuators, each with a socket and a thread of its own."""

    def __init__(self, actuators: Sequence[Hosted], access: Access | None, use_realtime: bool) -> None:
        """access: None where no endpoint needs keys. Raises OSError for an address or a key that cannot be used."""
        self.access = access if any(not is_ipc(actuator.endpoint) for actuator in actuators) else None
        self.use_realtime = use_realtime
        self.contexts: list[zmq.Context[zmq.Socket[bytes]]] = []
        self.authenticator = Authenticator(_authorized(self.access)) if self.access else None
        self.locks: list[lock] = []
        self.beats = Beats(len(actuators))
        self.devices = [actuator.device for actuator in actuators]
        self.servers: list[ActuatorServer] = []
        self.reports: list[BoxesReport] = []
        for number, actuator in enumerate(actuators):
            self.servers.append(self._make_server(number, actuator))
        self.threads = [
            threading.Thread(target=self._serve, args=(server,), name=server.name, daemon=True)
            for server in self.servers
        ]
        self.failed = False

    def _make_server(self, number: int, actuator: Hosted) -> ActuatorServer:
        name, endpoint = actuator.device.name, actuator.endpoint
        context = realtime.zmq_context(self.use_realtime, priority=realtime.NETWORK_PRIORITY)
        self.contexts.append(context)
        if self.authenticator and not is_ipc(endpoint):
            self.authenticator.add(context)
        # Without the lock a second host would silently replace the first one's socket; and the standby of one that died
        # may be making the device safe.
        taken = f"another 'reflexd actuate', or the standby of one that died, serves {endpoint}"
        self.locks.append(
            lock(actuator.lock, f"{taken}: stop it (sudo fuser -v {actuator.lock} shows its pid)", LOCK_S)
        )
        socket = _bind(context, endpoint, self.access)
        log.info("actuator %s (%s) listens at %s", name, actuator.device.driver, endpoint)
        guard = self._make_guard(actuator)
        peers = peers_of(endpoint, self.authenticator.authorized if self.authenticator else None)
        return ActuatorServer(name, actuator.driver, guard, peers, socket, self.beats.of(number))

    def _make_guard(self, actuator: Hosted) -> Guard | MergedGuard:
        name, clock = actuator.device.name, wire.clock_id()
        if actuator.redundancy is None:
            return Guard(name, actuator.bounds, clock)
        guard = MergedGuard(name, actuator.bounds, clock, actuator.redundancy)
        self.reports.append(BoxesReport(guard, actuator.state))
        return guard

    def _serve(self, server: ActuatorServer) -> None:
        block()
        # On any core: where a program of higher priority takes one, the safe state is reached on another.
        realtime.set_thread([], self.use_realtime, realtime.ACTUATOR_PRIORITY)
        try:
            server.run()
        except BaseException:  # SystemExit of a driver ends no process, only this thread
            # A bug. This device is safe by now; the others go safe when the process ends.
            log.exception("actuator %s: a bug in its thread", server.name)
            self.failed = True

    def start(self) -> None:
        if self.authenticator:
            self.authenticator.start()
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.failed |= bool(self.make_safe(STOP_S))
        if self.authenticator:
            self.authenticator.stop()
        for context in self.contexts:
            context.destroy(linger=0)
        for report in self.reports:
            report.close()
        for endpoint_lock in self.locks:
            endpoint_lock.release()
        self.beats.close()

    def make_safe(self, within_s: float) -> list[str]:
        """End every actuator's loop, which makes its device safe. Names of those that did not in this time."""
        for server in self.servers:
            server.stopping.set()
        end = time.monotonic() + within_s
        for thread in self.threads:
            thread.join(max(0.0, end - time.monotonic()))
        return [thread.name for thread in self.threads if thread.is_alive()]

    def overdue(self, by_ns: int = 0) -> str:
        """Name of an actuator whose loop makes no progress for longer than allowed, plus this; empty: there is none."""
        number = self.beats.overdue(time.monotonic_ns() - by_ns)
        return self.servers[number].name if number >= 0 else ""


class _Watchdog:
    """systemd's: fed while every actuator's loop makes progress."""

    def __init__(self, host: Host) -> None:
        self.host = host
        # Four times in its time limit: one thread that waits for a core does not use it up.
        self.every_ns = int(os.environ.get("WATCHDOG_USEC", "0")) * 1000 // 4 or 500_000_000
        self.fed_at = 0

    def feed(self) -> None:
        now = time.monotonic_ns()
        if now - self.fed_at >= self.every_ns and not self.host.overdue():
            self.fed_at = now
            notify("WATCHDOG=1")


def _bind(context: zmq.Context[zmq.Socket[bytes]], endpoint: str, access: Access | None) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.IPV6, is_ipv6(endpoint))
    socket.setsockopt(zmq.MAXMSGSIZE, 4096)  # ZeroMQ drops the peer of a longer one
    socket.setsockopt(zmq.RCVHWM, 64)
    socket.setsockopt(zmq.SNDHWM, 64)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    if access and not is_ipc(endpoint):
        keys.require(socket, access.own)
    mask = os.umask(0o177)  # who may write a Unix socket may command the actuator
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise OSError(error.errno, f"cannot listen at {endpoint}: {error.strerror}") from error
    finally:
        os.umask(mask)
    return socket


def _authorized(access: Access) -> AuthorizedKeys:
    """Raises OSError where this box's own key cannot be used."""
    return AuthorizedKeys(access.authorized, Own(access.node, keys.read_secret(access.own)[0]))


def run(host: Host, stop: StopSignal, watchdog_device: str = "") -> int:
    """Serve until asked to stop. The exit code: 0, or 1 after a bug or a driver that hangs.

    watchdog_device: path of a hardware watchdog; empty: none.
    """
    standby = StandbyProcess(host.devices, host.beats, host.use_realtime, watchdog_device)
    standby.start([descriptor for held in host.locks for descriptor in held.filenos()])
    realtime.raise_file_limit()
    locked = realtime.lock_memory()
    if not locked.on:
        log.warning("%s is off: %s", locked.name, locked.remedy)
    realtime.freeze_objects()  # otherwise a collection between two commands walks all modules: 12 to 17 ms measured
    realtime.raise_control_threads(host.use_realtime)
    standby.wait_ready(stop)
    host.start()
    notify("READY=1")
    _watch(host, stop, standby)
    notify("STOPPING=1")
    host.stop()
    standby.stop(in_order=not host.failed)
    for server in host.servers:
        log.info("actuator %s: %s", server.name, _summary(server.counts))
    return 1 if host.failed else 0


def _watch(host: Host, stop: StopSignal, standby: StandbyProcess) -> None:
    """Until asked to stop, or a bug."""
    watchdog = _Watchdog(host)
    while not stop.wait(0.1) and not host.failed:
        standby.look()
        for report in host.reports:
            report.look(time.monotonic_ns())
        stalled = host.overdue(STANDBY_NS)
        if stalled:
            _end_for_a_restart(host, stalled)
        watchdog.feed()


def _end_for_a_restart(host: Host, stalled: str) -> NoReturn:
    """The standby should have done it. Only a new process releases the device; the others are made safe before."""
    host.make_safe(OTHERS_S)
    # Not through the log, whose thread would end before it has written this.
    sys.stderr.write(f"actuator {stalled}: its driver does not return; ending for a restart\n")
    sys.stderr.flush()
    os._exit(1)


def _summary(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "no commands"
