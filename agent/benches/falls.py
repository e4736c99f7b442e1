"""Annotated clips of falls and of daily activity, played through the lane: falls called in time, false alarms."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.benches.recordings import find_set
from agent.data import Array
from agent.decoders.base import Finding
from agent.errors import DataError
from agent.gates.config import GateConfig
from agent.offline import offline_lane
from agent.packages.package import Package
from agent.perception import Perception
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from agent.vision.poses import SecondModel

LABELS = ("walking", "standing", "sitting", "lying", "falling")  # of the package pose-fall
WALKING, STANDING, SITTING, LYING, FALLING = range(5)
WORDS = {"walking": WALKING, "standing": STANDING, "sitting": SITTING, "sleeping": LYING, "lying": LYING}
ON_THE_FLOOR_S = 3.0  # the staged falls are over by then; what follows is lying
IN_TIME_S = 2.0  # from the annotated start of the fall, which is rounded to a tenth
SLACK_S = 0.3  # an alarm this long before the annotated start still counts for the fall
# The rule that calls for help: this score in HITS of the last OF inferences.
SCORE, HITS, OF = 0.6, 3, 4
RULE = {
    "any": [{"lane": "room", "label": "falling", "score": SCORE, "hits": HITS, "of": OF}],
    "actuator": "nurse",
    "verb": "call",
    "hold_ms": 1000,
}


class Clip(NamedTuple):
    """path; spans: (label, from s, to s) as annotated, FALLING to the clip's end."""

    path: Path
    spans: list[tuple[int, float, float]]

    @property
    def fall_s(self) -> float:
        """The annotated start of the fall; NaN in daily activity."""
        return min((start for label, start, _ in self.spans if label == FALLING), default=np.nan)

    def label(self, at_s: float) -> int:
        """The label of a moment; -1 where the annotation leaves a gap, has two or means a fall that ends."""
        if at_s > self.fall_s + ON_THE_FLOOR_S:
            return LYING
        labels = {label for label, start, end in self.spans if start <= at_s < end and label != FALLING}
        if self.fall_s <= at_s < self.fall_s + 2.0:
            return FALLING
        return labels.pop() if len(labels) == 1 else -1


class PlayedClip(NamedTuple):
    """times: s of each frame from the first; points: [n, 17, 3] of MoveNet; labels: int [n], of the second model;

    alarms_s: when the rule began to call. aspect: the frame's width / height.
    """

    times: Array
    points: Array
    labels: Array
    alarms_s: list[float]
    aspect: float = 4 / 3


def clips(data: Path) -> list[Clip]:
    """Clips S<n>-Fall-<m>.mp4 and S<n>-ADL-<m>.mp4 that S<n>-Fall.csv and S<n>-ADL.csv annotate. Raises DataError."""
    folder = find_set(data, "video-fall-gmdcsa24", "S*-*.mp4", "S*-*.csv")
    annotated = []
    for path in sorted(folder.glob("S*-*-*.mp4")):
        group, number = path.stem.rsplit("-", 1)
        table = folder / f"{group}.csv"
        if not table.is_file():
            raise DataError(f"{table}: missing: it has the annotation of {path.name}")
        annotated.append(Clip(path, spans(_row(table, number))))
    return annotated


def _row(table: Path, number: str) -> str:
    with table.open(newline="", encoding="utf-8", errors="replace") as file:
        for row in csv.reader(file):
            if row and row[0].strip().lstrip("0") == f"{number}.mp4".lstrip("0"):
                return ",".join(row[5:])
    raise DataError(f"{table}: has no line for {number}.mp4")


def spans(text: str) -> list[tuple[int, float, float]]:
    """(label, from s, to s) of `Falling (SW)[3.4 to 6]; Sitting[0 to 3.4]`, also with the tables' slips."""
    labelled = []
    for word, times in re.findall(r"([A-Za-z]+)\s*(?:\([A-Z]*\)?)?\s*\[([^\]]*)\]", text):
        label = FALLING if word.lower() == "falling" else WORDS.get(word.lower())
        for start, end in re.findall(r"([0-9.]+)\s*(?:to)?\s+([0-9.]+)", times):
            if label is not None and float(start) < float(end):
                labelled.append((label, float(start), float(end)))
    return labelled


class _RecordedModel(SecondModel):
    """Keeps its inputs and its first label of every frame."""

    def __init__(self, package: Package) -> None:
        super().__init__(package)
        self.frames: list[tuple[int, Array, str]] = []
        self.aspect = 1.0

    def __call__(self, t_capture: int, keypoints: Array, aspect: float) -> list[Finding]:
        findings = super().__call__(t_capture, keypoints, aspect)
        self.frames.append((t_capture, np.array(keypoints), findings[0].label if findings else ""))
        self.aspect = aspect
        return findings


def fall_scene() -> Scene:
    """The rule that calls for help, without any evidence so far."""
    return Scene(Rules({"fall": RuleConfig.model_validate(RULE)}, {"nurse": "quiet"}))


def play(path: Path, pose: Package, posture: Package, gate: GateConfig | None = None) -> PlayedClip:
    """A clip through lane and rule, all frames or those that a gate passes, at its own time. Raises DataError."""
    second = _RecordedModel(posture)
    lane = offline_lane("room", "camera.file", {"path": path}, Perception(pose, gate=gate, second=second))
    alarms = []
    for sample, decisions in lane.play(fall_scene()):
        alarms += [sample.t_capture for decision in decisions if decision.verb == "call"]
    if not second.frames:
        raise DataError(f"{path}: no frame could be read")
    times, points, names = zip(*second.frames)
    start, known = times[0], posture.decoder.labels
    return PlayedClip(
        times=(np.array(times) - start) / 1e9,
        points=np.stack(points),
        labels=np.array([known.index(name) if name else -1 for name in names]),
        alarms_s=[(time - start) / 1e9 for time in alarms],
        aspect=second.aspect,
    )


def lateness(clip: Clip, played: PlayedClip) -> float:
    """Seconds from the start of the fall to the alarm; NaN for none."""
    after = [alarm - clip.fall_s for alarm in played.alarms_s if alarm >= clip.fall_s - SLACK_S]
    return min(after, default=np.nan)


def false_alarms(clip: Clip, played: PlayedClip) -> list[float]:
    """Alarms outside a fall, seconds of the clip."""
    return [alarm for alarm in played.alarms_s if not alarm >= clip.fall_s - SLACK_S]


def summary(played: Iterable[tuple[Clip, PlayedClip]]) -> dict[str, Any]:
    """Falls called in time, and clips and moments with a false alarm."""
    pairs = list(played)
    falls = [(clip, run) for clip, run in pairs if not np.isnan(clip.fall_s)]
    daily = [(clip, run) for clip, run in pairs if np.isnan(clip.fall_s)]
    return {
        "falls": len(falls),
        "falls_in_time": sum(lateness(clip, run) <= IN_TIME_S for clip, run in falls),
        "daily_clips": len(daily),
        "daily_clips_with_false_alarm": sum(bool(false_alarms(clip, run)) for clip, run in daily),
        "alarms_before_a_fall": sum(len(false_alarms(clip, run)) for clip, run in falls),
    }
