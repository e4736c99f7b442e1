"""Is a case like one that is kept already? By a hash of what a picture shows, or the distance of two windows."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from agent.data import Array

SAME_BITS = 6  # of 64: the same scene with the noise of another moment
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
    """What is kept, the newest of it: hashes of pictures, or vectors of figures."""

    def __init__(self, most: int) -> None:
        self._hashes: deque[int] = deque(maxlen=most)
        self._vectors: deque[Array] = deque(maxlen=most)

    def add_hash(self, new: int) -> bool:
        """False where it is like a known one, which it then is not added to."""
        if any(bin(new ^ known).count("1") <= SAME_BITS for known in self._hashes):
            return False
        self._hashes.append(new)
        return True

    def add_vector(self, new: Sequence[float]) -> bool:
        """As `add_hash`. new: figures in standard deviations of their references."""
        vector = np.array(new)
        for known in self._vectors:
            if len(known) == len(vector) and float(np.sqrt(np.mean((vector - known) ** 2))) < SAME_DISTANCE:
                return False
        self._vectors.append(vector)
        return True
