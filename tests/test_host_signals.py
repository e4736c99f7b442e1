"""No signal leaves a device moving: from the first line of Python to the end, in `reflexd actuate` and `run`."""

from __future__ import annotations

import json
import os
import random
import signal
import time
import tty
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Cell, Process, arm, never, robot
from tests.test_watchdog import Systemd, systemd
from tests.waiting import until

__all__ = ["systemd"]
OFF = bytes.fromhex("a00100a1")
START_S = 1.5  # signals come within this time from the start
DELAYS = random.Random(12)


class Relay:
    """A relay board on a pseudo-terminal, the host that drives it, and a signal to that host at some time."""

    def __init__(self, folder: Path, name: str) -> None:
        self.far, self.near = os.openpty()
        tty.setraw(self.near)
        os.set_blocking(self.far, False)
        self.received = b""
        channels = {"on": {1: True}, "off": {1: False}}
        device = {"driver": "actuator.serial_relay", "url": os.ttyname(self.near), "channels": channels, "safe": "off"}
        config = {
            "node": name,
            "run_dir": str(folder / name),
            "actuators": {"siren": {"device": device, "rest": "off"}},
        }
        path = folder / f"{name}.yaml"
        path.write_text(json.dumps(config))
        self.host = Process(folder / f"{name}.log", "actuate", "-c", str(path))

    def last(self) -> bytes:
        """The newest frame; empty before the first."""
        with suppress(BlockingIOError):
            while data := os.read(self.far, 4096):
                self.received += data
        return self.received[-4:]

    def is_off(self) -> bool:
        return self.last() == OFF

    def close(self) -> None:
        if self.host.popen.poll() is None:
            self.host.signal(signal.SIGKILL)
            self.host.popen.wait()
        os.close(self.far)
        os.close(self.near)


def _send_each(processes: list[Process], number: int) -> None:
    """Send it to each at a random time after its first line, the same for all runs of this test."""
    due = []
    for process in processes:
        until(partial(_holds_sighup, process), "SIGHUP held back")
        due.append((time.monotonic() + DELAYS.uniform(0, START_S), process))
    for at, process in sorted(due, key=lambda each: each[0]):
        time.sleep(max(0.0, at - time.monotonic()))
        process.signal(number)


def _holds_sighup(process: Process) -> bool:
    """From here the start of Python itself is over; before, no program in Python can do anything."""
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    mask = int(status.split("SigBlk:")[1].split()[0], 16)
    handled = int(status.split("SigCgt:")[1].split()[0], 16)
    return bool((mask | handled) & 1) or process.popen.poll() is not None


@pytest.mark.parametrize("batch", range(5))
@pytest.mark.slow
def test_sighup_during_the_start_of_the_host(tmp_path: Path, batch: int) -> None:
    """20 times in all: it goes on, says so, and a late signal does not change its exit code."""
    relays = [Relay(tmp_path, f"gate-{batch}{number}") for number in range(4)]
    try:
        _send_each([relay.host for relay in relays], signal.SIGHUP)
        for relay in relays:
            relay.host.wait_for("a reload is not possible here: systemctl restart reflexd-actuate")
            until(relay.is_off, "the first safe state")
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
                relay.host.signal(number)
            assert relay.host.exit_code() == 0
            assert relay.is_off() and relay.host.lines("siren is safe: reflexd actuate ends")
    finally:
        for relay in relays:
            relay.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_the_start_of_the_host(tmp_path: Path, number: int) -> None:
    """At once while nothing can have moved; in order afterwards."""
    relays = [Relay(tmp_path, f"gate-{number}{each}") for each in range(4)]
    try:
        _send_each([relay.host for relay in relays], number)
        for relay in relays:
            assert relay.host.exit_code() in (0, -number), relay.host.text
            assert "Traceback" not in relay.host.text
            assert relay.last() in (b"", OFF)
    finally:
        for relay in relays:
            relay.close()


