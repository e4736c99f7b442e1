"""An actuator host is killed, is stopped and continued, hangs or exits in its driver, while its relay is on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from agent import ledger
from agent.benches.attacks._relay import END_S, OFF, ON, START_S, AttackFailed, Site, is_running, standby_of, wait
from agent.benches.attacks.outcome import Outcome
from agent.benches.programs import stop

BOUND_MS = 300.0
LEFT_ON = "left on, first safe hangs"  # by a host that was killed together with its standby
KINDS = ("killed", "stopped", "apply hangs", "safe hangs", "open hangs", "exits", LEFT_ON)
AFTER_S = 0.3  # in which a host that was stopped and goes on would write
# The process named in the file hangs or exits in the call named there, once; with the time at which it does. Before an
# open that hangs, the device has failed, and could not be made safe.
DRIVER = """\
import os, sys, time
from pathlib import Path
from drivers.actuator import serial_relay
from drivers.base import DeviceFault
Options = serial_relay.Options
FOLDER = Path(__file__).parents[1]
BEGUN = FOLDER / "begun"

def wanted(call):
    wish = FOLDER / "wish"
    return wish.exists() and wish.read_text() == f"{call} {os.getpid()}"

def begin():
    BEGUN.write_text(str(time.monotonic_ns()))

def hang():
    begin()
    time.sleep(3600)

class Driver(serial_relay.Driver):
    def open(self):
        if BEGUN.exists() and wanted("open"):
            time.sleep(3600)
        super().open()

    def apply(self, verb, arguments):
        safe = verb == self.options.safe
        if safe and wanted("safe"):
            hang()
        if safe and BEGUN.exists() and wanted("open"):
            raise DeviceFault("not safe")
        super().apply(verb, arguments)
        if not safe and wanted("apply"):
            hang()
        if not safe and wanted("open"):
            begin()
            raise DeviceFault("no answer")
        if not safe and wanted("exit"):
            begin()
            sys.exit(0)
"""
FIRST = {"apply hangs": "apply", "open hangs": "open", "exits": "exit"}  # before the relay is on


def measure(times: int) -> Outcome:
    """Each kind this many times; the time from the event to the frame that switches the relay off."""
    safe_ms: list[float] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="reflexd-host-") as name:
        (Path(name) / "ours").mkdir()
        (Path(name) / "ours/relay.py").write_text(DRIVER)
        site = Site(Path(name), "ours.relay")
        daemon = site.start("run")
        try:
            for kind in KINDS:
                values = [attack(site, daemon, kind, failures) for _ in range(times)]
                click.echo(f"host_ends, {kind}: {_figures(values)}", err=True)
                safe_ms += values
        finally:
            site.close(daemon)
    return Outcome("host_ends", len(KINDS) * times, 0, 0, safe_ms, BOUND_MS, failures)


def _figures(values: list[float]) -> str:
    return ", ".join(f"{key} {value:.1f}" for key, value in ledger.quantiles(np.asarray(values)).items()) + " ms"


def attack(site: Site, daemon: subprocess.Popen[bytes], kind: str, failures: list[str]) -> float:
    """One repetition with a host of its own: ms until the relay is off; infinity where that failed, with the reason."""
    hosts = [site.start("actuate")]
    try:
        if kind == LEFT_ON:
            hosts.append(_successor(site, hosts[0]))
        return _repetition(site, daemon, hosts[-1], kind)
    except AttackFailed as failure:
        failures.append(f"{kind}: {failure}")
        return float("inf")
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
        (site.folder / "wish").unlink(missing_ok=True)
        (site.folder / "begun").unlink(missing_ok=True)
        for host in hosts:
            stop(host)


def _successor(site: Site, host: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """The host after one that was killed together with its standby, the relay on; its first safe() hangs."""
    site.relay.wait_for(ON, time.monotonic_ns(), START_S)
    standby = standby_of(host)
    os.kill(standby, signal.SIGSTOP)  # so that it cannot act in between
    host.kill()
    host.wait()
    os.kill(standby, signal.SIGKILL)
    wait(lambda: not is_running(standby), END_S, "the standby is not dead")
    successor = site.start("actuate")
    (site.folder / "wish").write_text(f"safe {successor.pid}")
    return successor


def _repetition(site: Site, daemon: subprocess.Popen[bytes], host: subprocess.Popen[bytes], kind: str) -> float:
    """The time from the event to OFF, ms. Raises AttackFailed."""
    if kind in FIRST:
        (site.folder / "wish").write_text(f"{FIRST[kind]} {host.pid}")
    on = 0 if kind == LEFT_ON else site.relay.wait_for(ON, time.monotonic_ns(), START_S)
    standby = wait(lambda: standby_of(host), START_S, "no standby")
    event = _event(site, daemon, host, kind)
    off = site.relay.wait_for(OFF, max(event, on), END_S)  # an earlier frame may be read late
    if kind == "stopped":
        os.kill(host.pid, signal.SIGCONT)
        time.sleep(AFTER_S)
    wait(lambda: host.poll() is not None, END_S, "the host is not dead")
    wait(lambda: not is_running(standby), END_S, "the standby has not ended")
    if site.relay.first(ON, off + 1):  # both may have been read at once
        raise AttackFailed("switched on again after the safe state")
    return (off - event) / 1e6


def _event(site: Site, daemon: subprocess.Popen[bytes], host: subprocess.Popen[bytes], kind: str) -> int:
    """Its time, ns."""
    if kind == "safe hangs":
        (site.folder / "wish").write_text(f"safe {host.pid}")
        os.kill(daemon.pid, signal.SIGSTOP)  # its silence calls safe()
    if kind.endswith("hangs") or kind in FIRST:
        begun = site.folder / "begun"
        return wait(lambda: int(begun.read_text() or 0) if begun.exists() else 0, END_S, "the driver does not hang")
    time.sleep(random.uniform(0.0, 0.2))
    event = time.monotonic_ns()
    os.kill(host.pid, signal.SIGKILL if kind == "killed" else signal.SIGSTOP)
    return event
