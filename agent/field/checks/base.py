"""What a check of the doctor gets to see, and what it says."""

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
    """cause: what was found. effect: what it does to the lanes. mend: a command, or what to change where."""

    name: str
    state: str
    cause: str
    effect: str = ""
    mend: str = ""


class Box(NamedTuple):
    """root: where sys, proc and dev are found. tool: output of a program, None where it is absent or fails."""

    view: View
    root: Path
    tool: Tool

    @property
    def config(self) -> Config:
        return self.view.config

    def devices(self) -> Iterator[tuple[str, Device]]:
        """(lane or actuator, its device) of everything configured on this box."""
        for name, lane in self.config.lanes.items():
            yield f"lane {name}", lane.source
        for name, actuator in self.config.actuators.items():
            if actuator.device:
                yield f"actuator {name}", actuator.device

    def text(self, path: str) -> str:
        """Of a file of the kernel, "" where there is none."""
        return read(self.root / path)

    def glob(self, pattern: str) -> list[Path]:
        return sorted(self.root.glob(pattern))


def read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def number(path: Path) -> float:
    """NaN where there is none."""
    try:
        return float(read(path))
    except ValueError:
        return math.nan


def run_tool(command: Sequence[str]) -> str | None:
    """Standard output and error; a tool that hangs must not take the doctor with it."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=5, env=_plain_language()
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout + done.stderr if done.returncode == 0 else None


def _plain_language() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def span(cores: Sequence[int]) -> str:
    """0-3, 5 of 0 1 2 3 5."""
    found: list[list[int]] = []
    for core in sorted(cores):
        if found and core == found[-1][1] + 1:
            found[-1][1] = core
        else:
            found.append([core, core])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def listed(values: Sequence[Any], most: int = 4) -> str:
    said = ", ".join(map(str, values[:most]))
    return said + (f" and {len(values) - most} more" if len(values) > most else "")
