"""`reflexd bench arc`: from capture to actuator, reflexd against a bare script, in alternating runs on this machine."""

from __future__ import annotations

import tempfile
import time
import timeit
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import psutil

from agent import ledger
from agent.benches import programs
from agent.benches.programs import CAMERA_MODEL, SENSOR_MODEL, Milliseconds, Run
from agent.box.machine import machine
from agent.data import Sample
from agent.ledger import Ledger
from agent.offline import offline_lane
from agent.packages import package
from agent.packages.package import Package
from agent.perception import Perception
from agent.rules.engine import Rules
from agent.rules.scene import Scene

LOADS = {
    "reflexd": programs.INSTALLED,  # recorder on
    "busy": programs.BUSY,  # scraped 10/s, configuration checked every second
    "minimal": programs.MINIMAL,  # neither recorder nor metrics
    "monitored": programs.MONITORED,  # recorder, scraped every second
}


class Size(NamedTuple):
    """How much is measured. rounds: of each program in turn; the others: samples, of all rounds together."""

    rounds: int
    camera: int
    sensor: int
    four_cameras: int
    slope: int


def measure(model: str | None, samples: int, busy: bool, recorder: bool, short: bool = False) -> dict[str, Any]:
    """All figures of this bench, times in ms. model: package of the camera lane."""
    size = Size(rounds=2, camera=100, sensor=800, four_cameras=30, slope=10_000)
    if not short:
        size = Size(rounds=4, camera=samples, sensor=max(samples, 2000), four_cameras=100, slope=100_000)
    camera = package.open_package(package.find(model or CAMERA_MODEL))
    sensor = package.open_package(package.find(SENSOR_MODEL))
    variants = [name for name, wanted in (("busy", busy), ("minimal", recorder), ("monitored", recorder)) if wanted]
    with tempfile.TemporaryDirectory(prefix="reflexd-bench-") as name:
        folder = Path(name)
        result: dict[str, Any] = {"machine": machine(), "short": short, "camera_model": camera.name}
        result["camera"], runs = _compare("camera", camera, size.camera, size.rounds, folder, variants)
        result["sensor"], _ = _compare("sensor", sensor, size.sensor, size.rounds, folder, variants)
        result["rss_mb"] = round(max(run.rss_mb for run in runs), 1)
        result["first_decision_s"] = round(max(run.first_s for run in runs), 2)
        result["four_cameras"] = _four_cameras(camera, size.four_cameras, folder)
    result["ledger"] = _ledger_cost(result)
    result["memory"] = _slope(sensor, size.slope)
    return result


