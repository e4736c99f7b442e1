"""What runs on this box now, for the page: the status, shared by all who ask within half a second."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from agent.field import status
from agent.field.board import BoardMonitor
from agent.tapes.live_format import PICTURE, READINGS, SOUND
from agent.tapes.live_reader import LiveReader

KEEP_S = 0.5
BY_DRIVER = {"camera": PICTURE, "sensor": READINGS, "audio": SOUND}


class State:
    """`reflexd status`, read on another thread."""

    def __init__(self, path: Path) -> None:
        """path: of the configuration."""
        self._path = path
        self._monitor = BoardMonitor()
        self._read_s = 0.0
        self._newest: dict[str, Any] = {}
        self._reading: asyncio.Task[dict[str, Any]] | None = None

    async def read(self) -> dict[str, Any]:
        if self._newest and time.monotonic() - self._read_s < KEEP_S:
            return self._newest
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(asyncio.to_thread(self._now))
        self._newest = await asyncio.shield(self._reading)
        self._read_s = time.monotonic()
        return self._newest

    def _now(self) -> dict[str, Any]:
        content = status.as_dict(status.read_status(self._path, self._monitor))
        run_dir = Path(content["run_dir"])
        kinds = {lane["name"]: kind(run_dir, lane["name"], lane["driver"]) for lane in content["lanes"]}
        return {**content, "kinds": kinds}


def kind(run_dir: Path, lane: str, driver: str) -> str:
    """PICTURE, READINGS or SOUND, as its live tape says, or else its driver's name; "" where neither does."""
    try:
        reader = LiveReader(run_dir / f"{lane}.live")
    except (OSError, ValueError):
        return BY_DRIVER.get(driver.partition(".")[0], "")
    try:
        return reader.header.kind
    finally:
        reader.close()
