"""What this box says to the others: its state ten times a second, and the evidence of its lanes."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import zenoh

from agent.commands import wire
from agent.site.load import Busy, Times
from agent.site.messages import TEXT_CHARACTERS, BoxState, Found, LaneEvidence, pack_evidence, pack_state
from agent.site.peer import Peer
from agent.site.settings import Settings
from agent.tapes.evidence_tape import SUFFIX, EvidenceReader

EVIDENCE_NS, STATE_NS = 33_000_000, 100_000_000
LOOK_NS = 1_000_000_000  # for tapes that were made again


class Sender:
    """All publications of a session. Nothing in it waits: what a link cannot take is dropped, a newer one follows."""

    def __init__(self, session: zenoh.Session, settings: Settings, peers: dict[str, Peer], number: int) -> None:
        """number: of this session, random."""
        self._settings = settings
        self._peers = peers
        self._session = number
        self._sequence = 0
        self._busy, self._times = Busy(), Times(settings)
        self._lanes = [_Lane(session, settings, lane, number) for lane in settings.lanes]
        self._state = _publisher(session, settings.key(settings.node, "state"))
        self._due = dict.fromkeys(("evidence", "state", "look"), 0)

    def send_changes(self) -> None:
        """A lane said that its evidence has changed."""
        now = time.monotonic_ns()
        for lane in self._lanes:
            lane.send(now, again=False)

    def send_due(self) -> int:
        """What is due; returns when something is due next. ns of the monotonic clock."""
        now = time.monotonic_ns()
        if self._is_due("look", LOOK_NS, now):
            for lane in self._lanes:
                lane.reader.refresh()
        if self._is_due("evidence", EVIDENCE_NS, now):
            for lane in self._lanes:
                lane.send(now, again=True)
        if self._is_due("state", STATE_NS, now):
            self._state.put(pack_state(self._own_state(time.monotonic_ns())))
        return min(self._due.values())

    def _is_due(self, what: str, period: int, now: int) -> bool:
        if now < self._due[what]:
            return False
        self._due[what] = max(self._due[what] + period, now)
        return True

    def _own_state(self, now: int) -> BoxState:
        self._sequence += 1
        trips = {peer.name: peer.trip_ms for peer in self._peers.values()}
        echoes = {peer.name: peer.echo(now) for peer in self._peers.values()}
        return BoxState(
            session=self._session,
            clock=wire.clock_id(),
            sequence=self._sequence,
            t_sent=now,
            version=self._settings.version,
            busy=round(self._busy.update(now / 1e9), 3),
            p99_ms=self._times.p99_ms,
            models=self._settings.models,
            echoes={name: echo for name, echo in echoes.items() if echo},
            links={name: trip for name, trip in trips.items() if trip is not None},
        )

    def report(self) -> dict[str, Any]:
        """For `reflexd site`; measures what takes longer than a message may wait."""
        self._times.update(time.monotonic())
        return {"busy": round(self._busy.share, 3), "p99_ms": self._times.p99_ms, "models": self._settings.models}

    def close(self) -> None:
        for publication in (self._state, *(lane.publisher for lane in self._lanes)):
            with suppress(zenoh.ZError):
                publication.undeclare()
        for lane in self._lanes:
            lane.reader.close()


class _Lane:
    """The evidence of one lane here."""

    def __init__(self, session: zenoh.Session, settings: Settings, lane: str, own_session: int) -> None:
        self.publisher = _publisher(session, settings.key(settings.node, f"evidence/{lane}"))
        self.reader = EvidenceReader(settings.run_dir / f"{lane}{SUFFIX}")
        self.reader.refresh()
        self._session = own_session
        self._number = self._sequence = 0

    def send(self, now: int, again: bool) -> None:
        """The newest inference. again: also one that was sent before, which may have been lost, or not be known yet."""
        newest = self.reader.read()
        if newest is None or (newest.number == self._number and not again):
            return
        self._number = newest.number
        self._sequence += 1
        found = tuple(Found(_plain(label), score, box, _plain(mark)) for label, score, box, mark in newest.found)
        evidence = LaneEvidence(self._session, wire.clock_id(), self._sequence, newest.t_capture, now, found)
        self.publisher.put(pack_evidence(evidence))


def _plain(text: str) -> str:
    """As the others read it: a label comes from a model's file, which may have any."""
    return text if text.isprintable() and len(text) <= TEXT_CHARACTERS else ascii(text)[:TEXT_CHARACTERS]


def _publisher(session: zenoh.Session, key: str) -> Any:
    """express: leaves at once, not with others in one packet."""
    return session.declare_publisher(
        key, congestion_control=zenoh.CongestionControl.DROP, priority=zenoh.Priority.INTERACTIVE_HIGH, express=True
    )
