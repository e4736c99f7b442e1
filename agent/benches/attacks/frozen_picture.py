"""A camera delivers the same picture in new samples, again and again: its lane goes stale, and its relay off."""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

from agent import ledger
from agent.benches.attacks._relay import OFF, ON, SAFE_AFTER_MS, START_S, AttackFailed, Site, wait
from agent.benches.attacks.outcome import Outcome
from agent.benches.programs import CAMERA_MODEL, stop

FROZEN_MS, PERIOD_MS = 500.0, 50.0
# The fault begins up to a period before its first picture, the second of which is compared from then on.
BOUND_MS = FROZEN_MS + 3 * PERIOD_MS + SAFE_AFTER_MS
FIRST_S, EVERY_S, LASTS_S = 3.0, 4.0, 1.5  # the camera is opened again with back-off
STARTED = re.compile(r"^(\d+):(\d+):(\d+\.\d+) .*injecting fault 'still'", re.MULTILINE)


class _CameraSite(Site):
    """The relay is on as long as a simulated camera's lane is alive."""

    def __init__(self, folder: Path, times: int) -> None:
        self.times = times
        super().__init__(folder)

    def _configuration(self, driver: str) -> dict[str, object]:
        faults = [
            {"kind": "still", "at_s": FIRST_S + EVERY_S * number, "for_s": LASTS_S} for number in range(self.times)
        ]
        source = {"driver": "camera.sim", "width": 160, "height": 120, "fps": 1000 / PERIOD_MS, "faults": faults}
        never = {"lane": "door", "label": "person", "score": 1.0, "hits": 1000, "of": 1000}
        return {
            **super()._configuration(driver),
            "lanes": {"door": {"source": {**source, "frozen_ms": FROZEN_MS}, "model": CAMERA_MODEL}},
            "rules": {"never": {"any": [never], "actuator": "relay", "verb": "off"}},
        }

    def fault(self, number: int) -> int:
        """When this fault began, monotonic ns, from the log; 0: not yet."""
        starts = STARTED.findall((self.folder / "log").read_text(encoding="utf-8", errors="replace"))
        if number >= len(starts):
            return 0
        hours, minutes, seconds = starts[number]
        midnight = time.mktime((*time.localtime()[:3], 0, 0, 0, 0, 0, -1))
        then = midnight + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        return time.monotonic_ns() - int((time.time() - then) * 1e9)


def measure(times: int) -> Outcome:
    """The time from the start of the fault to the frame that switches the relay off."""
    safe_ms: list[float] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="reflexd-frozen-") as name:
        site = _CameraSite(Path(name), times)
        host, daemon = site.start("actuate"), site.start("run")
        for number in range(times):
            try:
                safe_ms.append(_repetition(site, number))
            except AttackFailed as failure:
                failures.append(str(failure))
                safe_ms.append(float("inf"))
        lost = ledger.read(site.folder / "run/door.ledger").state != "running"
        stop(daemon)
        site.close(host)
    return Outcome("frozen_picture", times, int(lost), 0, safe_ms, BOUND_MS, failures)


def _repetition(site: _CameraSite, number: int) -> float:
    """The time from the fault to OFF, ms; then waits until the relay is on again. Raises AttackFailed."""
    event = wait(lambda: site.fault(number), START_S, "no fault")
    off = site.relay.wait_for(OFF, event, EVERY_S)
    site.relay.wait_for(ON, off, START_S)
    return (off - event) / 1e6
