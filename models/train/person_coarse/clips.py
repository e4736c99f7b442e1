"""Video clips with what two public teachers see in them: where a person is, where none is, and where they are not sure."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from agent.data import Array, Box
from models.train.data import SHARED as DATA

SSD = DATA / "models-public" / "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
POSES = DATA / "pose-gmdcsa24-movenet" / "keypoints.csv"
STAGED = "video-fall-gmdcsa24"  # one person, from the first frame to the last
SIDE, INPUT = 192, 96  # pixels that clips are kept at to crop from; what the network takes
SURE, MAYBE = 0.35, 0.15  # the SSD's score for a person
JOINTS, JOINT_SCORE = 6, 0.3  # so many keypoints, so sure, are a person to MoveNet

# Whole clips; frames of one clip are too alike to be on both sides. The number thins out a long clip.
TRAIN = {
    "video-fall-gmdcsa24/S1-ADL-16.mp4": 1,
    "video-fall-gmdcsa24/S1-Fall-13.mp4": 1,
    "video-fall-gmdcsa24/S1-Fall-14.mp4": 1,
    "video-fall-gmdcsa24/S2-ADL-23.mp4": 1,
    "video-fall-gmdcsa24/S2-Fall-12.mp4": 1,
    "video-intel/one-by-one-person-detection.mp4": 2,
    "video-intel/car-detection.mp4": 3,
}
TEST = {
    "video-fall-gmdcsa24/S1-Fall-15.mp4": 1,
    "video-fall-gmdcsa24/S2-Fall-13.mp4": 1,
    "video-intel/worker-zone-detection.gif": 1,
}


class Clip(NamedTuple):
    """pictures: uint8 rgb [n, SIDE, SIDE, 3]. inputs: the same as the network gets them. boxes: the persons of each."""

    name: str
    pictures: Array
    inputs: Array
    boxes: list[list[Box]]


def require_data() -> None:
    if not SSD.exists():
        raise SystemExit(f"no training data: '../shared/data' beside the project has no {SSD.parent.name}/{SSD.name}")


def load(path: Path, every: int = 1) -> Clip:
    """Every `every`-th frame in which the teachers are sure, either way."""
    ssd, poses = Ssd(), keypoints(path.stem)
    pictures, inputs, boxes = [], [], []
    for number, frame in enumerate(frames(path)):
        if number % every:
            continue
        people = persons(ssd(frame), poses.get(number), path.parent.name == STAGED)
        if people is not None:
            pictures.append(cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))
            inputs.append(cv2.resize(frame, (INPUT, INPUT), interpolation=cv2.INTER_LINEAR))
            boxes.append(people)
    return Clip(path.stem, np.stack(pictures), np.stack(inputs), boxes)


def frames(path: Path) -> Iterator[Array]:
    """rgb, one after the other."""
    capture = cv2.VideoCapture(str(path))
    while True:
        good, frame = capture.read()
        if not good:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def persons(seen: list[tuple[float, Box]], pose: Box | None, staged: bool) -> list[Box] | None:
    """Where the teachers see persons; None when they are not sure. staged: one person is there, seen or not."""
    sure = apart([box for score, box in seen if score >= SURE])
    if staged:
        return whole(sure, pose)
    return None if not sure and any(score >= MAYBE for score, _ in seen) else sure


def whole(seen: list[Box], pose: Box | None) -> list[Box] | None:
    """The one person: what both teachers see of it, as each misses arms or legs of somebody who lies."""
    parts = [pose, *(box for box in seen if common(box, pose))] if pose else seen[:1]
    if not parts:
        return None
    left, top, right, bottom = zip(*parts)
    return [Box(min(left), min(top), max(right), max(bottom))]


def apart(boxes: list[Box]) -> list[Box]:
    """Those that share half of their area with a better one left out: the SSD takes legs for one more person."""
    kept: list[Box] = []
    for box in boxes:
        if all(common(box, other) < 0.5 * min(area(box), area(other)) for other in kept):
            kept.append(box)
    return kept


def area(box: Box) -> float:
    return max(0.0, box.right - box.left) * max(0.0, box.bottom - box.top)


def common(a: Box, b: Box) -> float:
    """The area that two boxes share."""
    return area(Box(max(a.left, b.left), max(a.top, b.top), min(a.right, b.right), min(a.bottom, b.bottom)))


class Ssd:
    """SSD-MobileNet-v1 trained on COCO (Apache-2.0); its class 0 is a person."""

    def __init__(self) -> None:
        self.interpreter = Interpreter(str(SSD), num_threads=1)
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.outputs = [each["index"] for each in self.interpreter.get_output_details()]

    def __call__(self, frame: Array) -> list[tuple[float, Box]]:
        self.interpreter.set_tensor(self.input, cv2.resize(frame, (300, 300))[None])
        self.interpreter.invoke()
        places, kinds, scores = (self.interpreter.get_tensor(index)[0] for index in self.outputs[:3])
        found = zip(places.clip(0, 1).tolist(), kinds, scores.tolist())
        return [(score, Box(left, top, right, bottom)) for (top, left, bottom, right), kind, score in found if kind == 0]


def keypoints(clip: str) -> dict[int, Box]:
    """Frame to the box around MoveNet's keypoints, a twentieth wider: they sit on joints, not on the outline."""
    found = {}
    with POSES.open() as file:
        for row in csv.reader(file):
            if row[0] == clip:
                joints = np.array(row[4:], float).reshape(17, 3)
                sure = joints[joints[:, 2] >= JOINT_SCORE]
                if len(sure) >= JOINTS:
                    (top, left), (bottom, right) = sure[:, :2].min(axis=0) - 0.05, sure[:, :2].max(axis=0) + 0.05
                    found[int(row[1])] = Box(*np.clip([left, top, right, bottom], 0, 1).tolist())
    return found
