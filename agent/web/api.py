"""What the page asks for, as JSON: agent/web/README.md lists each address with its content."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from agent import redact
from agent.control import client as control
from agent.web import lanes, pictures, timeline, zones
from agent.web.description import Description
from agent.web.live_reader import LiveReader
from agent.web.programs import ProgramError, Programs
from agent.web.state import State
from agent.web.timeline import Timeline
from agent.web.zones import ZoneError
from agent.yamlfile import YamlError

MAX_DECISIONS = 2000
DOCTOR_S, MODELS_S, CLIP_S, REPLAY_S = 30.0, 60.0, 60.0, 300.0
PICTURE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\.png")
CLIP_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}\.mcap(\.sealed)?")
MAX_CARD = 200_000
RELOAD_S = 20.0


class Api:
    """Handlers; each raises HTTPException with a text for people."""

    def __init__(self, path: Path, description: Description, programs: Programs, local: bool) -> None:
        """path: of the configuration. local: only this box can reach the page."""
        self.path = path
        self.description = description
        self._programs = programs
        self._local = local
        self._state = State(path)
        self._timeline = Timeline()

    @property
    def mode(self) -> tuple[str, str]:
        """How pictures are shown, and why they are not."""
        wanted = self.description.content["web"]["pictures"]
        wanted = self._local if wanted is None else wanted
        if wanted == pictures.EDGES:
            return pictures.EDGES, "only outlines are shown here (web.pictures: edges)"
        if wanted:
            return pictures.SHOWN, ""
        return pictures.HIDDEN, "pictures do not leave this box by this way (web.pictures: true would show them)"

    @property
    def edit(self) -> bool:
        return bool(self.description.content["web"]["edit"])

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/status", self.status),
            web.get("/api/lanes/{lane}", self.lane),
            web.get("/api/lanes/{lane}/still.jpg", self.still),
            web.get("/api/decisions", self.decisions),
            web.get("/api/clips/{name}", self.clip),
            web.get("/api/clips/{name}/{number:[0-9]{1,9}}.jpg", self.clip_picture),
            web.post("/api/replay", self.replay),
            web.get("/api/models", self.models),
            web.get("/api/models/{name}/card", self.card),
            web.get("/api/models/{name}/{file}", self.card_picture),
            web.get("/api/doctor", self.doctor),
            web.get("/api/configuration", self.configuration),
            web.post("/api/zones", self.check_zones),
            web.post("/api/zones/write", self.write_zones),
        ]

    async def status(self, _: web.Request) -> web.Response:
        mode, why = self.mode
        return _json(
            {
                **await self._state.read(),
                "time": time.time() * 1e3,
                "boot_offset_ms": time.time() * 1e3 - time.monotonic_ns() / 1e6,
                "web": {"pictures": mode, "why": why, "edit": self.edit},
            }
        )

    def facts(self, lane: str) -> dict[str, Any]:
        """What a viewer must know of a lane; of one that a new configuration lacks only its name."""
        return {"name": lane, "kind": "", "channels": [], **self.description.lanes.get(lane, {})}

    async def lane(self, request: web.Request) -> web.Response:
        name = self._known_lane(request)
        return _json({**self.facts(name), **lanes.figures(self.description.run_dir, name)})

    def _known_lane(self, request: web.Request) -> str:
        name = request.match_info["lane"]
        if name not in self.description.lanes:
            raise web.HTTPNotFound(
                text=f"no lane '{name[:40]}': there is {', '.join(self.description.lanes) or 'none'}"
            )
        return name

    async def still(self, request: web.Request) -> web.Response:
        """The newest picture that the lane has shown; one that nobody watches shows none until a moment later."""
        name = self._known_lane(request)
        mode, why = self.mode
        if mode == pictures.HIDDEN:
            raise web.HTTPForbidden(text=why)
        try:
            reader = LiveReader(self.description.run_dir / f"{name}.live")
        except (OSError, ValueError):
            raise web.HTTPNotFound(text=f"lane {name} shows nothing: its process does not run") from None
        try:
            reader.watch()
            sample = reader.newest()
        finally:
            reader.close()
        if sample is None or sample.picture is None:
            raise web.HTTPNotFound(text=f"lane {name} has shown no picture yet")
        return _jpeg(pictures.encode(sample.picture, mode)[0])

    async def decisions(self, request: web.Request) -> web.Response:
        limit = request.query.get("limit", "500")
        if not re.fullmatch("[0-9]{1,6}", limit):
            raise web.HTTPBadRequest(text="limit: expected a number")
        content, run_dir = self.description.content, self.description.run_dir
        state_dir = Path(content["state_dir"])
        rule, actuator = request.query.get("rule"), request.query.get("actuator")
        newest = self._timeline.newest(run_dir, min(int(limit), MAX_DECISIONS), rule, actuator)
        return _json(
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
        answer = await self._ask("agent.web.clips", str(path), self.mode[0], keep_s=CLIP_S)
        if "error" in answer:
            raise web.HTTPUnprocessableEntity(text=answer["error"])
        content: dict[str, Any] = answer
        return content

    def _recorded(self, name: str) -> Path:
        """The file of that name, in the folders of clips and recordings only."""
        state_dir = Path(self.description.content["state_dir"])
        if CLIP_NAME.fullmatch(name):
            for folder in ("events", "recordings"):
                path = state_dir / folder / name
                if path.is_file() and not path.is_symlink():
                    return path
        raise web.HTTPNotFound(text=f"no clip '{name[:60]}': older ones are deleted")

    async def clip(self, request: web.Request) -> web.Response:
        content = await self._shown(request)
        return _json({key: value for key, value in content.items() if key != "pictures"})

    async def clip_picture(self, request: web.Request) -> web.Response:
        mode, why = self.mode
        if mode == pictures.HIDDEN:
            raise web.HTTPForbidden(text=why)
        encoded = (await self._shown(request)).get("pictures", {}).get(request.match_info["number"])
        if not encoded:
            raise web.HTTPNotFound(text="this frame has no picture: recorder.pictures keeps them")
        return _jpeg(base64.b64decode(encoded))

    async def replay(self, request: web.Request) -> web.Response:
        path = self._recorded(str((await _body(request)).get("name", "")))
        try:
            answer = await self._programs.ask("agent", "replay", str(path), "--json", limit_s=REPLAY_S)
        except ProgramError as error:
            return _json({"verdict": "failed", "text": redact.message(str(error))})
        differences = answer["differences"]
        if differences:
            return _json({"verdict": "differs", "text": "\n".join(differences[:5])})
        return _json({"verdict": "same", "text": f"{answer['compared']} of {answer['decisions']} decisions compared"})

    async def models(self, _: web.Request) -> web.Response:
        known = self.description.content["models"]
        arguments = [part for name, model in known.items() for part in (name, model["folder"])]
        facts = await self._ask("agent.web.models", *arguments, limit_s=120.0, keep_s=MODELS_S) if known else []
        return _json({"models": [{**each, "lanes": known[each["name"]]["lanes"]} for each in facts]})

    def _package(self, request: web.Request) -> Path:
        model = self.description.content["models"].get(request.match_info["name"])
        if model is None:
            raise web.HTTPNotFound(text="no lane uses a model of this name")
        return Path(model["folder"])

    async def card(self, request: web.Request) -> web.Response:
        path = self._package(request) / "CARD.md"
        try:
            text = path.read_bytes()[:MAX_CARD].decode("utf-8", "replace")
        except OSError:
            raise web.HTTPNotFound(text="this package has no CARD.md") from None
        return _json({"text": text})

    async def card_picture(self, request: web.Request) -> web.StreamResponse:
        name, folder = request.match_info["file"], self._package(request)
        path = folder / name
        if not PICTURE_NAME.fullmatch(name) or path.is_symlink() or not path.is_file():
            raise web.HTTPNotFound(text="no such picture beside the card")
        return web.FileResponse(path, headers={"Content-Type": "image/png"})

    async def doctor(self, request: web.Request) -> web.Response:
        keep_s = 0.0 if request.query.get("again") else DOCTOR_S
        arguments = "agent", "doctor", "-c", str(self.path), "--json"
        return _json(await self._ask(*arguments, limit_s=90.0, keep_s=keep_s))

    async def configuration(self, _: web.Request) -> web.Response:
        """As diag packs it: without a secret, also where the file is broken."""
        arguments = "agent.web.configuration", str(self.path)
        return _json({**await self._ask(*arguments, keep_s=1.0), "edit": self.edit})

    async def check_zones(self, request: web.Request) -> web.Response:
        lane, drawn = await self._drawn(request)
        mistakes, _ = await self._examined(lane, drawn)
        return _json({"ok": not mistakes, "yaml": zones.as_yaml(drawn), "mistakes": mistakes})

    async def _drawn(self, request: web.Request) -> tuple[str, dict[str, list[tuple[float, float]]]]:
        content = await _body(request)
        lane = str(content.get("lane", ""))
        if lane not in self.description.lanes:
            raise web.HTTPNotFound(text=f"no lane '{lane[:40]}'")
        try:
            return lane, zones.checked(content.get("zones"))
        except ZoneError as error:
            raise web.HTTPUnprocessableEntity(text=str(error)) from error

    async def _examined(self, lane: str, drawn: dict[str, list[tuple[float, float]]]) -> tuple[list[str], bytes]:
        """(mistakes, the configuration's new text)."""
        try:
            text = zones.replaced(self.path, lane, drawn)
        except (ZoneError, YamlError, OSError) as error:
            return [redact.message(str(error))], b""
        answer = await self._ask("agent.web.describe", str(self.path), "-", given=text.decode())
        return str(answer.get("error", "")).splitlines(), text

    async def write_zones(self, request: web.Request) -> web.Response:
        if not self.edit:
            raise web.HTTPForbidden(text="writing is off: set 'web: {edit: true}', or copy the lines into the file")
        lane, drawn = await self._drawn(request)
        mistakes, text = await self._examined(lane, drawn)
        answer = {"ok": not mistakes, "yaml": zones.as_yaml(drawn), "mistakes": mistakes, "reloaded": False}
        if mistakes:
            return _json(answer)
        try:
            backup = zones.write(self.path, text)
        except OSError as error:
            reason = (
                f"{self.path} cannot be written: {error.strerror}: give the service's user the right, or copy the lines"
            )
            return _json({**answer, "ok": False, "mistakes": [reason]})
        reply = await asyncio.to_thread(control.ask, self.description.run_dir, {"do": "reload"}, RELOAD_S) or {}
        mistakes = [redact.message(str(mistake)) for mistake in reply.get("mistakes", [])]
        return _json({**answer, "backup": backup.name, "reloaded": bool(reply.get("ok")), "mistakes": mistakes})

    async def _ask(self, module: str, *arguments: str, **options: Any) -> Any:
        try:
            return await self._programs.ask(module, *arguments, **options)
        except ProgramError as error:
            raise web.HTTPServiceUnavailable(text=redact.message(str(error))) from error


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        content = await request.json()
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise web.HTTPBadRequest(text="expected an object in JSON")
    return content


def _json(content: dict[str, Any]) -> web.Response:
    return web.json_response(content, headers={"Cache-Control": "no-store"})


def _jpeg(content: bytes) -> web.Response:
    return web.Response(body=content, content_type="image/jpeg", headers={"Cache-Control": "no-store"})
