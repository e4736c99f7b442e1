"""The two programs of a comparison: the bare script and reflexd, each as whole processes on the same source."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import psutil

from agent import ledger
from agent.isolated import python
from agent.packages.package import Package

WARM = {"camera": 30, "sensor": 500}  # samples at the start of a run that are not counted, in both programs
SPARE = {"camera": 2, "sensor": 200}  # a window fills first, and readings that arrive together make one command
CAMERA_MODEL, SENSOR_MODEL = "person-coarse", "arm-deviation"
VERB_S = 30.0
RATE_HZ = {"camera": 30.0, "sensor": 1000.0}

Milliseconds = npt.NDArray[np.float64]


class Run(NamedTuple):
    """Figures of one run of reflexd. ms: capture to applied of the counted samples."""

    ms: Milliseconds
    snapshots: list[ledger.LedgerSnapshot]
    rss_mb: float
    first_s: float

    def lost(self) -> int:
        """Readings that never became a command that was applied."""
        return sum(
            snapshot.counts[reason]
            for snapshot in self.snapshots
            for reason in ("lost", "skipped", "undelivered", "unacknowledged")
        )


def run_bare(kind: str, model: Path, samples: int, folder: Path) -> Milliseconds:
    """One run of the bare script; capture to received in ms."""
    endpoint = f"ipc://{folder}/bare.sock"
    total = samples + WARM[kind]
    sink = spawn(["agent.benches.sink", endpoint, str(total)], stdout=subprocess.PIPE)
    assert sink.stdout is not None
    sink.stdout.readline()
    script = spawn(["agent.benches.bare", kind, str(model), endpoint, str(total)])
    stdout, _ = sink.communicate(timeout=60 + 2 * total / RATE_HZ[kind])
    script.wait(10)
    return np.array(stdout.split(), np.float64)[WARM[kind] :] / 1e6


class Load(NamedTuple):
    """What runs beside the lanes. scrape_s: interval between scrapes of /metrics, 0 for no metrics.

    check_config: validate the configuration in another process every second.
    """

    recorder: bool = True
    scrape_s: float = 0.0
    check_config: bool = False


INSTALLED, MINIMAL = Load(), Load(recorder=False)
MONITORED, BUSY = Load(scrape_s=1.0), Load(scrape_s=0.1, check_config=True)


def _configuration(
    kind: str, package: Package, folder: Path, lanes: int, rate_hz: float, load: Load, port: int
) -> dict[str, Any]:
    """Lanes on simulated sources; every sample becomes a command, whatever the model reports."""
    sources = {
        "camera": {"driver": "camera.sim", "width": 640, "height": 480, "fps": rate_hz},
        "sensor": {"driver": "sensor.sim_arm", "rate_hz": rate_hz},
    }
    label = package.manifest.labels[0] if package.manifest.labels else "person"
    config: dict[str, Any] = {
        "node": "bench",
        "run_dir": str(folder),
        "state_dir": str(folder / "state"),
        "metrics": {"port": port},
        "recorder": {"enabled": load.recorder, "files": 3},
        "lanes": {},
        "actuators": {},
        "rules": {},
    }
    for number in range(lanes):
        name = f"{kind}{number}"
        always = [{"lane": name, "label": label, "score": 0.5, "absent": absent} for absent in (False, True)]
        config["lanes"][name] = {"source": sources[kind], "model": str(package.folder.resolve())}
        config["actuators"][f"act{number}"] = {"device": {"driver": "actuator.sim"}, "rest": "rest"}
        config["rules"][name] = {
            "any": always,
            "actuator": f"act{number}",
            "verb": "go",
            "every_sample": True,
            "deadline_ms": 100,
        }
    return config


def run_reflexd(
    kind: str,
    package: Package,
    samples: int,
    folder: Path,
    lanes: int = 1,
    rate_hz: float = 0.0,
    load: Load = INSTALLED,
) -> Run:
    """One run of `reflexd run` and `reflexd actuate`; figures from the ledgers that they leave."""
    rate_hz = rate_hz or RATE_HZ[kind]
    port = free_port() if load.scrape_s else 0
    path = folder / "bench.yaml"
    path.write_text(json.dumps(_configuration(kind, package, folder, lanes, rate_hz, load, port)), encoding="utf-8")
    host = start_host(path)
    total = samples + WARM[kind] + SPARE[kind]
    started = time.monotonic_ns()
    daemon = spawn(["agent", "run", "-c", str(path), "--samples", str(total)], stderr=subprocess.DEVNULL)
    try:
        with _background(load, port, path):
            rss_mb = _wait(daemon, 60 + 2 * total / rate_hz)
    finally:
        stop(daemon)
        stop(host)
    snapshots = [ledger.read(folder / f"{kind}{number}.ledger") for number in range(lanes)]
    first_s = (min(_first_sent(snapshot) for snapshot in snapshots) - started) / 1e9
    rows = np.concatenate([snapshot.rows[WARM[kind] : WARM[kind] + samples] for snapshot in snapshots])
    return Run(ledger.parts(rows[rows["applied"] > 0])["total"], snapshots, rss_mb, first_s)


def _first_sent(snapshot: ledger.LedgerSnapshot) -> int:
    sent = snapshot.rows["sent"]
    return int(sent[sent > 0][0])


def start_host(path: Path) -> subprocess.Popen[bytes]:
    """Start `reflexd actuate` and wait until its first actuator accepts connections."""
    host = spawn(["agent", "actuate", "-c", str(path)], stderr=subprocess.PIPE)
    assert host.stderr is not None
    while b"listens" not in host.stderr.readline():
        if host.poll() is not None:
            raise RuntimeError("reflexd actuate did not start")
    _drain(host.stderr)
    return host


def _wait(daemon: subprocess.Popen[bytes], timeout_s: float) -> float:
    """Wait for the end; the largest resident memory, MB."""
    process, largest = psutil.Process(daemon.pid), 0.0
    end_at = time.monotonic() + timeout_s
    while daemon.poll() is None and time.monotonic() < end_at:
        try:
            largest = max(largest, process.memory_info().rss / 1e6)
        except psutil.Error:
            break
        time.sleep(0.5)
    return largest


@contextmanager
def _background(load: Load, port: int, path: Path) -> Iterator[None]:
    """Scrape /metrics and validate the configuration, as `load` asks, until the block ends."""
    done = threading.Event()
    threads = [threading.Thread(target=_scrape, args=(port, load.scrape_s, done))] if port else []
    threads += [threading.Thread(target=_revalidate, args=(path, done))] if load.check_config else []
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def _scrape(port: int, interval_s: float, done: threading.Event) -> None:
    from urllib.request import urlopen

    while not done.wait(interval_s):
        try:
            urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()
        except OSError:
            continue  # not up yet


def _revalidate(path: Path, done: threading.Event) -> None:
    while not done.wait(1.0):
        spawn(["agent", "check", "-c", str(path)], stdout=subprocess.DEVNULL).wait()


def spawn(module: list[str], **pipes: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(python(*module), env={**os.environ, "PYTHONUNBUFFERED": "1"}, **pipes)


def wait_for_verb(record: Path, verb: str, after_ns: int) -> int | None:
    """The time of the first `verb` after that moment in actuator.log's file, monotonic ns; None where it never came."""
    until, read = time.monotonic() + VERB_S, 0
    while time.monotonic() < until:
        text = record.read_text() if record.exists() else ""
        for line in text[read : text.rfind("\n") + 1].splitlines():
            movement = json.loads(line)
            if movement["verb"] == verb and movement["t_ns"] > after_ns:
                return int(movement["t_ns"])
        read = text.rfind("\n") + 1
        time.sleep(0.005)
    return None


def _drain(stream: Any) -> None:
    threading.Thread(target=stream.read, daemon=True).start()


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
