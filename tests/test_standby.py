"""The standby of `reflexd actuate`: where its host dies or hangs, that is ended for good and the devices are safe."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.benches.attacks import host_ends
from agent.benches.attacks._relay import Site, is_running, standby_of
from agent.box.watchdog import HardwareWatchdog
from agent.commands.beats import CALL, EACH, ENDED, FIRST, SAFE, Beats
from agent.commands.standby import Device, Setup, Standby
from drivers.actuator import serial_relay
from tests.processes import Cell, Process, arm, robot
from tests.waiting import until


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Site, subprocess.Popen[bytes]]]:
    """A relay on a pseudo-terminal, which the daemon keeps on; its driver hangs where the attack wants it."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/relay.py").write_text(host_ends.DRIVER)
    site = Site(tmp_path, "ours.relay")
    daemon = site.start("run")
    yield site, daemon
    site.close(daemon)


@pytest.mark.parametrize("kind", host_ends.KINDS)
@pytest.mark.slow
def test_kind_a_host_that_dies_or_hangs(site: tuple[Site, subprocess.Popen[bytes]], kind: str) -> None:
    """The relay is switched off, the host is dead, also after SIGCONT, and the standby has ended.

    How soon: `reflexd bench faults --attack host_ends`.
    """
    failures: list[str] = []
    safe_ms = host_ends.attack(*site, kind, failures)
    assert failures == [] and safe_ms > 0, (site[0].folder / "log").read_text()


def _standby(host: Process) -> int:
    return until(partial(standby_of, host.popen), "a standby")


def _ends(pid: int) -> None:
    until(lambda: not is_running(pid), "the standby ends")


