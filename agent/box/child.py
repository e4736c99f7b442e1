"""Processes beside the daemon that do heavy or slow work, so that it never takes the lanes' GIL: metrics, recorder."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import Process

from agent.box import realtime

log = logging.getLogger("reflexd")
AGAIN_S = 10.0


class ChildProcess:
    def __init__(self, module: str, *arguments: str, advice: str) -> None:
        """advice: for the log, when it ends."""
        self.module = module
        self.arguments = arguments
        self.advice = advice
        self.child: Process | None = None

    async def keep(self) -> None:
        """Run `python -m module` and start it again when it ends, until cancelled."""
        while True:
            self.child = child = await self.spawn()
            try:
                code = await child.wait()
            except asyncio.CancelledError:
                child.terminate()
                await child.wait()
                raise
            log.warning("%s ended with %s: %s; starting it again in %g s", self.module, code, self.advice, AGAIN_S)
            await asyncio.sleep(AGAIN_S)

    async def spawn(self) -> Process:
        """SIGHUP comes blocked to it: before it can handle one, that would end it."""
        environment = {**os.environ, realtime.PARENT: str(os.getpid())}
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", self.module, *self.arguments, env=environment
            )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def reload(self) -> None:
        """Tell it that the daemon has taken over another configuration."""
        if self.child and self.child.returncode is None:
            self.child.send_signal(signal.SIGHUP)
