"""Actuators that are absent, killed, stalled or broken: nothing stale is applied, and each learns the state again."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Cell, arm, fault, robot
from tests.waiting import until


def stops(cell: Cell, **schedule: Any) -> None:
    """The arm leaves its plan for a while, and the rule stops the robot."""
    cell.config["lanes"]["arm"]["source"].update(schedule)
    condition = {"lane": "arm", "score": 0.7, "hits": 2, "of": 3}
    rule = {
        "any": [{**condition, "label": label} for label in ("deviation", "collision", "overspeed")],
        "actuator": "robot",
        "verb": "stop",
        "hold_ms": 300,
    }
    cell.config["rules"] = {"arm-off-plan": rule}


def test_an_actuator_that_comes_later_learns_the_state(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        daemon = cell.run()
        daemon.wait_for("no peer connected at ipc://")
        cell.wait_for_count("arm", "undelivered")
        cell.wait_for_count("arm", "inferences", 300)
        assert len(daemon.lines("WARNING actuator robot")) == 1
        assert "(is 'reflexd actuate' running?)" in daemon.text
        cell.actuate()
        cell.wait_for("run")
        daemon.wait_for("actuator robot answers again")
        assert cell.verbs() == ["safe", "run"]
        assert cell.counts("arm")["undelivered"] == 1  # heartbeats are not decisions


def test_an_actuator_that_is_killed_and_restarted(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        host, daemon = cell.start_both()
        done = len(cell.verbs())
        host.signal(signal.SIGKILL)
        host.exit_code()
        daemon.wait_for("it goes safe by itself")
        cell.actuate()
        cell.wait_for("run", after=done)
        assert cell.verbs()[done:] == ["safe", "safe", "run"], "by the standby; by the new host"
        daemon.wait_for("answers again")
        assert daemon.stop() == 0


@pytest.mark.slow
def test_nothing_stale_is_applied_after_a_pause(tmp_path: Path) -> None:
    """The host is stopped while a decision comes and ends; the next is safe first, and obeys the present decision."""
    with Cell(tmp_path, {"arm": arm(timeout_ms=100)}) as cell:
        stops(cell, faults=[fault("overspeed", at_s=1.5, for_s=0.2)])
        host, daemon = cell.start_both()
        done = len(cell.verbs())
        host.signal(signal.SIGSTOP)
        daemon.wait_for("it goes safe by itself")
        cell.wait_for_count("arm", "decisions", 3)  # run, stop and run
        inferences = cell.counts("arm")["inferences"]
        cell.wait_for_count("arm", "inferences", inferences + 300)
        host.signal(signal.SIGCONT)
        assert host.exit_code() == -signal.SIGKILL
        cell.actuate()
        cell.wait_for("run", after=done)
        assert cell.verbs()[done:] == ["safe", "safe", "run"]  # and not the stop that waited in the queue
        daemon.wait_for("answers again")


JAMMING = """\
from pathlib import Path
from drivers.actuator import log
from drivers.base import DeviceFault
Options = log.Options
class Driver(log.Driver):
    def apply(self, verb, arguments):
        if Path("jam").exists() and verb != self.options.safe:
            raise DeviceFault(f"{self.name}: jammed, check its air supply")
        super().apply(verb, arguments)
"""


def test_a_device_that_fails_is_safe_before_it_moves_again(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/driver.py").write_text(JAMMING)
    with Cell(tmp_path, {"arm": arm()}) as cell:
        stops(cell, fault_every_s=0.6)
        cell.config["actuators"] = {"robot": robot({"driver": "ours.driver", "path": str(cell.record)})}
        host, daemon = cell.start_both()
        (tmp_path / "jam").touch()
        assert "jammed, check its air supply" in host.wait_for("trying again until it is back")
        daemon.wait_for("actuator robot cannot move its device")
        cell.wait_for_count("arm", "refused")
        tried = len(cell.verbs())
        until(lambda: len(cell.verbs()) > tried + 4, "more tries")
        assert set(cell.verbs()[tried:]) == {"safe"}
        done = len(cell.verbs())
        (tmp_path / "jam").unlink()
        host.wait_for("the device takes commands again")
        assert len(host.lines("trying again")) == len(host.lines("the device ")) == 1
        cell.wait_for("run", after=done)
        cell.wait_for("stop")
        daemon.wait_for("actuator robot takes commands again")
        assert daemon.popen.poll() is None


LOSING = """\
from pathlib import Path
from drivers.actuator import log
from drivers.base import DeviceMissing
Options = log.Options
class Driver(log.Driver):
    @property
    def lost(self):
        return DeviceMissing(f"{self.name}: the cable is out") if Path("out").exists() else None
