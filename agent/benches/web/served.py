"""A daemon and its live view, as whole processes, and the latency of the lane."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from agent import ledger
from agent.benches.programs import free_port, spawn

LANE = "lane"
WARM = 30  # samples


def camera(fps: int) -> dict[str, Any]:
    source = {"driver": "camera.sim", "width": 640, "height": 480, "fps": fps, "timeout_ms": 1000}
    return {"source": source, "model": "person-coarse"}


def sensor() -> dict[str, Any]:
    """At 1 kHz."""
    return {"source": {"driver": "sensor.sim_arm", "timeout_ms": 1000}, "model": "arm-deviation"}


class Served:
    """A daemon with one lane, and the live view beside it."""

    def __init__(self, lane: dict[str, Any]) -> None:
        """lane: its section of the configuration."""
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="reflexd-bench-")))
        self.port = free_port()
        self.rss_mb = 0.0
        config = {"run_dir": str(self.folder), "recorder": {"enabled": False}, "lanes": {LANE: lane}}
        self._path = self.folder / "reflexd.yaml"
        self._path.write_text(json.dumps(config), encoding="utf-8")

    def __enter__(self) -> Served:
        self._daemon = spawn(["agent", "run", "-c", str(self._path)], stderr=subprocess.DEVNULL)
        command = ["agent.web.server", str(self._path), "--port", str(self.port)]
        self.web = spawn(command, stderr=subprocess.DEVNULL)
        _until(lambda: self.samples > WARM, "the lane runs")
        _until(self._answers, "the live view answers")
        return self

    def _answers(self) -> bool:
        return any(each.laddr.port == self.port for each in psutil.Process(self.web.pid).net_connections())

    @property
    def samples(self) -> int:
        return next((each.head for each in ledger.read_all(self.folder)), 0)

    def p99_ms(self, seconds: float) -> float:
        """Of the lane, captured to decided, from now on for so long."""
        began = time.monotonic_ns()
        time.sleep(seconds)
        rows = ledger.read(self.folder / f"{LANE}.ledger").rows
        self.rss_mb = max(self.rss_mb, round(psutil.Process(self.web.pid).memory_info().rss / 1e6, 1))
        return float(np.percentile(ledger.parts(rows[rows["capture"] >= began])["total"], 99))

    def __exit__(self, *_: object) -> None:
        for process in (self.web, self._daemon):
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(20)
        self._stack.close()


def _until(condition: Callable[[], object], awaited: str, limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {limit_s:g} s: {awaited}")
        time.sleep(0.05)
