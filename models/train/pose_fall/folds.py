"""Cross-validation over whole subjects: the alarm's score is chosen on the clips of all others, then counted on theirs.

The network itself has seen no real subject; the score is all that real clips could choose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from agent.benches.falls import FALLING, HITS, IN_TIME_S, LABELS, OF, SCORE, Clip, PlayedClip, false_alarms, lateness
from agent.data import Array
from agent.packages.package import Package
from agent.vision.poses import SecondModel

SCORES = tuple(round(0.3 + 0.05 * step, 2) for step in range(13))  # 0.3 to 0.9
Played = tuple[Clip, PlayedClip]


class Folds(NamedTuple):
    """scores: the one chosen for each subject without their clips. played: every clip with the alarms that it gives."""

    scores: dict[str, float]
    played: list[Played]


def subject(clip: Clip) -> str:
    return clip.path.stem.split("-")[0]


def cross_validated(played: Sequence[Played], posture: Package) -> Folds:
    """Needs clips of two subjects or more."""
    falling = {clip.path: _falling(run, posture) for clip, run in played}

    def at(score: float, pairs: Iterable[Played]) -> list[Played]:
        return [(clip, run._replace(alarms_s=alarms(run.times, falling[clip.path], score))) for clip, run in pairs]

    scores: dict[str, float] = {}
    left_out: list[Played] = []
    for name in sorted({subject(clip) for clip, _ in played}):
        others = [pair for pair in played if subject(pair[0]) != name]
        scores[name] = min(SCORES, key=lambda score: (wrong(at(score, others)), abs(score - SCORE)))
        left_out += at(scores[name], [pair for pair in played if subject(pair[0]) == name])
    return Folds(scores, left_out)


def wrong(played: Iterable[Played]) -> int:
    """Clips with a fall that is not called in time, or with a false alarm."""
    return sum(
        bool(false_alarms(clip, run)) or not (np.isnan(clip.fall_s) or lateness(clip, run) <= IN_TIME_S)
        for clip, run in played
    )


def alarms(times: Array, falling: Array, score: float) -> list[float]:
    """When HITS of the last OF pictures begin to reach the score, s."""
    met = np.convolve(falling >= score, np.ones(OF))[: len(falling)] >= HITS
    begins = met & ~np.concatenate([[False], met[:-1]])
    return [float(time) for time in times[begins]]


def _falling(run: PlayedClip, posture: Package) -> Array:
    """The score of `falling` at each picture, 0 where there is none yet."""
    second, name = SecondModel(posture), LABELS[FALLING]
    scores = []
    for time, keypoints in zip(run.times, run.points):
        findings = second(int(time * 1e9) + 1, keypoints, run.aspect)
        scores.append(max((finding.score for finding in findings if finding.label == name), default=0.0))
    return np.array(scores)
