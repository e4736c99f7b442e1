"""`reflexd bench floor`: how many robots and how many cameras one box carries, each with rules, recorder and actuator.

The robots' readings are recordings that are played at their pace, so that their simulation is not what is measured.
"""

from __future__ import annotations

import csv
import json
import logging
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from agent import ledger
from agent.benches import programs
from agent.benches.processor import ProcessorTime
from agent.box.machine import machine
from agent.data import Array
from agent.recorder import progress
from drivers.base import open_source

ROBOT_MODEL, WAKE_MODEL, PERSON_MODEL = "arm-deviation", "person-coarse", "objects"
RECORDED_S = 12  # of each arm, then it repeats
FAULT_EVERY_S = 1.0  # each makes two decisions: to stop, and to run again
WARM_S = 2.0  # not counted: programs and models start
MAX_P99_MS = 5.0  # of a robot, capture to applied
LOST = ("lost", "skipped", "stale", "undelivered", "unacknowledged", "faults")


class Floor(NamedTuple):
    """What one box carries. model: of the cameras. workers: as configured."""

    robots: int
    cameras: int
    fps: float
    model: str = WAKE_MODEL
    workers: int | str = "auto"


def measure(seconds: float, short: bool, workers: int | str = "auto") -> dict[str, Any]:
    """All figures, ms from capture to applied. seconds: that each arrangement is measured. workers: as configured."""
    seconds = 6.0 if short else seconds
    with tempfile.TemporaryDirectory(prefix="reflexd-floor-") as name:
        folder = Path(name)
        _record_arms(folder, 4)
        result: dict[str, Any] = {"machine": machine(), "short": short, "workers": workers}

        def run(floor: Floor) -> dict[str, Any]:
            return _run(floor._replace(workers=workers), seconds, folder)

        result["robots10"] = run(Floor(10, 2, 30.0))
        result["cameras16"] = run(Floor(0, 16, 10.0))
        result["persons4"] = run(Floor(0, 4, 10.0, PERSON_MODEL))
        if not short:
            result["most_robots"] = _most(lambda count: Floor(count, 2, 30.0), run, 24)
            result["most_cameras"] = _most(lambda count: Floor(0, count, 10.0), run, 64)
    return result


