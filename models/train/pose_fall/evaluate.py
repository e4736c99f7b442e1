"""Figures of pose-fall on clips it never saw: falls in time, false alarms, postures. From the video, through MoveNet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from agent import package
from agent.data import Array
from models.train.card import confusion, wilson
from models.train.pose_fall.story import LABELS
from models.train.pose_fall.clips import HITS, OF, SCORE, Clip, Played, clips, movenet, play

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
        "clips": {clip.path.stem: verdict(clip, one) for clip, one in played},
    }


def verdict(clip: Clip, played: Played) -> dict[str, Any]:
    """alarm_s: after the annotated start of the fall; None for none. false: alarms at any other time."""
    told: dict[str, Any] = {"pictures": len(played.times), "false_alarms": len(false_alarms(clip, played))}
    if not np.isnan(clip.fall_s):
        late = lateness(clip, played)
        alarm = None if np.isnan(late) else round(late, 2)
        told = {"fall_s": clip.fall_s, "alarm_s": alarm, "in_time": late <= IN_TIME_S, **told}
    return told


def lateness(clip: Clip, played: Played) -> float:
    """Seconds from the start of the fall to the alarm; NaN for none."""
    after = [alarm - clip.fall_s for alarm in played.alarms_s if alarm >= clip.fall_s - SLACK_S]
    return min(after, default=np.nan)


def false_alarms(clip: Clip, played: Played) -> list[float]:
    return [alarm for alarm in played.alarms_s if not alarm >= clip.fall_s - SLACK_S]


def summary(played: Iterable[tuple[Clip, Played]]) -> dict[str, Any]:
    both = list(played)
    falls = [(clip, one) for clip, one in both if not np.isnan(clip.fall_s)]
    daily = [(clip, one) for clip, one in both if np.isnan(clip.fall_s)]
    caught = sum(lateness(clip, one) <= IN_TIME_S for clip, one in falls)
    disturbed = sum(bool(false_alarms(clip, one)) for clip, one in daily)
    matrix = postures(both)
    return {
        "falls": len(falls),
        "falls_in_time": caught,
        "falls_in_time_interval": rounded(wilson(caught, len(falls))),
        "daily_clips": len(daily),
        "daily_clips_with_false_alarm": disturbed,
        "daily_false_alarm_interval": rounded(wilson(disturbed, len(daily))),
        "alarms_before_a_fall": sum(len(false_alarms(clip, one)) for clip, one in falls),
        "posture_accuracy": round(float(np.trace(matrix) / max(matrix.sum(), 1)), 4),
        "posture_labels": list(LABELS),
        "posture_confusion": matrix.tolist(),
    }


def postures(played: Iterable[tuple[Clip, Played]]) -> Array:
    """Confusion over the pictures whose label the annotation tells; row is the truth."""
    matrix = np.zeros((len(LABELS), len(LABELS)), int)
    for clip, one in played:
        truth = np.array([clip.label(time) for time in one.times])
        known = (truth >= 0) & (one.says >= 0)
        matrix += confusion(truth[known], one.says[known], len(LABELS))
    return matrix


def rounded(pair: tuple[float, float]) -> list[float]:
    return [round(value, 3) for value in pair]
