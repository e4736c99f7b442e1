"""What the person of sticks does in a day, and how it falls: drawn at random."""

from __future__ import annotations

import numpy as np

from agent.benches.falls import FALLING, LYING, SITTING, STANDING, WALKING
from agent.data import Array
from models.train.pose_fall.body import ARM_L, ARM_R, FORE_L, FORE_R, NECK, TORSO, hip_height, unit
from models.train.pose_fall.story import NEITHER, RATE, UNCLEAR, Play, Story

# -- daily activity: each begins and ends as its name's first and last word says -----------------------------------------


def _stand(s: Story) -> None:
    s.move(s.vary("stand", gesture=True), s.random.uniform(0.3, 1.0), STANDING, STANDING)
    s.hold(s.random.uniform(0.3, 2.5), STANDING)


def _stroll(s: Story) -> None:
    s.move(s.vary("stand", gesture=s.random.random() < 0.4), 0.3, STANDING, WALKING)
    s.walk(s.random.uniform(1.0, 3.5), s.random.uniform(0.4, 1.3))


def _pick_up(s: Story) -> None:
    low = s.vary(str(s.random.choice(["bend", "bend", "squat", "kneel"])))
    s.move(low, s.random.uniform(0.5, 1.5), STANDING, STANDING)
    s.hold(s.random.uniform(0.1, 1.5), STANDING)
    s.move(s.vary("stand", gesture=True), s.random.uniform(0.5, 1.5), STANDING, STANDING)


def _exercise(s: Story) -> None:
    for _ in range(s.random.integers(2, 5)):
        pose = s.vary(str(s.random.choice(["stand", "bend", "squat", "stand"])), 0.2, True)
        s.move(pose, s.random.uniform(0.5, 1.5), STANDING, STANDING)
        s.hold(s.random.uniform(0.0, 1.0), STANDING)
    s.move(s.vary("stand"), s.random.uniform(0.5, 1.5), STANDING, STANDING)


def _push_ups(s: Story) -> None:
    s.move(s.vary("squat"), s.random.uniform(0.6, 1.2), STANDING, NEITHER)
    s.move(s.vary(str(s.random.choice(["fours", "kneel"]))), s.random.uniform(0.6, 1.5), NEITHER, NEITHER)
    s.move(s.vary("plank"), s.random.uniform(0.6, 1.5), NEITHER, NEITHER)
    for _ in range(s.random.integers(1, 4)):
        s.move(s.vary("prone"), s.random.uniform(0.7, 1.5), NEITHER, NEITHER, hips=0.2)
        s.move(s.vary("plank"), s.random.uniform(0.6, 1.2), NEITHER, NEITHER)
    s.move(s.vary("squat"), s.random.uniform(0.8, 1.5), NEITHER, NEITHER)
    s.move(s.vary("stand"), s.random.uniform(0.6, 1.5), NEITHER, STANDING)


def _sit_chair(s: Story, stay: bool = False) -> None:
    quick = s.random.uniform(0.6, 2.0)
    s.move(s.vary("chair", gesture=True), quick, STANDING, SITTING, hips=s.seat, travel=(-0.15, 0))
    s.hold(s.random.uniform(0.3, 3.0), SITTING)
    for _ in range(s.random.integers(0, 4)):
        pose = s.vary(str(s.random.choice(["slump", "reach", "reach", "chair"])))
        s.move(pose, s.random.uniform(0.4, 1.5), SITTING, SITTING, hips=s.seat)
        s.hold(s.random.uniform(0.1, 1.5), SITTING)
        s.move(s.vary("chair", gesture=True), s.random.uniform(0.4, 1.5), SITTING, SITTING, hips=s.seat)
        s.hold(s.random.uniform(0.1, 2.0), SITTING)
    if not stay:
        s.move(s.vary("stand"), s.random.uniform(0.7, 2.0), SITTING, STANDING, travel=(0.15, 0))


