"""What a check of the doctor receives and what it returns."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent.config.models import Config, Device
from agent.field.snapshot import View

GOOD, WARN, BAD, SKIP = "good", "warn", "bad", "skip"
SERVICE_USER = "reflexd"

Tool = Callable[[Sequence[str]], "str | None"]


class Check(NamedTuple):
    """cause: the state that was read or measured. effect: on the lanes. fix: a command, or what to change where."""

    name: str
    state: str
    cause: str
    effect: str = ""
    fix: str = ""


class Box(NamedTuple):
    """config: its valid parts. root: the folder of sys, proc and dev. tool: a program's output, None where it fails."""

    view: View
    config: Config
    root: Path
    tool: Tool

    def devices(self) -> Iterator[tuple[str, Device]]:
        """(lane or actuator, its device) of everything configured on this box."""
        for name, lane in self.config.lanes.items():
            yield f"lane {name}", lane.source
        for name, actuator in self.config.actuators.items():
            if actuator.device:
                yield f"actuator {name}", actuator.device

    def text(self, path: str) -> str:
        """Content of a file of the kernel, "" where there is none."""
        return read_text(self.root / path)

    def glob(self, pattern: str) -> list[Path]:
        return sorted(self.root.glob(pattern))


def read_text(path: Path) -> str:
    """Empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def read_number(path: Path) -> float:
    """NaN where there is none."""
    try:
        return float(read_text(path))
    except ValueError:
        return math.nan


def run_tool(command: Sequence[str]) -> str | None:
    """Standard output and error; a tool that hangs must not block the doctor."""
    english = {**os.environ, "LC_ALL": "C"}
    try:
        process = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=5, env=english)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout + process.stderr if process.returncode == 0 else None


def core_ranges(cores: Sequence[int]) -> str:
    """0-3, 5 of 0 1 2 3 5."""
    ranges: list[list[int]] = []
    for core in sorted(cores):
        if ranges and core == ranges[-1][1] + 1:
            ranges[-1][1] = core
        else:
            ranges.append([core, core])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def listed(values: Sequence[Any], most: int = 4) -> str:
    """The first `most` values and how many more there are."""
    text = ", ".join(map(str, values[:most]))
    return text + (f" and {len(values) - most} more" if len(values) > most else "")
