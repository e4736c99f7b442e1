"""The status of a lane, from its ledger, the configuration and the daemon's reply."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agent import health, ledger
from agent.drift.published import GOLDEN_FIX
from agent.field.snapshot import View
from agent.ledger import LedgerSnapshot
from agent.ledger_text import counted

RATE_NS = 5_000_000_000
NEWEST_NS = 60_000_000_000
SPARK_S = 18  # what is left of 80 columns
Rows = npt.NDArray[Any]  # of ledger.ROW_TYPE


class LaneStatus(NamedTuple):
    """Rate: inferences a second. p50, p99: captured to decided, or to applied where a command left; newest minute.

    state: a key of health.EFFECTS, "stopped" when the daemon is, or "unknown" without a ledger. reason: why it does not
    run. ages: None = never, or of another boot. spark: p99 of each of the newest seconds, None without a sample. drift:
    learning, normal, drifting, waiting; "" where it is not watched; drifts: what does, each with what was learnt;
    drift_note: the likely cause and what to do, or how far it has learnt.
    """

    name: str
    state: str
    reason: str
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
    drift: str = ""
    drifts: list[str] = []
    drift_note: str = ""


def lane_statuses(view: View) -> list[LaneStatus]:
    """Those that run first, then those only configured, then those that only left a ledger."""
    names = dict.fromkeys([*(view.reply.get("lanes") or {}), *view.outline.lanes, *view.ledgers])
    return [lane_status(name, view) for name in names]


def lane_status(name: str, view: View) -> LaneStatus:
    reply: dict[str, Any] = (view.reply.get("lanes") or {}).get(name, {})
    section, snapshot = view.outline.lanes.get(name), view.ledgers.get(name)
    status = LaneStatus(
        name=name,
        state=str(reply.get("state") or ("unknown" if view.pid else "stopped")),
        reason="" if view.never_ran else "no ledger",
        model=_with_heads(str(reply.get("model") or (section.model if section else "")), reply.get("heads") or {}),
        driver=str(reply.get("driver") or (section.driver if section else "")),
        critical=bool(reply.get("critical", section.critical if section else True)),
        budget_ms=float(reply.get("budget_ms") or 0),
    )
    status = _with_drift(status, view.drift.get(name))
    return _with_ledger(status, snapshot, str(reply.get("reason") or ""), view) if snapshot else status


def _with_heads(model: str, heads: dict[str, Any]) -> str:
    """person-trunk + 1 of 2 heads: those in memory now."""
    if not heads:
        return model
    loaded = sum(bool(head.get("loaded")) for head in heads.values())
    return f"{model} + {loaded} of {counted(len(heads), 'head')}"


def _with_drift(status: LaneStatus, report: dict[str, Any] | None) -> LaneStatus:
    """A model with bad golden outputs drifts, too."""
    if not report:
        return status
    drifts = [*report["drifts"], *(f"golden outputs of {cause}" for cause in report["golden"]["causes"])]
    return status._replace(drift=str(report["state"]), drifts=drifts, drift_note=_drift_note(report))


def _drift_note(report: dict[str, Any]) -> str:
    learnt = f"{report['learnt']:.0%} of what it needs" if report["state"] == "learning" else ""
    golden = GOLDEN_FIX if report["golden"]["causes"] else ""
    causes = [cause[:1].upper() + cause[1:] for cause in report["causes"]]
    return " ".join(filter(None, [*causes, report["accept"], golden, report["trouble"], learnt]))


def _with_ledger(status: LaneStatus, snapshot: LedgerSnapshot, reason: str, view: View) -> LaneStatus:
    """reason: the daemon's, for a lane that does not run."""
    other_boot = snapshot.t_progress > view.now or newest(snapshot) > view.now
    now = newest(snapshot) if other_boot or not view.pid else view.now
    rows = snapshot.rows[snapshot.rows["read"] > now - NEWEST_NS]
    figures = ledger.quantiles(ledger.parts(rows)["total"])
    state = _state_of(snapshot, view)
    return status._replace(
        state=state,
        reason=_reason(state, reason, snapshot.t_progress, view),
        critical=snapshot.critical,
        budget_ms=snapshot.budget_ms,
        rate_hz=_rate(snapshot, now),
        p50_ms=figures.get("p50"),
        p99_ms=figures.get("p99"),
        counts={name: snapshot.counts[name] for name in ledger.TOTALS},
        drops={name: snapshot.counts[name] for name in ledger.DROPS if snapshot.counts[name]},
        label=snapshot.label,
        score=snapshot.score,
        evidence_age_s=None if other_boot else _age(snapshot.t_evidence, view.now),
        newest_age_s=None if other_boot else _age(newest(snapshot), view.now),
        other_boot=other_boot,
        spark=_spark(rows, now),
    )


def _state_of(snapshot: LedgerSnapshot, view: View) -> str:
    if not view.pid:
        return "failed" if snapshot.state == "failed" else "stopped"
    return health.event(snapshot, view.now) if view.of_daemon(snapshot) else "stopped"


def _reason(state: str, reason: str, t_progress: int, view: View) -> str:
    if state == "running":
        return ""
    if state == "stopped":
        return "left by an earlier run" if view.pid else ""
    return health.reason(state, t_progress, view.now) + (f": {reason}" if reason else "")


def newest(snapshot: LedgerSnapshot) -> int:
    """When the lane read its newest sample; 0 for never."""
    return int(snapshot.rows["read"].max()) if len(snapshot.rows) else 0


def _age(then: int, now: int) -> float | None:
    return (now - then) / 1e9 if 0 < then <= now else None


def _rate(snapshot: LedgerSnapshot, now: int) -> float:
    """Over five seconds, or since the first sample."""
    if not len(snapshot.rows):
        return 0.0
    since = max(now - RATE_NS, int(snapshot.rows["read"][0]) if snapshot.head <= ledger.ROWS else 0)
    count = int((snapshot.rows["read"] > since).sum())
    return count / max(0.5, (now - since) / 1e9)


def _spark(rows: Rows, now: int) -> list[float | None]:
    """p99 of each of the newest whole seconds, oldest first."""
    seconds_ago = (now - rows["read"]) // 1_000_000_000
    total = ledger.parts(rows)["total"]
    p99s: list[float | None] = []
    for second in range(SPARK_S - 1, -1, -1):
        values = total[seconds_ago == second]
        p99s.append(float(np.percentile(values, 99)) if len(values) else None)
    return p99s


def wall_clock(t: int, now: int) -> float:
    """The time of day, s, of a monotonic time stamp."""
    return time.time() - (now - t) / 1e9
