"""The stick figure of pose_fall climbs a wall, and does what resembles climbing; only for tests, not for training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from agent.benches.falls import STANDING
from agent.data import Array
from models.train.pose_fall.body import hip_height, mirrored, posture, unit
from models.train.pose_fall.figure import Motion, StickFigure

CLIMBING = 5
HANG = posture((0.1, 0, 1), (0.15, 0.1, -1), (-0.1, 0, -1), arm=(0.35, 0.15, 1), fore=(0.15, 0, 1))
STEP = posture((0.15, 0, 1), (0.75, 0.35, -0.55), (-0.25, 0, -1), arm=(0.6, 0.25, 0.7), fore=(0.2, 0, 1))
SUPPORT = posture((0.45, 0, 0.9), (0.1, 0.1, -1), (-0.2, 0, -1), arm=(0.3, 0.2, -1), fore=(0.1, 0, -1))
RIGHT_LEG = [9, 11]  # of the limbs: stretched while the left one steps


class Scenario(NamedTuple):
    """A motion. wall: height in m, 0 for none; to_camera: walks towards it (1), away from it (-1), or any direction
    (0).
    """

    motion: Motion
    wall: float = 0.0
    to_camera: int = 0


def climb(seed: int) -> Scenario:
    """Walk to a wall of 1.5 to 3 m, climb it hand over hand at 0.25 to 1 m/s, and support on its top."""
    figure = _begin(seed)
    wall = figure.uniform(1.5, 3.0)
    figure.walk(figure.uniform(0.5, 2.0), figure.uniform(0.6, 1.3))
    figure.hold(figure.uniform(0.0, 1.5), STANDING)
    figure.move(_varied(figure, HANG), figure.uniform(0.3, 1.0), STANDING, STANDING)
    figure.hold(figure.uniform(0.1, 0.8), STANDING)
    figure.onset = figure.length()
    speed, height = figure.uniform(0.25, 1.0), float(figure.place[2])
    while height < wall - 0.2:  # above that the hands are on the top, beside the hips
        rise = min(figure.uniform(0.2, 0.45), max(wall - height, 0.1))
        height += rise
        limbs = _varied(figure, STEP)
        limbs[RIGHT_LEG] = unit(HANG[RIGHT_LEG] + figure.random.normal(0, 0.08, (2, 3)))
        figure.move(
            mirrored(limbs) if figure.random.random() < 0.5 else limbs, rise / speed, CLIMBING, CLIMBING, hips=height
        )
        if figure.random.random() < 0.3:
            figure.hold(figure.uniform(0.1, 0.5), CLIMBING)
    figure.move(_varied(figure, SUPPORT), figure.uniform(0.5, 1.2), CLIMBING, CLIMBING, hips=wall + 0.15)
    figure.hold(figure.uniform(0.3, 1.5), CLIMBING)
    return Scenario(figure.motion(), wall)


def _begin(seed: int, heading: float | None = None) -> StickFigure:
    figure = StickFigure(np.random.default_rng(seed))
    figure.heading = figure.heading if heading is None else heading
    figure.hold(figure.uniform(0.5, 1.5), STANDING)
    return figure


def _varied(figure: StickFigure, limbs: Array) -> Array:
    return unit(limbs + figure.random.normal(0, 0.08, limbs.shape))


# Activities that must not be reported as climbing follow.


def _walk_away(seed: int) -> Scenario:
    return _walked(seed, -1)


def _walk_near(seed: int) -> Scenario:
    return _walked(seed, 1)


def _walk_away_hands_up(seed: int) -> Scenario:
    return _walked(seed, -1, hands_up=True)


def _walked(seed: int, to_camera: int, hands_up: bool = False) -> Scenario:
    figure = _begin(seed, heading=0.0)
    if hands_up:
        figure.move(_varied(figure, HANG), 0.7, STANDING, STANDING)
    figure.walk(figure.uniform(3.0, 5.0), figure.uniform(0.7, 1.6))
    return Scenario(figure.motion(), 0.0, to_camera)


def _jump(seed: int) -> Scenario:
    """One jump, with hands up in half of the cases; the hips rise by 0.25 to 0.5 m."""
    figure = _begin(seed)
    figure.move(figure.vary("squat"), 0.5, STANDING, STANDING)
    up = _varied(figure, HANG) if figure.random.random() < 0.5 else figure.vary("stand")
    top = float(hip_height(up, figure.height)) + figure.uniform(0.25, 0.5)
    figure.move(up, 0.3, STANDING, STANDING, hips=top)
    figure.move(up, 0.3, STANDING, STANDING)
    figure.hold(figure.uniform(1.0, 3.0), STANDING)
    return Scenario(figure.motion())


def reach_up(seed: int) -> Scenario:
    """On the toes, reach for a shelf."""
    figure = _begin(seed)
    limbs = _varied(figure, HANG)
    figure.move(limbs, 0.8, STANDING, STANDING, hips=float(hip_height(limbs, figure.height)) + 0.08)
    figure.hold(figure.uniform(1.0, 4.0), STANDING)
    figure.move(figure.vary("stand"), 0.8, STANDING, STANDING)
    return Scenario(figure.motion())


def _rise_reaching(seed: int) -> Scenario:
    """Get up from a chair or the floor with arms up: a stretch."""
    figure = _begin(seed)
    low = figure.choose("chair", "long sit", "supine", "squat")
    figure.move(figure.vary(low), 1.2, STANDING, STANDING, hips=figure.seat if low == "chair" else None)
    figure.hold(figure.uniform(1.0, 2.0), STANDING)
    figure.move(_varied(figure, HANG), figure.uniform(0.8, 2.0), STANDING, STANDING)
    figure.hold(figure.uniform(1.0, 2.5), STANDING)
    return Scenario(figure.motion())


def stairs(seed: int) -> Scenario:
    """Climb stairs at 0.3 to 0.5 m/s upwards for 5 to 8 s, hands low."""
    return _stepped(seed, hands_up=False)


def _stairs_hands_up(seed: int) -> Scenario:
    """The same with a load on the head: by the signs of the decoder this is a climb."""
    return _stepped(seed, hands_up=True)


def _stepped(seed: int, hands_up: bool) -> Scenario:
    figure = _begin(seed)
    if hands_up:
        figure.move(_varied(figure, HANG), 0.7, STANDING, STANDING)
    seconds = figure.uniform(5.0, 8.0)
    figure.walk(seconds, figure.uniform(0.5, 0.8))
    limbs, places, labels = figure.parts[-1]
    places[:, 2] += np.linspace(0, figure.uniform(0.3, 0.5) * seconds, len(places))
    return Scenario(figure.motion())


def _onto_a_chair(seed: int) -> Scenario:
    """Step onto a chair, 0.45 m up, with arms up, as to change a lamp."""
    figure = _begin(seed)
    limbs = _varied(figure, STEP)
    limbs[RIGHT_LEG] = HANG[RIGHT_LEG]
    figure.move(limbs, 0.8, STANDING, STANDING)
    up = _varied(figure, HANG)
    figure.move(up, 1.0, STANDING, STANDING, hips=float(hip_height(up, figure.height)) + 0.45)
    figure.hold(figure.uniform(2.0, 4.0), STANDING)
    return Scenario(figure.motion())


NO_CLIMB = (_walk_away, _walk_near, _walk_away_hands_up, _jump, reach_up, _rise_reaching, stairs)
LIKE_A_CLIMB = (_stairs_hands_up, _onto_a_chair)  # no wall, but all signs of the decoder
