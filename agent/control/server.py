"""The control socket: one line of JSON in, one out, on the daemon's loop and never on a lane's thread."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from agent.control.client import NAME, Answer

MAX_REQUEST_BYTES = 1 << 16
MAX_CLIENTS = 64  # the oldest is closed: its program has probably given up

Handler = Callable[[Mapping[str, Any]], Awaitable[Answer]]


class ControlServer:
    """Serves run_dir/control.sock; its file permissions decide which users may command the daemon."""

    def __init__(self, run_dir: Path, handlers: dict[str, Handler]) -> None:
        """handlers: by the NAME of a request `{"do": NAME}`, which they get."""
        self.path = run_dir / NAME
        self.handlers = handlers
        self.server: asyncio.Server | None = None
        self.clients: dict[asyncio.StreamWriter, None] = {}  # oldest first

    async def start(self) -> None:
        self.path.unlink(missing_ok=True)  # left by a daemon that was killed: the lock proves that none runs
        self.server = await asyncio.start_unix_server(self._serve, str(self.path), limit=MAX_REQUEST_BYTES)
        os.chmod(self.path, 0o660)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients[writer] = None
        if len(self.clients) > MAX_CLIENTS:
            oldest = next(iter(self.clients))
            del self.clients[oldest]
            oldest.transport.abort()
        try:
            line = await asyncio.wait_for(reader.readline(), 5.0)
            writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
            await writer.drain()
        except (ValueError, OSError, asyncio.TimeoutError):
            pass  # a line without end, or the client has gone
        finally:
            self.clients.pop(writer, None)
            writer.close()

    async def _answer(self, line: bytes) -> Answer:
        try:
            request = json.loads(line)
            handler = self.handlers[request["do"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"error": f'expected a line like {{"do": "status"}}; \'do\' is one of: {", ".join(self.handlers)}'}
        return await handler(request)

    def close(self) -> None:
        if self.server:
            self.server.close()
            self.path.unlink(missing_ok=True)
