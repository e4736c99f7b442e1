"""A child of the daemon that watches the box's load and its peers: `python -m agent.offload.watch RUN_DIR`.

Ten times a second it writes what it knows for the lanes (`peers.py`), which never wait for it.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from agent.box import background
from agent.offload import peers, settings
from agent.offload.busy import BusyMeter
from agent.offload.choose import PeerState
from agent.offload.peers import Peers
from agent.offload.settings import PeerSettings, server_of
from agent.open_inference.http_client import Client
from agent.open_inference.server import Away, Refusal

log = logging.getLogger("reflexd.offload")
PERIOD_S = 0.1
TIMEOUT_NS = 500_000_000
LAST_PAUSE_S = 2.0  # between two tries to reach a peer that is away
ROUND_TRIPS = 100
LASTING = 4  # failures in a row that are reported


class PeerWatch:
    """Asks one peer again and again, on a thread of its own. state: the newest; None before the first answer."""

    def __init__(self, peer: PeerSettings) -> None:
        """Raises OSError, ValueError, ssl.SSLError."""
        self.server = server_of(peer)
        self.state: PeerState | None = None
        self._client = Client(self.server)
        self._round_trips: deque[float] = deque(maxlen=ROUND_TRIPS)
        self._failures = 0  # in a row

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        pause_s = PERIOD_S
        while True:
            pause_s = PERIOD_S if self.ask() else min(2 * pause_s, LAST_PAUSE_S)
            time.sleep(pause_s)

    def ask(self) -> bool:
        """True where it answered."""
        start = time.monotonic_ns()
        try:
            raw = self._client.get("/v2/reflexd", start + TIMEOUT_NS)
            heard = time.monotonic_ns()
            self._round_trips.append((heard - start) / 1e6)
            self.state = parsed(self.server.name, raw, _p99(self._round_trips), start)
        except (Away, Refusal, ValueError) as error:
            self._report(str(error))
            return False
        self._report("")
        return True

    def _report(self, mistake: str) -> None:
        """Once when it goes, once when it returns; not where an answer or two are late."""
        if not mistake and self._failures >= LASTING:
            log.warning("peer %s answers again", self.server)
        self._failures = self._failures + 1 if mistake else 0
        if self._failures == LASTING:
            log.warning("peer %s %s; trying again until it answers", self.server, mistake)


def parsed(name: str, raw: bytes, rtt_ms: float, now: int) -> PeerState:
    """What a peer says of itself. Raises ValueError."""
    try:
        content: Any = json.loads(raw)
        line = {"name": name, "rtt_ms": rtt_ms, "t_heard": now, **{key: content[key] for key in ("busy", "models")}}
    except (TypeError, LookupError, RecursionError) as error:
        raise ValueError("sends no state of a box") from error
    read = peers.parsed(json.dumps({"version": peers.VERSION, "busy": 0, "t_ns": now, "peers": [line]}).encode())
    if not read.peers:
        raise ValueError("sends no state of a box")
    return read.peers[0]


def _p99(times: deque[float]) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]


def run(run_dir: Path) -> int:
    """Until it is ended."""
    watches = []
    for peer in settings.read_watch(run_dir):
        try:
            watches.append(PeerWatch(peer))
        except (OSError, ValueError) as error:
            log.error("peer '%s' is not asked: %s", peer.name, error)
    for watch in watches:
        watch.start()
    meter = BusyMeter()
    while True:
        known = tuple(watch.state for watch in watches if watch.state)
        peers.write(run_dir, Peers(meter(), known, time.monotonic_ns()))
        time.sleep(PERIOD_S)


def main() -> int:
    background.settle()
    run_dir = Path(sys.argv[1])
    try:
        return run(run_dir)
    except OSError as error:
        log.error("no work is handed to peers: %s: %s", error.filename or run_dir, error.strerror)
    except ValueError as error:
        log.error("no work is handed to peers: %s", error)
    return 2


if __name__ == "__main__":
    sys.exit(main())
