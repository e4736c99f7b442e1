"""What was found in a picture, as Foxglove draws it: boxes with labels, skeletons."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from foxglove.messages import (
    Color,
    ImageAnnotations,
    Point2,
    PointsAnnotation,
    PointsAnnotationType,
    TextAnnotation,
    Timestamp,
)

from agent.data import Array
from agent.tapes.live_reader import LiveSample
from agent.view.drawing import BONES, LIMB_SCORE

BLUE, YELLOW, DARK = (0.34, 0.71, 0.91), (0.94, 0.89, 0.26), (0.1, 0.1, 0.1)
THICKNESS, FONT = 2.0, 14.0  # pixels


def of_sample(sample: LiveSample, t_ns: int, width: int, height: int) -> ImageAnnotations:
    """t_ns: since 1970, of the picture that this is drawn on. width, height: its pixels."""
    boxes = [finding for finding in sample.evidence if _finite_box(finding[2])]
    return ImageAnnotations(
        timestamp=timestamp(t_ns),
        points=[
            *(_box(finding[2], width, height) for finding in boxes),
            *(_skeleton(person, width, height) for person in sample.points),
        ],
        texts=[_label(finding, t_ns, width, height) for finding in boxes],
    )


def timestamp(t_ns: int) -> Timestamp:
    return Timestamp(*divmod(t_ns, 1_000_000_000))


def _finite_box(box: Sequence[float] | None) -> bool:
    return box is not None and all(map(math.isfinite, box))


def _box(box: Sequence[float], width: int, height: int) -> PointsAnnotation:
    left, top, right, bottom = box
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return PointsAnnotation(
        type=PointsAnnotationType.LineLoop,
        points=[Point2(x=x * width, y=y * height) for x, y in corners],
        outline_color=_color(BLUE),
        thickness=THICKNESS,
    )


def _label(finding: Sequence[Any], t_ns: int, width: int, height: int) -> TextAnnotation:
    label, score, (left, top, *_), mark = finding
    return TextAnnotation(
        timestamp=timestamp(t_ns),
        position=Point2(x=left * width, y=top * height),
        text=" ".join(filter(None, (label, f"{score:.2f}", mark))),
        font_size=FONT,
        text_color=_color(BLUE),
        background_color=_color(DARK),
    )


def _skeleton(person: Array, width: int, height: int) -> PointsAnnotation:
    """person: float32 [17, 3] of y, x, score."""
    return PointsAnnotation(
        type=PointsAnnotationType.LineList,
        points=[Point2(x=float(x) * width, y=float(y) * height) for y, x in _bone_ends(person)],
        outline_color=_color(YELLOW),
        thickness=THICKNESS,
    )


def _bone_ends(person: Array) -> Iterator[Array]:
    """(y, x) of both ends of each bone that was seen."""
    for start, end in BONES:
        ends = person[[start, end]]
        if (ends[:, 2] >= LIMB_SCORE).all() and bool(abs(ends[:, :2]).max() < math.inf):
            yield from ends[:, :2]


def _color(rgb: tuple[float, float, float]) -> Color:
    red, green, blue = rgb
    return Color(r=red, g=green, b=blue, a=1.0)
