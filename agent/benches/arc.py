"""`reflexd bench arc`: the whole way from capture to actuator against a bare script, in alternating runs on this machine."""

from __future__ import annotations

import platform
import tempfile
import time
import timeit
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil

from agent import ledger, package
from agent.benches import programs
from agent.benches.programs import Milliseconds, Run
from agent.data import Sample
from agent.lane import offline_lane
from agent.ledger import Ledger
from agent.perception import Perception
from agent.rules.engine import Rules
from agent.rules.scene import Scene

ROUNDS = 4
BESIDE = {
    "reflexd": programs.USUAL,  # as installed: recorder on
    "busy": programs.HARRIED,  # scraped 10/s, configuration checked every second
    "alone": programs.ALONE,  # neither recorder nor metrics
    "watched": programs.WATCHED,  # recorder, scraped every second
}
SENSOR_MODEL, CAMERA_MODEL = "arm-deviation", "person-coarse"


def measure(model: str | None, samples: int, busy: bool, recorder: bool) -> dict[str, Any]:
    """Everything that issue and README quote, as one dict; times in ms."""
    camera = package.open_package(package.find(model or CAMERA_MODEL))
    sensor = package.open_package(package.find(SENSOR_MODEL))
    with tempfile.TemporaryDirectory(prefix="reflexd-bench-") as name:
        folder = Path(name)
        result: dict[str, Any] = {"machine": machine(), "camera_model": camera.name}
        more = [name for name, wanted in (("busy", busy), ("alone", recorder), ("watched", recorder)) if wanted]
        result["camera"], runs = _compare("camera", camera, samples, folder, more)
        result["sensor"], _ = _compare("sensor", sensor, max(samples, 2000), folder, more)
        result["rss_mb"] = round(max(run.rss_mb for run in runs), 1)
        result["first_decision_s"] = round(max(run.first_s for run in runs), 2)
        result["four_cameras"] = _four(camera, folder)
    result["ledger"] = _ledger_cost(result)
    result["memory"] = _slope(sensor)
    return result


