"""`reflexd bench twins`: two boxes see the same events and command the same actuators, and die in turn.

Counted at the devices: every event must move each of them once, and nothing else may. Two actuators: of `robot`, `stop`
is the strongest verb; `lamp` has none, and the newest change counts.
"""

from __future__ import annotations

import json
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from agent import ledger
from agent.benches.twins import pauses
from agent.benches.twins.cables import LOOPBACK, NAMESPACES
from agent.benches.twins.site import BOXES, CLOCKS, DEVICES, SAFE, SAFE_AFTER_MS, Site
from agent.box import realtime
from agent.box.machine import machine
from agent.commands.guard import SILENCE_TICKS, TICKS

EVENTS, KILLS = 1000, 150
SHORT_EVENTS, SHORT_KILLS = 60, 12
AHEAD_S, LASTS_S, PAUSE_S = 0.05, (0.25, 0.4), (0.35, 0.8)
SILENCE_MS = SAFE_AFTER_MS / TICKS * SILENCE_TICKS


class Event(NamedTuple):
    """Monotonic ns."""

    start: int
    end: int


class Schedule(threading.Thread):
    """One event after the other until `stopping`, and `least` of them."""

    def __init__(self, site: Site, least: int) -> None:
        super().__init__(daemon=True)
        self.site = site
        self.least = least
        self.past: list[Event] = []
        self.stopping = threading.Event()
        self.chance = random.Random(1)

    def run(self) -> None:
        while len(self.past) < self.least or not self.stopping.is_set():
            start = time.monotonic_ns() + int(AHEAD_S * 1e9)
            event = Event(start, start + int(self.chance.uniform(*LASTS_S) * 1e9))
            self.site.events.announce(*event)
            time.sleep((event.end - time.monotonic_ns()) / 1e9 + self.chance.uniform(*PAUSE_S))
            self.past.append(event)


class Counted(NamedTuple):
    """Of one actuator. late_ms: from an event to the movement that it made."""

    lost: int
    doubled: int
    safe_stops: int
    ms: list[float]


def measure(short: bool = False) -> dict[str, Any]:
    events, kills = (SHORT_EVENTS, SHORT_KILLS) if short else (EVENTS, KILLS)
    with tempfile.TemporaryDirectory(prefix="reflexd-twins-") as name:
        site = Site(Path(name))
        try:
            site.start()
            watching = pauses.start()
            started = time.monotonic_ns()
            past, harmed = _run(site, events, kills)
            ended = time.monotonic_ns()
            pause_ms = pauses.stop(watching)
        finally:
            site.close()
        reasons = site.reasons()
        counted = {
            actuator: count(past, _movements(site.record(actuator)), verb, started, ended)
            for actuator, (_, verb, _) in DEVICES.items()
        }
    return {
        "machine": machine(),
        "short": short,
        "fifo": realtime.fifo_setting().on,
        "network": NAMESPACES if site.cables.real else LOOPBACK,
        "clocks": {box: f"{offset} s ahead, {ppm} ppm fast" for box, (offset, ppm) in CLOCKS.items()},
        "events": len(past),
        "kills": sum(harmed.values()),
        "kills_by_kind": harmed,
        **_totals(counted),
        "safe_reasons": reasons,
        "longest_pause_ms": round(pause_ms, 1),
        "actuators": {name: each._replace(ms=[])._asdict() | figures(each.ms) for name, each in counted.items()},
    }


def _run(site: Site, events: int, kills: int) -> tuple[list[Event], dict[str, int]]:
    """The events, and how often a box died in which way. Kills are spread over the events; both boxes in turn."""
    harmed = dict.fromkeys(site.kinds, 0)
    schedule = Schedule(site, events)
    schedule.start()
    try:
        for number in range(kills):
            while len(schedule.past) < (number + 0.5) * events / kills:
                time.sleep(0.01)
            time.sleep(site.chance.uniform(0.0, 1.0))
            kind = site.kinds[number // len(BOXES) % len(site.kinds)]
            site.harm(kind, BOXES[number % len(BOXES)])
            harmed[kind] += 1
            if (number + 1) % max(1, kills // 10) == 0:
                click.echo(f"{number + 1} of {kills} kills, {len(schedule.past)} events", err=True)
    finally:
        schedule.stopping.set()
        schedule.join()
    return schedule.past, harmed


def _movements(record: Path) -> list[tuple[int, str]]:
    rows = map(json.loads, record.read_text().splitlines())
    return [(row["t_ns"], row["verb"]) for row in rows]


def count(events: list[Event], movements: list[tuple[int, str]], verb: str, started: int, ended: int) -> Counted:
    """verb: of an event. An event is lost where no movement comes while it lasts, and doubled where two come for it."""
    lost, doubled, ms = 0, 0, []
    moved = [t for t, moved_to in movements if moved_to == verb]
    for event, following in zip(events, [*events[1:], Event(ended, ended)]):
        of_event = [t for t in moved if event.start <= t < following.start]
        in_time = [t for t in of_event if t < event.end]
        lost += not in_time
        doubled += len(of_event) > 1
        ms += [(in_time[0] - event.start) / 1e6] if in_time else []
    safe_stops = sum(moved_to == SAFE and started < t < ended for t, moved_to in movements)
    return Counted(lost, doubled, safe_stops, ms)


def _totals(counted: dict[str, Counted]) -> dict[str, Any]:
    ms = [value for each in counted.values() for value in each.ms]
    return {
        "lost": sum(each.lost for each in counted.values()),
        "doubled": sum(each.doubled for each in counted.values()),
        "safe_stops": sum(each.safe_stops for each in counted.values()),
        **figures(ms),
    }


def figures(ms: list[float]) -> dict[str, float]:
    return {f"{name}_ms": round(value, 2) for name, value in ledger.quantiles(np.asarray(ms)).items()}


def failed(result: dict[str, Any]) -> bool:
    """Not by its milliseconds, which are of this machine and its load.

    A machine that itself paused for as long as means silence had to make its devices safe, and to move them again.
    """
    paused = result["longest_pause_ms"] >= SILENCE_MS
    return bool(result["lost"] or (result["doubled"] or result["safe_stops"]) and not paused)


def text(result: dict[str, Any]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in result["kills_by_kind"].items())
    lines = [
        f"{result['machine']}, SCHED_FIFO {'on' if result['fifo'] else 'off'}; {result['network']}",
        f"clocks: {', '.join(f'{box} {clock}' for box, clock in result['clocks'].items())}",
        f"{result['events']} events at two actuators, {result['kills']} times a box died ({kinds})",
        f"lost {result['lost']}, doubled {result['doubled']}, safe stops {result['safe_stops']}",
        f"longest pause of the machine {result['longest_pause_ms']} ms: above {SILENCE_MS:g} ms no box is heard",
    ]
    for name, row in {"both": result, **result["actuators"]}.items():
        lines.append(
            f"event to movement, {name}: p50 {row.get('p50_ms')}, p99 {row.get('p99_ms')}, max {row.get('max_ms')} ms"
        )
    return "\n".join(lines)
