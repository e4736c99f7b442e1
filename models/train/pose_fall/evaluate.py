"""Figures of pose-fall on clips it never saw: falls in time, false alarms, postures. From the video, through MoveNet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from agent import package
from agent.data import Array
from agent.package import Package
from models.train.card import confusion, wilson
from models.train.pose_fall.body import SWAPPED
from models.train.pose_fall.clips import HITS, OF, SCORE, Clip, RecordedEngine, again, clips, movenet, play
from models.train.pose_fall.story import LABELS

IN_TIME_S = 2.0  # from the annotated start of the fall, which is rounded to a tenth
SLACK_S = 0.3  # an alarm so much before it is the fall's, too


def evaluate(folder: Path, data: Path) -> dict[str, Any]:
    """Figures by clip, subject and all together. Raises DataError, PackageError."""
    posture, pose = package.open_package(folder), movenet(data)
    played = [(clip, play(clip.path, pose, posture)) for clip in clips(data)]
    by_subject = defaultdict(list)
    for clip, one in played:
        by_subject[clip.path.stem.split("-")[0]].append((clip, one))
    return {
        "rule": f"falling >= {SCORE:g} in {HITS} of {OF} pictures",
        "seen": {"clips": 0, "note": "the network was trained on simulated figures only"},
        "unseen": summary(played),
        "subjects": {name: summary(some) for name, some in sorted(by_subject.items())},
        "robustness": {
            name: _short(summary([(clip, harder(one, posture)) for clip, one in played]))
            for name, harder in HARDER.items()
        },
        "clips": {clip.path.stem: verdict(clip, one) for clip, one in played},
    }


def _mirrored(played: RecordedEngine, posture: Package) -> RecordedEngine:
    points = played.points[:, SWAPPED] * np.array([1, -1, 1]) + np.array([0, 1, 0])
    return again(played, np.arange(len(played.times)), points, posture)


def _ten_a_second(played: RecordedEngine, posture: Package) -> RecordedEngine:
    """The picture nearest to each tenth of a second."""
    wanted = np.arange(0, played.times[-1], 0.1)
    rows = np.unique(np.abs(played.times[:, None] - wanted).argmin(axis=0))
    return again(played, rows, played.points[rows], posture)


def _a_fifth_missing(played: RecordedEngine, posture: Package) -> RecordedEngine:
    """Keypoints lost at random, each for a fifth of the pictures."""
    points = played.points.copy()
    points[np.random.default_rng(0).random(points.shape[:2]) < 0.2, 2] = 0.01
    return again(played, np.arange(len(points)), points, posture)


HARDER = {"mirrored": _mirrored, "ten_a_second": _ten_a_second, "a_fifth_of_keypoints_missing": _a_fifth_missing}


def _short(told: dict[str, Any]) -> dict[str, Any]:
    return {key: told[key] for key in ("falls_in_time", "daily_clips_with_false_alarm", "alarms_before_a_fall")}


def verdict(clip: Clip, played: RecordedEngine) -> dict[str, Any]:
    """alarm_s: after the annotated start of the fall; None for none. false: alarms at any other time."""
    told: dict[str, Any] = {"pictures": len(played.times), "false_alarms": len(false_alarms(clip, played))}
    if not np.isnan(clip.fall_s):
        late = lateness(clip, played)
        alarm = None if np.isnan(late) else round(late, 2)
        told = {"fall_s": clip.fall_s, "alarm_s": alarm, "in_time": late <= IN_TIME_S, **told}
    return told


def lateness(clip: Clip, played: RecordedEngine) -> float:
    """Seconds from the start of the fall to the alarm; NaN for none."""
    after = [alarm - clip.fall_s for alarm in played.alarms_s if alarm >= clip.fall_s - SLACK_S]
    return min(after, default=np.nan)


def false_alarms(clip: Clip, played: RecordedEngine) -> list[float]:
    return [alarm for alarm in played.alarms_s if not alarm >= clip.fall_s - SLACK_S]


def summary(played: Iterable[tuple[Clip, RecordedEngine]]) -> dict[str, Any]:
    both = list(played)
    falls = [(clip, one) for clip, one in both if not np.isnan(clip.fall_s)]
    daily = [(clip, one) for clip, one in both if np.isnan(clip.fall_s)]
    caught = sum(lateness(clip, one) <= IN_TIME_S for clip, one in falls)
    disturbed = sum(bool(false_alarms(clip, one)) for clip, one in daily)
    matrix = _postures(both)
    return {
        "falls": len(falls),
        "falls_in_time": caught,
        "falls_in_time_interval": _rounded(wilson(caught, len(falls))),
        "daily_clips": len(daily),
        "daily_clips_with_false_alarm": disturbed,
        "daily_false_alarm_interval": _rounded(wilson(disturbed, len(daily))),
        "alarms_before_a_fall": sum(len(false_alarms(clip, one)) for clip, one in falls),
        "posture_accuracy": round(float(np.trace(matrix) / max(matrix.sum(), 1)), 4),
        "posture_labels": list(LABELS),
        "posture_confusion": matrix.tolist(),
    }


def _postures(played: Iterable[tuple[Clip, RecordedEngine]]) -> Array:
    """Confusion over the pictures whose label the annotation tells; row is the truth."""
    matrix = np.zeros((len(LABELS), len(LABELS)), int)
    for clip, one in played:
        truth = np.array([clip.label(time) for time in one.times])
        known = (truth >= 0) & (one.says >= 0)
        matrix += confusion(truth[known], one.says[known], len(LABELS))
    return matrix


def _rounded(pair: tuple[float, float]) -> list[float]:
    return [round(value, 3) for value in pair]