"""


def test_a_device_that_is_lost_between_two_commands_is_made_safe_without_one(tmp_path: Path) -> None:
    """The arm stays on its plan, so no decision comes: the rest that is in force follows once it is back."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/driver.py").write_text(LOSING)
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.config["actuators"] = {"robot": robot({"driver": "ours.driver", "path": str(cell.record)})}
        host, daemon = cell.start_both()
        cell.wait_for("run")
        done = len(cell.verbs())
        (tmp_path / "out").touch()
        assert "the cable is out" in host.wait_for("trying again until it is back")
        cell.wait_for("safe", after=done)
        (tmp_path / "out").unlink()
        host.wait_for("the device is back, and safe")
        cell.wait_for("run", after=done)
        assert len(host.lines("trying again")) == 1
        assert daemon.popen.poll() is None


def test_a_record_on_a_full_disk(tmp_path: Path) -> None:
    """The driver cannot write: every command has the verdict fault, that is logged once, and the daemon runs on."""
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.record.symlink_to("/dev/full")
        stops(cell, fault_every_s=0.6)  # on a busy machine the refusal of one decision may come too late to be counted
        host = cell.actuate()
        daemon = cell.run()
        daemon.wait_for("actuator robot cannot move its device")
        line = host.wait_for("No space left on device; trying again until it is back")
        assert str(cell.record) in line
        cell.wait_for_count("arm", "refused")
        cell.record.unlink()
        cell.wait_for("run")
        host.wait_for("the device is back, and safe")
        assert cell.verbs()[:2] in (["safe", "run"], ["safe", "stop"])
        assert len(host.lines("No space left")) == 1
        daemon.wait_for("actuator robot takes commands again")


@pytest.mark.parametrize("at_s", [0.0, 0.1])  # in the first safe(), in the first apply()
def test_a_stalled_actuator_driver_is_the_end_of_its_host(tmp_path: Path, at_s: float) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        faults = [fault("stuck", at_s, for_s=600)]
        cell.config["actuators"] = {"robot": robot({"driver": "actuator.sim", "faults": faults})}
        host = cell.actuate()
        daemon = cell.run()
        assert host.exit_code() == -signal.SIGKILL
        host.wait_for_standby("actuator robot made no progress")
        host.wait_for_standby("no second process can make it safe")  # the simulated one ends with its process
        assert daemon.popen.poll() is None


def test_a_daemon_that_is_killed(tmp_path: Path) -> None:
    """Safe without any message, by silence alone; a new daemon follows at once.

    That the silence is noticed within safe_after_ms is proven by tests/test_guard.py, whose time is given.
    """
    with Cell(tmp_path, {"arm": arm()}) as cell:
        host, daemon = cell.start_both()
        cell.wait_for_count("arm", "samples", 200)
        done = len(cell.verbs())
        daemon.signal(signal.SIGKILL)
        cell.wait_for("safe", after=done)
        host.wait_for("cell-1/arm is silent")
        daemon.exit_code()
        second = cell.run()
        cell.wait_for("run", after=done + 1)
        assert "another reflexd" not in second.text
        assert second.stop() == 0


def test_sigterm_sends_a_goodbye(tmp_path: Path) -> None:
    """The actuator is safe before the daemon has ended, and by the goodbye, not by silence."""
    with Cell(tmp_path, {"arm": arm()}) as cell:
        host, daemon = cell.start_both()
        done, silences = len(cell.verbs()), len(host.lines("is silent"))
        stopped = daemon.signal(signal.SIGTERM)
        assert daemon.exit_code() == 0
        ended = time.monotonic_ns()
        safe = cell.wait_for("safe", after=done)
        assert stopped < safe["t_ns"] < ended
        host.wait_for("actuator robot is safe: cell-1/arm has left")
        assert len(host.lines("is silent")) == silences
        assert daemon.lines("cell-1 stopped")
