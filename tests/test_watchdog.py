"""States sent to systemd: READY once the models are loaded, WATCHDOG only while every critical lane makes progress."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agent.control import client as control
from tests.processes import Cell, arm
from tests.waiting import until

# Reads like the arm until a file appears, and then never returns.
HANGS = """
import os, time
from drivers.sensor import sim_arm

Options = sim_arm.Options

class Driver(sim_arm.Driver):
    def read(self, wait_s):
        while os.path.exists({flag!r}):
            time.sleep(0.05)
        return super().read(wait_s)
"""


class Systemd:
    """The other end of sd_notify."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))

    def received(self) -> list[str]:
        """Every state that has arrived and was not read yet, without waiting."""
        states = []
        with suppress(BlockingIOError):
            while True:
                states.append(self.socket.recv(1000, socket.MSG_DONTWAIT).decode())
        return states

    def receives(self, state: str) -> None:
        until(lambda: state in self.received(), state)


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    receiver = Systemd(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    yield receiver
    receiver.socket.close()


def hanging(folder: Path, critical: bool) -> dict[str, object]:
    (folder / "ours").mkdir()
    (folder / "ours/hangs.py").write_text(HANGS.format(flag=str(folder / "hang")))
    lane = arm()
    lane["source"]["driver"] = "ours.hangs"
    return {**lane, "critical": critical}


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.slow
def test_the_watchdog_is_fed_while_critical_lanes_make_progress(
    tmp_path: Path, systemd: Systemd, critical: bool
) -> None:
    with Cell(tmp_path, {"arm": hanging(tmp_path, critical), "other": arm()}) as cell:
        daemon = cell.run()
        systemd.receives("READY=1")
        systemd.receives("WATCHDOG=1")
        (tmp_path / "hang").touch()
        daemon.wait_for("lane arm stalled: driver call does not return")
        systemd.received()  # the queue holds ten: the daemon must not have waited
        status = control.ask(cell.run_dir, {"do": "status"}, 5.0)
        assert status and status["health"] == ("safe" if critical else "degraded")
        if critical:
            # As long as several watchdog periods of 0.4 s, counted by a lane of 1000 samples a second.
            cell.wait_for_count("other", "samples", cell.counts("other")["samples"] + 1500)
            assert "WATCHDOG=1" not in systemd.received()
        else:
            systemd.receives("WATCHDOG=1")
        (tmp_path / "hang").unlink()
        daemon.wait_for("lane arm makes progress again")
        systemd.receives("WATCHDOG=1")
        assert daemon.stop() == 0
        assert "STOPPING=1" in systemd.received()


def test_ready_means_that_models_are_loaded_and_lanes_run(tmp_path: Path, systemd: Systemd) -> None:
    with Cell(tmp_path, {"arm": {**arm(), "model": "arm-deviatoin"}}) as cell:
        assert cell.run().exit_code() == 2
        assert "READY=1" not in systemd.received()
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.run()
        systemd.receives("READY=1")
        assert until(lambda: (control.ask(cell.run_dir, {"do": "status"}, 5.0) or {}).get("lanes"), "a running lane")
