"""Processes beside the daemon for heavy or slow work, so that it never takes the lanes' GIL: metrics, recorder."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine
from typing import Any

from agent.box import realtime

log = logging.getLogger("reflexd")
RESTART_S = 10.0

Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


class ChildProcess:
    """One `python -m module`, restarted whenever it ends."""

    def __init__(self, module: str, *arguments: str, advice: str) -> None:
        """advice: for the log, when it ends."""
        self.module = module
        self.arguments = arguments
        self.advice = advice
        self.process: Process | None = None

    async def keep_running(self) -> None:
        """Until cancelled; then it is ended."""
        while True:
            self.process = process = await self._spawn()
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                process.terminate()
                await process.wait()
                raise
            log.warning("%s ended with %s: %s; restarting it in %g s", self.module, code, self.advice, RESTART_S)
            await asyncio.sleep(RESTART_S)

    async def _spawn(self) -> Process:
        """It inherits SIGHUP blocked: until it can handle one, that would end it."""
        environment = {**os.environ, realtime.PARENT: str(os.getpid())}
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", self.module, *self.arguments, env=environment
            )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def reload(self) -> None:
        """Send SIGHUP: the configuration was reloaded."""
        if self.process and self.process.returncode is None:
            self.process.send_signal(signal.SIGHUP)


class ChildProcesses:
    """The daemon's child processes, by module."""

    def __init__(self, spawn: Spawn) -> None:
        """spawn: starts a task of the event loop."""
        self._spawn = spawn
        self._running: dict[str, tuple[ChildProcess, asyncio.Task[Any]]] = {}

    def start(self, module: str, *arguments: str, advice: str) -> None:
        child = ChildProcess(module, *arguments, advice=advice)
        self._running[module] = child, self._spawn(child.keep_running())

    async def stop(self, module: str) -> None:
        if module in self._running:
            _, task = self._running.pop(module)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def stop_all(self) -> None:
        await asyncio.gather(*map(self.stop, list(self._running)))

    def reload(self) -> None:
        for child, _ in self._running.values():
            child.reload()
