"""Ledgers, configurations and boxes for the tests of agent/field, without a daemon."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from agent import ledger
from agent.cli import cli
from agent.field.checks.base import Box, Check
from agent.field.snapshot import read_snapshot
from agent.field.valid_parts import read_config
from agent.ledger import Ledger

MS = 1_000_000


def configuration(folder: Path, **changes: Any) -> Path:
    """One lane on the simulated arm, one actuator; run_dir is folder/run."""
    sections = {
        "node": "cell-1",
        "run_dir": str(folder / "run"),
        "state_dir": str(folder / "state"),
        "lanes": {"arm": {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"}},
        "actuators": {"robot": {"device": {"driver": "actuator.sim"}, "rest": "run", "verbs": ["run", "stop"]}},
        "rules": {"off": {"any": [{"lane": "arm", "label": "deviation"}], "actuator": "robot", "verb": "stop"}},
    }
    path = folder / "reflexd.yaml"
    path.write_text(json.dumps({**sections, **changes}), encoding="utf-8")
    return path


def write_ledger(
    folder: Path,
    lane: str = "arm",
    state: int = ledger.CLOSED,
    stages: Sequence[int] = (0, 1, 1, 1, 1),
    count: int = 10,
    every_ms: int = 10,
    sent: bool = False,
    budget_ms: float = 2.0,
    last: int = 0,
) -> Path:
    """Of a dead process: `count` samples, the last captured at `last` or now. stages: ms of queueing, transport ..."""
    path = folder / "run" / f"{lane}.ledger"
    written = Ledger(path, lane, budget_ms)
    written.state = state
    written.count[ledger.SAMPLES] = written.count[ledger.INFERENCES] = count
    last = last or time.monotonic_ns()
    for sequence in range(count):
        captured = last - (count - 1 - sequence) * every_ms * MS
        stamps = [captured]
        for stage in stages:
            stamps.append(stamps[-1] + stage * MS)
        at = written.next_row()
        written.write(sequence, *stamps, stamps[-1] + MS if sent else 0)
        if sent:
            written.record_applied(at, stamps[-1] + 2 * MS)
    written.record_evidence("normal", 0.9, last)
    written.cells[ledger.PROGRESS] = last
    written.close()
    return path


def reflexd(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments], catch_exceptions=False, standalone_mode=False)


def exit_code(result: Result) -> int:
    """Of the process that would have run the command."""
    return int(result.return_value or 0)


def box(path: Path, root: Path = Path("/nowhere"), **answers: str) -> Box:
    """answers: program name, '-' as '_', -> its output."""
    return Box(read_snapshot(path), read_config(path), root, lambda command: answers.get(command[0].replace("-", "_")))


def write_files(root: Path, files: dict[str, str]) -> Path:
    """A made-up /sys, /proc or /dev."""
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n", encoding="utf-8")
    return root


def complete(check: Check) -> Check:
    """A warning or an error has an effect and a way to fix it; a good or skipped check needs neither."""
    assert check.state in ("good", "warn", "bad", "skip") and check.cause
    assert bool(check.effect and check.fix) == (check.state in ("warn", "bad")), check
    return check
