"""What the user asks for when a package is made from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Marks(NamedTuple):
    """Where labels and groups of a folder are beside its sub-folders.

    group: a pattern for the paths of files, "" for none. events: labels that only events inside files have.
    label_column: of csv files, "" for none. recorded_hz: rate of csv files without a column t_s, 0 for unknown.
    """

    group: str = ""
    events: tuple[str, ...] = ()
    label_column: str = ""
    recorded_hz: float = 0.0


class WindowOptions(NamedTuple):
    """Of readings, 0 where the user leaves it open. length: readings; hop: readings from one inference to the next."""

    length: int = 0
    window_ms: float = 0.0
    rate_hz: float = 0.0
    hop: int = 1


class FolderOptions(NamedTuple):
    """into: where the new package's folder goes. epochs: 0 for as many as fit the task's budget."""

    folder: Path
    task: str
    teacher: str
    into: Path
    name: str
    epochs: int
    marks: Marks = Marks()
    window: WindowOptions = WindowOptions()

    @property
    def place(self) -> Path:
        return self.into / self.name
