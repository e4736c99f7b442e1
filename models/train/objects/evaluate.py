"""The agreement of the package with the float network on other recordings, laid out like ../shared/data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agent.backends.litert import Engine
from models.train.data import SHARED
from models.train.objects import compare, frames
from models.train.objects.frames import NETWORK


def evaluate(place: Path, data: Path) -> dict[str, dict[str, float]]:
    """For each group: boxes of the float network; of these found; extra boxes; mean intersection over union."""
    file = place / f"{place.name}.tflite"
    side, _ = Engine(file, 1).inputs[0].sides
    images = [frame for clip in frames.read(data, frames.COMPARISON).values() for frame in clip]
    exact, rounded = compare.float_boxes(SHARED / NETWORK, side, images), compare.int8_boxes(file, images)
    figures = {}
    for label in compare.GROUPS:
        agreement = compare.agreement(label, exact, rounded)
        overlap = round(float(np.mean(agreement.overlaps)), 3) if agreement.found else 0.0
        figures[label] = {
            "boxes": agreement.boxes,
            "found": agreement.found,
            "extra": agreement.extra,
            "overlap": overlap,
        }
    return figures
