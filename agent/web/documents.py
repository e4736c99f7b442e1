"""What somebody wrote or measured: models with their cards, the doctor's findings, the configuration."""

from __future__ import annotations

import re
from pathlib import Path

from aiohttp import web

from agent.web import answers
from agent.web.description import Description
from agent.web.programs import Programs

DOCTOR_S, MODELS_S = 30.0, 60.0
PICTURE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\.png")
MAX_CARD = 200_000


class Documents:
    """Handlers; each raises HTTPException with a text for people."""

    def __init__(self, path: Path, description: Description, programs: Programs) -> None:
        """path: of the configuration."""
        self._path = path
        self._description = description
        self._programs = programs

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/models", self.models),
            web.get("/api/models/{name}/card", self.card),
            web.get("/api/models/{name}/{file}", self.card_picture),
            web.get("/api/doctor", self.doctor),
            web.get("/api/configuration", self.configuration),
        ]

    async def models(self, _: web.Request) -> web.Response:
        known = self._description.content["models"]
        arguments = [part for name, model in known.items() for part in (name, model["folder"])]
        command = "agent.web.models", *arguments
        facts = await answers.ask(self._programs, *command, limit_s=120.0, keep_s=MODELS_S) if known else []
        return answers.json({"models": [{**each, "lanes": known[each["name"]]["lanes"]} for each in facts]})

    def _package(self, request: web.Request) -> Path:
        model = self._description.content["models"].get(request.match_info["name"])
        if model is None:
            raise web.HTTPNotFound(text="no lane uses a model of this name")
        return Path(model["folder"])

    async def card(self, request: web.Request) -> web.Response:
        path = self._package(request) / "CARD.md"
        try:
            text = path.read_bytes()[:MAX_CARD].decode("utf-8", "replace")
        except OSError:
            raise web.HTTPNotFound(text="this package has no CARD.md") from None
        return answers.json({"text": text})

    async def card_picture(self, request: web.Request) -> web.StreamResponse:
        name, folder = request.match_info["file"], self._package(request)
        path = folder / name
        if not PICTURE_NAME.fullmatch(name) or path.is_symlink() or not path.is_file():
            raise web.HTTPNotFound(text="no such picture beside the card")
        return web.FileResponse(path, headers={"Content-Type": "image/png"})

    async def doctor(self, request: web.Request) -> web.Response:
        keep_s = 0.0 if request.query.get("again") else DOCTOR_S
        arguments = "agent", "doctor", "-c", str(self._path), "--json"
        return answers.json(await answers.ask(self._programs, *arguments, limit_s=90.0, keep_s=keep_s))

    async def configuration(self, _: web.Request) -> web.Response:
        """As diag packs it: without a secret, also where the file is broken."""
        command = "agent.web.configuration", str(self._path)
        content = await answers.ask(self._programs, *command, keep_s=1.0)
        return answers.json({**content, "edit": self._description.edit})
