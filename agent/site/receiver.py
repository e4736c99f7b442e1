"""What arrives from the other boxes: signs of life, states, and evidence for the lanes here that asked for it.

Each subscription has a thread of its own and a ring that keeps the newest: a box that floods fills only its own.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import zenoh

from agent.site.messages import MAX_BYTES, BoxState, LaneEvidence, Message
from agent.site.peer import Limit, Peer
from agent.site.settings import Settings
from drivers.sensor import _site_datagram as datagram

log = logging.getLogger("reflexd.site")
RING = 64  # messages that wait for their thread
JOIN_S = 0.3


class Receiver:
    """All subscriptions of a session."""

    def __init__(self, session: zenoh.Session, settings: Settings, peers: dict[str, Peer]) -> None:
        self._settings = settings
        self._peers = peers
        self._output = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._subscribers: list[Any] = []
        self._threads: list[threading.Thread] = []
        self._stopping = False
        alive = session.liveliness().declare_subscriber(
            settings.key("*", "alive"), zenoh.handlers.RingChannel(RING), history=True
        )
        self._start(alive, self._set_alive)
        for peer in peers.values():
            self._subscribe(session, settings.key(peer.name, "state"), peer, self._take_state)
        for source, paths in _wanted(settings).items():
            box, lane = source.split("/")
            if box in peers:
                take = _ToLanes(source, paths, peers[box], self._output)
                self._subscribe(session, settings.key(box, f"evidence/{lane}"), peers[box], take)

    def _subscribe(
        self, session: zenoh.Session, key: str, peer: Peer, take: Callable[[Peer, Message, int], None]
    ) -> None:
        limit = Limit(peer)

        def handle(sample: zenoh.Sample) -> None:
            now = time.monotonic_ns()
            message = peer.read(_bytes(sample.payload))
            if message:
                take(peer, message, now)
            if pause_s := limit.pause_s():
                time.sleep(pause_s)  # the ring drops the oldest meanwhile

        ring = zenoh.handlers.RingChannel(RING)
        subscriber = session.declare_subscriber(key, ring, allowed_origin=zenoh.Locality.REMOTE)
        self._start(subscriber, handle)

    def _start(self, subscriber: Any, handle: Callable[[zenoh.Sample], None]) -> None:
        # Its handler, as the subscriber itself cannot be undeclared while a thread waits in it.
        thread = threading.Thread(target=self._serve, args=(subscriber.handler, handle), daemon=True)
        self._subscribers.append(subscriber)
        self._threads.append(thread)
        thread.start()

    def _serve(self, ring: Any, handle: Callable[[zenoh.Sample], None]) -> None:
        with suppress(zenoh.ZError):  # its subscriber is undeclared
            while not self._stopping:
                handle(ring.recv())

    def _set_alive(self, sample: zenoh.Sample) -> None:
        box = str(sample.key_expr).split("/")[-2]
        if box in self._peers:
            self._peers[box].set_alive(sample.kind == zenoh.SampleKind.PUT)

    def _take_state(self, peer: Peer, message: Message, now: int) -> None:
        if isinstance(message, BoxState) and not peer.own:
            peer.set_state(message, self._settings.node, now)

    def close(self) -> None:
        self._stopping = True
        for subscriber in self._subscribers:
            with suppress(zenoh.ZError):
                subscriber.undeclare()
        for thread in self._threads:
            thread.join(JOIN_S)
        self._output.close()


class _ToLanes:
    """Evidence of one remote lane, to the sockets of the lanes here that read it; each inference once."""

    def __init__(self, source: str, paths: list[Path], peer: Peer, output: socket.socket) -> None:
        self._source, self._paths, self._output = source, [str(path) for path in paths], output
        self._newest: tuple[int, int] = (0, 0)  # clock, t_capture

    def __call__(self, peer: Peer, message: Message, now: int) -> None:
        if not isinstance(message, LaneEvidence):
            return
        captured = message.clock, message.t_capture
        if captured[0] == self._newest[0] and captured[1] <= self._newest[1]:
            return  # repeated, or overtaken
        t_capture = peer.captured(message, now)
        if t_capture is None:
            return
        self._newest = captured
        content = datagram.pack(self._source, t_capture, message.found)
        for path in self._paths:
            with suppress(OSError):  # its lane is not open, or has enough to read
                self._output.sendto(content, path)


def _bytes(payload: zenoh.ZBytes) -> bytes:
    """One byte more than a message may have, where it has more: to copy the rest would be its sender's gain."""
    return payload.to_bytes() if len(payload) <= MAX_BYTES else bytes(MAX_BYTES + 1)


def _wanted(settings: Settings) -> dict[str, list[Path]]:
    """Of each remote lane the sockets of those that read it."""
    wanted: dict[str, list[Path]] = {}
    for lane, source in _pairs(settings):
        wanted.setdefault(source, []).append(datagram.path(settings.run_dir, lane))
    return wanted


def _pairs(settings: Settings) -> Iterator[tuple[str, str]]:
    return ((lane, source) for lane, sources in settings.regions.items() for source in sources)
