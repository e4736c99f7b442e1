"""What one attack did, over all its repetitions: a row of `reflexd bench faults`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from agent import ledger


class Outcome(NamedTuple):
    """One attack, repeated.

    times: repetitions. safe_ms: from the event to the safe state of the device, one value a repetition, infinity where
    it was never safe, empty where no device is involved. bound_ms: the time that is promised. failures: one line for
    each repetition that went wrong in another way.
    """

    name: str
    times: int
    lanes_lost: int
    decisions_uncounted: int
    safe_ms: Sequence[float]
    bound_ms: float
    failures: Sequence[str]

    def row(self) -> dict[str, Any]:
        """For JSON."""
        safe = np.asarray(self.safe_ms, dtype=float)
        return {
            "times": self.times,
            "lanes_lost": self.lanes_lost,
            "decisions_uncounted": self.decisions_uncounted,
            "safe_ms": {key: round(value, 1) for key, value in ledger.quantiles(safe).items()} if len(safe) else {},
            "bound_ms": self.bound_ms,
            "safe_too_late": int((safe > self.bound_ms).sum()),
            "failures": list(self.failures)[:5],
        }

    def line(self) -> str:
        """For people."""
        row = self.row()
        safe = ", ".join(f"{key} {value:.1f}" for key, value in row["safe_ms"].items())
        late = f"; safe after ms: {safe} (bound {self.bound_ms:.0f}, too late {row['safe_too_late']})" if safe else ""
        failed = f"; {len(self.failures)} failed: {self.failures[0]}" if self.failures else ""
        return (
            f"{self.name}: {self.times} times, {self.lanes_lost} lanes lost, "
            f"{self.decisions_uncounted} decisions uncounted{late}{failed}"
        )
