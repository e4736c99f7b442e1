"""What may happen to a lane: each as a function of what it delivers in a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from agent.benches.drift.loops import Camera, Finding, Loop, Second, Sensor, Sound
from agent.data import Array

Apply = Callable[[Second], Second]


class Case(NamedTuple):
    """of_scores: what is counted are the values of the model, not seconds."""

    name: str
    apply: Apply
    of_scores: bool = False


def cases(loop: Loop) -> list[Case]:
    """Those that can happen to this lane."""
    known: list[Case] = []
    if isinstance(loop, Camera):
        known = [
            Case("darkened to 60 %", _of_picture(_darkened)),
            Case("blurred", _of_picture(_blurred)),
            Case("shifted by 8 %", _of_picture(_shifted)),
        ]
    elif isinstance(loop, Sensor):
        known = [Case("all channels x 1.5", _of_window(_scaled)), Case("one channel x 2", _of_window(_one_scaled))]
    elif isinstance(loop, Sound):
        known = [Case("gain -12 dB", _of_levels(_quiet)), Case("covered", _of_levels(_covered))]
    if any(loop.second(number).findings for number in range(60)):
        known.append(Case("swapped class", _swapped, of_scores=True))
    return known


def _of_picture(change: Callable[[Array], Array]) -> Apply:
    def apply(second: Second) -> Second:
        assert second.picture is not None
        return second._replace(picture=change(second.picture))

    return apply


def _of_window(change: Callable[[Array], Array]) -> Apply:
    def apply(second: Second) -> Second:
        assert second.window is not None
        return second._replace(window=change(second.window))

    return apply


def _of_levels(change: Callable[[Array], Array]) -> Apply:
    def apply(second: Second) -> Second:
        assert second.levels is not None
        return second._replace(levels=change(second.levels))

    return apply


def _darkened(picture: Array) -> Array:
    """A lamp of several is out."""
    return cv2.convertScaleAbs(picture, alpha=0.6)


def _blurred(picture: Array) -> Array:
    """A lens that is slightly out of focus, or greasy: 1 pixel of 160 columns."""
    return cv2.GaussianBlur(picture, (0, 0), 1.0)


def _shifted(picture: Array) -> Array:
    """The camera was pushed: 8 % of its view are new on the right."""
    columns = round(0.08 * picture.shape[1])
    return cv2.copyMakeBorder(picture[:, columns:], 0, 0, 0, columns, cv2.BORDER_REFLECT)


def _scaled(window: Array) -> Array:
    """Another range or unit."""
    return np.asarray(window * np.float32(1.5))


def _one_scaled(window: Array) -> Array:
    """One channel was exchanged."""
    changed = window.copy()
    changed[:, 0] *= 2
    return np.asarray(changed)


def _quiet(levels: Array) -> Array:
    return np.asarray(levels * np.array([0.25, 0.25, 1.0], np.float32))


def _covered(levels: Array) -> Array:
    """By cloth: half of the level, and the high frequencies."""
    return np.asarray(levels * np.array([0.5, 0.5, 0.6], np.float32))


def _swapped(second: Second) -> Second:
    """The model, or the world, is another: the same scores under another label."""
    renamed: Sequence[Finding] = [("swapped", *each[1:]) for each in second.findings]
    return second._replace(findings=renamed)
