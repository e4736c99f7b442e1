"""A thread for long calls beside the lanes, such as loading a model, that exists before they run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from agent.box import realtime

Result = TypeVar("Result")
Job = Callable[[], None]


class Worker:
    """One call after the other. A thread of its own for each would begin and end as an ordinary one, with the GIL: an
    ordinary program that takes its core at that moment stalls every lane for as long as it likes.
    """

    def __init__(self, on_time: bool) -> None:
        """on_time: the lanes are on SCHED_FIFO."""
        self._on_time = on_time
        self._start()

    def _start(self) -> None:
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        threading.Thread(target=self._run, args=(self._jobs,), name="worker", daemon=True).start()

    def _run(self, jobs: SimpleQueue[Job]) -> None:
        realtime.set_thread([], self._on_time, realtime.CONTROL_PRIORITY)
        while True:
            jobs.get()()

    def submit(self, job: Job) -> None:
        """Carry it out after those before it; whoever asks does not wait. It raises nothing."""
        self._jobs.put(partial(_quickly, job))

    async def run(self, seconds: float, call: Callable[[], Result]) -> Result:
        """What the call returns or raises. Raises asyncio.TimeoutError; its thread is then left to it.

        asyncio's own threads are joined at the end of the program, which would then not end either.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Result] = loop.create_future()

        def settle(value: Any, error: Exception | None) -> None:
            if result.done():
                return
            if error:
                result.set_exception(error)
            else:
                result.set_result(value)

        def job() -> None:
            value, error = None, None
            try:
                value = _quickly(call)
            except BaseException as raised:  # SystemExit would end the thread
                error = raised if isinstance(raised, Exception) else RuntimeError(repr(raised))
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, value, error)

        self._jobs.put(job)
        try:
            return await asyncio.wait_for(result, seconds)
        except asyncio.TimeoutError:
            self._start()  # the other one may never come back
            raise


def _quickly(call: Callable[[], Result]) -> Result:
    with realtime.quick_switching():
        return call()
