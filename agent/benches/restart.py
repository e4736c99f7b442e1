"""`reflexd bench restart`: kill -9 of the daemon until it decides again, under a supervisor that starts it as systemd would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from agent.benches.arc import machine
from agent.benches.programs import actuate, end, spawn
from agent.benches.soak import configuration

RESTART_S = 0.5  # RestartSec= of systemd/reflexd.service
PATIENCE_S = 30.0


def measure(times: int) -> dict[str, Any]:
    """Seconds from the kill to the actuator's first movement by a command of the new daemon, and to its safe state."""
    again, safe = [], []
    with tempfile.TemporaryDirectory(prefix="reflexd-restart-") as name:
        folder = Path(name)
        record, path = folder / "robot.jsonl", folder / "restart.yaml"
        config = configuration(folder)
        config["lanes"]["arm"]["source"] = {"driver": "sensor.sim_arm"}
        config["actuators"]["robot"]["device"] = {"driver": "actuator.log", "path": str(record)}
        path.write_text(json.dumps(config), encoding="utf-8")
        host = actuate(path)
        daemon = _start(path)
        try:
            _moved(record, "run", 0)
            for _ in range(times):
                killed = time.monotonic_ns()
                os.kill(daemon.pid, signal.SIGKILL)
                daemon.wait()
                time.sleep(RESTART_S)
                daemon = _start(path)
                safe.append((_moved(record, "safe", killed) - killed) / 1e9)
                again.append((_moved(record, "run", killed) - killed) / 1e9)
        finally:
            end(daemon)
            end(host)
    return {"machine": machine(), "times": times, "again_s": _figures(again), "safe_s": _figures(safe)}


def _start(path: Path) -> subprocess.Popen[bytes]:
    return spawn(["agent", "run", "-c", str(path)], stderr=subprocess.DEVNULL)


def _moved(record: Path, verb: str, after_ns: int) -> int:
    """When the actuator first did so after that; waits for it."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        lines = record.read_text().splitlines() if record.exists() else []
        for line in lines:
            one = json.loads(line)
            if one["verb"] == verb and one["t_ns"] > after_ns:
                return int(one["t_ns"])
        time.sleep(0.005)
    raise RuntimeError(f"the actuator did not go '{verb}' within {PATIENCE_S:g} s")


def _figures(seconds: list[float]) -> dict[str, float]:
    return {"median": round(float(np.median(seconds)), 3), "max": round(max(seconds), 3)}


def text(result: dict[str, Any]) -> str:
    again, safe = result["again_s"], result["safe_s"]
    return (
        f"{result['machine']}\nkill -9, {result['times']} times: safe after {safe['median']} s (longest {safe['max']}), "
        f"deciding again after {again['median']} s (longest {again['max']})"
    )
