"""From what lanes say about themselves to what follows: one table, read by the watchdog, /healthz and `reflexd status`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from agent.ledger import Account

GOOD, DEGRADED, SAFE = "good", "degraded", "safe"
WORSE = (GOOD, DEGRADED, SAFE)
STUCK_NS = 5_000_000_000  # a lane's loop comes round every few ms, and every 20 ms while its device is away

# What a lane says, what it means for the box (a lane the actuators can do without; one they cannot), and in words.
EFFECTS = {
    "running": (GOOD, GOOD, "reads its source"),
    "opening": (DEGRADED, SAFE, "opens its source"),
    "closed": (DEGRADED, SAFE, "has not started yet"),
    "gone": (DEGRADED, SAFE, "waits for its source to come back"),
    "ended": (DEGRADED, SAFE, "has come to the end of its recording"),
    "failed": (DEGRADED, SAFE, "has stopped with a bug: see the log"),
    "stuck": (DEGRADED, SAFE, "does not come round: its driver hangs in a call"),
    "dead": (SAFE, SAFE, "has no process any more"),
}


class Health(NamedTuple):
    """health: the worst effect of any lane. reasons: a line for each lane that is not good."""

    health: str
    reasons: list[str]


def event(told: Account, now: int) -> str:
    """A key of EFFECTS. now: CLOCK_MONOTONIC, ns."""
    if not os.path.exists(f"/proc/{told.pid}"):
        return "dead"
    if told.state in ("running", "opening", "gone") and now - told.t_turn > STUCK_NS:
        return "stuck"
    return told.state


def judge(accounts: Iterable[Account], now: int | None = None) -> Health:
    """How a box with these lanes is. Without any lane it is safe, and says so."""
    now = time.monotonic_ns() if now is None else now
    found = [(one, event(one, now)) for one in accounts]
    if not found:
        return Health(SAFE, ["no lane has a ledger here: is the daemon running?"])
    effects = [EFFECTS[what][1 if one.critical else 0] for one, what in found]
    bad = [(one, what) for (one, what), effect in zip(found, effects) if effect != GOOD]
    return Health(max(effects, key=WORSE.index), [f"lane {one.lane} {EFFECTS[what][2]}" for one, what in bad])
