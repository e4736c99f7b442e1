"""`reflexd demo` and `run --scene`: the real daemon and actuator host as two processes, their progress, the ledger."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from agent import ledger, ledger_text
from agent.box.signals import STOPS, StopSignal, StopSignals
from agent.config.load import load_config
from agent.errors import ConfigError
from agent.isolated import python
from agent.packages import package
from agent.scenes import catalog


def run(seconds: float, video: Path | None, camera: str | None, model: str | None, web: bool = False) -> int:
    """Returns the daemon's exit code. web: serve the live view, too. Raises ConfigError, PackageError."""
    if video and camera:
        raise ConfigError(["demo: either --video or --camera, not both"])
    if video and not video.exists():
        raise ConfigError([f"{video} does not exist: name a video file with --video"])
    if camera and not Path(camera).exists():
        raise ConfigError([f"{camera} is not there (plugged in?): v4l2-ctl --list-devices shows the cameras"])
    with tempfile.TemporaryDirectory(prefix="reflexd-demo-") as name:
        folder = Path(name)
        if video or camera:
            path = _camera_scene(folder, video, camera, model or "person-coarse")
        else:
            path = catalog.find("robot-cell")
        return play(path, folder, seconds, web)


def run_scene(name: str, data: Path | None, seconds: float) -> int:
    """A whole scene, simulated or on recordings. seconds: 0 = until Ctrl-C. Raises ConfigError, PackageError."""
    path = catalog.find(name)
    with tempfile.TemporaryDirectory(prefix=f"reflexd-{name}-") as temporary:
        folder = Path(temporary)
        return play(catalog.on_recordings(name, data, folder) if data else path, folder, seconds)


def play(path: Path, folder: Path, seconds: float, web: bool = False) -> int:
    """Run this configuration. folder: for sockets, ledgers and recordings. seconds: 0 = until Ctrl-C.

    web: serve the live view, too.
    """
    load_config(path)  # a single message instead of one from each process
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(folder), "STATE_DIRECTORY": str(folder)}
    processes: list[subprocess.Popen[bytes]] = []
    ends = (*STOPS, signal.SIGHUP)  # else the children would stay
    old_handlers = {number: signal.getsignal(number) for number in ends}
    stop = StopSignals(ends)
    try:
        processes.append(_spawn(["actuate", "-c", str(path)], environment))
        if web:
            processes.append(_spawn(["web", "-c", str(path)], environment))
        processes.append(_spawn(["run", "-c", str(path), "--seconds", str(seconds)], environment))
        _show_progress(processes[-1], folder, stop)
    finally:
        codes = [_finish(process) for process in reversed(processes)]
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
    click.echo()
    for snapshot in ledger.read_all(folder):
        click.echo(ledger_text.table(snapshot))
    return codes[0]


def _spawn(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # In sessions of their own: Ctrl-C reaches only this program, which then ends them in order.
    return subprocess.Popen(python("agent", *arguments), env=environment, start_new_session=True)


def _finish(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _show_progress(daemon: subprocess.Popen[bytes], folder: Path, stop: StopSignal) -> None:
    """A line a second for each lane until the daemon ends or is to be stopped."""
    samples: dict[str, int] = {}
    start = time.monotonic()
    # No KeyboardInterrupt: one inside poll() leaves the lock of Popen held, and the next wait() would never end.
    while daemon.poll() is None:
        if stop.wait(1.0):
            click.echo("stopping")
            return
        for snapshot in ledger.read_all(folder):
            click.echo(_progress(snapshot, time.monotonic() - start, samples))


def _progress(snapshot: ledger.LedgerSnapshot, elapsed_s: float, samples: dict[str, int]) -> str:
    """samples: of each lane at its line before; updated."""
    count = snapshot.counts["samples"]
    rate, samples[snapshot.lane] = count - samples.get(snapshot.lane, 0), count
    total = ledger.quantiles(ledger.parts(snapshot.rows[-2000:])["total"])
    latency = f"p50 {total['p50']:.2f} ms, p99 {total['p99']:.2f} ms" if total else "no inference yet"
    newest = f"newest evidence {snapshot.label} {snapshot.score:.2f}" if snapshot.label else "no evidence"
    decisions = ledger_text.counted(snapshot.counts["decisions"], "decision")
    return f"{elapsed_s:5.0f} s  {snapshot.lane}: {snapshot.state}, {rate}/s, {latency}, {decisions}, {newest}"


def _camera_scene(folder: Path, video: Path | None, camera: str | None, model: str) -> Path:
    """A configuration for this clip or camera: what the model detects goes to the log."""
    labels = [label for label in dict.fromkeys(package.labels(package.find(model))) if label != "???"][:200]
    if video:
        source: dict[str, Any] = {"driver": "camera.file", "path": str(video.resolve()), "loop": True}
    else:
        source = {"driver": "camera.v4l2", "device": camera}
    model_path = str(Path(model).resolve()) if Path(model).exists() else model
    config = {
        "node": "demo",
        "lanes": {"camera": {"source": source, "model": model_path}},
        "actuators": {"log": {"device": {"driver": "actuator.log"}, "rest": "nothing"}},
        "rules": _log_rules(labels),
    }
    path = folder / "demo.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def _log_rules(labels: list[str]) -> dict[str, Any]:
    """A rule for each label, named after it."""
    rules: dict[str, Any] = {}
    for number, label in enumerate(labels):
        name = "see-" + re.sub(r"[^A-Za-z0-9_.-]+", "-", label)[:24]
        rules[f"{name}-{number}" if name in rules else name] = _log_rule(label)
    return rules


def _log_rule(label: str) -> dict[str, Any]:
    return {
        "any": [{"lane": "camera", "label": label, "score": 0.5, "hits": 2, "of": 3}],
        "actuator": "log",
        "verb": label[:32],
        "hold_ms": 500,
        "deadline_ms": 100,
    }
