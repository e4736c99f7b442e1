"""The newest valid description of the configuration, kept up to date while it is edited and reloaded."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import Any

from agent import redact
from agent.web.programs import ProgramError, Programs

log = logging.getLogger("reflexd.web")
LOOK_S = 1.0  # how often the file is looked at, while somebody uses the live view
READ_S = 2.0  # how long an answer waits for a file that has changed
RETRY_S = 2.0  # while it has mistakes from the start


class Description:
    """content: as describe.py makes it; {} before the first valid one. mistakes: of the file as it is now."""

    def __init__(self, path: Path, programs: Programs) -> None:
        """path: of the configuration."""
        self.path = path
        self.content: dict[str, Any] = {}
        self.mistakes: list[str] = []
        self._programs = programs
        self._seen: tuple[int, ...] = ()
        self._looked_s = 0.0
        self._reading: asyncio.Task[None] | None = None

    @property
    def run_dir(self) -> Path:
        return Path(self.content["run_dir"])

    @property
    def lanes(self) -> dict[str, dict[str, Any]]:
        lanes: dict[str, dict[str, Any]] = self.content["lanes"]
        return lanes

    @property
    def edit(self) -> bool:
        """Zones may be written into the file."""
        return bool(self.content["web"]["edit"])

    async def read(self) -> None:
        """The old content stays where the file has mistakes."""
        self._seen = _identity(self.path)
        try:
            answer = await self._programs.ask("agent.web.describe", str(self.path))
        except ProgramError as error:
            answer = {"error": str(error)}
        self.mistakes = redact.lines(answer.get("error", ""))
        if not self.mistakes:
            self.content = answer

    async def read_valid(self) -> None:
        """Wait for a valid configuration; says once what is wrong."""
        logged: list[str] = []
        while True:
            await self.read()
            if self.content:
                return
            if self.mistakes != logged:
                logged = self.mistakes
                for mistake in logged:
                    log.error("%s", mistake)
                log.error("the live view waits until the configuration is valid")
            await asyncio.sleep(RETRY_S)

    async def refresh(self) -> None:
        """Read the file again where it has changed. Who uses the content asks for it: else this process rests."""
        now = time.monotonic()
        if (self._reading is None or self._reading.done()) and now - self._looked_s >= LOOK_S:
            self._looked_s = now
            if _identity(self.path) != self._seen:
                self._reading = asyncio.create_task(self.read())
        if self._reading and not self._reading.done():
            await asyncio.wait([self._reading], timeout=READ_S)

    async def keep_fresh(self) -> None:
        """Refresh until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.refresh()


def _identity(path: Path) -> tuple[int, ...]:
    try:
        stat = os.stat(path)
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
