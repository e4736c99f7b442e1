"""Random daily activities and falls of the stick figure."""

from __future__ import annotations

import numpy as np

from agent.benches.falls import FALLING, LYING, SITTING, STANDING, WALKING
from agent.data import Array
from models.train.pose_fall.body import ARM_L, ARM_R, FORE_L, FORE_R, NECK, TORSO, hip_height, unit
from models.train.pose_fall.figure import NO_LABEL, RATE, UNCLEAR, Motion, StickFigure

# Daily activities begin and end standing, unless `stay` is set.


def _stand(figure: StickFigure) -> None:
    figure.move(figure.vary("stand", gesture=True), figure.uniform(0.3, 1.0), STANDING, STANDING)
    figure.hold(figure.uniform(0.3, 2.5), STANDING)


def _stroll(figure: StickFigure) -> None:
    figure.move(figure.vary("stand", gesture=figure.random.random() < 0.4), 0.3, STANDING, WALKING)
    figure.walk(figure.uniform(1.0, 3.5), figure.uniform(0.4, 1.3))


def _pick_up(figure: StickFigure) -> None:
    low = figure.vary(figure.choose("bend", "bend", "squat", "kneel"))
    figure.move(low, figure.uniform(0.5, 1.5), STANDING, STANDING)
    figure.hold(figure.uniform(0.1, 1.5), STANDING)
    figure.move(figure.vary("stand", gesture=True), figure.uniform(0.5, 1.5), STANDING, STANDING)


def _exercise(figure: StickFigure) -> None:
    for _ in range(figure.random.integers(2, 5)):
        pose = figure.vary(figure.choose("stand", "bend", "squat", "stand"), 0.2, True)
        figure.move(pose, figure.uniform(0.5, 1.5), STANDING, STANDING)
        figure.hold(figure.uniform(0.0, 1.0), STANDING)
    figure.move(figure.vary("stand"), figure.uniform(0.5, 1.5), STANDING, STANDING)


def _push_ups(figure: StickFigure) -> None:
    figure.move(figure.vary("squat"), figure.uniform(0.6, 1.2), STANDING, NO_LABEL)
    figure.move(figure.vary(figure.choose("fours", "kneel")), figure.uniform(0.6, 1.5), NO_LABEL, NO_LABEL)
    figure.move(figure.vary("plank"), figure.uniform(0.6, 1.5), NO_LABEL, NO_LABEL)
    for _ in range(figure.random.integers(1, 4)):
        figure.move(figure.vary("prone"), figure.uniform(0.7, 1.5), NO_LABEL, NO_LABEL, hips=0.2)
        figure.move(figure.vary("plank"), figure.uniform(0.6, 1.2), NO_LABEL, NO_LABEL)
    figure.move(figure.vary("squat"), figure.uniform(0.8, 1.5), NO_LABEL, NO_LABEL)
    figure.move(figure.vary("stand"), figure.uniform(0.6, 1.5), NO_LABEL, STANDING)


def _sit_chair(figure: StickFigure, stay: bool = False) -> None:
    quick = figure.uniform(0.6, 2.0)
    figure.move(figure.vary("chair", gesture=True), quick, STANDING, SITTING, hips=figure.seat, travel=(-0.15, 0))
    figure.hold(figure.uniform(0.3, 3.0), SITTING)
    for _ in range(figure.random.integers(0, 4)):
        pose = figure.vary(figure.choose("slump", "reach", "reach", "chair"))
        figure.move(pose, figure.uniform(0.4, 1.5), SITTING, SITTING, hips=figure.seat)
        figure.hold(figure.uniform(0.1, 1.5), SITTING)
        figure.move(figure.vary("chair", gesture=True), figure.uniform(0.4, 1.5), SITTING, SITTING, hips=figure.seat)
        figure.hold(figure.uniform(0.1, 2.0), SITTING)
    if not stay:
        figure.move(figure.vary("stand"), figure.uniform(0.7, 2.0), SITTING, STANDING, travel=(0.15, 0))


