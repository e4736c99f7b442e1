"""What this box knows of another one: whether it is there, what it says of itself, and what is wrong with it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from agent.commands import wire
from agent.site.clocks import PeerClock
from agent.site.messages import BoxState, LaneEvidence, Message, MessageError, OtherVersion, unpack
from agent.site.once import Once
from agent.site.published import ABSENT, GONE, THERE

log = logging.getLogger("reflexd.site")
PATIENCE_S = 5.0  # after the start, in which boxes that start together find each other
TWINS_S = 5.0  # a name counts as used twice this long after both have spoken
MOST = 2000  # messages a second of one kind that are read: twice what a lane at 1 kHz can send
SECOND = 1.0

Clock = Callable[[], float]


class Peer:
    """One box of the site, by the name in its certificate. Its messages arrive on several threads."""

    def __init__(self, name: str, own: bool = False, clock: Clock = time.monotonic) -> None:
        """own: it has this box's name, and should not be there at all. clock: s."""
        self.name = name
        self.own = own
        self.status = ABSENT
        self.times = PeerClock()
        self.state: BoxState | None = None
        self.arrived = 0  # ns, of that
        self.once = Once(f"box {name}")
        self._clock = clock
        self._since = clock()
        self._session = self._replaced = 0
        self._twins_until = 0.0
        self._lock = threading.Lock()

    def set_alive(self, alive: bool) -> None:
        """Its liveliness token came, or went."""
        if self.own or alive == (self.status == THERE):
            return
        self.status, self._since = THERE if alive else GONE, self._clock()
        if alive:
            self.once.ends("absent")
            log.info("box %s is there", self.name)
        else:
            log.warning("box %s is gone: no sign of life within the lease", self.name)

    def read(self, raw: bytes) -> Message | None:
        """A message of it; None, said once, where it cannot be used."""
        now = self._clock()
        try:
            message = unpack(raw)
        except OtherVersion as error:
            self.once.happens("version", f"it sends {error}: update the older one; nothing of it is used", now)
            return None
        except MessageError as error:
            self.once.happens("damaged", f"its messages are damaged: {error}", now)
            return None
        return message if self._is_one_box(message.session, now) else None

    def _is_one_box(self, session: int, now: float) -> bool:
        """A link that starts again has another session; where the one it replaced still speaks, there are two."""
        with self._lock:
            if session != self._session:
                two = session == self._replaced
                self._replaced, self._session = self._session, session
                self.times.forget()
                self._twins_until = now + TWINS_S if two else self._twins_until
            if self.own:
                self._twins_until = now + TWINS_S
            twins = now < self._twins_until
        if twins:
            what = "another box has the name of this one" if self.own else "two boxes have this name"
            advice = "give each its own `node` and certificate; until then its evidence is not used"
            self.once.happens("twins", f"{what}: {advice}", now)
        return not twins

    def set_state(self, state: BoxState, own_name: str, now: int) -> None:
        """now: ns, when it arrived."""
        with self._lock:
            self.state, self.arrived = state, now
            echo = state.echoes.get(own_name)
            if echo:
                self.times.add(echo[0], echo[1], state.t_sent, now)

    def captured(self, evidence: LaneEvidence, now: int) -> int | None:
        """t_capture on this box's clock, at the earliest; None while the other clock is not known."""
        if evidence.clock == wire.clock_id():
            return evidence.t_capture  # one kernel: containers, or a test
        with self._lock:
            return self.times.earliest(evidence.t_capture, now)

    def echo(self, now: int) -> tuple[int, int] | None:
        """For this box's own state: when the other's newest left, and how long ago it came. ns."""
        with self._lock:
            return (self.state.t_sent, now - self.arrived) if self.state and self.status == THERE else None

    @property
    def trip_ms(self) -> float | None:
        trip = self.times.trip if self.status == THERE else None
        return None if trip is None else round(trip / 1e6, 3)

    def check(self) -> None:
        """Once a second."""
        now = self._clock()
        if self.status == ABSENT and not self.own and now - self._since > PATIENCE_S:
            advice = "does it run, and name this box under `boxes`? reflexd doctor looks for the reason"
            self.once.happens("absent", f"no link to it yet: {advice}", now)
        self.once.expire(now)

    def report(self) -> dict[str, Any]:
        """For `reflexd site`, doctor and metrics."""
        state = self.state if self.status == THERE else None
        return {
            "state": self.status,
            "for_s": round(self._clock() - self._since, 1),
            "trip_ms": self.trip_ms,
            "version": state.version if state else "",
            "busy": round(state.busy, 3) if state else None,
            "p99_ms": dict(state.p99_ms) if state else {},
            "models": dict(state.models) if state else {},
            "links": dict(state.links) if state else {},
            "troubles": self.once.messages,
        }


class Limit:
    """Messages of one box that a thread reads in a second: what a box sends beyond, it takes from itself alone."""

    def __init__(self, peer: Peer, most: int = MOST, clock: Clock = time.monotonic) -> None:
        self._peer, self._most, self._clock = peer, most, clock
        self._began = self._count = 0.0

    def pause_s(self) -> float:
        """After each message: 0, or how long to read no more of it."""
        now = self._clock()
        if now - self._began >= SECOND:
            self._began, self._count = now, 0
        self._count += 1
        if self._count <= self._most:
            return 0.0
        self._peer.once.happens("flood", f"it sends more than {self._most} messages a second: most are not read", now)
        return self._began + SECOND - now