def _kill_both(host: Process) -> None:
    pid = _standby(host)
    os.kill(pid, signal.SIGSTOP)  # so that it cannot act in between
    host.signal(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    _ends(pid)


def test_it_ends_with_a_host_that_ends_in_good_order(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        host, _ = cell.start_both()
        pid = _standby(host)
        assert os.getsid(pid) == pid, "a session of its own: Ctrl-C in the host's terminal does not reach it"
        assert host.stop() == 0
        assert not is_running(pid)
        assert "standby" not in host.text and cell.verbs()[-1] == "safe"


def test_no_signal_but_kill_ends_it(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        host, _ = cell.start_both()
        pid = _standby(host)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT, signal.SIGTSTP):
            os.kill(pid, number)
        host.signal(signal.SIGKILL)
        host.wait_for_standby("actuator robot is safe: by the standby")
        _ends(pid)
        assert cell.verbs()[-1] == "safe"


@pytest.mark.parametrize("numbers", [[signal.SIGKILL, signal.SIGKILL], [signal.SIGSTOP]])
@pytest.mark.slow
def test_one_that_dies_or_hangs_is_replaced_and_that_is_said_once(tmp_path: Path, numbers: list[int]) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        host, _ = cell.start_both()
        for number in numbers:
            pid = _standby(host)
            # Only one that has begun to watch is replaced within a second; it has a thread for its device then.
            until(lambda at=pid: len(os.listdir(f"/proc/{at}/task")) > 1, "the standby is ready")
            os.kill(pid, number)
            until(lambda before=pid: standby_of(host.popen) not in (0, before), "another standby")
        assert len(host.lines("until one watches")) == 1 and host.popen.poll() is None
        host.wait_for("the standby watches again")
        host.signal(signal.SIGSTOP)
        host.wait_for_standby("actuator robot is safe: by the standby")
        assert host.exit_code() == -signal.SIGKILL


@pytest.mark.slow
def test_both_killed_leave_no_process_and_the_next_host_makes_the_device_safe(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        host, _ = cell.start_both()
        _kill_both(host)
        assert cell.verbs()[-1] == "run", "what no program can do"
        done = len(cell.verbs())
        cell.actuate()
        assert cell.wait_for("safe", after=done)


LEFT_ON = """\
import sys, time
from pathlib import Path
from drivers.actuator import log
Options = log.Options

class Driver(log.Driver):
    def safe(self):
        in_standby = sys.argv[0] == "-c"
        if Path("hang").exists() and (Path("hang").read_text() or not in_standby):
            time.sleep(5.0)  # less than an open may take
        super().safe()
"""


@pytest.mark.parametrize(
    "hangs, message",
    [
        ("", "actuator robot is safe: by the standby"),
        ("in the standby", "actuator robot is NOT safe: its driver hangs here, too: switch the device off by hand"),
    ],
)
@pytest.mark.slow
def test_a_device_left_on_by_both_whose_first_safe_hangs(tmp_path: Path, hangs: str, message: str) -> None:
    """The new host is ended at its driver's deadline, and the one after it serves once the driver returns."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/left_on.py").write_text(LEFT_ON)
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.config["actuators"] = {"robot": robot({"driver": "ours.left_on", "path": str(cell.record)})}
        host, _ = cell.start_both()
        _kill_both(host)
        assert cell.verbs()[-1] == "run"
        (tmp_path / "hang").write_text(hangs)
        host = cell.actuate()
        host.wait_for_standby("actuator robot made no progress in safe() of its driver: 'reflexd actuate', pid")
        host.wait_for_standby(message)
        assert host.exit_code() == -signal.SIGKILL
        (tmp_path / "hang").unlink()
        done = len(cell.verbs())
        cell.actuate()
        cell.wait_for("run", after=done)
        assert cell.verbs()[done] == "safe"


SLOW = """\
from pathlib import Path
import time
from drivers.actuator import log
Options = log.Options

class Driver(log.Driver):
    deadline_ms = 60_000
    def safe(self):
        super().apply("begins", {})
        if Path("slow").exists():
            time.sleep(1.0)
        super().safe()
"""


def test_a_new_host_waits_until_the_standby_of_the_dead_one_has_done_its_work(tmp_path: Path) -> None:
    """Never do two processes move a device."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/slow.py").write_text(SLOW)
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.config["actuators"] = {"robot": robot({"driver": "ours.slow", "path": str(cell.record)})}
        host, _ = cell.start_both()
        (tmp_path / "slow").touch()
        done = len(cell.verbs())
        host.signal(signal.SIGKILL)
        cell.actuate()
        cell.wait_for("run", after=done)
        assert cell.verbs()[done:] == ["begins", "safe", "begins", "safe", "run"]


FAULTY = """\
from drivers.actuator import log
Options = log.Options

class Driver(log.Driver):
    def open(self):
        import os, sys
        if sys.argv[0] == "-c":  # in the standby
            raise ZeroDivisionError("at open")
        super().open()
"""


def test_a_device_that_the_standby_cannot_make_safe_does_not_keep_it_from_others(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/faulty.py").write_text(FAULTY)
    with Cell(tmp_path, {"arm": arm()}) as cell:
        config: dict[str, Any] = cell.config
        config["actuators"]["belt"] = robot({"driver": "ours.faulty", "path": str(tmp_path / "belt.jsonl")})
        config["actuators"]["lamp"] = robot({"driver": "actuator.sim"})
        host, _ = cell.start_both()
        pid = _standby(host)
        host.signal(signal.SIGKILL)
        cell.wait_for("safe", after=2)
        host.wait_for_standby("actuator belt is NOT safe: a bug in its driver: ZeroDivisionError: at open")
        host.wait_for_standby("actuator lamp: no second process can make it safe; a new host does")
        host.wait_for_standby("actuator robot is safe: by the standby")
        _ends(pid)


def _log(path: Path) -> Device:
    return Device("belt", "actuator.log", {"path": str(path)})


def test_a_host_that_does_not_die_at_once_is_waited_for_and_its_device_made_safe_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that the kernel holds in a driver's write: here SIGKILL is not sent."""
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda fd, number: None)
    path = tmp_path / "belt.jsonl"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as host:
        fd, beats = os.pidfd_open(host.pid), Beats(1)
        standby = Standby(Setup(host.pid, fd, beats.fd, [_log(path)], False, ""))
        thread = threading.Thread(target=standby.run)
        thread.start()
        beats.of(0)[0] = 1  # overdue since the box was started
        until(lambda: "the kernel holds it in a call" in caplog.text)
        assert len(path.read_text().splitlines()) == 1 and thread.is_alive()
        host.kill()
        thread.join()
        assert len(path.read_text().splitlines()) == 2
        os.close(fd)
        beats.close()


SLUGGISH = """\
import time
from pathlib import Path
from drivers.actuator import log
Options = log.Options

class Driver(log.Driver):
    turns = 0
    def open(self):
        time.sleep(0.5)
        super().open()

    @property
    def lost(self):
        self.turns += 1
        time.sleep(0.5 if self.turns == 1 else 60.0 if Path("hang").exists() else 0.0)
"""


def test_a_host_that_gets_no_core_during_its_first_turn_is_not_ended_and_later_it_is(tmp_path: Path) -> None:
    """As at nice 19 on a busy box: here the turn waits in its driver."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/sluggish.py").write_text(SLUGGISH)
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.config["actuators"] = {"robot": robot({"driver": "ours.sluggish", "path": str(cell.record)})}
        host, _ = cell.start_both()
        assert "the standby takes over" not in host.text
        (tmp_path / "hang").touch()
        host.wait_for_standby("actuator robot made no progress")
        host.wait_for_standby("actuator robot is safe: by the standby")


def test_beats_are_seen_by_both_and_overdue_in_order() -> None:
    ours = Beats(3)
    theirs = Beats(3, os.dup(ours.fd))
    assert theirs.overdue(1 << 62) == -1, "nothing is expected before a loop runs"
    ours.of(2)[0], ours.of(1)[0] = 100, 200
    assert [theirs.overdue(now) for now in (99, 100, 101, 201)] == [-1, -1, 2, 1]
    ours.of(1)[CALL] = SAFE
    assert [theirs.call(actuator) for actuator in range(3)] == ["", "safe", ""]
    ours.of(1)[0] = ours.of(2)[0] = 0
    ours.words[ENDED] = 1
    assert theirs.overdue(1 << 62) == -1 and theirs.words[ENDED] == 1 and len(theirs.words) == FIRST + 3 * EACH
    for beats in (ours, theirs, ours):
        beats.close()


@pytest.mark.parametrize("more, deadline_ms", [({}, 150), ({"echo": "same"}, 250), ({"timeout_ms": 40}, 90)])
def test_a_relay_states_how_long_its_calls_may_take(more: dict[str, Any], deadline_ms: float) -> None:
    options = serial_relay.Options(url="/dev/ttyUSB0", channels={"off": {1: False}}, safe="off", **more)
    driver = serial_relay.Driver(options)
    assert driver.deadline_ms == deadline_ms and driver.second_process_safe


class Fifo:
    """Stands for /dev/watchdog: a FIFO, which resets nothing. It is open for reading, so that it can be written."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.received = b""

    def fed(self) -> bytes:
        """All that has come."""
        with suppress(BlockingIOError):
            while data := os.read(self.fd, 4096):
                self.received += data
        return self.received


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    made = Fifo(tmp_path / "watchdog")
    yield made
    os.close(made.fd)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.slow
def test_a_hardware_watchdog_is_fed_and_stopped_once_every_device_is_safe(
    tmp_path: Path, fifo: Fifo, number: int
) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.config["watchdog_device"] = str(tmp_path / "watchdog")
        host, _ = cell.start_both()
        until(lambda: fifo.fed().count(b"\0") >= 3, "fed three times")
        host.signal(number)
        until(lambda: fifo.fed().endswith(b"V"), "stopped")
        assert fifo.fed().count(b"V") == 1 and cell.verbs()[-1] == "safe"


def test_a_hardware_watchdog_goes_on_where_a_device_is_not_safe(tmp_path: Path, fifo: Fifo) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.config["watchdog_device"] = str(tmp_path / "watchdog")
        cell.config["actuators"]["lamp"] = robot({"driver": "actuator.sim"})  # type: ignore[index]
        host, _ = cell.start_both()
        pid = _standby(host)
        until(fifo.fed, "fed")
        host.signal(signal.SIGKILL)
        _ends(pid)
        assert b"V" not in fifo.fed()


def test_a_hardware_watchdog_that_comes_later_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    path, second = tmp_path / "watchdog", 1_000_000_000
    watchdog = HardwareWatchdog(path)
    for now in range(3):
        watchdog.feed(second * (now + 1))
    assert caplog.text.count(f"watchdog_device: {path}: {os.strerror(errno.ENOENT)}") == 1
    fifo = Fifo(path)
    watchdog.feed(4 * second)
    watchdog.feed(4 * second + 1)  # too early: nothing
    assert fifo.fed() == b"\0" and "resets this box when it is not fed" in caplog.text
    os.set_blocking(fifo.fd, False)
    watchdog.close(stop=False)
    assert fifo.fed() == b"\0"
    os.close(fifo.fd)


@pytest.mark.hardware
def test_a_real_hardware_watchdog() -> None:
    """Opens it, feeds it and stops it: on a box whose kernel runs with `nowayout` this resets the box."""
    path = Path(os.environ.get("REFLEXD_WATCHDOG", "/dev/watchdog"))
    if not path.exists():
        pytest.skip(f"no {path} on this machine: name one in REFLEXD_WATCHDOG")
    watchdog = HardwareWatchdog(path)
    watchdog.feed(time.monotonic_ns())
    seconds = struct.unpack("i", fcntl.ioctl(watchdog.fd, 0x80045707, b"\0" * 4))[0]  # WDIOC_GETTIMEOUT
    watchdog.close(stop=True)
    assert seconds >= 2