def _record_arms(folder: Path, count: int) -> None:
    """A CSV file of each arm, which makes a mistake every second."""
    logging.getLogger("drivers").setLevel(logging.WARNING)  # each mistake is announced
    for seed in range(count):
        options = {"pace": "fast", "seed": seed, "fault_every_s": FAULT_EVERY_S}
        arm: Any = open_source("sensor.sim_arm", options, "arm")
        arm.open()
        with (folder / f"arm{seed}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("t_s", *arm.channels))
            for number in range(int(RECORDED_S * arm.rate_hz)):
                row = arm.read(1.0).payload[0]
                writer.writerow((number / arm.rate_hz, *(f"{value:.4f}" for value in row.tolist())))
        arm.close()


def _configuration(floor: Floor, folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = {
        "node": "floor",
        "run_dir": str(folder),
        "state_dir": str(folder / "state"),
        "metrics": {"port": 0},
        "recorder": {"files": 3},
        "workers": floor.workers,
        "lanes": {},
        "actuators": {},
        "rules": {},
    }
    for number in range(floor.robots):
        source = {"driver": "sensor.replay", "path": str(folder / f"arm{number % 4}.csv"), "loop": True}
        _add_lane(config, f"robot{number}", source, ROBOT_MODEL, ("deviation", "collision", "overspeed"))
    for number in range(floor.cameras):
        source = {"driver": "camera.sim", "width": 640, "height": 480, "fps": floor.fps}
        _add_lane(config, f"camera{number}", source, floor.model, ("person",))
    return config


def _add_lane(config: dict[str, Any], name: str, source: dict[str, Any], model: str, labels: tuple[str, ...]) -> None:
    """With an actuator of its own that stops while one of the labels is found."""
    config["lanes"][name] = {"source": source, "model": model}
    config["actuators"][name] = {"device": {"driver": "actuator.sim"}, "rest": "run"}
    conditions = [{"lane": name, "label": label, "score": 0.5, "hits": 2, "of": 3} for label in labels]
    config["rules"][name] = {"any": conditions, "actuator": name, "verb": "stop", "hold_ms": 50}


def _run(floor: Floor, seconds: float, folder: Path) -> dict[str, Any]:
    """Lost readings and pictures of all lanes, and the slowest kind's p99."""
    click.echo(f"{floor.robots} robots, {floor.cameras} cameras of {floor.fps:g} fps with {floor.model}", err=True)
    path = folder / "floor.yaml"
    path.write_text(json.dumps(_configuration(floor, folder)), encoding="utf-8")
    host = programs.start_host(path)
    arguments = ["agent", "run", "-c", str(path), "--seconds", str(seconds + WARM_S)]
    daemon = programs.spawn(arguments, stderr=subprocess.DEVNULL)
    processors = ProcessorTime({"lanes": daemon.pid, "actuators": host.pid})
    try:
        processors.follow(daemon, WARM_S, 60 + 3 * seconds)
    finally:
        programs.stop(daemon)
        programs.stop(host)
    snapshots = list(ledger.read_all(folder))
    for each in folder.glob("*.ledger"):
        each.unlink()
    complete = len(snapshots) == floor.robots + floor.cameras
    figures = _figures(snapshots, "robot" if floor.robots else "camera", complete)
    # The recorder has what is left of the processor; what it misses is missing in no decision.
    return {**figures, "not_recorded": progress.read(folder).lost, "processor": processors.shares()}


def _figures(snapshots: list[ledger.LedgerSnapshot], kind: str, complete: bool) -> dict[str, Any]:
    """lost: None where a lane did not even start."""
    totals = [_applied_ms(snapshot) for snapshot in snapshots if snapshot.lane.startswith(kind)]
    ms = np.concatenate(totals) if totals else np.zeros(0)
    drops = {name: sum(snapshot.counts[name] for snapshot in snapshots) for name in LOST}
    quantiles = {name: round(value, 2) for name, value in ledger.quantiles(ms).items()}
    return {
        "lost": sum(drops.values()) if complete else None,
        "p99_ms": quantiles.get("p99"),
        "p50_ms": quantiles.get("p50"),
        "applied": len(ms),
        "samples": sum(snapshot.counts["samples"] for snapshot in snapshots),
        # Where a lane is late it reads several samples at once, and infers on the newest.
        "inferred": sum(snapshot.counts["inferences"] for snapshot in snapshots),
        "drops": {name: count for name, count in drops.items() if count},
    }


def _applied_ms(snapshot: ledger.LedgerSnapshot) -> Array:
    """Capture to applied of every decision after the start."""
    rows = snapshot.rows
    if not len(rows):
        return np.zeros(0)
    warm = rows["capture"] > rows["capture"][0] + WARM_S * 1e9
    return ledger.parts(rows[warm & (rows["applied"] > 0)])["total"]


def _most(floor: Callable[[int], Floor], run: Callable[[Floor], dict[str, Any]], limit: int) -> int:
    """The largest number that loses nothing and keeps its budget, by bisection; 0 where not even 1 does."""
    good, bad = 0, limit + 1
    while bad - good > 1:
        count = (good + bad) // 2
        figures = run(floor(count))
        budget = MAX_P99_MS if floor(count).robots else 10.0
        kept = figures["lost"] == 0 and figures["p99_ms"] is not None and figures["p99_ms"] <= budget
        good, bad = (count, bad) if kept else (good, count)
    return good


def text(result: dict[str, Any]) -> str:
    """The same as a table."""
    heads = f"{'':<38}{'lost':>6}{'p50 ms':>9}{'p99 ms':>9}{'decisions':>11}{'inferred %':>12}{'not recorded':>14}"
    lines = [f"{result['machine']}, workers: {result['workers']}", f"{heads}  cores used"]
    titles = {
        "robots10": "10 robots at 1 kHz, 2 cameras of 30 fps",
        "cameras16": f"16 cameras of 10 fps, {WAKE_MODEL}",
        "persons4": f"4 cameras of 10 fps, {PERSON_MODEL}",
    }
    for key, title in titles.items():
        row = result[key]
        figures = f"{row['lost']!s:>6}{row['p50_ms']!s:>9}{row['p99_ms']!s:>9}{row['applied']:>11}"
        share = 100 * row["inferred"] / max(1, row["samples"])
        used = ", ".join(f"{name} {cores}" for name, cores in row["processor"].items())
        lines.append(f"{title:<38}{figures}{share:>12.1f}{row['not_recorded']:>14}  {used}")
    if "most_robots" in result:
        lines.append(f"at most {result['most_robots']} robots beside two cameras, or {result['most_cameras']} cameras")
    return "\n".join(lines)
