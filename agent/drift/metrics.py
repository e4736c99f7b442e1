"""What the drift monitor found, as Prometheus families."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from agent.drift.detector import DRIFTING
from agent.drift.golden import BAD, GOOD
from agent.drift.histogram import BINS

Family = GaugeMetricFamily | CounterMetricFamily
ALARM_HELP = "1 while the statistic is not as it was learnt."
LEVEL_HELP = "Page-Hinkley sum as a share of its threshold; a drift begins at 1."


def families(lanes: Mapping[str, Any]) -> Iterator[Family]:
    """lanes: as `published.read` returns them; none: no families."""
    if not lanes:
        return
    yield from _of_statistics(lanes)
    yield from _of_scores(lanes)
    learnt = GaugeMetricFamily("reflexd_drift_learnt", "Share of the values that say what is normal.", labels=["lane"])
    golden = GaugeMetricFamily("reflexd_golden_good", "0 where golden outputs of a model differ.", labels=["lane"])
    kept = GaugeMetricFamily("reflexd_drift_collected_bytes", "Cases kept to learn from.", labels=["lane"])
    for name, lane in lanes.items():
        learnt.add_metric([name], lane["learnt"])
        if lane["golden"]["state"] in (GOOD, BAD):
            golden.add_metric([name], float(lane["golden"]["state"] == GOOD))
        if lane["collected"]:
            kept.add_metric([name], lane["collected"]["size"])
    yield from (learnt, golden, kept)


def _of_statistics(lanes: Mapping[str, Any]) -> Iterator[Family]:
    labels = ["lane", "statistic"]
    alarm = GaugeMetricFamily("reflexd_drift_alarm", ALARM_HELP, labels=labels)
    level = GaugeMetricFamily("reflexd_drift_level", LEVEL_HELP, labels=labels)
    for name, lane in lanes.items():
        for statistic, each in lane["statistics"].items():
            alarm.add_metric([name, statistic], float(each["state"] == DRIFTING))
            level.add_metric([name, statistic], each["level"])
    yield from (alarm, level)


def _of_scores(lanes: Mapping[str, Any]) -> Iterator[Family]:
    shares = GaugeMetricFamily("reflexd_score_share", "Of the newest scores, those up to `le`.", labels=["lane", "le"])
    index = GaugeMetricFamily("reflexd_score_stability_index", "Of the scores, against those learnt.", labels=["lane"])
    for name, lane in lanes.items():
        below = 0.0
        for number, share in enumerate(lane["scores"]["shares"], 1):
            below += share
            shares.add_metric([name, f"{number / BINS:g}"], below)
        index.add_metric([name], lane["scores"]["index"])
    yield from (shares, index)
