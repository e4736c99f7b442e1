"""Outputs not finite or of another shape, or an engine that raises: the actuator is safe, another lane goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from agent import ledger
from agent.benches.attacks._faulty_engine import FAULTY, GOOD, LASTS_S
from agent.benches.attacks.outcome import Outcome
from agent.benches.faults import SAFE_AFTER_MS, SLACK_MS, uncounted
from agent.benches.programs import SENSOR_MODEL, spawn, start_host, stop
from agent.packages import package

START_S, RATE_HZ = 20.0, 200
RECOVERY_S = 2.0  # the lane tries its model again after 0.1 s, 0.2 s ...


def measure(times: int) -> Outcome:
    """One daemon; its faulty lane fails `times` times."""
    with tempfile.TemporaryDirectory(prefix="reflexd-model-") as name:
        folder = Path(name)
        shutil.copytree(package.find(SENSOR_MODEL), folder / FAULTY)
        path, log = folder / "model.yaml", folder / "faults.txt"
        path.write_text(json.dumps(_configuration(folder)), encoding="utf-8")
        host = start_host(path)
        daemon = spawn(
            ["agent.benches.attacks._faulty_engine", str(log), "run", "-c", str(path)], stderr=subprocess.DEVNULL
        )
        try:
            _wait(log, times)
            time.sleep(LASTS_S + RECOVERY_S)
            lost = [lane.lane for lane in ledger.read_all(folder) if lane.state != "running"]
        finally:
            stop(daemon)
            stop(host)
        lanes = list(ledger.read_all(folder))
        faults = [int(line) for line in log.read_text().split()][:times]
        safe = [_safe_ms(fault, folder / f"{FAULTY}.jsonl") for fault in faults]
        other = sum(lane.counts["faults"] for lane in lanes if lane.lane != FAULTY)
    failures = [f"lane {name} did not recover" for name in lost]
    failures += [f"the other lane has {other} faults"] if other else []
    failures += [f"{len(faults)} faults of {times}"] if len(faults) < times else []
    decisions = sum(uncounted(lane.counts) for lane in lanes)
    return Outcome("model_faults", len(faults), len(lost), decisions, safe, SAFE_AFTER_MS + SLACK_MS, failures)


def _configuration(folder: Path) -> dict[str, Any]:
    """Two lanes that command an actuator each with every sample."""
    config: dict[str, Any] = {"node": "bench", "run_dir": str(folder), "state_dir": str(folder)}
    config |= {"recorder": {"enabled": False}, "lanes": {}, "actuators": {}, "rules": {}}
    for name, model in ((FAULTY, str(folder / FAULTY)), ("good", SENSOR_MODEL)):
        device = {"driver": "actuator.log", "path": str(folder / f"{name}.jsonl")}
        always = [{"lane": name, "label": "normal", "absent": absent} for absent in (False, True)]
        source = {"driver": "sensor.sim_arm", "rate_hz": RATE_HZ}
        config["lanes"][name] = {"source": source, "model": model}
        config["actuators"][name] = {"device": device, "rest": "rest", "verbs": ["rest", "go"]}
        config["rules"][name] = {"any": always, "actuator": name, "verb": "go", "every_sample": True}
        config["rules"][name]["deadline_ms"] = 1000
    return config


def _wait(log: Path, times: int) -> None:
    """Until so many faults have begun, or twice the time for that."""
    end = time.monotonic() + START_S + 2 * times * (GOOD / RATE_HZ + LASTS_S + RECOVERY_S)
    while time.monotonic() < end and (not log.exists() or len(log.read_text().split()) < times):
        time.sleep(0.05)


def _safe_ms(fault: int, record: Path) -> float:
    """From the first wrong output to the safe state; infinity for never."""
    rows = map(json.loads, record.read_text().splitlines())
    times = [row["t_ns"] for row in rows if row["verb"] == "safe" and row["t_ns"] > fault]
    return (times[0] - fault) / 1e6 if times else float("inf")
