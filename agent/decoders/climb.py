"""Whether a person climbs, from a window of keypoints (agent/vision/poses.py) that backend `signal` passes through.

Climbing is: hips and the lower foot rise by a good part of the person, not all at once, and stay there; a wrist is
above the shoulders for much of the time; and the body is upright. The limits were chosen on simulated figures
(models/train/pose_climb). The score is that of the weakest of these signs, 0.5 at its limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
from pydantic import Field

from agent.data import Array
from agent.decoders import base
from agent.decoders.base import DecoderOptions, Finding

LABELS = ("climbing",)
KEYPOINTS = 17
SHOULDERS, WRISTS, HIPS, KNEES, ANKLES = slice(5, 7), slice(9, 11), slice(11, 13), slice(13, 15), slice(15, 17)
MIN_ROWS = 3  # in which a joint is detected: a median of fewer is no better than a single value
# A person who walks away from a camera above head height rises in the picture. With a pinhole camera at height c, a
# joint at height j of a person of height h rises by (c - j) / h of what the person shrinks; c = 2.6 m, h = 1.7 m,
# j = 0 and 0.9 m.
AWAY_FEET, AWAY_HIPS = 1.5, 1.0
TRUNKS = 3.3  # size of a person in trunks: ankles to nose 1.6 m, shoulders to hips 0.49 m


class Options(DecoderOptions):
    """The limit of each sign."""

    keypoint_score: float = Field(0.2, ge=0, le=1, description="keypoints below this are not detected")
    rise: float = Field(
        0.25, gt=0, le=2, description="hips and feet rise this far within the window, sizes of the person"
    )
    steady: float = Field(
        0.08, gt=0, lt=0.5, description="half-way through, the hips have risen by this share, and have as much to go"
    )
    hands: float = Field(0.4, gt=0, le=1, description="a wrist is above the shoulders in this share of the window")
    upright: float = Field(0.6, gt=0, le=1, description="shoulders are over the hips in this share of the window")
    min_score: float = Field(0.1, ge=0, le=1, description="below this nothing is reported")


class Decoder(base.Decoder):
    """Output [1, rows, 51]: x, y, score of 17 joints, positions in sizes of the person, y down, newest row last."""

    Options = Options
    NEEDS = "a window of keypoints [1, rows, 51] (backend signal)"

    def __init__(self, labels: Sequence[str], options: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(labels, options, shapes)
        base.require_window(shapes[0], 3 * MIN_ROWS, 3 * KEYPOINTS, "climb needs keypoints over time")

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        window = outputs[0][0].reshape(-1, KEYPOINTS, 3)
        if not np.isfinite(window).all():
            return []
        score = climbing(window, self.options)
        return [Finding(LABELS[0], score)] if score > 0 and score >= self.options.min_score else []


def climbing(window: Array, o: Options) -> float:
    """Score 0..1 of [n, 17, 3]."""
    x, y = window[..., 0], window[..., 1]
    detected = window[..., 2] >= o.keypoint_score
    detected[: _repeats(window)] = False
    shoulders, hips = _middle(y, detected, SHOULDERS), _middle(y, detected, HIPS)
    aside = _middle(x, detected, SHOULDERS) - _middle(x, detected, HIPS)
    hands = _share(_highest(y, detected, WRISTS), shoulders)
    upright = _share(shoulders, hips - np.abs(aside))
    away = TRUNKS * max(0.0, -_gain(np.hypot(aside, hips - shoulders)))
    risen_hips, risen_feet = -_gain(hips) - AWAY_HIPS * away, _feet_rise(y, detected) - AWAY_FEET * away
    signs = risen_hips / o.rise, risen_feet / o.rise, hands / o.hands, upright / o.upright, _steadiness(hips) / o.steady
    weakest = min(signs) if all(map(isfinite, signs)) else 0.0
    return float(min(max(0.5 * weakest, 0.0), 1.0))


def _feet_rise(y: Array, detected: Array) -> float:
    """Of the lower foot, or the lower knee where feet are hidden; NaN where neither is detected."""
    rises = (-_gain(_highest(-y, detected, joints) * -1.0) for joints in (ANKLES, KNEES))
    return next((rise for rise in rises if np.isfinite(rise)), np.nan)


def _repeats(window: Array) -> int:
    """Number of rows before the oldest sample, which only repeat it (agent/vision/poses.py)."""
    moved = (window[1:] != window[0]).any(axis=(1, 2))
    return int(moved.argmax()) if moved.any() else len(window)


def _middle(values: Array, detected: Array, joints: slice) -> Array:
    """[n]: mean of the joints that are detected; NaN where none is."""
    mask = detected[:, joints]
    count = mask.sum(axis=1)
    total = np.where(mask, values[:, joints], 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _highest(y: Array, detected: Array, joints: slice) -> Array:
    """[n]: least y of the joints that are detected; NaN where none is."""
    mask = detected[:, joints]
    return np.where(mask.any(axis=1), np.where(mask, y[:, joints], np.inf).min(axis=1), np.nan)


def _share(upper: Array, lower: Array) -> float:
    """Share of the rows with both in which `upper` is above `lower`; 0 where there are too few."""
    both = np.isfinite(upper) & np.isfinite(lower)
    return float((upper < lower)[both].mean()) if both.sum() >= MIN_ROWS else 0.0


def _gain(line: Array) -> float:
    """From the median of the first third to that of the last, which a jump does not move; NaN with too few rows."""
    first, _, last = _thirds(line)
    return last - first


def _steadiness(line: Array) -> float:
    """Share of the way that is done, or still to go, half-way through; 0 for a network that leaps between objects."""
    first, middle, last = _thirds(line)
    done = (middle - first) / (last - first) if last != first else 0.0
    return float(min(done, 1.0 - done))


def _thirds(line: Array) -> list[float]:
    """Median of each third of the window; NaN with too few rows."""
    third = len(line) // 3
    parts = [part[np.isfinite(part)] for part in (line[:third], line[third:-third], line[-third:])]
    return [float(np.median(part)) if len(part) >= MIN_ROWS else np.nan for part in parts]
