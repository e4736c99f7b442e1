"""What the drift monitor found: inputs and scores that are not as they were learnt, golden outputs that differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.drift.detector import DRIFTING
from agent.drift.golden import BAD as BAD_GOLDEN
from agent.drift.published import GOLDEN_FIX
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check, listed

EFFECT = "its model was made for other input: what it finds, or does not, is less certain than it was"


def checks(box: Box) -> Iterator[Check]:
    if box.config.drift is None:
        yield Check("drift", SKIP, "is not watched; 'drift: {}' in the configuration watches every lane")
        return
    lanes = box.view.drift
    if not lanes:
        cause = "the monitor has written nothing" if box.view.pid else "the daemon does not run"
        state = WARN if box.view.pid else SKIP
        yield Check("drift", state, cause, "drift is not noticed", "journalctl -u reflexd | grep -i drift")
        return
    for name, lane in lanes.items():
        yield _inputs(name, lane)
        if lane["golden"]["state"] == BAD_GOLDEN:
            yield _golden(name, lane["golden"])


def _inputs(name: str, lane: dict[str, Any]) -> Check:
    title = f"drift of {name}"
    if lane["state"] == DRIFTING:
        fix = f"{' '.join(lane['causes'])} {lane['accept']}"
        return Check(title, WARN, listed(lane["drifts"]), EFFECT, fix)
    if lane["trouble"]:
        return Check(
            title, WARN, lane["trouble"], "drift of this lane is not noticed, or not all of it", "reflexd status"
        )
    learnt = f": {lane['learnt']:.0%} of what it needs" if lane["state"] == "learning" else ""
    return Check(title, GOOD, f"{lane['state']}{learnt}")


def _golden(name: str, golden: dict[str, Any]) -> Check:
    effect = "the model on this box computes something else than it was made for"
    return Check(f"golden outputs of {name}", BAD, listed(golden["causes"]), effect, GOLDEN_FIX)
