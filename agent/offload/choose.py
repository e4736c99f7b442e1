"""When a box hands work over, and to whom. Pure: busy shares, times and the clock are arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

STALE_NS = 1_000_000_000  # a peer that was not heard for so long is not asked
GAIN = 0.1  # a peer is asked where it is less busy than this box by that share
MARGIN_MS = 1.0  # behind an answer: its decoder, the rules, the command
P99_MS = 50.0  # of a lane: above, its work is handed over, however busy the box is
FIRST_HOLD_S, LAST_HOLD_S = 2.0, 80.0  # between two changes of mind, doubled where the one before was too early
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 8.0  # after a peer has failed


class PeerState(NamedTuple):
    """busy: share of its cores, 0..1. rtt_ms: p99 of a round trip. models: checksum -> p99 of an inference there, ms.

    t_heard: CLOCK_MONOTONIC ns of this box.
    """

    name: str
    busy: float
    rtt_ms: float
    models: Mapping[str, float]
    t_heard: int


class Limits(NamedTuple):
    """Of a lane's `offload`: busy shares above which it hands over, and below which it takes back."""

    start: float
    stop: float


def needed_ms(peer: PeerState, checksum: str, overhead_ms: float = 0.0) -> float:
    """Until its answer is here. overhead_ms: what calls lately took beyond the inference: inputs are large."""
    return max(peer.rtt_ms, overhead_ms) + peer.models[checksum] + MARGIN_MS


def choose(
    peers: Iterable[PeerState],
    checksum: str,
    left_ms: float,
    busy: float,
    now: int,
    overhead_ms: Mapping[str, float] | None = None,
) -> PeerState | None:
    """The least busy peer that has the same model and answers within what is left of the budget.

    busy: of this box. now: CLOCK_MONOTONIC ns. overhead_ms: of each peer, see `needed_ms`.
    """
    fitting = [
        peer
        for peer in peers
        if checksum in peer.models
        and now - peer.t_heard < STALE_NS
        and peer.busy + GAIN < busy
        and needed_ms(peer, checksum, (overhead_ms or {}).get(peer.name, 0.0)) <= left_ms
    ]
    return min(fitting, key=lambda peer: (peer.busy, peer.rtt_ms, peer.name), default=None)


class Switch:
    """Whether a lane hands work over: on above `start`, off below `stop`."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.on = False
        self._hold_s = FIRST_HOLD_S
        self._changed = -LAST_HOLD_S

    def observe(self, busy: float, p99_ms: float, moved: float, now: float) -> bool:
        """The new state. p99_ms: of the lane. moved: share of this box that the work would take here. now: s."""
        if not self.on and (busy > self.limits.start or p99_ms > P99_MS):
            early = now - self._changed < 2 * self._hold_s
            self._hold_s = min(2 * self._hold_s, LAST_HOLD_S) if early else FIRST_HOLD_S
            self.on, self._changed = True, now
        elif self.on and now - self._changed >= self._hold_s:
            # What was moved comes back with its load: below `stop` alone it would go to and fro.
            fits = busy < self.limits.stop and busy + moved < self.limits.start
            if fits and p99_ms <= P99_MS:
                self.on, self._changed = False, now
        return self.on


class Backoff:
    """A peer that failed is left alone, for longer each time."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._pause_s: dict[str, float] = {}

    def failed(self, peer: str, now: float) -> None:
        pause = self._pause_s[peer] = min(2 * self._pause_s.get(peer, FIRST_PAUSE_S / 2), LAST_PAUSE_S)
        self._until[peer] = now + pause

    def answered(self, peer: str) -> None:
        self._pause_s.pop(peer, None)

    def allows(self, peer: str, now: float) -> bool:
        return now >= self._until.get(peer, now)
