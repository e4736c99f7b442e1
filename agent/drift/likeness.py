"""Is a case like one that is kept already? By a hash of what a picture shows, or the distance of two windows."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from agent.box import files, private
from agent.box.files import BadFile
from agent.data import Array

SAME_BITS = 6  # of 64: the same scene with the noise of another moment
MAX_BYTES = 100_000_000
SAME_DISTANCE = 1.0  # standard deviations of the reference, root mean square over the figures


def difference_hash(grey: Array) -> int:
    """64 bits: is each of 8 x 8 cells brighter than its right neighbour? (Krawetz, "Kind of like that", 2013: dHash).

    It ignores brightness, contrast and noise. grey: uint8 [height, width].
    """
    import cv2

    cells = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = (cells[:, 1:] - cells[:, :-1] > 0).reshape(-1)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


class Known:
    """Hashes of pictures, or vectors of figures, of the newest that is kept; in a file, so a restart knows them."""

    def __init__(self, most: int, path: Path | None = None) -> None:
        """path: of the file; None: none."""
        self._path = path
        self._hashes: deque[int] = deque(maxlen=most)
        self._vectors: deque[list[float]] = deque(maxlen=most)
        self._load()

    def add_hash(self, new: int) -> bool:
        """False where it is like a known one, which it then is not added to. Raises OSError."""
        if any(bin(new ^ known).count("1") <= SAME_BITS for known in self._hashes):
            return False
        self._hashes.append(new)
        self._save()
        return True

    def add_vector(self, new: Sequence[float]) -> bool:
        """As `add_hash`. new: figures in standard deviations of their references."""
        vector = [round(float(value), 2) for value in new]
        if any(_distance(vector, known) < SAME_DISTANCE for known in self._vectors if len(known) == len(vector)):
            return False
        self._vectors.append(vector)
        self._save()
        return True

    def _load(self) -> None:
        """One that is damaged is none: some cases are kept twice."""
        try:
            with files.open_regular(self._path, MAX_BYTES) if self._path else BytesIO(b"{}") as file:
                content = json.loads(file.read())
            self._hashes.extend(int(text, 16) for text in content.get("hashes", []))
            self._vectors.extend([float(value) for value in vector] for vector in content.get("vectors", []))
        except (BadFile, OSError, ValueError, TypeError, AttributeError):
            self._hashes.clear()
            self._vectors.clear()

    def _save(self) -> None:
        if self._path:
            content = {"hashes": [f"{known:016x}" for known in self._hashes], "vectors": list(self._vectors)}
            private.write(self._path, json.dumps(content).encode(), durable=False)


def _distance(a: Sequence[float], b: Sequence[float]) -> float:
    """Root mean square; one without figures is like any other."""
    return float(np.sqrt(np.mean((np.array(a) - np.array(b)) ** 2))) if a else 0.0
