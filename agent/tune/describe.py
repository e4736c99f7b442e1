"""The report as JSON for programs."""

from __future__ import annotations

from typing import Any

from agent.tune.events import Kept
from agent.tune.propose import Outcome, Row
from agent.tune.run import Report
from agent.tune.trace import Latency
from agent.tune.write import Written

MET, PROPOSED, CANNOT, CONFLICT = "met", "proposed", "cannot be met", "loses events with the other proposals"


def described(report: Report, written: Written | None) -> dict[str, Any]:
    return {
        "config": str(report.path),
        "machine": report.machine,
        "priority": report.priority,
        "wall_s": round(report.wall_s, 1),
        "met": report.met,
        "lanes": {outcome.lane: _lane(outcome, report) for outcome in report.outcomes},
        "written": written and {"path": str(written.path), "backup": str(written.backup)},
    }


def verdict(outcome: Outcome) -> str:
    if outcome.met:
        return MET
    return PROPOSED if outcome.proposal else CONFLICT if outcome.conflict else CANNOT


def _lane(outcome: Outcome, report: Report) -> dict[str, Any]:
    footage, trace = report.footage[outcome.lane], report.traces[outcome.lane]
    result: dict[str, Any] = {
        "model": report.models[outcome.lane],
        "measured_on": {"kind": footage.kind, "name": footage.name, "samples": len(trace.steps)},
        "budget_ms": outcome.budget_ms,
        "verdict": verdict(outcome),
        **_figures(outcome.measured, outcome.events),
        "costly": outcome.measured.costly,
        "shares": {part: round(share, 3) for part, share in outcome.measured.shares.items()},
        "tried": [_row(row) for row in outcome.rows],
        "proposal": None,
        "missed_by_ms": None,
    }
    if proposal := outcome.proposal:
        before = _figures(proposal.before, proposal.events_before)
        result["proposal"] = {**_row(proposal.row), "before": before}
    elif outcome.conflict:
        result["conflict"] = outcome.nearest and _row(outcome.nearest)
    elif not outcome.met:
        reached = outcome.nearest.p99 if outcome.nearest else outcome.measured.p99
        result["missed_by_ms"] = round(reached - outcome.budget_ms, 3)
        result["nearest"] = outcome.nearest and _row(outcome.nearest)
    return result


def _row(row: Row) -> dict[str, Any]:
    changes = {".".join(place): value for place, value in row.candidate.changes.items()}
    return {"kind": row.candidate.kind, "changes": changes, **_figures(row.latency, row.kept), "reason": row.reason}


def _figures(speed: Latency | None, kept: Kept | None) -> dict[str, Any]:
    return {
        "p50_ms": round(speed.p50, 3) if speed else None,
        "p99_ms": round(speed.p99, 3) if speed else None,
        "events": kept.events if kept else None,
        "events_kept": kept.kept if kept else None,
        "events_new": kept.extra if kept else None,
        "lost_at_s": list(kept.lost_s) if kept else [],
        "new_at_s": list(kept.extra_s) if kept else [],
    }
