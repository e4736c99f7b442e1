"""The daemon's end of one worker process, from its start to its end: questions, answers, what it reports by itself."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from agent.box import realtime
from agent.box.child import Spawn, ended
from agent.box.held_signals import HELD
from agent.box.signals import STOPS
from agent.isolated import python
from agent.reload import LOAD_S
from agent.workers.channel import Channel, Message, open_channel, unpacked_error

CHANGE_S = 2 * LOAD_S + 10.0  # a worker that takes longer does not go on


class WorkerGone(OSError):
    """It ended, or did not answer and was ended."""

    def __init__(self) -> None:
        super().__init__(errno.ECHILD, "a worker process ended before it answered: see its messages above")


class RemoteProcess:
    """A worker."""

    def __init__(self, process: subprocess.Popen[bytes], channel: Channel, reported: Callable[[Message], None]) -> None:
        self._process, self._channel, self._reported = process, channel, reported
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count()

    @classmethod
    async def start(cls, spawn: Spawn, reported: Callable[[Message], None]) -> RemoteProcess:
        """spawn: starts a task of the event loop. reported: called with each message that is no answer."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = _started(theirs.fileno())
        remote = cls(process, await open_channel(ours), reported)
        spawn(remote._receive())
        return remote

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def _receive(self) -> None:
        while message := await self._channel.receive():
            if "id" not in message:
                self._reported(message)
            elif (answer := self._waiting.pop(message["id"], None)) and not answer.done():
                _settle(answer, message)
        self._channel.close()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(WorkerGone())

    async def ask(self, request: Message, within_s: float) -> Any:
        """Its answer. Raises what it raised, WorkerGone, asyncio.TimeoutError."""
        if not self.alive:
            raise WorkerGone
        number = next(self._ids)
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        self._channel.send({"id": number, **request})
        try:
            return await asyncio.wait_for(answer, within_s)
        finally:
            self._waiting.pop(number, None)

    async def change(self, request: Message) -> Any:
        """As `ask`; a worker that does not carry it out is ended, and so started again."""
        try:
            return await self.ask(request, CHANGE_S)
        except asyncio.TimeoutError:
            self.kill()
            raise WorkerGone from None

    def send(self, request: Message) -> None:
        """Without waiting for its answer."""
        if self.alive:
            self._channel.send({"id": next(self._ids), **request})

    def kill(self) -> None:
        self._process.kill()

    async def ended(self) -> int:
        """Wait until it has. The exit code."""
        if self.alive:
            await ended(self._process)
        return self._process.wait()


def _started(descriptor: int) -> subprocess.Popen[bytes]:
    """Its signals are held until it can handle them: they would end it without a goodbye to its actuators.

    Not `sacrifice`: where memory is short, lanes are the last to end.
    """
    environment = {**os.environ, realtime.PARENT: str(os.getpid())}
    command = python("agent.workers.process", str(descriptor), str(logging.getLogger().level))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD | set(STOPS))
    try:
        return subprocess.Popen(command, env=environment, pass_fds=[descriptor], stdin=subprocess.DEVNULL)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _settle(answer: asyncio.Future[Any], message: Message) -> None:
    if "error" in message:
        answer.set_exception(unpacked_error(message["error"]))
    else:
        answer.set_result(message["answer"])
