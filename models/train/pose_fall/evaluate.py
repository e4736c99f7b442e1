"""Figures of pose-fall on unseen clips: falls in time, false alarms, postures; from the video, through MoveNet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from agent.benches.falls import (
    HITS,
    IN_TIME_S,
    LABELS,
    OF,
    SCORE,
    Clip,
    PlayedClip,
    clips,
    fall_scene,
    false_alarms,
    lateness,
    play,
)
from agent.benches.falls import summary as count
from agent.data import Array, Evidence
from agent.packages import package
from agent.packages.package import Package
from agent.vision.poses import SecondModel
from models.train.card import confusion, wilson
from models.train.pose_fall.body import SWAPPED
from models.train.pose_fall.folds import cross_validated, subject


def evaluate(folder: Path, data: Path) -> dict[str, Any]:
    """Figures by clip, subject and all together. Raises DataError, PackageError."""
    posture, pose = package.open_package(folder), package.open_package(package.find("movenet"))
    played = [(clip, play(clip.path, pose, posture)) for clip in clips(data)]
    by_subject = defaultdict(list)
    for clip, run in played:
        by_subject[subject(clip)].append((clip, run))
    folds = cross_validated(played, posture)
    return {
        "rule": f"falling >= {SCORE:g} in {HITS} of {OF} pictures",
        "seen": {"clips": 0, "note": "the network was trained on simulated figures only"},
        "unseen": _summary(played),
        "subjects": {name: _summary(runs) for name, runs in sorted(by_subject.items())},
        "cross_validation": {"scores": folds.scores, **_summary(folds.played)},
        "robustness": {
            name: _short(_summary([(clip, change(run, posture)) for clip, run in played]))
            for name, change in CHANGES.items()
        },
        "clips": {clip.path.stem: verdict(clip, run) for clip, run in played},
    }


def _mirrored(played: PlayedClip, posture: Package) -> PlayedClip:
    points = played.points[:, SWAPPED] * np.array([1, -1, 1]) + np.array([0, 1, 0])
    return _replayed(played, np.arange(len(played.times)), points, posture)


def _ten_a_second(played: PlayedClip, posture: Package) -> PlayedClip:
    """The picture nearest to each tenth of a second."""
    wanted = np.arange(0, played.times[-1], 0.1)
    rows = np.unique(np.abs(played.times[:, None] - wanted).argmin(axis=0))
    return _replayed(played, rows, played.points[rows], posture)


def _a_fifth_missing(played: PlayedClip, posture: Package) -> PlayedClip:
    """Each keypoint lost in a random fifth of the pictures."""
    points = played.points.copy()
    points[np.random.default_rng(0).random(points.shape[:2]) < 0.2, 2] = 0.01
    return _replayed(played, np.arange(len(points)), points, posture)


def _replayed(played: PlayedClip, rows: Array, points: Array, posture: Package) -> PlayedClip:
    """What second model and rule report for other points, at some of the frames' times."""
    second, scene, known = SecondModel(posture), fall_scene(), posture.decoder.labels
    alarms, labels = [], []
    for time, keypoints in zip(played.times[rows], points):
        now = int(time * 1e9) + 1
        findings = second(now, keypoints, played.aspect)
        evidence = [Evidence("room", finding.label, finding.score, now) for finding in findings]
        alarms += [float(time) for decision in scene.decide("room", now, evidence) if decision.verb == "call"]
        labels.append(known.index(findings[0].label) if findings else -1)
    return PlayedClip(played.times[rows], points, np.array(labels), alarms, played.aspect)


CHANGES = {"mirrored": _mirrored, "ten_a_second": _ten_a_second, "a_fifth_of_keypoints_missing": _a_fifth_missing}


def _short(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: figures[key] for key in ("falls_in_time", "daily_clips_with_false_alarm", "alarms_before_a_fall")}


def verdict(clip: Clip, played: PlayedClip) -> dict[str, Any]:
    """Figures of a clip. alarm_s: after the annotated start of the fall, or None; false_alarms: at any other time."""
    figures: dict[str, Any] = {"pictures": len(played.times), "false_alarms": len(false_alarms(clip, played))}
    if not np.isnan(clip.fall_s):
        late = lateness(clip, played)
        alarm = None if np.isnan(late) else round(late, 2)
        figures = {"fall_s": clip.fall_s, "alarm_s": alarm, "in_time": late <= IN_TIME_S, **figures}
    return figures


def _summary(played: Iterable[tuple[Clip, PlayedClip]]) -> dict[str, Any]:
    """Falls, false alarms and postures, with 95 % intervals."""
    pairs = list(played)
    counts = count(pairs)
    matrix = _postures(pairs)
    return {
        **counts,
        "falls_in_time_interval": _rounded(wilson(counts["falls_in_time"], counts["falls"])),
        "daily_false_alarm_interval": _rounded(wilson(counts["daily_clips_with_false_alarm"], counts["daily_clips"])),
        "posture_accuracy": round(float(np.trace(matrix) / max(matrix.sum(), 1)), 4),
        "posture_labels": list(LABELS),
        "posture_confusion": matrix.tolist(),
    }


def _postures(played: Iterable[tuple[Clip, PlayedClip]]) -> Array:
    """Confusion matrix of the pictures with an annotated label; rows are the truth."""
    matrix = np.zeros((len(LABELS), len(LABELS)), int)
    for clip, run in played:
        truth = np.array([clip.label(time) for time in run.times])
        known = (truth >= 0) & (run.labels >= 0)
        matrix += confusion(truth[known], run.labels[known], len(LABELS))
    return matrix


def _rounded(pair: tuple[float, float]) -> list[float]:
    return [round(value, 3) for value in pair]
