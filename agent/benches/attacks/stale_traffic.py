"""Commands delayed in a step or slowly before their sender dies; recorded ones for an actuator that has restarted."""

from __future__ import annotations

import json
import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from agent.benches.attacks.outcome import Outcome
from agent.benches.faults import SAFE_AFTER_MS, SLACK_MS
from agent.benches.programs import SENSOR_MODEL, free_port, spawn, start_host, stop
from agent.benches.proxy import FORWARD, Proxy, play_back

DELAY_S, RAMP_S, RECORDED_S = 0.45, 1.5, 1.0
WAIT_S, SETTLED_S = 30.0, 0.7
MOVING = "go"


class _Site(NamedTuple):
    """port: where the actuator listens, behind the proxy."""

    folder: Path
    record: Path
    port: int
    proxy: Proxy
    on_another_box: bool

    def verbs(self) -> list[tuple[int, str]]:
        """(time ns, verb) of every movement."""
        text = self.record.read_text() if self.record.exists() else ""
        rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [(row["t_ns"], row["verb"]) for row in rows]

    def wait_for(self, holds: Callable[[list[tuple[int, str]]], bool]) -> bool:
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if holds(self.verbs()):
                return True
            time.sleep(0.005)
        return False


def measure(times: int) -> Outcome:
    """Half of the senders have a clock of another box; the delay at which each dies is random, up to DELAY_S."""
    chance = random.Random(0)
    safe_ms: list[float] = []
    failures: list[str] = []
    for number in range(times):
        delay_s, steps = chance.uniform(0.02, DELAY_S), bool(number % 2)
        with tempfile.TemporaryDirectory(prefix="reflexd-stale-") as name, _site(Path(name), number % 4 < 2) as site:
            kind = f"repetition {number} ({'step' if steps else 'ramp'}, {delay_s * 1e3:.0f} ms)"
            try:
                safe_ms.append(_delayed(site, 0.0 if steps else RAMP_S, delay_s))
                applied = _recorded(site)
            except RuntimeError as error:
                failures.append(f"{kind}: {error}")
                continue
            if applied:
                failures.append(f"{kind}: recorded commands applied {applied} times")
    return Outcome("stale_traffic", times, 0, 0, safe_ms, SAFE_AFTER_MS + SLACK_MS, failures)


@contextmanager
def _site(folder: Path, on_another_box: bool) -> Iterator[_Site]:
    port, proxy_port, record = free_port(), free_port(), folder / "robot.jsonl"
    for name, endpoint in (("host", port), ("run", proxy_port)):
        (folder / f"{name}.yaml").write_text(json.dumps(_configuration(folder, record, endpoint)), encoding="utf-8")
    proxy = Proxy(proxy_port, port)
    try:
        yield _Site(folder, record, port, proxy, on_another_box)
    finally:
        proxy.close()


def _configuration(folder: Path, record: Path, port: int) -> dict[str, Any]:
    always = [{"lane": "arm", "label": "normal", "absent": absent} for absent in (False, True)]
    robot = {
        "device": {"driver": "actuator.log", "path": str(record)},
        "endpoint": f"tcp://127.0.0.1:{port}",
        "rest": "rest",
        "verbs": ["rest", MOVING],
        "safe_after_ms": SAFE_AFTER_MS,
    }
    return {
        "run_dir": str(folder),
        "state_dir": str(folder),
        "lanes": {"arm": {"source": {"driver": "sensor.sim_arm", "timeout_ms": 500}, "model": SENSOR_MODEL}},
        "actuators": {"robot": robot},
        "rules": {"always": {"any": always, "actuator": "robot", "verb": MOVING}},
    }


def _delayed(site: _Site, ramp_s: float, delay_s: float) -> float:
    """From the sender's death to the safe state, ms; 0 where that came first."""
    host = start_host(site.folder / "host.yaml")
    elsewhere = ["agent.benches.other_box"] if site.on_another_box else []
    daemon = spawn([*elsewhere, "agent", "run", "-c", str(site.folder / "run.yaml")])
    try:
        if not site.wait_for(lambda verbs: bool(verbs) and verbs[-1][1] == MOVING):
            raise RuntimeError("the device does not move")
        time.sleep(RECORDED_S)
        start = time.monotonic()
        while site.proxy.delay_s[FORWARD] < delay_s:
            passed = time.monotonic() - start
            site.proxy.delay_s[FORWARD] = delay_s if passed >= ramp_s else delay_s * passed / ramp_s
            time.sleep(0.005)
        time.sleep(random.Random(delay_s).uniform(0.0, 0.3))
        killed = time.monotonic_ns()
        daemon.kill()
        daemon.wait()
        time.sleep(SETTLED_S + delay_s)
        return _safe_after(site.verbs(), killed)
    finally:
        stop(daemon)
        stop(host)


def _safe_after(verbs: list[tuple[int, str]], killed: int) -> float:
    last, verb = verbs[-1]
    return math.inf if verb == MOVING else max(0.0, (last - killed) / 1e6)


def _recorded(site: _Site) -> int:
    """How often what was recorded moves an actuator that has restarted."""
    before = len(site.verbs())
    host = start_host(site.folder / "host.yaml")
    try:
        site.wait_for(lambda verbs: len(verbs) > before)  # it is safe
        play_back(site.proxy.recorded, site.port)
    finally:
        stop(host)
    return sum(verb == MOVING for _, verb in site.verbs()[before:])