@pytest.mark.slow
def test_sighup_during_the_start_of_the_daemon_reloads_it_once_it_runs(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        for _ in range(4):
            daemon = cell.run()
            _send_each([daemon], signal.SIGHUP)
            daemon.wait_for("configuration reloaded: nothing changed; no lane restarted")
            assert daemon.lines("cell-1 runs")
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
                daemon.signal(number)
            assert daemon.exit_code() == 0, daemon.text


ENDING = ("USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PWR", "PIPE", "XCPU", "XFSZ", "RTMIN", "RTMAX", "HUP")
STOPPING = ("TSTP", "TTIN", "TTOU")


def test_what_ends_or_stops_other_programs_does_not_end_or_stop_a_host_at_work(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        host, daemon = cell.start_both()
        for number in (*(signal.Signals[f"SIG{name}"] for name in ENDING + STOPPING), 16):  # 16: SIGSTKFLT
            host.signal(number)
        host.wait_for("a reload is not possible here")
        host.wait_for("a pause is not possible here")
        cell.wait_for_count("arm", "samples", cell.counts("arm")["samples"] + 500)
        assert host.popen.poll() is None and cell.verbs()[-1] == "run"
        done = len(cell.verbs())
        daemon.signal(signal.SIGKILL)
        cell.wait_for("safe", after=done)
        assert host.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_what_ends_a_host_at_work_makes_the_device_safe_before(tmp_path: Path, number: int) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        host, _ = cell.start_both()
        host.signal(number)
        assert host.exit_code() == 0
        assert cell.verbs()[-1] == "safe"


HANGS = """\
from pathlib import Path
import time
from drivers.actuator import log
Options = log.Options

def hang(name):
    while Path(name).exists():
        Path("hangs").touch()
        time.sleep(0.005)

class Driver(log.Driver):
    def open(self):
        hang("hang-open")
        super().open()
    def apply(self, verb, arguments):
        hang("hang-apply")
        super().apply(verb, arguments)
"""


def _hanging(cell: Cell) -> None:
    """A second actuator, whose driver hangs while a file exists."""
    (cell.folder / "ours").mkdir()
    (cell.folder / "ours/hangs.py").write_text(HANGS)
    config: dict[str, Any] = cell.config
    config["actuators"]["belt"] = robot({"driver": "ours.hangs", "path": str(cell.folder / "belt.jsonl")})
    config["rules"]["belt"] = {**never("arm", config["lanes"]["arm"]["model"]), "actuator": "belt"}


def _feeds(systemd: Systemd) -> int:
    return systemd.received().count("WATCHDOG=1")


def _receive(systemd: Systemd, count: int) -> None:
    """Wait for this many feedings."""
    for _ in range(count):
        until(partial(_feeds, systemd), "WATCHDOG=1")


def test_the_watchdog_is_fed_while_every_actuator_makes_progress(
    tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        _hanging(cell)
        host = cell.actuate()
        systemd.receives("READY=1")
        _receive(systemd, 5)  # idle: no sender
        monkeypatch.delenv("NOTIFY_SOCKET")  # only the host's states are counted
        daemon = cell.run()
        cell.wait_for("run")
        _receive(systemd, 5)
        (tmp_path / "hang-apply").touch()
        daemon.signal(signal.SIGKILL)  # then its safe() hangs
        until((tmp_path / "hangs").exists, "the driver hangs")
        _feeds(systemd)
        assert host.exit_code() == -signal.SIGKILL
        assert _feeds(systemd) <= 2, "it hung for two of its feedings at most"
        host.wait_for_standby("actuator belt made no progress")
        host.wait_for_standby("actuator robot is safe: by the standby")
        assert cell.verbs()[-1] == "safe", "the other device"


def test_a_device_that_is_slow_to_open_does_not_starve_the_watchdog(tmp_path: Path, systemd: Systemd) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        _hanging(cell)
        (tmp_path / "hang-open").touch()
        host = cell.actuate()
        until((tmp_path / "hangs").exists, "the driver hangs")
        _receive(systemd, 15)
        (tmp_path / "hang-open").unlink()
        until((tmp_path / "belt.jsonl").exists, "the device is open")
        assert host.stop() == 0
        assert "STOPPING=1" in systemd.received()


@pytest.mark.slow
def test_sighup_ends_a_demo_with_its_processes(tmp_path: Path) -> None:
    demo = Process(tmp_path / "demo.log", "demo", "--seconds", "600")
    demo.wait_for("p50")
    children = [int(pid) for pid in Path(f"/proc/{demo.popen.pid}/task/{demo.popen.pid}/children").read_text().split()]
    demo.signal(signal.SIGHUP)
    assert demo.exit_code() == 0, demo.text
    assert len(children) == 2 and not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_a_short_command_ends_at_sigint(tmp_path: Path) -> None:
    config = tmp_path / "empty.yaml"
    config.write_text("{}")
    # Measures for ten seconds.
    commands = [Process(tmp_path / f"{number}.log", "doctor", "-c", str(config)) for number in range(4)]
    _send_each(commands, signal.SIGINT)
    for command in commands:
        assert command.exit_code() in (130, -signal.SIGINT) and "Traceback" not in command.text, command.text
