"""Processes beside the daemon for heavy or slow work, so that it never takes the lanes' GIL: metrics, recorder."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from agent.box import realtime
from agent.box.stalled import kill_when_stalled
from agent.isolated import python, sacrifice

log = logging.getLogger("reflexd")
FIRST_PAUSE_S, LAST_PAUSE_S = 0.25, 10.0  # before the second restart, and the longest one
STEADY_S = 2.0  # one that lived this long is no repeated death
STOP_S = 0.8  # systemd and people wait for the daemon; a recorder on a slow disk goes on without it
HELD = {signal.SIGHUP, signal.SIGTERM}  # while a child process starts; it releases what it handles

Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


class ChildProcess:
    """One module of this program in a process of its own, restarted whenever it ends, or does not go on."""

    def __init__(
        self, module: str, *arguments: str, advice: str, finishes: bool = False, progress: Path | None = None
    ) -> None:
        """advice: for the log, when it ends. finishes: at the end it has something to do, also where it is away.

        progress: as in `kill_when_stalled`.
        """
        self.module = module
        self.name = module.rpartition(".")[2]  # for people
        self.arguments = arguments
        self.advice = advice
        self.finishes = finishes
        self.progress = progress
        self._killed = ""  # why, where we did
        self.process: subprocess.Popen[bytes] | None = None
        self._logged: tuple[int, float] | None = None  # exit code and pause that were logged last

    async def keep_running(self) -> None:
        """Until cancelled; then it is ended. Restarted at once, and after a pause where it does not live long."""
        pause = 0.0
        while True:
            lasted_s, code = await self._run()
            pause = 0.0 if lasted_s > STEADY_S else pause
            self._log_end(code, pause)
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                if self.finishes:
                    await self._end(self._spawn())
                raise
            pause = min(max(2 * pause, FIRST_PAUSE_S), LAST_PAUSE_S)

    async def _run(self) -> tuple[float, int]:
        """(how long it lived, its exit code). Cancelled: it is ended in order."""
        self.process = process = self._spawn()
        began = time.monotonic()
        try:
            await self._until_it_ends(process)
        except asyncio.CancelledError:
            await self._end(process)
            raise
        return time.monotonic() - began, process.wait()

    async def _until_it_ends(self, process: subprocess.Popen[bytes]) -> None:
        watch = asyncio.ensure_future(kill_when_stalled(process, self.progress))
        try:
            await ended(process)
        finally:
            self._killed = watch.result() if watch.done() else ""
            watch.cancel()

    def _log_end(self, code: int, pause: float) -> None:
        """Not where it ends again and again with the same code, once the pause is at its longest."""
        if (code, pause) != self._logged or pause < LAST_PAUSE_S:
            when = f"in {pause:g} s" if pause else "at once"
            log.warning("%s ended with %s (%s); restarting it %s", self.name, code, self._killed or self.advice, when)
        self._logged = code, pause

    async def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a stopped one would not notice
        if process.poll() is not None:
            return
        try:
            await asyncio.wait_for(ended(process), STOP_S)
            process.wait()
        except asyncio.TimeoutError:
            at_work = "writing" if self.finishes else "running"
            log.warning("%s: still %s after %g s; it ends by itself", self.name, at_work, STOP_S)

    def _spawn(self) -> subprocess.Popen[bytes]:
        """It inherits HELD blocked: until it can handle them, they would end it, and it could not finish.

        Not asyncio's: that kills at its own end a child that still writes.
        """
        environment = {**os.environ, realtime.PARENT: str(os.getpid())}
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        try:
            process = subprocess.Popen(python(self.module, *self.arguments), env=environment)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
        sacrifice(process.pid)
        return process

    def reload(self) -> None:
        """Send SIGHUP: the configuration was reloaded."""
        if self.process:
            self.process.send_signal(signal.SIGHUP)  # nothing where it has ended


async def ended(process: subprocess.Popen[bytes]) -> None:
    """Wait until it has, without a thread that would outlive the loop."""
    loop, end = asyncio.get_running_loop(), asyncio.Event()
    pidfd = os.pidfd_open(process.pid)
    loop.add_reader(pidfd, end.set)
    try:
        await end.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


class ChildProcesses:
    """The daemon's child processes, by module."""

    def __init__(self, spawn: Spawn) -> None:
        """spawn: starts a task of the event loop."""
        self._spawn = spawn
        self._running: dict[str, tuple[ChildProcess, asyncio.Task[Any]]] = {}

    def start(
        self, module: str, *arguments: str, advice: str, finishes: bool = False, progress: Path | None = None
    ) -> None:
        child = ChildProcess(module, *arguments, advice=advice, finishes=finishes, progress=progress)
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
