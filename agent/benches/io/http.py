"""The real counterpart of the HTTP actuator: an aiohttp server in a child process, on a free port of this machine.

It answers 204, on /status/N with N, and GET /requests with what it has received.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web


def reason() -> str:
    """Why it cannot run here; empty where it can."""
    return ""


@contextmanager
def server() -> Iterator[dict[str, Any]]:
    """The options of one actuator with the verbs `on` and `off`."""
    child = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    try:
        yield {
            "driver": "actuator.http",
            "url": f"http://127.0.0.1:{int(child.stdout.readline())}",
            "critical": False,
            "requests": {
                "on": {"path": "/lamp", "body": {"on": True}},
                "off": {"path": "/lamp", "body": {"on": False}},
            },
            "safe": "off",
        }
    finally:
        child.communicate()  # it ends with its standard input


async def _serve() -> None:
    received: deque[dict[str, Any]] = deque(maxlen=1000)

    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response(list(received))
        body = json.loads(await request.read())
        received.append(
            {"method": request.method, "path": request.path, "body": body, "headers": dict(request.headers)}
        )
        _, _, status = request.path.partition("/status/")
        return web.Response(status=int(status or 204), headers={"Location": "/elsewhere"})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve())
