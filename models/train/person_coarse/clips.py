"""Video clips with what the teachers see in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from agent.data import Array
from models.train.data import DataError, find
from models.train.person_coarse.teachers import Teachers
from models.train.person_coarse.truth import Truth, agree

SIDE, INPUT = 192, 128  # pixels that clips are kept at to make views from; what the network takes
SETS = {"video-fall-gmdcsa24": "*.mp4", "video-intel": "*.mp4"}
SUFFIXES = (".mp4", ".gif", ".avi")
STAGED = re.compile(r"S\d+-")  # GMDCSA24: one person is there from the first frame to the last

# Trained on, with how far they are thinned out: neighbours are alike, and a teacher takes 0.1 s a frame.
CLIPS = {
    "S1-ADL-16": 3,
    "S1-Fall-13": 3,
    "S1-Fall-14": 3,
    "S1-Fall-15": 3,
    "S2-ADL-23": 2,
    "S2-Fall-12": 2,
    "S2-Fall-13": 2,
    "one-by-one-person-detection": 6,
    "worker-zone-detection": 2,
    "car-detection": 12,
}
# What is left out together: a room, its light, its camera and whoever is in it.
SCENES = {
    "room 1": ("S1-ADL-16", "S1-Fall-13", "S1-Fall-14", "S1-Fall-15"),
    "room 2": ("S2-ADL-23", "S2-Fall-12", "S2-Fall-13"),
    "hall": ("one-by-one-person-detection",),
    "factory": ("worker-zone-detection",),
    "road": ("car-detection",),
}


class Clip(NamedTuple):
    """pictures: uint8 rgb [n, SIDE, SIDE, 3]. inputs: the same as the network gets them. truths: of each.

    judged: bool [n]; a frame in which one teacher alone sees the person who is known to be there is for learning only.
    """

    name: str
    pictures: Array
    inputs: Array
    truths: list[Truth]
    judged: Array


def paths(data: Path) -> list[Path]:
    """Every clip in the sets below `data`, or in `data` itself. Raises DataError."""
    folders = [data / name for name in SETS if (data / name).is_dir()] or [data]
    found = sorted(path for folder in folders for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(
            f"{data}: no clip (*{', *'.join(SUFFIXES)}): expected a set laid out like '{' or '.join(SETS)}'"
        )
    return found


def training_paths(data: Path) -> list[Path]:
    """CLIPS, in their order. Raises DataError."""
    found = {path.stem: path for name, pattern in SETS.items() for path in find(data, name, pattern).glob("*.*")}
    missing = [name for name in CLIPS if name not in found]
    if missing:
        raise DataError(f"{data}: no clip {missing[0]} in {' or '.join(SETS)}")
    return [found[name] for name in CLIPS]


def load(path: Path, teachers: Teachers, every: int) -> Clip:
    """Every `every`-th frame that says something for sure. Raises DataError."""
    pictures, inputs, truths, judged = [], [], [], []
    staged = STAGED.match(path.stem) is not None
    for number, frame in enumerate(frames(path)):
        if number % every:
            continue
        seen = teachers(frame)
        truth = agree(seen, staged)
        if useful(truth, staged):
            pictures.append(cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))
            inputs.append(cv2.resize(frame, (INPUT, INPUT), interpolation=cv2.INTER_LINEAR))
            truths.append(truth)
            judged.append(useful(agree(seen), staged))
    if not truths:
        raise DataError(f"{path}: no frame in which the teachers are sure of anything")
    return Clip(path.stem, np.stack(pictures), np.stack(inputs), truths, np.array(judged))


def useful(truth: Truth, staged: bool) -> bool:
    """Somebody, or surely nobody."""
    return bool(truth.people) or not (staged or truth.doubts)


def frames(path: Path) -> Iterator[Array]:
    """uint8 rgb [height, width, 3], one after the other."""
    capture = cv2.VideoCapture(str(path))
    while True:
        good, frame = capture.read()
        if not good:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
