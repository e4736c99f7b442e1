"""What the updater did last, in run_dir: for metrics, status and the doctor; and its counts, for the one after it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.box import files, private

NAME = "update.json"
MAX_BYTES = 1 << 20


class Progress(BaseModel):
    """Times in seconds since 1970, by the box's clock. reason, message: of the refusal that lasts; empty where good."""

    model_config = ConfigDict(extra="ignore")

    state_dir: str = ""
    models: list[str] = []
    checked: float = 0.0
    succeeded: float = 0.0
    reason: str = ""
    message: str = ""
    checks: int = 0
    installed: int = 0
    bytes: int = 0
    refused: dict[str, int] = {}


def read(run_dir: Path) -> Progress:
    """Empty where no updater ran, and where the file is damaged."""
    try:
        with files.open_regular(run_dir / NAME, MAX_BYTES) as file:
            return Progress.model_validate_json(file.read())
    except (files.BadFile, OSError, ValidationError):
        return Progress()


def write(run_dir: Path, progress: Progress) -> None:
    """Raises OSError."""
    private.write(run_dir / NAME, progress.model_dump_json().encode(), durable=False)
