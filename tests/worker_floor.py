"""Two arms, each with an actuator of its own, in two worker processes of a daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil

from agent import ledger
from agent.control import client as control
from tests.processes import Cell, Process, arm, never, robot
from tests.waiting import until


def calm(**options: Any) -> dict[str, Any]:
    """An arm of 200 readings a second: speed is not tested here."""
    return arm(rate_hz=200, **options)


class Floor(Cell):
    """Two arms, each with an actuator of its own, in two workers."""

    def __init__(self, folder: Path, **lanes: Any) -> None:
        super().__init__(folder, lanes or {"left": calm(), "right": calm()})
        self.config["workers"] = 2
        self.config["state_dir"] = str(folder / "state")
        self.config["actuators"] = {name: robot(self.log(name)) for name in self.config["lanes"]}
        self.config["rules"] = {name: self.rule(name, name) for name in self.config["lanes"]}

    def __enter__(self) -> Floor:
        return self

    def log(self, name: str) -> dict[str, Any]:
        return {"driver": "actuator.log", "path": str(self.folder / f"{name}.jsonl")}

    @staticmethod
    def rule(lane: str, actuator: str) -> dict[str, Any]:
        return {**never(lane, "arm-deviation"), "actuator": actuator}

    def moved(self, name: str) -> list[str]:
        path = self.folder / f"{name}.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line)["verb"] for line in lines if line.endswith("}\n")]

    def wait_for_verb(self, name: str, verb: str, after: int = 0) -> None:
        until(lambda: verb in self.moved(name)[after:], lambda: f"{name}: {verb} in {self.moved(name)}\n{self.logs()}")

    def begin(self) -> tuple[Process, Process]:
        """(host, daemon), once every actuator obeys."""
        host, daemon = self.actuate(), self.run()
        for name in self.config["lanes"]:
            self.wait_for_verb(name, "run")
        return host, daemon

    def snapshot(self, lane: str) -> ledger.LedgerSnapshot:
        return ledger.read(self.run_dir / f"{lane}.ledger")

    def status(self) -> dict[str, Any]:
        return control.ask(self.run_dir, {"do": "status"}, 10.0) or {}

    def reload(self) -> dict[str, Any]:
        self.write()
        return control.ask(self.run_dir, {"do": "reload"}, 120.0) or {}


def workers(daemon: Process) -> list[psutil.Process]:
    children = psutil.Process(daemon.popen.pid).children()
    return [child for child in children if "agent.workers.process" in child.cmdline()]


def replayed(cell: Floor) -> None:
    """Every recording is computed again without a difference; one that begins just before an end may hold no sample."""
    for path in (cell.folder / "state/recordings").glob("*.mcap"):
        command = cell.start("replay", str(path))
        assert command.exit_code() == 0 or "no sample is in it" in command.text, command.text
