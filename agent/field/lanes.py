"""A lane as its ledger, the configuration and the daemon tell of it."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agent import health, ledger
from agent.config.models import LaneConfig
from agent.field.snapshot import View
from agent.ledger import LedgerSnapshot

RATE_NS = 5_000_000_000
NEWEST_NS = 60_000_000_000
SPARK_S = 18  # what is left of 80 columns
Rows = npt.NDArray[Any]  # of ledger.ROW_TYPE


class LaneNow(NamedTuple):
    """rate: inferences a second. p50, p99: captured to decided, or to applied where a command left, of the newest minute.

    state: a key of health.EFFECTS, "stopped" when the daemon is, or "unknown" without a ledger. ages: None = never, or of
    another boot. spark: p99 of each of the newest seconds, None where there was no sample.
    """

    name: str
    state: str
    why: str
    model: str
    driver: str
    critical: bool
    budget_ms: float
    rate_hz: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    counts: dict[str, int] = {}
    drops: dict[str, int] = {}
    label: str = ""
    score: float = 0.0
    evidence_age_s: float | None = None
    newest_age_s: float | None = None
    other_boot: bool = False
    spark: list[float | None] = []


def lanes(view: View) -> list[LaneNow]:
    """Those that run first, then those only configured, then those that only left a ledger."""
    told: dict[str, dict[str, Any]] = view.said.get("lanes") or {}
    names = dict.fromkeys([*told, *view.config.lanes, *view.snapshots])
    return [
        lane(name, view.snapshots.get(name), view.config.lanes.get(name), told.get(name, {}), view) for name in names
    ]


def lane(
    name: str, told: LedgerSnapshot | None, section: LaneConfig | None, said: dict[str, Any], view: View
) -> LaneNow:
    model = str(said.get("model") or (section.model if section else ""))
    driver = str(said.get("driver") or (section.source.driver if section else ""))
    if told is None:
        state = str(said.get("state") or ("unknown" if view.pid else "stopped"))
        critical = bool(said.get("critical", section.critical if section else True))
        return LaneNow(name, state, "no ledger", model, driver, critical, float(said.get("budget_ms") or 0))
    other = told.t_progress > view.now or newest(told) > view.now
    now = newest(told) if other or not view.pid else view.now
    rows = told.rows[told.rows["read"] > now - NEWEST_NS]
    figures = ledger.quantiles(ledger.parts(rows)["total"])
    state = _state_of(told, view)
    return LaneNow(
        name,
        state,
        why(state, said, view),
        model,
        driver,
        told.critical,
        told.budget_ms,
        _rate(told, now),
        figures.get("p50"),
        figures.get("p99"),
        {key: told.counts[key] for key in ledger.COUNTERS[:5]},
        {key: told.counts[key] for key in ledger.DROPS if told.counts[key]},
        told.label,
        told.score,
        None if other else _age(told.t_evidence, view.now),
        None if other else _age(newest(told), view.now),
        other,
        spark(rows, now),
    )


def _state_of(told: LedgerSnapshot, view: View) -> str:
    if not view.pid:
        return "failed" if told.state == "failed" else "stopped"
    return "stopped" if told.pid != view.pid else health.event(told, view.now)


def why(state: str, said: dict[str, Any], view: View) -> str:
    if state == "running":
        return ""
    if state == "stopped":
        return "left by an earlier run" if view.pid else ""
    reason = str(said.get("why") or "")
    return health.EFFECTS[state][2] + (f": {reason}" if reason else "")


def newest(told: LedgerSnapshot) -> int:
    """When the newest sample came into the lane's hands; 0 for never."""
    return int(told.rows["read"].max()) if len(told.rows) else 0


def _age(then: int, now: int) -> float | None:
    return (now - then) / 1e9 if 0 < then <= now else None


def _rate(told: LedgerSnapshot, now: int) -> float:
    """Over five seconds, or since the first sample."""
    if not len(told.rows):
        return 0.0
    since = max(now - RATE_NS, int(told.rows["read"][0]) if told.head <= ledger.ROWS else 0)
    count = int((told.rows["read"] > since).sum())
    return count / max(0.5, (now - since) / 1e9)


def spark(rows: Rows, now: int) -> list[float | None]:
    """p99 of each of the newest whole seconds, oldest first."""
    back = (now - rows["read"]) // 1_000_000_000
    total = ledger.parts(rows)["total"]
    found: list[float | None] = []
    for second in range(SPARK_S - 1, -1, -1):
        here = total[back == second]
        found.append(float(np.percentile(here, 99)) if len(here) else None)
    return found


def wall_clock(t: int, now: int) -> float:
    """The time of day, s, of a monotonic time stamp."""
    return time.time() - (now - t) / 1e9
