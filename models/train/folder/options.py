"""What the user asks for when a package is made from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class FolderOptions(NamedTuple):
    """into: where the new package's folder goes. epochs: 0 for as many as fit the task's budget."""

    folder: Path
    task: str
    teacher: str
    into: Path
    name: str
    epochs: int

    @property
    def place(self) -> Path:
        return self.into / self.name
