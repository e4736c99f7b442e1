"""Lanes in worker processes: what a death costs, what a reload moves, what the daemon says of them."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import psutil
import pytest

from agent.packages.package import BUNDLED
from tests.test_overload import LATE
from tests.test_watchdog import Systemd, hanging
from tests.waiting import until
from tests.worker_floor import Floor, calm, replayed, workers


@pytest.mark.slow
def test_each_group_runs_in_a_worker_and_status_has_them_all(tmp_path: Path) -> None:
    with Floor(tmp_path) as cell:
        host, daemon = cell.begin()
        pids = {process.pid for process in workers(daemon)}
        assert {cell.snapshot("left").pid, cell.snapshot("right").pid} == pids and len(pids) == 2
        until(lambda: cell.status().get("health") == "good", lambda: f"{cell.status()}")
        status = cell.status()
        assert set(status["workers"]) == pids and status["pid"] == daemon.popen.pid
        assert {name: lane["state"] for name, lane in status["lanes"].items()} == dict.fromkeys(
            ("left", "right"), "running"
        )
        assert {name: actuator["verb"] for name, actuator in status["actuators"].items()} == dict.fromkeys(
            ("left", "right"), "run"
        )
        command = cell.start("status", "-c", str(cell.write()))
        assert command.exit_code() == 0, command.text
        assert daemon.stop() == 0
        assert not any(map(psutil.pid_exists, pids))
        for name in ("left", "right"):
            host.wait_for(f"actuator {name} is safe: cell-1/{name} has left")  # a goodbye, no silence
        replayed(cell)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again_and_disturbs_no_other(tmp_path: Path) -> None:
    with Floor(tmp_path) as cell:
        _, daemon = cell.begin()
        left, right = cell.snapshot("left"), cell.snapshot("right")
        os.kill(left.pid, signal.SIGKILL)
        cell.wait_for_verb("left", "safe", after=1)
        cell.wait_for_verb("left", "run", after=3)
        daemon.wait_for("worker 0 (lanes left) ended with -9; starting it again at once")
        assert "until then: lane=left state=running samples=" in daemon.text
        assert cell.snapshot("left").pid != left.pid
        cell.wait_for_count("right", "samples", cell.counts("right")["samples"] + 200)
        assert (cell.snapshot("right").pid, cell.snapshot("right").started) == (right.pid, right.started)
        assert cell.counts("right")["lost"] == 0
        until(lambda: cell.status()["health"] == "good", lambda: f"{cell.status()}")
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.text
        replayed(cell)


@pytest.mark.slow
def test_what_is_said_of_lanes_whose_worker_is_away(tmp_path: Path) -> None:
    with Floor(tmp_path) as cell:
        _, daemon = cell.begin()
        away = psutil.Process(cell.snapshot("left").pid)
        away.send_signal(signal.SIGSTOP)
        lanes = until(lambda: not (s := cell.status()["lanes"])["left"]["healthy"] and s) or {}
        assert lanes["left"]["reason"] == "its process, worker 0, does not answer"
        assert lanes["right"]["healthy"]
        away.kill()
        cell.wait_for_verb("left", "run", after=3)
        assert daemon.stop() == 0


@pytest.mark.slow
def test_no_worker_outlives_its_daemon_and_every_actuator_goes_safe(tmp_path: Path) -> None:
    with Floor(tmp_path) as cell:
        _, daemon = cell.begin()
        left = workers(daemon)
        daemon.signal(signal.SIGKILL)
        daemon.exit_code()
        for name in ("left", "right"):
            cell.wait_for_verb(name, "safe", after=1)
        until(lambda: not any(process.is_running() for process in left), "the end of the workers")
        cell.run()
        for name in ("left", "right"):
            cell.wait_for_verb(name, "run", after=3)


@pytest.mark.slow
def test_a_bug_in_a_lane_ends_its_worker_only(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/bug.py").write_text(BUG)
    (tmp_path / "bug").touch()
    bad = calm(driver="ours.bug")
    with Floor(tmp_path, left=bad, right=calm()) as cell:
        cell.actuate()
        daemon = cell.run()
        cell.wait_for_verb("right", "run")
        daemon.wait_for("worker 0 (lanes left) ended with 1; starting it again in")
        assert "lane left: internal error; its actuators go safe, its process ends with 1" in daemon.text
        right = cell.snapshot("right").started
        (tmp_path / "bug").unlink()
        cell.wait_for_verb("left", "run")
        assert cell.snapshot("right").started == right
        assert daemon.stop() == 0


BUG = """\
import os
from drivers.sensor import sim_arm
Options = sim_arm.Options

class Driver(sim_arm.Driver):
    def read(self, wait_s):
        if os.path.exists("bug"):
            raise LookupError("ours")
        return super().read(wait_s)
