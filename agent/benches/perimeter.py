"""Persons who come and go on a real clip: alarms of the rule against what a person read off the frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.gates.config import GateConfig
from agent.offline import offline_lane
from agent.packages import package
from agent.perception import Perception
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from agent.rules.scene import Scene

CLIP = "video-intel/one-by-one-person-detection.mp4"
# Visible from .. until, seconds, read off the clip by eye.
PRESENT = [(6.4, 20.0), (23.1, 45.0), (50.6, 70.0), (74.8, 87.0), (92.7, 120.0), (123.9, 136.0)]
EDGE_S = 0.7  # accuracy of reading by eye
HOLD_S = 1.0  # the rule's hold_ms
RULE = {
    "any": [{"lane": "yard", "label": "person", "score": 0.6, "hits": 2, "of": 3}],
    "actuator": "siren",
    "verb": "alarm",
    "hold_ms": 1000 * HOLD_S,
}


def measure(data: Path, gate: GateConfig | None) -> dict[str, Any]:
    """The rule's alarm of each frame against PRESENT; frames around the edges are left out of precision and recall."""
    perception = Perception(package.open_package(package.find("person-coarse")), gate=gate)
    lane = offline_lane("yard", "camera.file", {"path": data / CLIP}, perception)
    right = false = missed = inferred = frames = start = 0
    alarmed = False
    detected: set[int] = set()
    for sample, decisions in lane.play(Scene(Rules({"person": RuleConfig.model_validate(RULE)}, {"siren": "watch"}))):
        start = start or sample.t_capture
        now = (sample.t_capture - start) / 1e9
        for decision in decisions:
            alarmed = decision.verb == "alarm"
        frames, inferred = frames + 1, inferred + (lane.evidence is not None)
        present = {number for number, (since, until) in enumerate(PRESENT) if since <= now <= until}
        if alarmed:
            detected |= present
        if not _near_an_edge(now):
            right += alarmed and bool(present)
            false += alarmed and not present
            missed += not alarmed and bool(present)
    return {
        "frames_inferred_percent": round(100 * inferred / frames, 1),
        "persons_detected": f"{len(detected)} of {len(PRESENT)}",
        "precision": round(right / max(right + false, 1), 3),
        "recall": round(right / max(right + missed, 1), 3),
    }


def _near_an_edge(now: float) -> bool:
    """The rule holds its alarm for HOLD_S, and nobody reads an edge off to the frame."""
    return any(-EDGE_S < now - since < EDGE_S or -EDGE_S < now - until < HOLD_S + EDGE_S for since, until in PRESENT)
