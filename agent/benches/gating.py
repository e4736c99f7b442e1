"""Keyframe and motion gates on a real clip in which persons come and go: frames saved, delay of each person."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from agent.benches.perimeter import CLIP
from agent.gates.config import GateConfig
from agent.lane import Lane
from agent.offline import offline_lane
from agent.packages import package
from agent.perception import Perception
from agent.rules.engine import Rules
from agent.rules.scene import Scene

GATE: dict[str, Any] = {"keyframe": {}, "motion": {}}
SHORT_FRAMES = 300
APART, LASTING = 10, 3  # frames: an appearance starts after APART without a person and has at least LASTING


def measure(data: Path) -> dict[str, Any]:
    """Inference on every frame against inference behind the gates. latest_frames: -1 when an appearance was missed."""
    every = [bool(detected) for detected in _detections(data / CLIP, None)]
    gated = _detections(data / CLIP, GateConfig.model_validate(GATE))
    in_force = _in_force(gated)
    starts = _appearances(every)
    delays = [_delay(in_force, start) for start in starts]
    return {
        "clip": CLIP,
        "frames": len(every),
        "gate": GATE,
        "not_inferred_percent": round(100 * gated.count(None) / len(gated), 1),
        "appearances": len(starts),
        "latest_frames": max((-1 if delay is None else delay for delay in delays), default=None),
        "appearances_detected": sum(delay is not None for delay in delays),
        "same_answer_percent": round(100 * float(np.mean([a == b for a, b in zip(every, in_force)])), 2),
    }


def _coarse_lane(clip: Path, gate: GateConfig | None = None) -> Lane:
    """person-coarse on a clip."""
    perception = Perception(package.open_package(package.find("person-coarse")), gate=gate)
    return offline_lane("yard", "camera.file", {"path": clip}, perception)


def _detections(clip: Path, gate: GateConfig | None) -> list[bool | None]:
    """Whether a person is detected in each frame; None where the gate held the frame back."""
    lane = _coarse_lane(clip, gate)
    return [None if lane.evidence is None else bool(lane.evidence) for _ in lane.play(Scene(Rules({}, {})))]


def _in_force(detections: Sequence[bool | None]) -> list[bool]:
    """The newest result at each frame."""
    results: list[bool] = []
    for detected in detections:
        results.append(detected if detected is not None else bool(results and results[-1]))
    return results


def _appearances(detected: Sequence[bool]) -> list[int]:
    """First frame of each appearance."""
    starts, absent = [], APART
    for number, present in enumerate(detected):
        if present and absent >= APART and all(detected[number : number + LASTING]):
            starts.append(number)
        absent = 0 if present else absent + 1
    return starts


def _delay(in_force: Sequence[bool], start: int) -> int | None:
    """Frames from the start of an appearance until the result in force has a person."""
    return next((number for number, detected in enumerate(in_force[start:]) if detected), None)


def evidence_bytes(data: Path, short: bool = False) -> dict[str, Any]:
    """Bytes of a frame's evidence in a coarse lane, as the recorder packs it, against the frame's own."""
    lane = _coarse_lane(data / CLIP)
    sizes, frame_bytes = [], 0
    for sample, _ in islice(lane.play(Scene(Rules({}, {}))), SHORT_FRAMES if short else None):
        evidence = [(each.label, each.score, each.box) for each in lane.evidence or ()]
        sizes.append(len(msgpack.packb(evidence)))
        frame_bytes = sample.payload.nbytes
    return {
        "frame_bytes": frame_bytes,
        "evidence_bytes_mean": round(float(np.mean(sizes)), 1),
        "evidence_bytes_max": max(sizes),
    }
