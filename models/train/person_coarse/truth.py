"""The teachers' consensus: where a person is, where one may be, and where none is."""

from __future__ import annotations

from operator import itemgetter
from typing import NamedTuple

from agent.data import Box
from models.train.person_coarse.teachers import Detections, TeacherOutputs

CONFIRMED_SCORE, ALONE_SCORE = 0.35, 0.6  # least score of a detection that a second teacher confirms, and of one alone
POSE_SCORE = 0.5  # the rank of a pose among the detectors' scores
SAME_PERSON = 0.5  # boxes that share this much of the smaller one are of one person


class Truth(NamedTuple):
    """people: boxes of two teachers, or of a certain one. uncertain: of a single teacher; nothing is judged there."""

    people: list[Box]
    uncertain: list[Box]


def consensus(outputs: TeacherOutputs, person_present: bool = False) -> Truth:
    """Boxes are grouped around the best one; a lying person is detected in parts, so the person's box holds them all.

    person_present: a person is known to be in the picture, so one teacher is enough.
    """
    people: list[Box] = []
    uncertain: list[Box] = []
    candidates = _candidates(outputs)
    while candidates:
        score, best, _ = max(candidates, key=itemgetter(0))
        group = [candidate for candidate in candidates if _same_person(candidate[1], best)]
        candidates = [candidate for candidate in candidates if not _same_person(candidate[1], best)]
        enough = len({teacher for _, _, teacher in group}) >= 2 or score >= ALONE_SCORE
        (people if enough else uncertain).append(_bounding_box([box for _, box, _ in group]))
    if person_present and not people and uncertain:
        people, uncertain = uncertain[:1], uncertain[1:]
    faint = [box for score, box in outputs.ssd + outputs.nanodet if score < CONFIRMED_SCORE]
    return Truth(people, uncertain + [box for box in faint if not any(_same_person(box, person) for person in people)])


def _candidates(outputs: TeacherOutputs) -> list[tuple[float, Box, str]]:
    """(score, box, teacher) of the detections that can be a person's."""
    detectors = {"ssd": outputs.ssd, "nanodet": outputs.nanodet}
    candidates = [
        (score, box, teacher)
        for teacher, detections in detectors.items()
        for score, box in suppress_parts(detections)
        if score >= CONFIRMED_SCORE
    ]
    return candidates + ([(POSE_SCORE, outputs.pose, "movenet")] if outputs.pose else [])


def suppress_parts(detections: Detections) -> Detections:
    """Without those that share half of their area with a better one: the SSD detects legs as one more person."""
    kept: Detections = []
    for score, box in sorted(detections, reverse=True):
        if not any(_same_person(box, other) for _, other in kept):
            kept.append((score, box))
    return kept


def _same_person(a: Box, b: Box) -> bool:
    return intersection(a, b) >= SAME_PERSON * min(area(a), area(b)) > 0


def _bounding_box(boxes: list[Box]) -> Box:
    left, top, right, bottom = zip(*boxes)
    return Box(min(left), min(top), max(right), max(bottom))


def area(box: Box) -> float:
    return max(0.0, box.right - box.left) * max(0.0, box.bottom - box.top)


def intersection(a: Box, b: Box) -> float:
    """The area that two boxes share."""
    return area(Box(max(a.left, b.left), max(a.top, b.top), min(a.right, b.right), min(a.bottom, b.bottom)))


def intersection_over_union(a: Box, b: Box) -> float:
    shared = intersection(a, b)
    return shared / max(area(a) + area(b) - shared, 1e-9)
