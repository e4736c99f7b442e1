"""Bugs in drivers must not be hidden, and a wall clock that jumps must not matter."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from agent import ledger
from tests.processes import Cell, arm, fault, robot

BUGGY_ARM = """\
from drivers.sensor import sim_arm
Options = sim_arm.Options
class Driver(sim_arm.Driver):
    def _tick(self, row, on):
        return super()._tick(row, on) if self.tick < 1000 else 1 / 0
"""
BUGGY_ROBOT = """\
from drivers.actuator import log
Options = log.Options
class Driver(log.Driver):
    def apply(self, verb, arguments):
        super().apply(verb, arguments)
        if verb == "run":
            raise KeyError("a bug")
"""
YEAR_S = 365 * 86_400
# Imported by the interpreter at its start: every reading of the wall clock is wrong by a year, alternating in sign.
JUMPING_CLOCK = f"""\
import itertools, time
turns, true, true_ns = itertools.count(), time.time, time.time_ns
time.time = lambda: true() + {YEAR_S} * (-1) ** next(turns)
time.time_ns = lambda: true_ns() + {YEAR_S} * (-1) ** next(turns) * 10**9
"""


def ours(folder: Path, text: str) -> None:
    (folder / "ours").mkdir()
    (folder / "ours/driver.py").write_text(text)


@pytest.mark.parametrize(
    ("bug", "reason", "line"),
    [("1 / 0", "ZeroDivisionError: division by zero", "1 / 0"), ("exit(0)", "SystemExit: 0", "in _tick")],
)
def test_a_bug_in_a_source(tmp_path: Path, bug: str, reason: str, line: str) -> None:
    """No retry, which would meet the bug again: actuators safe, the traceback in the log, exit code 1 for systemd."""
    ours(tmp_path, BUGGY_ARM.replace("1 / 0", bug))
    with Cell(tmp_path, {"arm": arm(driver="ours.driver"), "other": arm()}) as cell:
        _, daemon = cell.start_both()
        done = len(cell.verbs())
        cell.wait_for("safe", after=done)
        assert daemon.exit_code() == 1
        assert daemon.lines(
            "ERROR   lane arm: internal error; its actuators go safe, its process ends with 1: send `reflexd diag`"
        )
        assert reason in daemon.text and line in daemon.text
        assert daemon.lines("cell-1 stopped")
        assert cell.verbs()[-1] == "safe"  # a busy box may have been silent for 100 ms before
        assert ledger.read(cell.run_dir / "arm.ledger").state == "failed"


def test_a_bug_in_an_actuator(tmp_path: Path) -> None:
    ours(tmp_path, BUGGY_ROBOT)
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.config["actuators"] = {"robot": robot({"driver": "ours.driver", "path": str(cell.record)})}
        host = cell.actuate()
        daemon = cell.run()
        assert host.exit_code() == 1
        assert host.lines("actuator robot: a bug in its thread")
        assert "KeyError: 'a bug'" in host.text
        host.wait_for_standby("the standby takes over: 'reflexd actuate'")
        host.wait_for_standby("actuator robot is safe: by the standby")
        assert cell.verbs() == ["safe", "run", "safe", "safe"], "by its own thread, and once more by the standby"
        assert daemon.popen.poll() is None


def test_jumps_of_the_wall_clock_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(JUMPING_CLOCK)
    with Cell(tmp_path, {"arm": arm()}) as cell:
        _, daemon = cell.start_both()
        cell.wait_for_count("arm", "inferences", 500)
        assert daemon.stop() == 0
        cell.wait_for("safe", after=2)
        assert cell.verbs() == ["safe", "run", "safe"]
        drops = {
            name: count for name, count in cell.counts("arm").items() if name in ("stale", "late", "refused", "faults")
        }
        assert not any(drops.values())
        # That the clock did jump:
        assert all(abs(record["unix_s"] - time.time()) > YEAR_S / 2 for record in cell.records())


@pytest.mark.parametrize("amount, direction", [(400.0, "ahead"), (-400.0, "old")])
@pytest.mark.slow
def test_a_sensor_whose_clock_jumps(tmp_path: Path, amount: float, direction: str) -> None:
    with Cell(tmp_path, {"arm": arm(faults=[fault("clock_jump", at_s=1.0, for_s=0.6, amount=amount)])}) as cell:
        _, daemon = cell.start_both()
        done = len(cell.verbs())
        cell.wait_for("safe", after=done)
        assert f"ms {direction}: did its clock jump?" in daemon.wait_for("trying again until it is back")
        assert cell.wait_for_count("arm", "stale") >= 1
        daemon.wait_for("arm: arm is back")
        cell.wait_for("run", after=done + 1)
        assert len(daemon.lines("trying again")) == len(daemon.lines("arm is back")) == 1
