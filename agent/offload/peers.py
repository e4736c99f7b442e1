"""What a box knows of its peers and of its own load: a file of run_dir, written ten times a second, read by lanes.

The watch (`watch.py`) writes it for the peers of the configuration, the site's link for those that it hears.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

from agent.box import private
from agent.offload.choose import STALE_NS, PeerState

NAME = "offload.peers"
VERSION = 1
MAX_BYTES, MAX_PEERS, MAX_MODELS = 1 << 18, 64, 256
LOOK_NS = 50_000_000  # between two looks at the file


class Peers(NamedTuple):
    """busy: share of this box's cores, 0..1, as of t_ns."""

    busy: float
    peers: tuple[PeerState, ...]
    t_ns: int


NONE = Peers(0.0, (), 0)


def write(run_dir: Path, peers: Peers) -> None:
    """Raises OSError."""
    content = {"version": VERSION, "busy": peers.busy, "t_ns": peers.t_ns, "peers": [p._asdict() for p in peers.peers]}
    private.write(run_dir / NAME, json.dumps(content).encode(), durable=False)


def read(run_dir: Path) -> Peers:
    """`NONE` where there is no such file, or none of this version."""
    try:
        with open(run_dir / NAME, "rb") as file:
            return parsed(file.read(MAX_BYTES + 1))
    except OSError:
        return NONE


def parsed(raw: bytes) -> Peers:
    """`NONE` for what is damaged."""
    try:
        content = json.loads(raw) if len(raw) <= MAX_BYTES else {}
        if content["version"] != VERSION:
            return NONE
        peers = tuple(_peer(each) for each in content["peers"][:MAX_PEERS])
        return Peers(_number(content["busy"]), peers, int(content["t_ns"]))
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return NONE


def _peer(raw: dict[str, Any]) -> PeerState:
    """Raises ValueError, TypeError, LookupError, AttributeError, OverflowError."""
    models = {str(checksum): _number(ms) for checksum, ms in list(raw["models"].items())[:MAX_MODELS]}
    return PeerState(str(raw["name"])[:64], _number(raw["busy"]), _number(raw["rtt_ms"]), models, int(raw["t_heard"]))


def _number(raw: Any) -> float:
    """Raises ValueError, TypeError."""
    value = float(raw)
    if not math.isfinite(value) or value < 0:
        raise ValueError("no share and no time")
    return value


class View:
    """The file as a lane reads it: again where it has changed, and at most twenty times a second."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._path = str(run_dir / NAME)
        self._looked = self._changed = 0
        self._peers = NONE

    def __call__(self, now: int) -> Peers:
        """`NONE` where it was not written lately: nobody knows how busy this box is. now: CLOCK_MONOTONIC ns."""
        if now - self._looked > LOOK_NS:
            self._looked = now
            self._look()
        return self._peers if now - self._peers.t_ns < STALE_NS else NONE

    def _look(self) -> None:
        try:
            changed = os.stat(self._path).st_mtime_ns
        except OSError:
            self._peers = NONE
            return
        if changed != self._changed:
            self._changed, self._peers = changed, read(self._run_dir)