def _compare(
    kind: str, opened: Package, samples: int, rounds: int, folder: Path, variants: list[str]
) -> tuple[dict[str, Any], list[Run]]:
    """Bare script, reflexd and its variants in turn, round after round."""
    per_round = -(-samples // rounds)
    model = opened.folder / opened.manifest.file
    bare: list[Milliseconds] = []
    runs: dict[str, list[Run]] = {name: [] for name in ("reflexd", *variants)}
    for number in range(rounds):
        click.echo(f"{kind}: round {number + 1} of {rounds}", err=True)
        bare.append(programs.run_bare(kind, model, per_round, folder))
        for name in runs:
            runs[name].append(programs.run_reflexd(kind, opened, per_round, folder, load=LOADS[name]))
    figures = {name: _figures([run.ms for run in each]) for name, each in runs.items()}
    result = {"bare": _figures(bare), **figures, **_ratios(_figures(bare), figures)}
    result["lost"] = sum(run.lost() for run in runs["reflexd"])
    return result, runs["reflexd"]


def _ratios(bare: dict[str, float], figures: dict[str, dict[str, float]]) -> dict[str, float]:
    """Of reflexd to the bare script, and of the variants to what they are compared with."""
    ratios = {f"ratio_{quantile}": _ratio(figures["reflexd"], bare, quantile) for quantile in ("p50", "p99")}
    if "busy" in figures:
        ratios["busy_ratio_p99"] = _ratio(figures["busy"], figures["reflexd"], "p99")
    if "monitored" in figures:
        for quantile in ("p50", "p99"):
            ratios[f"monitored_ratio_{quantile}"] = _ratio(figures["monitored"], figures["minimal"], quantile)
    return ratios


def _ratio(figures: dict[str, float], reference: dict[str, float], quantile: str) -> float:
    return round(figures[quantile] / reference[quantile], 3)


def _figures(runs: list[Milliseconds]) -> dict[str, float]:
    ms = np.concatenate(runs)
    return {**{name: round(value, 3) for name, value in ledger.quantiles(ms).items()}, "samples": len(ms)}


def _four_cameras(opened: Package, samples: int, folder: Path) -> dict[str, Any]:
    """Four camera lanes of 10 fps side by side."""
    click.echo("four cameras", err=True)
    run = programs.run_reflexd("camera", opened, samples, folder, lanes=4, rate_hz=10.0)
    lanes = {}
    for snapshot in run.snapshots:
        total = ledger.parts(snapshot.rows[snapshot.rows["applied"] > 0])["total"]
        drops = {name: snapshot.counts[name] for name in ledger.DROPS if snapshot.counts[name]}
        lanes[snapshot.lane] = {"samples": snapshot.counts["samples"], **_figures([total]), "dropped": drops}
    return lanes


def _ledger_cost(result: dict[str, Any]) -> dict[str, float]:
    """Time to stamp, count and record one sample, and its share of the shortest median measured."""
    bench_ledger = Ledger(None, "bench", 1.0)

    def sample() -> None:
        clock = time.monotonic_ns
        bench_ledger.count[ledger.SAMPLES] += 1
        bench_ledger.count[ledger.INFERENCES] += 1
        bench_ledger.count[ledger.DECISIONS] += 1
        bench_ledger.count[ledger.SENT] += 1
        bench_ledger.write(1, clock(), clock(), clock(), clock(), clock(), clock(), clock())
        bench_ledger.record_applied(ledger.HEADER, clock())

    us = min(timeit.repeat(sample, number=20_000, repeat=5)) / 20_000 * 1e6
    shortest = min(result[kind]["reflexd"]["p50"] for kind in ("camera", "sensor"))
    return {"us_per_sample": round(us, 2), "percent_of_sample": round(us / 10 / shortest, 3)}


def _slope(opened: Package, samples: int) -> dict[str, float]:
    """Growth of the resident memory while samples go through a lane as fast as possible."""
    click.echo(f"{samples} samples for the memory slope", err=True)
    lane = offline_lane("slope", "sensor.sim_arm", {}, Perception(opened))
    lane.open()
    scene, process = Scene(Rules({}, {})), psutil.Process()
    memory: list[tuple[int, float]] = []
    for number in range(samples):
        sample = lane.source.read(1.0)
        if isinstance(sample, Sample):
            lane.step(sample, scene)
            lane.ledger.write(number, 0, 0, 0, 0, 0, 0, 0)
        if number >= samples // 10 and number % (samples // 100) == 0:
            memory.append((number, process.memory_info().rss / 1e3))
    lane.source.close()
    numbers, kilobytes = np.array(memory).T
    slope = np.polyfit(numbers, kilobytes, 1)[0]
    return {
        "samples": samples,
        "rss_mb": round(memory[-1][1] / 1e3, 1),
        "slope_kb_per_100k": round(float(slope) * 100_000, 1),
    }


def text(result: dict[str, Any]) -> str:
    """The same as a table."""
    lines = [result["machine"], f"{'ms, capture to applied':<34}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}"]
    for kind in ("camera", "sensor"):
        lines += _comparison(kind, result[kind])
    for name, lane in result["four_cameras"].items():
        dropped = lane["dropped"] or "none"
        lines.append(f"four cameras, {name}: {lane['samples']} samples, p99 {lane['p99']} ms, dropped {dropped}")
    cost, memory = result["ledger"], result["memory"]
    return "\n".join(
        [
            *lines,
            f"first decision {result['first_decision_s']} s after start, resident {result['rss_mb']} MB",
            f"ledger {cost['us_per_sample']} us, {cost['percent_of_sample']} % of a sample's time",
            f"memory slope {memory['slope_kb_per_100k']} kB per 100,000 samples, over {memory['samples']} samples",
        ]
    )


def _comparison(kind: str, result: dict[str, Any]) -> list[str]:
    lines = []
    for name in ("bare", *LOADS):
        if name in result:
            label = f"{kind} {name} ({result[name]['samples']} samples)"
            lines.append(f"{label:<34}" + "".join(f"{result[name][q]:9.3f}" for q in ("p50", "p99", "p99.9", "max")))
    lines.append(f"  ratio p50 {result['ratio_p50']}, p99 {result['ratio_p99']}, lost {result['lost']}")
    if "monitored" in result:
        ratios = f"p50 {result['monitored_ratio_p50']}, p99 {result['monitored_ratio_p99']}"
        lines.append(f"  with recorder and metrics against without: {ratios}")
    return lines