def _lie_bed(figure: StickFigure, stay: bool = False) -> None:
    """Sit down on a bed, then lie on the side, the back or the belly; from sitting this may take half a second."""
    figure.move(
        figure.vary("chair", gesture=True),
        figure.uniform(0.7, 2.0),
        STANDING,
        SITTING,
        hips=figure.seat,
        travel=(-0.15, 0),
    )
    figure.hold(figure.uniform(0.2, 2.0), SITTING)
    _lie(
        figure, figure.choose("supine", "supine knees", "side", "side", "prone"), figure.uniform(0.6, 3.0), figure.seat
    )
    figure.hold(figure.uniform(0.5, 4.0), LYING)
    if not stay:
        figure.move(figure.vary("chair"), figure.uniform(0.8, 2.5), LYING, SITTING, hips=figure.seat)
        figure.move(figure.vary("stand"), figure.uniform(0.8, 2.0), SITTING, STANDING)


def _lie(figure: StickFigure, name: str, seconds: float, support: float) -> None:
    """Lie down on a bed or on the floor (support 0), not in a hurry."""
    limbs = figure.vary(name)
    hips = hip_height(limbs, figure.height) + (support - 0.03 if support else 0.0)
    figure.move(limbs, seconds, SITTING, LYING, hips=float(hips), travel=(0.0, figure.random.normal(0, 0.3)))


def _sit_floor(figure: StickFigure, stay: bool = False) -> None:
    seat = figure.choose("long sit", "tailor", "knees up")
    if figure.random.random() < 0.6:
        figure.move(figure.vary("squat"), figure.uniform(0.5, 1.3), STANDING, STANDING)
        figure.move(figure.vary(seat, gesture=True), figure.uniform(0.4, 1.2), STANDING, SITTING)
    else:
        figure.move(figure.vary(seat, gesture=True), figure.uniform(1.0, 2.5), STANDING, SITTING)
    figure.hold(figure.uniform(0.5, 3.0), SITTING)
    if figure.random.random() < 0.3:
        figure.move(figure.vary("prop"), figure.uniform(0.6, 1.5), SITTING, SITTING)
        _lie(figure, figure.choose("supine", "supine knees", "side"), figure.uniform(0.8, 2.5), 0.0)
        figure.hold(figure.uniform(0.5, 3.0), LYING)
        figure.move(figure.vary(seat), figure.uniform(0.8, 2.0), LYING, SITTING)
    if not stay:
        figure.move(figure.vary("squat"), figure.uniform(0.7, 1.5), SITTING, STANDING)
        figure.move(figure.vary("stand"), figure.uniform(0.5, 1.2), STANDING, STANDING)


DAILY = (_stand, *[_stroll] * 2, _pick_up, _exercise, _push_ups, *[_sit_chair] * 2, *[_lie_bed] * 2, *[_sit_floor] * 2)


# What the figure does, or what carries it, when a fall begins.
BEFORE = ("stand", "stand", "stroll", "stroll", "chair", "chair", "bed", "floor", "bend")


def _fall(figure: StickFigure) -> None:
    """Fall from an activity, then lie on the ground. The staged falls of subject S1 take 0.7 to 1.2 s."""
    start = figure.choose(*BEFORE)
    _lead_in(figure, start)
    figure.onset = figure.length()
    first = len(figure.parts)
    kind = figure.random.choice(["topple", "crumple", "knees"], p=[0.5, 0.35, 0.15])
    end = _landing(figure)
    away = figure.uniform(0.0, 0.9) * end[TORSO, :2]
    if start == "floor" or kind == "topple":
        _topple(figure, end, away, figure.uniform(0.35, 0.9) if start == "floor" else figure.uniform(0.5, 1.2))
    elif kind == "crumple":
        seat = figure.vary(figure.choose("knees up", "long sit", "squat", "prop"), 0.15)
        figure.move(
            seat, figure.uniform(0.4, 1.1), FALLING, FALLING, ease=figure.uniform(1.2, 2.2), travel=tuple(0.3 * away)
        )
        _topple(figure, end, 0.7 * away, figure.uniform(0.3, 1.1))
    else:
        figure.move(
            figure.vary(figure.choose("kneel", "fours"), 0.15), figure.uniform(0.35, 0.8), FALLING, FALLING, ease=1.8
        )
        _topple(figure, end, away, figure.uniform(0.3, 0.9))
    if figure.random.random() < 0.3:  # the figure rolls or stretches
        figure.move(_landing(figure), figure.uniform(0.4, 1.2), FALLING, LYING)
    _label_fall(figure, first)
    figure.hold(figure.uniform(1.0, 4.0), LYING)


