"""What was decided and recorded: the timeline, clips and recordings, and their replay."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from agent import redact
from agent.web import answers, pictures, timeline
from agent.web.description import Description
from agent.web.programs import ProgramError, Programs
from agent.web.timeline import Timeline

MAX_DECISIONS = 2000
CLIP_S, REPLAY_S = 60.0, 300.0
CLIP_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}\.mcap(\.sealed)?")


class Recorded:
    """Handlers; each raises HTTPException with a text for people."""

    def __init__(self, description: Description, programs: Programs, mode: Callable[[], tuple[str, str]]) -> None:
        """mode: how pictures are shown, and why they are not."""
        self._description = description
        self._programs = programs
        self._mode = mode
        self._timeline = Timeline()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/decisions", self.decisions),
            web.get("/api/clips/{name}", self.clip),
            web.get("/api/clips/{name}/{number:[0-9]{1,9}}.jpg", self.clip_picture),
            web.post("/api/replay", self.replay),
        ]

    async def decisions(self, request: web.Request) -> web.Response:
        limit = request.query.get("limit", "500")
        if not re.fullmatch("[0-9]{1,6}", limit):
            raise web.HTTPBadRequest(text="limit: expected a number")
        content, run_dir = self._description.content, self._description.run_dir
        state_dir = Path(content["state_dir"])
        rule, actuator = request.query.get("rule"), request.query.get("actuator")
        newest = self._timeline.newest(run_dir, min(int(limit), MAX_DECISIONS), rule, actuator)
        return answers.json(
            {
                "decisions": [{key: value for key, value in d.items() if key != "t_capture"} for d in newest],
                "rules": content["rules"],
                "actuators": content["actuators"],
                "clips": timeline.clips(state_dir),
                "recordings": timeline.recordings(state_dir),
                "lost": self._timeline.lost,
                "note": "" if newest else "no decision since this box started",
            }
        )

    async def _shown(self, request: web.Request) -> dict[str, Any]:
        """A clip or a recording, as clips.py reads it."""
        path = self._recorded(request.match_info["name"])
        answer = await answers.ask(self._programs, "agent.web.clips", str(path), self._mode()[0], keep_s=CLIP_S)
        if "error" in answer:
            raise web.HTTPUnprocessableEntity(text=answer["error"])
        content: dict[str, Any] = answer
        return content

    def _recorded(self, name: str) -> Path:
        """The file of that name, in the folders of clips and recordings only."""
        state_dir = Path(self._description.content["state_dir"])
        if CLIP_NAME.fullmatch(name):
            for folder in ("events", "recordings"):
                path = state_dir / folder / name
                if path.is_file() and not path.is_symlink():
                    return path
        raise web.HTTPNotFound(text=f"no clip '{name[:60]}': older ones are deleted")

    async def clip(self, request: web.Request) -> web.Response:
        content = await self._shown(request)
        return answers.json({key: value for key, value in content.items() if key != "pictures"})

    async def clip_picture(self, request: web.Request) -> web.Response:
        mode, why = self._mode()
        if mode == pictures.HIDDEN:
            raise web.HTTPForbidden(text=why)
        encoded = (await self._shown(request)).get("pictures", {}).get(request.match_info["number"])
        if not encoded:
            raise web.HTTPNotFound(text="this frame has no picture: recorder.pictures keeps them")
        return answers.jpeg(base64.b64decode(encoded))

    async def replay(self, request: web.Request) -> web.Response:
        path = self._recorded(str((await answers.body(request)).get("name", "")))
        try:
            answer = await self._programs.ask("agent", "replay", str(path), "--json", limit_s=REPLAY_S)
        except ProgramError as error:
            return answers.json({"verdict": "failed", "text": redact.message(str(error))})
        differences = answer["differences"]
        if differences:
            return answers.json({"verdict": "differs", "text": "\n".join(differences[:5])})
        compared = f"{answer['compared']} of {answer['decisions']} decisions compared"
        return answers.json({"verdict": "same", "text": compared})
