"""`reflexd bench soak`: a million samples through a whole daemon at full speed; memory, open files and threads."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import psutil

from agent import ledger
from agent.benches.programs import SENSOR_MODEL, spawn, start_host, stop
from agent.box.machine import machine

INTERVAL_S = 0.5  # between measurements
SHORT_SAMPLES = 200_000
SETTLED = 0.1  # of the samples: until then caches and rings fill


class Usage(NamedTuple):
    """samples: so far. kilobytes: resident memory."""

    samples: int
    kilobytes: float
    files: int
    threads: int


def measure(samples: int, short: bool = False) -> dict[str, Any]:
    """A simulated arm with faults, its model, rules, recorder and a simulated actuator in a process of its own."""
    samples = min(samples, SHORT_SAMPLES) if short else samples
    with tempfile.TemporaryDirectory(prefix="reflexd-soak-") as name:
        folder = Path(name)
        path = folder / "soak.yaml"
        path.write_text(json.dumps(arm_configuration(folder)), encoding="utf-8")
        host = start_host(path)
        daemon = spawn(["agent", "run", "-c", str(path), "--samples", str(samples)], stderr=subprocess.DEVNULL)
        started = time.monotonic()
        try:
            usage = _measure_until_end(daemon, folder / "arm.ledger", samples)
        finally:
            stop(daemon)
            stop(host)
        snapshot = ledger.read(folder / "arm.ledger")
    return {
        "short": short,
        **_summary(usage, samples),
        "seconds": round(time.monotonic() - started, 1),
        "counts": {key: count for key, count in snapshot.counts.items() if count},
        "machine": machine(),
    }


def arm_configuration(folder: Path) -> dict[str, Any]:
    """A simulated arm without pacing, whose deviations stop a robot."""
    condition = {"lane": "arm", "label": "deviation", "score": 0.7, "hits": 2, "of": 3}
    return {
        "run_dir": str(folder),
        "state_dir": str(folder),
        "recorder": {"files": 2},
        "lanes": {
            "arm": {"source": {"driver": "sensor.sim_arm", "pace": "fast", "fault_every_s": 1}, "model": SENSOR_MODEL}
        },
        "actuators": {"robot": {"device": {"driver": "actuator.sim"}, "rest": "run"}},
        "rules": {"off-plan": {"any": [condition], "actuator": "robot", "verb": "stop"}},
    }


def _measure_until_end(daemon: subprocess.Popen[bytes], ledger_file: Path, samples: int) -> list[Usage]:
    """A measurement every INTERVAL_S from the first samples on."""
    process, usage = psutil.Process(daemon.pid), []
    tenths = 0
    while daemon.poll() is None:
        time.sleep(INTERVAL_S)
        try:
            done = ledger.read(ledger_file).counts["samples"]
            if process.status() == psutil.STATUS_ZOMBIE:
                break
            usage.append(Usage(done, process.memory_info().rss / 1e3, process.num_fds(), process.num_threads()))
        except (OSError, ValueError, psutil.Error):
            continue  # not started yet, or just ended
        if done * 10 // samples > tenths:
            tenths = done * 10 // samples
            click.echo(f"{done} of {samples} samples", err=True)
    return usage


def _summary(usage: list[Usage], samples: int) -> dict[str, Any]:
    """The slope is that of a straight line through all measurements after the start."""
    # Before the end only: there files are closed and threads end.
    settled = [each for each in usage if SETTLED * samples <= each.samples < samples]
    if len(settled) < 3:
        raise click.ClickException("too few samples for a slope: set more with --samples")
    numbers, kilobytes = (np.array([each[column] for each in settled]) for column in (0, 1))
    slope = float(np.polyfit(numbers, kilobytes, 1)[0]) * 1e6
    files, threads = ([each.files for each in settled], [each.threads for each in settled])
    return {
        "samples": samples,
        "rss_mb": round(float(kilobytes[-1]) / 1e3, 1),
        "slope_kb_per_million": round(slope, 1),
        "open_files": [min(files), max(files)],
        "threads": [min(threads), max(threads)],
    }


def text(result: dict[str, Any]) -> str:
    files, threads = result["open_files"], result["threads"]
    return "\n".join(
        [
            result["machine"],
            f"{result['samples']} samples in {result['seconds']} s: resident {result['rss_mb']} MB, "
            f"slope {result['slope_kb_per_million']} kB per million samples",
            f"open files {files[0]} to {files[1]}, threads {threads[0]} to {threads[1]} after the start",
            ", ".join(f"{count} {name}" for name, count in result["counts"].items()),
        ]
    )
