"""Whether this box's clock can be right: in 1970 nothing has ended yet, and an old copy would pass for new."""

from __future__ import annotations

from datetime import datetime, timezone

FLOOR = datetime(2026, 11, 1, tzinfo=timezone.utc).timestamp()  # no box that has this program has an earlier clock
CEILING = datetime(2046, 11, 1, tzinfo=timezone.utc).timestamp()
BACK_S = 7 * 86400.0  # a clock may be set back, but not by more than a timestamp is valid


def mistake(now: float, seen: float) -> str:
    """Empty where it may be right. now, seen: seconds since 1970; when the last check succeeded, 0 for never."""
    earliest = max(FLOOR, seen - BACK_S)
    if earliest <= now <= CEILING:
        return ""
    limit = f"before {text(earliest)}" if now < earliest else f"after {text(CEILING)}"
    return f"this box's clock says {text(now)}, {limit}: no update until it is right: sudo timedatectl set-ntp true"


def text(clock: float) -> str:
    return datetime.fromtimestamp(clock, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
