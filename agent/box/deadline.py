"""A call that may never return, such as one that reads from a dead disk, awaited for a limited time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Result = TypeVar("Result")


async def within(seconds: float, call: Callable[[], Result]) -> Result:
    """What the call returns or raises, from a thread of its own. Raises asyncio.TimeoutError; the thread then remains.

    asyncio's own threads are joined at the end of the program, which would then not end either.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Result] = loop.create_future()

    def settle(value: Result | None, error: Exception | None) -> None:
        if result.done():
            return
        if error:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value, error = None, None
        try:
            value = call()
        except BaseException as raised:  # SystemExit would end the loop
            error = raised if isinstance(raised, Exception) else RuntimeError(repr(raised))
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=run, daemon=True).start()
    return await asyncio.wait_for(result, seconds)
