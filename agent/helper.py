"""Processes beside the daemon that do heavy or slow work, so that it never takes the lanes' GIL: metrics, recorder."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from agent import realtime

log = logging.getLogger("reflexd")
AGAIN_S = 10.0


async def keep(module: str, *arguments: str, advice: str) -> None:
    """Run `python -m module` and start it again when it ends, until cancelled. advice: for the log, when it ends."""
    while True:
        environment = {**os.environ, realtime.PARENT: str(os.getpid())}
        child = await asyncio.create_subprocess_exec(sys.executable, "-m", module, *arguments, env=environment)
        try:
            code = await child.wait()
        except asyncio.CancelledError:
            child.terminate()
            await child.wait()
            raise
        log.warning("%s ended with %s: %s; starting it again in %g s", module, code, advice, AGAIN_S)
        await asyncio.sleep(AGAIN_S)
