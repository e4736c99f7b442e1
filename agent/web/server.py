"""The live view's process: `reflexd web`, or a child of the daemon. It reads what lanes leave in shared memory.

It never takes the lanes' GIL, and no lane waits for it: agent/web/README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aiohttp import web

from agent import web_keys
from agent.box import background
from agent.http_server import serve
from agent.web.access import Access, Handler
from agent.web.api import Api
from agent.web.description import Description
from agent.web.programs import Programs
from agent.web.viewer import Viewer
from agent.web.watch import LaneWatch, Watches

log = logging.getLogger("reflexd.web")
PAGE = Path(__file__).with_name("page")
MAX_VIEWERS, MAX_CONNECTIONS = 128, 256
MAX_BODY = 65_536  # bytes of a request
MAX_RATE_HZ, MAX_WIDTH = 60.0, 4096
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class LiveView:
    """The application and what it holds."""

    def __init__(self, path: Path, host: str, description: Description, programs: Programs) -> None:
        """path: of the configuration. Raises OSError, ValueError, ssl.SSLError: keys that are missing or unusable."""
        settings = description.content["web"]
        folder = Path(settings["keys"]) if settings["keys"] else None
        self.tls = web_keys.tls(folder) if folder else None
        token = web_keys.read_token(folder) if folder else ""
        self.access = Access(host, settings["names"], token, secure=self.tls is not None)
        if not self.access.local and not folder:
            raise ValueError(web_keys.missing(host))
        self.api = Api(path, description, programs, self.access.local)
        self.description = description
        self._threads = ThreadPoolExecutor(2, "encode")
        self._watches = Watches(self._watch)
        self._files = {path.name: path.read_bytes() for path in PAGE.iterdir() if path.suffix in TYPES}

    def _watch(self, lane: str) -> LaneWatch:
        def facts() -> dict[str, Any]:
            return self.api.facts(lane)

        return LaneWatch(self.description.run_dir, lane, facts, lambda: self.api.mode, self._threads)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.access.middleware, self._current], client_max_size=MAX_BODY)
        app.add_routes(self.api.routes())
        app.router.add_post("/api/login", self.access.login)
        app.router.add_get("/api/live", self.live)
        app.router.add_get("/", self.page)
        app.router.add_get("/{name:[a-z_]+\\.(js|css|svg)}", self.page)
        return app

    @web.middleware
    async def _current(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every answer is by the newest configuration."""
        if request.path.startswith("/api/"):
            await self.description.refresh()
        return await handler(request)

    async def page(self, request: web.Request) -> web.Response:
        """A file of the page, read once; no path leads out of its folder."""
        name = request.match_info.get("name", "index.html")
        content = self._files.get(name)
        if content is None:
            raise web.HTTPNotFound(text="no such page")
        kind = TYPES[Path(name).suffix]
        return web.Response(body=content, content_type=kind, charset="utf-8", headers={"Cache-Control": "no-cache"})

    async def live(self, request: web.Request) -> web.WebSocketResponse:
        lane = request.query.get("lane", "")
        if lane not in self.description.lanes:
            raise web.HTTPNotFound(text=f"no lane '{lane[:40]}'")
        if self._watches.viewers >= MAX_VIEWERS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_VIEWERS} viewers already: close another window")
        viewer = Viewer(_number(request, "rate", 30.0, MAX_RATE_HZ), int(_number(request, "width", 0.0, MAX_WIDTH)))
        watch = self._watches.of(lane)
        watch.add(viewer)
        keeping = asyncio.create_task(self.description.keep_fresh())
        try:
            return await viewer.serve(request)
        finally:
            keeping.cancel()
            watch.remove(viewer)


def _number(request: web.Request, name: str, default: float, most: float) -> float:
    try:
        value = float(request.query.get(name, default))
    except ValueError:
        value = default
    return min(max(value, 0.1 if default else 0.0), most) if value == value else default


async def run(path: Path, host: str | None, port: int | None) -> int:
    """Until it is ended. path: of the configuration. host, port: in place of the configuration's."""
    programs = Programs()
    description = Description(path, programs)
    await description.read_valid()
    settings = description.content["web"]
    host = host or settings["host"]
    try:
        view = LiveView(path, host, description, programs)
    except (OSError, ValueError, ssl.SSLError) as error:
        log.error("the live view does not start: %s", error)
        return 2
    number = port or settings["port"] or 8087
    address = f"http{'s' if view.tls else ''}://{host}:{number}"
    log.info("the live view is at %s", address)
    await serve(view.application(), host, number, log, MAX_CONNECTIONS, view.tls)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    background.settle()
    return asyncio.run(run(options.path, options.host, options.port))


if __name__ == "__main__":
    sys.exit(main())
