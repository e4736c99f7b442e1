"""A whole box that is busy hands its lane's model to a peer, and goes on alone when that one is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.control import client as control
from tests.processes import Cell
from tests.serving import serving
from tests.waiting import until

CAMERA = {"driver": "camera.sim", "width": 160, "height": 120, "fps": 20, "timeout_ms": 1000}
pytestmark = pytest.mark.slow


def handed(cell: Cell) -> dict[str, Any]:
    answer = control.ask(cell.run_dir, {"do": "status"}, 10.0)
    status: dict[str, Any] = answer["lanes"]["yard"]["offload"]["person-coarse"] if answer else {"handed": 0}
    return status


def configured(url: str) -> dict[str, Any]:
    lane = {"source": CAMERA, "model": "person-coarse", "critical": False, "budget_ms": 900, "release": ["p"]}
    return {
        "lanes": {"yard": {**lane, "offload": {}}},
        "actuators": {},
        "rules": {},
        "recorder": {"enabled": False},
        "offload": {"peers": {"p": {"url": url}}},
    }


@contextmanager
def spinner(core: int) -> Iterator[None]:
    """Uses all that others leave of the core."""
    command = f"import os; os.nice(19); os.sched_setaffinity(0, [{core}])\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", command])
    yield
    process.kill()
    process.wait()


def test_a_busy_box_hands_over_and_goes_on_alone(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    with Cell(tmp_path, {}) as cell, spinner(core):
        with serving("person-coarse") as peer:
            daemon = cell.run(cell.write(**configured(peer.url)))
            os.sched_setaffinity(daemon.popen.pid, [core])
            daemon.wait_for("model person-coarse is handed to peers")
            until(lambda: handed(cell)["handed"], lambda: f"{handed(cell)}\n{daemon.text}")
            assert peer.served.served
        daemon.wait_for(f"peer 'p' ({peer.url}) cannot be reached")
        inferences = cell.counts("yard")["inferences"]
        cell.wait_for_count("yard", "inferences", inferences + 5)
        with serving("person-coarse", port=peer.port):
            daemon.wait_for(f"peer 'p' ({peer.url}) answers again")
        assert daemon.stop() == 0
