"""A play for the person of sticks: key postures one after the other, what lies between, and the label of every moment."""

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

RATE = 30.0  # moments a second
NEITHER = -1  # kneeling, push-ups: no label of ours, but surely no fall
UNCLEAR = -2  # the first moments of a fall, which nobody could tell

ARMS_L, ARMS_R = [ARM_L, FORE_L], [ARM_R, FORE_R]
GESTURES = [  # upper arm, forearm: what hands do while somebody stands or sits
    ((0.05, 0.1, -1), (0.2, 0.05, -1)),
    ((0.3, 0.1, -1), (0.8, 0, 0.8)),
    ((0.4, 0.1, -0.9), (1, -0.3, 0.1)),
    ((0.1, 0.3, 1), (0.1, 0, 1)),
    ((1, 0.1, 0), (1, 0, 0.1)),
    ((0.1, 1, 0), (0.1, 1, 0.1)),
    ((0.2, 0.2, -1), (1, -0.5, -0.2)),
]


class Play(NamedTuple):
    """limbs: [n, 12, 3], turned; hips: [n, 3] in metres; labels: int [n]; onset: moment of the fall, -1 for none."""

    limbs: Array
    hips: Array
    labels: Array
    onset: int
    height: float


class Story:
    """Key postures one after the other; `play` fills in what lies between."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.height = TALL * random.uniform(0.9, 1.1)
        self.heading = random.uniform(-np.pi, np.pi)
        self.seat = random.uniform(0.38, 0.6)
        self.parts: list[tuple[Array, Array, Array]] = []  # limbs, hips, labels of each stretch
        self.limbs = self.vary("stand")
        self.place = np.zeros(3)
        self.place[2] = hip_height(self.limbs, self.height)
        self.onset = -1

    def vary(self, name: str, spread: float = 0.09, gesture: bool = False) -> Array:
        """A posture as somebody takes it: never twice the same, left or right."""
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
        """Go to `limbs`. hips: their height when something carries them; ease: 0 slow at both ends, else u ** ease;

        travel: metres forward and to the left. Half of the way is labelled `before`.
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
            places[:, 2] = np.maximum(places[:, 2], 0.85 * hip_height(between, self.height))  # feet do not sink
        self.add(between, places, np.where(u < 0.5, before, after))
        self.limbs, self.place = limbs, goal

    def hold(self, seconds: float, label: int) -> None:
        """Stay, and sway a little; hands go on doing something."""
        n = max(1, int(seconds * RATE))
        t = np.arange(n) / RATE
        drift = self.random.normal(0, 0.04, (12, 3)) * np.sin(t[:, None, None] * self.random.uniform(0.5, 4, (12, 1)))
        hands = self.random.normal(0, 0.3, (4, 3)) * np.sin(t[:, None, None] * self.random.uniform(1, 6, (4, 1)))
        if self.random.random() < 0.5:
            drift[:, [*ARMS_L, *ARMS_R]] += hands
        limbs = unit(self.limbs + drift)
        self.add(limbs, np.repeat(self.place[None], n, axis=0), np.full(n, label))

    def walk(self, seconds: float, speed: float) -> None:
        """Steps, with arms that swing against the legs, along an arc."""
        n = max(2, int(seconds * RATE))
        phase = np.arange(n) / RATE * np.pi * (1.0 + speed * 0.8) + self.random.uniform(0, 6)
        swing = np.sin(phase) * (0.15 + 0.35 * min(speed, 1.2))
        lift = np.maximum(np.cos(phase), 0.0)
        limbs = np.repeat(self.limbs[None], n, axis=0)
        other = np.maximum(-np.cos(phase), 0.0)
        for thigh, shin, arm, way, up in ((THIGH_L, SHIN_L, ARM_L, 1, lift), (THIGH_R, SHIN_R, ARM_R, -1, other)):
            limbs[:, thigh, 0] += way * swing + 0.25 * up
            limbs[:, shin, 0] += way * swing - 0.6 * up
            limbs[:, arm, 0] -= 0.6 * way * swing
        limbs = unit(limbs)
        turn = np.linspace(0, self.random.normal(0, 0.5) * seconds, n)
        heading = self.heading + turn
        steps = speed / RATE * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        places = np.repeat(self.place[None], n, axis=0)
        places[:, :2] += np.cumsum(steps, axis=0)
        places[:, 2] = hip_height(limbs, self.height)
        self.add(limbs, places, np.full(n, WALKING), heading)
        self.place, self.heading = places[-1].copy(), float(heading[-1])
        self.limbs = limbs[-1]

    def add(self, limbs: Array, places: Array, labels: Array, heading: Array | None = None) -> None:
        yaw = np.full(len(limbs), self.heading) if heading is None else heading
        self.parts.append((turned(limbs, yaw), places, labels))

    def moments(self) -> int:
        return sum(len(labels) for _, _, labels in self.parts)

    def play(self) -> Play:
        limbs, hips, labels = (np.concatenate(each) for each in zip(*self.parts))
        return Play(limbs, hips, labels, self.onset, self.height)