def _compare(
    kind: str, opened: package.Package, samples: int, folder: Path, more: list[str]
) -> tuple[dict[str, Any], list[Run]]:
    """Bare and reflexd in turn, A B A B. more: further programs, each reflexd with something else beside it."""
    each = -(-samples // ROUNDS)
    model = opened.folder / opened.manifest.file
    bare: list[Milliseconds] = []
    runs: dict[str, list[Run]] = {name: [] for name in ("reflexd", *more)}
    for number in range(ROUNDS):
        click.echo(f"{kind}: round {number + 1} of {ROUNDS}", err=True)
        bare.append(programs.bare(kind, model, each, folder))
        for name, found in runs.items():
            found.append(programs.reflexd(kind, opened, each, folder, beside=BESIDE[name]))
    theirs = _figures(bare)
    ours = {name: _figures([run.ms for run in found]) for name, found in runs.items()}
    result: dict[str, Any] = {"bare": theirs, **ours}
    result["ratio_p50"] = _ratio(ours["reflexd"], theirs, "p50")
    result["ratio_p99"] = _ratio(ours["reflexd"], theirs, "p99")
    result["lost"] = sum(run.lost() for run in runs["reflexd"])
    if "busy" in more:
        result["busy_ratio_p99"] = _ratio(ours["busy"], ours["reflexd"], "p99")
    if "watched" in more:
        result["watched_ratio_p50"] = _ratio(ours["watched"], ours["alone"], "p50")
        result["watched_ratio_p99"] = _ratio(ours["watched"], ours["alone"], "p99")
    return result, runs["reflexd"]


def _ratio(one: dict[str, float], other: dict[str, float], quantile: str) -> float:
    return round(one[quantile] / other[quantile], 3)


def _figures(runs: list[Milliseconds]) -> dict[str, float]:
    together = np.concatenate(runs)
    found = {name: round(value, 3) for name, value in ledger.quantiles(together).items()}
    return {**found, "samples": len(together)}


def _four(opened: package.Package, folder: Path) -> dict[str, Any]:
    """Four camera lanes of 10 fps side by side."""
    click.echo("four cameras", err=True)
    run = programs.reflexd("camera", opened, 100, folder, lanes=4, rate_hz=10.0)
    lanes = {}
    for snapshot in run.snapshots:
        total = ledger.parts(snapshot.rows[snapshot.rows["applied"] > 0])["total"]
        drops = {name: snapshot.counts[name] for name in ledger.DROPS if snapshot.counts[name]}
        lanes[snapshot.lane] = {"samples": snapshot.counts["samples"], **_figures([total]), "dropped": drops}
    return lanes


def _ledger_cost(result: dict[str, Any]) -> dict[str, float]:
    """Time to stamp, count and book one sample, and its share of the shortest way measured."""
    own = Ledger(None, "bench", 1.0)

    def sample() -> None:
        clock = time.monotonic_ns
        own.count[ledger.SAMPLES] += 1
        own.count[ledger.INFERENCES] += 1
        own.count[ledger.DECISIONS] += 1
        own.count[ledger.SENT] += 1
        own.write(1, clock(), clock(), clock(), clock(), clock(), clock(), clock())
        own.book_applied(ledger.HEADER, clock())

    us = min(timeit.repeat(sample, number=20_000, repeat=5)) / 20_000 * 1e6
    shortest = min(result[kind]["reflexd"]["p50"] for kind in ("camera", "sensor"))
    return {"us_per_sample": round(us, 2), "percent_of_sample": round(us / 10 / shortest, 3)}


def _slope(opened: package.Package, samples: int = 100_000) -> dict[str, float]:
    """Resident memory along 100,000 samples through a lane as fast as they go."""
    click.echo(f"{samples} samples for the memory slope", err=True)
    lane = offline_lane("slope", "sensor.sim_arm", {}, Perception(opened))
    lane.open()
    scene, process = Scene(Rules({}, {})), psutil.Process()
    seen: list[tuple[int, float]] = []
    for number in range(samples):
        sample = lane.source.read(1.0)
        if isinstance(sample, Sample):
            lane.step(sample, scene)
            lane.ledger.write(number, 0, 0, 0, 0, 0, 0, 0)
        if number >= samples // 10 and number % (samples // 100) == 0:
            seen.append((number, process.memory_info().rss / 1e3))
    lane.source.close()
    at, kilobytes = np.array(seen).T
    rising = np.polyfit(at, kilobytes, 1)[0]
    return {
        "samples": samples,
        "rss_mb": round(seen[-1][1] / 1e3, 1),
        "slope_kb_per_100k": round(float(rising) * 100_000, 1),
    }


def machine() -> str:
    """What it ran on, for the README."""
    model = platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    return f"{model}, {psutil.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def text(result: dict[str, Any]) -> str:
    """The same for a person."""
    lines = [result["machine"], f"{'ms, capture to applied':<34}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}"]
    for kind in ("camera", "sensor"):
        for name in ("bare", *BESIDE):
            one = result[kind].get(name)
            if one:
                label = f"{kind} {name} ({one['samples']} samples)"
                lines.append(f"{label:<34}" + "".join(f"{one[q]:9.3f}" for q in ("p50", "p99", "p99.9", "max")))
        lines.append(
            f"  ratio p50 {result[kind]['ratio_p50']}, p99 {result[kind]['ratio_p99']}, lost {result[kind]['lost']}"
        )
        if "watched" in result[kind]:
            grown = f"p50 {result[kind]['watched_ratio_p50']}, p99 {result[kind]['watched_ratio_p99']}"
            lines.append(f"  with recorder and metrics against without: {grown}")
    for name, lane in result["four_cameras"].items():
        lines.append(
            f"four cameras, {name}: {lane['samples']} samples, p99 {lane['p99']} ms, dropped {lane['dropped'] or 'none'}"
        )
    lines.append(f"first decision {result['first_decision_s']} s after start, resident {result['rss_mb']} MB")
    lines.append(
        f"ledger {result['ledger']['us_per_sample']} us, {result['ledger']['percent_of_sample']} % of a sample's time"
    )
    memory = result["memory"]
    lines.append(f"memory slope {memory['slope_kb_per_100k']} kB over {memory['samples']} samples")
    return "\n".join(lines)
