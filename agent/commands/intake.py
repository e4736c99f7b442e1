"""What peers may take of an actuator's time: strangers a small share of one core, and all together a larger one."""

from __future__ import annotations

import time

TICK_NS = 10_000_000
# Of a tick. The actuator's thread runs before every lane, so a flood must leave them the core. A refused command takes
# 60 us, one that is not even read 5 us.
STRANGERS_NS, BUSY_NS = 2_000_000, 5_000_000
TRUSTED = 256


class Intake:
    """Counts time by ticks. Only the actuator's thread uses it."""

    def __init__(self) -> None:
        self.ends_at = 0
        self.busy_at_start = 0
        self.trusted: set[bytes] = set()

    def admit(self, peer: bytes, now: int) -> bool:
        """May this message be read? peer: its identity at the socket. now: CLOCK_MONOTONIC, ns.

        All of a trusted peer: after a pause of the network they come at once, and the last one is the newest command.
        """
        if now >= self.ends_at:
            self.ends_at = now + TICK_NS
            self.busy_at_start = time.thread_time_ns()
            return True
        return peer in self.trusted or self._busy_ns() < STRANGERS_NS

    def _busy_ns(self) -> int:
        return time.thread_time_ns() - self.busy_at_start

    def trust(self, peer: bytes) -> None:
        """It has sent a good command."""
        if peer not in self.trusted:
            if len(self.trusted) >= TRUSTED:
                self.trusted.clear()  # identities of connections that ended stay here; a good peer is soon back
            self.trusted.add(peer)

    def pause_s(self, now: int) -> float:
        """For how long to leave messages where they are: until the tick ends, once this thread was busy for its share.

        Meanwhile the queues fill, and ZeroMQ reads no more from peers that flood. It serves peers in turn, so that one
        which does not flood waits a tick at most.
        """
        return (self.ends_at - now) / 1e9 if now < self.ends_at and self._busy_ns() >= BUSY_NS else 0.0
