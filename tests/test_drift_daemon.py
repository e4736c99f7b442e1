"""Drift in a running daemon: its monitor is a child process, and status, doctor and metrics say what it found."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from agent.benches.programs import free_port
from agent.cli import cli
from agent.drift import published, settings
from agent.drift.detector import Limits
from agent.drift.lane import LaneDrift
from agent.drift.store import Store
from drivers.sensor._arm import CHANNELS
from tests.processes import Cell, Process, arm
from tests.waiting import until

LEARN = {"learn": 40, "recover": 10}


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.config.update(state_dir=str(tmp_path / "state"), drift=LEARN)
        yield cell


def monitors(daemon: Process) -> list[psutil.Process]:
    alive = [each for each in psutil.Process(daemon.popen.pid).children() if each.status() != psutil.STATUS_ZOMBIE]
    return [each for each in alive if "agent.drift.monitor" in each.cmdline()]


def lane_report(cell: Cell) -> dict[str, Any]:
    report: dict[str, Any] = published.read(cell.run_dir).get("arm", {})
    return report


def watched(cell: Cell) -> dict[str, Any]:
    """Once the monitor has values of the lane."""
    return until(lambda: lane_report(cell) if lane_report(cell).get("statistics") else {}, cell.logs)


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, [*arguments], standalone_mode=False)
    return result.return_value if isinstance(result.return_value, int) else 2, result.output


def make_strange(cell: Cell) -> None:
    """What was learnt has a tenth of the arm's scale, as if another sensor had been there before."""
    given = settings.read(cell.run_dir)
    before = LaneDrift(Limits(**LEARN))
    random = np.random.default_rng(0)
    for _ in range(50):
        before.add_window(0.001 * random.normal(size=(256, len(CHANNELS))).astype(np.float32), CHANNELS)
    Store(given.state_dir).save("arm", given.lanes["arm"], before)


def test_the_monitor_is_a_child_that_is_restarted_and_goes_on_after_a_kill(cell: Cell) -> None:
    daemon = cell.run()
    assert watched(cell)["state"] in ("learning", "waiting")
    (monitor,) = monitors(daemon)
    os.kill(monitor.pid, signal.SIGKILL)
    until(lambda: any(each.pid != monitor.pid for each in monitors(daemon)), cell.logs)
    assert daemon.wait_for("monitor ended with -9")
    (cell.run_dir / published.NAME).unlink(missing_ok=True)
    assert watched(cell)
    assert daemon.stop() == 0
    assert not (cell.run_dir / published.NAME).exists(), "nothing old is shown"
    assert list((cell.folder / "state/drift").glob("arm-*.json")), "what was learnt is kept"


@pytest.mark.slow
def test_a_drift_is_in_the_log_status_doctor_and_metrics_and_is_accepted_by_hand(cell: Cell) -> None:
    port = free_port()
    cell.config["metrics"] = {"port": port}
    daemon = cell.run()
    watched(cell)
    config = str(cell.folder / "reflexd.yaml")
    (monitor,) = monitors(daemon)
    make_strange(cell)
    os.kill(monitor.pid, signal.SIGKILL)
    until(lambda: lane_report(cell).get("state") == "drifting", cell.logs)
    line = daemon.wait_for("lane arm drifts: ")
    assert " more" in line and "another range or unit" in line
    code, text = invoke("drift", "-c", config)
    assert code == 1 and "arm: drifting" in text and "reflexd drift --relearn arm" in text
    (lane,) = json.loads(invoke("status", "-c", config, "--json")[1])["lanes"]
    assert lane["drift"] == "drifting" and lane["drifts"]
    assert "drifts: " in invoke("status", "-c", config)[1]
    metrics = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    assert 'reflexd_drift_alarm{lane="arm",statistic="e1 spread"} 1.0' in metrics
    assert invoke("drift", "-c", config, "--relearn", "arm")[0] == 0
    daemon.wait_for("lane arm: what is normal is learnt again")
    until(lambda: lane_report(cell).get("state") == "learning", cell.logs)
    assert daemon.stop() == 0


def test_a_reload_starts_and_stops_the_monitor_and_restarts_no_lane(cell: Cell) -> None:
    del cell.config["drift"]
    daemon = cell.run()
    daemon.wait_for("runs: lanes")
    assert not monitors(daemon)
    cell.config["drift"] = LEARN
    cell.write()
    daemon.signal(signal.SIGHUP)
    assert "drift changed; no lane restarted" in daemon.wait_for("configuration reloaded")
    watched(cell)
    cell.config["drift"] = {**LEARN, "skip": ["arm"]}
    cell.write()
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("configuration reloaded", 2)
    until(lambda: not published.read(cell.run_dir), cell.logs)
    del cell.config["drift"]
    cell.write()
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("configuration reloaded", 3)
    until(lambda: not monitors(daemon), cell.logs)
    assert daemon.stop() == 0


def test_a_lane_of_another_name_and_no_monitor_have_one_message(cell: Cell) -> None:
    config = str(cell.write())
    assert "drift is not watched here" in invoke("drift", "-c", config)[1]
    result = CliRunner().invoke(cli, ["drift", "-c", config, "--relearn", "leg"])
    assert "no lane 'leg': there are arm" in str(result.exception)
