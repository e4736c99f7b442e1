"""Zones that somebody drew in the browser: checked, and written into the configuration where that is allowed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from agent import redact
from agent.config import edit
from agent.control import client as control
from agent.web import answers, zones
from agent.web.description import Description
from agent.web.programs import Programs
from agent.web.zones import ZoneError
from agent.yamlfile import YamlError

RELOAD_S = 20.0


class DrawnZones:
    """Handlers; each raises HTTPException with a text for people."""

    def __init__(self, path: Path, description: Description, programs: Programs) -> None:
        """path: of the configuration."""
        self._path = path
        self._description = description
        self._programs = programs

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/api/zones", self.check), web.post("/api/zones/write", self.write)]

    async def check(self, request: web.Request) -> web.Response:
        lane, drawn = await self._drawn(request)
        mistakes, _ = await self._examined(lane, drawn)
        return answers.json({"ok": not mistakes, "yaml": zones.as_yaml(drawn), "mistakes": mistakes})

    async def _drawn(self, request: web.Request) -> tuple[str, dict[str, list[tuple[float, float]]]]:
        content = await answers.body(request)
        lane = str(content.get("lane", ""))
        if lane not in self._description.lanes:
            raise web.HTTPNotFound(text=f"no lane '{lane[:40]}'")
        try:
            return lane, zones.checked(content.get("zones"))
        except ZoneError as error:
            raise web.HTTPUnprocessableEntity(text=str(error)) from error

    async def _examined(self, lane: str, drawn: dict[str, list[tuple[float, float]]]) -> tuple[list[str], bytes]:
        """(mistakes, the configuration's new text)."""
        try:
            text = zones.replaced(self._path, lane, drawn)
        except (ZoneError, YamlError, OSError) as error:
            return [redact.message(str(error))], b""
        answer = await answers.ask(self._programs, "agent.web.describe", str(self._path), "-", given=text.decode())
        return redact.lines(answer.get("error", "")), text

    async def write(self, request: web.Request) -> web.Response:
        if not self._description.edit:
            raise web.HTTPForbidden(text="writing is off: set 'web: {edit: true}', or copy the lines into the file")
        lane, drawn = await self._drawn(request)
        mistakes, text = await self._examined(lane, drawn)
        answer = {"ok": not mistakes, "yaml": zones.as_yaml(drawn), "mistakes": mistakes, "reloaded": False}
        if mistakes:
            return answers.json(answer)
        try:
            backup = edit.write(self._path, text)
        except OSError as error:
            reason = f"{self._path} cannot be written: {error.strerror}: give the service the right, or copy it"
            return answers.json({**answer, "ok": False, "mistakes": [reason]})
        reply = await asyncio.to_thread(control.ask, self._description.run_dir, {"do": "reload"}, RELOAD_S) or {}
        mistakes = [redact.message(str(mistake)) for mistake in reply.get("mistakes", [])]
        return answers.json({**answer, "backup": backup.name, "reloaded": bool(reply.get("ok")), "mistakes": mistakes})
