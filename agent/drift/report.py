"""What is known of a lane's drift, for other processes and for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.drift import advice
from agent.drift.detector import DRIFTING, LEARNING, NORMAL, Detector
from agent.drift.histogram import stability_index
from agent.drift.lane import LaneDrift
from agent.drift.scores import Scores

WAITING = "waiting"  # nothing came yet


def of_lane(lane: str, drift: LaneDrift, since_s: Mapping[str, float]) -> dict[str, Any]:
    """since_s: how long each statistic that drifts has done so. Fit for JSON."""
    statistics = drift.statistics
    drifting = [name for name, each in statistics.items() if each.state == DRIFTING]
    learnt = drift.learnt
    state = DRIFTING if drifting else WAITING if not statistics else LEARNING if learnt < 1 else NORMAL
    return {
        "state": state,
        "learnt": round(learnt, 3),
        "drifts": [advice.figures(name, statistics[name]) for name in drifting],
        "causes": list(dict.fromkeys(advice.cause(name) for name in drifting)),
        "accept": advice.accept(lane) if drifting else "",
        "statistics": {name: _statistic(each, since_s.get(name, 0.0)) for name, each in statistics.items()},
        "scores": _scores(drift.scores),
        "bad": drift.bad,
    }


def _statistic(detector: Detector, since_s: float) -> dict[str, Any]:
    return {
        "state": detector.state,
        "value": round(detector.recent, 4),
        "mean": round(detector.reference.mean, 4),
        "deviation": round(detector.deviation, 4),
        "level": round(detector.level, 3),
        "since_s": round(since_s, 1),
    }


def _scores(scores: Scores) -> dict[str, Any]:
    now, learnt = scores.histogram.shares, scores.learnt.shares
    index = stability_index(now, learnt) if scores.score.state != LEARNING else 0.0
    return {"count": scores.count, "shares": [round(share, 4) for share in now], "index": round(index, 3)}
