"""What a lane detects and decides, drawn onto its frame. Pure: pictures and numbers in, a picture out.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color, 2008), which people with any of the usual forms of colour
blindness can tell apart; evidence that a rule in force counts is also drawn thicker.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import NamedTuple

import cv2
import numpy as np

from agent.data import Array, Box, Evidence

Colour = tuple[int, int, int]  # blue, green, red

WHITE, BLACK, DIM, BAR = (255, 255, 255), (0, 0, 0), (150, 150, 150), (28, 28, 28)
DETECTED = (233, 180, 86)  # sky blue
COUNTED = (0, 159, 230)  # orange: a rule in force counts it
LIMBS = (66, 228, 240)  # yellow
ZONE = (167, 121, 204)  # reddish purple

FONT = cv2.FONT_HERSHEY_SIMPLEX
MIN_SIDE = 360  # pixels; smaller frames are enlarged, else their text would be too small or cover them
MAX_SIDE = 1920  # but not beyond this
TEXT = 1 / 36  # height of a capital, in heights of the frame
LIMB_SCORE = 0.2  # keypoints below this are not drawn
SHADE = 0.22  # of a zone
MAX_ACTUATORS = 4  # lines in the bar

# Pairs of COCO keypoints that a bone joins. Order: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles;
# left before right.
BONES = (
    (0, 1),
    (0, 2),
    (1, 3),
    (2, 4),
    (5, 6),
    (5, 7),
    (7, 9),
    (6, 8),
    (8, 10),
    (5, 11),
    (6, 12),
    (11, 12),
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
)


class ActuatorState(NamedTuple):
    """The decision in force at an actuator, since age_s. verb: "" before the first decision. rule: "" at rest."""

    actuator: str
    verb: str
    rule: str
    age_s: float


class FrameView(NamedTuple):
    """Everything to draw on one frame.

    inferred: the models ran on this frame; False where the gate held it back. age_s: of the evidence.
    evidence: of the newest inference, boxes in shares of the frame. second_evidence: of the second model.
    counted: the part of the evidence that a rule in force counts.
    points: float32 [n, 17, 3], y and x in shares of the frame, score. zones: corners (x, y) in shares of the frame.
    """

    time_s: float
    inferred: bool
    evidence: Sequence[Evidence]
    actuators: Sequence[ActuatorState]
    zones: Mapping[str, Sequence[tuple[float, float]]] = {}
    points: Array | None = None
    prepare_ms: float = 0.0
    infer_ms: float = 0.0
    age_s: float = 0.0
    second_evidence: Sequence[Evidence] = ()
    model: str = ""
    second_model: str = ""
    counted: frozenset[Evidence] = frozenset()


class Pen:
    """Sizes of text and strokes that fit the frame."""

    def __init__(self, width: int, height: int) -> None:
        # A portrait frame gets as many letters in a line as a landscape one.
        size = max(min(height, width * 3 / 4), MIN_SIDE)
        (_, capital), _ = cv2.getTextSize("X", FONT, 1.0, 1)
        self.scale = size * TEXT / capital
        self.weight = 1 if self.scale < 1.0 else 2
        self.line = round(size * TEXT * 1.9)
        self.stroke = max(2, round(size / 240))
        self.margin = max(4, round(size / 80))

    def width(self, text: str) -> int:
        return int(cv2.getTextSize(text, FONT, self.scale, self.weight)[0][0])

    def fitted(self, text: str, room: int) -> str:
        """As much of it as fits into `room` pixels."""
        if self.width(text) <= room:
            return text
        fits = bisect_right(range(len(text)), room, key=lambda count: self.width(text[:count] + "...")) - 1
        return text[: max(fits, 0)] + "..."

    def write(self, picture: Array, text: str, at: tuple[int, int], colour: Colour) -> None:
        """at: left end of the baseline."""
        cv2.putText(picture, text, at, FONT, self.scale, colour, self.weight, cv2.LINE_AA)


def compose(frame: Array, view: FrameView) -> Array:
    """The frame, uint8 bgr [height, width, 3], with everything on it and a bar of text below: uint8 bgr, even sides."""
    frame = _enlarged(frame)
    height, width = frame.shape[:2]
    pen = Pen(width, height)
    lines = bar_lines(view)
    bar = pen.line * len(lines) + pen.margin
    # Codecs that halve the colour need even sides.
    picture = np.full(((height + bar + 1) // 2 * 2, (width + 1) // 2 * 2, 3), BAR, np.uint8)
    image = picture[:height, :width]
    image[...] = frame
    draw_zones(image, view.zones, pen)
    if view.points is not None and view.inferred:
        _draw_skeletons(image, view.points, pen)
    _draw_boxes(image, view, pen)
    for number, (text, colour) in enumerate(lines, 1):
        at = pen.margin, height + number * pen.line - pen.margin // 2
        pen.write(picture, pen.fitted(text, width - 2 * pen.margin), at, colour)
    return picture


def _enlarged(frame: Array) -> Array:
    """By a whole number, where it is too small for text."""
    sides = frame.shape[:2]
    times = min(-(-MIN_SIDE // min(sides)), MAX_SIDE // max(sides))
    if times <= 1:
        return frame
    bigger: Array = cv2.resize(frame, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR)
    return bigger


def to_pixel(x: float, y: float, picture: Array) -> tuple[int, int]:
    """Shares of the picture as a pixel; what lies far outside is moved near, where OpenCV's integers still reach."""
    height, width = picture.shape[:2]
    return round(min(max(x, -1.0), 2.0) * (width - 1)), round(min(max(y, -1.0), 2.0) * (height - 1))


