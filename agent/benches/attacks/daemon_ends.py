"""The daemon is killed while a relay is on: its actuator's host detects the silence."""

from __future__ import annotations

import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from agent.benches.attacks._relay import END_S, OFF, ON, SAFE_AFTER_MS, START_S, AttackFailed, Site
from agent.benches.attacks.outcome import Outcome


def measure(times: int) -> Outcome:
    """The time from SIGKILL to the frame that switches the relay off."""
    safe_ms: list[float] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="reflexd-daemon-") as name:
        site = Site(Path(name))
        host = site.start("actuate")
        try:
            for _ in range(times):
                safe_ms.append(_attack(site, failures))
        finally:
            site.close(host)
    return Outcome("daemon_ends", times, 0, 0, safe_ms, SAFE_AFTER_MS, failures)


def _attack(site: Site, failures: list[str]) -> float:
    daemon = site.start("run")
    try:
        return _repetition(site, daemon)
    except AttackFailed as failure:
        failures.append(str(failure))
        return float("inf")
    finally:
        daemon.kill()
        daemon.wait()


def _repetition(site: Site, daemon: subprocess.Popen[bytes]) -> float:
    """The time from the event to OFF, ms. Raises AttackFailed."""
    site.relay.wait_for(ON, time.monotonic_ns(), START_S)
    time.sleep(random.uniform(0.0, 0.2))
    event = time.monotonic_ns()
    daemon.send_signal(signal.SIGKILL)
    return (site.relay.wait_for(OFF, event, END_S) - event) / 1e6
