"""Another box's monotonic clock against this one's, from the states that both send: no clock has to be set.

A sends its state at a1; B, which got it, sends its own with a1 and how long it held it; at a2 that is here. The round
trip is a2 - a1 - held, and B sent somewhere within it: what B stamps with t happened here at t - (t_sent - a2) at the
latest, and a round trip before that at the earliest (Cristian, Probabilistic clock synchronization, 1989).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

KEPT = 64  # exchanges: six seconds of states
LONGEST_NS = 2_000_000_000  # a round trip that says nothing
DRIFT = 2e-4  # two crystals of 100 ppm that run apart


class Exchange(NamedTuple):
    """arrival: here. ahead: by how much the other clock is ahead at least. trip: and at most that much more."""

    arrival: int
    ahead: int
    trip: int


class PeerClock:
    """Of one box. All times are ns."""

    def __init__(self) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=KEPT)

    def add(self, sent: int, held: int, t_sent: int, arrival: int) -> None:
        """sent: when this box's state left that the other echoes. held: there. t_sent: by the other clock."""
        trip = arrival - sent - held
        if 0 <= trip < LONGEST_NS and held >= 0:
            self._exchanges.append(Exchange(arrival, t_sent - arrival, trip))

    def forget(self) -> None:
        """The box has started again: its clock may be another one."""
        self._exchanges.clear()

    @property
    def trip(self) -> int | None:
        """The newest round trip; None before the first one."""
        return self._exchanges[-1].trip if self._exchanges else None

    def earliest(self, t: int, now: int) -> int | None:
        """When that happened here, at the earliest: evidence never looks newer than it is. None: not known yet."""
        if not self._exchanges:
            return None
        best = min(self._exchanges, key=lambda each: each.trip + DRIFT * (now - each.arrival))
        return t - best.ahead - best.trip - int(DRIFT * (now - best.arrival))
