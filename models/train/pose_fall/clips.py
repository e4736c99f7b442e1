"""Clips of falls and of daily activity with what their makers wrote about them, played through the lane that ships."""

from __future__ import annotations

import csv
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent import package
from agent.data import Array, Evidence
from agent.decoders.base import Finding
from agent.gates.config import GateConfig
from agent.lane import offline_lane
from agent.modeltools.init import manifest_text
from agent.package import Package
from agent.perception import Perception
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from agent.vision.poses import SecondModel
from models.train.data import SHARED, DataError, find
from models.train.pose_fall.story import FALLING, LYING, SITTING, STANDING, WALKING

MOVENET = "movenet_single_pose_lightning_ptq.tflite"
ON_THE_FLOOR_S = 3.0  # the staged falls are over by then; what follows is lying
WORDS = {"walking": WALKING, "standing": STANDING, "sitting": SITTING, "sleeping": LYING, "lying": LYING}
# The rule that calls for help: this score in so many of the last inferences.
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
        found = {label for label, start, end in self.spans if start <= at_s < end and label != FALLING}
        if self.fall_s <= at_s < self.fall_s + 2.0:
            return FALLING
        return found.pop() if len(found) == 1 else -1


class RecordedEngine(NamedTuple):
    """times: s of each picture from the first; points: [n, 17, 3] of MoveNet; says: int [n], the second model's first label;

    alarms_s: when the rule began to call. aspect: the picture's width / height.
    """

    times: Array
    points: Array
    says: Array
    alarms_s: list[float]
    aspect: float = 4 / 3


def clips(data: Path) -> list[Clip]:
    """Clips S<n>-Fall-<m>.mp4 and S<n>-ADL-<m>.mp4 that S<n>-Fall.csv and S<n>-ADL.csv speak of. Raises DataError."""
    folder = find(data, "video-fall-gmdcsa24", "S*-*.mp4", "S*-*.csv")
    found = []
    for path in sorted(folder.glob("S*-*-*.mp4")):
        group, number = path.stem.rsplit("-", 1)
        table = folder / f"{group}.csv"
        if not table.is_file():
            raise DataError(f"{table}: missing: it says when {path.name} shows what")
        found.append(Clip(path, spans(_line_of(table, number))))
    return found


def _line_of(table: Path, number: str) -> str:
    with table.open(newline="", encoding="utf-8", errors="replace") as file:
        for row in csv.reader(file):
            if row and row[0].strip().lstrip("0") == f"{number}.mp4".lstrip("0"):
                return ",".join(row[5:])
    raise DataError(f"{table}: has no line for {number}.mp4")


def spans(text: str) -> list[tuple[int, float, float]]:
    """ "Falling (SW)[3.4 to 6]; Sitting[0 to 3.4]", also with the slips that the tables have."""
    found = []
    for word, times in re.findall(r"([A-Za-z]+)\s*(?:\([A-Z]*\)?)?\s*\[([^\]]*)\]", text):
        label = FALLING if word.lower() == "falling" else WORDS.get(word.lower())
        for start, end in re.findall(r"([0-9.]+)\s*(?:to)?\s+([0-9.]+)", times):
            if label is not None and float(start) < float(end):
                found.append((label, float(start), float(end)))
    return found


def movenet(data: Path) -> Package:
    """The public pose network as a package, from models-public beside the clips or in ../shared/data."""
    places = [
        data / "models-public" / MOVENET,
        data.parent / "models-public" / MOVENET,
        SHARED / "models-public" / MOVENET,
    ]
    file = next((place for place in places if place.is_file()), None)
    if not file:
        raise DataError(f"{places[0]}: no such file: the clips are judged from the video, through MoveNet")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "movenet"
        place.mkdir()
        (place / file.name).symlink_to(file.resolve())
        text = manifest_text(file, "movenet").replace("fit: stretch", "fit: letterbox")
        (place / "manifest.yaml").write_text(text)
        return package.open_package(place)


class Listening(SecondModel):
    """Keeps what passes, for the figures."""

    def __init__(self, package: Package) -> None:
        super().__init__(package)
        self.heard: list[tuple[int, Array, str]] = []
        self.aspect = 1.0

    def __call__(self, t_capture: int, keypoints: Array, aspect: float) -> list[Finding]:
        found = super().__call__(t_capture, keypoints, aspect)
        self.heard.append((t_capture, np.array(keypoints), found[0].label if found else ""))
        self.aspect = aspect
        return found


def play(path: Path, pose: Package, posture: Package, gate: GateConfig | None = None) -> RecordedEngine:
    """A clip, all of it or what a gate lets through, through lane and rule; time is the recording's. Raises DataError."""
    second = Listening(posture)
    lane = offline_lane("room", "camera.file", {"path": path}, Perception(pose, gate=gate, second=second))
    scene = Scene(Rules({"fall": RuleConfig.model_validate(RULE)}, {"nurse": "quiet"}))
    alarms = []
    for sample, decisions in lane.play(scene):
        alarms += [sample.t_capture for decision in decisions if decision.verb == "call"]
    if not second.heard:
        raise DataError(f"{path}: holds no picture that can be read")
    times, points, said = zip(*second.heard)
    start, names = times[0], posture.decoder.labels
    says = np.array([names.index(label) if label else -1 for label in said])
    seconds = (np.array(times) - start) / 1e9
    return RecordedEngine(seconds, np.stack(points), says, [(time - start) / 1e9 for time in alarms], second.aspect)


def again(played: RecordedEngine, rows: Array, points: Array, posture: Package) -> RecordedEngine:
    """What second model and rule would have said to other points, at some of the pictures' times."""
    second = SecondModel(posture)
    scene = Scene(Rules({"fall": RuleConfig.model_validate(RULE)}, {"nurse": "quiet"}))
    alarms, names, says = [], posture.decoder.labels, []
    for time, one in zip(played.times[rows], points):
        now = int(time * 1e9) + 1
        found = second(now, one, played.aspect)
        evidence = [Evidence("room", one.label, one.score, now) for one in found]
        alarms += [time for decision in scene.decide("room", now, evidence) if decision.verb == "call"]
        says.append(names.index(found[0].label) if found else -1)
    return RecordedEngine(played.times[rows], points, np.array(says), [float(one) for one in alarms], played.aspect)
