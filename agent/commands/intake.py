"""What peers may take of an actuator's time: strangers so many messages each, and all together a share of one core."""

from __future__ import annotations

import time
from collections import Counter

TICK_NS = 10_000_000
# Messages in a tick of a peer that has not sent a good one yet, and of all such peers together: a refused command
# takes 60 us, one that is not even read 5 us.
MESSAGES, MESSAGES_OF_ALL = 4, 12
BUSY_NS = 5_000_000  # of a tick: the actuator's thread runs before every lane, so a flood must leave them the core
QUEUED = 100  # messages of one peer that the queues of both ends hold
TRUSTED = 256


class Intake:
    """Counts messages and time by ticks. Only the actuator's thread uses it."""

    def __init__(self) -> None:
        self.ends_at = 0
        self.busy_at_start = 0
        self.received: Counter[bytes] = Counter()  # of peers that are not trusted, in this tick
        self.admitted = 0  # of their messages
        self.trusted: set[bytes] = set()

    def admit(self, peer: bytes, now: int) -> bool:
        """May this message be read? peer: its identity at the socket. now: CLOCK_MONOTONIC, ns.

        All of a trusted peer: after a pause of the network they come at once, and the last one is the newest command.
        """
        if now >= self.ends_at:
            self.ends_at = now + TICK_NS
            self.busy_at_start = time.thread_time_ns()
            self.received.clear()
            self.admitted = 0
        if peer in self.trusted:
            return True
        self.received[peer] += 1
        if self.received[peer] > MESSAGES or self.admitted >= MESSAGES_OF_ALL:
            return False
        self.admitted += 1
        return True

    def floods(self, peer: bytes) -> bool:
        """It sent more in this tick than had been waiting in queues while the device was opened."""
        return self.received[peer] > QUEUED

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
        if now >= self.ends_at or time.thread_time_ns() - self.busy_at_start < BUSY_NS:
            return 0.0
        return (self.ends_at - now) / 1e9