def _lead_in(figure: StickFigure, start: str) -> None:
    if start == "stroll":
        _stroll(figure)
    elif start == "chair":
        _sit_chair(figure, stay=True)
    elif start == "bed":
        _lie_bed(figure, stay=figure.random.random() < 0.6)
    elif start == "floor":
        _sit_floor(figure, stay=True)
    else:
        _stand(figure)
        if start == "bend":
            figure.move(figure.vary("bend"), figure.uniform(0.6, 1.5), STANDING, STANDING)


def _landing(figure: StickFigure) -> Array:
    """A lying posture: on the back, the belly, a side or between."""
    names = ["supine", "supine knees", "prone", "side", "side"]
    first, second = (figure.vary(figure.choose(*names), 0.15) for _ in range(2))
    if first[TORSO] @ second[TORSO] < -0.2:
        return first
    limbs = unit(first + figure.uniform(0, 0.6) * (second - first))
    limbs[[TORSO, NECK], 2] = np.clip(limbs[[TORSO, NECK], 2], -0.05, 0.25)
    return unit(limbs)


def _topple(figure: StickFigure, end: Array, away: Array, seconds: float) -> None:
    """Fall with increasing speed, like a pole; the arms flail on the way."""
    flail = figure.random.normal(0, 0.8, (4, 3))
    middle = unit(figure.limbs + 0.35 * (end - figure.limbs))
    middle[[ARM_L, FORE_L, ARM_R, FORE_R]] = unit(middle[[ARM_L, FORE_L, ARM_R, FORE_R]] + flail)
    half = 0.65 * figure.place[2] + 0.35 * hip_height(end, figure.height)
    figure.move(middle, 0.55 * seconds, FALLING, FALLING, hips=float(half), ease=1.7, travel=tuple(0.35 * away))
    figure.move(end, 0.45 * seconds, FALLING, FALLING, ease=figure.uniform(0.9, 1.3), travel=tuple(0.65 * away))


def _label_fall(figure: StickFigure, first: int) -> None:
    """Label the beginning of the fall UNCLEAR, and its end 0.9 s after the figure reached the ground."""
    labels = np.concatenate([part[2] for part in figure.parts[first:]])
    labels[: min(int(0.4 * (labels == FALLING).sum()), int(0.6 * RATE)) + 1] = UNCLEAR
    edges = np.cumsum([len(part[2]) for part in figure.parts[first:]])[:-1]
    figure.parts[first:] = [
        (limbs, places, new) for (limbs, places, _), new in zip(figure.parts[first:], np.split(labels, edges))
    ]
    figure.move(figure.limbs, 0.9, FALLING, FALLING, hips=float(figure.place[2]))


def random_motion(seed: int, falls: bool) -> Motion:
    """The motion of one clip. falls: it ends on the ground."""
    figure = StickFigure(np.random.default_rng(seed))
    figure.hold(figure.uniform(0.1, 1.0), STANDING)
    if falls:
        if figure.random.random() < 0.4:
            DAILY[figure.random.integers(len(DAILY))](figure)
        _fall(figure)
    else:
        while figure.length() < figure.uniform(6, 12) * RATE:
            DAILY[figure.random.integers(len(DAILY))](figure)
    return figure.motion()
