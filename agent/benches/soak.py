"""`reflexd bench soak`: a million samples through a whole daemon as fast as they go; memory, open files and threads."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil

from agent import ledger
from agent.benches.arc import SENSOR_MODEL, machine
from agent.benches.programs import actuate, end, spawn

LOOK_S = 0.5
SETTLED = 0.1  # of the samples: until then caches and rings fill


def measure(samples: int) -> dict[str, Any]:
    """A simulated arm with faults, its model, rules, recorder and a simulated actuator in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="reflexd-soak-") as name:
        folder = Path(name)
        path = folder / "soak.yaml"
        path.write_text(json.dumps(configuration(folder)), encoding="utf-8")
        host = actuate(path)
        daemon = spawn(["agent", "run", "-c", str(path), "--samples", str(samples)], stderr=subprocess.DEVNULL)
        started = time.monotonic()
        try:
            seen = _watch(daemon, folder / "arm.ledger", samples)
        finally:
            end(daemon)
            end(host)
        told = ledger.read(folder / "arm.ledger")
    return {
        **_summary(np.array(seen), samples),
        "seconds": round(time.monotonic() - started, 1),
        "counts": {key: count for key, count in told.counts.items() if count},
        "machine": machine(),
    }


def configuration(folder: Path) -> dict[str, Any]:
    label = {"lane": "arm", "label": "deviation", "score": 0.7, "hits": 2, "of": 3}
    return {
        "run_dir": str(folder),
        "state_dir": str(folder),
        "recorder": {"files": 2},
        "lanes": {
            "arm": {"source": {"driver": "sensor.sim_arm", "pace": "fast", "fault_every_s": 1}, "model": SENSOR_MODEL}
        },
        "actuators": {"robot": {"device": {"driver": "actuator.sim"}, "rest": "run"}},
        "rules": {"off-plan": {"any": [label], "actuator": "robot", "verb": "stop"}},
    }


def _watch(daemon: subprocess.Popen[bytes], ledger_file: Path, samples: int) -> list[tuple[int, float, int, int]]:
    """(samples so far, resident kB, open files, threads) every LOOK_S from the first samples on."""
    process, seen = psutil.Process(daemon.pid), []
    said = 0
    while daemon.poll() is None:
        time.sleep(LOOK_S)
        try:
            done = ledger.read(ledger_file).counts["samples"]
            if process.status() == psutil.STATUS_ZOMBIE:
                break
            seen.append((done, process.memory_info().rss / 1e3, process.num_fds(), process.num_threads()))
        except (OSError, ValueError, psutil.Error):
            continue  # not there yet, or just gone
        if done * 10 // samples > said:
            said = done * 10 // samples
            click.echo(f"{done} of {samples} samples", err=True)
    return seen


def _summary(seen: np.ndarray[Any, Any], samples: int) -> dict[str, Any]:
    """The slope is of a straight line through all looks after the start."""
    settled = seen[
        (seen[:, 0] >= SETTLED * samples) & (seen[:, 0] < samples)
    ]  # at the end files close and threads leave
    if len(settled) < 3:
        raise click.ClickException("too few samples to see a slope: ask for more")
    at, kilobytes, files, threads = settled.T
    slope = float(np.polyfit(at, kilobytes, 1)[0]) * 1e6
    return {
        "samples": samples,
        "rss_mb": round(float(kilobytes[-1]) / 1e3, 1),
        "slope_kb_per_million": round(slope, 1),
        "open_files": [int(files.min()), int(files.max())],
        "threads": [int(threads.min()), int(threads.max())],
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
