"""Drift on recordings: false reports of a day, and how many values pass until each change is reported, and its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.benches.drift.changes import Case, cases
from agent.benches.drift.loops import Loop, Second, feed, generated, recorded
from agent.benches.recordings import SHARED
from agent.drift.detector import DRIFTING, NORMAL, Limits
from agent.drift.lane import LaneDrift

DAY_S, SHORT_S = 86_400, 3_600
LIMITS = Limits()
SETTLED_S = 1_200  # the scene and its comparison are learnt, one after the other
WITHIN = (
    180  # values until a change is reported: THRESHOLD / (0.8 - ALLOWANCE) of one by 0.8 deviations, and a few more
)
MOST_S = 7_200  # until a change is reported, and until its end


def measure(data: Path | None = None, short: bool = False) -> dict[str, Any]:
    """data: recordings laid out like ../shared/data; None: that, where it is there."""
    loops = generated() if short else generated() + recorded(data or SHARED)
    seconds = SHORT_S if short else DAY_S
    days = {loop.name: day(loop, seconds) for loop in loops}
    rows = [run_case(loop, case) for loop in loops for case in cases(loop)]
    return {
        "short": short,
        "simulated_s": seconds,
        "learn": LIMITS.learn,
        "recover": LIMITS.recover,
        "false_alarms": sum(each["false_alarms"] for each in days.values()),
        "within": WITHIN,
        "slowest": max((row["delay"] for row in rows if row["delay"] is not None), default=None),
        "not_reported": sum(row["delay"] is None or row["delay"] > WITHIN for row in rows),
        "not_ended": sum(row["ends_after_s"] is None for row in rows),
        "days": days,
        "cases": rows,
    }


def failed(result: dict[str, Any]) -> bool:
    return bool(result["false_alarms"] or result["not_reported"] or result["not_ended"])


def day(loop: Loop, seconds: int) -> dict[str, Any]:
    """Of an unchanged recording, on a simulated clock. highest_level: share of a threshold that a sum reached."""
    drift, began = LaneDrift(LIMITS), time.perf_counter()
    alarms, highest = [], 0.0
    for number in range(seconds):
        changes = feed(drift, loop, number, loop.second(number))
        alarms += [f"{change.statistic} at {number} s" for change in changes if change.state == DRIFTING]
        for each in drift.statistics.values():
            if each.state == NORMAL and each.sums.largest > highest * each.threshold:
                highest = each.level
    return {
        "false_alarms": len(alarms),
        "first": alarms[:4],
        "highest_level": round(highest, 3),
        "statistics": len(drift.statistics),
        "scores": drift.scores.count,
        "took_s": round(time.perf_counter() - began, 1),
    }


def run_case(loop: Loop, case: Case) -> dict[str, Any]:
    """delay: values until the first report of the change. ends_after_s: of normal ones, until no report is left."""
    drift = LaneDrift(LIMITS)
    start = 0
    while start <= SETTLED_S or (drift.learnt < 1 and start < DAY_S):
        start = _play(drift, loop, start, lambda second: second, lambda _: True)
    false, scores = bool(drift.drifting), drift.scores.count
    end = _play(drift, loop, start, case.apply, lambda _: bool(drift.drifting))
    delay = drift.scores.count - scores if case.of_scores else end - start
    reported = drift.drifting
    more = _play(drift, loop, end, case.apply, lambda number: number > end + LIMITS.recover)  # what else drifts
    normal = _play(drift, loop, more, lambda second: second, lambda _: not drift.drifting)
    return {
        "recording": loop.name,
        "case": case.name,
        "delay": delay if reported and not false else None,
        "delay_s": end - start,
        "statistics": reported,
        "ends_after_s": normal - more if not drift.drifting else None,
    }


def _play(
    drift: LaneDrift, loop: Loop, first: int, apply: Callable[[Second], Second], done: Callable[[int], bool]
) -> int:
    """Second after second, until done; the number of the next one."""
    for number in range(first, first + MOST_S):
        feed(drift, loop, number, apply(loop.second(number)))
        if done(number):
            return number + 1
    return first + MOST_S


def text(result: dict[str, Any]) -> str:
    hours = result["simulated_s"] / 3600
    lines = [
        f"{name}: {each['false_alarms']} false alarms in {hours:g} h, {each['statistics']} statistics,"
        f" {each['scores']} scores,"
        f" at most {each['highest_level']:.0%} of a threshold; {each['took_s']} s {'; '.join(each['first'])}"
        for name, each in result["days"].items()
    ]
    lines += [
        f"{row['recording']}, {row['case']}: reported after {_or_never(row['delay'])} values ({row['delay_s']} s):"
        f" {', '.join(row['statistics'][:3])}; ended after {_or_never(row['ends_after_s'])} s"
        for row in result["cases"]
    ]
    last = f"{result['false_alarms']} false alarms; not reported within {WITHIN} values: {result['not_reported']};"
    return "\n".join([*lines, f"{last} not ended: {result['not_ended']}"])


def _or_never(values: int | None) -> str:
    return "never" if values is None else str(values)