def _lie_bed(s: Story, stay: bool = False) -> None:
    """Down on a bed's edge, over on the side or the back; from sitting this may take half a second."""
    s.move(s.vary("chair", gesture=True), s.random.uniform(0.7, 2.0), STANDING, SITTING, hips=s.seat, travel=(-0.15, 0))
    s.hold(s.random.uniform(0.2, 2.0), SITTING)
    _lie(
        s, str(s.random.choice(["supine", "supine knees", "side", "side", "prone"])), s.random.uniform(0.6, 3.0), s.seat
    )
    s.hold(s.random.uniform(0.5, 4.0), LYING)
    if not stay:
        s.move(s.vary("chair"), s.random.uniform(0.8, 2.5), LYING, SITTING, hips=s.seat)
        s.move(s.vary("stand"), s.random.uniform(0.8, 2.0), SITTING, STANDING)


def _lie(s: Story, name: str, seconds: float, support: float) -> None:
    """On a bed or on the floor (support 0), without haste."""
    limbs = s.vary(name)
    hips = hip_height(limbs, s.height) + (support - 0.03 if support else 0.0)
    s.move(limbs, seconds, SITTING, LYING, hips=float(hips), travel=(0.0, s.random.normal(0, 0.3)))


def _sit_floor(s: Story, stay: bool = False) -> None:
    seat = str(s.random.choice(["long sit", "tailor", "knees up"]))
    if s.random.random() < 0.6:
        s.move(s.vary("squat"), s.random.uniform(0.5, 1.3), STANDING, STANDING)
        s.move(s.vary(seat, gesture=True), s.random.uniform(0.4, 1.2), STANDING, SITTING)
    else:
        s.move(s.vary(seat, gesture=True), s.random.uniform(1.0, 2.5), STANDING, SITTING)
    s.hold(s.random.uniform(0.5, 3.0), SITTING)
    if s.random.random() < 0.3:
        s.move(s.vary("prop"), s.random.uniform(0.6, 1.5), SITTING, SITTING)
        _lie(s, str(s.random.choice(["supine", "supine knees", "side"])), s.random.uniform(0.8, 2.5), 0.0)
        s.hold(s.random.uniform(0.5, 3.0), LYING)
        s.move(s.vary(seat), s.random.uniform(0.8, 2.0), LYING, SITTING)
    if not stay:
        s.move(s.vary("squat"), s.random.uniform(0.7, 1.5), SITTING, STANDING)
        s.move(s.vary("stand"), s.random.uniform(0.5, 1.2), STANDING, STANDING)


DAILY = (
    _stand,
    _stroll,
    _stroll,
    _pick_up,
    _exercise,
    _push_ups,
    _sit_chair,
    _sit_chair,
    _lie_bed,
    _lie_bed,
    _sit_floor,
    _sit_floor,
)


# -- falls ---------------------------------------------------------------------------------------------------------------

# From how: what carries the person when it begins.
BEFORE = ("stand", "stand", "stroll", "stroll", "chair", "chair", "bed", "floor", "bend")


def _fall(s: Story) -> None:
    """Out of an activity to the ground, then lie there. S1's staged falls take 0.7 to 1.2 s to the ground; some only crumple."""
    start = str(s.random.choice(BEFORE))
    _lead_in(s, start)
    s.onset = s.moments()
    first = len(s.parts)
    way = s.random.choice(["topple", "crumple", "knees"], p=[0.5, 0.35, 0.15])
    end = _landing(s)
    away = s.random.uniform(0.0, 0.9) * end[TORSO, :2]
    if start == "floor" or way == "topple":
        _topple(s, end, away, s.random.uniform(0.35, 0.9) if start == "floor" else s.random.uniform(0.5, 1.2))
    elif way == "crumple":
        seat = s.vary(str(s.random.choice(["knees up", "long sit", "squat", "prop"])), 0.15)
        s.move(
            seat,
            s.random.uniform(0.4, 1.1),
            FALLING,
            FALLING,
            ease=s.random.uniform(1.2, 2.2),
            travel=tuple(0.3 * away),
        )
        _topple(s, end, 0.7 * away, s.random.uniform(0.3, 1.1))
    else:
        s.move(
            s.vary(str(s.random.choice(["kneel", "fours"])), 0.15),
            s.random.uniform(0.35, 0.8),
            FALLING,
            FALLING,
            ease=1.8,
        )
        _topple(s, end, away, s.random.uniform(0.3, 0.9))
    if s.random.random() < 0.3:  # it rolls or stretches
        s.move(_landing(s), s.random.uniform(0.4, 1.2), FALLING, LYING)
    _mark(s, first)
    s.hold(s.random.uniform(1.0, 4.0), LYING)


