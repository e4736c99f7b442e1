"""`reflexd status` beside a real daemon, and after its death."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent import health, ledger
from agent.control import client as control
from agent.field import snapshot, status
from tests.field_fixtures import configuration, exit_code, reflexd, write_files, write_ledger
from tests.processes import Cell, arm, fault
from tests.waiting import until


def report(path: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(reflexd("status", "-c", str(path), "--json").stdout)
    return answer


def test_a_running_cell_and_the_same_after_its_death(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        host, daemon = cell.start_both()
        until(lambda: report(cell.write())["answers"], "its state over the control socket")
        lane = until(lambda: [lane for lane in report(cell.write())["lanes"] if lane["rate_hz"] > 100], "a rate")[0]
        assert (lane["state"], lane["budget_ms"], lane["model"]) == ("running", 2.0, "arm-deviation")
        assert 0 < lane["p50_ms"] <= lane["p99_ms"] and lane["evidence_age_s"] < 5
        result = reflexd("status", "-c", str(cell.write()))
        assert exit_code(result) == status.RUNNING and all(len(line) <= 80 for line in result.stdout.splitlines())
        assert f"reflexd cell-1: good, pid {daemon.popen.pid}" in result.stdout
        assert f"pid {host.popen.pid}" in result.stdout  # the process that serves the actuator
        assert "this box leaves a device as it is" in " ".join(result.stdout.split())
        daemon.signal(signal.SIGKILL)
        daemon.popen.wait()
        dead = report(cell.write())
        assert not dead["running"] and dead["lanes"][0]["state"] == "stopped" and dead["lanes"][0]["p99_ms"] > 0
        result = reflexd("status", "-c", str(cell.write()))
        assert exit_code(result) == status.DEAD and "NOT RUNNING" in result.stdout


def test_a_lane_whose_device_is_gone_is_degraded(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm(faults=[fault("unplug", 1.0, 600.0)])}) as cell:
        daemon = cell.run()
        daemon.wait_for("trying again")
        lanes = until(
            lambda: [lane for lane in report(cell.write())["lanes"] if lane["state"] == "gone"], "the lane to be gone"
        )
        assert "to recover: arm: the simulated" in lanes[0]["reason"] and lanes[0]["drops"]["faults"] >= 1
        assert exit_code(reflexd("status", "-c", str(cell.write()))) == status.DEGRADED


@pytest.mark.slow
def test_kind_an_actuator_that_goes_safe_again_and_again_is_degraded(tmp_path: Path) -> None:
    """In between it works, and its newest command is acknowledged."""
    faults = [fault("freeze", at_s, 0.5) for at_s in (1.0, 3.0, 5.0, 7.0)]
    with Cell(tmp_path, {"arm": arm(faults=faults)}) as cell:
        cell.start_both()
        result = until(lambda: _printed(cell, "has gone safe 3 times or more within a minute"), "the trouble")
        assert exit_code(result) == status.DEGRADED and "more than 100 ms without a sign" in _text(result)


def _printed(cell: Cell, part: str) -> Any:
    result = reflexd("status", "-c", str(cell.write()))
    return result if part in _text(result) else None


def _text(result: Any) -> str:
    """Without the breaks of its lines."""
    return " ".join(result.stdout.split())


def test_the_exit_code_of_the_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agent", "status", "-c", str(configuration(tmp_path))]
    assert subprocess.run(command, capture_output=True).returncode == status.DEAD


def test_without_lanes_ledgers_or_a_daemon(tmp_path: Path) -> None:
    path = configuration(tmp_path, lanes={}, rules={}, actuators={})
    result = reflexd("status", "-c", str(path))
    assert exit_code(result) == status.DEAD and "no lanes" in result.stdout
    assert str(tmp_path / "run") in "".join(result.stdout.split())  # a long path is wrapped


def test_kind_a_box_that_never_ran_has_no_last_run(tmp_path: Path) -> None:
    path = configuration(tmp_path)
    result = reflexd("status", "-c", str(path))
    text = "".join(result.stdout.split())  # a long path is wrapped
    assert "NOT RUNNING; no figures: it has not run here" in result.stdout and "last run" not in result.stdout
    assert f"run_dir'{tmp_path}/run'doesnotexist" in text and f"startit:reflexdrun-c{path}" in text
    assert "no ledger" not in result.stdout and "systemctl" not in result.stdout and "journal" not in result.stdout
    (tmp_path / "run").mkdir()
    assert "the figures are of its last run" in reflexd("status", "-c", str(path)).stdout


def test_the_default_configuration_is_started_by_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = configuration(tmp_path)
    monkeypatch.setattr(status, "DEFAULT", path)
    for advice in ("start it: sudo systemctl start reflexd", "sudo systemctl start reflexd; why it ended: journalctl"):
        assert advice in " ".join(reflexd("status", "-c", str(path)).stdout.split())
        (tmp_path / "run").mkdir(exist_ok=True)


def test_a_daemon_without_answer_is_read_from_its_lock_and_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        _, daemon = cell.start_both()
        monkeypatch.setattr(control, "ask", lambda *_, **__: None)
        current = report(cell.write())
        assert (
            current["running"]
            and not current["answers"]
            and current["pid"] == daemon.popen.pid
            and current["uptime_s"] >= 0
        )
        assert {setting["name"] for setting in current["settings"]} == {"SCHED_FIFO", "memory lock"}
        assert current["lanes"][0]["state"] == "running"
        assert "control.sock gives no answer" in " ".join(reflexd("status", "-c", str(cell.write())).stdout.split())


def test_a_reply_without_any_section_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ledger(tmp_path)
    path = configuration(tmp_path)
    monkeypatch.setattr(control, "ask", lambda *_, **__: {"error": "not yet"})
    assert exit_code(reflexd("status", "-c", str(path))) == status.DEAD
    monkeypatch.setattr(control, "ask", lambda *_, **__: {"pid": 1, "lanes": {"arm": {}}, "actuators": {"robot": {}}})
    result = reflexd("status", "-c", str(path))
    assert exit_code(result) == status.DEGRADED and "robot" in result.stdout


def test_a_user_without_rights_gets_unknown_and_not_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ledger(tmp_path)
    path = configuration(tmp_path)
    monkeypatch.setattr(snapshot.os, "access", lambda *_: False)
    result = reflexd("status", "-c", str(path))
    assert (
        exit_code(result) == status.UNKNOWN
        and "UNKNOWN: this user may not read" in result.stdout
        and "start it" not in result.stdout
    )


def test_a_label_cannot_control_the_terminal(tmp_path: Path) -> None:
    path = configuration(tmp_path, node="cell-1")
    write_ledger(tmp_path, "bad\x1b[2Jname")
    assert "\x1b" not in reflexd("status", "-c", str(path)).stdout


def test_settings_read_from_the_kernel(tmp_path: Path) -> None:
    proc = write_files(tmp_path, {"7/status": "VmLck:\t       0 kB", "7/task/0/stat": ""})
    assert [(setting.name, setting.on) for setting in status.kernel_settings(7, proc)] == [
        ("SCHED_FIFO", False),
        ("memory lock", False),
    ]
    write_files(tmp_path, {"7/status": "VmLck:\t    4096 kB"})
    assert status.kernel_settings(7, proc)[1].on
    assert status.kernel_settings(8, proc) == []


def status_of(path: Path) -> tuple[int, dict[str, Any]]:
    result = reflexd("status", "-c", str(path), "--json")
    return exit_code(result), json.loads(result.stdout)


def test_kind_commands_that_nobody_acknowledges_are_degraded(tmp_path: Path) -> None:
    """Also by the ledgers alone; and good once they are acknowledged."""
    with Cell(tmp_path, {"arm": arm()}) as cell:
        path = cell.write()
        cell.run()
        until(lambda: "no peer" in str(status_of(path)[1]["reasons"]), "the reason")
        until(lambda: status_of(path)[1]["health"] == "degraded", "the lane to run")
        code, current = status_of(path)
        (robot,) = current["actuators"]
        assert code == status.DEGRADED and current["health"] == "degraded" and robot["host"] == 0
        (reason,) = current["reasons"]
        assert reason.startswith("actuator robot: no peer connected at ipc://")
        assert robot["acknowledged"] == [
            {
                "lane": "arm",
                "verb": "",
                "verdict": "",
                "age_s": None,
                "trouble": reason.removeprefix("actuator robot: "),
            }
        ]
        text = reflexd("status", "-c", str(path)).stdout
        assert "nothing acknowledged yet" in text and "! no peer connected" in text
        assert health.judge(ledger.read_all(cell.run_dir)).reasons == [
            "lane arm: 1 of its actuators do not acknowledge its commands, or refuse them"
        ]
        cell.actuate()
        until(lambda: status_of(path)[0] == status.RUNNING, lambda: str(status_of(path)))
        (answer,) = status_of(path)[1]["actuators"][0]["acknowledged"]
        assert answer["verb"] == "run" and answer["age_s"] < 5 and not answer["trouble"]
        assert "acknowledged run: " in reflexd("status", "-c", str(path)).stdout
        assert not health.judge(ledger.read_all(cell.run_dir)).reasons


def test_kind_refused_commands_are_degraded_with_the_verdict(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.actuate()
        robot = {**cell.config["actuators"]["robot"], "rest": "go", "verbs": ["go", "stop"]}
        path = cell.write("other.yaml", actuators={"robot": robot})
        cell.run(path)
        until(lambda: "limit" in str(status_of(path)[1]["reasons"]), lambda: str(status_of(path)))
        code, current = status_of(path)
        (answer,) = current["actuators"][0]["acknowledged"]
        assert code == status.DEGRADED and (answer["verb"], answer["verdict"]) == ("go", "limit")


def test_kind_a_box_that_only_hosts_actuators_is_good_while_they_run(tmp_path: Path) -> None:
    with Cell(tmp_path, {}) as cell:
        path = cell.write()
        code, current = status_of(path)
        assert code == status.DEAD and not current["running"]
        assert f"startit:reflexdactuate-c{path}" in "".join(reflexd("status", "-c", str(path)).stdout.split())
        host = cell.actuate()
        code, current = status_of(path)
        assert code == status.RUNNING and current["health"] == "good"
        assert current["actuators"][0]["host"] == host.popen.pid
        text = reflexd("status", "-c", str(path)).stdout
        assert "good, hosts actuators only" in text and "systemctl" not in text and "NOT RUNNING" not in text
        host.signal(signal.SIGKILL)
        host.popen.wait()
        assert status_of(path)[0] == status.DEAD


def test_without_the_daemons_configuration_a_local_actuator_is_local(tmp_path: Path) -> None:
    """As `reflexd status` without -c, where the daemon runs with another file than the default."""
    with Cell(tmp_path, {"arm": arm()}) as cell:
        host, _ = cell.start_both()
        other = tmp_path / "other.yaml"
        other.write_text(json.dumps({"run_dir": str(cell.run_dir)}))
        robot = until(lambda: status_of(other)[1]["actuators"])[0]
        assert (robot["host"], robot["rest"]) == (host.popen.pid, "run")
