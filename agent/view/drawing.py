"""What a lane saw and what follows from it, drawn onto the frame it saw it in. Pure: pictures and numbers in, a picture out.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color, 2008), which people with any of the usual colour blindnesses
can tell apart; what is acted upon is also drawn thicker.
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

WHITE, BLACK, DIM, NIGHT = (255, 255, 255), (0, 0, 0), (150, 150, 150), (28, 28, 28)
SEEN = (233, 180, 86)  # sky blue
ACTED = (0, 159, 230)  # orange: a rule in force counts it
LIMBS = (66, 228, 240)  # yellow
ZONE = (167, 121, 204)  # reddish purple

FONT = cv2.FONT_HERSHEY_SIMPLEX
LEAST_SIDE = 360  # pixels; smaller frames are enlarged, else their text would be too small or hide them
MOST_SIDE = 1920  # but not beyond this
TEXT = 1 / 36  # height of a capital, in heights of the frame
LIMB_SCORE = 0.2  # keypoints below this are not seen
SHADE = 0.22  # of a zone
LINES = 4  # actuators in the bar

# Pairs of COCO keypoints that a bone joins: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right.
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


class Standing(NamedTuple):
    """What is in force at an actuator, since age_s. verb: "" before the first decision. rule: "" while it rests."""

    actuator: str
    verb: str
    rule: str
    age_s: float


class Moment(NamedTuple):
    """All there is to show of one frame.

    evidence: of the newest frame that was looked at, boxes in shares of the frame. later: what the second model says.
    points: float32 [n, 17, 3], y and x in shares of the frame, score. zones: corners (x, y) in shares of the frame.
    looked: whether this frame was, or was held back by the gate. since_s: how old the evidence is.
    acted: the part of the evidence that a rule in force counts.
    """

    time_s: float
    looked: bool
    evidence: Sequence[Evidence]
    standing: Sequence[Standing]
    zones: Mapping[str, Sequence[tuple[float, float]]] = {}
    points: Array | None = None
    prepare_ms: float = 0.0
    infer_ms: float = 0.0
    since_s: float = 0.0
    later: Sequence[Evidence] = ()
    model: str = ""
    second: str = ""
    acted: frozenset[Evidence] = frozenset()


class Pen:
    """Sizes that fit the frame."""

    def __init__(self, width: int, height: int) -> None:
        size = max(
            min(height, width * 3 / 4), LEAST_SIDE
        )  # an upright frame has as many letters in a line as a lying one
        (_, capital), _ = cv2.getTextSize("X", FONT, 1.0, 1)
        self.scale = size * TEXT / capital
        self.weight = 1 if self.scale < 1.0 else 2
        self.line = round(size * TEXT * 1.9)
        self.stroke = max(2, round(size / 240))
        self.margin = max(4, round(size / 80))

    def width(self, words: str) -> int:
        return int(cv2.getTextSize(words, FONT, self.scale, self.weight)[0][0])

    def fitted(self, words: str, room: int) -> str:
        """As much of it as fits into `room` pixels."""
        if self.width(words) <= room:
            return words
        fits = bisect_right(range(len(words)), room, key=lambda count: self.width(words[:count] + "...")) - 1
        return words[: max(fits, 0)] + "..."

    def write(self, picture: Array, words: str, at: tuple[int, int], colour: Colour) -> None:
        """at: left end of the line the letters stand on."""
        cv2.putText(picture, words, at, FONT, self.scale, colour, self.weight, cv2.LINE_AA)


def compose(frame: Array, moment: Moment) -> Array:
    """The frame, uint8 bgr [height, width, 3], with everything on it and a bar of text below: uint8 bgr, sides even."""
    frame = _enlarged(frame)
    height, width = frame.shape[:2]
    pen = Pen(width, height)
    lines = wording(moment)
    bar = pen.line * len(lines) + pen.margin
    # Codecs that halve the colour want even sides.
    picture = np.full(((height + bar + 1) // 2 * 2, (width + 1) // 2 * 2, 3), NIGHT, np.uint8)
    scene = picture[:height, :width]
    scene[...] = frame
    draw_zones(scene, moment.zones, pen)
    if moment.points is not None and moment.looked:
        _draw_skeletons(scene, moment.points, pen)
    _draw_boxes(scene, moment, pen)
    for number, (words, colour) in enumerate(lines, 1):
        at = pen.margin, height + number * pen.line - pen.margin // 2
        pen.write(picture, pen.fitted(words, width - 2 * pen.margin), at, colour)
    return picture


def _enlarged(frame: Array) -> Array:
    """By a whole number, where it is too small for text."""
    sides = frame.shape[:2]
    times = min(-(-LEAST_SIDE // min(sides)), MOST_SIDE // max(sides))
    if times <= 1:
        return frame
    bigger: Array = cv2.resize(frame, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR)
    return bigger


def place(x: float, y: float, picture: Array) -> tuple[int, int]:
    """Shares of the picture as a pixel; those far outside, near it, where OpenCV can still count."""
    height, width = picture.shape[:2]
    return round(min(max(x, -1.0), 2.0) * (width - 1)), round(min(max(y, -1.0), 2.0) * (height - 1))


def draw_zones(picture: Array, zones: Mapping[str, Sequence[tuple[float, float]]], pen: Pen) -> None:
    for name, corners in zones.items():
        outline = np.array([place(x, y, picture) for x, y in corners], np.int32)
        shade = picture.copy()
        cv2.fillPoly(shade, [outline], ZONE)
        cv2.addWeighted(shade, SHADE, picture, 1.0 - SHADE, 0.0, dst=picture)
        cv2.polylines(picture, [outline], True, ZONE, pen.stroke, cv2.LINE_AA)
        x, y = outline[int((outline[:, 1] * 4 + outline[:, 0]).argmin())].tolist()
        _label(picture, name, (x, y + pen.line), ZONE, pen)


def _draw_skeletons(picture: Array, points: Array, pen: Pen) -> None:
    """points: float32 [n, 17, 3]: y, x in shares of the picture, score."""
    for person in points.tolist():
        seen = {
            number: place(x, y, picture)
            for number, (y, x, score) in enumerate(person)
            if score >= LIMB_SCORE and isfinite(x) and isfinite(y)
        }
        for colour, thick in ((BLACK, pen.stroke + 2), (LIMBS, pen.stroke)):
            for one, other in BONES:
                if one in seen and other in seen:
                    cv2.line(picture, seen[one], seen[other], colour, thick, cv2.LINE_AA)
            for joint in seen.values():
                cv2.circle(picture, joint, thick + 1, colour, -1, cv2.LINE_AA)


def _draw_boxes(picture: Array, moment: Moment, pen: Pen) -> None:
    """One frame for all labels of a box. Where this frame was not looked at, the boxes of the last look, dim and thin."""
    boxes: dict[Box, list[Evidence]] = {}
    for one in moment.evidence:
        if one.box and all(map(isfinite, one.box)):
            boxes.setdefault(one.box, []).append(one)
    for box, found in boxes.items():
        acted = not moment.acted.isdisjoint(found)
        colour = DIM if not moment.looked else ACTED if acted else SEEN
        stroke = pen.stroke * (2 if acted and moment.looked else 1)
        corner, other = place(box.left, box.top, picture), place(box.right, box.bottom, picture)
        cv2.rectangle(picture, corner, other, BLACK, stroke + 2)
        cv2.rectangle(picture, corner, other, colour, stroke)
        edge = corner[0] - stroke // 2
        _label(picture, _said(found), (edge, corner[1] if corner[1] >= pen.line else corner[1] + pen.line), colour, pen)


def _label(picture: Array, words: str, at: tuple[int, int], colour: Colour, pen: Pen) -> None:
    """Black words on a plate of that colour, its lower left corner there, moved inwards where it would leave the picture."""
    height, width = picture.shape[:2]
    pad = pen.margin // 2
    words = pen.fitted(words, width - 2 * pad)
    long, high = pen.width(words) + 2 * pad, pen.line
    x, y = max(min(at[0], width - long), 0), max(min(at[1], height), high)
    cv2.rectangle(picture, (x, y - high), (x + long, y), colour, -1)
    pen.write(picture, words, (x + pad, y - round(high * 0.28)), BLACK)


def _said(found: Iterable[Evidence]) -> str:
    return ", ".join(f"{one.label} {one.score:.2f}{f' ({one.mark})' if one.mark else ''}" for one in found)


def wording(moment: Moment) -> list[tuple[str, Colour]]:
    """The lines of the bar. Their number follows from the lane, not from what it sees, so that a clip keeps its size."""
    m = moment
    if m.looked:
        took = f"prepare {m.prepare_ms:.2f} ms   inference {m.infer_ms:.2f} ms"
        lines = [(f"{m.time_s:.2f} s   {took}", WHITE)]
    else:
        lines = [(f"{m.time_s:.2f} s   not looked at; the last look is {m.since_s:.2f} s old", DIM)]
    lines.append(_heard(m, m.model, m.evidence))
    if m.second:
        lines.append(_heard(m, m.second, m.later))
    shown = [_in_force(one) for one in m.standing[:LINES]]
    if len(m.standing) > LINES:
        words, colour = shown[-1]
        shown[-1] = f"{words}; and {len(m.standing) - LINES} more", colour
    return lines + shown


def _heard(moment: Moment, model: str, evidence: Sequence[Evidence]) -> tuple[str, Colour]:
    acted = not moment.acted.isdisjoint(evidence)
    return f"{model}: {_said(evidence) or 'nothing'}", DIM if not moment.looked else ACTED if acted else SEEN


def _in_force(one: Standing) -> tuple[str, Colour]:
    if not one.verb:
        return f"{one.actuator}: nothing decided yet", DIM
    why = f"because of {one.rule}" if one.rule else "at rest"
    return f"{one.actuator}: {one.verb}, {why}, for {one.age_s:.1f} s", ACTED if one.rule else DIM
