"""The standby of `reflexd actuate`, a process: detects a dead or hung host, ends it, and makes the devices safe itself.

It starts before a device is opened, with every signal blocked, and waits. Nothing is imported, and no thread is
started, at the moment when it is needed.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from agent import redact
from agent.box import logs, realtime
from agent.box.watchdog import HardwareWatchdog
from agent.commands.beats import ENDED, LOOKED, Beats
from drivers import base as drivers
from drivers.base import Actuator, DeviceError

log = logging.getLogger("reflexd.standby")

LOOK_MS = 10
CONFIRM_MS = 100  # a killed process is gone within a few; one that the kernel holds in a driver's call is not
GIVE_UP_S = 2.0
HANGS_HERE = "its driver hangs here, too: switch the device off by hand; the next host tries again"
RETRY_S = 0.01  # the kernel releases what a dead process had open


class Device(NamedTuple):
    """An actuator of the host: name, driver's name, its options as in the configuration."""

    name: str
    driver: str
    options: dict[str, Any]


class Setup(NamedTuple):
    """From the host, one line of JSON. host_fd: a pidfd. watchdog: path of a hardware watchdog, or empty."""

    host: int
    host_fd: int
    beats_fd: int
    devices: list[Device]
    realtime: bool
    watchdog: str

    def encoded(self) -> bytes:
        devices = [device._asdict() for device in self.devices]
        return json.dumps({**self._asdict(), "devices": devices}, default=str).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Setup:
        fields = json.loads(line)
        return cls(**{**fields, "devices": [Device(**device) for device in fields["devices"]]})


class Rescue(threading.Thread):
    """One device, and a thread that waits to make it safe: no device waits for another."""

    def __init__(self, name: str, driver: Actuator, use_realtime: bool) -> None:
        super().__init__(name=name, daemon=True)
        self.driver = driver
        self.use_realtime = use_realtime
        self.wanted, self.done = threading.Event(), threading.Event()
        self.error = ""
        self.start()

    def run(self) -> None:
        realtime.set_thread([], self.use_realtime, realtime.STANDBY_PRIORITY)
        while True:
            self.wanted.wait()
            self.wanted.clear()
            end = time.monotonic() + GIVE_UP_S
            while (error := self._attempt()) and time.monotonic() < end:
                time.sleep(RETRY_S)
            self.error = error
            self.done.set()

    def _attempt(self) -> str:
        """The reason why the device is not safe; empty where it is."""
        try:
            self.driver.open()
            self.driver.safe()
        except DeviceError as error:
            return str(error)
        except BaseException as error:  # a bug in the driver, which concerns no other device
            return f"a bug in its driver: {type(error).__name__}: {error}"
        finally:
            with suppress(BaseException):
                self.driver.close()
        return ""


class Standby:
    """Watches one host. Everything that it needs is made here."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.beats = Beats(len(setup.devices), setup.beats_fd)
        self.host = select.poll()
        self.host.register(setup.host_fd, select.POLLIN)  # readable once the process has ended
        made = [(device.name, _made(device)) for device in setup.devices]
        self.rescues = [Rescue(name, d, setup.realtime) for name, d in made if d.second_process_safe]
        self.out_of_reach = [name for name, driver in made if not driver.second_process_safe]
        self.watchdog = HardwareWatchdog(Path(setup.watchdog)) if setup.watchdog else None

    def run(self) -> None:
        reason = self.watch()
        safe = True
        if reason:
            dead = self._end_host()
            start = time.monotonic()
            safe = self._make_safe()
            log.error("the standby takes over: %s", reason)
            self._report(1e3 * (time.monotonic() - start))
            if not dead:
                safe = self._make_safe_again()
        if self.watchdog:
            self.watchdog.close(stop=safe)

    def watch(self) -> str:
        """Why the host no longer keeps its devices safe; empty once it has ended in good order."""
        suspect = -1
        while not self.host.poll(LOOK_MS):
            now = time.monotonic_ns()
            self.beats.words[LOOKED] = now
            if self.beats.words[ENDED]:
                return ""
            overdue = self.beats.overdue(now)
            # Twice: where the whole box stood still, the host has the time from one look to the next.
            if overdue >= 0 and overdue == suspect:
                return self._overdue(overdue)
            suspect = overdue
            if overdue < 0 and self.watchdog:
                self.watchdog.feed(now)
        return "" if self.beats.words[ENDED] else f"{self._host} has died"

    def _overdue(self, actuator: int) -> str:
        call, name = self.beats.call(actuator), self.setup.devices[actuator].name
        where = f" in {call}() of its driver" if call else ""
        return f"actuator {name} made no progress{where}: {self._host} is stopped, or its driver hangs; it was killed"

    @property
    def _host(self) -> str:
        return f"'reflexd actuate', pid {self.setup.host},"

    def _end_host(self) -> bool:
        """Kill it, also where it is stopped. True once it is dead: then it never writes again."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.setup.host_fd, signal.SIGKILL)
        if self.host.poll(0):
            return True
        self._hurry_host()
        return bool(self.host.poll(CONFIRM_MS))

    def _hurry_host(self) -> None:
        """Threads that are killed need a processor to end, and other programs may have them all."""
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{self.setup.host}/task"):
                os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(realtime.STANDBY_PRIORITY))

    def _make_safe(self) -> bool:
        for rescue in self.rescues:
            rescue.done.clear()
            rescue.wanted.set()
        end = time.monotonic() + GIVE_UP_S + 0.5
        done = [rescue.done.wait(max(0.0, end - time.monotonic())) for rescue in self.rescues]
        return all(done) and not self.out_of_reach and not any(rescue.error for rescue in self.rescues)

    def _make_safe_again(self) -> bool:
        """A write that the kernel has begun for the host may still end."""
        log.error("%s is killed and not yet dead: the kernel holds it in a call of a device", self._host)
        self.host.poll()
        log.error("it is dead now: making its devices safe again")
        return self._make_safe()

    def _report(self, ms: float) -> None:
        for rescue in self.rescues:
            if rescue.done.is_set() and not rescue.error:
                log.warning("actuator %s is safe: by the standby, %.0f ms after the host's end", rescue.name, ms)
            else:
                log.error("actuator %s is NOT safe: %s", rescue.name, rescue.error or HANGS_HERE)
        for name in self.out_of_reach:
            log.error("actuator %s: no second process can make it safe; a new host does", name)


def _made(device: Device) -> Actuator:
    module = drivers.load(device.driver)
    driver: Actuator = module.Driver(module.Options.model_validate(device.options), device.name)
    return driver


def main() -> None:
    logs.start(logging.INFO)
    line = sys.stdin.buffer.readline()
    if not line:  # the host has ended before it knew its devices
        return
    setup = Setup.decode(line)
    redact.remember(redact.secrets([device.options for device in setup.devices]))
    standby = Standby(setup)
    realtime.lock_memory()  # what is refused here is refused in the host, too, which says so
    realtime.freeze_objects()
    realtime.set_thread([], standby.setup.realtime, realtime.STANDBY_PRIORITY)
    standby.run()
    logging.shutdown()
    os._exit(0)  # a driver that hangs here, too, must not hold this process
