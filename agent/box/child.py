"""Processes beside the daemon for heavy or slow work, so that it never takes the lanes' GIL: metrics, recorder."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine
from typing import Any

from agent.box import realtime

log = logging.getLogger("reflexd")
FIRST_PAUSE_S, LAST_PAUSE_S = 0.25, 10.0  # before the second restart, and the longest one
STEADY_S = 2.0  # one that lived this long is no repeated death
HELD = {signal.SIGHUP, signal.SIGTERM}  # while a child process starts; it releases what it handles

Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


class ChildProcess:
    """One `python -m module`, restarted whenever it ends."""

    def __init__(self, module: str, *arguments: str, advice: str, finishes: bool = False) -> None:
        """advice: for the log, when it ends. finishes: at the end it has something to do, also where it is away."""
        self.module = module
        self.arguments = arguments
        self.advice = advice
        self.finishes = finishes
        self.process: Process | None = None

    async def keep_running(self) -> None:
        """Until cancelled; then it is ended. Restarted at once, and after a pause where it does not live long."""
        pause = 0.0
        while True:
            began = time.monotonic()
            code = await self._run()
            if time.monotonic() - began > STEADY_S:
                pause = 0.0
            when = f"in {pause:g} s" if pause else "at once"
            log.warning("%s ended with %s: %s; restarting it %s", self.module, code, self.advice, when)
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                if self.finishes:
                    await _end(await self._spawn())
                raise
            pause = min(max(2 * pause, FIRST_PAUSE_S), LAST_PAUSE_S)

    async def _run(self) -> int:
        """Its exit code. Cancelled: it is ended in order."""
        starting = asyncio.ensure_future(self._spawn())
        try:
            self.process = await asyncio.shield(starting)
            return await self.process.wait()
        except asyncio.CancelledError:
            await _end(await starting)
            raise

    async def _spawn(self) -> Process:
        """It inherits these blocked: until it can handle them, they would end it, and it could not finish."""
        environment = {**os.environ, realtime.PARENT: str(os.getpid())}
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", self.module, *self.arguments, env=environment
            )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)

    def reload(self) -> None:
        """Send SIGHUP: the configuration was reloaded."""
        if self.process and self.process.returncode is None:
            self.process.send_signal(signal.SIGHUP)


async def _end(process: Process) -> None:
    process.terminate()
    await process.wait()


class ChildProcesses:
    """The daemon's child processes, by module."""

    def __init__(self, spawn: Spawn) -> None:
        """spawn: starts a task of the event loop."""
        self._spawn = spawn
        self._running: dict[str, tuple[ChildProcess, asyncio.Task[Any]]] = {}

    def start(self, module: str, *arguments: str, advice: str, finishes: bool = False) -> None:
        child = ChildProcess(module, *arguments, advice=advice, finishes=finishes)
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
