"""What a lane's state means for the box: one table for the watchdog, /healthz and `reflexd status`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agent.ledger import LedgerSnapshot

GOOD, DEGRADED, SAFE = "good", "degraded", "safe"
SEVERITY = (GOOD, DEGRADED, SAFE)
# A lane's loop makes progress every few ms, and every 20 ms while its device is away. To open and close a device may
# take longer: the deadline of that (`Stream.open_limit_s`) is in the ledger.
STALLED_NS = 5_000_000_000

# State: the effect of a lane that is not critical, the effect of a critical one, and the state as text; seconds since
# the lane last made progress.
EFFECTS = {
    "running": (GOOD, GOOD, "reads its source"),
    "opening": (DEGRADED, SAFE, "opening for {seconds:.0f} s"),
    "closed": (DEGRADED, SAFE, "has not started yet"),
    "gone": (DEGRADED, SAFE, "waits for its source or model to recover"),
    "ended": (DEGRADED, SAFE, "has come to the end of its recording"),
    "failed": (DEGRADED, SAFE, "has stopped with a bug: see the log"),
    "stalled": (DEGRADED, SAFE, "stalled: driver call does not return"),
    "hung": (DEGRADED, SAFE, "hung: its driver's open or close has not returned for {seconds:.0f} s"),
    "dead": (SAFE, SAFE, "has no process any more"),
}


class Health(NamedTuple):
    """health: the worst effect of any lane. reasons: a line for each lane that is not good."""

    health: str
    reasons: list[str]


def overdue(state: str, t_progress: int, t_deadline: int, now: int) -> str:
    """Of a lane in this state: "stalled", its loop makes no progress; "hung" in the driver's open or close; "" neither.

    A stalled lane that is critical lets the watchdog end the daemon. A hung one does not: the other lanes go on.
    """
    if t_deadline:
        return "hung" if now > t_deadline else ""
    return "stalled" if state in ("running", "opening", "gone") and now - t_progress > STALLED_NS else ""


def event(snapshot: LedgerSnapshot, now: int) -> str:
    """A key of EFFECTS. now: CLOCK_MONOTONIC, ns."""
    if not os.path.exists(f"/proc/{snapshot.pid}"):
        return "dead"
    return overdue(snapshot.state, snapshot.t_progress, snapshot.t_deadline, now) or snapshot.state


def reason(name: str, t_progress: int, now: int) -> str:
    """Why a lane with this event is not good."""
    return EFFECTS[name][2].format(seconds=max(0, now - t_progress) / 1e9)


def judge(snapshots: Iterable[LedgerSnapshot], now: int | None = None, troubles: Sequence[str] | None = None) -> Health:
    """The health of a box with these lanes. A box without a lane is safe, with that as the reason.

    troubles: of its actuators, in words; None: what the ledgers say.
    """
    now = time.monotonic_ns() if now is None else now
    events = [(snapshot, event(snapshot, now)) for snapshot in snapshots]
    if not events:
        return Health(SAFE, ["no lane has a ledger here: start the daemon first"])
    effects = [EFFECTS[name][1 if snapshot.critical else 0] for snapshot, name in events]
    reasons = [
        f"lane {snapshot.lane} {reason(name, snapshot.t_progress, now)}"
        for (snapshot, name), effect in zip(events, effects)
        if effect != GOOD
    ]
    troubles = _troubles(snapshot for snapshot, name in events if name == "running") if troubles is None else troubles
    if troubles:
        effects.append(DEGRADED)
    return Health(max(effects, key=SEVERITY.index), [*reasons, *troubles])


def _troubles(snapshots: Iterable[LedgerSnapshot]) -> list[str]:
    return [
        f"lane {snapshot.lane}: {snapshot.troubled} of its actuators do not acknowledge its commands, or refuse them"
        for snapshot in snapshots
        if snapshot.troubled
    ]
