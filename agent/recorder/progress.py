"""How far everything is recorded, for the recorder that continues when this one has died."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from agent.box import private
from agent.recorder.lane_reader import Position

NAME = "recorder.json"


class Progress(NamedTuple):
    """file, size: the recording, and its bytes when the positions were reached. session: of the daemon.

    in_force: the newest decision of each actuator. lost: samples that no file has. clip: rule of the clip that is being
    collected, and its end, ns.
    """

    file: str = ""
    size: int = 0
    session: int = 0
    lanes: dict[str, Position] = {}  # noqa: RUF012 - never changed
    in_force: dict[str, list[Any]] = {}  # noqa: RUF012
    lost: int = 0
    clip: tuple[str, int] = ("", 0)


def write(run_dir: Path, progress: Progress) -> None:
    """Raises OSError."""
    private.write(run_dir / NAME, json.dumps(progress._asdict()).encode(), durable=False)


def read(run_dir: Path) -> Progress:
    """Empty where no recorder ran before, and where the file is damaged or of another version."""
    try:
        raw = json.loads((run_dir / NAME).read_bytes())
        lanes = {str(lane): Position(*map(int, position)) for lane, position in raw["lanes"].items()}
        rule, until = raw["clip"]
        numbers = {key: int(raw[key]) for key in ("size", "session", "lost")}
        return Progress(
            file=str(raw["file"]), lanes=lanes, in_force=dict(raw["in_force"]), clip=(str(rule), int(until)), **numbers
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Progress()
