"""A moving stick figure: key postures one after the other, the frames between them, and the label of every frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from agent.benches.falls import WALKING
from agent.data import Array
from models.train.pose_fall.body import (
    ARM_L,
    ARM_R,
    FORE_L,
    FORE_R,
    LEFT,
    POSTURES,
    SHIN_L,
    SHIN_R,
    TALL,
    THIGH_L,
    THIGH_R,
    hip_height,
    mirrored,
    turned,
    unit,
)

RATE = 30.0  # frames a second
NO_LABEL = -1  # kneeling, push-ups: none of the labels, but certainly no fall
UNCLEAR = -2  # the first frames of a fall, which cannot be recognised yet

ARMS_L, ARMS_R = [ARM_L, FORE_L], [ARM_R, FORE_R]
GESTURES = [  # upper arm, forearm: what hands do while a person stands or sits
    ((0.05, 0.1, -1), (0.2, 0.05, -1)),
    ((0.3, 0.1, -1), (0.8, 0, 0.8)),
    ((0.4, 0.1, -0.9), (1, -0.3, 0.1)),
    ((0.1, 0.3, 1), (0.1, 0, 1)),
    ((1, 0.1, 0), (1, 0, 0.1)),
    ((0.1, 1, 0), (0.1, 1, 0.1)),
    ((0.2, 0.2, -1), (1, -0.5, -0.2)),
]


class Motion(NamedTuple):
    """Frames of a figure. limbs: [n, 12, 3], turned; hips: [n, 3] in m; labels: int [n]; onset: first frame of the
    fall, or -1.
    """

    limbs: Array
    hips: Array
    labels: Array
    onset: int
    height: float


class StickFigure:
    """Goes from one key posture to the next, and records the frames between them."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.height = TALL * random.uniform(0.9, 1.1)
        self.heading = random.uniform(-np.pi, np.pi)
        self.seat = random.uniform(0.38, 0.6)
        self.parts: list[tuple[Array, Array, Array]] = []  # limbs, hips, labels of each movement
        self.limbs = self.vary("stand")
        self.place = np.zeros(3)
        self.place[2] = hip_height(self.limbs, self.height)
        self.onset = -1

    def uniform(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)

    def choose(self, *postures: str) -> str:
        return str(self.random.choice(postures))

    def vary(self, name: str, spread: float = 0.09, gesture: bool = False) -> Array:
        """A posture as a person takes it: never twice the same, to the left or to the right."""
        limbs = POSTURES[name] + self.random.normal(0, spread, (12, 3))
        limbs[LEFT] = POSTURES[name][LEFT] + self.random.normal(0, spread / 2, 3)
        if gesture:
            for side, sign in ((ARMS_L, 1), (ARMS_R, -1)):
                arm = np.array(GESTURES[self.random.integers(len(GESTURES))]) * [1, sign, 1]
                limbs[side] = arm + self.random.normal(0, 0.15, (2, 3))
        limbs = unit(limbs)
        return mirrored(limbs) if self.random.random() < 0.5 else limbs

    def move(
        self,
        limbs: Array,
        seconds: float,
        before: int,
        after: int,
        *,
        hips: float | None = None,
        ease: float = 0.0,
        travel: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Go to `limbs`; the first half of the way is labelled `before`, the second half `after`.

        hips: their height where something carries the figure; ease: 0 is slow at both ends, else u ** ease; travel: m
        forward and to the left.
        """
        n = max(2, int(seconds * RATE))
        u = np.arange(1, n + 1) / n
        share = u**ease if ease else u * u * (3 - 2 * u)
        goal = self.place.copy()
        goal[2] = hip_height(limbs, self.height) if hips is None else hips
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        goal[:2] += [travel[0] * cos - travel[1] * sin, travel[0] * sin + travel[1] * cos]
        between = unit(self.limbs + share[:, None, None] * (limbs - self.limbs))
        places = self.place + share[:, None] * (goal - self.place)
        if hips is None and not ease:
            places[:, 2] = np.maximum(
                places[:, 2], 0.85 * hip_height(between, self.height)
            )  # feet do not sink into the floor
        self._add(between, places, np.where(u < 0.5, before, after))
        self.limbs, self.place = limbs, goal

    def hold(self, seconds: float, label: int) -> None:
        """Stay and sway a little; the hands keep moving."""
        n = max(1, int(seconds * RATE))
        t = np.arange(n) / RATE
        drift = self.random.normal(0, 0.04, (12, 3)) * np.sin(t[:, None, None] * self.random.uniform(0.5, 4, (12, 1)))
        hands = self.random.normal(0, 0.3, (4, 3)) * np.sin(t[:, None, None] * self.random.uniform(1, 6, (4, 1)))
        if self.random.random() < 0.5:
            drift[:, [*ARMS_L, *ARMS_R]] += hands
        limbs = unit(self.limbs + drift)
        self._add(limbs, np.repeat(self.place[None], n, axis=0), np.full(n, label))

    def walk(self, seconds: float, speed: float) -> None:
        """Walk along an arc; the arms swing against the legs."""
        n = max(2, int(seconds * RATE))
        phase = np.arange(n) / RATE * np.pi * (1.0 + speed * 0.8) + self.random.uniform(0, 6)
        swing = np.sin(phase) * (0.15 + 0.35 * min(speed, 1.2))
        lift_left = np.maximum(np.cos(phase), 0.0)
        limbs = np.repeat(self.limbs[None], n, axis=0)
        lift_right = np.maximum(-np.cos(phase), 0.0)
        for thigh, shin, arm, sign, lift in (
            (THIGH_L, SHIN_L, ARM_L, 1, lift_left),
            (THIGH_R, SHIN_R, ARM_R, -1, lift_right),
        ):
            limbs[:, thigh, 0] += sign * swing + 0.25 * lift
            limbs[:, shin, 0] += sign * swing - 0.6 * lift
            limbs[:, arm, 0] -= 0.6 * sign * swing
        limbs = unit(limbs)
        turn = np.linspace(0, self.random.normal(0, 0.5) * seconds, n)
        heading = self.heading + turn
        steps = speed / RATE * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        places = np.repeat(self.place[None], n, axis=0)
        places[:, :2] += np.cumsum(steps, axis=0)
        places[:, 2] = hip_height(limbs, self.height)
        self._add(limbs, places, np.full(n, WALKING), heading)
        self.place, self.heading = places[-1].copy(), float(heading[-1])
        self.limbs = limbs[-1]

    def _add(self, limbs: Array, places: Array, labels: Array, heading: Array | None = None) -> None:
        yaw = np.full(len(limbs), self.heading) if heading is None else heading
        self.parts.append((turned(limbs, yaw), places, labels))

    def length(self) -> int:
        """Number of frames so far."""
        return sum(len(labels) for _, _, labels in self.parts)

    def motion(self) -> Motion:
        limbs, hips, labels = (np.concatenate(arrays) for arrays in zip(*self.parts))
        return Motion(limbs, hips, labels, self.onset, self.height)
