"""A cell of real processes with a configuration of its own: `reflexd run` and `actuate`, their logs and ledgers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent import ledger
from agent.packages.package import BUNDLED
from tests.shared import ROOT
from tests.waiting import DEADLINE_S, until

SAFE_AFTER_MS = 100.0

PERSON = BUNDLED / "person-coarse"


class Process:
    """One command; its output goes to a log file."""

    def __init__(self, log: Path, *command: str, on_another_box: bool = False) -> None:
        self.log = log
        self.command = command
        # Drivers of a test are in the test's folder.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(log.parent)])}
        module = ["agent.benches.other_box", "agent"] if on_another_box else ["agent"]
        with open(log, "wb") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", *module, *command], cwd=log.parent, stdout=file, stderr=file, env=environment
            )

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def lines(self, part: str) -> list[str]:
        return [line for line in self.text.splitlines() if part in line]

    def wait_for(self, part: str, times: int = 1) -> str:
        """Wait until this many lines contain the part; returns the newest of them."""

        def logged_or_ended() -> bool:
            ended = self.popen.poll() is not None
            return len(self.lines(part)) >= times or ended

        until(logged_or_ended, lambda: f"{times} lines with '{part}' in:\n{self.text}")
        assert len(self.lines(part)) >= times, f"ended without '{part}':\n{self.text}"
        return self.lines(part)[-1]

    def wait_for_standby(self, part: str) -> None:
        """Wait until a line contains the part, also after the end: the standby writes to the same log."""
        until(lambda: self.lines(part), lambda: f"a line with '{part}' in:\n{self.text}")

    def signal(self, number: int) -> int:
        """Send it; returns the time just before, ns."""
        now = time.monotonic_ns()
        os.kill(self.popen.pid, number)
        return now

    def exit_code(self) -> int:
        try:
            return self.popen.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"did not end within {DEADLINE_S:g} s:\n{self.text}")

    def stop(self) -> int:
        """The exit code. Of a daemon, its recorder has ended, too: on a busy box it takes longer."""
        self.signal(signal.SIGTERM)
        code = self.exit_code()
        if "run" in self.command and "-c" in self.command:
            config = self.command[self.command.index("-c") + 1]
            until(lambda: not _recorders(config), f"the recorder of {config} has ended")
        return code


def _recorders(config: str) -> list[Path]:
    """Processes that record for a daemon with this configuration."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if b"agent.recorder.recorder" in line and config.encode() in line:
            found.append(path)
    return found


class Cell:
    """Lanes that command one actuator, `robot`, which records its movements in a file. It rests at `run`."""

    def __init__(self, folder: Path, lanes: dict[str, Any]) -> None:
        self.folder = folder
        self.run_dir = folder / "run"
        self.record = folder / "robot.jsonl"
        self.processes: list[Process] = []
        self.config: dict[str, Any] = {
            "node": "cell-1",
            "run_dir": str(self.run_dir),
            "lanes": lanes,
            "actuators": {"robot": robot({"driver": "actuator.log", "path": str(self.record)})},
            "rules": {f"{name}-never": never(name, lane["model"]) for name, lane in lanes.items()},
        }

    def __enter__(self) -> Cell:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.popen.poll() is None:
                process.signal(signal.SIGKILL)
                process.popen.wait()

    def write(self, name: str = "reflexd.yaml", **changes: Any) -> Path:
        """JSON is YAML."""
        path = self.folder / name
        path.write_text(json.dumps({**self.config, **changes}, indent=1))
        return path

    def start(self, *command: str, on_another_box: bool = False) -> Process:
        log = self.folder / f"{len(self.processes)}-{command[0]}.log"
        process = Process(log, *command, on_another_box=on_another_box)
        self.processes.append(process)
        return process

    def actuate(self) -> Process:
        """Start the actuator's host and wait until it listens."""
        process = self.start("actuate", "-c", str(self.write()))
        process.wait_for("listens at")
        return process

    def run(self, config: Path | None = None) -> Process:
        return self.start("run", "-c", str(config or self.write()))

    def start_both(self) -> tuple[Process, Process]:
        """(host, daemon), once the actuator obeys the daemon."""
        host = self.actuate()
        daemon = self.run()
        self.wait_for("run")
        return host, daemon

    def records(self) -> list[dict[str, Any]]:
        """The actuator's movements: t_ns, verb, ..."""
        if not self.record.exists():
            return []
        return [json.loads(line) for line in self.record.read_text().splitlines(keepends=True) if line.endswith("}\n")]

    def verbs(self) -> list[str]:
        return [record["verb"] for record in self.records()]

    def wait_for(self, verb: str, after: int = 0) -> dict[str, Any]:
        """Wait for the actuator's first movement with this verb after `after` movements; returns its record."""

        def movement() -> dict[str, Any]:
            return next((record for record in self.records()[after:] if record["verb"] == verb), {})

        return until(movement, lambda: f"'{verb}' after {after} movements of {self.verbs()}; logs:\n{self.logs()}")

    def logs(self) -> str:
        return "\n".join(process.text for process in self.processes)

    def counts(self, lane: str) -> dict[str, int]:
        return ledger.read(self.run_dir / f"{lane}.ledger").counts

    def wait_for_count(self, lane: str, counter: str, least: int = 1) -> int:
        """Wait until the counter of the lane's ledger is at least this; returns it."""

        def enough() -> int:
            count = self.counts(lane)[counter]
            return count if count >= least else 0

        return until(enough, lambda: f"{least} {counter} of lane {lane}: {self.counts(lane)}\n{self.logs()}")


def robot(device: dict[str, Any]) -> dict[str, Any]:
    return {"device": device, "rest": "run", "verbs": ["run", "stop"], "safe_after_ms": SAFE_AFTER_MS}


def never(lane: str, model: str) -> dict[str, Any]:
    """A rule that never holds, so that only the lane's heartbeats matter: `run`, or the safe state without them."""
    label = "person" if model == str(PERSON) else "deviation"
    condition = {"lane": lane, "label": label, "score": 1.0, "hits": 1000, "of": 1000}
    return {"any": [condition], "actuator": "robot", "verb": "stop"}


def arm(**options: Any) -> dict[str, Any]:
    return {"source": {"driver": "sensor.sim_arm", "timeout_ms": 250, **options}, "model": "arm-deviation"}


def camera(driver: str = "camera.sim", **options: Any) -> dict[str, Any]:
    """Small pictures, 20 a second: speed is not tested here."""
    if driver == "camera.sim":
        options = {"width": 160, "height": 120, "fps": 20, "pictures": 3, **options}
    return {"source": {"driver": driver, "timeout_ms": 300, **options}, "model": str(PERSON)}


def fault(kind: str, at_s: float, for_s: float, amount: float = 0.0) -> dict[str, Any]:
    return {"kind": kind, "at_s": at_s, "for_s": for_s, "amount": amount}
