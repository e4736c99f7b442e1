"""Versions of a bundled model in a store, good ones and faulty ones, and a cell that tries them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from agent.control.client import ask
from agent.packages import package as packages
from agent.packages.package import BUNDLED
from agent.update.state import State
from agent.update.store import Store
from tests.processes import Cell, arm
from tests.waiting import until

MODEL = "arm-deviation"
SHADOW, PROBATION = 20, 300
BUDGET_MS = 50.0  # a busy box takes longer than the 2 ms of the bundled package


def version(folder: Path, number: str, fault: str = "", model: str = MODEL, **changes: Any) -> Path:
    """A package like the bundled one. fault: as `trial_engines` reads it; such a package has no golden outputs."""
    package = folder / f"{model}-{number}"
    shutil.copytree(BUNDLED / model, package)
    manifest = packages.read(package).model_dump(mode="json", exclude_defaults=True)
    manifest |= {"version": number, "backend": "litert"}
    if fault:
        manifest |= {"backend": "tests.trial_engines", "golden": "", "files": {}}
        (package / "fault").write_text(fault)
    (package / "manifest.yaml").write_text(json.dumps(manifest | changes))  # JSON is YAML
    return package


class UpdatedCell(Cell):
    """A simulated arm under a configuration with `update`."""

    def __init__(self, folder: Path, lanes: dict[str, Any] | None = None, **update: Any) -> None:
        super().__init__(folder, lanes or {"arm": {**arm(), "budget_ms": BUDGET_MS}})
        self.state_dir = folder / "state"
        self.store = Store(self.state_dir, MODEL)
        condition = {
            "lane": next(iter(self.config["lanes"])),
            "label": "deviation",
            "score": 0.7,
            "hits": 1000,
            "of": 1000,
        }
        self.config["rules"] = {"never": {"any": [condition], "actuator": "robot", "verb": "stop"}}
        section = {"url": "file:///nowhere", "root": "root.json", "models": [MODEL]}
        samples = {"shadow_samples": SHADOW, "probation_samples": PROBATION}
        self.config |= {"state_dir": str(self.state_dir), "update": section | samples | update}

    def __enter__(self) -> UpdatedCell:
        return self

    def add(self, number: str, fault: str = "", **changes: Any) -> None:
        self.store.add(version(self.folder, number, fault, **changes), number)

    def swap(self, number: str | None) -> dict[str, Any]:
        """The daemon's answer."""
        return ask(self.run_dir, {"do": "swap", "model": MODEL, "version": number}) or {}

    def state(self) -> State:
        return Store(self.state_dir, MODEL).state()

    def status(self) -> dict[str, Any]:
        return ask(self.run_dir, {"do": "status"}) or {}

    def runs(self, lane: str = "arm") -> str:
        """The version that decides in a lane."""
        lanes = self.status().get("lanes", {})
        return str(lanes.get(lane, {}).get("versions", {}).get(MODEL, ""))

    def wait_for_outcome(self) -> State:
        """Of the trial."""
        until(lambda: self.state().trial is None, lambda: f"{self.state()}\n{self.logs()}")
        return self.state()
