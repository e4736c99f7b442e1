"""Figures of pose-climb: simulated climbs and other activities; real clips without a climb, through MoveNet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from agent.benches.falls import clips, play
from agent.data import Array, Evidence
from agent.decoders.climb import LABELS
from agent.packages import package
from agent.packages.package import Package
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from agent.vision.poses import SecondModel
from models.train.card import rate_bound, wilson
from models.train.pose_climb.activities import LIKE_A_CLIMB, NO_CLIMB, climb
from models.train.pose_climb.camera import render
from models.train.pose_fall.activities import random_motion
from models.train.pose_fall.camera import PoseRecording
from models.train.pose_fall.camera import render as render_room

RULE = {
    "any": [{"lane": "fence", "label": LABELS[0], "score": 0.5, "hits": 3, "of": 4}],
    "actuator": "guard",
    "verb": "call",
    "hold_ms": 1000,
}
# The limits were chosen on the first seeds; the figures are those of the second.
TUNE, TEST = range(5_000_000, 5_000_100), range(6_000_000, 6_000_200)


def evaluate(folder: Path, data: Path) -> dict[str, Any]:
    """Figures of the package. Raises DataError, PackageError."""
    clips_without = _real(package.open_package(folder), data)
    return {
        "rule": "climbing >= 0.5 in 3 of 4 pictures",
        "seen": "no real climb was available; all climbs are simulated; the limits were chosen on other seeds",
        "simulated": _simulated(package.open_package(folder), TEST),
        "real_clips_without_a_climb": clips_without,
    }


def _simulated(opened: Package, seeds: range) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "climbs": _climbs(opened, seeds, 0.0),
        "climbs_a_fifth_of_keypoints_missing": _climbs(opened, seeds, 0.2),
        "climbs_two_fifths_missing": _climbs(opened, seeds, 0.4),
    }
    for activity in NO_CLIMB + LIKE_A_CLIMB:
        recordings = (render(activity(seed), seed) for seed in seeds)
        figures[activity.__name__.lstrip("_")] = _disturbed(opened, recordings)
    figures["daily"] = _disturbed(opened, (render_room(random_motion(seed, falls=False), seed) for seed in seeds))
    figures["falls"] = _disturbed(opened, (render_room(random_motion(seed, falls=True), seed) for seed in seeds))
    return figures


def _climbs(opened: Package, seeds: range, missing: float) -> dict[str, Any]:
    """Number of climbs with a call from the rise of the hips on, by height of the wall, and the delay of the call."""
    low: list[float] = []
    high: list[float] = []
    early = 0
    for seed in seeds:
        scenario = climb(seed)
        recording = render(scenario, seed, missing)
        alarms = calls(opened, recording.times, recording.points, recording.aspect)
        delay = min((alarm - recording.onset for alarm in alarms if alarm >= recording.onset), default=np.inf)
        early += any(alarm < recording.onset for alarm in alarms)
        (low if scenario.wall < 2.25 else high).append(delay)
    delays = [delay for delay in low + high if np.isfinite(delay)]
    return {
        **_counted("called", len(delays), len(low + high)),
        "called_before": early,
        "walls_below_2_25_m": f"{np.isfinite(low).sum()} of {len(low)}",
        "higher": f"{np.isfinite(high).sum()} of {len(high)}",
        "after_s_median": _rounded(np.median(delays)),
        "after_s_90_percent": _rounded(np.quantile(delays, 0.9)),
    }


def _disturbed(opened: Package, recordings: Iterable[PoseRecording]) -> dict[str, Any]:
    """Number of recordings without a climb that have a call."""
    hits, count, seconds = 0, 0, 0.0
    for recording in recordings:
        hits += bool(calls(opened, recording.times, recording.points, recording.aspect))
        count, seconds = count + 1, seconds + float(recording.times[-1])
    return {**_counted("called", hits, count), "minutes": _rounded(seconds / 60)}


def _real(opened: Package, data: Path) -> dict[str, Any]:
    """Every clip through MoveNet on the whole picture and the window of a lane."""
    pose, posture = (package.open_package(package.find(name)) for name in ("movenet", "pose-fall"))
    figures, seconds, total = {}, 0.0, 0
    for clip in clips(data):
        played = play(clip.path, pose, posture)
        alarms = calls(opened, played.times, played.points, played.aspect)
        scores = _highest(opened, played.times, played.points, played.aspect)
        figures[clip.path.stem] = {
            "pictures": len(played.times),
            "false_alarms": len(alarms),
            "highest_score": _rounded(scores),
        }
        seconds, total = seconds + float(played.times[-1]), total + len(alarms)
    return {
        "false_alarms": total,
        "seconds": _rounded(seconds),
        "at_most_an_hour_95": _rounded(rate_bound(total, seconds / 3600)),
        "clips": figures,
    }


def _scores(opened: Package, times: Array, points: Array, aspect: float) -> list[tuple[int, float]]:
    """(ns, score) of each picture, with the window of a lane."""
    second = SecondModel(opened)
    stamps = [int(time * 1e9) + 1 for time in times]
    findings = [second(stamp, keypoints, aspect) for stamp, keypoints in zip(stamps, points)]
    return [(stamp, pose[0].score if pose else 0.0) for stamp, pose in zip(stamps, findings)]


def calls(opened: Package, times: Array, points: Array, aspect: float) -> list[float]:
    """Times in s at which the rule begins to call."""
    scene = Scene(Rules({"climb": RuleConfig.model_validate(RULE)}, {"guard": "quiet"}))
    times_s = []
    for now, score in _scores(opened, times, points, aspect):
        evidence = [Evidence("fence", LABELS[0], score, now)] if score else []
        times_s += [now / 1e9 for decision in scene.decide("fence", now, evidence) if decision.verb == "call"]
    return times_s


def _highest(opened: Package, times: Array, points: Array, aspect: float) -> float:
    return max(score for _, score in _scores(opened, times, points, aspect))


def _counted(name: str, hits: int, of: int) -> dict[str, Any]:
    return {name: hits, "of": of, f"{name}_95": [_rounded(value) for value in wilson(hits, of)]}


def _rounded(value: Any) -> float:
    return round(float(value), 3)
