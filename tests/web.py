"""A cell with a live view, and a browser without a screen: its requests and its WebSocket."""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from agent.benches.programs import free_port
from tests.processes import PERSON, Cell, Process, arm
from tests.waiting import DEADLINE_S, until

FLOOR = {
    "source": {"driver": "camera.sim", "width": 640, "height": 480, "fps": 15, "timeout_ms": 1000},
    "model": str(PERSON),
    "zones": {"reach": [[0.55, 0.4], [1, 0.4], [1, 1], [0.55, 1]]},
    "critical": False,
}

# One camera and one rule, as somebody writes them; with json.dumps for the folders.
CELL = """\
node: cell-1
run_dir: {run_dir}
state_dir: {state_dir}
web: {{port: {port}, edit: {edit}}}
lanes:
  floor:
    source: {{driver: camera.sim, width: 640, height: 480, fps: 15, timeout_ms: 1000}}
    model: person-coarse
    zones:
      reach: [[0, 0], [0.01, 0], [0.01, 0.01]]   # nobody is ever here
actuators:
  robot:
    device: {{driver: actuator.sim}}
    rest: run
    verbs: [run, stop]
rules:
  reach:
    any:
      - {{lane: floor, label: person, score: 0.5, zone: reach}}
    actuator: robot
    verb: stop
"""


class Frame(NamedTuple):
    """A message of the live WebSocket."""

    header: dict[str, Any]
    jpeg: bytes


class Page:
    """What a browser does with the live view at this address. cookie: of a session."""

    def __init__(self, base: str, tls: ssl.SSLContext | None = None) -> None:
        self.base = base
        self._tls = tls
        self.cookie = ""

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        return asyncio.run(self._request("GET", path, None, headers))

    def post(self, path: str, content: Any, **headers: str) -> tuple[int, Any]:
        return asyncio.run(self._request("POST", path, content, {"Origin": self.base, **headers}))

    async def _request(self, method: str, path: str, content: Any, headers: dict[str, str]) -> tuple[int, Any]:
        """(status, JSON, or bytes of anything else); 0 where no server answers."""
        try:
            async with (
                self._session(headers) as session,
                session.request(method, self.base + path, json=content, ssl=self._tls or True) as response,
            ):
                if "Set-Cookie" in response.headers:
                    self.cookie = response.headers["Set-Cookie"].partition(";")[0]
                body = await response.read()
        except (aiohttp.ClientConnectionError, ConnectionError):
            return 0, {}
        is_json = response.content_type == "application/json"
        return response.status, json.loads(body) if is_json else body

    def _session(self, headers: dict[str, str]) -> aiohttp.ClientSession:
        cookie = {"Cookie": self.cookie} if self.cookie else {}
        return aiohttp.ClientSession(headers={**cookie, **headers}, timeout=aiohttp.ClientTimeout(DEADLINE_S))

    def watch(self, path: str, count: int) -> tuple[list[dict[str, Any]], list[Frame]]:
        """(texts, frames) of a live WebSocket until there are `count` frames."""
        return asyncio.run(self._watch(path, count))

    async def _watch(self, path: str, count: int) -> tuple[list[dict[str, Any]], list[Frame]]:
        texts: list[dict[str, Any]] = []
        frames: list[Frame] = []
        async with (
            self._session({}) as session,
            session.ws_connect(self.base + path, ssl=self._tls or True, origin=self.base) as socket,
        ):
            while len(frames) < count:
                message = await socket.receive(DEADLINE_S)
                if message.type == aiohttp.WSMsgType.TEXT:
                    texts.append(json.loads(message.data))
                else:
                    assert message.type == aiohttp.WSMsgType.BINARY, message
                    frames.append(unpacked(message.data))
                    await socket.send_str("ok")
        return texts, frames


def unpacked(message: bytes) -> Frame:
    length = struct.unpack_from("<I", message)[0]
    return Frame(json.loads(message[4 : 4 + length]), message[4 + length :])


@contextmanager
def web_cell(
    folder: Path, recorder: dict[str, Any] | None = None, **options: Any
) -> Iterator[tuple[Cell, Page, Process]]:
    """An arm and a camera with their daemon, which serves the live view. recorder: that section; options: of `web`."""
    with Cell(folder, {"arm": arm(fault_every_s=1), "floor": FLOOR}) as cell:
        port = free_port()
        cell.config["state_dir"] = str(folder / "state")
        cell.config["web"] = {"port": port, **options}
        cell.config["recorder"] = recorder or {}
        cell.config["rules"]["reach"] = {  # type: ignore[index]
            "any": [{"lane": "floor", "label": "person", "score": 0.5, "zone": "reach"}],
            "actuator": "robot",
            "verb": "stop",
        }
        _, daemon = cell.start_both()
        page = Page(f"http://127.0.0.1:{port}")
        until(lambda: page.get("/api/status")[0] == 200, lambda: daemon.text)
        yield cell, page, daemon
