"""Falls on real clips through MoveNet and pose-fall: called in time, false alarms, time from frame to decision."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from agent import ledger
from agent.benches import falls
from agent.gates.config import GateConfig
from agent.offline import offline_lane
from agent.packages import package
from agent.perception import Perception
from agent.vision.poses import SecondModel

WARM_FRAMES = 20


def measure(data: Path, gate: GateConfig | None, short: bool = False) -> dict[str, Any]:
    """Subjects S1 and S2. latest_s: from the annotated start of a fall to its alarm, the slowest."""
    posture, pose = (package.open_package(package.find(name)) for name in ("pose-fall", "movenet"))
    played = [(clip, falls.play(clip.path, pose, posture, gate)) for clip in _chosen(data, short)]
    delays = [falls.lateness(clip, run) for clip, run in played if np.isfinite(clip.fall_s)]
    return {
        "frames_inferred": sum(len(run.times) for _, run in played),
        **falls.summary(played),
        "latest_s": round(max(delays), 2),
    }


def _chosen(data: Path, short: bool) -> list[falls.Clip]:
    clips = falls.clips(data)
    if not short:
        return clips
    return [next(clip for clip in clips if np.isfinite(clip.fall_s) == fall) for fall in (True, False)]


def step_ms(data: Path) -> dict[str, float]:
    """From a frame in the lane to the rules' decisions on it: the first clip, every frame."""
    posture, pose = (package.open_package(package.find(name)) for name in ("pose-fall", "movenet"))
    perception = Perception(pose, second=SecondModel(posture))
    lane = offline_lane("room", "camera.file", {"path": falls.clips(data)[0].path}, perception)
    scene, steps_ms = falls.fall_scene(), []
    lane.open()
    for sample in lane.source.remaining_samples():
        before = time.perf_counter()
        lane.step(sample, scene)
        steps_ms.append((time.perf_counter() - before) * 1e3)
    quantiles = ledger.quantiles(np.array(steps_ms[WARM_FRAMES:]))
    return {f"{key}_ms": round(value, 2) for key, value in quantiles.items()}
