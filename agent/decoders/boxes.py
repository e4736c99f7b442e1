"""Boxes of several decoders: non-maximum suppression."""

from __future__ import annotations

import numpy as np

from agent.data import Array


def suppress(boxes: Array, kinds: Array, overlap: float, top: int) -> list[int]:
    """Non-maximum suppression per label: at most `top` indices of boxes left, top, right, bottom [k, 4], best first.

    kinds: the label of each. overlap: intersection over union above which two are the same object.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    left: Array = np.arange(len(boxes))
    while len(left) and len(kept) < top:
        best, left = int(left[0]), left[1:]
        kept.append(best)
        common = np.minimum(boxes[best, 2:], boxes[left, 2:]) - np.maximum(boxes[best, :2], boxes[left, :2])
        shared = common.clip(0.0).prod(axis=1)
        union = areas[best] + areas[left] - shared
        left = left[(shared <= overlap * union) | (kinds[left] != kinds[best])]
    return kept
