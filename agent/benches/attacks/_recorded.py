"""A daemon that records, for attacks on its recorder."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from agent import ledger
from agent.benches.programs import spawn, start_host, stop
from agent.recorder.recording import RecordingContents, RecordingError, read
from agent.recorder.series import newest_first

WAIT_S = 60.0  # for what takes a second on an idle box
STOP_S = 120.0
SOURCE: dict[str, Any] = {"driver": "sensor.sim_arm", "fault_every_s": 1, "timeout_ms": 1000}
DEVIATION = {"lane": "it", "label": "deviation", "score": 0.7}
ARM = {"source": SOURCE, "model": "arm-deviation"}


class Box(NamedTuple):
    """A running daemon. folder: with run_dir `run` and state_dir `state`."""

    folder: Path
    daemon: subprocess.Popen[bytes]

    def recorder(self) -> int:
        """Its process id; 0 while there is none."""
        try:
            for child in psutil.Process(self.daemon.pid).children():
                if "agent.recorder" in " ".join(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                    return int(child.pid)
        except psutil.Error:
            pass  # it ended meanwhile
        return 0

    def wait_for_recorder(self, other_than: int = 0) -> int:
        """A recorder that has begun to record; 0 where none does in time."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            pid = self.recorder()
            if pid and pid != other_than and any(Path(link).suffix == ".mcap" for link in open_files(pid)):
                return pid
            time.sleep(0.01)
        return 0

    def files(self, kind: str = "recordings") -> list[Path]:
        """Newest first."""
        return newest_first((self.folder / f"state/{kind}").glob("*"))

    def contents(self) -> Iterator[RecordingContents]:
        for path in self.files():
            try:
                yield read(path)
            except RecordingError:
                continue  # nothing in it yet

    def counts(self) -> Counter[str]:
        """Of all ledgers together."""
        total: Counter[str] = Counter()
        for snapshot in ledger.read_all(self.folder / "run"):
            total.update(snapshot.counts)
        return total


def open_files(pid: int) -> list[str]:
    """Where the descriptors of a process lead; " (deleted)" after what is no longer in a folder."""
    links = []
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            links.append(str(link.readlink()))
    except OSError:
        pass  # it ended meanwhile
    return links


def configuration(
    folder: Path, lanes: dict[str, Any], recorder: dict[str, Any], rule: dict[str, Any]
) -> dict[str, Any]:
    """One rule `hit`, one simulated actuator."""
    actuator = {"device": {"driver": "actuator.sim"}, "rest": "rest", "verbs": ["rest", "go"]}
    return {
        "run_dir": str(folder / "run"),
        "state_dir": str(folder / "state"),
        "recorder": recorder,
        "lanes": lanes,
        "actuators": {"device": actuator},
        "rules": {"hit": {"actuator": "device", "verb": "go", "deadline_ms": 1000, **rule}},
    }


@contextmanager
def running(folder: Path, config: dict[str, Any]) -> Iterator[Box]:
    """From the recorder's start to the end of daemon and recorder."""
    path = folder / "attacked.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    host = start_host(path)
    daemon = spawn(["agent", "run", "-c", str(path)], stderr=subprocess.DEVNULL)
    box = Box(folder, daemon)
    try:
        box.wait_for_recorder()
        yield box
    finally:
        recorder = box.recorder()
        stop(daemon)
        _wait_for_end(recorder)
        stop(host)


def _wait_for_end(pid: int) -> None:
    end = time.monotonic() + STOP_S
    while pid and psutil.pid_exists(pid) and time.monotonic() < end:
        time.sleep(0.01)
