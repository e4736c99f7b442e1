"""Recordings for tests: samples for a tape, a cell that is recorded, and the replay of a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from agent.cli import cli
from agent.data import Sample
from agent.packages import package
from tests.processes import Cell, Process, arm
from tests.waiting import until

CHANNELS = [f"c{number}" for number in range(12)]


def arm_engine() -> Any:
    return package.open_package(package.find("arm-deviation")).engine


def sample(number: int, rows: int = 1) -> Sample:
    payload = np.arange(rows * 12, dtype=np.float32).reshape(rows, 12) + number
    return Sample("arm", number, 1000 * number, payload)


def files(folder: Path) -> list[Path]:
    return sorted((folder / "recordings").glob("*.mcap"))


@contextmanager
def arm_cell(folder: Path) -> Iterator[Cell]:
    """An arm with a fault each second, and a rule that stops the robot."""
    with Cell(folder, {"arm": arm(fault_every_s=1)}) as cell:
        cell.config["state_dir"] = str(folder / "state")
        condition = {"lane": "arm", "label": "deviation", "score": 0.7, "hits": 2, "of": 3}
        cell.config["rules"] = {"off-plan": {"any": [condition], "actuator": "robot", "verb": "stop", "hold_ms": 100}}
        yield cell


def start_recording(cell: Cell) -> Process:
    """The daemon, once its recorder writes."""
    _, daemon = cell.start_both()
    until(lambda: files(cell.folder / "state"), cell.logs)
    return daemon


def recorded(cell: Cell) -> Path:
    recordings = files(cell.folder / "state")
    assert recordings, cell.logs()
    return recordings[-1]


def replayed(path: Path, *options: str) -> tuple[int, str]:
    """Exit code and output of `reflexd replay`."""
    result = CliRunner().invoke(cli, ["replay", str(path), *options], standalone_mode=False)
    code = result.return_value if isinstance(result.return_value, int) else 2
    return code, result.output + str(result.exception or "")
