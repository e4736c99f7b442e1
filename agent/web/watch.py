"""Watches lanes for viewers: one reader a lane, only while somebody looks; a picture is encoded once for all."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from agent.tapes.live_format import PICTURE
from agent.tapes.live_reader import LiveFile, LiveReader, LiveSample
from agent.web import messages
from agent.web.viewer import Viewer

POLL_S = 0.004  # how long a new picture waits at most
VALUES_S = 0.05  # between two messages of readings or sound
LOOK_S = 0.5  # how often the file is looked for, and the tape marked as watched
SILENT_S = 2.0
STATE_S = 3.0  # between two messages about the lane's state: a browser that hears none gives its socket up


class LaneWatch:
    """A lane and those who watch it."""

    def __init__(
        self,
        run_dir: Path,
        lane: str,
        facts: Callable[[], dict[str, Any]],
        mode: Callable[[], tuple[str, str]],
        threads: ThreadPoolExecutor,
    ) -> None:
        """facts: what a viewer must know of the lane. mode: how pictures are shown, and why."""
        self.viewers: set[Viewer] = set()
        self._file = LiveFile(run_dir, lane)
        self._facts = facts
        self._mode = mode
        self._threads = threads
        self._task: asyncio.Task[None] | None = None
        self._evidence: LiveSample | None = None  # the newest with an inference
        self._newest_s = 0.0
        self._live: bool | None = None
        self._said_s = 0.0
        self._sent = ""

    def add(self, viewer: Viewer) -> None:
        self.viewers.add(viewer)
        viewer.send(self._lane_text())
        if self._live is not None:
            viewer.send(self._state_text())
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def remove(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)

    def _lane_text(self) -> str:
        mode, why = self._mode()
        header = self._file.reader.header if self._file.reader else None
        kind = {"kind": header.kind, "channels": header.channels} if header else {}
        return json.dumps({"type": "lane", **self._facts(), **kind, "pictures": mode, "why": why})

    def _state_text(self) -> str:
        reason = "" if self._live else "nothing new from this lane: its process, its source or its model has stopped"
        return json.dumps({"type": "state", "live": bool(self._live), "reason": reason})

    async def _run(self) -> None:
        """While somebody watches."""
        looked, self._sent = 0.0, ""
        self._newest_s, self._live, self._evidence = time.monotonic(), None, None
        try:
            while self.viewers:
                now = time.monotonic()
                if now - looked >= LOOK_S:
                    looked = now
                    self._refresh(now)
                if self._file.reader:
                    await self._pass_on(self._file.reader)
                picture = self._file.reader is not None and self._file.reader.header.kind == PICTURE
                await asyncio.sleep(POLL_S if picture else VALUES_S)
        finally:
            self._file.close()

    def _refresh(self, now: float) -> None:
        """The lane may have another file by now, or none; the configuration other zones."""
        self._file.refresh()
        if self._file.reader:
            self._file.reader.watch()
        self._send_changes(now)

    def _send_changes(self, now: float) -> None:
        text = self._lane_text()
        if text != self._sent:
            self._sent = text
            for viewer in self.viewers:
                viewer.send(text)
        live = self._file.reader is not None and now - self._newest_s < SILENT_S
        if live != self._live or now - self._said_s >= STATE_S:
            self._live, self._said_s = live, now
            for viewer in self.viewers:
                viewer.send(self._state_text())

    async def _pass_on(self, reader: LiveReader) -> None:
        samples = list(reader.read())
        if not samples:
            return
        self._newest_s = now = time.monotonic()
        for sample in samples:
            if sample.inferred or self._evidence is None:
                self._evidence = sample
        if not self._live:
            self._send_changes(now)
        ready = [viewer for viewer in self.viewers if viewer.ready(now)]
        assert self._evidence
        if reader.header.kind == PICTURE:
            await self._pass_picture(samples[-1], self._evidence, ready)
        elif ready:
            message = messages.of_values(samples, self._evidence, reader.header)
            for viewer in ready:
                viewer.offer(message, now)

    async def _pass_picture(self, sample: LiveSample, evidence: LiveSample, ready: list[Viewer]) -> None:
        """Encoded without the GIL, beside the event loop."""
        mode, _ = self._mode()
        for width in {viewer.width for viewer in ready}:
            loop = asyncio.get_running_loop()
            message = await loop.run_in_executor(self._threads, messages.of_picture, sample, evidence, mode, width)
            for viewer in ready:
                if viewer.width == width:
                    viewer.offer(message, time.monotonic())


class Watches:
    """Of all lanes."""

    def __init__(self, make: Callable[[str], LaneWatch]) -> None:
        self._make = make
        self._lanes: dict[str, LaneWatch] = {}

    @property
    def viewers(self) -> int:
        return sum(len(watch.viewers) for watch in self._lanes.values())

    def of(self, lane: str) -> LaneWatch:
        return self._lanes.setdefault(lane, self._make(lane))
