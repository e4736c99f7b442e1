"""What a lane's state means for the box: one table for the watchdog, /healthz and `reflexd status`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from agent.ledger import LedgerSnapshot

GOOD, DEGRADED, SAFE = "good", "degraded", "safe"
SEVERITY = (GOOD, DEGRADED, SAFE)
STALLED_NS = 5_000_000_000  # a lane's loop makes progress every few ms, and every 20 ms while its device is away

# State: the effect of a lane that is not critical, the effect of a critical one, and the state as text.
EFFECTS = {
    "running": (GOOD, GOOD, "reads its source"),
    "opening": (DEGRADED, SAFE, "opens its source"),
    "closed": (DEGRADED, SAFE, "has not started yet"),
    "gone": (DEGRADED, SAFE, "waits for its source or model to recover"),
    "ended": (DEGRADED, SAFE, "has come to the end of its recording"),
    "failed": (DEGRADED, SAFE, "has stopped with a bug: see the log"),
    "stalled": (DEGRADED, SAFE, "stalled: driver call does not return"),
    "dead": (SAFE, SAFE, "has no process any more"),
}


class Health(NamedTuple):
    """health: the worst effect of any lane. reasons: a line for each lane that is not good."""

    health: str
    reasons: list[str]


def event(snapshot: LedgerSnapshot, now: int) -> str:
    """A key of EFFECTS. now: CLOCK_MONOTONIC, ns."""
    if not os.path.exists(f"/proc/{snapshot.pid}"):
        return "dead"
    if snapshot.state in ("running", "opening", "gone") and now - snapshot.t_progress > STALLED_NS:
        return "stalled"
    return snapshot.state


def judge(snapshots: Iterable[LedgerSnapshot], now: int | None = None) -> Health:
    """The health of a box with these lanes. A box without a lane is safe, with that as the reason."""
    now = time.monotonic_ns() if now is None else now
    events = [(snapshot, event(snapshot, now)) for snapshot in snapshots]
    if not events:
        return Health(SAFE, ["no lane has a ledger here: is the daemon running?"])
    effects = [EFFECTS[name][1 if snapshot.critical else 0] for snapshot, name in events]
    reasons = [
        f"lane {snapshot.lane} {EFFECTS[name][2]}"
        for (snapshot, name), effect in zip(events, effects)
        if effect != GOOD
    ]
    return Health(max(effects, key=SEVERITY.index), reasons)
