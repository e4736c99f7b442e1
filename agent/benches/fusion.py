"""Fusion in a whole daemon: the time from the last evidence to its command."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from agent import ledger
from agent.benches.programs import spawn, start_host, stop

SECONDS, SHORT_SECONDS = 12.0, 5.0
WARM_ROWS = 20
LANES: dict[str, Any] = {
    "camera": {"source": {"driver": "camera.sim"}, "model": "person-coarse"},
    "arm": {"source": {"driver": "sensor.sim_arm", "rate_hz": 200}, "model": "arm-deviation"},
    "heart": {"source": {"driver": "sensor.sim_heart"}, "model": "heart"},
}
EVIDENCE = {"camera": ("person", 0.5), "arm": ("normal", 0.5), "heart": ("heart-rate", 0.1)}  # label, score
RULE = {
    "sum": [
        {"lane": lane, "label": label, "score": score, "memory_ms": 1000} for lane, (label, score) in EVIDENCE.items()
    ],
    "prior": 0.5,
    "confidence": 0.5,
    "actuator": "nurse",
    "verb": "call",
    "every_sample": True,
    "deadline_ms": 100,
}


def measure(short: bool = False) -> dict[str, Any]:
    """30 inferences a second of a camera, 200 of an arm, 4 of a heart; one rule sums them up and decides on each."""
    seconds = SHORT_SECONDS if short else SECONDS
    with tempfile.TemporaryDirectory(prefix="reflexd-fusion-") as name:
        folder = Path(name)
        path = folder / "fusion.yaml"
        path.write_text(json.dumps(_configuration(folder)), encoding="utf-8")
        host = start_host(path)
        try:
            daemon = spawn(["agent", "run", "-c", str(path), "--seconds", str(seconds)], stderr=subprocess.DEVNULL)
            daemon.wait(60 + seconds)
        finally:
            stop(host)
        rows = np.concatenate([snapshot.rows[WARM_ROWS:] for snapshot in ledger.read_all(folder)])
    ms = (rows["sent"] - rows["inferred"])[rows["sent"] > 0] / 1e6
    return {
        "lanes": len(LANES),
        "decisions": len(ms),
        **{f"{key}_ms": round(value, 3) for key, value in ledger.quantiles(ms).items()},
    }


def _configuration(folder: Path) -> dict[str, Any]:
    return {
        "run_dir": str(folder),
        "state_dir": str(folder / "state"),
        "lanes": LANES,
        "actuators": {"nurse": {"device": {"driver": "actuator.sim"}, "rest": "quiet"}},
        "rules": {"help": RULE},
    }
