"""What three teachers agree on: where a person is, where perhaps one is, and where none is."""

from __future__ import annotations

from typing import NamedTuple

from agent.data import Box
from models.train.person_coarse.teachers import Detections, Seen

SURE, CERTAIN = 0.35, 0.6  # a detector's score for a person with a second teacher, and without
POSE = 0.5  # a seen pose ranks among the detectors' scores like this
SAME = 0.5  # boxes that share so much of the smaller one are of one person


class Truth(NamedTuple):
    """people: at least two teachers, or one that is certain. doubts: one teacher, not certain; nobody is judged there."""

    people: list[Box]
    doubts: list[Box]


def agree(seen: Seen, one_is_there: bool = False) -> Truth:
    """Boxes are grouped about the best; whoever lies is seen in parts, so the person's box holds them all.

    one_is_there: a person is known to be in the picture, so one teacher will do.
    """
    people: list[Box] = []
    doubts: list[Box] = []
    sure = [(score, box, "ssd") for score, box in apart(seen.ssd) if score >= SURE]
    sure += [(score, box, "nanodet") for score, box in apart(seen.nanodet) if score >= SURE]
    sure += [(POSE, seen.pose, "movenet")] if seen.pose else []
    while sure:
        score, best, _ = max(sure, key=lambda one: one[0])
        mine = [one for one in sure if _same(one[1], best)]
        sure = [one for one in sure if not _same(one[1], best)]
        enough = len({teacher for _, _, teacher in mine}) >= 2 or score >= CERTAIN
        (people if enough else doubts).append(_around([box for _, box, _ in mine]))
    if one_is_there and not people and doubts:
        people, doubts = doubts[:1], doubts[1:]
    faint = [box for score, box in seen.ssd + seen.nanodet if score < SURE]
    return Truth(people, doubts + [box for box in faint if not any(_same(box, person) for person in people)])


def apart(found: Detections) -> Detections:
    """Those that share half of their area with a better one left out: the SSD takes legs for one more person."""
    kept: Detections = []
    for score, box in sorted(found, reverse=True):
        if not any(_same(box, other) for _, other in kept):
            kept.append((score, box))
    return kept


def _same(a: Box, b: Box) -> bool:
    return common(a, b) >= SAME * min(area(a), area(b)) > 0


def _around(boxes: list[Box]) -> Box:
    left, top, right, bottom = zip(*boxes)
    return Box(min(left), min(top), max(right), max(bottom))


def area(box: Box) -> float:
    return max(0.0, box.right - box.left) * max(0.0, box.bottom - box.top)


def common(a: Box, b: Box) -> float:
    """The area that two boxes share."""
    return area(Box(max(a.left, b.left), max(a.top, b.top), min(a.right, b.right), min(a.bottom, b.bottom)))


def shared(a: Box, b: Box) -> float:
    """Intersection over union."""
    return common(a, b) / max(area(a) + area(b) - common(a, b), 1e-9)
