"""A region's decision: ten boxes in ten network namespaces, "all nine robots deviate", until the conveyor has stopped.

Evidence is written as nine lanes write it, at 30 Hz; links, TLS, rules, wire and actuator's host are the real ones.
Time runs from the moment at which the last box's lane has its evidence to the actuator's movement. All boxes share this
machine's cores and its clock.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from agent.benches.programs import stop
from agent.benches.site.network import PORT, Network, network
from agent.data import Evidence
from agent.errors import DataError
from agent.isolated import python
from agent.site import library, published, settings
from agent.site.make_keys import Authority
from agent.site.published import THERE
from agent.site.settings import Settings
from agent.tapes.evidence_tape import SUFFIX, WAKE, EvidenceTape, open_wake

KEYS = ("region_ms", "evidence_write_us")
BOXES, EVENTS = (10, 3), (300, 20)  # in full; short
WRITES = 2000
LANE, REGION = "arm", "region"
DEVIATES = [Evidence(LANE, "deviation", 0.9, 0)]
PERIOD_S = 1 / 30
DEADLINE_S = 120.0


def measure(short: bool) -> dict[str, Any]:
    """{"region_ms": {"p50", "p99", "max", "events", "boxes"}, "evidence_write_us": {"same", "changed"}}.

    Raises DataError where this machine cannot do it.
    """
    if not library.installed():
        raise DataError(library.MISSING)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reflexd-region-")))
        region = Region(folder, stack.enter_context(network()), BOXES[short], stack)
        took = [region.event() for _ in range(EVENTS[short])]
        writes = write_us(folder)
    p50, p99 = np.percentile(took, (50, 99))
    figures = {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(max(took), 2)}
    return {"region_ms": {**figures, "events": len(took), "boxes": BOXES[short]}, "evidence_write_us": writes}


def write_us(folder: Path) -> dict[str, float]:
    """What a lane spends on other boxes in an inference with one finding: median, where it wakes the link and not."""
    tape = EvidenceTape(folder / f"write{SUFFIX}", folder / WAKE)
    link = open_wake(folder / WAKE)
    took: dict[str, list[int]] = {"same": [], "changed": []}
    for number in range(WRITES):
        for kind, score in (("changed", 0.5 + number % 2 / 4), ("same", 0.5 + number % 2 / 4)):
            evidence = [DEVIATES[0]._replace(score=score)]
            began = time.perf_counter_ns()
            tape.write(began, evidence)
            took[kind].append(time.perf_counter_ns() - began)
        os.read(link, 100)
    tape.close()
    os.close(link)
    return {kind: round(float(np.median(times)) / 1e3, 2) for kind, times in took.items()}


def text(result: dict[str, Any]) -> str:
    ms = result["region_ms"]
    return (
        f"region: decision {ms['p50']} ms after the last evidence (p50), {ms['p99']} ms (p99), {ms['max']} ms at most;"
        f" {ms['boxes']} boxes, {ms['events']} events; a lane spends {result['evidence_write_us']['same']} us on it,"
        f" {result['evidence_write_us']['changed']} us where its evidence has changed"
    )


class Region:
    """The boxes, once they all see each other and the conveyor runs."""

    def __init__(self, folder: Path, made: Network, count: int, stack: ExitStack) -> None:
        self._record = folder / "conveyor.jsonl"
        self._random = random.Random(1)
        robots = [f"r{number}" for number in range(1, count)]
        authority = Authority(folder / "keys")
        addresses = {name: f"tls/{made.box(name)}:{PORT}" for name in [*robots, REGION]}
        for name in addresses:
            authority.make_box(name)
        self.robots = [Robot(folder, name, addresses, made, stack) for name in robots]
        path = folder / "region.json"
        path.write_text(json.dumps(_configuration(folder, addresses, robots, self._record)), encoding="utf-8")
        for command in ("actuate", "run"):
            stack.enter_context(_program([*made.prefix(REGION), *python("agent", command, "-c", str(path))]))
        _until(lambda: self._sees_all(folder), lambda: f"the region sees every box: {self._states(folder)}")
        stack.enter_context(self._repeating())
        _until(lambda: self._verbs()[-1:] == ["run"], lambda: f"the conveyor runs: {self._states(folder)}")

    def _sees_all(self, folder: Path) -> bool:
        states = self._states(folder)
        return bool(states) and set(states.values()) == {THERE}

    def _states(self, folder: Path) -> dict[str, str]:
        boxes = published.read(folder / f"run-{REGION}").get("boxes", {})
        return {name: box["state"] for name, box in boxes.items()}

    @contextmanager
    def _repeating(self) -> Iterator[None]:
        """Each lane infers at 30 Hz, each in its own phase."""
        end = threading.Event()
        threads = [threading.Thread(target=robot.infer_until, args=(end,), daemon=True) for robot in self.robots]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            end.set()
            for thread in threads:
                thread.join()

    def event(self) -> float:
        """All robots deviate, one after the other; ms from the last one's evidence to the conveyor's stop."""
        before = len(self._verbs())
        order = self._random.sample(self.robots, len(self.robots))
        for robot in order[:-1]:
            robot.show(DEVIATES)
        time.sleep(self._random.uniform(0.05, 0.1))
        last = order[-1].show(DEVIATES)
        _until(lambda: "stop" in self._verbs()[before:], lambda: "the conveyor stops")
        stopped = next(each for each in self._movements()[before:] if each["verb"] == "stop")["t_ns"]
        for robot in order:
            robot.show([])
        _until(lambda: self._verbs()[-1:] == ["run"], lambda: "the conveyor runs again")
        return float(stopped - last) / 1e6

    def _movements(self) -> list[dict[str, Any]]:
        if not self._record.exists():
            return []
        lines = self._record.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("}\n")]

    def _verbs(self) -> list[str]:
        return [movement["verb"] for movement in self._movements()]


class Robot:
    """A box with its link, and a lane that writes the findings it is given."""

    def __init__(self, folder: Path, name: str, addresses: dict[str, str], made: Network, stack: ExitStack) -> None:
        run_dir = folder / f"run-{name}"
        run_dir.mkdir()
        others = [other for other in addresses if other != name]
        given = Settings(
            node=name,
            run_dir=run_dir,
            site="hall",
            boxes=others,
            listen=[addresses[name]],
            peers=[addresses[other] for other in others],
            discovery=False,
            keys=str(folder / "keys" / name),
            lanes=[LANE],
            regions={},
            models={},
            model_of={},
            version="0.2.0",
        )
        settings.write(given)
        self._tape = EvidenceTape(run_dir / f"{LANE}{SUFFIX}", run_dir / WAKE)
        self._lock = threading.Lock()
        self._evidence: list[Evidence] = []
        stack.callback(self._tape.close)
        stack.enter_context(_program([*made.prefix(name), *python("agent.site.link", str(run_dir))]))

    def show(self, evidence: list[Evidence]) -> int:
        """One inference; when, ns."""
        with self._lock:
            self._evidence = evidence
            now = time.monotonic_ns()
            self._tape.write(now, evidence)
        return now

    def infer_until(self, end: threading.Event) -> None:
        while not end.wait(PERIOD_S):
            with self._lock:
                self._tape.write(time.monotonic_ns(), self._evidence)


def _configuration(folder: Path, addresses: dict[str, str], robots: list[str], record: Path) -> dict[str, Any]:
    """Of the region's box: a lane for each robot, one rule over all of them."""
    lanes = {
        name: {"source": {"driver": "sensor.site", "from": [f"{name}/{LANE}"]}, "critical": False} for name in robots
    }
    conditions = [{"lane": name, "label": "deviation", "score": 0.5, "within_ms": 500} for name in robots]
    return {
        "node": REGION,
        "run_dir": str(folder / f"run-{REGION}"),
        "state_dir": str(folder / "state"),
        "recorder": {"enabled": False},
        "site": {
            "name": "hall",
            "boxes": robots,
            "listen": [addresses[REGION]],
            "peers": [addresses[name] for name in robots],
            "keys": str(folder / "keys" / REGION),
        },
        "lanes": lanes,
        "actuators": {
            "conveyor": {
                "device": {"driver": "actuator.log", "path": str(record)},
                "rest": "run",
                "verbs": ["run", "stop"],
                "senders": [f"{REGION}/{robots[0]}"],
            }
        },
        "rules": {"together": {"all": conditions, "actuator": "conveyor", "verb": "stop"}},
    }


@contextmanager
def _program(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        stop(process)


def _until(condition: Callable[[], bool], awaited: Callable[[], str]) -> None:
    """Raises DataError."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > end:
            raise DataError(f"not within {DEADLINE_S:g} s: {awaited()}")
        time.sleep(0.002)
