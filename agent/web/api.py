"""What the page asks for, as JSON: agent/web/README.md lists each address with its content."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from agent.tapes.live_reader import LiveReader, RawPicture
from agent.web import answers, lanes, pictures
from agent.web.description import Description
from agent.web.documents import Documents
from agent.web.drawn import DrawnZones
from agent.web.programs import Programs
from agent.web.recorded import Recorded
from agent.web.state import State

STILL_TRIES, STILL_S = 20, 0.05  # a lane that nobody watched shows its next picture


class Api:
    """Handlers; each raises HTTPException with a text for people."""

    def __init__(self, path: Path, description: Description, programs: Programs, local: bool) -> None:
        """path: of the configuration. local: only this box can reach the page."""
        self.path = path
        self.description = description
        self._local = local
        self._state = State(path)
        self._recorded = Recorded(description, programs, lambda: self.mode)
        self._documents = Documents(path, description, programs)
        self._drawn = DrawnZones(path, description, programs)

    @property
    def mode(self) -> tuple[str, str]:
        """How pictures are shown, and why they are not."""
        return pictures.mode(self.description.content["web"]["pictures"], self._local)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/status", self.status),
            web.get("/api/lanes/{lane}", self.lane),
            web.get("/api/lanes/{lane}/still.jpg", self.still),
            *self._recorded.routes(),
            *self._documents.routes(),
            *self._drawn.routes(),
        ]

    async def status(self, _: web.Request) -> web.Response:
        mode, why = self.mode
        return answers.json(
            {
                **await self._state.read(),
                "time": time.time() * 1e3,
                "web": {"pictures": mode, "why": why, "edit": self.description.edit},
            }
        )

    def facts(self, lane: str) -> dict[str, Any]:
        """What a viewer must know of a lane; of one that a new configuration lacks only its name."""
        return {"name": lane, "kind": "", "channels": [], **self.description.lanes.get(lane, {})}

    async def lane(self, request: web.Request) -> web.Response:
        name = self._known_lane(request)
        return answers.json({**self.facts(name), **lanes.figures(self.description.run_dir, name)})

    def _known_lane(self, request: web.Request) -> str:
        name = request.match_info["lane"]
        if name not in self.description.lanes:
            raise web.HTTPNotFound(
                text=f"no lane '{name[:40]}': there is {', '.join(self.description.lanes) or 'none'}"
            )
        return name

    async def still(self, request: web.Request) -> web.Response:
        """The newest picture of a lane; no content where it shows none within a second."""
        name = self._known_lane(request)
        mode, why = self.mode
        if mode == pictures.HIDDEN:
            raise web.HTTPForbidden(text=why)
        picture = await _newest_picture(self.description.run_dir / f"{name}.live")
        return answers.jpeg(pictures.encode(picture, mode)[0]) if picture else web.Response(status=204)


async def _newest_picture(path: Path) -> RawPicture | None:
    try:
        reader = LiveReader(path)
    except (OSError, ValueError):
        return None  # the lane does not run
    try:
        reader.watch()
        for _ in range(STILL_TRIES):
            sample = reader.newest()
            if sample:
                return sample.picture
            await asyncio.sleep(STILL_S)
        return None
    finally:
        reader.close()
