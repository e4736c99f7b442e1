"""An engine around a local one that asks a peer while this box is busy, within the deadline, and falls back in time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from agent.backends.base import Engine, EngineError, Late
from agent.data import Array
from agent.offload.choose import Backoff, Limits, PeerState, Switch, choose
from agent.offload.links import Link, Model
from agent.offload.peers import View
from agent.open_inference.release import NOBODY, NotReleased, Release
from agent.open_inference.server import Away, Refusal
from agent.open_inference.tensors import MessageError

log = logging.getLogger("reflexd.offload")
DECAY = 0.95  # of the longest recent times, per inference
NEVER = 1 << 61  # a deadline beyond is none: the time is a recording's
OBSERVE_NS = 100_000_000


class Plan(NamedTuple):
    """until: when its answer is of no use any more, CLOCK_MONOTONIC ns."""

    peer: PeerState
    until: int


class Lane(NamedTuple):
    """What the engine knows of its lane. p99_ms: capture to decided, lately. cores: of this box."""

    name: str
    model: str
    limits: Limits
    p99_ms: Callable[[], float]
    cores: int


class OffloadEngine(Engine):
    """Used by the lane's thread. A replay and a lane without a budget compute here."""

    decides = True

    def __init__(
        self, local: Engine, checksum: str, lane: Lane, view: View, links: Mapping[str, Link], may_skip: bool
    ) -> None:
        """may_skip: the caller has another answer where there is no time (a refining model). Raises EngineError."""
        if local.has_memory or local.sends_input:
            raise EngineError("offload: its outputs depend on earlier samples, or a server computes it already")
        if any(tensor.unknown for tensor in local.outputs):
            raise EngineError("offload: the sizes of its outputs change from run to run")
        self.local, self.lane = local, lane
        self.inputs, self.outputs, self.metadata = local.inputs, local.outputs, local.metadata
        self.handed = self.missed = 0
        self.reason = ""
        self._model = Model(checksum, local.inputs[0], local.outputs)
        self._view, self._links, self._may_skip = view, links, may_skip
        self._release: Release = NOBODY
        self._switch, self._backoff = Switch(lane.limits), Backoff()
        self._results: list[Array] | None = None  # of a peer
        self._here_ns = 0  # longest recent time of the local engine
        self._overhead_ms: dict[str, float] = {}
        self._observed = self._counted = 0
        self._moved = 0.0

    def permit(self, release: Release) -> None:
        self._release = release

    def input(self, index: int) -> Array:
        return self.local.input(index)

    def output(self, index: int) -> Array:
        return self.local.output(index) if self._results is None else self._results[index]

    def status(self) -> dict[str, Any]:
        """handed, missed: inferences that a peer made, and that one should have made. reason: of the newest miss."""
        return {"on": self._switch.on, "handed": self.handed, "missed": self.missed, "reason": self.reason}

    def invoke(self) -> None:
        self._results = None
        now = time.monotonic_ns()
        plan = self._plan(now) if now < self.deadline < NEVER else None
        if plan is None or not self._asked(plan, now):
            self._compute_here()

    def _plan(self, now: int) -> Plan | None:
        """None: it is computed here."""
        known = self._view(now)
        if now - self._observed >= OBSERVE_NS:
            self._observe(known.busy, now)
        if not self._switch.on:
            return None
        peers = [peer for peer in known.peers if peer.name in self._links and self._allowed(peer.name, now)]
        reserve = 0 if self._may_skip else self._here_ns  # so that a miss can still be made good here
        for until in (self.deadline - reserve, self.deadline):
            peer = choose(peers, self._model.checksum, (until - now) / 1e6, known.busy, now, self._overhead_ms)
            if peer:
                return Plan(peer, until)
        return None

    def _allowed(self, peer: str, now: int) -> bool:
        return peer in self._release.names and self._backoff.allows(peer, now / 1e9)

    def _observe(self, busy: float, now: int) -> None:
        """Ten times a second: does the box hand over?"""
        since_s, before = (now - self._observed) / 1e9, self._switch.on
        rate_hz = (self.handed - self._counted) / since_s
        self._moved = rate_hz * self._here_ns / 1e9 / self.lane.cores
        self._observed, self._counted = now, self.handed
        if self._switch.observe(busy, self.lane.p99_ms(), self._moved, now / 1e9) != before:
            action = "is computed here again" if before else "is handed to peers"
            log.warning("lane %s: box busy %.0f %%: model %s %s", self.lane.name, busy * 100, self.lane.model, action)

    def _asked(self, plan: Plan, start: int) -> bool:
        """True where the peer's answer is here. Raises Late where it is not, and the caller has another answer."""
        name = plan.peer.name
        try:
            link = self._links[name]
            released = self._release.give(np.array(self.local.input(0)), link.recipient)
            self._results = link.infer(self._model, released, plan.until)
        except (Away, Refusal, MessageError, NotReleased) as error:
            self.missed += 1
            self.reason = f"peer '{name}' {error}"
            self._backoff.failed(name, time.monotonic())
            if self._may_skip:
                raise Late(self.reason) from error
            return False
        took_ms = (time.monotonic_ns() - start) / 1e6
        overhead = took_ms - plan.peer.models[self._model.checksum]
        self._overhead_ms[name] = max(self._overhead_ms.get(name, 0.0) * DECAY, overhead)
        self._backoff.answered(name)
        self.handed += 1
        return True

    def _compute_here(self) -> None:
        """Raises Late where it would end too late, and the caller has another answer."""
        start = time.monotonic_ns()
        if self._may_skip and start + self._here_ns > self.deadline:
            self._here_ns = int(self._here_ns * DECAY)  # so that it is tried again
            raise Late("no time for it here, and no peer for it")
        self.local.deadline = self.deadline
        self.local.invoke()
        self._here_ns = max(int(self._here_ns * DECAY), time.monotonic_ns() - start)
