"""Figures of a lane's newest minute, and its slowest samples in words."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from agent import ledger
from agent.field import trace
from agent.field.trace import SlowSample
from agent.web.messages import wall_ms

MINUTES, WORST = 5.0, 5
NEWEST_NS = 60_000_000_000
WORDS = {
    "queueing": "the lane was busy with the sample before",
    "transport": "the device or the kernel delivered late",
    "preprocess": "filling the model's input took longest",
    "inference": "the model took longest",
    "decision": "rules, the way to the actuator and its driver took longest",
}


def figures(run_dir: Path, lane: str) -> dict[str, Any]:
    """parts: p50, p99, max of each, ms. worst: the slowest samples of the last minutes, worst first."""
    try:
        snapshot = ledger.read(run_dir / f"{lane}.ledger")
    except (OSError, ValueError):
        return {"parts": {}, "worst": []}
    now = time.monotonic_ns()
    rows = snapshot.rows[snapshot.rows["read"] > now - NEWEST_NS]
    slowest = trace.slowest(snapshot, trace.recent_rows(snapshot, MINUTES, now), WORST, now)
    return {
        "parts": {name: _quantiles(ledger.quantiles(values)) for name, values in ledger.parts(rows).items()}
        if len(rows)
        else {},
        "worst": [_explained(sample) for sample in slowest],
    }


def _quantiles(values: dict[str, float]) -> dict[str, float]:
    return {name: round(values[name], 3) for name in ("p50", "p99", "max")}


def _explained(sample: SlowSample) -> dict[str, Any]:
    longest = max(sample.parts, key=lambda name: sample.parts[name])
    share = sample.parts[longest] / sample.total_ms if sample.total_ms > 0 else 0.0
    return {
        **sample._asdict(),
        "t": wall_ms(sample.t),
        "text": f"{longest} {sample.parts[longest]:.2f} ms, {share:.0%} of it: {WORDS[longest]}",
    }
