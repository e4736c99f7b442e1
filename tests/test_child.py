"""Child processes of the daemon: stopped, in the way of one another, asked too much."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from agent import metrics
from agent.benches.programs import free_port
from agent.box import stalled
from agent.box.child import LAST_PAUSE_S, ChildProcess
from tests.processes import Cell, Process, arm
from tests.test_metrics import fetch
from tests.waiting import until

MODULES = ("agent.metrics", "agent.recorder.recorder")


@pytest.fixture
def served(tmp_path: Path) -> Any:
    """(cell, daemon, port of its metrics), running."""
    port = free_port()
    with Cell(tmp_path, {"arm": arm()}) as cell:
        daemon = cell.run(cell.write(metrics={"port": port}, state_dir=str(tmp_path / "state")))
        daemon.wait_for("runs: lanes")
        until(lambda: "reflexd_lane_running" in fetch(port), daemon.log.read_text)
        yield cell, daemon, port


def child(daemon: Process, module: str) -> psutil.Process:
    return until(lambda: next((c for c in psutil.Process(daemon.popen.pid).children() if module in c.cmdline()), None))


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.slow
def test_kind_a_stopped_child_does_not_hold_the_daemon(served: tuple[Cell, Process, int], module: str) -> None:
    """It is continued, and so also writes what it has: SIGTERM alone would wait for SIGCONT."""
    _, daemon, _ = served
    process = child(daemon, module)
    process.send_signal(signal.SIGSTOP)
    assert daemon.stop() == 0
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "the child's end")


@pytest.mark.slow
def test_kind_a_port_that_is_taken_is_reported_once(tmp_path: Path) -> None:
    with socket.socket() as other, Cell(tmp_path, {"arm": arm()}) as cell:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        daemon = cell.run(cell.write(metrics={"port": port}, recorder={"enabled": False}))
        daemon.wait_for(f"cannot listen at 127.0.0.1 port {port}: Address already in use")
        cell.wait_for_count("arm", "samples", cell.counts("arm")["samples"] + 5000)  # it has tried again meanwhile
        other.close()
        until(lambda: "reflexd_lane_running" in fetch(port), "metrics once the port is free")
        assert len(daemon.lines("metrics: cannot listen")) == 1
        assert "Traceback" not in daemon.text and not daemon.lines("metrics ended")


@pytest.mark.slow
def test_kind_clients_without_a_request_are_bounded(served: tuple[Cell, Process, int]) -> None:
    _, daemon, port = served
    process = child(daemon, "agent.metrics")
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(4 * metrics.MAX_CONNECTIONS)]

    def open_connections() -> int:
        return sum(connection.status == psutil.CONN_ESTABLISHED for connection in process.net_connections("tcp"))

    until(lambda: open_connections() <= metrics.MAX_CONNECTIONS + 1, lambda: f"{open_connections()} connections")
    assert "reflexd_lane_running" in fetch(port)
    for client in clients:
        client.close()


def test_metrics_are_served_at_an_ipv6_address(tmp_path: Path) -> None:
    port = free_port()
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.actuate()  # without it the box is degraded
        daemon = cell.run(cell.write(metrics={"port": port, "host": "::1"}, recorder={"enabled": False}))

        def answers() -> bool:
            try:
                with socket.create_connection(("::1", port), 5) as client:
                    client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                    return b"good" in client.recv(1 << 16) + client.recv(1 << 16)
            except OSError:
                return False

        until(answers, lambda: daemon.text)


def test_a_child_that_ends_again_and_again_is_logged_until_the_pause_is_at_its_longest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    longest = LAST_PAUSE_S
    process = ChildProcess("agent.metrics", advice="why?")
    ends = [(1, 0.0), (1, 0.25), (1, 0.5), (1, longest), (1, longest), (1, longest), (-9, longest), (-9, longest)]
    for code, pause in [*ends, (-9, 0.0), (-9, longest)]:
        process._log_end(code, pause)
    lines = [(record.args[1], record.args[3]) for record in caplog.records if isinstance(record.args, tuple)]
    last = f"in {longest:g} s"
    assert lines[:5] == [(1, "at once"), (1, "in 0.25 s"), (1, "in 0.5 s"), (1, last), (-9, last)]
    assert lines[5:] == [(-9, "at once"), (-9, last)], "one that lived for a while starts again without a pause"


class Spied:
    """A process that is known by its number, and is not really killed."""

    pid = kills = 0

    def kill(self) -> None:
        self.kills += 1


@pytest.mark.parametrize("states, killed", [("T" * 6, "stopped"), ("TTTTTS" * 20, ""), ("D" * 400, "")])
def test_a_child_is_killed_where_it_is_stopped_and_not_where_it_is_slow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, states: str, killed: str
) -> None:
    """Its states one poll after the other; a file that stays as it is."""
    reason = watched(monkeypatch, tmp_path, states)
    assert killed in reason if killed else reason == ""


def test_a_child_that_makes_no_progress_is_killed_after_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert watched(monkeypatch, tmp_path, "S" * stalled.HUNG_POLLS) == ""
    assert "made no progress for 90 s" in watched(monkeypatch, tmp_path, "S" * (stalled.HUNG_POLLS + 1))
    assert watched(monkeypatch, None, "S" * 400) == "", "one without a sign of progress may be idle"


def watched(monkeypatch: pytest.MonkeyPatch, progress: Path | None, states: str) -> str:
    """Why it was killed; empty where it was not."""
    given, process = iter(states), Spied()

    async def no_sleep(_: float) -> None:
        return

    monkeypatch.setattr(stalled.asyncio, "sleep", no_sleep)
    monkeypatch.setattr(stalled, "_state", lambda _: next(given))
    try:
        reason = asyncio.run(stalled.kill_when_stalled(cast(Any, process), progress))
    except RuntimeError:  # of the iterator, inside of a coroutine
        return ""
    assert process.kills == 1
    return reason


def test_the_state_of_a_process_is_read() -> None:
    assert stalled._state(os.getpid()) == "R" and stalled._state(1 << 30) == ""
