"""One setting of the machine under us."""

from __future__ import annotations

from typing import NamedTuple


class Setting(NamedTuple):
    """name, and whether it is on; note: where it is off, the consequence and how to allow it."""

    name: str
    on: bool
    note: str
