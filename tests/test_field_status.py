"""`reflexd status` beside a real daemon, and after its death."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent import control
from agent.field import snapshot, status
from tests.field_fixtures import exit_code, configuration, write_files, reflexd, write_ledger
from tests.processes import Cell, arm, fault
from tests.waiting import until


def told(path: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(reflexd("status", "-c", str(path), "--json").stdout)
    return answer


def test_a_running_cell_is_told_and_after_its_death_too(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        host, daemon = cell.both()
        until(lambda: told(cell.write())["answers"], "its state over the control socket")
        found = until(lambda: [one for one in told(cell.write())["lanes"] if one["rate_hz"] > 100], "a rate")[0]
        assert (found["state"], found["budget_ms"], found["model"]) == ("running", 2.0, "arm-deviation")
        assert 0 < found["p50_ms"] <= found["p99_ms"] and found["evidence_age_s"] < 5
        shown = reflexd("status", "-c", str(cell.write()))
        assert exit_code(shown) == status.RUNNING and all(len(line) <= 80 for line in shown.stdout.splitlines())
        assert f"reflexd cell-1: good, pid {daemon.popen.pid}" in shown.stdout
        assert f"pid {host.popen.pid}" in shown.stdout  # who serves the actuator
        daemon.signal(signal.SIGKILL)
        daemon.popen.wait()
        dead = told(cell.write())
        assert not dead["running"] and dead["lanes"][0]["state"] == "stopped" and dead["lanes"][0]["p99_ms"] > 0
        shown = reflexd("status", "-c", str(cell.write()))
        assert exit_code(shown) == status.DEAD and "NOT RUNNING" in shown.stdout


def test_a_lane_whose_device_is_gone_is_degraded(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm(faults=[fault("unplug", 1.0, 600.0)])}) as cell:
        daemon = cell.run()
        daemon.says("trying again")
        lanes = until(
            lambda: [one for one in told(cell.write())["lanes"] if one["state"] == "gone"], "the lane to be gone"
        )
        found = lanes[0]
        assert "to come back: arm: the simulated" in found["why"] and found["drops"]["faults"] >= 1
        assert exit_code(reflexd("status", "-c", str(cell.write()))) == status.DEGRADED


def test_the_exit_code_of_the_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agent", "status", "-c", str(configuration(tmp_path))]
    assert subprocess.run(command, capture_output=True).returncode == status.DEAD


def test_nothing_at_all_is_there(tmp_path: Path) -> None:
    path = configuration(tmp_path, lanes={}, rules={}, actuators={})
    shown = reflexd("status", "-c", str(path))
    assert exit_code(shown) == status.DEAD and "no lanes" in shown.stdout and str(tmp_path / "run") in shown.stdout


def test_a_daemon_without_answer_is_told_from_its_lock_and_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        _, daemon = cell.both()
        monkeypatch.setattr(control, "ask", lambda *_, **__: None)
        now = told(cell.write())
        assert now["running"] and not now["answers"] and now["pid"] == daemon.popen.pid and now["uptime_s"] >= 0
        assert {setting["name"] for setting in now["knobs"]} == {"SCHED_FIFO", "memory lock"}
        assert now["lanes"][0]["state"] == "running"
        assert "control.sock gives no answer" in " ".join(reflexd("status", "-c", str(cell.write())).stdout.split())


def test_an_answer_that_leaves_everything_out_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ledger(tmp_path)
    path = configuration(tmp_path)
    monkeypatch.setattr(control, "ask", lambda *_, **__: {"error": "not yet"})
    assert exit_code(reflexd("status", "-c", str(path))) == status.DEAD
    monkeypatch.setattr(control, "ask", lambda *_, **__: {"pid": 1, "lanes": {"arm": {}}, "actuators": {"robot": {}}})
    shown = reflexd("status", "-c", str(path))
    assert exit_code(shown) == status.DEGRADED and "robot" in shown.stdout


def test_a_user_without_rights_is_not_told_that_it_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ledger(tmp_path)
    path = configuration(tmp_path)
    monkeypatch.setattr(snapshot.os, "access", lambda *_: False)
    shown = reflexd("status", "-c", str(path))
    assert exit_code(shown) == status.UNKNOWN and "CANNOT BE SEEN" in shown.stdout and "start it" not in shown.stdout


def test_a_terminal_is_not_steered_by_a_label(tmp_path: Path) -> None:
    path = configuration(tmp_path, node="cell-1")
    write_ledger(tmp_path, "bad\x1b[2Jname")
    assert "\x1b" not in reflexd("status", "-c", str(path)).stdout


def test_knobs_from_the_kernel(tmp_path: Path) -> None:
    proc = write_files(tmp_path, {"7/status": "VmLck:\t       0 kB", "7/task/0/stat": ""})
    assert [(setting.name, setting.on) for setting in status.kernel_settings(7, proc)] == [
        ("SCHED_FIFO", False),
        ("memory lock", False),
    ]
    write_files(tmp_path, {"7/status": "VmLck:\t    4096 kB"})
    assert status.kernel_settings(7, proc)[1].on
    assert status.kernel_settings(8, proc) == []
