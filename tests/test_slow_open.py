"""A source that takes long to open or close is no hang: the watchdog is fed, the other lanes go on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import ledger
from agent.control import client as control
from agent.health import STALLED_NS
from tests.processes import Cell, arm, camera
from tests.test_watchdog import Systemd, systemd
from tests.waiting import until

__all__ = ["systemd"]

# Opens, or closes, only when a file exists. Another file makes its readings fail.
SLOW = """
import os, time
from drivers.base import DeviceFault
from drivers.sensor import sim_arm

Options = sim_arm.Options

class Driver(sim_arm.Driver):
    @property
    def open_limit_s(self):
        return {limit_s}

    def open(self):
        while {call!r} == "open" and not os.path.exists({folder!r} + "/go"):
            time.sleep(0.02)
        super().open()

    def read(self, wait_s):
        if os.path.exists({folder!r} + "/fail"):
            raise DeviceFault("it fails")
        return super().read(wait_s)

    def close(self):
        while {call!r} == "close" and os.path.exists({folder!r} + "/fail"):
            time.sleep(0.02)
        super().close()
"""


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def slow(folder: Path, call: str, limit_s: float) -> dict[str, Any]:
    (folder / "ours").mkdir()
    (folder / "ours/slow.py").write_text(SLOW.format(call=call, folder=str(folder), limit_s=limit_s))
    lane = arm()
    lane["source"]["driver"] = "ours.slow"
    return lane


def reasons(cell: Cell) -> list[str]:
    status = control.ask(cell.run_dir, {"do": "status"}, 60.0)
    return list(status["reasons"]) if status else []


def healthy_lane_goes_on(cell: Cell, systemd: Systemd) -> None:
    """Past the time after which a loop counts as stalled the daemon lives, feeds the watchdog, and its arm infers."""
    systemd.received()
    systemd.receives("WATCHDOG=1")
    cell.wait_for_count("arm", "inferences", cell.counts("arm")["inferences"] + 100)
    assert cell.counts("arm")["faults"] == 0


def opening_s(cell: Cell) -> float:
    """How long the slow lane has been opening, as its status says; 0 while it does not."""
    (reason,) = [line for line in reasons(cell) if line.startswith("lane slow ")] or [""]
    return float(reason.split()[4]) if "opening for" in reason else 0.0


@pytest.mark.slow
def test_kind_a_driver_that_opens_slowly(tmp_path: Path, systemd: Systemd) -> None:
    with Cell(tmp_path, {"slow": slow(tmp_path, "open", 60.0), "arm": arm()}) as cell:
        daemon = cell.run()
        systemd.receives("READY=1")
        until(lambda: opening_s(cell) > STALLED_NS / 1e9, cell.logs)
        healthy_lane_goes_on(cell, systemd)
        assert "stalled" not in daemon.text and "hung" not in daemon.text
        (tmp_path / "go").touch()
        cell.wait_for_count("slow", "inferences")
        assert daemon.stop() == 0


@pytest.mark.slow
def test_a_camera_whose_network_swallows_everything(tmp_path: Path, systemd: Systemd, silent_server: int) -> None:
    silent = camera("camera.rtsp", url=f"rtsp://user:secret@127.0.0.1:{silent_server}/live", open_timeout_ms=8000)
    with Cell(tmp_path, {"slow": silent, "arm": arm()}) as cell:
        daemon = cell.run()
        systemd.receives("READY=1")
        until(lambda: opening_s(cell) > STALLED_NS / 1e9, cell.logs)
        healthy_lane_goes_on(cell, systemd)
        assert f"rtsp://127.0.0.1:{silent_server}" in daemon.wait_for("trying again until it is back")
        assert "stalled" not in daemon.text and "secret" not in daemon.text
        assert daemon.stop() == 0


@pytest.mark.parametrize("call", ["open", "close"])
@pytest.mark.slow
def test_a_driver_that_hangs_in_open_or_close(tmp_path: Path, systemd: Systemd, call: str) -> None:
    """Past its own deadline: one message; the other lanes go on, and this one does when the call returns after all."""
    with Cell(tmp_path, {"slow": slow(tmp_path, call, 0.5), "arm": arm()}) as cell:
        daemon = cell.run()
        systemd.receives("READY=1")
        if call == "close":
            cell.wait_for_count("slow", "inferences")
            (tmp_path / "fail").touch()
        message = daemon.wait_for("lane slow hung: its driver's open or close has not returned for")
        assert "the other lanes continue" in message
        assert any("lane slow hung" in reason for reason in reasons(cell))
        healthy_lane_goes_on(cell, systemd)
        (tmp_path / "fail").unlink() if call == "close" else (tmp_path / "go").touch()
        daemon.wait_for("lane slow makes progress again")
        until(lambda: ledger.read(cell.run_dir / "slow.ledger").state == "running", cell.logs)
        assert len(daemon.lines("hung")) == 1
        assert daemon.stop() == 0
