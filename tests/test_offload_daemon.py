"""Two boxes, whole: one that is busy hands its lane's model to the other, and takes it back when that one is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.benches.programs import free_port
from agent.control import client as control
from tests.processes import Cell, Process
from tests.test_web_access import ARM
from tests.waiting import until

CAMERA = {"driver": "camera.sim", "width": 160, "height": 120, "fps": 20, "timeout_ms": 1000}
pytestmark = pytest.mark.slow


def handed(cell: Cell) -> dict[str, Any]:
    answer = control.ask(cell.run_dir, {"do": "status"}, 10.0)
    status: dict[str, Any] = answer["lanes"]["yard"]["offload"]["person-coarse"] if answer else {}
    return status


def peer(folder: Path, port: int) -> Process:
    """A box that serves."""
    with Cell(folder, ARM) as cell:
        serve = {"port": port, "models": ["person-coarse"], "busy": 1.0}
        path = cell.write(actuators={}, rules={}, recorder={"enabled": False}, offload={"serve": serve})
        process = Process(folder / "peer.log", "run", "-c", str(path))
    process.wait_for("computes person-coarse for other boxes at http://127.0.0.1")
    return process


def busy(port: int) -> dict[str, Any]:
    """Of a box for which hardly any load is too much, and a peer always less."""
    lane = {"source": CAMERA, "model": "person-coarse", "critical": False, "budget_ms": 900, "release": ["p"]}
    peers = {"p": {"url": f"http://127.0.0.1:{port}"}}
    return {
        "lanes": {"yard": {**lane, "offload": {"start": 0.02, "stop": 0.01}}},
        "actuators": {},
        "rules": {},
        "recorder": {"enabled": False},
        "offload": {"peers": peers},
    }


def test_a_busy_box_hands_over_and_goes_on_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    (tmp_path / "p").mkdir()
    (tmp_path / "q").mkdir()
    there = peer(tmp_path / "p", port)
    with Cell(tmp_path / "q", {}) as cell:
        path = cell.write(**busy(port))
        daemon = cell.run(path)
        daemon.wait_for("model person-coarse is handed to peers")
        until(lambda: handed(cell)["handed"] > 20 or None, lambda: f"{handed(cell)}\n{daemon.text}\n{there.text}")
        assert there.stop() == 0
        daemon.wait_for("peer 'p' (http://127.0.0.1:" + str(port) + ") cannot be reached")
        inferences = cell.counts("yard")["inferences"]
        cell.wait_for_count("yard", "inferences", inferences + 20)
        assert len(daemon.lines("cannot be reached")) == 1
        assert daemon.stop() == 0
