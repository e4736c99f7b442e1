"""A camera's server accepts and never answers: the lane opens for longer than the watchdog waits for a hung loop."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent import health, ledger
from agent.benches.attacks.outcome import Outcome
from agent.benches.programs import CAMERA_MODEL, SENSOR_MODEL, spawn, stop

WATCHDOG_S = 5.0  # as in reflexd.service
OPEN_S = health.STALLED_NS / 1e9 + 2 * WATCHDOG_S  # of one attempt: a starved watchdog would have ended the daemon
START_S = 30.0


def measure(times: int) -> Outcome:
    """A repetition is one attempt to open, each by a daemon of its own."""
    failures: list[str] = []
    lost = 0
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="reflexd-open-") as name:
            failure = _repetition(Path(name))
        lost += bool(failure)
        failures += [failure] if failure else []
    return Outcome("slow_open", times, lost, 0, [], 0.0, failures)


def _repetition(folder: Path) -> str:
    """What went wrong; empty where the healthy lane went on and the watchdog was fed in time."""
    with socket.create_server(("127.0.0.1", 0)) as silent, _systemd(folder) as systemd:
        path = folder / "open.yaml"
        path.write_text(json.dumps(_configuration(folder, silent.getsockname()[1])), encoding="utf-8")
        daemon = spawn(["agent", "run", "-c", str(path)], stderr=subprocess.DEVNULL)
        try:
            gap_s = _longest_gap(systemd, daemon)
            arm = ledger.read(folder / "arm.ledger")
        finally:
            stop(daemon)
    if gap_s > WATCHDOG_S:
        return f"the watchdog was fed {gap_s:.1f} s late: systemd would have ended the daemon"
    return "" if arm.state == "running" and arm.counts["faults"] == 0 else f"the healthy lane is {arm.state}"


@contextmanager
def _systemd(folder: Path) -> Iterator[socket.socket]:
    """The other end of sd_notify."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(folder / "notify"))
        receiver.settimeout(0.2)
        os.environ |= {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
        try:
            yield receiver
        finally:
            del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]


def _longest_gap(systemd: socket.socket, daemon: subprocess.Popen[bytes]) -> float:
    """Seconds between two states while the lane opens; infinity where the daemon was never ready, or ended."""
    end = time.monotonic() + START_S
    fed, gap_s = 0.0, 0.0
    while time.monotonic() < end:
        try:
            state = systemd.recv(1000)
        except TimeoutError:
            state = b""
        now = time.monotonic()
        if state == b"READY=1":
            fed, end = now, now + OPEN_S
        gap_s = max(gap_s, now - fed) if fed else 0.0
        fed = now if fed and state == b"WATCHDOG=1" else fed
        if daemon.poll() is not None:
            return float("inf")
    return gap_s if fed else float("inf")


def _configuration(folder: Path, port: int) -> dict[str, object]:
    silent = {"driver": "camera.rtsp", "url": f"rtsp://127.0.0.1:{port}/live", "open_timeout_ms": 2000 * OPEN_S}
    return {
        "node": "bench",
        "run_dir": str(folder),
        "state_dir": str(folder),
        "recorder": {"enabled": False},
        "lanes": {
            "yard": {"source": silent, "model": CAMERA_MODEL},
            "arm": {"source": {"driver": "sensor.sim_arm", "rate_hz": 200}, "model": SENSOR_MODEL},
        },
    }
