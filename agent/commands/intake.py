"""What peers may take of an actuator's time: so many messages each, and a share of one core all together."""

from __future__ import annotations

import time
from collections import Counter

TICK_NS = 10_000_000
MESSAGES = 40  # of one peer in a tick: four times what a lane at 1 kHz sends that commands with every sample
BUSY_NS = 3_000_000  # of a tick: the actuator's thread runs before every lane, so a flood must leave them the core


class Intake:
    """Counts messages and time by ticks. Only the actuator's thread uses it."""

    def __init__(self) -> None:
        self.ends_at = 0
        self.busy_at_start = 0
        self.received: Counter[bytes] = Counter()

    def admit(self, peer: bytes, now: int) -> bool:
        """May this message be read? peer: its identity at the socket. now: CLOCK_MONOTONIC, ns."""
        if now >= self.ends_at:
            self.ends_at = now + TICK_NS
            self.busy_at_start = time.thread_time_ns()
            self.received.clear()
        self.received[peer] += 1
        return self.received[peer] <= MESSAGES

    def pause_s(self, now: int) -> float:
        """For how long to leave messages where they are: until the tick ends, once this thread was busy for its share.

        Meanwhile the queues fill, and ZeroMQ reads no more from peers that flood. It serves peers in turn, so that one
        which does not flood waits a tick at most.
        """
        if now >= self.ends_at or time.thread_time_ns() - self.busy_at_start < BUSY_NS:
            return 0.0
        return (self.ends_at - now) / 1e9
