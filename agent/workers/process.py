"""A worker: lanes of the daemon in a process of their own. `python -m agent.workers.process DESCRIPTOR LEVEL`.

It ends with the daemon, however that ends: its actuators then go safe, as those of the daemon's own lanes do.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent import redact
from agent.box import logs, realtime
from agent.box.signals import STOPS, LoopSignals
from agent.config.models import Config
from agent.errors import ConfigError, PackageError
from agent.group import LaneGroup
from agent.workers.channel import Channel, Message, open_channel, packed_error

log = logging.getLogger("reflexd")
CHECK_S = 1.0


class LanesProcess:
    """Carries out the daemon's requests. The first one is `load`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: LaneGroup | None = None

    async def serve(self) -> int:
        """Until the daemon, or a signal, asks it to end. The exit code: 1 after a bug in a lane."""
        listening = asyncio.ensure_future(self._listen())
        while not self._stop.is_set():
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), CHECK_S)
            if self._group:
                self._group.check()
        listening.cancel()
        if self._group is None:
            return 0
        await self._group.retire()
        await self._channel.drain()
        return int(self._group.failed)

    async def _listen(self) -> None:
        while message := await self._channel.receive():
            task = asyncio.ensure_future(self._answer(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._stop.set()  # the daemon has gone

    async def _answer(self, message: Message) -> None:
        try:
            answer = {"answer": await self._carry_out(message)}
        except (ConfigError, PackageError, OSError) as error:
            answer = {"error": packed_error(error)}
        except Exception as error:
            log.exception("a bug in the control of a worker; its lanes continue")
            answer = {"error": packed_error(OSError(0, str(error)))}
        self._channel.send({"id": message["id"], **answer})

    async def _carry_out(self, message: Message) -> Any:
        """Raises ConfigError, PackageError, OSError."""
        if message["do"] == "load":
            return await self._load(message)
        if self._group is None:
            raise OSError("it has no lanes yet")
        requests: dict[str, Callable[[LaneGroup], Awaitable[Any]]] = {
            "start": lambda group: group.start(),
            "status": lambda group: group.status(),
            "swap": lambda group: group.swap(message["request"]),
            "prepare": lambda group: group.prepare(_configuration(message)),
            "keep": lambda group: group.keep(),
            "stop_changed": lambda group: group.stop_changed(),
            "start_changed": self._start_changed,
            "infer_every": lambda group: _infer_every(group, message),
            "retire": lambda group: self._retire(group, message["within_s"]),
        }
        return await requests[message["do"]](self._group)

    async def _load(self, message: Message) -> None:
        """message: config, secrets, path, samples, worker. Raises PackageError, OSError."""
        config = _configuration(message)
        realtime.set_process()
        number, of = message["worker"]
        group = LaneGroup(config, Path(message["path"]), message["samples"], self._changed, (number, of))
        realtime.raise_control_threads(config.realtime)
        await group.load()
        self._group = group
        realtime.freeze_objects()
        LoopSignals(asyncio.get_running_loop(), self._stop.set, lambda: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        self._changed()

    async def _start_changed(self, group: LaneGroup) -> None:
        await group.start_changed()
        self._changed()

    async def _retire(self, group: LaneGroup, within_s: float) -> None:
        await group.retire(within_s)
        self._stop.set()

    def _changed(self) -> None:
        """The daemon gets what it cannot read in the ledgers."""
        group = self._group
        if group is None:
            return
        if group.failed:
            self._stop.set()
        timeouts = {lane.name: lane.timeout_ms for lane in group.watched()}
        self._channel.send({"models": group.models, "timeouts": timeouts, "ended": group.ended_lanes})


def _configuration(message: Message) -> Config:
    redact.remember(message["secrets"])
    return Config.model_validate(message["config"])


async def _infer_every(group: LaneGroup, message: Message) -> None:
    for lane in group.watched():
        if lane.name == message["lane"]:
            lane.infer_every(message["number"])


async def _serve(descriptor: int) -> int:
    return await LanesProcess(await open_channel(socket.socket(fileno=descriptor))).serve()


def main() -> int:
    realtime.die_with_parent(signal.SIGKILL)  # whatever state it is in: nothing commands an actuator without a daemon
    descriptor, level = map(int, sys.argv[1:])
    logs.start(level)
    stop_log = logs.write_in_background()
    try:
        return asyncio.run(_serve(descriptor))
    finally:
        stop_log()


if __name__ == "__main__":
    sys.exit(main())