def draw_zones(picture: Array, zones: Mapping[str, Sequence[tuple[float, float]]], pen: Pen) -> None:
    for name, corners in zones.items():
        outline = np.array([to_pixel(x, y, picture) for x, y in corners], np.int32)
        shade = picture.copy()
        cv2.fillPoly(shade, [outline], ZONE)
        cv2.addWeighted(shade, SHADE, picture, 1.0 - SHADE, 0.0, dst=picture)
        cv2.polylines(picture, [outline], True, ZONE, pen.stroke, cv2.LINE_AA)
        x, y = outline[int((outline[:, 1] * 4 + outline[:, 0]).argmin())].tolist()
        _draw_label(picture, name, (x, y + pen.line), ZONE, pen)


def _draw_skeletons(picture: Array, points: Array, pen: Pen) -> None:
    """points: float32 [n, 17, 3]: y, x in shares of the picture, score."""
    for person in points.tolist():
        joints = {
            number: to_pixel(x, y, picture)
            for number, (y, x, score) in enumerate(person)
            if score >= LIMB_SCORE and isfinite(x) and isfinite(y)
        }
        for colour, thickness in ((BLACK, pen.stroke + 2), (LIMBS, pen.stroke)):
            for start, end in BONES:
                if start in joints and end in joints:
                    cv2.line(picture, joints[start], joints[end], colour, thickness, cv2.LINE_AA)
            for joint in joints.values():
                cv2.circle(picture, joint, thickness + 1, colour, -1, cv2.LINE_AA)


def _draw_boxes(picture: Array, view: FrameView, pen: Pen) -> None:
    """One rectangle for all labels of a box. Without an inference on this frame: the newest boxes, dim and thin."""
    boxes: dict[Box, list[Evidence]] = {}
    for item in view.evidence:
        if item.box and all(map(isfinite, item.box)):
            boxes.setdefault(item.box, []).append(item)
    for box, evidence in boxes.items():
        counted = view.inferred and not view.counted.isdisjoint(evidence)
        colour = DIM if not view.inferred else COUNTED if counted else DETECTED
        stroke = pen.stroke * (2 if counted else 1)
        corner, opposite = to_pixel(box.left, box.top, picture), to_pixel(box.right, box.bottom, picture)
        cv2.rectangle(picture, corner, opposite, BLACK, stroke + 2)
        cv2.rectangle(picture, corner, opposite, colour, stroke)
        bottom = corner[1] if corner[1] >= pen.line else corner[1] + pen.line
        _draw_label(picture, _listed(evidence), (corner[0] - stroke // 2, bottom), colour, pen)


def _draw_label(picture: Array, text: str, at: tuple[int, int], colour: Colour, pen: Pen) -> None:
    """Black text on a plate of that colour. at: its lower left corner, moved inwards where the plate would not fit."""
    height, width = picture.shape[:2]
    padding = pen.margin // 2
    text = pen.fitted(text, width - 2 * padding)
    plate_width, plate_height = pen.width(text) + 2 * padding, pen.line
    x, y = max(min(at[0], width - plate_width), 0), max(min(at[1], height), plate_height)
    cv2.rectangle(picture, (x, y - plate_height), (x + plate_width, y), colour, -1)
    pen.write(picture, text, (x + padding, y - round(plate_height * 0.28)), BLACK)


def _listed(evidence: Iterable[Evidence]) -> str:
    return ", ".join(f"{item.label} {item.score:.2f}{f' ({item.mark})' if item.mark else ''}" for item in evidence)


def bar_lines(view: FrameView) -> list[tuple[str, Colour]]:
    """Text and colour of each line. Their number depends on the lane alone, so that a clip keeps its size."""
    if view.inferred:
        stages = f"prepare {view.prepare_ms:.2f} ms   inference {view.infer_ms:.2f} ms"
        lines = [(f"{view.time_s:.2f} s   {stages}", WHITE)]
    else:
        lines = [(f"{view.time_s:.2f} s   no inference (gated); newest {view.age_s:.2f} s old", DIM)]
    lines.append(_model_line(view, view.model, view.evidence))
    if view.second_model:
        lines.append(_model_line(view, view.second_model, view.second_evidence))
    actuators = [_actuator_line(state) for state in view.actuators[:MAX_ACTUATORS]]
    if len(view.actuators) > MAX_ACTUATORS:
        text, colour = actuators[-1]
        actuators[-1] = f"{text}; and {len(view.actuators) - MAX_ACTUATORS} more", colour
    return lines + actuators


def _model_line(view: FrameView, model: str, evidence: Sequence[Evidence]) -> tuple[str, Colour]:
    counted = not view.counted.isdisjoint(evidence)
    colour = DIM if not view.inferred else COUNTED if counted else DETECTED
    return f"{model}: {_listed(evidence) or 'nothing detected'}", colour


def _actuator_line(state: ActuatorState) -> tuple[str, Colour]:
    if not state.verb:
        return f"{state.actuator}: no decision yet", DIM
    cause = f"by rule {state.rule}" if state.rule else "at rest"
    return f"{state.actuator}: {state.verb}, {cause}, for {state.age_s:.1f} s", COUNTED if state.rule else DIM