"""


@pytest.mark.slow
def test_a_reload_restarts_what_changed_and_what_goes_to_another_worker(tmp_path: Path) -> None:
    with Floor(tmp_path, left=calm(), right=calm(), far=calm()) as cell:
        _, daemon = cell.begin()
        before = {lane: cell.snapshot(lane) for lane in ("left", "right", "far")}
        assert before["left"].pid == before["far"].pid != before["right"].pid
        cell.config["rules"]["both"] = {**cell.rule("right", "left")}  # right feeds left's actuator from now on
        answer = cell.reload()
        assert answer == {"ok": True, "started": ["right"], "stopped": ["right"]}, daemon.text
        after = {lane: cell.snapshot(lane) for lane in before}
        assert {lane for lane in before if after[lane].started != before[lane].started} == {"right"}
        assert after["right"].pid == before["left"].pid
        until(lambda: cell.status()["health"] == "good", lambda: f"{cell.status()}\n{cell.logs()}")
        assert cell.status()["workers"].count(0) == 1, "a worker without lanes has no process"
        del cell.config["rules"]["both"]
        cell.config["lanes"]["new"] = calm()
        cell.config["rules"]["new"] = cell.rule("new", "right")
        assert cell.reload()["ok"], daemon.text
        until(lambda: cell.status()["health"] == "good", lambda: f"{cell.status()}\n{cell.logs()}")
        assert cell.snapshot("far").started == before["far"].started
        assert daemon.stop() == 0
        replayed(cell)


@pytest.mark.slow
def test_a_wrong_configuration_changes_no_worker(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(BUNDLED / "arm-deviation", mine)
    with Floor(tmp_path) as cell:
        _, daemon = cell.begin()
        started = {lane: cell.snapshot(lane).started for lane in ("left", "right")}
        cell.config["lanes"]["left"]["source"]["speed"] = 0.5
        cell.config["workers"] = 1
        assert "a change of workers needs a restart of reflexd" in cell.reload()["mistakes"][0]
        cell.config["workers"] = 2
        cell.config["lanes"]["right"]["model"] = "mine"
        (mine / "arm-deviation.tflite").write_bytes(b"damaged")
        assert "arm-deviation.tflite" in cell.reload()["mistakes"][0]
        assert {lane: cell.snapshot(lane).started for lane in started} == started
        assert daemon.stop() == 0


@pytest.mark.slow
def test_a_model_that_cannot_be_used_is_reported_before_anything_moves(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(BUNDLED / "arm-deviation", mine)
    (mine / "arm-deviation.tflite").write_bytes(b"damaged")
    with Floor(tmp_path, left=calm(), right={**calm(), "model": "mine"}) as cell:
        daemon = cell.run()
        assert daemon.exit_code() == 2
        assert "arm-deviation.tflite" in daemon.text and "Traceback" not in daemon.text


@pytest.mark.slow
def test_a_run_of_some_samples_ends_by_itself(tmp_path: Path) -> None:
    with Floor(tmp_path) as cell:
        daemon = cell.start("run", "-c", str(cell.write()), "--samples", "300")
        assert daemon.exit_code() == 0, daemon.text
        assert all(cell.counts(lane)["samples"] >= 300 for lane in ("left", "right"))


@pytest.mark.slow
def test_the_watchdog_is_not_fed_while_a_critical_lane_of_a_worker_stalls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd = Systemd(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    with Floor(tmp_path, left=hanging(tmp_path, critical=True), right=calm()) as cell:
        daemon = cell.run()
        systemd.receives("WATCHDOG=1")
        (tmp_path / "hang").touch()
        daemon.wait_for("lane left stalled: driver call does not return")
        systemd.received()
        cell.wait_for_count("right", "samples", cell.counts("right")["samples"] + 300)
        assert "WATCHDOG=1" not in systemd.received()
        (tmp_path / "hang").unlink()
        systemd.receives("WATCHDOG=1")
        assert daemon.stop() == 0
    systemd.socket.close()


@pytest.mark.slow
def test_a_lane_of_another_worker_gives_way_to_a_more_important_one(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/late.py").write_text(LATE)
    (tmp_path / "late").touch()
    late = {"source": {"driver": "ours.late", "rate_hz": 200, "timeout_ms": 500}, "model": "arm-deviation"}
    important = {**late, "priority": 9, "budget_ms": 50.0}
    with Floor(tmp_path, left=important, right={**calm(), "priority": 1, "budget_ms": 1000.0}) as cell:
        _, daemon = cell.begin()
        daemon.wait_for("overload: lane left misses its budget; right infers on one sample in 2")
        cell.wait_for_count("right", "shed", 10)
        (tmp_path / "late").unlink()
        daemon.wait_for("overload is over after")
        assert daemon.stop() == 0
