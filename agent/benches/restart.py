"""`reflexd bench restart`: kill -9 of the daemon until it decides again; restarted after a pause as by systemd."""

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

from agent.benches.programs import VERB_S, spawn, start_host, stop, wait_for_verb
from agent.benches.soak import arm_configuration
from agent.box.machine import machine

RESTART_S = 0.5  # RestartSec= of systemd/reflexd.service
SHORT_TIMES = 3


def measure(times: int, short: bool = False) -> dict[str, Any]:
    """Seconds from the kill to the actuator's safe state, and to its first movement by a command of the new daemon."""
    times = min(times, SHORT_TIMES) if short else times
    with tempfile.TemporaryDirectory(prefix="reflexd-restart-") as name:
        folder = Path(name)
        record, path = folder / "robot.jsonl", folder / "restart.yaml"
        path.write_text(json.dumps(_configuration(folder, record)), encoding="utf-8")
        safe, deciding = _kill_repeatedly(path, record, times)
    return {
        "machine": machine(),
        "short": short,
        "times": times,
        "deciding_s": _figures(deciding),
        "safe_s": _figures(safe),
    }


def _configuration(folder: Path, record: Path) -> dict[str, Any]:
    config = arm_configuration(folder)
    config["lanes"]["arm"]["source"] = {"driver": "sensor.sim_arm"}
    config["actuators"]["robot"]["device"] = {"driver": "actuator.log", "path": str(record)}
    return config


def _kill_repeatedly(path: Path, record: Path, times: int) -> tuple[list[float], list[float]]:
    """(until safe, until deciding again), seconds after each kill."""
    safe, deciding = [], []
    host = start_host(path)
    daemon = _start(path)
    try:
        _wait_for(record, "run", 0)
        for _ in range(times):
            killed = time.monotonic_ns()
            os.kill(daemon.pid, signal.SIGKILL)
            daemon.wait()
            time.sleep(RESTART_S)
            daemon = _start(path)
            safe.append((_wait_for(record, "safe", killed) - killed) / 1e9)
            deciding.append((_wait_for(record, "run", killed) - killed) / 1e9)
    finally:
        stop(daemon)
        stop(host)
    return safe, deciding


def _start(path: Path) -> subprocess.Popen[bytes]:
    return spawn(["agent", "run", "-c", str(path)], stderr=subprocess.DEVNULL)


def _wait_for(record: Path, verb: str, after_ns: int) -> int:
    """As `wait_for_verb`. Raises RuntimeError where it never came."""
    moved_at = wait_for_verb(record, verb, after_ns)
    if moved_at is None:
        raise RuntimeError(f"the actuator did not go '{verb}' within {VERB_S:g} s")
    return moved_at


def _figures(seconds: list[float]) -> dict[str, float]:
    return {"median": round(float(np.median(seconds)), 3), "max": round(max(seconds), 3)}


def text(result: dict[str, Any]) -> str:
    deciding, safe = result["deciding_s"], result["safe_s"]
    return (
        f"{result['machine']}\n"
        f"kill -9, {result['times']} times: safe after {safe['median']} s (longest {safe['max']}), "
        f"deciding again after {deciding['median']} s (longest {deciding['max']})"
    )
