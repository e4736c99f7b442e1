"""Video clips, and where the teachers detect persons in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from agent.data import Array
from models.train.data import DataError, find_set
from models.train.person_coarse.teachers import Teachers
from models.train.person_coarse.truth import Truth, consensus

SIDE, INPUT = 192, 128  # pixels: of the frames that views are made from; of the network's input
SETS = {"video-fall-gmdcsa24": "*.mp4", "video-intel": "*.mp4"}
SUFFIXES = (".mp4", ".gif", ".avi")
STAGED = re.compile(r"S\d+-")  # GMDCSA24: one person is there from the first frame to the last

# The training clips; of each, every n-th frame is used: neighbours are alike, and the teachers take 0.1 s a frame.
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
# What is left out together: a room, its light, its camera and the persons in it.
SCENES = {
    "room 1": ("S1-ADL-16", "S1-Fall-13", "S1-Fall-14", "S1-Fall-15"),
    "room 2": ("S2-ADL-23", "S2-Fall-12", "S2-Fall-13"),
    "hall": ("one-by-one-person-detection",),
    "factory": ("worker-zone-detection",),
    "road": ("car-detection",),
}


class Clip(NamedTuple):
    """pictures: uint8 rgb [n, SIDE, SIDE, 3]. inputs: the same as the network gets them. truths: of each.

    judged: bool [n]; False where a single teacher detects the person who is known to be there: only for training.
    """

    name: str
    pictures: Array
    inputs: Array
    truths: list[Truth]
    judged: Array


def paths(data: Path) -> list[Path]:
    """Every clip in the sets below `data`, or in `data` itself. Raises DataError."""
    folders = [data / name for name in SETS if (data / name).is_dir()] or [data]
    clips = sorted(path for folder in folders for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not clips:
        raise DataError(
            f"{data}: no clip (*{', *'.join(SUFFIXES)}): expected a set laid out like '{' or '.join(SETS)}'"
        )
    return clips


def training_paths(data: Path) -> list[Path]:
    """CLIPS, in their order. Raises DataError."""
    clips = {path.stem: path for name, pattern in SETS.items() for path in find_set(data, name, pattern).glob("*.*")}
    missing = [name for name in CLIPS if name not in clips]
    if missing:
        raise DataError(f"{data}: no clip {missing[0]} in {' or '.join(SETS)}")
    return [clips[name] for name in CLIPS]


def load(path: Path, teachers: Teachers, every: int) -> Clip:
    """Of every `every`-th frame, those with a certain truth. Raises DataError."""
    pictures, inputs, truths, judged = [], [], [], []
    staged = STAGED.match(path.stem) is not None
    for number, frame in enumerate(frames(path)):
        if number % every:
            continue
        outputs = teachers(frame)
        truth = consensus(outputs, staged)
        if useful(truth, staged):
            pictures.append(cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))
            inputs.append(cv2.resize(frame, (INPUT, INPUT), interpolation=cv2.INTER_LINEAR))
            truths.append(truth)
            judged.append(useful(consensus(outputs), staged))
    if not truths:
        raise DataError(f"{path}: no frame in which the teachers are sure of anything")
    return Clip(path.stem, np.stack(pictures), np.stack(inputs), truths, np.array(judged))


def useful(truth: Truth, staged: bool) -> bool:
    """A person is there, or surely none."""
    return bool(truth.people) or not (staged or truth.uncertain)


def frames(path: Path) -> Iterator[Array]:
    """Uint8 rgb [height, width, 3], one after the other."""
    capture = cv2.VideoCapture(str(path))
    while True:
        good, frame = capture.read()
        if not good:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
