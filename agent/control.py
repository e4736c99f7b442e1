"""The control socket: one line of JSON in, one out, on the daemon's loop and never on a lane's thread."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

NAME = "control.sock"
LONGEST = 1 << 16  # bytes of a request
Answer = dict[str, Any]


class Control:
    """Serves run_dir/control.sock; whoever may write to it may command the daemon."""

    def __init__(self, run_dir: Path, do: dict[str, Callable[[], Awaitable[Answer]]]) -> None:
        """do: what each request `{"do": NAME}` is answered with."""
        self.path = run_dir / NAME
        self.do = do
        self.server: asyncio.Server | None = None

    async def start(self) -> None:
        self.path.unlink(missing_ok=True)  # of a daemon that was killed; the lock says that none lives
        self.server = await asyncio.start_unix_server(self.serve, str(self.path), limit=LONGEST)
        os.chmod(self.path, 0o660)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), 5.0)
            writer.write(json.dumps(await self.answer(line)).encode() + b"\n")
            await writer.drain()
        except (ValueError, OSError, asyncio.TimeoutError):
            pass  # a line without end, or nobody there any more
        finally:
            writer.close()

    async def answer(self, line: bytes) -> Answer:
        try:
            asked = json.loads(line)
            do = self.do[asked["do"]]
        except (ValueError, KeyError, TypeError):
            return {"error": f'expected a line like {{"do": "status"}}; \'do\' is one of: {", ".join(self.do)}'}
        return await do()

    def close(self) -> None:
        if self.server:
            self.server.close()
            self.path.unlink(missing_ok=True)


def ask(run_dir: Path, request: Answer, timeout_s: float = 1.0) -> Answer | None:
    """The running daemon's answer; None when nobody answers in time."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(timeout_s)
            line.connect(str(run_dir / NAME))
            line.sendall(json.dumps(request).encode() + b"\n")
            with line.makefile("rb") as file:
                answer = json.loads(file.readline())
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None
