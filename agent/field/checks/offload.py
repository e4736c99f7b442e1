"""Peers that compute for this box while it is busy: are they heard, and do they have the models?"""

from __future__ import annotations

import time
from collections.abc import Iterator

from agent.field.checks.base import GOOD, SKIP, WARN, Box, Check
from agent.offload import peers
from agent.offload.choose import PeerState

EFFECT = "while this box is busy its lanes do without this peer: they are late, or keep the coarse answer"
LATE_S = 2.0


def checks(box: Box) -> Iterator[Check]:
    """None where no peer is configured."""
    offload = box.config.offload
    if offload is None or not offload.peers:
        return
    if not box.view.pid:
        yield Check("peers", SKIP, "the daemon does not run")
        return
    known = {peer.name: peer for peer in peers.read(box.config.run_dir).peers}
    for name in offload.peers:
        yield _peer(name, known.get(name))


def _peer(name: str, state: PeerState | None) -> Check:
    title, age_s = f"peer {name}", (time.monotonic_ns() - state.t_heard) / 1e9 if state else 0.0
    if state is None or age_s > LATE_S:
        cause = f"was last heard {age_s:.0f} s ago" if state else "was not heard yet"
        return Check(title, WARN, cause, EFFECT, f"journalctl -u reflexd | grep {name}; is 'offload.serve' on there?")
    models = f"{len(state.models)} models" if len(state.models) != 1 else "1 model"
    return Check(title, GOOD, f"{state.busy:.0%} busy, serves {models}, round trip {state.rtt_ms:.3g} ms (p99)")
