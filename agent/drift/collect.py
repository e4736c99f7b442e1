"""Cases to learn from: pictures, parts of them, readings or figures, in a folder that `models.train` reads.

A case is made in memory, and encrypted there where it is sealed: no byte of a sealed one is ever plain on the disk.
"""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent import keys
from agent.box import private
from agent.data import Array
from agent.drift.settings import CollectSettings
from agent.recorder import seal
from agent.recorder.series import Series

log = logging.getLogger("reflexd.drift")
UNCERTAIN, DRIFT = "uncertain", "drift"
UNLABELLED = "unlabelled"  # as models/train/folder/files.py has it: a person, or a teacher, says what they show
NAMES = rf"-(?:{UNCERTAIN}|{DRIFT})\.(?:png|csv)(?:\.sealed)?"
SEALED = ".sealed"
KNOWN = ".known.json"  # hashes and figures of what is kept, from which no picture can be made
MIN_GAP_S = 10.0  # between two cases of a lane
MAX_CASE = 32_000_000  # bytes: a plain file beyond this is not sealed afterwards, but deleted
PAD = 0.1  # of a region, on each side: what it borders on


class Kept(NamedTuple):
    """What a lane's folder holds."""

    files: int
    size: int


class LaneFolder:
    """The cases of one lane: state_dir/collected/LANE/unlabelled. The oldest go where there are too many."""

    def __init__(self, state_dir: Path, node: str, lane: str, settings: CollectSettings) -> None:
        """Raises OSError where the key cannot be read, or the folder not be made."""
        self.settings = settings
        self.kept = Kept(0, 0)
        root = state_dir / "collected"
        self._folders = [root, root / lane, root / lane / UNLABELLED]
        self.known = root / lane / KNOWN
        self._series = Series(self._folders[-1], node, NAMES)
        self._public = keys.read(Path(settings.seal))[0] if settings.seal else None
        self._newest = -MIN_GAP_S
        self._clean()

    def _clean(self) -> None:
        """Close what others can read, drop what is unfinished, seal what is plain of a time without sealing."""
        for folder in self._folders:
            private.make_folder(folder)
        self._series.clean()
        for path in self._series.paths() if self._public else []:
            if path.suffix != SEALED:
                self._seal_leftover(path)
        self._bound()

    def _seal_leftover(self, path: Path) -> None:
        assert self._public
        if path.stat().st_size <= MAX_CASE:
            private.write(path.with_name(path.name + SEALED), seal.encrypt(path.read_bytes(), self._public))
            log.warning("%s was plain and is sealed now", path)
        else:
            log.warning("%s was plain, too large to be sealed, and is deleted", path)
        path.unlink()

    def due(self, now: float) -> bool:
        """now: s of any clock."""
        return now - self._newest >= MIN_GAP_S

    def add(self, content: bytes, reason: str, suffix: str, now: float) -> None:
        """content: of a file. reason: UNCERTAIN or DRIFT. suffix: png or csv. Raises OSError."""
        self._newest = now
        ending = f"-{reason}.{suffix}"
        if self._public:
            content, ending = seal.encrypt(content, self._public), ending + SEALED
        path, file = self._series.begin(time.time_ns(), ending)
        with file:
            private.write(path, content, durable=False)
        self._bound()

    def _bound(self) -> None:
        sizes = [(path, path.stat().st_size) for path in self._series.paths()]
        total = sum(size for _, size in sizes)
        while sizes and (len(sizes) > self.settings.files or total > self.settings.mb * 1e6):
            path, size = sizes.pop(0)
            path.unlink(missing_ok=True)
            total -= size
        self.kept = Kept(len(sizes), total)


def png(values: Array) -> bytes:
    """values: uint8 [height, width(, 3)], bgr."""
    import cv2

    good, coded = cv2.imencode(".png", values)
    if not good:
        raise ValueError(f"no picture: {values.shape}")
    return bytes(coded)


def region(values: Array, boxes: Sequence[Sequence[float]]) -> Array | None:
    """The part of the picture around these boxes, shares of the frame; None without any."""
    if not boxes:
        return None
    edges = np.clip(np.array(boxes, np.float64), 0, 1)
    (left, top), (right, bottom) = edges[:, :2].min(axis=0), edges[:, 2:].max(axis=0)
    height, width = values.shape[:2]
    wide, high = PAD * (right - left), PAD * (bottom - top)
    rows = slice(int(max(0.0, top - high) * height), int(np.ceil(min(1.0, bottom + high) * height)))
    columns = slice(int(max(0.0, left - wide) * width), int(np.ceil(min(1.0, right + wide) * width)))
    part = values[rows, columns]
    return part if part.size else None


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """A csv file as `sensor.replay` and `models.train` read it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def readings(window: Array, channels: Sequence[str], rate_hz: float) -> bytes:
    """window: float32 [n, channels]."""
    step = 1 / rate_hz if rate_hz else 1.0
    rows = [[f"{number * step:.6f}", *(f"{value:.7g}" for value in row)] for number, row in enumerate(window.tolist())]
    return table(["t_s", *channels], rows)
