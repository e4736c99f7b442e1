"""The person of sticks (pose_fall) climbs a wall, and does what could be taken for it. Nothing learns from it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from agent.benches.falls import STANDING
from agent.data import Array
from models.train.pose_fall.body import hip_height, mirrored, posture, unit
from models.train.pose_fall.story import Play, Story

CLIMBING = 5
HANG = posture((0.1, 0, 1), (0.15, 0.1, -1), (-0.1, 0, -1), arm=(0.35, 0.15, 1), fore=(0.15, 0, 1))
STEP = posture((0.15, 0, 1), (0.75, 0.35, -0.55), (-0.25, 0, -1), arm=(0.6, 0.25, 0.7), fore=(0.2, 0, 1))
SUPPORT = posture((0.45, 0, 0.9), (0.1, 0.1, -1), (-0.2, 0, -1), arm=(0.3, 0.2, -1), fore=(0.1, 0, -1))
RIGHT_LEG = [9, 11]  # of the limbs: stretched while the left one steps


class Scene(NamedTuple):
    """play; wall: height in m, 0 for none; to_camera: walks towards it (1), away from it (-1) or as it comes (0)."""

    play: Play
    wall: float = 0.0
    to_camera: int = 0


def climb(seed: int) -> Scene:
    """Up to a wall of 1.5 to 3 m, up it hand over hand at 0.25 to 1 m/s, over the top, and gone from the label's view."""
    s = _begin(seed)
    wall = s.random.uniform(1.5, 3.0)
    s.walk(s.random.uniform(0.5, 2.0), s.random.uniform(0.6, 1.3))
    s.hold(s.random.uniform(0.0, 1.5), STANDING)
    s.move(_varied(s, HANG), s.random.uniform(0.3, 1.0), STANDING, STANDING)
    s.hold(s.random.uniform(0.1, 0.8), STANDING)
    s.onset = s.moments()
    speed, height = s.random.uniform(0.25, 1.0), float(s.place[2])
    while height < wall - 0.2:  # then the hands are on the top, beside the hips
        rise = min(s.random.uniform(0.2, 0.45), max(wall - height, 0.1))
        height += rise
        limbs = _varied(s, STEP)
        limbs[RIGHT_LEG] = unit(HANG[RIGHT_LEG] + s.random.normal(0, 0.08, (2, 3)))
        s.move(mirrored(limbs) if s.random.random() < 0.5 else limbs, rise / speed, CLIMBING, CLIMBING, hips=height)
        if s.random.random() < 0.3:
            s.hold(s.random.uniform(0.1, 0.5), CLIMBING)
    s.move(_varied(s, SUPPORT), s.random.uniform(0.5, 1.2), CLIMBING, CLIMBING, hips=wall + 0.15)
    s.hold(s.random.uniform(0.3, 1.5), CLIMBING)
    return Scene(s.play(), wall)


def _begin(seed: int, heading: float | None = None) -> Story:
    s = Story(np.random.default_rng(seed))
    s.heading = s.heading if heading is None else heading
    s.hold(s.random.uniform(0.5, 1.5), STANDING)
    return s


def _varied(s: Story, limbs: Array) -> Array:
    return unit(limbs + s.random.normal(0, 0.08, limbs.shape))


# -- what must not be taken for it ---------------------------------------------------------------------------------------


def _walk_away(seed: int) -> Scene:
    return _walked(seed, -1)


def _walk_near(seed: int) -> Scene:
    return _walked(seed, 1)


def _walk_away_hands_up(seed: int) -> Scene:
    return _walked(seed, -1, hands_up=True)


def _walked(seed: int, to_camera: int, hands_up: bool = False) -> Scene:
    s = _begin(seed, heading=0.0)
    if hands_up:
        s.move(_varied(s, HANG), 0.7, STANDING, STANDING)
    s.walk(s.random.uniform(3.0, 5.0), s.random.uniform(0.7, 1.6))
    return Scene(s.play(), 0.0, to_camera)


def _jump(seed: int) -> Scene:
    """Once, hands up in half of them; the hips rise by 0.25 to 0.5 m."""
    s = _begin(seed)
    s.move(s.vary("squat"), 0.5, STANDING, STANDING)
    up = _varied(s, HANG) if s.random.random() < 0.5 else s.vary("stand")
    top = float(hip_height(up, s.height)) + s.random.uniform(0.25, 0.5)
    s.move(up, 0.3, STANDING, STANDING, hips=top)
    s.move(up, 0.3, STANDING, STANDING)
    s.hold(s.random.uniform(1.0, 3.0), STANDING)
    return Scene(s.play())


def reach_up(seed: int) -> Scene:
    """On the toes, to a shelf."""
    s = _begin(seed)
    limbs = _varied(s, HANG)
    s.move(limbs, 0.8, STANDING, STANDING, hips=float(hip_height(limbs, s.height)) + 0.08)
    s.hold(s.random.uniform(1.0, 4.0), STANDING)
    s.move(s.vary("stand"), 0.8, STANDING, STANDING)
    return Scene(s.play())


def _rise_reaching(seed: int) -> Scene:
    """Up from a chair or the floor, arms up: a stretch."""
    s = _begin(seed)
    low = str(s.random.choice(["chair", "long sit", "supine", "squat"]))
    s.move(s.vary(low), 1.2, STANDING, STANDING, hips=s.seat if low == "chair" else None)
    s.hold(s.random.uniform(1.0, 2.0), STANDING)
    s.move(_varied(s, HANG), s.random.uniform(0.8, 2.0), STANDING, STANDING)
    s.hold(s.random.uniform(1.0, 2.5), STANDING)
    return Scene(s.play())


def stairs(seed: int) -> Scene:
    """15 to 18 steps of 0.17 m, at 0.3 to 0.5 m/s upwards, hands low."""
    return _stepped(seed, hands_up=False)


def _stairs_hands_up(seed: int) -> Scene:
    """The same with something carried on the head: by our signs a climb."""
    return _stepped(seed, hands_up=True)


def _stepped(seed: int, hands_up: bool) -> Scene:
    s = _begin(seed)
    if hands_up:
        s.move(_varied(s, HANG), 0.7, STANDING, STANDING)
    seconds = s.random.uniform(5.0, 8.0)
    s.walk(seconds, s.random.uniform(0.5, 0.8))
    limbs, places, labels = s.parts[-1]
    places[:, 2] += np.linspace(0, s.random.uniform(0.3, 0.5) * seconds, len(places))
    return Scene(s.play())


def _onto_a_chair(seed: int) -> Scene:
    """To change a lamp: 0.45 m up, arms up."""
    s = _begin(seed)
    limbs = _varied(s, STEP)
    limbs[RIGHT_LEG] = HANG[RIGHT_LEG]
    s.move(limbs, 0.8, STANDING, STANDING)
    up = _varied(s, HANG)
    s.move(up, 1.0, STANDING, STANDING, hips=float(hip_height(up, s.height)) + 0.45)
    s.hold(s.random.uniform(2.0, 4.0), STANDING)
    return Scene(s.play())


OTHERS = (_walk_away, _walk_near, _walk_away_hands_up, _jump, reach_up, _rise_reaching, stairs)
ALIKE = (_stairs_hands_up, _onto_a_chair)  # no wall, and yet what the signs mean
