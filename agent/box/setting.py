"""One setting of the operating system for this process."""

from __future__ import annotations

from typing import Any, NamedTuple


class Setting(NamedTuple):
    """name, and whether it is on; remedy: where it is off, the consequence and how to allow it."""

    name: str
    on: bool
    remedy: str

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "on": self.on, "note": self.remedy}