def _lead_in(s: Story, start: str) -> None:
    if start == "stroll":
        _stroll(s)
    elif start == "chair":
        _sit_chair(s, stay=True)
    elif start == "bed":
        _lie_bed(s, stay=s.random.random() < 0.6)
    elif start == "floor":
        _sit_floor(s, stay=True)
    else:
        _stand(s)
        if start == "bend":
            s.move(s.vary("bend"), s.random.uniform(0.6, 1.5), STANDING, STANDING)


def _landing(s: Story) -> Array:
    """Lying somehow: on the back, the belly, a side or between."""
    names = ["supine", "supine knees", "prone", "side", "side"]
    one, other = (s.vary(str(s.random.choice(names)), 0.15) for _ in range(2))
    if one[TORSO] @ other[TORSO] < -0.2:
        return one
    limbs = unit(one + s.random.uniform(0, 0.6) * (other - one))
    limbs[[TORSO, NECK], 2] = np.clip(limbs[[TORSO, NECK], 2], -0.05, 0.25)
    return unit(limbs)


def _topple(s: Story, end: Array, away: Array, seconds: float) -> None:
    """Ever faster, as a pole does that falls over; the arms look for hold on the way."""
    flail = s.random.normal(0, 0.8, (4, 3))
    middle = unit(s.limbs + 0.35 * (end - s.limbs))
    middle[[ARM_L, FORE_L, ARM_R, FORE_R]] = unit(middle[[ARM_L, FORE_L, ARM_R, FORE_R]] + flail)
    half = 0.65 * s.place[2] + 0.35 * hip_height(end, s.height)
    s.move(middle, 0.55 * seconds, FALLING, FALLING, hips=float(half), ease=1.7, travel=tuple(0.35 * away))
    s.move(end, 0.45 * seconds, FALLING, FALLING, ease=s.random.uniform(0.9, 1.3), travel=tuple(0.65 * away))


def _mark(s: Story, first: int) -> None:
    """The beginning of the fall is unclear, and it is over 0.9 s after it reached the ground."""
    labels = np.concatenate([part[2] for part in s.parts[first:]])
    labels[: min(int(0.4 * (labels == FALLING).sum()), int(0.6 * RATE)) + 1] = UNCLEAR
    edges = np.cumsum([len(part[2]) for part in s.parts[first:]])[:-1]
    s.parts[first:] = [
        (limbs, places, new) for (limbs, places, _), new in zip(s.parts[first:], np.split(labels, edges))
    ]
    s.move(s.limbs, 0.9, FALLING, FALLING, hips=float(s.place[2]))


def draw(seed: int, falls: bool) -> Play:
    """One clip's worth of life. falls: it ends on the ground."""
    s = Story(np.random.default_rng(seed))
    s.hold(s.random.uniform(0.1, 1.0), STANDING)
    if falls:
        if s.random.random() < 0.4:
            DAILY[s.random.integers(len(DAILY))](s)
        _fall(s)
    else:
        while s.moments() < s.random.uniform(6, 12) * RATE:
            DAILY[s.random.integers(len(DAILY))](s)
    return s.play()
