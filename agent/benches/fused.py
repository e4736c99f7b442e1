"""Fusion in a whole daemon: how long from the last evidence to its command, and what whole scenes find on labelled clips."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from agent import ledger, package
from agent.benches.programs import actuate, end, spawn
from agent.gates.config import GateConfig
from agent.lane import offline_lane
from agent.perception import Perception
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from agent.vision.poses import SecondModel
from models.train.pose_fall import clips as falls

SECONDS = 12.0
WARM_ROWS = 20
# In the picture from .. until, seconds, read off one-by-one-person-detection.mp4 by eye.
PRESENT = [(6.4, 20.0), (23.1, 45.0), (50.6, 70.0), (74.8, 87.0), (92.7, 120.0), (123.9, 136.0)]
EDGE_S = 0.7  # so exactly one can read it off
RULE = {
    "any": [{"lane": "yard", "label": "person", "score": 0.6, "hits": 2, "of": 3}],
    "actuator": "siren",
    "verb": "alarm",
    "hold_ms": 1000,
}


def last_evidence_to_command() -> dict[str, Any]:
    """A camera at 30, an arm at 200 and a heart at 4 inferences a second under one rule that sums up, each a decision."""
    with tempfile.TemporaryDirectory(prefix="reflexd-fused-") as name:
        folder = Path(name)
        path = folder / "fused.yaml"
        path.write_text(json.dumps(_configuration(folder)), encoding="utf-8")
        host = actuate(path)
        try:
            daemon = spawn(["agent", "run", "-c", str(path), "--seconds", str(SECONDS)], stderr=subprocess.DEVNULL)
            daemon.wait(60 + SECONDS)
        finally:
            end(host)
        rows = np.concatenate([one.rows[WARM_ROWS:] for one in ledger.read_all(folder)])
    sent, inferred = (rows[stamp] for stamp in ("sent", "inferred"))
    ms = (sent - inferred)[sent > 0] / 1e6
    return {
        "lanes": 3,
        "decisions": len(ms),
        **{f"{key}_ms": round(value, 3) for key, value in ledger.quantiles(ms).items()},
    }


def _configuration(folder: Path) -> dict[str, Any]:
    seen = {"camera": ("person", 0.5), "arm": ("normal", 0.5), "heart": ("heart-rate", 0.1)}
    return {
        "run_dir": str(folder),
        "state_dir": str(folder / "state"),
        "lanes": {
            "camera": {"source": {"driver": "camera.sim"}, "model": "person-coarse"},
            "arm": {"source": {"driver": "sensor.sim_arm", "rate_hz": 200}, "model": "arm-deviation"},
            "heart": {"source": {"driver": "sensor.sim_heart"}, "model": "heart"},
        },
        "actuators": {"nurse": {"device": {"driver": "actuator.sim"}, "rest": "quiet"}},
        "rules": {
            "help": {
                "sum": [
                    {"lane": lane, "label": label, "score": score, "memory_ms": 1000}
                    for lane, (label, score) in seen.items()
                ],
                "prior": 0.5,
                "confidence": 0.5,
                "actuator": "nurse",
                "verb": "call",
                "every_sample": True,
                "deadline_ms": 100,
            }
        },
    }


def persons(clip: Path, gate: GateConfig | None) -> dict[str, Any]:
    """Perimeter: is somebody there, as the rule says at each frame, against what a person read off the clip."""
    perception = Perception(package.open_package(package.find("person-coarse")), gate=gate)
    lane = offline_lane("yard", "camera.file", {"path": clip}, perception)
    scene = Scene(Rules({"somebody": RuleConfig.model_validate(RULE)}, {"siren": "watch"}))
    right = false = missed = looked = frames = start = 0
    alarmed = False
    found: set[int] = set()
    for sample, decided in lane.play(scene):
        start = start or sample.t_capture
        now = (sample.t_capture - start) / 1e9
        for decision in decided:
            alarmed = decision.verb == "alarm"
        frames, looked = frames + 1, looked + (lane.evidence is not None)
        there = [number for number, (since, until) in enumerate(PRESENT) if since <= now <= until]
        if alarmed:
            found.update(there)
        # The rule holds on for a second, and nobody reads an edge off to the frame.
        if not any(-EDGE_S < now - since < EDGE_S or -EDGE_S < now - until < 1.0 + EDGE_S for since, until in PRESENT):
            right += alarmed and bool(there)
            false += alarmed and not there
            missed += not alarmed and bool(there)
    return {
        "frames_looked_at_percent": round(100 * looked / frames, 1),
        "persons_found": f"{len(found)} of {len(PRESENT)}",
        "precision": round(right / max(right + false, 1), 3),
        "recall": round(right / max(right + missed, 1), 3),
    }


def fallen(data: Path, gate: GateConfig | None) -> dict[str, Any]:
    """Bedside: falls S1 and S2 through MoveNet and pose-fall; how long after its beginning the last one is called."""
    from models.train.pose_fall.evaluate import lateness, summary

    posture, pose = package.open_package(package.find("pose-fall")), falls.movenet(data)
    labelled = falls.clips(data)
    played = [(clip, falls.play(clip.path, pose, posture, gate)) for clip in labelled]
    told = summary(played)
    kept = ("falls", "falls_in_time", "daily_clips", "daily_clips_with_false_alarm", "alarms_before_a_fall")
    return {
        "frames_looked_at": sum(len(one.times) for _, one in played),
        **{key: told[key] for key in kept},
        "latest_s": round(max(lateness(clip, one) for clip, one in played if np.isfinite(clip.fall_s)), 2),
    }


def step_ms(data: Path) -> dict[str, float]:
    """From a frame in the lane's hands to what the rules make of it: falls, every frame."""
    posture, pose = package.open_package(package.find("pose-fall")), falls.movenet(data)
    lane = offline_lane(
        "room", "camera.file", {"path": falls.clips(data)[0].path}, Perception(pose, second=SecondModel(posture))
    )
    scene, taken = Scene(Rules({"fall": RuleConfig.model_validate(falls.RULE)}, {"nurse": "quiet"})), []
    lane.open()
    for sample in lane.source.rest():
        before = time.perf_counter()
        lane.step(sample, scene)
        taken.append((time.perf_counter() - before) * 1e3)
    return {f"{key}_ms": round(value, 2) for key, value in ledger.quantiles(np.array(taken[WARM_ROWS:])).items()}
